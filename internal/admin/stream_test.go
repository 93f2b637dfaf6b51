package admin

import (
	"bufio"
	"net"
	"net/http"
	"testing"
	"time"

	"steelyard/config"
)

// TestStreamOutlivesTheTimeoutsOfACall: those of a request and its answer do not
// end what goes on for hours.
func TestStreamOutlivesTheTimeoutsOfACall(t *testing.T) {
	s, err := New(&fakeControl{}, Options{Admin: config.Admin{Address: "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	s.http.ReadTimeout, s.http.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(ln)
	defer s.Close()
	res, err := http.Get("http://" + ln.Addr().String() + "/api/v1/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	events := 0
	for lines := bufio.NewScanner(res.Body); events < 3 && lines.Scan(); {
		if lines.Text() == "event: live" {
			events++
		}
	}
	if events < 3 {
		t.Errorf("it ended after %d events", events)
	}
}
