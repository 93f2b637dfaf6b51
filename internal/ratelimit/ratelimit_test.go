package ratelimit

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func limiter(t testing.TB, requests int, per time.Duration, burst int) *Limiter {
	t.Helper()
	o := Options{requests, per, burst}
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	return NewStore().New(o)
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{100, time.Second, 100}, ""},
		{Options{MaxRequests, MaxPer, MaxRequests}, ""},
		{Options{0, time.Second, 1}, "requests 0 is not within"},
		{Options{1, time.Second, MaxRequests + 1}, "burst 1000001 is not within"},
		{Options{1, 1500 * time.Millisecond, 1}, "whole seconds"},
		{Options{1, 48 * time.Hour, 1}, "1s to 24h"},
	} {
		err := c.o.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}

// TestBucket tells the story of one key of 10 in 1 s, at most 3 at once.
func TestBucket(t *testing.T) {
	l := limiter(t, 10, time.Second, 3)
	key := l.store.Hash([]byte("a"))
	const ms = time.Millisecond
	for i, step := range []struct {
		at        time.Duration
		ok        bool
		remaining int
		wait      time.Duration
	}{
		{0, true, 2, 100 * ms},
		{0, true, 1, 100 * ms},
		{0, true, 0, 100 * ms},
		{0, false, 0, 100 * ms},
		{40 * ms, false, 0, 60 * ms},
		{99 * ms, false, 0, 1 * ms},
		{100 * ms, true, 0, 100 * ms}, // one has come back
		{100 * ms, false, 0, 100 * ms},
		{350 * ms, true, 1, 50 * ms}, // two and a half
		{time.Hour, true, 2, 100 * ms},
	} {
		if peek := l.Peek(key, step.at); peek.OK != step.ok {
			t.Errorf("step %d: Peek says %+v", i, peek)
		}
		d := l.Take(key, step.at)
		if d.OK != step.ok || d.Remaining != step.remaining || (d.Wait-step.wait).Abs() > ms/2 {
			t.Errorf("step %d, at %v: %+v", i, step.at, d)
		}
	}
	if d := l.Peek(l.store.Hash([]byte("b")), time.Hour); !d.OK || d.Remaining != 3 || d.Wait != 0 {
		t.Errorf("a new key has %+v", d)
	}
}

// TestRates holds every rate to its promise: Requests per Per in the long run,
// and not one more.
func TestRates(t *testing.T) {
	for _, o := range []Options{
		{1, time.Second, 1}, {3, time.Second, 3}, {7, time.Minute, 2}, {100, time.Second, 100}, {1000, time.Hour, 50},
		{1, MaxPer, 1}, {MaxRequests, time.Second, 1000}, {MaxRequests, MaxPer, MaxRequests},
	} {
		l := NewStore().New(o)
		key := l.store.Hash([]byte("a"))
		taken, at := 0, time.Duration(0)
		step := max(o.Per/time.Duration(o.Requests)/7, 1)
		const steps = 70_000
		for range steps {
			if l.Take(key, at).OK {
				taken++
			}
			at += step
		}
		want := min(float64(o.Burst)+float64(at)*float64(o.Requests)/float64(o.Per), steps)
		if got := float64(taken); got > want+1 || got < want*0.99-2 {
			t.Errorf("%+v: %v were let in within %v, want %v", o, got, at, want)
		}
	}
}

func TestWaitIsLongEnough(t *testing.T) {
	for _, o := range []Options{{1, time.Second, 1}, {3, time.Second, 2}, {1000, 7 * time.Second, 1}, {1, MaxPer, 2}, {MaxRequests, time.Second, 1}} {
		l := NewStore().New(o)
		key := l.store.Hash([]byte("a"))
		at := time.Duration(0)
		for l.Take(key, at).OK {
		}
		for range 1000 {
			at += l.Take(key, at).Wait
			if d := l.Take(key, at); !d.OK {
				t.Fatalf("%+v: still refused after the wait that was told: %+v", o, d)
			}
		}
	}
}

// TestClockOutOfOrder is about requests that read the clock before another that
// was counted first.
func TestClockOutOfOrder(t *testing.T) {
	l := limiter(t, 10, time.Second, 5)
	key := l.store.Hash([]byte("a"))
	at := time.Hour
	for l.Take(key, at).OK {
	}
	for back := time.Duration(0); back < clockSlack; back += 100 * time.Millisecond {
		if d := l.Take(key, at-back); d.OK {
			t.Fatalf("a clock that is %v behind fills the bucket: %+v", back, d)
		}
	}
}

// TestFullMemory: when there are more keys than places, who is at his limit stays
// there, and nobody is refused for it.
func TestFullMemory(t *testing.T) {
	s := NewStore()
	l := s.New(Options{10, time.Second, 10})
	s.places.Store(maxPlaces) // somebody else has it all
	bad := s.Hash([]byte("attacker"))
	at := time.Second
	for l.Take(bad, at).OK {
	}
	for i := range 100_000 {
		if d := l.Take(s.Hash(fmt.Append(nil, "client", i)), at); !d.OK {
			t.Fatalf("client %d is refused: %+v", i, d)
		}
	}
	if d := l.Take(bad, at); d.OK {
		t.Error("a flood of other keys has made the attacker's limit forgotten")
	}
	if s.Forgotten() < 90_000 || s.Memory() != maxPlaces*8 {
		t.Errorf("%d forgotten, %d bytes", s.Forgotten(), s.Memory())
	}
}

