package discovery

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// roster makes an answer of a text such as "a b c! d~": ! is failing, ~ is draining.
func roster(text string) []Member {
	var members []Member
	for word := range strings.FieldsSeq(text) {
		m := Member{Address: strings.TrimRight(word, "!~"), Weight: 1}
		switch word[len(word)-1] {
		case '!':
			m.State, m.Reason = Failing, "critical"
		case '~':
			m.State, m.Reason = Draining, "maintenance"
		}
		members = append(members, m)
	}
	return members
}

func spell(members []Member) string {
	words := make([]string, len(members))
	for i, m := range members {
		words[i] = m.Address + map[State]string{Failing: "!", Draining: "~"}[m.State]
	}
	return strings.Join(words, " ")
}

func TestGuard(t *testing.T) {
	type step struct {
		at   string // since the start
		do   string // "set a b", "drop a", "release", "tick", "max 1" for the next sets
		want string // members
		held string // "a b!": ! was turned failing
		n    int    // what drop (1), release and tick (1) return
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"first answer", []step{
			{"0s", "set a b", "a b", "", 0}, {"0s", "release", "a b", "", 0}, {"0s", "drop a", "a b", "", 0}, {"99h", "tick", "a b", "", 0}}},
		{"first answer is empty", []step{{"0s", "set", "", "", 0}, {"1s", "set a", "a", "", 0}, {"2s", "set", "a", "a", 0}}},
		{"half may leave", []step{{"0s", "set a b c d", "a b c d", "", 0}, {"1s", "set a b", "a b", "", 0}}},
		{"more than half is held", []step{{"0s", "set a b c d", "a b c d", "", 0}, {"1s", "set a", "a b c d", "b c d", 0}}},
		{"all", []step{{"0s", "set a b", "a b", "", 0}, {"1s", "set", "a b", "a b", 0}}},
		{"one of one", []step{{"0s", "set a", "a", "", 0}, {"1s", "set", "a", "a", 0}}},
		{"turned failing counts, in its place", []step{
			{"0s", "set a b c d", "a b c d", "", 0}, {"1s", "set a! b! c! d", "a b c d", "a! b! c!", 0}, {"2s", "set b! d", "b d a c", "a b! c", 0}}},
		{"maintenance does not count", []step{{"0s", "set a b c d", "a b c d", "", 0}, {"1s", "set a~ b~ c~ d", "a~ b~ c~ d", "", 0}, {"2s", "set d", "d", "", 0}}},
		{"what was failing does not count", []step{{"0s", "set a! b! c! d", "a! b! c! d", "", 0}, {"1s", "set d", "d", "", 0}}},
		{"several answers, the ones let go come back", []step{
			{"0s", "set a b c d", "a b c d", "", 0}, {"1s", "set b c d", "b c d", "", 0}, {"2s", "set c d", "c d", "", 0}, {"3s", "set d", "d a b c", "a b c", 0}}},
		{"slowly", []step{{"0s", "set a b c d", "a b c d", "", 0}, {"1s", "set c d", "c d", "", 0}, {"6001ms", "set d", "d", "", 0}}},
		{"just not slowly", []step{{"0s", "set a b c d", "a b c d", "", 0}, {"1s", "set c d", "c d", "", 0}, {"6s", "set d", "d a b c", "a b c", 0}}},
		{"replacements at once prove nothing", []step{{"0s", "set a b", "a b", "", 0}, {"1s", "set c d e f", "c d e f a b", "a b", 0}}},
		{"replacements first", []step{{"0s", "set a b", "a b", "", 0}, {"1s", "set a b c d", "a b c d", "", 0}, {"2s", "set c d", "c d", "", 0}}},
		{"who returns is not held", []step{
			{"0s", "set a b c", "a b c", "", 0}, {"1s", "set", "a b c", "a b c", 0}, {"2s", "set b", "b a c", "a c", 0},
			{"3s", "set b a", "b a c", "c", 0}, {"4s", "set c b a", "c b a", "", 0}, {"4s", "set c b", "c b", "", 0}}},
		{"who returns for maintenance is not held", []step{{"0s", "set a b", "a b", "", 0}, {"1s", "set", "a b", "a b", 0}, {"2s", "set a~", "a~ b", "b", 0}}},
		{"who returns in time does not count", []step{
			{"0s", "set a b c d", "a b c d", "", 0}, {"1s", "set c d", "c d", "", 0}, {"2s", "set a b c d", "a b c d", "", 0}, {"3s", "set a b", "a b", "", 0}}},
		{"alarm holds whoever else leaves", []step{
			{"0s", "set a b c d", "a b c d", "", 0}, {"1s", "set d", "d a b c", "a b c", 0}, {"20s", "set d e", "d e a b c", "a b c", 0}, {"30s", "set e", "e a b c d", "a b c d", 0}}},
		{"alarm ends when all are back", []step{
			{"0s", "set a b c d", "a b c d", "", 0}, {"1s", "set d", "d a b c", "a b c", 0}, {"2s", "set a b c d", "a b c d", "", 0}, {"3s", "set b c d", "b c d", "", 0}}},
		{"drop", []step{
			{"0s", "set a b c d", "a b c d", "", 0}, {"1s", "set a! d", "a d b c", "a! b c", 0}, {"2s", "drop b", "a d c", "a! c", 1}, {"2s", "drop b", "a d c", "a! c", 0},
			{"2s", "drop d", "a d c", "a! c", 0}, {"3s", "drop a", "a! d c", "c", 1}, {"3s", "set a! d", "a! d c", "c", 0}, {"4s", "drop c", "a! d", "", 1},
			{"4s", "set", "d", "d", 0}}},
		{"release", []step{
			{"0s", "set a b c d", "a b c d", "", 0}, {"1s", "set d", "d a b c", "a b c", 0}, {"2s", "release", "d", "", 3}, {"2s", "set d", "d", "", 0},
			{"3s", "set", "d", "d", 0}}},
		{"timeout", []step{
			{"0s", "set a b", "a b", "", 0}, {"1s", "set", "a b", "a b", 0}, {"60s", "set", "a b", "a b", 0}, {"60999ms", "tick", "a b", "a b", 0},
			{"61s", "tick", "", "", 1}, {"61s", "tick", "", "", 0}}},
		{"timeout is not extended", []step{
			{"0s", "set a b c", "a b c", "", 0}, {"1s", "set c", "c a b", "a b", 0}, {"60s", "set", "a b c", "a b c", 0}, {"61s", "tick", "", "", 1}}},
		{"timeout comes with an answer", []step{{"0s", "set a b c", "a b c", "", 0}, {"1s", "set c", "c a b", "a b", 0}, {"61s", "set c", "c", "", 0}}},
		{"the next removal after a timeout is a new alarm", []step{{"0s", "set a b c", "a b c", "", 0}, {"1s", "set c", "c a b", "a b", 0}, {"61s", "set", "c", "c", 0}}},
		{"a baseline that shrinks by itself is no removal", []step{
			{"0s", "set a b c d e f", "a b c d e f", "", 0}, {"1s", "set a~ b~ c~ d e f", "a~ b~ c~ d e f", "", 0},
			{"2s", "set f", "f", "", 0}, {"6500ms", "set f", "f", "", 0}}},
		{"no share at all", []step{{"0s", "max 0", "", "", 0}, {"0s", "set a b c", "a b c", "", 0}, {"1s", "set a b", "a b c", "c", 0}}},
		{"off", []step{{"0s", "max 1", "", "", 0}, {"0s", "set a b c", "a b c", "", 0}, {"1s", "set", "", "", 0}, {"1s", "set a!", "a!", "", 0}}},
		{"turned off", []step{{"0s", "set a b c", "a b c", "", 0}, {"1s", "set", "a b c", "a b c", 0}, {"2s", "max 1", "a b c", "a b c", 0}, {"2s", "set", "", "", 0}}},
		{"turned on", []step{{"0s", "max 1", "", "", 0}, {"0s", "set a b c", "a b c", "", 0}, {"1s", "max 0.5", "a b c", "", 0}, {"2s", "set", "a b c", "a b c", 0}}},
		{"share that binary cannot spell", []step{
			{"0s", "max 0.57", "", "", 0}, {"0s", "set" + counted(0, 100), counted(0, 100), "", 0}, {"1s", "set" + counted(57, 100), counted(57, 100), "", 0}}},
		{"twice in an answer", []step{{"0s", "set a a! b", "a a! b", "", 0}, {"1s", "set b b", "b b", "", 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var g Guard
			start, o := time.Unix(1_000_000, 0), GuardOptions{MaxRemoval: 0.5, Timeout: time.Minute}
			for i, s := range c.steps {
				since, err := time.ParseDuration(s.at)
				if err != nil {
					t.Fatal(err)
				}
				n, now := 0, start.Add(since)
				verb, rest, _ := strings.Cut(s.do, " ")
				switch verb {
				case "set":
					g.Set(now, o, roster(rest))
				case "drop":
					n = count(g.Drop(rest))
				case "release":
					n = g.Release()
				case "tick":
					n = count(g.Tick(now))
				case "max":
					if o.MaxRemoval, err = strconv.ParseFloat(rest, 64); err != nil {
						t.Fatal(err)
					}
				}
				var held []string
				for _, h := range g.Held() {
					held = append(held, h.Member.Address+map[bool]string{false: "!"}[h.Gone])
				}
				slices.Sort(held)
				if got := spell(g.Members()); got != strings.TrimSpace(s.want) || strings.Join(held, " ") != s.held || n != s.n {
					t.Errorf("step %d, %s: members %q, held %q, %d; want %q, %q, %d", i, s.do, got, held, n, s.want, s.held, s.n)
				}
				if _, _, on := g.Alarm(); on != (s.held != "") {
					t.Errorf("step %d, %s: alarm is %v", i, s.do, on)
				}
			}
		})
	}
}

