package healthcheck

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
)

// TestTheReasonNamesAPortOfItsOwn: who reads it sees the backend's port beside it.
func TestTheReasonNamesAPortOfItsOwn(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	ln.Close()
	for _, typ := range []string{"http", "tcp", "grpc"} {
		o := DefaultOptions()
		o.Type = typ
		if typ != "http" {
			o.HTTP = HTTP{}
		}
		if o.Port, err = strconv.Atoi(port); err != nil {
			t.Fatal(err)
		}
		probe, err := NewProbe(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = probe.Run(context.Background(), "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "port "+port+": connection refused") {
			t.Errorf("%s: %v", typ, err)
		}
	}
}