func TestGrowingForgetsNobody(t *testing.T) {
	s := NewStore()
	l := s.New(Options{1, time.Minute, 2})
	const keys = 50_000
	at := time.Second
	early := s.Hash([]byte("early"))
	l.Take(early, at)
	l.Take(early, at)
	for i := range keys {
		l.Take(s.Hash(fmt.Append(nil, i)), at)
	}
	if l.Take(early, at).OK {
		t.Error("who was at his limit is forgotten")
	}
	lost := 0
	for i := range keys {
		if l.Peek(s.Hash(fmt.Append(nil, i)), at).Remaining == 2 {
			lost++
		}
	}
	// What gives the table more room is that a few were given up.
	if lost > keys/20 || s.Forgotten() < int64(lost)/2 {
		t.Errorf("%d of %d are lost, %d were counted as forgotten", lost, keys, s.Forgotten())
	}
	if got := s.Memory(); got < keys*8 || got > keys*8*6 {
		t.Errorf("%d bytes for %d keys", got, keys)
	}
	l.Close()
	if s.Memory() != 0 {
		t.Errorf("%d bytes are left", s.Memory())
	}
}

// TestMemoryOfAMillionKeys measures what they cost.
func TestMemoryOfAMillionKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a million keys")
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := NewStore()
	l := s.New(Options{10, time.Minute, 10})
	const keys = 1_000_000
	var b [8]byte
	for i := range keys {
		b = [8]byte{byte(i), byte(i >> 8), byte(i >> 16)}
		l.Take(s.Hash(b[:]), time.Second)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	known := 0
	for i := range keys {
		b = [8]byte{byte(i), byte(i >> 8), byte(i >> 16)}
		if l.Peek(s.Hash(b[:]), time.Second).Remaining < 10 {
			known++
		}
	}
	perKey := float64(after.HeapAlloc-before.HeapAlloc) / keys
	t.Logf("%.1f bytes a key, %d of %d known, %d forgotten on the way", perKey, known, keys, s.Forgotten())
	if perKey > 20 || known < keys*95/100 {
		t.Errorf("%.1f bytes a key, %d known", perKey, known)
	}
	runtime.KeepAlive(l)
}

// TestTheClockComesRound: what was left behind when the counter of time comes
// round is nobody's limit.
func TestTheClockComesRound(t *testing.T) {
	l := limiter(t, 1000, time.Second, 100)
	key := l.store.Hash([]byte("a"))
	round := time.Duration(1) << timeBits / perRequest * time.Millisecond
	for n := range time.Duration(5) {
		for _, part := range []time.Duration{round / 4, round / 2, round - time.Minute} {
			if d := l.Take(key, n*round+part); !d.OK || d.Remaining != 99 {
				t.Fatalf("round %d: %+v", n, d)
			}
		}
	}
}

// TestManyAtOnce: goroutines with one key get what there is, and no more.
func TestManyAtOnce(t *testing.T) {
	l := limiter(t, 1, time.Hour, 1000)
	key := l.store.Hash([]byte("a"))
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if l.Take(key, time.Second).OK {
					taken.Add(1)
				}
			}
		})
	}
	wg.Wait()
	// Two that are the first for a key may each count in a place of their own.
	if n := taken.Load(); n < 1000 || n > 1008 {
		t.Errorf("%d of 1000 were let in", n)
	}
}

// TestManyKeysAtOnce is for the race detector: growth under way.
func TestManyKeysAtOnce(t *testing.T) {
	s := NewStore()
	l := s.New(Options{1, time.Hour, 1})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 20_000 {
				l.Take(s.Hash(fmt.Append(nil, g, i)), time.Second)
			}
		})
	}
	wg.Wait()
	if l.table.Load().bits == minBits {
		t.Error("it has not grown")
	}
}

func TestNothingIsAllocated(t *testing.T) {
	l := limiter(t, 100, time.Second, 100)
	b, at := []byte("192.0.2.1"), time.Duration(0)
	if n := testing.AllocsPerRun(1000, func() {
		at += time.Millisecond
		l.Take(l.store.Hash(b), at)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTake(b *testing.B) {
	for _, keys := range []int{1, 1000, 1_000_000} {
		s := NewStore()
		l := s.New(Options{1000, time.Second, 1000})
		hashes := make([]uint64, keys)
		for i := range hashes {
			hashes[i] = s.Hash(fmt.Append(nil, i))
			l.Take(hashes[i], 0)
		}
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			b.ReportAllocs()
			i, at := 0, time.Duration(0)
			for b.Loop() {
				if i++; i == keys {
					i = 0
				}
				at += time.Microsecond
				l.Take(hashes[i], at)
			}
		})
		b.Run(fmt.Sprint(keys, "_parallel"), func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				i := 0
				for pb.Next() {
					if i += 7; i >= keys {
						i = 0
					}
					l.Take(hashes[i], time.Duration(i))
				}
			})
		})
	}
}
