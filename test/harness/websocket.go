package harness

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"
)

// WebSocket opcodes (RFC 6455, section 5.2).
const (
	OpText  = 1
	OpClose = 8
	OpPing  = 9
	OpPong  = 10
)

// OpenWebSocket opens a WebSocket through a raw connection, so that tests see
// the frames that arrive and nothing that a library makes of them.
func OpenWebSocket(t testing.TB, address, path string, headers ...string) *Conn {
	t.Helper()
	c := Dial(t, address)
	request := "GET " + path + " HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, h := range headers {
		request += h + "\r\n"
	}
	m := c.Exchange(t, request+"\r\n")
	if m.Status() != 101 || m.Value("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("WebSocket handshake on %s%s: %s %q %q", address, path, m.First, m.Fields, m.Body)
	}
	return c
}

// WriteFrame sends one frame of up to 64 KiB, masked as a client's must be
// (with a mask of zeros, which leaves the payload readable).
func (c *Conn) WriteFrame(op byte, payload []byte) error {
	frame := []byte{0x80 | op}
	if len(payload) < 126 {
		frame = append(frame, 0x80|byte(len(payload)))
	} else {
		frame = append(frame, 0x80|126)
		frame = binary.BigEndian.AppendUint16(frame, uint16(len(payload)))
	}
	frame = append(frame, 0, 0, 0, 0)
	_, err := c.Write(append(frame, payload...))
	return err
}

// ReadFrame reads one frame as a server sends it.
func (c *Conn) ReadFrame() (op byte, payload []byte, err error) {
	c.deadline(patience)
	var head [2]byte
	if _, err := io.ReadFull(c.R, head[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1] & 0x7f)
	if head[1]&0x80 != 0 {
		return 0, nil, errors.New("a masked frame from a server")
	}
	switch n {
	case 126:
		var size [2]byte
		_, err = io.ReadFull(c.R, size[:])
		n = uint64(binary.BigEndian.Uint16(size[:]))
	case 127:
		return 0, nil, errors.New("a frame of more than 64 KiB")
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.R, payload)
	return head[0] & 0x0f, payload, err
}

// ReadClose reads frames until one closes the WebSocket and returns its code
// and reason.
func (c *Conn) ReadClose() (code int, reason string, err error) {
	for {
		op, payload, err := c.ReadFrame()
		if err != nil {
			return 0, "", fmt.Errorf("instead of a close frame: %w", err)
		}
		if op == OpClose {
			if len(payload) < 2 {
				return 1005, "", nil
			}
			return int(binary.BigEndian.Uint16(payload)), string(payload[2:]), nil
		}
	}
}

// WriteClose sends a close frame.
func (c *Conn) WriteClose(code int, reason string) error {
	return c.WriteFrame(OpClose, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
}
