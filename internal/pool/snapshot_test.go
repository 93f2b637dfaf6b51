package pool

import (
	"maps"
	"testing"
	"time"

	"steelyard/internal/sticky"
	"steelyard/internal/transport"
)

// TestPickOrder: weights are kept, backups wait until no primary can be.
func TestPickOrder(t *testing.T) {
	o := options(4)
	o.Backends[0].Backup = true
	o.Backends[1].Weight = 2
	o.Backends[2].Weight = 0
	p := newPool(t, o)
	s := p.Snapshot()
	if got, want := picked(s, 30), (map[string]int{"b1": 20, "b3": 10}); !maps.Equal(got, want) {
		t.Errorf("picked %v, want %v", got, want)
	}
	var tried Tried
	for _, want := range []bool{false, false, true} {
		i := s.Pick(0, &tried)
		if i < 0 || (s.Endpoints[i].Address == "b0") != want {
			t.Fatalf("picked %d, backup wanted: %v", i, want)
		}
		tried.Add(s, i)
	}
	if i := s.Pick(0, &tried); i != -1 {
		t.Errorf("all tried, picked %d", i)
	}
	tried.Reset()
	if i := s.Pick(0, &tried); i < 0 {
		t.Error("nothing tried, picked none")
	}
}

// TestLimits: a backend at its limit is passed over; Full tells a wait that
// helps from one that does not.
func TestLimits(t *testing.T) {
	o := options(3)
	o.Backends[0].MaxConnections = 1
	o.Backends[1].MaxConnections = 2
	o.Backends[2].Weight, o.Backends[2].MaxConnections = 0, 1
	p := newPool(t, o)
	s := p.Snapshot()
	s.Acquire(2)
	defer p.Release(s, 2)
	var tried Tried
	if s.Full(&tried) {
		t.Error("full with nothing in flight")
	}
	for range 3 {
		if i := s.Pick(0, &tried); i < 0 || !s.Acquire(i) {
			t.Fatal("a backend below its limit cannot be had")
		}
	}
	if i := s.Pick(0, &tried); i != -1 || s.Acquire(0) {
		t.Errorf("picked %d beyond the limits", i)
	}
	if !s.Full(&tried) {
		t.Error("not full with all at their limits")
	}
	p.Release(s, 1)
	if i := s.Pick(0, &tried); i != 1 || !s.Full(&tried) {
		t.Errorf("picked %d after b1 was released", i)
	}
	tried.Add(s, 0)
	tried.Add(s, 1)
	if s.Full(&tried) {
		t.Error("waiting for backends that have been tried")
	}
	p.Release(s, 0)
	p.Release(s, 1)
}

