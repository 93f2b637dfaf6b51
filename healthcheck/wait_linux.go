package healthcheck

import (
	"context"
	"os/exec"
	"syscall"
	"unsafe"
)

// waitGroup waits until cmd ends, at ctx's end by force, then kills what is left
// of its process group and collects it.
func waitGroup(ctx context.Context, cmd *exec.Cmd) error {
	killed := make(chan struct{})
	release := context.AfterFunc(ctx, func() { killGroup(cmd); close(killed) })
	awaitExit(cmd.Process.Pid)
	if !release() {
		<-killed
	}
	killGroup(cmd)
	return cmd.Wait()
}

// awaitExit returns when the process has ended, and leaves it to be waited for:
// until then no other process or group can get its id.
func awaitExit(pid int) {
	const pPID = 1
	var info [128]byte // siginfo_t, which nobody reads
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPID, uintptr(pid), uintptr(unsafe.Pointer(&info)), syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if errno != syscall.EINTR {
			return
		}
	}
}
