package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxTargetsAtOnce bounds the targets that are resolved at the same time,
	// each with two questions.
	maxTargetsAtOnce = 8
	// maxTargetsTime bounds the time that one round spends on targets, beside
	// Timeout; those that are not resolved by then keep their addresses.
	maxTargetsTime = 10 * time.Second
	// maxTargetsNamed is how many targets an error names.
	maxTargetsNamed = 3
)

// askServices is a round of type srv.
func (s *dnsSource) askServices(ctx context.Context) round {
	reply, err := lookup(ctx, s.asker, question{s.name, dns.TypeSRV})
	if err != nil {
		s.negatives = 0
		return round{ttl: noTTL, failed: true, trouble: err}
	}
	if reply.negative != "" {
		s.negatives++
		pending := s.negatives < s.o.NXDomainRepeats
		trouble := s.missing(reply.negative+" at server "+reply.server, pending)
		return round{known: !pending, ttl: reply.ttl, soon: pending, trouble: trouble}
	}
	s.negatives = 0
	services, err := servicesOf(reply.records)
	if err != nil {
		return round{ttl: noTTL, failed: true, trouble: fmt.Errorf("server %s: %w", reply.server, err)}
	}
	if len(services) == 0 && len(s.last) > 0 {
		s.log.Info("the name says that it has no service: its one SRV record has the target \".\"", "source", s.String())
	}
	return s.gather(services, reply.ttl, s.resolve(ctx, services, reply.extra))
}

// resolve finds the addresses of the targets: in the additional section, or by
// asking. What was known of other targets is forgotten.
func (s *dnsSource) resolve(ctx context.Context, services []service, extra []dns.RR) map[string]finding {
	old := s.targets
	s.targets = make(map[string]*host)
	findings := make(map[string]finding)
	var open []string
	for _, v := range services {
		key := strings.ToLower(v.target)
		if s.targets[key] != nil {
			continue
		}
		h := cmp.Or(old[key], new(host))
		s.targets[key] = h
		if f, ok := h.given(key, extra); ok {
			findings[key] = f
			continue
		}
		open = append(open, key)
	}

	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout+maxTargetsTime)
	defer cancel()
	var mu sync.Mutex
	var workers sync.WaitGroup
	turns := make(chan string)
	for range min(len(open), maxTargetsAtOnce) {
		workers.Go(func() {
			for key := range turns {
				f := s.lookInTime(ctx, key)
				mu.Lock()
				findings[key] = f
				mu.Unlock()
			}
		})
	}
	for _, key := range open {
		turns <- key
	}
	close(turns)
	workers.Wait()
	return findings
}

// lookInTime asks for a target unless the time of the round is over.
func (s *dnsSource) lookInTime(ctx context.Context, target string) finding {
	h := s.targets[target]
	if ctx.Err() == nil {
		if f := h.look(ctx, s.asker, target, s.o.NXDomainRepeats); f.err == nil || ctx.Err() == nil {
			return f
		}
	}
	addrs := h.addresses()
	err := fmt.Errorf("the time to resolve all targets (%s) was over; use a server that answers, or that sends their addresses along", s.o.Timeout+maxTargetsTime)
	return finding{addrs: addrs, known: len(addrs) > 0, ttl: noTTL, err: err}
}

// given takes the addresses of a target from the additional section, if it has any.
func (h *host) given(name string, extra []dns.RR) (finding, bool) {
	a, aaaa := recordsOf(extra, name, dns.TypeA), recordsOf(extra, name, dns.TypeAAAA)
	if len(a)+len(aaaa) == 0 {
		return finding{}, false
	}
	v4, err4 := addressesOf(a)
	v6, err6 := addressesOf(aaaa)
	if err4 != nil || err6 != nil {
		return finding{}, false // Asking for them says what is wrong.
	}
	h.v4, h.v6 = family{addrs: v4}, family{addrs: v6}
	f := finding{addrs: h.addresses(), known: true, ttl: 1 << 62}
	for _, rr := range slices.Concat(a, aaaa) {
		f.ttl = min(f.ttl, seconds(rr.Header().Ttl))
	}
	return f, true
}

// gather makes members of the services whose targets were found. Those of one
// that cannot be resolved are its last known, or left out; if none is left for
// such a reason the members are not known.
func (s *dnsSource) gather(services []service, ttl time.Duration, findings map[string]finding) round {
	r := round{known: true, ttl: ttl}
	var members []ranked
	unresolved := false
	lowest := uint16(65535)
	for _, v := range services {
		lowest = min(lowest, v.priority)
	}
	for _, v := range services {
		f := findings[strings.ToLower(v.target)]
		if !f.known {
			unresolved = true
		}
		for _, addr := range f.addrs {
			members = append(members, ranked{v.priority, addr, Member{
				Address: netip.AddrPortFrom(addr, v.port).String(),
				Weight:  max(1, int(v.weight)),
				Backup:  v.priority != lowest,
				Name:    strings.TrimSuffix(v.target, "."),
			}})
		}
	}
	for _, f := range findings {
		if f.ttl != noTTL {
			r.ttl = min(r.ttl, f.ttl)
		}
		r.soon = r.soon || f.pending
		r.failed = r.failed || f.err != nil
	}
	r.members = sortMembers(members)
	r.known = len(r.members) > 0 || !unresolved
	r.trouble = troubleOf(findings)
	return r
}

// ranked is a member with what it is sorted by.
type ranked struct {
	priority uint16
	addr     netip.Addr
	member   Member
}

// sortMembers sorts by priority and address, and keeps the first of each address.
func sortMembers(all []ranked) []Member {
	slices.SortFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), a.addr.Compare(b.addr), cmp.Compare(a.member.Address, b.member.Address),
			cmp.Compare(a.member.Name, b.member.Name), cmp.Compare(b.member.Weight, a.member.Weight))
	})
	seen := make(map[string]bool, len(all))
	var members []Member
	for _, m := range all {
		if !seen[m.member.Address] {
			seen[m.member.Address] = true
			members = append(members, m.member)
		}
	}
	return members
}

// troubleOf names the targets that were not resolved.
func troubleOf(findings map[string]finding) error {
	var bad []string
	for target, f := range findings {
		why := f.missing + "; correct it in the zone"
		if f.err != nil {
			why = f.err.Error()
		}
		switch {
		case f.missing == "" && f.err == nil:
		case len(f.addrs) > 0:
			bad = append(bad, fmt.Sprintf("target %s: %s; its last known addresses stay", strings.TrimSuffix(target, "."), why))
		default:
			bad = append(bad, fmt.Sprintf("target %s is left out: %s", strings.TrimSuffix(target, "."), why))
		}
	}
	if len(bad) == 0 {
		return nil
	}
	slices.Sort(bad)
	if more := len(bad) - maxTargetsNamed; more > 0 {
		bad = append(bad[:maxTargetsNamed], fmt.Sprintf("and %d more targets", more))
	}
	return errors.New(strings.Join(bad, "; "))
}
