//go:build linux

package load

import (
	"fmt"
	"net"
	"time"
)

// Hold opens the connections of o, sends one request on each (an upgrade, for
// WebSockets) and reads its answer, calls ready, and keeps them open and idle
// until done is closed or o.Duration has passed.
func Hold(o Options, ready func(), done <-chan struct{}) error {
	if _, err := o.validate(); err != nil {
		return err
	}
	end := time.NewTimer(o.Duration)
	defer end.Stop()
	request, buf := o.request(), make([]byte, 64<<10)
	for i := range o.Connections {
		nc, err := net.DialTimeout("tcp", o.Addr, grace)
		if err != nil {
			return err
		}
		defer nc.Close()
		if err := once(nc, request, buf); err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
	}
	ready()
	select {
	case <-done:
	case <-end.C:
	}
	return nil
}

// once sends one request and reads its answer.
func once(nc net.Conn, request, buf []byte) error {
	if err := nc.SetDeadline(time.Now().Add(grace)); err != nil {
		return err
	}
	if _, err := nc.Write(request); err != nil {
		return err
	}
	c := conn{fd: -1, busy: true}
	for whole := false; !whole; {
		n, err := nc.Read(buf)
		if err != nil {
			return err
		}
		if whole, err = c.take(buf[:n]); err != nil {
			return err
		}
	}
	if !c.ok {
		return errStatus
	}
	return nil
}
