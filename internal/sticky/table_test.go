package sticky

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clock is a now function that tests set.
type clock struct{ seconds atomic.Int64 }

func (c *clock) now() int64 { return c.seconds.Load() }

func TestTableGetPut(t *testing.T) {
	var c clock
	table := NewTable(100, time.Hour, c.now)
	if _, ok := table.Get(0); ok {
		t.Error("an empty table has key 0")
	}
	for _, key := range []uint64{0, 1, 1 << 63, ^uint64(0)} {
		table.Put(key, key+7)
		if b, ok := table.Get(key); !ok || b != key+7 {
			t.Errorf("Get(%d) = %d, %v, want %d", key, b, ok, key+7)
		}
	}
	table.Put(1, 99)
	if b, ok := table.Get(1); !ok || b != 99 {
		t.Errorf("after binding anew Get = %d, %v, want 99", b, ok)
	}
	if n := table.Len(); n != 4 {
		t.Errorf("Len = %d, want 4", n)
	}
	if n := table.Size(); n != 104 {
		t.Errorf("Size = %d, want 104", n)
	}
}

func TestTableTTL(t *testing.T) {
	var c clock
	c.seconds.Store(1_000_000)
	table := NewTable(8, 9500*time.Millisecond, c.now) // 10s
	table.Put(1, 1)
	table.Put(2, 2)
	c.seconds.Add(10)
	if _, ok := table.Get(1); !ok {
		t.Error("forgotten after its ttl, not after more")
	}
	c.seconds.Add(1)
	if _, ok := table.Get(2); ok {
		t.Error("not forgotten after more than its ttl")
	}
	if n := table.Len(); n != 1 {
		t.Errorf("Len = %d, want 1: expired bindings do not count", n)
	}
	c.seconds.Add(9)
	if _, ok := table.Get(1); !ok {
		t.Error("a use did not prolong the binding")
	}
	c.seconds.Add(8)
	table.Put(1, 1) // the same again is a use, too
	c.seconds.Add(10)
	if _, ok := table.Get(1); !ok {
		t.Error("putting the same binding did not prolong it")
	}
	c.seconds.Add(-500)
	if _, ok := table.Get(1); !ok {
		t.Error("a clock that goes back expires a binding")
	}
}

func TestTableWithoutTTL(t *testing.T) {
	var c clock
	table := NewTable(8, 0, c.now)
	table.Put(1, 1)
	c.seconds.Add(1 << 31)
	if _, ok := table.Get(1); !ok {
		t.Error("forgotten although ttl is 0")
	}
}

// One set of 8 places: the expired go first, then the longest unused.
func TestTableReplacement(t *testing.T) {
	var c clock
	table := NewTable(8, 100*time.Second, c.now)
	for key := range uint64(8) {
		table.Put(key, key)
		c.seconds.Add(1)
	}
	table.Get(0) // now 1 is the longest unused
	c.seconds.Add(1)
	table.Put(100, 100)
	for key := range uint64(8) {
		if _, ok := table.Get(key); ok != (key != 1) {
			t.Errorf("after one replacement Get(%d) = %v", key, ok)
		}
	}
	c.seconds.Add(101) // all expired
	for key := range uint64(8) {
		table.Put(200+key, key)
	}
	if n := table.Len(); n != 8 {
		t.Errorf("Len = %d, want 8: expired bindings must give way", n)
	}
}

// Ten times as many keys as places. BenchmarkCapacity does it with a million:
// with the race detector that takes 20 seconds and shows nothing more.
func TestTableCapacity(t *testing.T) { fillBeyondCapacity(t, 10_000, 100_000) }

func BenchmarkCapacity(b *testing.B) {
	for b.Loop() {
		fillBeyondCapacity(b, 100_000, 1_000_000)
	}
}