func count(b bool) int { return map[bool]int{true: 1}[b] }

func counted(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, " m%d", i)
	}
	return b.String()
}

func TestGuardAlarmText(t *testing.T) {
	g := Guard{Name: "consul service api"}
	start, o := time.Date(2026, 1, 2, 11, 53, 4, 0, time.UTC), GuardOptions{MaxRemoval: 0.5, Timeout: 10 * time.Minute}
	g.Set(start, o, roster(counted(0, 20)))
	g.Set(start, o, roster(counted(0, 9)))
	text, deadline, on := g.Alarm()
	want := "consul service api would remove 11 of 20 members at once; they stay while their checks pass, until 12:03:04 or until released"
	if text != want || !on || !deadline.Equal(start.Add(o.Timeout)) {
		t.Errorf("alarm %q, %v, %v; want %q", text, deadline, on, want)
	}
	for i := 9; i < 19; i++ {
		g.Drop(fmt.Sprintf("m%d", i))
	}
	if text, _, _ = g.Alarm(); !strings.Contains(text, "would remove 1 of 20 members at once; it stays while its checks pass") {
		t.Errorf("alarm %q", text)
	}
	h := g.Held()
	if len(h) != 1 || h[0].Member.Address != "m19" || !h[0].Since.Equal(start) || !h[0].Gone || h[0].Member.State != Serving {
		t.Errorf("held %+v", h)
	}
}

