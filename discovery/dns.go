package discovery

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxBackoff is the longest time between two questions while DNS does not
// answer, unless MinTTL is longer.
const maxBackoff = 10 * time.Second

// dnsSource asks DNS for one name.
//
// Type a: every A and AAAA record is a member of weight 1. Type srv: every
// address of every target is a member with the port and the weight of its
// record. The records of the lowest priority value serve, all others are backup
// members, so that RFC 2782's tiers are two. Weight 0, which RFC 2782 gives "a
// very small chance", counts as 1, since nothing is sent to a member of weight 0
// here. Records in which the same address and port turn up count once, with the
// lowest priority value.
type dnsSource struct {
	o     DNSOptions
	name  string // with the dot at its end
	asker asker
	log   *slog.Logger

	// What follows belongs to Run.
	host      host             // of type a
	targets   map[string]*host // of type srv
	negatives int              // of type srv: answers in a row that it has no record
	failures  int              // rounds in a row
	answered  bool             // a membership was handed over
	last      []Member         // that was handed over
	trouble   string           // that was handed over since
}

// NewDNS returns a source that asks DNS. Its errors are *OptionError values;
// what is wrong with DNS itself comes out when it runs.
func NewDNS(o DNSOptions, log *slog.Logger) (Source, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	c := &client{conf: &resolvConf{path: "/etc/resolv.conf"}, timeout: o.Timeout}
	for _, s := range o.Servers {
		address, err := serverAddress(s)
		if err != nil {
			return nil, &OptionError{"servers", err.Error()}
		}
		c.given = append(c.given, address)
	}
	return newDNS(o, c, log), nil
}

