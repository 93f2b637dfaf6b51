package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// diary is a Sink that writes down what it is told.
type diary struct{ news chan string }

func newDiary() *diary { return &diary{make(chan string, 10_000)} }

func (d *diary) Set(members []Member) {
	words := []string{"set"}
	for _, m := range members {
		word := m.Address
		if m.Weight != 1 {
			word += fmt.Sprintf("*%d", m.Weight)
		}
		if m.Backup {
			word += "(backup)"
		}
		words = append(words, word)
	}
	d.news <- strings.Join(words, " ")
}

func (d *diary) Fail(err error) { d.news <- "fail " + err.Error() }

// next waits for the next entry and holds it to want; of that of a Fail each
// part separated by … must be in it.
func (d *diary) next(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-d.news:
		checkEntry(t, got, want)
	case <-time.After(10 * time.Second):
		t.Fatalf("was told nothing, want %q", want)
	}
}

func checkEntry(t *testing.T, got, want string) {
	t.Helper()
	if strings.HasPrefix(want, "set") {
		if got != want {
			t.Fatalf("was told %q, want %q", got, want)
		}
		return
	}
	verb, parts, _ := strings.Cut(want, " ")
	for part := range strings.SplitSeq(parts, "…") {
		if !strings.HasPrefix(got, verb+" ") || !strings.Contains(got, part) {
			t.Fatalf("was told %q, want %q in it", got, part)
		}
	}
}

// script is an asker for a bubble: for each question the answers in turn, the
// last of them for ever. An answer is "SERVFAIL", "silent", "NXDOMAIN [minimum]",
// "NODATA [minimum]", or records separated by ";" with "+" before additional
// ones and "NAME ttl TYPE data" each.
type script struct {
	t  *testing.T
	mu sync.Mutex
	of map[string][]string
	n  int // questions
	at []time.Time
}

func (s *script) ask(ctx context.Context, q question) (reply, error) {
	s.mu.Lock()
	key := dns.TypeToString[q.qtype] + " " + strings.TrimSuffix(q.name, ".")
	text := "NODATA 60"
	if turns := s.of[key]; len(turns) > 0 {
		text = turns[0]
		if len(turns) > 1 {
			s.of[key] = turns[1:]
		}
	}
	s.n++
	s.at = append(s.at, time.Now())
	s.mu.Unlock()

	verb, rest, _ := strings.Cut(text, " ")
	m := new(dns.Msg).SetQuestion(q.name, q.qtype)
	m.Response = true
	switch verb {
	case "silent":
		select {
		case <-ctx.Done():
			return reply{}, ctx.Err()
		case <-time.After(2 * time.Second):
			return reply{}, errors.New("server S: no answer")
		}
	case "SERVFAIL":
		return reply{}, fmt.Errorf("server S: %w", &rcodeError{dns.RcodeServerFailure})
	case "NXDOMAIN", "NODATA":
		if verb == "NXDOMAIN" {
			m.Rcode = dns.RcodeNameError
		}
		if rest != "" {
			m.Ns = []dns.RR{record(s.t, "example. 3600 SOA ns.example. mail.example. 1 2 3 4 "+rest)}
		}
	default:
		for line := range strings.SplitSeq(text, ";") {
			line = strings.TrimSpace(line)
			if extra, ok := strings.CutPrefix(line, "+"); ok {
				m.Extra = append(m.Extra, record(s.t, extra))
			} else {
				m.Answer = append(m.Answer, record(s.t, line))
			}
		}
	}
	r, err := interpret(m, q)
	r.server = "S"
	return r, err
}

