package discovery

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// nameserver is a real server on loopback, by UDP and TCP on one port.
type nameserver struct {
	addr     string
	handler  atomic.Pointer[dns.HandlerFunc]
	udp, tcp atomic.Int64 // questions
}

func (n *nameserver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	if w.RemoteAddr().Network() == "tcp" {
		n.tcp.Add(1)
	} else {
		n.udp.Add(1)
	}
	(*n.handler.Load())(w, q)
}

func (n *nameserver) do(h dns.HandlerFunc) { n.handler.Store(&h) }

func serveDNS(t *testing.T, h dns.HandlerFunc) *nameserver {
	t.Helper()
	n := new(nameserver)
	n.do(h)
	for range 20 { // The port of the one may be taken for the other.
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		must(t, err)
		n.addr = packets.LocalAddr().String()
		listener, err := net.Listen("tcp", n.addr)
		if err != nil {
			_ = packets.Close()
			continue
		}
		var running sync.WaitGroup
		t.Cleanup(running.Wait) // After the Shutdowns: what was added last runs first.
		for _, s := range []*dns.Server{{PacketConn: packets, Handler: n}, {Listener: listener, Handler: n}} {
			up := make(chan struct{})
			s.NotifyStartedFunc = func() { close(up) }
			running.Go(func() { _ = s.ActivateAndServe() })
			<-up
			t.Cleanup(func() { _ = s.Shutdown() })
		}
		return n
	}
	t.Fatal("no port is free for UDP and TCP")
	return nil
}

// zone answers with the records of the type asked for.
func zone(t *testing.T, lines ...string) dns.HandlerFunc {
	var records []dns.RR
	for _, line := range lines {
		records = append(records, record(t, line))
	}
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = recordsOf(records, q.Question[0].Name, q.Question[0].Qtype)
		if alias := recordsOf(records, q.Question[0].Name, dns.TypeCNAME); len(m.Answer) == 0 {
			m.Answer = alias
		}
		if len(m.Answer) == 0 {
			m.Ns = []dns.RR{record(t, "example. 1 SOA ns.example. mail.example. 1 2 3 4 1")}
		}
		if w.RemoteAddr().Network() == "udp" {
			m.Truncate(udpSize)
		}
		_ = w.WriteMsg(m)
	}
}

func code(rcode int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetRcode(q, rcode)) }
}

func silence(dns.ResponseWriter, *dns.Msg) {}

func packed(t *testing.T, m *dns.Msg) []byte {
	raw, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return raw
}

func asking(servers ...string) *client {
	return &client{given: servers, timeout: 200 * time.Millisecond}
}

