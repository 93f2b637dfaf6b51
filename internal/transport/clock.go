package transport

import "time"

// clockStart is the zero of Now.
var clockStart = time.Now()

// Now is monotonic time since the process started. Reading a clock is a good
// part of what a small request costs, so one reading is handed along the path
// as "at" and serves every deadline there.
func Now() time.Duration { return time.Since(clockStart) }

// Deadline is a reading of Now as net.Conn wants its deadlines.
func Deadline(at time.Duration) time.Time { return clockStart.Add(at) }
