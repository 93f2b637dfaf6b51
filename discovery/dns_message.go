package discovery

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxAliases is how many CNAMEs may stand between a name and its records.
const maxAliases = 16

// noTTL is that of a negative answer which does not say how long it holds.
const noTTL = time.Duration(-1)

// question is a fully qualified name and a type, class IN.
type question struct {
	name  string
	qtype uint16
}

// reply is what an answer says to its question.
type reply struct {
	server  string
	records []dns.RR // of the type asked for, at the end of the CNAMEs
	extra   []dns.RR // the additional section
	ttl     time.Duration
	// negative says why there are no records: "does not exist (NXDOMAIN)".
	negative string
	// alias is where the CNAMEs lead, if the answer does not say what is there.
	alias string
}

// parseMessage reads the answer to q, with the given ID, from the bytes of a
// message. ours is false if it is not the answer to q, whoever sent it: then it
// must be ignored. It checks what the library does not: the ID, the question,
// and that there are as many records as the header says (Unpack takes a message
// that ends between two records for whole). What is Truncated may not be used.
func parseMessage(raw []byte, id uint16, q question) (m *dns.Msg, ours bool, err error) {
	const header, response, opcode, truncated, rcode = 12, 0x80, 0x78, 0x02, 0x0f
	if len(raw) < header || binary.BigEndian.Uint16(raw) != id || raw[2]&response == 0 || raw[2]&opcode != 0 {
		return nil, false, nil
	}
	counts := [4]int{}
	for i := range counts {
		counts[i] = int(binary.BigEndian.Uint16(raw[4+2*i:]))
	}
	end := header
	if counts[0] != 1 {
		// Some servers leave the question out when they refuse.
		if status := raw[3] & rcode; counts[0] != 0 || status == dns.RcodeSuccess || status == dns.RcodeNameError {
			return nil, false, nil
		}
	} else {
		name, off, err := dns.UnpackDomainName(raw, header)
		if err != nil || off+4 > len(raw) || !strings.EqualFold(name, q.name) ||
			binary.BigEndian.Uint16(raw[off:]) != q.qtype || binary.BigEndian.Uint16(raw[off+2:]) != dns.ClassINET {
			return nil, false, nil
		}
		end = off + 4
	}
	m = new(dns.Msg)
	if err := m.Unpack(raw); err != nil {
		if raw[2]&truncated != 0 { // It may have been cut within a record.
			m.Truncated = true
			return m, true, nil
		}
		return nil, true, badRecord(raw, end, counts[1], err)
	}
	if !m.Truncated && (len(m.Answer) != counts[1] || len(m.Ns) != counts[2] || len(m.Extra) != counts[3]) {
		return nil, true, errors.New("its answer has fewer records than it says: it was cut off on the way; check what is between")
	}
	for i, rr := range m.Answer {
		if isEmpty(rr) {
			return nil, true, fmt.Errorf("record %d of %d in its answer (%s of %s) is empty; correct it in the zone",
				i+1, len(m.Answer), dns.Type(rr.Header().Rrtype), rr.Header().Name)
		}
	}
	m.Extra = slices.DeleteFunc(m.Extra, isEmpty)
	return m, true, nil
}

// isEmpty reports whether a record that we read has no data. The library takes
// it, because dynamic updates have such (RFC 2136, section 2.4); in an answer it
// says nothing.
func isEmpty(rr dns.RR) bool {
	switch h := rr.Header(); h.Rrtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeCNAME:
		return h.Rdlength == 0
	}
	return false
}

// badRecord says which record does not parse. off is where they begin.
func badRecord(raw []byte, off, answers int, err error) error {
	for i := range answers {
		_, next, recordErr := dns.UnpackRR(raw, off)
		if recordErr == nil {
			off = next
			continue
		}
		what := ""
		if name, end, err := dns.UnpackDomainName(raw, off); err == nil && end+2 <= len(raw) {
			what = fmt.Sprintf(" (%s of %s)", dns.Type(binary.BigEndian.Uint16(raw[end:])), name)
		}
		return fmt.Errorf("record %d of %d in its answer%s is malformed: %w; correct it in the zone", i+1, answers, what, recordErr)
	}
	return fmt.Errorf("its answer does not parse: %w; check that a DNS server listens there", err)
}

