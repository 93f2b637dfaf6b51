package upgrade

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Notify tells systemd, or whoever listens at NOTIFY_SOCKET, about the process;
// the lines are those of sd_notify(3). Without such a listener it does nothing.
func Notify(lines ...string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	err := send(path, strings.Join(lines, "\n"))
	if err != nil {
		slog.Warn("systemd cannot be told about the state of this process", "socket", path, "error", err)
	}
}

func send(path, text string) error {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, err = c.Write([]byte(text))
	return err
}

// MainPID is the line that says which process goes on for this one.
func MainPID(pid int) string { return fmt.Sprintf("MAINPID=%d", pid) }

// Watchdog tells systemd at half the time it gives that the process is well, until
// ctx ends or well, which returns if it is, reports false. It returns at once if nobody asks.
func Watchdog(ctx context.Context, well func() bool) {
	every := watchdogEvery(os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID"), os.Getpid())
	if every == 0 {
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if !well() {
				return
			}
			Notify("WATCHDOG=1")
		}
	}
}

// watchdogEvery is half of WATCHDOG_USEC; 0 if it is not meant for this process.
func watchdogEvery(usec, pid string, self int) time.Duration {
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n < 2 || n > int64(24*time.Hour/time.Microsecond) || pid != "" && pid != strconv.Itoa(self) {
		return 0
	}
	return time.Duration(n) * time.Microsecond / 2
}