func TestDNSExchange(t *testing.T) {
	const a = "app.example. 60 A 10.0.0.1"
	for _, c := range []struct {
		name    string
		handler dns.HandlerFunc
		qtype   uint16
		want    int // records
		err     string
		tcp     bool
	}{
		{"answer", zone(t, a), dns.TypeA, 1, "", false},
		{"other case in the answer", func(w dns.ResponseWriter, q *dns.Msg) {
			q.Question[0].Name = "APP.example."
			zone(t, "APP.example. 60 A 10.0.0.1")(w, q)
		}, dns.TypeA, 1, "", false},
		{"no record", zone(t), dns.TypeA, 0, "", false},
		{"no such name", code(dns.RcodeNameError), dns.TypeA, 0, "", false},
		{"SERVFAIL", code(dns.RcodeServerFailure), dns.TypeA, 0, "SERVFAIL: it could not find out", false},
		{"REFUSED", code(dns.RcodeRefused), dns.TypeA, 0, "REFUSED: it does not answer this machine; allow it there", false},
		{"REFUSED without the question", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetRcode(q, dns.RcodeRefused)
			m.Question = nil
			_ = w.WriteMsg(m)
		}, dns.TypeA, 0, "REFUSED", false},
		{"rcode that nobody knows", code(12), dns.TypeA, 0, "rcode 12: it did not answer", false},
		{"silence", silence, dns.TypeA, 0, "no answer within 200ms; check that it runs", false},
		{"no EDNS0", func(w dns.ResponseWriter, q *dns.Msg) {
			if q.IsEdns0() != nil {
				code(dns.RcodeFormatError)(w, q)
				return
			}
			zone(t, a)(w, q)
		}, dns.TypeA, 1, "", false},
		{"truncated", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			if m.Truncated = w.RemoteAddr().Network() == "udp"; !m.Truncated {
				zone(t, a)(w, q)
				return
			}
			_ = w.WriteMsg(m)
		}, dns.TypeA, 1, "", true},
		{"truncated within a record", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{record(t, a)}
			if m.Truncated = w.RemoteAddr().Network() == "udp"; m.Truncated {
				raw := packed(t, m)
				_, _ = w.Write(raw[:len(raw)-2])
				return
			}
			_ = w.WriteMsg(m)
		}, dns.TypeA, 1, "", true},
		{"truncated, and no TCP", func(w dns.ResponseWriter, q *dns.Msg) {
			if w.RemoteAddr().Network() == "tcp" {
				_ = w.Close()
				return
			}
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			_ = w.WriteMsg(m)
		}, dns.TypeA, 0, "it closed the connection without an answer", true},
		{"truncated over TCP too", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Truncated, m.Answer = true, []dns.RR{record(t, a)}
			_ = w.WriteMsg(m)
		}, dns.TypeA, 0, "cuts off its answer even over TCP", true},
		{"cut off between two records", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{record(t, a)}
			raw := packed(t, m)
			binary.BigEndian.PutUint16(raw[6:], 2)
			_, _ = w.Write(raw)
		}, dns.TypeA, 0, "fewer records than it says", false},
		{"forged before the answer", func(w dns.ResponseWriter, q *dns.Msg) {
			forged := new(dns.Msg).SetReply(q)
			forged.Answer = []dns.RR{record(t, "app.example. 60 A 6.6.6.6"), record(t, "app.example. 60 A 6.6.6.7")}
			forged.Id++ // Another ID.
			_ = w.WriteMsg(forged)
			forged.Id = q.Id
			forged.Question = []dns.Question{{Name: "other.example.", Qtype: dns.TypeA, Qclass: dns.ClassINET}}
			_ = w.WriteMsg(forged)
			forged.Question = []dns.Question{{Name: "app.example.", Qtype: dns.TypeAAAA, Qclass: dns.ClassINET}}
			_ = w.WriteMsg(forged)
			forged.Question = nil
			_ = w.WriteMsg(forged)
			forged.Question, forged.Response = q.Question, false
			_ = w.WriteMsg(forged)
			_, _ = w.Write([]byte("garbage"))
			zone(t, a)(w, q)
		}, dns.TypeA, 1, "", false},
		{"records of other names", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{record(t, "other.example. 60 A 6.6.6.6"), record(t, a)}
			_ = w.WriteMsg(m)
		}, dns.TypeA, 1, "", false},
		{"referral", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Ns = []dns.RR{record(t, "example. 60 NS ns.example.")}
			_ = w.WriteMsg(m)
		}, dns.TypeA, 0, "give servers that resolve recursively", false},
		{"malformed SRV", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{record(t, "app.example. 60 SRV 1 1 80 b.example."), record(t, "app.example. 60 SRV 1 1 80 c.example.")}
			raw := packed(t, m)
			_, _ = w.Write(raw[:len(raw)-4])
		}, dns.TypeSRV, 0, "record 2 of 2 in its answer (SRV of app.example.) is malformed", false},
		{"malformed, and which is not to be told", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Extra = []dns.RR{record(t, a)}
			raw := packed(t, m)
			_, _ = w.Write(raw[:len(raw)-2])
		}, dns.TypeA, 0, "does not parse", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := serveDNS(t, c.handler)
			r, err := asking(n.addr).ask(t.Context(), question{"app.example.", c.qtype})
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), "server "+n.addr+": "+c.err) && !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if len(r.records) != c.want || (n.tcp.Load() > 0) != c.tcp {
				t.Errorf("records %v, %d questions by TCP", r.records, n.tcp.Load())
			}
			if err == nil && c.want == 0 && r.negative == "" {
				t.Error("no records, and no reason")
			}
		})
	}
}

func TestDNSServersInTurn(t *testing.T) {
	good, bad := serveDNS(t, zone(t, "app.example. 60 A 10.0.0.1")), serveDNS(t, code(dns.RcodeRefused))
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	nobody := closed.LocalAddr().String()
	must(t, closed.Close())

	c, q := asking(nobody, bad.addr, good.addr), question{"app.example.", dns.TypeA}
	for range 3 {
		if r, err := c.ask(t.Context(), q); err != nil || r.server != good.addr {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if bad.udp.Load() != 1 || good.udp.Load() != 3 {
		t.Errorf("%d and %d questions, want 1 and 3: the one that answered is asked first", bad.udp.Load(), good.udp.Load())
	}
	good.do(silence)
	var texts []string
	for range 3 {
		_, err := c.ask(t.Context(), q)
		texts = append(texts, err.Error())
	}
	if slices.Sort(texts); texts[0] != texts[2] || !strings.Contains(texts[0], nobody+": ") || !strings.Contains(texts[0], "connection refused; check the address") {
		t.Errorf("errors %q, want the same each time", texts)
	}
}

func TestDNSAskEndsWithContext(t *testing.T) {
	asked := make(chan struct{}, 100)
	n := serveDNS(t, func(dns.ResponseWriter, *dns.Msg) { asked <- struct{}{} })
	c := &client{given: []string{n.addr}, timeout: 30 * time.Second}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := c.ask(ctx, question{"app.example.", dns.TypeA})
		done <- err
	}()
	<-asked
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("does not end")
	}
}

