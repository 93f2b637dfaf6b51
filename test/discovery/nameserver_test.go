package discovery_test

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// nameserver is a real DNS server on loopback, by UDP and TCP on one port.
type nameserver struct {
	t       *testing.T
	address string

	mu     sync.Mutex
	zone   []dns.RR
	mood   func(w dns.ResponseWriter, q *dns.Msg) // instead of the zone; nil is the zone
	denied int                                    // answers that a name of type SRV or A does not exist
}

// serveDNS starts a server with a zone whose records have the form of zone
// files. It answers NXDOMAIN for a name without records.
func serveDNS(t *testing.T, zone ...string) *nameserver {
	t.Helper()
	n := &nameserver{t: t}
	n.holds(zone...)
	for range 20 { // The port of the one may be taken for the other.
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		n.address = packets.LocalAddr().String()
		listener, err := net.Listen("tcp", n.address)
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

// holds gives the server another zone and lets it answer.
func (n *nameserver) holds(zone ...string) {
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

// behaves makes the server answer in its own way from now on.
func (n *nameserver) behaves(mood func(w dns.ResponseWriter, q *dns.Msg)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mood, n.denied = mood, 0
}

// denials is how often it has said that a name does not exist, since its zone was set.
func (n *nameserver) denials() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.denied
}

// ServeDNS answers a question.
func (n *nameserver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
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

func servfail(w dns.ResponseWriter, q *dns.Msg) {
	_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
}

func silence(dns.ResponseWriter, *dns.Msg) {}

// torn answers with an SRV record that ends in the middle.
func torn(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Answer = []dns.RR{&dns.RFC3597{
		Hdr:   dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: 1},
		Rdata: "000a00",
	}}
	_ = w.WriteMsg(m)
}
