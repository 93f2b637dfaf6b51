//go:build !linux

package healthcheck

import (
	"context"
	"os/exec"
)

// waitGroup waits until cmd ends, at ctx's end by force, then kills what is left
// of its process group.
func waitGroup(ctx context.Context, cmd *exec.Cmd) error {
	killed := make(chan struct{})
	release := context.AfterFunc(ctx, func() { killGroup(cmd); close(killed) })
	err := cmd.Wait()
	if !release() {
		<-killed
	}
	killGroup(cmd)
	return err
}