func TestDNSSource(t *testing.T) {
	n := serveDNS(t, zone(t, "app.example. 60 A 10.0.0.1"))
	o := DefaultDNS()
	o.Name, o.Port, o.Servers = "app.example", 80, []string{n.addr}
	o.Timeout, o.MinTTL, o.MaxTTL = 200*time.Millisecond, 100*time.Millisecond, 200*time.Millisecond
	s, err := NewDNS(o, nil)
	must(t, err)
	if s.String() != "dns a app.example" {
		t.Errorf("named %q", s)
	}
	d := newDiary()
	stop := start(t, s, d)
	defer stop()
	d.next(t, "set 10.0.0.1:80")

	begin := time.Now()
	n.do(zone(t, "app.example. 60 A 10.0.0.2", "app.example. 60 AAAA ::2"))
	d.next(t, "set 10.0.0.2:80 [::2]:80")
	if took := time.Since(begin); took > time.Second {
		t.Errorf("a change took %s with a TTL of 200ms", took)
	}
	n.do(code(dns.RcodeServerFailure))
	d.next(t, "fail dns a app.example: server "+n.addr+": SERVFAIL")
	n.do(silence)
	d.next(t, "fail no answer within 200ms")
	n.do(zone(t, "app.example. 60 CNAME b.example.", "b.example. 60 A 10.0.0.3"))
	d.next(t, "set 10.0.0.3:80 [::2]:80")
	d.next(t, "set 10.0.0.3:80") // That there is no AAAA record was said three times.
	n.do(code(dns.RcodeNameError))
	d.next(t, "fail does not exist (NXDOMAIN) at server "+n.addr+"; its members stay until")
	d.next(t, "set")
	d.next(t, "fail check the name")

	var lines []string
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf("app.example. 0 A 10.1.%d.%d", i/250, i%250+1))
	}
	n.do(zone(t, lines...))
	select {
	case entry := <-d.news:
		if got := len(strings.Fields(entry)); got != 1001 || n.tcp.Load() == 0 {
			t.Errorf("%d words, %d questions by TCP; want 1001 and some", got, n.tcp.Load())
		}
	case <-time.After(10 * time.Second):
		t.Fatal("1,000 records do not arrive")
	}
}

func TestDNSSourceServices(t *testing.T) {
	n := serveDNS(t, zone(t, "_http._tcp.example. 0 SRV 1 3 8080 a.example.", "_http._tcp.example. 0 SRV 2 1 8081 a.example.", "a.example. 0 A 10.0.0.1", "a.example. 0 A 10.0.0.2"))
	o := DefaultDNS()
	o.Name, o.Type, o.Servers, o.MinTTL = "_http._tcp.example", "srv", []string{n.addr}, 100*time.Millisecond
	s, err := NewDNS(o, nil)
	must(t, err)
	d := newDiary()
	defer start(t, s, d)()
	d.next(t, "set 10.0.0.1:8080*3 10.0.0.2:8080*3 10.0.0.1:8081(backup) 10.0.0.2:8081(backup)")
	n.do(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{record(t, "_http._tcp.example. 0 SRV 1 1 80 a.example.")}
		raw := packed(t, m)
		raw[len(raw)-11] = 0x3f // A label of the target that is longer than the message.
		_, _ = w.Write(raw)
	})
	d.next(t, "fail dns srv _http._tcp.example: server "+n.addr+": record 1 of 1 in its answer …is malformed")
}

