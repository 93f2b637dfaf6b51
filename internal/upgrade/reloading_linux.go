package upgrade

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Reloading are the lines that tell systemd that a reload has begun. READY=1 says
// that it has ended.
func Reloading() []string {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return []string{"RELOADING=1"}
	}
	return []string{"RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000)}
}
