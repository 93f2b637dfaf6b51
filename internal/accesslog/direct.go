package accesslog

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// directWait is how long Direct waits for a reader once; while it is known that
// nobody reads, it does not.
const directWait = 100 * time.Millisecond

// Direct writes Steelyard's own log to its standard error: at once, so that no
// line is lost with the process, but never waiting for whoever reads it. A
// request that has failed is told there, and must not hang because a terminal is
// halted or a collector of logs is stuck. Lines nobody takes are left out; when
// somebody reads again, they are told how many. It is safe for concurrent use.
type Direct struct {
	mu   sync.Mutex
	sink *Sink
	torn bool  // a line was broken off
	left int64 // lines left out since the last one was written
}

// NewDirect makes a log that is written to f.
func NewDirect(f *os.File) *Direct { return &Direct{sink: newSink("stderr", f)} }

// Write writes lines, or leaves them out. It never fails, because nobody could
// be told.
func (d *Direct) Write(lines []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	wait := directWait
	if d.left > 0 {
		wait = 0
	}
	if !d.announce(wait) {
		d.left += countLines(lines)
		return len(lines), nil
	}
	if n, err := d.sink.write(lines, directWait); err != nil {
		d.left += countLines(lines[n:])
		d.torn = n > 0 && lines[n-1] != '\n'
	}
	return len(lines), nil
}

// announce tells of what was left out, and reports whether more may be written.
func (d *Direct) announce(wait time.Duration) bool {
	if !d.torn && d.left == 0 {
		return true
	}
	text := ""
	if d.torn {
		text = "\n"
	}
	if d.left > 0 {
		text += fmt.Sprintf("%s WARN lines of this log were left out: nobody read it lines=%d\n", time.Now().Format("2006/01/02 15:04:05"), d.left)
	}
	if _, err := d.sink.write([]byte(text), wait); err != nil {
		return false // it is shorter than a piece: all of it, or nothing
	}
	d.torn, d.left = false, 0
	return true
}