func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	c := &resolvConf{path: path}
	for _, step := range []struct {
		name, text string
		want       []string
		err        string
	}{
		{"missing", "", nil, "cannot read the DNS servers: stat " + path},
		{"two", "# nameserver 9.9.9.9\nsearch example\nnameserver 10.0.0.1\n nameserver\t::1 # local\nnameserver name\n", []string{"10.0.0.1:53", "[::1]:53"}, ""},
		{"changed", "nameserver fe80::1%eth0", []string{"[fe80::1%eth0]:53"}, ""},
		{"none", "options ndots:5\nnameserver\n", nil, "has no nameserver line with an address; add one, or set servers"},
		{"too many", strings.Repeat("nameserver 10.0.0.1\n", 100), slices.Repeat([]string{"10.0.0.1:53"}, maxServers), ""},
	} {
		if step.text != "" {
			write(t, path, step.text)
		}
		got, err := c.servers()
		if (err == nil) != (step.err == "") || err != nil && !strings.Contains(err.Error(), step.err) || !slices.Equal(got, step.want) {
			t.Errorf("%s: %q, %v; want %q, %q", step.name, got, err, step.want, step.err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := (&client{conf: c}).ask(t.Context(), question{"a.", dns.TypeA}); err == nil {
		t.Error("asks the servers of a file that is gone")
	}
}

func TestDNSLeaksNothing(t *testing.T) {
	asked := make(chan struct{}, 100)
	n := serveDNS(t, func(dns.ResponseWriter, *dns.Msg) { asked <- struct{}{} })
	o := DefaultDNS()
	o.Name, o.Type, o.Servers = "app.example", "srv", []string{n.addr}
	s, err := NewDNS(o, nil)
	must(t, err)
	once := func() {
		stop := start(t, s, newDiary())
		<-asked
		stop()
	}
	once()
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for range 50 {
		once()
	}
	settled(t, "goroutines", goroutines, runtime.NumGoroutine)
	settled(t, "open files", files, func() int { return openFiles(t) })
}

// FuzzDNSResponse feeds what a server may send, to the end of the way.
func FuzzDNSResponse(f *testing.F) {
	for _, lines := range [][]string{
		{"app.example. 60 A 10.0.0.1", "app.example. 60 A 10.0.0.2"}, {"app.example. 60 AAAA ::1"},
		{"app.example. 60 CNAME b.example.", "b.example. 1 A 10.0.0.1"}, {"app.example. 60 CNAME app.example."},
		{"app.example. 60 SRV 1 2 3 b.example.", "app.example. 60 SRV 0 0 0 ."},
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
			m := new(dns.Msg).SetQuestion("app.example.", qtype)
			m.Response, m.Id = true, 1
			for _, line := range lines {
				rr, err := dns.NewRR(line)
				if err != nil {
					f.Fatal(err)
				}
				m.Answer = append(m.Answer, rr)
			}
			m.SetEdns0(udpSize, false)
			raw, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
			fuzzResponse(t, raw, question{"app.example.", qtype})
		}
	})
}

func fuzzResponse(t *testing.T, raw []byte, q question) {
	m, ours, err := parseMessage(raw, 1, q)
	if !ours || err != nil || m.Truncated {
		if !ours && (m != nil || err != nil) {
			t.Fatal("an answer that is not ours has content")
		}
		return
	}
	r, err := interpret(m, q)
	if err != nil {
		return
	}
	if r.ttl < 0 && r.ttl != noTTL || len(r.records) > 0 && (r.negative != "" || r.alias != "" || r.ttl == noTTL) ||
		len(r.records) == 0 && r.negative == "" && r.alias == "" {
		t.Fatalf("%+v means nothing", r)
	}
	o := DefaultDNS()
	o.Name, o.Port, o.NXDomainRepeats = "app.example", 80, 1
	if q.qtype == dns.TypeSRV {
		o.Type, o.Port = "srv", 0
	}
	s := newDNS(o, canned{q, r}, nil)
	var out round
	if o.Type == "srv" {
		out = s.askServices(t.Context())
	} else {
		out = s.askAddresses(t.Context())
	}
	seen := make(map[string]bool)
	for _, m := range out.members {
		addr, err := netip.ParseAddrPort(m.Address)
		if err != nil || addr.Port() == 0 || addr.Addr().IsUnspecified() || seen[m.Address] || m.Weight < 1 || m.Weight > 65535 {
			t.Fatalf("member %+v", m)
		}
		seen[m.Address] = true
	}
	if p := s.pause(out); p < o.MinTTL || p > o.MaxTTL {
		t.Fatalf("a pause of %s", p)
	}
}

// canned has one reply, and for other questions none.
type canned struct {
	q question
	r reply
}

func (c canned) ask(_ context.Context, q question) (reply, error) {
	if q == c.q {
		return c.r, nil
	}
	return reply{negative: "has none", ttl: noTTL}, nil
}
