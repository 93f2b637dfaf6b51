package proxy

import (
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

	"steelyard/internal/transport"
)

const (
	// refusedStay is how long a connection that was not let in stays open, so that
	// its client reads why before a reset destroys it.
	refusedStay = 250 * time.Millisecond
	// maxRefused bounds how many of them stay at a time; those beyond are closed at
	// once.
	maxRefused = 256
	// maxRefusedRead bounds how much of what such a client sends is taken off the
	// connection, in bytes: a connection that is closed with bytes unread is reset.
	maxRefusedRead = 64 << 10
)

// turnedAway is a connection that was not let in and has been told so.
type turnedAway struct {
	nc    net.Conn
	until time.Duration // on the package clock
}

// refusalPage is the whole answer to a connection that is not let in. It is made
// beforehand, because there is no time for it when many come.
func refusalPage(cause Cause, named bool) []byte {
	info := &causes[cause]
	body := fmt.Sprintf("%d %s\n%s: %s\n", info.status, statusText(info.status), info.name, info.hint)
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n", info.status, statusText(info.status))
	if named {
		head += "X-Steelyard-Cause: " + info.name + "\r\n"
	}
	return fmt.Appendf(nil, "%sRetry-After: %d\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", head, retryAfter, len(body), body)
}

// refuse answers a connection that is not let in. It never waits: it is called by
// who accepts for all others.
func (l *Listener) refuse(nc net.Conn, why refusal) {
	l.countRefusal(nc, why)
	named := 0
	if e := l.proxy.Generation().Errors; e != nil && e.HideCause {
		named = 1
	}
	if l.TLS() != nil || !writeNow(nc, l.proxy.admission.pages[why][named]) {
		_ = nc.Close()
		return
	}
	if cw, ok := nc.(interface{ CloseWrite() error }); ok {
		_ = cw.CloseWrite()
	}
	select {
	case l.refused <- turnedAway{nc, transport.Now() + refusedStay}:
	default:
		closeRead(nc)
	}
}

// countRefusal counts a connection that is not let in, and tells it.
func (l *Listener) countRefusal(nc net.Conn, why refusal) {
	p, info := l.proxy, &refusalInfo[why]
	l.rejected[why].Add(1)
	p.errors[info.cause].Add(1)
	p.unpooled[info.cause].Add(1)
	if ok, more := l.told.allow(refusalsPerSecond); ok {
		slog.Warn("a connection was not let in", "listener", l.Name(), "limit", info.reason, "client", nc.RemoteAddr().String(),
			"connections", l.Connections(), "lines_left_out", more)
	}
}

// endRefusals is called when nothing more is accepted.
func (l *Listener) endRefusals() {
	l.refusing.Do(func() { close(l.refused) })
	<-l.shownOut
}

// showOut closes the connections that were not let in, each when its time is over.
func (l *Listener) showOut() {
	defer close(l.shownOut)
	for r := range l.refused {
		time.Sleep(r.until - transport.Now())
		closeRead(r.nc)
	}
}

// writeNow writes what can be written without waiting, and reports whether that
// was all of p.
func writeNow(nc net.Conn, p []byte) (all bool) {
	raw, ok := rawOf(nc)
	if !ok {
		return false
	}
	_ = raw.Write(func(fd uintptr) bool {
		n, _ := syscall.Write(int(fd), p)
		all = n == len(p)
		return true
	})
	return all
}

// closeRead closes a connection after reading what has come on it.
func closeRead(nc net.Conn) {
	if raw, ok := rawOf(nc); ok {
		_ = raw.Read(func(fd uintptr) bool {
			var b [4 << 10]byte
			for left := maxRefusedRead; left > 0; {
				n, err := syscall.Read(int(fd), b[:])
				if err != nil || n <= 0 {
					break
				}
				left -= n
			}
			return true
		})
	}
	_ = nc.Close()
}

func rawOf(nc net.Conn) (syscall.RawConn, bool) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, false
	}
	raw, err := sc.SyscallConn()
	return raw, err == nil
}