// TestGuardProperties feeds random answers and holds the guard to its promises.
func TestGuardProperties(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		o := GuardOptions{MaxRemoval: float64(r.IntN(10)) / 10, Timeout: time.Duration(1+r.IntN(30)) * time.Second}
		runGuard(t, r, o)
		if t.Failed() {
			t.Fatalf("seed %d, %+v", seed, o)
		}
	}
}

// runGuard is one random story; the model knows nothing of how a Guard works.
func runGuard(t *testing.T, r *rand.Rand, o GuardOptions) {
	type size struct {
		n     int
		until time.Time
	}
	var (
		g     Guard
		now   = time.Unix(1_000_000, 0)
		began time.Time // of the alarm
		sizes []size    // of the source's serving members
		lost  = make(map[string]time.Time)
		last  []Member
	)
	for range 150 {
		before, was := serving(g.Members()), g.alarm
		now = now.Add(time.Duration(r.IntN(3000)) * time.Millisecond)
		expired := was && !now.Before(began.Add(o.Timeout))
		if g.Tick(now) != expired {
			t.Fatal("the timeout was missed, or was early")
		}
		if expired {
			clear(lost)
			sizes, before, was = nil, serving(g.Members()), false
		}
		answer := randomAnswer(r, last)
		sizes = append(sizes, size{len(serving(last)), now})
		last = slices.Clone(answer)
		g.Set(now, o, answer)

		after, states := serving(g.Members()), make(map[string]State)
		for _, m := range answer {
			states[m.Address] = m.State
			if _, ok := after[m.Address]; m.State == Serving && !ok {
				t.Fatalf("%s serves, and is not among the members", m.Address)
			}
		}
		fresh := 0
		for address := range before {
			if _, stays := after[address]; !stays && states[address] != Draining {
				lost[address] = now
				fresh++
			}
		}
		n, largest := 0, 0
		for address, at := range lost {
			if _, back := after[address]; back || states[address] == Draining {
				delete(lost, address)
			} else if now.Sub(at) <= 5*time.Second {
				n++
			}
		}
		for _, s := range sizes {
			if now.Sub(s.until) <= 5*time.Second {
				largest = max(largest, s.n)
			}
		}
		if fresh > 0 && float64(n) > o.MaxRemoval*float64(largest)+1e-6 {
			t.Fatalf("%d of %d were lost within 5s", n, largest)
		}
		if was && g.alarm && fresh > 0 {
			t.Fatalf("%d were lost during an alarm", fresh)
		}
		if _, deadline, on := g.Alarm(); on {
			if !was || deadline != began.Add(o.Timeout) { // New, or ended and begun again.
				began = now
			}
			if deadline != began.Add(o.Timeout) || len(g.Held()) == 0 {
				t.Fatalf("alarm of %v until %v with %d held", began, deadline, len(g.Held()))
			}
		}
		if len(g.lost) > 200 || len(g.peaks) > 50 {
			t.Fatalf("%d removals and %d sizes are kept", len(g.lost), len(g.peaks))
		}
	}
}