func newDNS(o DNSOptions, a asker, log *slog.Logger) *dnsSource {
	if o.Type == "" {
		o.Type = "a"
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &dnsSource{o: o, name: dns.Fqdn(o.Name), asker: a, log: log, targets: make(map[string]*host)}
}

// String names the source: "dns srv _http._tcp.example".
func (s *dnsSource) String() string {
	return "dns " + s.o.Type + " " + strings.TrimSuffix(s.o.Name, ".")
}

// round is what one round of questions found out.
type round struct {
	members []Member
	known   bool          // members may be handed over
	ttl     time.Duration // how long that holds; noTTL if that was not said
	soon    bool          // an answer is to be confirmed
	failed  bool          // something was not answered
	trouble error         // what people should know
}

// Run asks until ctx ends.
func (s *dnsSource) Run(ctx context.Context, sink Sink) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		var r round
		if s.o.Type == "srv" {
			r = s.askServices(ctx)
		} else {
			r = s.askAddresses(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		s.tell(sink, r)
		timer.Reset(s.pause(r))
	}
}

// tell hands a round over. A round may have members and trouble at once: then
// the trouble is told after the members, and again after they changed.
func (s *dnsSource) tell(sink Sink, r round) {
	if r.known {
		changed := !s.answered || !slices.EqualFunc(s.last, r.members, func(a, b Member) bool { return reflect.DeepEqual(a, b) })
		if changed || s.trouble != "" && r.trouble == nil {
			s.answered, s.last, s.trouble = true, r.members, ""
			sink.Set(slices.Clone(r.members))
		}
	}
	if r.trouble != nil && r.trouble.Error() != s.trouble {
		s.trouble = r.trouble.Error()
		sink.Fail(fmt.Errorf("%s: %w", s, r.trouble))
	}
}

// pause is the time to the next round. The jitter takes away up to a tenth of
// the TTL, or adds a tenth of MinTTL, so that many sources do not ask at once.
func (s *dnsSource) pause(r round) time.Duration {
	least, ttl := s.o.MinTTL, min(max(r.ttl, s.o.MinTTL), s.o.MaxTTL)
	if r.soon || r.ttl == noTTL {
		ttl = least
	}
	if !r.failed {
		s.failures = 0
		return between(max(least, ttl-ttl/10), max(ttl, least+least/10))
	}
	limit := max(least, maxBackoff)
	backoff := limit
	if s.failures < 20 { // Of which 2^20 times the least MinTTL is far beyond.
		backoff = min(limit, least<<s.failures)
	}
	s.failures++
	if r.known && r.ttl > 0 {
		backoff = min(backoff, ttl)
	}
	return between(max(least, backoff-backoff/4), max(backoff, least+least/10))
}

func between(from, to time.Duration) time.Duration {
	if to <= from {
		return from
	}
	return from + rand.N(to-from)
}

// askAddresses is a round of type a.
func (s *dnsSource) askAddresses(ctx context.Context) round {
	f := s.host.look(ctx, s.asker, s.name, s.o.NXDomainRepeats)
	r := round{known: f.known, ttl: f.ttl, soon: f.pending, failed: f.err != nil, trouble: f.err}
	for _, addr := range f.addrs {
		address := net.JoinHostPort(addr.String(), strconv.Itoa(s.o.Port))
		r.members = append(r.members, Member{Address: address, Weight: 1, Name: strings.TrimSuffix(s.name, ".")})
	}
	if f.missing != "" {
		r.trouble = s.missing(f.missing, f.pending)
	}
	return r
}

// missing explains that the name has no members.
func (s *dnsSource) missing(what string, pending bool) error {
	if pending && len(s.last) > 0 {
		return fmt.Errorf("%s; its members stay until that was said %d times in a row; check the name", what, s.o.NXDomainRepeats)
	}
	return fmt.Errorf("%s; check the name", what)
}

// host is what is known of the addresses of one name.
type host struct{ v4, v6 family }

// family is what is known of the addresses of one family.
type family struct {
	addrs     []netip.Addr
	negatives int // in a row
}

// finding is what a name resolves to.
type finding struct {
	addrs   []netip.Addr // sorted, each once
	known   bool         // addrs may be used
	ttl     time.Duration
	pending bool   // a negative answer is to be confirmed
	missing string // why neither family has an address; "" if not both said so
	err     error  // why a family is not known now
}

// look asks for both families. The one that is not answered keeps its last good
// addresses; if it has none yet, those of the other are used all the same, since
// some of the members are better than none. The one that has no more addresses
// keeps them until that was said repeats times in a row.
func (h *host) look(ctx context.Context, a asker, name string, repeats int) finding {
	type result struct {
		reply reply
		err   error
	}
	six := make(chan result, 1)
	go func() {
		r, err := lookup(ctx, a, question{name, dns.TypeAAAA})
		six <- result{r, err}
	}()
	r4, err4 := lookup(ctx, a, question{name, dns.TypeA})
	other := <-six
	r6, err6 := other.reply, other.err
	err4 = h.v4.take(r4, err4, repeats)
	err6 = h.v6.take(r6, err6, repeats)

	f := finding{addrs: h.addresses(), err: cmp.Or(err4, err6)}
	if err4 != nil && err6 != nil && err4.Error() != err6.Error() {
		f.err = fmt.Errorf("%w; %w", err4, err6)
	}
	negative4, negative6 := err4 == nil && r4.negative != "", err6 == nil && r6.negative != ""
	f.pending = negative4 && h.v4.pending(repeats) || negative6 && h.v6.pending(repeats)
	if negative4 && negative6 {
		f.missing = absent(r4, r6)
		f.pending = f.pending || h.v4.negatives < repeats || h.v6.negatives < repeats
	}
	f.known = len(f.addrs) > 0 || f.err == nil && !f.pending
	f.ttl = shortest(r4, err4, r6, err6)
	return f
}

// absent says why a name has no address at all.
func absent(r4, r6 reply) string {
	what := r4.negative
	if r4.negative != r6.negative {
		what = "has no A and no AAAA record (NODATA)"
	}
	return fmt.Sprintf("%s at server %s", strings.Replace(what, "no A record", "no A and no AAAA record", 1), r4.server)
}

// shortest is the shortest TTL of two replies. A negative one that has none
// says nothing beside a positive one.
func shortest(r4 reply, err4 error, r6 reply, err6 error) time.Duration {
	ttl := noTTL
	for _, r := range []struct {
		reply
		err error
	}{{r4, err4}, {r6, err6}} {
		if r.err == nil && r.ttl != noTTL && (ttl == noTTL || r.ttl < ttl) {
			ttl = r.ttl
		}
	}
	return ttl
}

func (h *host) addresses() []netip.Addr {
	addrs := slices.Concat(h.v4.addrs, h.v6.addrs)
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

// take notes a reply, and returns why it cannot if it cannot.
func (f *family) take(r reply, err error, repeats int) error {
	var addrs []netip.Addr
	if err == nil {
		if addrs, err = addressesOf(r.records); err != nil {
			err = fmt.Errorf("server %s: %w", r.server, err)
		}
	}
	switch {
	case err != nil:
		f.negatives = 0
	case r.negative == "":
		f.addrs, f.negatives = addrs, 0
	default:
		f.negatives++
		if f.negatives >= repeats {
			f.addrs = nil
		}
	}
	return err
}

// pending reports whether there are addresses that a reply denied, but not
// often enough.
func (f *family) pending(repeats int) bool { return len(f.addrs) > 0 && f.negatives < repeats }
