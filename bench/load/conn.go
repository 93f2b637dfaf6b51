//go:build linux

package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// maxHead is the longest response head that is waited for.
const maxHead = 16 << 10

var (
	endOfHead = []byte("\r\n\r\n")
	errStatus = errors.New("not answered with 2xx")
)

// conn is one connection of the generator.
type conn struct {
	fd       int
	due      time.Duration // when its request was due, since the start
	busy     bool          // a request is at work
	upgraded bool
	out      []byte // of the request, what has not left yet
	head     []byte // of the response's head, what has come in several reads
	body     int    // bytes of the body that are still to come
	inBody   bool
	ok       bool // the status was 2xx
	last     bool // the server closes after this response
}

// dial connects and registers with epoll. Connecting on loopback does not wait.
func (c *conn) dial(ep int, to *unix.SockaddrInet4, index int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	*c = conn{fd: fd, head: c.head[:0], due: c.due}
	for err = unix.Connect(fd, to); err == unix.EINTR; {
		err = nil // The kernel goes on connecting; the first write waits for it.
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		const all = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
		err = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: all & 0xffffffff, Fd: int32(index)})
	}
	if err != nil {
		c.close()
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

func (c *conn) close() {
	if c.fd >= 0 {
		_ = unix.Close(c.fd)
	}
	c.fd = -1
}

// send begins to write b; flush goes on with what did not fit.
func (c *conn) send(b []byte) error {
	c.out, c.inBody, c.head = b, false, c.head[:0]
	return c.flush()
}

func (c *conn) flush() error {
	for len(c.out) > 0 {
		n, err := unix.Write(c.fd, c.out)
		switch err {
		case nil:
			c.out = c.out[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			return nil
		default:
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// receive reads what has come. It returns true when a response is whole.
func (c *conn) receive(buf []byte) (bool, error) {
	done := false
	for {
		n, err := unix.Read(c.fd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return done, nil
		case err != nil:
			return done, fmt.Errorf("read: %w", err)
		case n == 0:
			return done, io.EOF
		case !c.busy:
			return false, errors.New("the server sent what nobody asked for")
		}
		whole, err := c.take(buf[:n])
		if err != nil {
			return done, err
		}
		done = done || whole
		if n < len(buf) { // Edge-triggered: what comes later is told anew.
			return done, nil
		}
	}
}

// take counts what came. It returns true when a response is whole.
func (c *conn) take(b []byte) (bool, error) {
	if !c.inBody {
		if len(c.head) > 0 {
			c.head = append(c.head, b...)
			b = c.head
		}
		end := bytes.Index(b, endOfHead)
		if end < 0 {
			if len(c.head) == 0 {
				c.head = append(c.head, b...)
			}
			if len(c.head) > maxHead {
				return false, errors.New("the head of a response does not end")
			}
			return false, nil
		}
		if err := c.parse(b[:end+2]); err != nil {
			return false, err
		}
		b, c.inBody = b[end+4:], true
	}
	if c.body -= len(b); c.body < 0 {
		return false, errors.New("more came than the response's length")
	}
	return c.body == 0, nil
}

// parse reads status, length and whether the connection ends.
func (c *conn) parse(head []byte) error {
	if len(head) < 13 || !bytes.HasPrefix(head, []byte("HTTP/1.")) {
		return fmt.Errorf("no response: %.40q", head)
	}
	c.ok, c.body, c.last = head[9] == '2', -1, false
	c.upgraded = bytes.Equal(head[9:12], []byte("101"))
	if c.upgraded || bytes.Equal(head[9:12], []byte("204")) {
		c.body, c.ok = 0, true
	}
	for len(head) > 0 {
		line, rest, _ := bytes.Cut(head, endOfHead[:2])
		head = rest
		if len(line) < 12 || line[0]|0x20 != 'c' {
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case bytes.EqualFold(name, []byte("content-length")):
			n, err := strconv.Atoi(string(value))
			if err != nil || n < 0 {
				return fmt.Errorf("content-length %q", value)
			}
			c.body = n
		case bytes.EqualFold(name, []byte("connection")):
			c.last = bytes.EqualFold(value, []byte("close"))
		}
	}
	if c.body < 0 {
		return errors.New("a response without Content-Length, which this generator does not know")
	}
	return nil
}