// TestBound: what a bound client can do with its backend.
func TestBound(t *testing.T) {
	o := options(4)
	o.Backends[1].Weight = 0
	o.Backends[2].MaxConnections = 1
	p := newPool(t, o)
	p.ConnectFailed(endpoint(t, p, "b3"))
	written(t, p)
	s := p.Snapshot()
	s.Acquire(2)
	defer p.Release(s, 2)
	var tried, one Tried
	one.Add(s, 0)
	cases := []struct {
		name  string
		index int
		tried *Tried
		want  Bound
	}{
		{"served", 0, &tried, BoundOK},
		{"tried before", 0, &one, BoundGone},
		{"weight 0 keeps its clients", 1, &tried, BoundOK},
		{"at its limit", 2, &tried, BoundFull},
		{"held off", 3, &tried, BoundGone},
		{"unknown", -1, &tried, BoundGone},
	}
	for _, c := range cases {
		if got := s.Bound(c.index, c.tried); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func bindingOf(s *Snapshot, i int) uint64 {
	b, _ := s.Binding(i)
	return b
}

// TestNoAffinityNoIDs: a request whose generation had affinity may meet a pool
// that has none any more.
func TestNoAffinityNoIDs(t *testing.T) {
	s := newPool(t, options(2)).Snapshot()
	if _, ok := s.Binding(0); ok || s.ID(0) != "" || s.ByID([]byte("x")) != -1 || s.ByBinding(1) != -1 {
		t.Error("a pool without affinity knows bound clients")
	}
}

// TestStickyIDs: the ids in cookies depend on the secret, the pool and the
// address alone; bindings on the address.
func TestStickyIDs(t *testing.T) {
	o := options(3)
	o.Sticky = &sticky.Options{Cookie: &sticky.Cookie{Name: "sy", Secret: "s"}}
	p := newPool(t, o)
	s := p.Snapshot()
	id, binding := s.ID(1), bindingOf(s, 1)
	if id != sticky.ID("s", "web", "b1") || s.ByID([]byte(id)) != 1 || s.ByBinding(binding) != 1 {
		t.Errorf("id %q finds %d, binding finds %d", id, s.ByID([]byte(id)), s.ByBinding(binding))
	}
	o.Backends = append([]BackendOptions{{Address: "new", Weight: 1}, {Address: "b1", Weight: 9, Backup: true}}, o.Backends[2])
	apply(t, p, o)
	s = p.Snapshot()
	if gone := s.ByID([]byte(sticky.ID("s", "web", "b0"))); s.Bound(gone, &Tried{}) != BoundOK {
		t.Error("a backend that has left does not keep its clients while it drains")
	}
	o.DrainTimeout = time.Nanosecond
	apply(t, p, options(3))
	apply(t, p, o)
	eventually(t, "the drain is over", func() bool { return len(p.Snapshot().Endpoints) == 3 })
	s = p.Snapshot()
	i := index(s, "b1")
	if s.ByID([]byte(id)) != i || s.ByBinding(binding) != i || s.ID(i) != id || bindingOf(s, i) != binding {
		t.Error("id or binding has changed with the membership")
	}
	if s.ByID([]byte(sticky.ID("s", "web", "b0"))) != -1 || s.ByBinding(12345) != -1 || s.ByID(nil) != -1 {
		t.Error("a backend that is gone is found")
	}
	p.ConnectFailed(s.Endpoints[i])
	written(t, p)
	if p.Snapshot().ByID([]byte(id)) != i {
		t.Error("a backend that is held off has lost its id")
	}
	o.Sticky = &sticky.Options{Cookie: &sticky.Cookie{Name: "sy", Secret: "other"}}
	apply(t, p, o)
	if p.Snapshot().ByID([]byte(id)) != -1 {
		t.Error("a new secret leaves the ids")
	}
}

// TestBindingsFollowOptions: the table lives as long as the pool binds by it.
func TestBindingsFollowOptions(t *testing.T) {
	o := options(2)
	p := newPool(t, o)
	if p.Bindings() != nil {
		t.Error("a table without need")
	}
	o.Sticky = &sticky.Options{Header: &sticky.Header{Name: "X-User", Size: 64, TTL: time.Hour}}
	apply(t, p, o)
	table := p.Bindings()
	key, backend := table.HashString("alice"), bindingOf(p.Snapshot(), 1)
	table.Put(key, backend)
	apply(t, p, o)
	if p.Bindings() != table {
		t.Error("the same options make another table")
	}
	o.Sticky = &sticky.Options{ClientIP: &sticky.ClientIP{Size: 640, TTL: time.Hour}}
	apply(t, p, o)
	if p.Bindings().Size() != 640 {
		t.Errorf("size %d after the change", p.Bindings().Size())
	}
	if b, ok := p.Bindings().Get(key); !ok || b != backend {
		t.Error("the binding is lost with the size")
	}
	o.Sticky = nil
	apply(t, p, o)
	if p.Bindings() != nil {
		t.Error("the table is kept without need")
	}
}

// TestTimed: the clock is read for least_time only.
func TestTimed(t *testing.T) {
	for _, name := range []string{"round_robin", "least_time"} {
		o := options(2)
		o.Policy.Policy = name
		if got := newPool(t, o).Snapshot().Timed; got != (name == "least_time") {
			t.Errorf("%s: Timed is %v", name, got)
		}
	}
}

// TestApplyKeepsEndpoints: backends that stay keep their state and get the new
// options; those that go are closed; old snapshots stay as they were.
func TestApplyKeepsEndpoints(t *testing.T) {
	b := newListener(t)
	o := options(2)
	o.Backends[0].Address = b.Addr().String()
	p := newPool(t, o)
	old := p.Snapshot()
	stays, goes := old.Endpoints[0], old.Endpoints[1]
	stays.Conns.Put(dial(t, stays), transport.Now())
	old.Acquire(0)
	o.Backends = []BackendOptions{{Address: "new", Weight: 1}, {Address: stays.Address, Weight: 5}}
	o.Transport.MaxIdle = 7
	apply(t, p, o)
	s := p.Snapshot()
	if s.Endpoints[1] != stays || stays.Backend.InFlight() != 1 || stays.Conns.Idle() != 1 {
		t.Errorf("not kept: in flight %d, idle %d", stays.Backend.InFlight(), stays.Conns.Idle())
	}
	if stays.Conns.Options().MaxIdle != 7 {
		t.Error("the new options are not in force")
	}
	if len(old.Endpoints) != 2 || old.Endpoints[1] != goes || old.Bound(0, &Tried{}) != BoundOK {
		t.Error("the old snapshot has changed")
	}
	p.Release(old, 0)
	o.Backends = o.Backends[:1]
	apply(t, p, o)
	if stays.Conns.Idle() != 0 || stays.Conns.Open() != 0 {
		t.Error("connections of a removed backend stay open")
	}
	last := dial(t, stays) // a request that still has the old snapshot
	if stays.Conns.Put(last, transport.Now()); stays.Conns.Open() != 0 {
		t.Error("a connection is kept for a removed backend")
	}
	o.Backends = append(o.Backends, BackendOptions{Address: stays.Address, Weight: 1})
	apply(t, p, o)
	if endpoint(t, p, stays.Address) == stays {
		t.Error("a backend that comes back has its closed endpoint")
	}
}

// TestApplyErrors: nothing changes.
func TestApplyErrors(t *testing.T) {
	p := newPool(t, options(2))
	s := p.Snapshot()
	bad := options(3)
	bad.Policy.Policy = "no such"
	twice := options(3)
	twice.Backends[2].Address = "b0"
	for name, o := range map[string]Options{"policy": bad, "one backend twice": twice} {
		if err := p.Apply(o); err == nil || p.Snapshot() != s {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := New("web", o); err == nil {
			t.Errorf("%s: New accepts it", name)
		}
	}
}

// TestPickersAreKept while they pick for the same members, and no longer.
func TestPickersAreKept(t *testing.T) {
	o := options(3)
	p := newPool(t, o)
	before := p.Snapshot().primary
	o.Transport.MaxIdle++
	apply(t, p, o)
	if p.Snapshot().primary != before {
		t.Error("the same members have a new picker")
	}
	o.Policy.Policy = "random"
	apply(t, p, o)
	if p.Snapshot().primary == before {
		t.Error("another policy has the old picker")
	}
	before = p.Snapshot().primary
	o.Backends[0].Backup = true
	apply(t, p, o)
	if s := p.Snapshot(); s.primary == before || s.backup == nil {
		t.Error("a backup is picked like a primary")
	}
}

// TestCursorSurvivesApply: the same policy goes on where it was.
func TestCursorSurvivesApply(t *testing.T) {
	o := options(5)
	p := newPool(t, o)
	got := map[string]int{}
	for range 20 {
		s := p.Snapshot()
		got[s.Endpoints[s.Pick(0, &Tried{})].Address]++
		apply(t, p, o)
	}
	if len(got) != 5 || got["b0"] != 4 {
		t.Errorf("picked %v over 20 rebuilds, want 4 each", got)
	}
}

// TestEmptyPool: no backends is a state, not a crash.
func TestEmptyPool(t *testing.T) {
	p := newPool(t, options(0))
	s := p.Snapshot()
	if s.Pick(0, &Tried{}) != -1 || s.Full(&Tried{}) || s.ByID([]byte("x")) != -1 {
		t.Error("an empty pool has something")
	}
}

// TestApplyAndClose: Apply returns whatever Close does meanwhile.
func TestApplyAndClose(t *testing.T) {
	for range 50 {
		p, err := New("web", options(2))
		if err != nil {
			t.Fatal(err)
		}
		returned := make(chan error, 8)
		for range cap(returned) {
			go func() { returned <- p.Apply(options(3)) }()
		}
		p.Close()
		for range cap(returned) {
			select {
			case <-returned:
			case <-time.After(5 * time.Second):
				t.Fatal("Apply does not return")
			}
		}
		if p.Apply(options(1)) == nil {
			t.Fatal("Apply works on a closed pool")
		}
		for range 2 * cap(p.commands) { // never blocks, though nobody listens
			p.ConnectFailed(p.Snapshot().Endpoints[0])
		}
	}
}

// TestManyBackends: 10,000 backends are applied in 50 ms at most.
func TestManyBackends(t *testing.T) {
	if raceEnabled {
		t.Skip("times mean nothing here")
	}
	o := options(10_000)
	p := newPool(t, o)
	best := time.Hour
	for range 5 {
		start := time.Now()
		apply(t, p, o)
		best = min(best, time.Since(start))
	}
	if best > 50*time.Millisecond {
		t.Errorf("10,000 backends are applied in %v", best)
	}
	t.Logf("10,000 backends are applied in %v", best)
	start := time.Now()
	for _, e := range p.Snapshot().Endpoints[:5000] {
		for !e.failing.Load() {
			p.ConnectFailed(e)
		}
	}
	written(t, p)
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("5,000 backends failing at once take %v", d)
	}
}
