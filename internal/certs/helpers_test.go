package certs

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
)

// journal is a log to look into.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return bytes.Count(j.buf.Bytes(), []byte(text))
}

func (j *journal) log() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// open opens a Store that is closed when the test ends.
func open(t *testing.T, o Options, tickets *Tickets) (*Store, *journal) {
	t.Helper()
	j := &journal{}
	s, err := Open(o, tickets, j.log())
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Close)
	return s, j
}

// options has one pair for each of several.
func options(t *testing.T, pairs ...*certtest.Pair) Options {
	t.Helper()
	var o Options
	dir := t.TempDir()
	for i, p := range pairs {
		f := Files{}
		f.CertFile, f.KeyFile = p.Files(t, dir, string(rune('a'+i)))
		o.Certificates = append(o.Certificates, f)
	}
	return o
}

// shake makes a handshake and returns both ends' errors and what the client knows. The
// client reads a byte, so that it has got session tickets.
func shake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, clientErr, serverErr error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			done <- err
			return
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
		c := tls.Server(nc, server)
		err = c.Handshake()
		if err == nil {
			_, _ = c.Write([]byte("x"))
			_ = c.CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		}
		done <- err
	}()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
	c := tls.Client(nc, client)
	if clientErr = c.Handshake(); clientErr == nil {
		_, clientErr = io.ReadAll(c)
		state = c.ConnectionState()
	}
	c.Close()
	return state, clientErr, <-done
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 15s: %s", what)
		}
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
