//go:build linux

package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
)

// serve is the backend for uploads and WebSockets: it reads a request's body to
// its end and answers two bytes, or echoes messages. (GETs go to an nginx with
// a file, which costs the load's core less.) It returns when stdin ends.
func serve(stop io.Reader, addrs []string) error {
	failed := make(chan error, len(addrs)+1)
	for _, addr := range addrs {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		defer l.Close()
		go func() { failed <- accept(l) }()
	}
	go func() {
		_, err := io.Copy(io.Discard, stop)
		failed <- err
	}()
	return <-failed // What still runs ends with the process.
}

func accept(l net.Listener) error {
	for {
		nc, err := l.Accept()
		if err != nil {
			return err
		}
		go answer(nc)
	}
}

// answer serves one connection. An error ends it: the load sees that.
func answer(nc net.Conn) {
	defer nc.Close()
	br := bufio.NewReaderSize(nc, 2<<10)
	drain := make([]byte, 64<<10)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if key := r.Header.Get("Sec-Websocket-Key"); key != "" {
			sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
			fmt.Fprintf(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
				"Sec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
			drain = nil
			echo(nc, br)
			return
		}
		for err == nil {
			_, err = r.Body.Read(drain)
		}
		if err != io.EOF {
			return
		}
		if _, err := io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"); err != nil {
			return
		}
	}
}

// echo sends every message back as it came, unmasked, until one is no data.
func echo(nc net.Conn, br *bufio.Reader) {
	var out []byte
	for {
		head, err := br.Peek(2)
		if err != nil || head[0]&0x0f > 2 || head[1]&0x80 == 0 {
			return
		}
		skip, n := 2, int(head[1]&0x7f)
		if n == 126 {
			if head, err = br.Peek(4); err != nil {
				return
			}
			skip, n = 4, int(binary.BigEndian.Uint16(head[2:]))
		} else if n == 127 {
			return
		}
		out = append(out[:0], head[0])
		if n < 126 {
			out = append(out, byte(n))
		} else {
			out = binary.BigEndian.AppendUint16(append(out, 126), uint16(n))
		}
		if _, err = br.Discard(skip); err != nil {
			return
		}
		from := len(out) + 4
		out = append(out, make([]byte, n+4)...)
		body := out[from-4:]
		if _, err = io.ReadFull(br, body); err != nil {
			return
		}
		mask := [4]byte(body)
		for i := range n {
			body[i] = body[i+4] ^ mask[i&3]
		}
		if _, err = nc.Write(out[:from-4+n]); err != nil {
			return
		}
	}
}
