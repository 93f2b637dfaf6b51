package transport

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"steelyard/internal/wire"
)

// accepted makes a connection with an accepted end that gives hints, if it can.
func accepted(t testing.TB, network string, hints bool) (s *Socket, peer net.Conn) {
	t.Helper()
	b := newBackend(t, network)
	if hints {
		// Multipath TCP, which package net would choose, gives none.
		var lc net.ListenConfig
		lc.SetMultipathTCP(false)
		plain, err := lc.Listen(t.Context(), network, "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = plain.Close() })
		b.ln = plain
		raw, err := b.ln.(syscall.Conn).SyscallConn()
		if err == nil {
			err = errors.Join(raw.Control(func(fd uintptr) { err = HintUnread(int(fd)) }), err)
		}
		if err != nil {
			t.Skip(err)
		}
	}
	peer, err := net.Dial(network, b.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	nc, err := b.ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s = &Socket{}
	if err := s.Init(nc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if hints {
		s.ExpectHints()
	}
	// No event may be slept over: nothing else ends a wait.
	_ = s.SetReadDeadline(time.Now().Add(20 * time.Second))
	return s, peer
}

func say(t testing.TB, peer net.Conn, what string) {
	t.Helper()
	if _, err := io.WriteString(peer, what); err != nil {
		t.Error(err)
	}
}

func endOf(peer net.Conn) { _ = peer.(interface{ CloseWrite() error }).CloseWrite() }

// arrived waits until the socket has n bytes, and the end if it is to come too.
func arrived(t testing.TB, s *Socket, n int, end bool) {
	t.Helper()
	eventually(t, "what was sent arrives", func() bool {
		p := make([]byte, n+1)
		got, _, err := syscall.Recvfrom(s.fd, p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return got == n && (n > 0 || err == nil) && (!end || s.peekBelow() == SocketClosed)
	})
}

// TestAttend: whatever comes between two calls, together with what was read before, or
// while that is served, ends the wait for it.
func TestAttend(t *testing.T) {
	for name, tc := range map[string]struct {
		before func(s *Socket, peer net.Conn)
		serve  func(s *Socket, peer net.Conn, n int) // at the call number n
		want   []string
		end    error
	}{
		"one by one": {
			before: func(_ *Socket, peer net.Conn) { say(t, peer, "a") },
			serve:  func(_ *Socket, peer net.Conn, n int) { go say(t, peer, string(rune('a'+n))) },
			want:   []string{"a", "b", "c", "d"},
		},
		"while it is served": {
			before: func(_ *Socket, peer net.Conn) { say(t, peer, "a") },
			serve: func(s *Socket, peer net.Conn, n int) {
				say(t, peer, string(rune('a'+n)))
				arrived(t, s, 1, false)
			},
			want: []string{"a", "b", "c", "d"},
		},
		"more than fits": {
			before: func(s *Socket, peer net.Conn) {
				say(t, peer, string(make([]byte, wire.SmallBuffer))+"b")
				arrived(t, s, wire.SmallBuffer+1, false)
			},
			want: []string{string(make([]byte, wire.SmallBuffer)), "b"},
		},
		"the end with it": {
			before: func(s *Socket, peer net.Conn) {
				say(t, peer, "a")
				endOf(peer)
				arrived(t, s, 1, true)
			},
			want: []string{"a"},
			end:  io.EOF,
		},
		"the end while it is served": {
			before: func(_ *Socket, peer net.Conn) { say(t, peer, "a") },
			serve: func(s *Socket, peer net.Conn, _ int) {
				endOf(peer)
				arrived(t, s, 0, true)
			},
			want: []string{"a"},
			end:  io.EOF,
		},
		"the end later": {
			before: func(_ *Socket, peer net.Conn) { say(t, peer, "a") },
			serve:  func(_ *Socket, peer net.Conn, _ int) { time.AfterFunc(20*time.Millisecond, func() { endOf(peer) }) },
			want:   []string{"a"},
			end:    io.EOF,
		},
		"the end at once": {
			before: func(_ *Socket, peer net.Conn) { endOf(peer) },
			end:    io.EOF,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for how, hints := range map[string]bool{"tcp": true, "tcp without hints": false, "unix": false} {
				t.Run(how, func(t *testing.T) {
					noLeaks(t)
					s, peer := accepted(t, strings.Fields(how)[0], hints)
					if tc.before != nil {
						tc.before(s, peer)
					}
					var rd wire.Reader
					var got []string
					err := s.Attend(&rd, func() bool {
						got = append(got, string(rd.Bytes()))
						rd.Release()
						if tc.end == nil && len(got) == len(tc.want) {
							return false
						}
						if tc.serve != nil {
							tc.serve(s, peer, len(got))
						}
						return true
					})
					if err != tc.end || len(got) != len(tc.want) {
						t.Fatalf("got %d parts, %v, want %d, %v", len(got), err, len(tc.want), tc.end)
					}
					for i := range got {
						if got[i] != tc.want[i] {
							t.Errorf("part %d is %q, want %q", i, got[i], tc.want[i])
						}
					}
				})
			}
		})
	}
}

// TestAttendReset: a reset ends the wait.
func TestAttendReset(t *testing.T) {
	noLeaks(t)
	s, peer := accepted(t, "tcp", true)
	say(t, peer, "a")
	var rd wire.Reader
	err := s.Attend(&rd, func() bool {
		rd.Release()
		reset(t, peer)
		return true
	})
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the wait ended with %v", err)
	}
}

// TestHints: on this kernel a read shows that nothing is left, and what is.
func TestHints(t *testing.T) {
	noLeaks(t)
	s, peer := accepted(t, "tcp", true)
	p := make([]byte, 4)
	read := func(want int, quiet bool) {
		t.Helper()
		if n, err := s.readHinted(p); n != want || err != nil || s.quiet != quiet {
			t.Errorf("read %d, %v, quiet: %v", n, err, s.quiet)
		}
	}
	say(t, peer, "abcdef")
	arrived(t, s, 6, false)
	read(4, false)
	read(2, true)
	say(t, peer, "ab")
	endOf(peer)
	arrived(t, s, 2, true)
	read(2, false)
}

// TestRelease reads the numbers of kernels.
func TestRelease(t *testing.T) {
	for s, want := range map[string][2]int{
		"6.1.0-18-amd64": {6, 1}, "5.4": {5, 4}, "4.18.0-553.el8": {4, 18}, "5": {5, 0}, "": {}, "x": {}, "99999.9": {9999, 0},
	} {
		if major, minor := release(s); major != want[0] || minor != want[1] {
			t.Errorf("%q is %d.%d", s, major, minor)
		}
	}
}