func fillBeyondCapacity(t testing.TB, size, keys int) {
	t.Helper()
	var c clock
	table := NewTable(size, time.Hour, c.now)
	r := rand.New(rand.NewPCG(1, 1))
	all := make([]uint64, keys)
	for i := range all {
		all[i] = r.Uint64()
		table.Put(all[i], uint64(i))
		if i%(size/100) == 0 {
			c.seconds.Add(1)
		}
	}
	if n := table.Len(); n > size || n < size*99/100 {
		t.Errorf("Len = %d of %d", n, size)
	}
	for _, tc := range []struct{ last, atLeast int }{{size / 2, 98}, {size, 80}} {
		found := 0
		for i, key := range all[keys-tc.last:] {
			if b, ok := table.Get(key); ok {
				found++
				if b != uint64(keys-tc.last+i) {
					t.Fatalf("key %d has the binding of another", key)
				}
			}
		}
		if found < tc.last*tc.atLeast/100 {
			t.Errorf("only %d of the last %d keys are there", found, tc.last)
		}
	}
}

// Keys that came in one and the same second must not always push out each other.
func TestTableBurst(t *testing.T) {
	var c clock
	table := NewTable(1000, time.Hour, c.now)
	r := rand.New(rand.NewPCG(2, 2))
	for range 10_000 {
		table.Put(r.Uint64(), 1)
	}
	last := make([]uint64, 250)
	for i := range last {
		last[i] = r.Uint64()
		table.Put(last[i], 1)
	}
	found := 0
	for _, key := range last {
		if _, ok := table.Get(key); ok {
			found++
		}
	}
	if found < 200 {
		t.Errorf("%d of the last 250 keys are there, want most", found)
	}
}

func TestTableResize(t *testing.T) {
	var c clock
	table := NewTable(1000, 100*time.Second, c.now)
	client, backend := table.Hash([]byte("client")), table.HashString("10.0.0.1:80")
	table.Put(1, 1)
	c.seconds.Add(60)
	table.Put(client, backend)
	if same := table.Resize(997, 50*time.Second); same != table {
		t.Error("Resize to the same size made a new table")
	}
	if _, ok := table.Get(1); ok {
		t.Error("Resize did not apply the new ttl")
	}
	table.Resize(1000, 100*time.Second)
	larger := table.Resize(5000, 100*time.Second)
	if larger.Size() != 5000 || larger.Len() != 2 {
		t.Errorf("larger table: Size %d, Len %d, want 5000, 2", larger.Size(), larger.Len())
	}
	if b, ok := larger.Get(larger.Hash([]byte("client"))); !ok || b != larger.HashString("10.0.0.1:80") {
		t.Error("hashes or bindings changed with the size")
	}
	c.seconds.Add(41)
	if _, ok := larger.Get(1); ok {
		t.Error("Resize prolonged a binding")
	}
}

func TestTableResizeKeepsTheYoungest(t *testing.T) {
	var c clock
	table := NewTable(800, 0, c.now)
	for key := range uint64(400) {
		table.Put(key, key)
		c.seconds.Add(1)
	}
	smaller := table.Resize(8, 0)
	for key := uint64(392); key < 400; key++ {
		if b, ok := smaller.Get(key); !ok || b != key {
			t.Errorf("Get(%d) = %d, %v: the youngest must stay", key, b, ok)
		}
	}
}

// A binding must never be seen with the key of another, however many write to
// the same few places. Each binding tells its key.
func TestTableNeverMixesPairs(t *testing.T) {
	table := NewTable(16, time.Hour, nil)
	pair := func(r *rand.Rand) (key, binding uint64) {
		key = r.Uint64N(64)
		return key, key<<32 | r.Uint64N(1<<32)
	}
	var wg sync.WaitGroup
	var hits atomic.Int64
	for g := range uint64(4) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(g, 3))
			for range 50_000 {
				key, binding := pair(r)
				table.Put(key, binding)
				key, _ = pair(r)
				b, ok := table.Get(key)
				if !ok {
					continue
				}
				hits.Add(1)
				if b>>32 != key {
					t.Errorf("key %d has a binding of key %d", key, b>>32)
					return
				}
				if r.IntN(64) == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
	if hits.Load() < 1000 {
		t.Errorf("only %d hits: the test shows little", hits.Load())
	}
}