func serving(members []Member) map[string]bool {
	set := make(map[string]bool)
	for _, m := range members {
		if m.State == Serving {
			set[m.Address] = true
		}
	}
	return set
}

// randomAnswer changes some of the last answer, or all of it now and then.
func randomAnswer(r *rand.Rand, last []Member) []Member {
	change := []int{2, 10, 50, 100}[r.IntN(4)]
	states := make(map[string]State)
	for _, m := range last {
		states[m.Address] = m.State
	}
	var answer []Member
	for i := range 30 {
		address := strconv.Itoa(i)
		state, there := states[address]
		if r.IntN(100) < change {
			there, state = r.IntN(3) > 0, State(r.IntN(3))
		}
		if there {
			answer = append(answer, Member{Address: address, State: state})
		}
	}
	return answer
}

func TestGuardOffPassesThrough(t *testing.T) {
	var g Guard
	r, now, o := rand.New(rand.NewPCG(1, 2)), time.Unix(0, 0), GuardOptions{MaxRemoval: 1, Timeout: time.Second}
	var last []Member
	for range 1000 {
		now = now.Add(time.Duration(r.IntN(1000)) * time.Millisecond)
		answer := randomAnswer(r, last)
		g.Set(now, o, answer)
		if got := g.Members(); len(got) != len(answer) || len(got) > 0 && &got[0] != &answer[0] || g.Tick(now) || g.Held() != nil {
			t.Fatal("a guard that is off changed the answer")
		}
		last = answer
	}
}

// TestGuardMemoryIsBounded has a source that names other members each time.
func TestGuardMemoryIsBounded(t *testing.T) {
	var g Guard
	now, o := time.Unix(0, 0), GuardOptions{MaxRemoval: 0.5, Timeout: 24 * time.Hour}
	answer := func(i int) (members []Member) {
		for j := range 1000 {
			members = append(members, Member{Address: fmt.Sprintf("%d-%d", i, j)})
		}
		return members
	}
	for i := range 30 {
		g.Set(now.Add(time.Duration(i)*time.Second), o, answer(i))
	}
	held := g.Held()
	if len(held) != 1000+maxHeldMore || held[0].Since != now.Add(19*time.Second) || len(g.Members()) != 1000+len(held) {
		t.Errorf("%d are held, since %v, of %d members", len(held), held[0].Since, len(g.Members()))
	}
}

func BenchmarkGuardSet(b *testing.B) {
	var g Guard
	now, o := time.Unix(0, 0), GuardOptions{MaxRemoval: 0.5, Timeout: time.Minute}
	answer := roster(counted(0, 10_000))
	g.Set(now, o, answer)
	for b.Loop() {
		now = now.Add(time.Second)
		g.Set(now, o, answer)
		g.Members()
	}
}
