package admin

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"steelyard/config"
)

func TestGuesses(t *testing.T) {
	now := time.Now()
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var g guesses
	for i := range maxGuesses {
		if wait := g.wait(a, now); wait != 0 {
			t.Fatalf("after %d wrong tokens the wait is %v", i, wait)
		}
		g.wrong(a, now)
	}
	if wait := g.wait(a, now); wait != guessEvery {
		t.Errorf("after %d wrong tokens the wait is %v, want %v", maxGuesses, wait, guessEvery)
	}
	if wait := g.wait(b, now); wait != 0 {
		t.Errorf("another address waits %v", wait)
	}
	if wait := g.wait(a, now.Add(guessEvery)); wait != 0 {
		t.Errorf("%v later the wait is %v", guessEvery, wait)
	}
}

// TestGuessersAreBounded: whoever has many addresses takes no memory; a network of
// IPv6 is one guesser, and an IPv4 address is one however it is written.
func TestGuessersAreBounded(t *testing.T) {
	now := time.Now()
	var g guesses
	for i := range 5 * maxGuessers {
		g.wrong(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now.Add(time.Duration(i)))
	}
	if len(g.from) != maxGuessers {
		t.Errorf("%d addresses are remembered, want %d", len(g.from), maxGuessers)
	}
	g.wrong(netip.MustParseAddr("192.0.2.1"), now.Add(time.Hour))
	if len(g.from) != 1 {
		t.Errorf("%d addresses are remembered an hour later", len(g.from))
	}
	for range maxGuesses {
		g.wrong(netip.MustParseAddr("2001:db8::1"), now.Add(time.Hour))
		g.wrong(netip.MustParseAddr("::ffff:192.0.2.7"), now.Add(time.Hour))
	}
	for _, same := range []string{"2001:db8::ffff:2", "192.0.2.7"} {
		if g.wait(netip.MustParseAddr(same), now.Add(time.Hour)) == 0 {
			t.Errorf("%s may go on", same)
		}
	}
}

func TestTokens(t *testing.T) {
	const fixed, inFile = "the-fixed-token-of-it", "the-token-of-the-file"
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("\n "+inFile+" \nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	both, err := newTokens(fixed, path)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := newTokens("", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		of    *tokens
		shown string
		want  string
	}{
		{"the fixed one", both, fixed, "token"},
		{"that of the file", both, inFile, "token_file"},
		{"nothing", both, "", ""},
		{"nothing where there is no fixed one", alone, "", ""},
		{"the fixed one of others", alone, fixed, ""},
		{"one letter less", both, fixed[1:], ""},
		{"another line of the file", both, "more", ""},
	} {
		if got := c.of.match(c.shown); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := both.match(inFile); got != "token_file" {
		t.Errorf("without its file the token is %q", got)
	}
	for name, text := range map[string]string{"short": "short", "empty": "", "enormous": strings.Repeat("x", maxBody+1)} {
		bad := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := newTokens("", bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if none, err := newTokens("", ""); none != nil || err != nil {
		t.Errorf("%v, %v", none, err)
	}
}

// TestNewRefuses: what check would have refused, and files that are not there.
func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]config.Admin{
		"who may use it":   {Address: ":9400"},
		"no/such.token":    {Address: "127.0.0.1:9400", TokenFile: "no/such.token"},
		"no/such.pem":      {Address: "127.0.0.1:9400", TLS: &config.AdminTLS{CertFile: "no/such.pem", KeyFile: "no/such.key"}},
		"needs a token or": {Address: "0.0.0.0:9400", ReadOnly: true},
	} {
		_, err := New(&fakeControl{}, Options{Admin: o})
		if name == "who may use it" {
			name = "can be reached from other machines"
		}
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want an error with %q", err, name)
		}
	}
}