func record(t *testing.T, line string) dns.RR {
	rr, err := dns.NewRR(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return rr
}

func TestDNSRun(t *testing.T) {
	const a1, a2 = "app.example 10 A 10.0.0.1", "app.example 10 A 10.0.0.2"
	for _, c := range []struct {
		name string
		srv  bool
		of   map[string][]string
		span time.Duration
		want []string
		most int // questions; 0 is not checked
	}{
		{"both families, sorted", false, map[string][]string{
			"A app.example": {a2 + ";" + a1 + ";" + a2}, "AAAA app.example": {"app.example 10 AAAA ::1"}}, time.Minute,
			[]string{"set 10.0.0.1:80 10.0.0.2:80 [::1]:80"}, 16},
		{"IPv4 in IPv6 is the same", false, map[string][]string{
			"A app.example": {a1}, "AAAA app.example": {"app.example 10 AAAA ::ffff:10.0.0.1"}}, time.Minute, []string{"set 10.0.0.1:80"}, 16},
		{"change", false, map[string][]string{"A app.example": {a1, a1 + ";" + a2, a2}}, time.Minute,
			[]string{"set 10.0.0.1:80", "set 10.0.0.1:80 10.0.0.2:80", "set 10.0.0.2:80"}, 16},
		{"aliases", false, map[string][]string{"A app.example": {"app.example 10 CNAME B.example; b.example 5 CNAME c.example; c.example 60 A 10.0.0.1"}},
			time.Minute, []string{"set 10.0.0.1:80"}, 30},
		{"aliases that lead out", false, map[string][]string{
			"A app.example": {"app.example 10 CNAME b.example"}, "A b.example": {"b.example 60 A 10.0.0.1"}}, time.Minute, []string{"set 10.0.0.1:80"}, 24},
		{"aliases in a circle", false, map[string][]string{"A app.example": {"app.example 10 CNAME b.example; b.example 10 CNAME app.example"}}, time.Minute,
			[]string{"fail dns a app.example: …in a circle"}, 60},
		{"one family fails from the start", false, map[string][]string{"A app.example": {a1}, "AAAA app.example": {"SERVFAIL"}}, time.Minute,
			[]string{"set 10.0.0.1:80", "fail dns a app.example: server S: SERVFAIL"}, 40},
		{"one family fails and keeps its addresses", false, map[string][]string{
			"A app.example": {a1, a2}, "AAAA app.example": {"app.example 10 AAAA ::1", "SERVFAIL", "SERVFAIL", "app.example 10 AAAA ::2"}}, time.Minute,
			[]string{"set 10.0.0.1:80 [::1]:80", "set 10.0.0.2:80 [::1]:80", "fail dns a app.example: server S: SERVFAIL", "set 10.0.0.2:80 [::2]:80"}, 0},
		{"one family has none, the other fails at the start", false, map[string][]string{"A app.example": {"SERVFAIL", a1}}, time.Minute,
			[]string{"fail dns a app.example: server S: SERVFAIL", "set 10.0.0.1:80"}, 0},
		{"SERVFAIL keeps the members", false, map[string][]string{
			"A app.example": {a1, "SERVFAIL", "SERVFAIL", "SERVFAIL", a1}, "AAAA app.example": {"NODATA 10", "SERVFAIL", "SERVFAIL", "SERVFAIL", "NODATA 10"}}, time.Minute,
			[]string{"set 10.0.0.1:80", "fail SERVFAIL", "set 10.0.0.1:80"}, 0},
		{"silence backs off", false, map[string][]string{"A app.example": {"silent"}, "AAAA app.example": {"silent"}}, 10 * time.Minute,
			[]string{"fail dns a app.example: server S: no answer"}, 160},
		{"NXDOMAIN at the start", false, map[string][]string{"A app.example": {"NXDOMAIN 5"}, "AAAA app.example": {"NXDOMAIN 5"}}, time.Minute,
			[]string{"fail dns a app.example: does not exist (NXDOMAIN) at server S; check the name", "set", "fail check the name"}, 36},
		{"NXDOMAIN twice takes nobody away", false, map[string][]string{
			"A app.example": {a1, "NXDOMAIN", "NXDOMAIN", a1}, "AAAA app.example": {"NODATA", "NXDOMAIN", "NXDOMAIN", "NODATA"}}, time.Minute,
			[]string{"set 10.0.0.1:80", "fail does not exist (NXDOMAIN) at server S; its members stay until that was said 3 times in a row", "set 10.0.0.1:80"}, 0},
		{"NXDOMAIN three times does", false, map[string][]string{
			"A app.example": {a1, "NXDOMAIN", "NXDOMAIN", "NXDOMAIN", a2}, "AAAA app.example": {"NODATA", "NXDOMAIN", "NXDOMAIN", "NXDOMAIN", "NODATA"}}, time.Minute,
			[]string{"set 10.0.0.1:80", "fail its members stay until", "set", "fail does not exist (NXDOMAIN) at server S; check the name", "set 10.0.0.2:80"}, 0},
		{"NXDOMAIN not in a row", false, map[string][]string{
			"A app.example": {a1, "NXDOMAIN", "NXDOMAIN", "SERVFAIL", "NXDOMAIN", "NXDOMAIN", a1}}, time.Minute,
			[]string{"set 10.0.0.1:80", "fail NODATA", "fail SERVFAIL", "fail NODATA", "set 10.0.0.1:80"}, 0},
		{"no address", false, nil, 2 * time.Second, []string{"fail dns a app.example: has no A and no AAAA record (NODATA) at server S; check the name"}, 0},
		{"one family goes", false, map[string][]string{
			"A app.example": {a1, "NODATA 1", "NODATA 1", "NODATA 1"}, "AAAA app.example": {"app.example 1 AAAA ::1"}}, time.Minute,
			[]string{"set 10.0.0.1:80 [::1]:80", "set [::1]:80"}, 0},
		{"TTL 0 is bounded", false, map[string][]string{"A app.example": {"app.example 0 A 10.0.0.1"}}, time.Minute, []string{"set 10.0.0.1:80"}, 122},
		{"huge TTL is bounded", false, map[string][]string{
			"A app.example": {"app.example 86400 A 10.0.0.1", "app.example 86400 A 10.0.0.2"}}, 61 * time.Second, []string{"set 10.0.0.1:80", "set 10.0.0.2:80"}, 4},
		{"the shortest TTL counts", false, map[string][]string{
			"A app.example": {"app.example 60 A 10.0.0.1; app.example 5 A 10.0.0.2", a1}}, 6 * time.Second, []string{"set 10.0.0.1:80 10.0.0.2:80", "set 10.0.0.1:80"}, 4},
		{"the address of nobody", false, map[string][]string{"A app.example": {a1, "app.example 10 A 0.0.0.0"}}, time.Minute,
			[]string{"set 10.0.0.1:80", "fail record app.example. A is no address of a backend: 0.0.0.0"}, 0},

		{"srv with additional", true, map[string][]string{"SRV app.example": {
			"app.example 10 SRV 1 5 8080 B.example; app.example 10 SRV 1 0 8081 a.example; app.example 10 SRV 9 7 8082 a.example;" +
				"+a.example 10 A 10.0.0.1; +b.example 10 A 10.0.0.2; +b.example 10 AAAA ::2"}}, time.Minute,
			[]string{"set 10.0.0.1:8081 10.0.0.2:8080*5 [::2]:8080*5 10.0.0.1:8082*7(backup)"}, 8},
		{"srv without additional", true, map[string][]string{
			"SRV app.example": {"app.example 10 SRV 1 5 8080 b.example"}, "A b.example": {"b.example 1 A 10.0.0.2"}}, 30 * time.Second,
			[]string{"set 10.0.0.2:8080*5"}, 93},
		{"srv says nobody", true, map[string][]string{"SRV app.example": {"app.example 10 SRV 1 5 8080 b.example; +b.example 10 A 10.0.0.2", "app.example 10 SRV 0 0 0 ."}},
			time.Minute, []string{"set 10.0.0.2:8080*5", "set"}, 8},
		{"srv does not exist at the start", true, map[string][]string{"SRV app.example": {"NXDOMAIN 5"}}, 2 * time.Second,
			[]string{"fail dns srv app.example: does not exist (NXDOMAIN) at server S; check the name"}, 3},
		{"srv without records", true, map[string][]string{"SRV app.example": {"app.example 1 SRV 1 1 8080 b.example; +b.example 1 A 10.0.0.2", "NODATA 5"}}, time.Minute,
			[]string{"set 10.0.0.2:8080", "fail has no SRV record (NODATA) at server S; its members stay", "set", "fail NODATA"}, 0},
		{"srv port 0", true, map[string][]string{"SRV app.example": {
			"app.example 1 SRV 1 1 8080 b.example; +b.example 1 A 10.0.0.2", "app.example 1 SRV 1 1 0 b.example; +b.example 1 A 10.0.0.2"}}, time.Minute,
			[]string{"set 10.0.0.2:8080", `fail dns srv app.example: server S: record "SRV 1 1 0 b.example." is malformed: the port is 0; correct it`}, 20},
		{"srv target is no name", true, map[string][]string{"SRV app.example": {`app.example 1 SRV 1 1 80 b\032c.example`, "app.example 1 SRV 1 1 80 10.0.0.1"}}, time.Minute,
			[]string{`fail is malformed: target …has the character '\\'`, `fail "SRV 1 1 80 10.0.0.1." is malformed: target "10.0.0.1." is an address`}, 0},
		{"srv target keeps its last known address", true, map[string][]string{
			"SRV app.example": {"app.example 1 SRV 1 1 80 b.example; app.example 1 SRV 1 1 80 c.example"},
			"A b.example":     {"b.example 1 A 10.0.0.2"}, "A c.example": {"c.example 1 A 10.0.0.3", "SERVFAIL", "SERVFAIL", "c.example 1 A 10.0.0.3"}}, time.Minute,
			[]string{"set 10.0.0.2:80 10.0.0.3:80", "fail target c.example: …SERVFAIL…; its last known addresses stay", "set 10.0.0.2:80 10.0.0.3:80"}, 0},
		{"srv target without address is left out", true, map[string][]string{
			"SRV app.example": {"app.example 1 SRV 1 1 80 b.example; app.example 1 SRV 0 1 80 c.example"},
			"A b.example":     {"b.example 1 A 10.0.0.2"}, "A c.example": {"NXDOMAIN 1"}, "AAAA c.example": {"NXDOMAIN 1"}}, time.Minute,
			[]string{"set 10.0.0.2:80(backup)", "fail target c.example is left out: does not exist (NXDOMAIN) at server S"}, 0},
		{"srv targets all fail at the start", true, map[string][]string{
			"SRV app.example": {"app.example 1 SRV 1 1 80 b.example"}, "A b.example": {"SERVFAIL", "b.example 1 A 10.0.0.2"}}, time.Minute,
			[]string{"fail target b.example is left out: server S: SERVFAIL", "set 10.0.0.2:80"}, 0},
		{"srv targets go for good", true, map[string][]string{
			"SRV app.example": {"app.example 1 SRV 1 1 80 b.example"}, "A b.example": {"b.example 1 A 10.0.0.2", "NXDOMAIN 1"}}, time.Minute,
			[]string{"set 10.0.0.2:80", "fail its last known addresses stay", "set", "fail target b.example is left out"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := DefaultDNS()
				o.Name, o.Port = "app.example", 80
				if c.srv {
					o.Type, o.Port = "srv", 0
				}
				d, asker := newDiary(), &script{t: t, of: c.of}
				ctx, cancel := context.WithTimeout(t.Context(), c.span)
				defer cancel()
				newDNS(o, asker, nil).Run(ctx, d)
				close(d.news)
				var got []string
				for entry := range d.news {
					got = append(got, entry)
				}
				if len(got) != len(c.want) {
					t.Fatalf("was told %q, want %q", got, c.want)
				}
				for i := range got {
					checkEntry(t, got[i], c.want[i])
				}
				if c.most > 0 && asker.n > c.most {
					t.Errorf("%d questions in %s, want at most %d", asker.n, c.span, c.most)
				}
			})
		})
	}
}