// Goroutines that bind one new key at once must agree in the end.
func TestTableOneBindingPerKey(t *testing.T) {
	table := NewTable(8, time.Hour, nil)
	for round := range uint64(3000) {
		start := make(chan struct{})
		var wg sync.WaitGroup
		for g := range uint64(4) {
			wg.Go(func() {
				<-start
				table.Put(round, g)
			})
		}
		close(start)
		wg.Wait()
		n := 0
		for i := range table.sets[0] {
			if v, ok := table.sets[0][i].read(); ok && v.used != 0 && v.key == round {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("round %d: %d entries for one key", round, n)
		}
	}
}

func TestTableRemovesDoubles(t *testing.T) {
	for _, mine := range []int{1, 3, 6} {
		var s set
		for _, i := range []int{1, 3, 6} {
			s[i].write(view{}, 5, uint64(i), 1)
		}
		s[2].write(view{}, 7, 7, 1)
		s.removeDoubles(5, mine)
		if v, _ := s[1].read(); v.used == 0 {
			t.Errorf("mine %d: the first was removed", mine)
		}
		if v, _ := s[2].read(); v.used == 0 {
			t.Errorf("mine %d: another key was removed", mine)
		}
		for _, i := range []int{3, 6} {
			if v, _ := s[i].read(); v.used != 0 && (mine == 1 || mine == i) {
				t.Errorf("mine %d: the double at %d was left", mine, i)
			}
		}
	}
}

// An entry that a writer holds must be skipped by Get and Put, not waited for.
func TestTableWaitsForNobody(t *testing.T) {
	table := NewTable(8, time.Hour, nil)
	for key := range uint64(8) {
		table.Put(key, key)
	}
	for i := range table.sets[0] {
		table.sets[0][i].seq.Add(1)
	}
	table.Put(1, 9)
	if _, ok := table.Get(1); ok {
		t.Error("Get returned an entry that is being written")
	}
	for i := range table.sets[0] {
		table.sets[0][i].seq.Add(1)
	}
	if b, ok := table.Get(1); !ok || b != 1 {
		t.Errorf("Get = %d, %v, want 1", b, ok)
	}
}

func TestTableAllocatesNothing(t *testing.T) {
	table := NewTable(1000, time.Hour, nil)
	key := uint64(0)
	client := []byte("192.0.2.1")
	if n := testing.AllocsPerRun(1000, func() {
		table.Put(key, table.Hash(client))
		table.Get(key)
		key += 12345
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTable(b *testing.B) {
	const size = 100_000
	keys := make([]uint64, size/2)
	table := NewTable(size, time.Hour, nil)
	for i := range keys {
		keys[i] = table.Hash([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
		table.Put(keys[i], 1)
	}
	run := func(name string, f func(i int)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(len(keys)); pb.Next(); i++ {
					f(i)
				}
			})
		})
	}
	run("get", func(i int) { table.Get(keys[i%len(keys)]) })
	run("get_miss", func(i int) { table.Get(uint64(i)) })
	run("put_same", func(i int) { table.Put(keys[i%len(keys)], 1) })
	run("put_new", func(i int) { table.Put(uint64(i), 1) })
}

// What an entry shows must be what one write put there, read in the midst of
// writes without pause.
func TestEntryIsReadWhole(t *testing.T) {
	var e entry
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		defer done.Store(true)
		for n := range uint64(300_000) {
			v, _ := e.read()
			e.write(v, n, ^n, 1)
		}
	})
	e.write(view{}, 0, ^uint64(0), 1)
	for !done.Load() {
		if v, ok := e.read(); ok && v.used != 0 && v.key != ^v.binding {
			t.Errorf("read key %x with binding %x", v.key, v.binding)
			break
		}
	}
	wg.Wait()
}