func TestHub(t *testing.T) {
	var h hub
	h.init()
	a, slow := h.join(), h.join()
	for i := range viewerQueue {
		h.publish(fmt.Append(nil, i))
		<-a.events
	}
	if len(slow.events) != viewerQueue {
		t.Fatalf("%d events wait", len(slow.events))
	}
	h.publish([]byte("one too many"))
	if got := string(<-a.events); got != "one too many" {
		t.Errorf("%q", got)
	}
	for range viewerQueue {
		<-slow.events
	}
	if _, open := <-slow.events; open || len(h.viewers) != 1 {
		t.Error("the slow viewer was not dropped")
	}
	h.leave(slow) // once more does nothing
	late := h.join()
	if got := string(<-late.events); got != "one too many" {
		t.Errorf("who comes late sees %q", got)
	}
	h.leave(a)
	h.leave(late)
	if h.watched() || h.last != nil {
		t.Error("the last event is kept although nobody watches")
	}
	for range maxViewers {
		if h.join() == nil {
			t.Fatal("not all may come")
		}
	}
	if h.join() != nil {
		t.Error("one too many has come")
	}
	h.close()
	if h.watched() || h.join() != nil {
		t.Error("it goes on after its end")
	}
}

// TestConnectionsAreBounded: those beyond the limit are closed at once, and come
// in again when others have gone.
func TestConnectionsAreBounded(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &limited{Listener: ln, most: 2}
	defer l.Close()
	accepted := make(chan net.Conn, 4)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	dial()
	first := <-accepted
	<-accepted
	if _, err := dial().Read(make([]byte, 1)); err == nil {
		t.Error("a third connection was let in")
	}
	first.Close()
	first.Close() // counts once
	dial()
	<-accepted
	if _, err := dial().Read(make([]byte, 1)); err == nil {
		t.Error("another third connection was let in")
	}
}

// TestStreamEndsWithItsServer: streams have an event at once, end when the server
// closes, and leave nothing. A successor goes on with the same audit and history.
func TestStreamEndsWithItsServer(t *testing.T) {
	s, address := newServer(t)
	awaitHistory(t, s)
	res, err := http.Get("http://" + address + "/api/v1/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() && lines.Text() != "event: live" {
	}
	if lines.Scan(); !strings.HasPrefix(lines.Text(), `data: {"at":`) {
		t.Errorf("%d %q", res.StatusCode, lines.Text())
	}
	call(t, "POST", "http://"+address+"/api/v1/pools/web/backends/127.0.0.1:1/disable", "", nil)
	next, err := s.With(Options{Admin: config.Admin{Address: "127.0.0.1:0", ReadOnly: true}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	next.Serve(ln)
	defer next.Close()
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	for lines.Scan() {
	}
	<-closed
	if next.memory.recorded() != s.memory.recorded() || next.memory.recorded().Now() == nil {
		t.Error("the history begins anew")
	}
	if _, text := call(t, "GET", "http://"+ln.Addr().String()+"/api/v1/audit", "", nil); !strings.Contains(text, "disable") {
		t.Errorf("the audit has forgotten: %s", text)
	}
	s.stop = func() {} // It is closed again at the end of the test.
	s.memory.join()
}

// TestNotedIsBounded: what others can cause is logged once a second.
func TestNotedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n noted
		var lines []int
		for range 10 {
			for range 5 {
				n.note(func(more int) { lines = append(lines, more) })
			}
			time.Sleep(500 * time.Millisecond)
		}
		if fmt.Sprint(lines) != "[0 9 9 9 9]" {
			t.Errorf("%v", lines)
		}
	})
}

func TestAuditKeepsTheLast(t *testing.T) {
	var a audit
	for i := range maxAudit + 5 {
		a.add(&order{Value: fmt.Sprint(i)})
	}
	list, total := a.last()
	if len(list) != maxAudit || total != maxAudit+5 || list[0].Value != fmt.Sprint(maxAudit+4) || list[maxAudit-1].Value != "5" {
		t.Errorf("%d of %d, from %q to %q", len(list), total, list[0].Value, list[len(list)-1].Value)
	}
}
