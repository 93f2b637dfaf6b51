package harness

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// Nameserver is a real DNS server on loopback, by UDP and TCP on one port.
type Nameserver struct {
	Address string

	t testing.TB

	mu     sync.Mutex
	zone   []dns.RR
	mood   func(w dns.ResponseWriter, q *dns.Msg) // instead of the zone; nil is the zone
	denied int                                    // answers that a name of type SRV or A does not exist
}

// ServeDNS starts a server with a zone whose records have the form of zone
// files. It answers NXDOMAIN for a name without records.
func ServeDNS(t testing.TB, zone ...string) *Nameserver {
	t.Helper()
	n := &Nameserver{t: t}
	n.Holds(zone...)
	for range 20 { // The port of the one may be taken for the other.
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		n.Address = packets.LocalAddr().String()
		listener, err := net.Listen("tcp", n.Address)
		if err != nil {
			packets.Close()
			continue
		}
		var running sync.WaitGroup
		t.Cleanup(running.Wait) // After the Shutdowns: what was added last runs first.
		for _, s := range []*dns.Server{{PacketConn: packets, Handler: n}, {Listener: listener, Handler: n}} {
			up := make(chan struct{})
			s.NotifyStartedFunc = func() { close(up) }
			running.Go(func() { _ = s.ActivateAndServe() }) // Until it is shut down.
			<-up
			t.Cleanup(func() { _ = s.Shutdown() })
		}
		return n
	}
	t.Fatal("no port is free for UDP and TCP")
	return nil
}

// Holds gives the server another zone and lets it answer.
func (n *Nameserver) Holds(zone ...string) {
	n.t.Helper()
	var records []dns.RR
	for _, line := range zone {
		rr, err := dns.NewRR(line)
		if err != nil {
			n.t.Fatalf("%q: %v", line, err)
		}
		records = append(records, rr)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.zone, n.mood, n.denied = records, nil, 0
}

// Behaves makes the server answer in its own way from now on.
func (n *Nameserver) Behaves(mood func(w dns.ResponseWriter, q *dns.Msg)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mood, n.denied = mood, 0
}

// Denials is how often it has said that a name does not exist, since its zone was set.
func (n *Nameserver) Denials() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.denied
}

// ServeDNS answers a question.
func (n *Nameserver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mood != nil {
		n.mood(w, q)
		return
	}
	m := new(dns.Msg).SetReply(q)
	m.Rcode = dns.RcodeNameError
	ask := q.Question[0]
	for _, rr := range n.zone {
		if h := rr.Header(); strings.EqualFold(h.Name, ask.Name) {
			m.Rcode = dns.RcodeSuccess
			if h.Rrtype == ask.Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
	}
	if m.Rcode == dns.RcodeNameError && ask.Qtype != dns.TypeAAAA {
		n.denied++
	}
	_ = w.WriteMsg(m) // Who has asked may be gone.
}

// ServFail is a mood: it could not find out.
func ServFail(w dns.ResponseWriter, q *dns.Msg) {
	_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
}

// Silence is a mood: no answer.
func Silence(dns.ResponseWriter, *dns.Msg) {}
