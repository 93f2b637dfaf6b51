package pool

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"steelyard/internal/metrics"
	"steelyard/internal/sticky"
)

// bindTo binds n new clients to backend i.
func bindTo(t *testing.T, p *Pool, i, n int) {
	t.Helper()
	table, b := p.Bindings(), bindingOf(p.Snapshot(), i)
	for k := range n {
		table.Put(table.HashString(fmt.Sprint(i, "/", table.Len(), "/", k)), b)
	}
}

// TestBoundSessions: who is bound to whom is counted where a table has it, and is
// the same in Status, in a sample and at once.
func TestBoundSessions(t *testing.T) {
	for _, c := range []struct {
		name   string
		sticky *sticky.Options
		word   string
		known  bool
	}{
		{"by header", &sticky.Options{Header: &sticky.Header{Name: "X-User", Size: 640, TTL: time.Hour}}, "header", true},
		{"by address", &sticky.Options{ClientIP: &sticky.ClientIP{Size: 640, TTL: time.Hour}}, "client_ip", true},
		{"by cookie", &sticky.Options{Cookie: &sticky.Cookie{Name: "sy"}}, "cookie", false},
		{"not", nil, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(3)
			o.Sticky = c.sticky
			p := newPool(t, o)
			want := map[string]int(nil)
			if c.known {
				bindTo(t, p, 0, 7)
				bindTo(t, p, 2, 2)
				p.Bindings().Put(12345, 67890) // to a backend that there was once
				want = map[string]int{"b0": 7, "b1": 0, "b2": 2}
			}
			if got := p.BoundSessions(); !maps.Equal(got, want) || (got == nil) != !c.known {
				t.Errorf("%v, want %v", got, want)
			}
			s, err := p.Status()
			if err != nil || s.Affinity != c.word {
				t.Errorf("affinity %q, %v", s.Affinity, err)
			}
			var into metrics.PoolSample
			if err := p.Sample(&into); err != nil {
				t.Fatal(err)
			}
			if p.SampleBound(&into); into.Bindings != c.known {
				t.Errorf("the sample knows them: %v", into.Bindings)
			}
			for i, b := range s.Backends {
				n := -1
				if c.known {
					n = want[b.Address]
				}
				if b.Bound != n || into.Backends[i].Bound != max(n, 0) {
					t.Errorf("%s: %d in the status, %d in the sample, want %d", b.Address, b.Bound, into.Backends[i].Bound, n)
				}
			}
		})
	}
}

// TestBoundSessionsAreCountedSeldom: those who ask again and again get the last
// count for a while.
func TestBoundSessionsAreCountedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, b := sticky.NewTable(64, time.Hour, nil), boundCount{}
		table.Put(1, 9)
		if n := b.recent(table)[9]; n != 1 {
			t.Fatalf("%d are bound", n)
		}
		table.Put(2, 9)
		if n := b.recent(table)[9]; n != 1 {
			t.Errorf("%d: it counted again at once", n)
		}
		time.Sleep(boundFor)
		if n := b.recent(table)[9]; n != 2 {
			t.Errorf("%d after a second", n)
		}
		if n := len(b.recent(sticky.NewTable(64, time.Hour, nil))); n != 0 {
			t.Errorf("%d in another table", n)
		}
	})
}