// interpret says what an answer means. It fails when the server did not answer
// the question: then another may.
func interpret(m *dns.Msg, q question) (reply, error) {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return reply{}, &rcodeError{m.Rcode}
	}
	r := reply{extra: m.Extra, ttl: 1 << 62}
	owner := q.name
	for hops := 0; ; hops++ {
		r.records = recordsOf(m.Answer, owner, q.qtype)
		alias := recordsOf(m.Answer, owner, dns.TypeCNAME)
		if len(r.records) > 0 || len(alias) == 0 {
			break
		}
		if hops == maxAliases {
			return reply{}, fmt.Errorf("%s leads through more than %d CNAMEs, or in a circle; correct them in the zone", q.name, maxAliases)
		}
		r.ttl = min(r.ttl, seconds(alias[0].Header().Ttl))
		owner = alias[0].(*dns.CNAME).Target
	}
	if len(r.records) > 0 {
		for _, rr := range r.records {
			r.ttl = min(r.ttl, seconds(rr.Header().Ttl))
		}
		return r, nil
	}
	soa, referral := false, false
	for _, rr := range m.Ns {
		switch rr := rr.(type) {
		case *dns.SOA: // RFC 2308, section 5.
			soa = true
			r.ttl = min(r.ttl, seconds(rr.Hdr.Ttl), seconds(rr.Minttl))
		case *dns.NS:
			referral = true
		}
	}
	switch {
	case m.Rcode == dns.RcodeNameError:
		r.negative = "does not exist (NXDOMAIN)"
	case !soa && owner != q.name:
		r.alias = owner
		return r, nil
	case !soa && referral && !m.Authoritative:
		return reply{}, errors.New("only names other servers that may know; give servers that resolve recursively")
	default:
		r.negative = "has no " + dns.TypeToString[q.qtype] + " record (NODATA)"
	}
	if r.ttl == 1<<62 {
		r.ttl = noTTL
	}
	return r, nil
}

func recordsOf(section []dns.RR, owner string, qtype uint16) (found []dns.RR) {
	for _, rr := range section {
		if h := rr.Header(); h.Rrtype == qtype && h.Class == dns.ClassINET && strings.EqualFold(h.Name, owner) {
			found = append(found, rr)
		}
	}
	return found
}

// seconds is a TTL; one with the highest bit is 0 (RFC 2181, section 8).
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		ttl = 0
	}
	return time.Duration(ttl) * time.Second
}

// rcodeError is an answer that is none.
type rcodeError struct{ rcode int }

func (e *rcodeError) Error() string {
	name := dns.RcodeToString[e.rcode]
	switch e.rcode {
	case dns.RcodeServerFailure:
		return name + ": it could not find out; its log, or the name servers of the zone, know why"
	case dns.RcodeRefused:
		return name + ": it does not answer this machine; allow it there, or give other servers"
	case dns.RcodeNotImplemented, dns.RcodeFormatError, dns.RcodeBadVers:
		return name + ": it did not understand the question; give other servers"
	}
	if name == "" {
		name = fmt.Sprintf("rcode %d", e.rcode)
	}
	return name + ": it did not answer; give other servers"
}

// addressesOf reads A and AAAA records.
func addressesOf(records []dns.RR) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, rr := range records {
		var addr netip.Addr
		switch rr := rr.(type) {
		case *dns.A:
			addr, _ = netip.AddrFromSlice(rr.A)
		case *dns.AAAA:
			addr, _ = netip.AddrFromSlice(rr.AAAA)
		default:
			continue
		}
		addr = addr.Unmap()
		// The unspecified address would be this machine itself.
		if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			h := rr.Header()
			return nil, fmt.Errorf("record %s %s is no address of a backend: %s; correct it in the zone", h.Name, dns.TypeToString[h.Rrtype], addr)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// service is an SRV record (RFC 2782).
type service struct {
	target           string
	port             uint16
	priority, weight uint16
}

// servicesOf reads SRV records. The target "." alone says that there is
// decidedly no such service: no services and no error.
func servicesOf(records []dns.RR) ([]service, error) {
	var services []service
	for _, rr := range records {
		srv, ok := rr.(*dns.SRV)
		if !ok || srv.Target == "." {
			continue
		}
		problem := nameProblem(srv.Target)
		switch {
		case srv.Target == "":
			problem = "it has no data"
		case problem != "":
			problem = "target " + problem
		case srv.Port == 0:
			problem = "the port is 0"
		}
		if problem != "" {
			// Without the TTL, which differs from answer to answer.
			return nil, fmt.Errorf("record \"SRV %d %d %d %.255s\" is malformed: %s; correct it in the zone",
				srv.Priority, srv.Weight, srv.Port, srv.Target, problem)
		}
		services = append(services, service{srv.Target, srv.Port, srv.Priority, srv.Weight})
	}
	return services, nil
}