func TestDNSInterpret(t *testing.T) {
	const soa = "example 30 SOA ns.example. mail.example. 1 2 3 4 "
	for _, c := range []struct {
		name       string
		rcode      int
		answer, ns []string
		want       string // records, TTL, negative, alias
	}{
		{"records", 0, []string{"app.example 60 A 10.0.0.1", "app.example 9 A 10.0.0.2"}, nil, "2 9s"},
		{"TTL with the highest bit", 0, []string{"app.example 2147483648 A 10.0.0.1"}, nil, "1 0s"},
		{"alias with the shortest TTL", 0, []string{"app.example 7 CNAME b.example", "b.example 60 A 10.0.0.1"}, nil, "1 7s"},
		{"aliases out of order", 0, []string{"c.example 60 A 10.0.0.1", "b.example 8 CNAME c.example", "app.example 60 CNAME b.example"}, nil, "1 8s"},
		{"alias that is open", 0, []string{"app.example 7 CNAME b.example"}, nil, "0 7s alias b.example."},
		{"alias to a name without records", 0, []string{"app.example 7 CNAME b.example"}, []string{soa + "5"}, "0 5s has no A record (NODATA)"},
		{"alias to no name", dns.RcodeNameError, []string{"app.example 7 CNAME b.example"}, nil, "0 7s does not exist (NXDOMAIN)"},
		{"NXDOMAIN, minimum", dns.RcodeNameError, nil, []string{soa + "5"}, "0 5s does not exist (NXDOMAIN)"},
		{"NXDOMAIN, TTL of the SOA", dns.RcodeNameError, nil, []string{soa + "3600"}, "0 30s does not exist (NXDOMAIN)"},
		{"NXDOMAIN without SOA", dns.RcodeNameError, nil, nil, "0 -1ns does not exist (NXDOMAIN)"},
		{"NODATA without SOA", 0, nil, nil, "0 -1ns has no A record (NODATA)"},
		{"another class", 0, []string{"app.example 60 CH A 10.0.0.1"}, nil, "0 -1ns has no A record (NODATA)"},
		{"referral", 0, nil, []string{"example 60 NS ns.example"}, "error only names other servers"},
		{"circle", 0, []string{"app.example 60 CNAME b.example", "b.example 60 CNAME app.example"}, nil, "error app.example. leads through more than 16 CNAMEs, or in a circle"},
		{"REFUSED", dns.RcodeRefused, []string{"app.example 60 A 10.0.0.1"}, nil, "error REFUSED"},
	} {
		m := &dns.Msg{}
		m.Rcode = c.rcode
		for _, line := range c.answer {
			m.Answer = append(m.Answer, record(t, line))
		}
		for _, line := range c.ns {
			m.Ns = append(m.Ns, record(t, line))
		}
		r, err := interpret(m, question{"app.example.", dns.TypeA})
		got := fmt.Sprint(len(r.records), " ", r.ttl)
		switch {
		case err != nil:
			got = "error " + err.Error()
		case r.negative != "":
			got += " " + r.negative
		case r.alias != "":
			got += " alias " + r.alias
		}
		if got != c.want && (err == nil || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDNSPause(t *testing.T) {
	o := DefaultDNS()
	o.Name, o.Port = "app.example", 80
	s := newDNS(o, nil, nil)
	for _, c := range []struct {
		name     string
		r        round
		failures int
		from, to time.Duration
	}{
		{"TTL", round{known: true, ttl: 30 * time.Second}, 0, 27 * time.Second, 30 * time.Second},
		{"short TTL", round{known: true}, 0, time.Second, 1100 * time.Millisecond},
		{"long TTL", round{known: true, ttl: time.Hour}, 0, 54 * time.Second, 60 * time.Second},
		{"to be confirmed", round{ttl: time.Hour, soon: true}, 0, time.Second, 1100 * time.Millisecond},
		{"no TTL", round{known: true, ttl: noTTL}, 0, time.Second, 1100 * time.Millisecond},
		{"first failure", round{ttl: noTTL, failed: true}, 0, time.Second, 1100 * time.Millisecond},
		{"third failure", round{ttl: noTTL, failed: true}, 2, 3 * time.Second, 4 * time.Second},
		{"many failures", round{ttl: noTTL, failed: true}, 1000, 7500 * time.Millisecond, 10 * time.Second},
		{"half a failure", round{ttl: 5 * time.Second, known: true, failed: true}, 1000, 3750 * time.Millisecond, 5 * time.Second},
	} {
		var all []time.Duration
		for range 1000 {
			s.failures = c.failures
			all = append(all, s.pause(c.r))
		}
		if slices.Min(all) < c.from || slices.Max(all) > c.to || slices.Min(all) == slices.Max(all) {
			t.Errorf("%s: %s to %s, want %s to %s", c.name, slices.Min(all), slices.Max(all), c.from, c.to)
		}
	}
}

func TestDNSTargetsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := DefaultDNS()
		o.Name, o.Type = "app.example", "srv"
		var records []string
		of := make(map[string][]string)
		for i := range 200 {
			records = append(records, fmt.Sprintf("app.example 1 SRV 1 1 80 t%03d.example", i))
			of[fmt.Sprintf("A t%03d.example", i)] = []string{"silent"}
		}
		of["SRV app.example"] = []string{strings.Join(records, ";")}
		d, asker := newDiary(), &script{t: t, of: of}
		ctx, cancel := context.WithTimeout(t.Context(), 12500*time.Millisecond)
		defer cancel()
		newDNS(o, asker, nil).Run(ctx, d)
		d.next(t, "fail target t000.example is left out: …; and 197 more targets")
		atOnce := make(map[time.Time]int)
		for _, at := range asker.at {
			atOnce[at]++
			if atOnce[at] > 1+2*maxTargetsAtOnce {
				t.Fatalf("%d questions at once", atOnce[at])
			}
		}
	})
}
