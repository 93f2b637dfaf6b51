package balancer

import (
	"math"
	"sync"
	"testing"
	"time"
	"unsafe"
)

func TestBackendAcquireRespectsLimit(t *testing.T) {
	const limit, goroutines, rounds = 7, 8, 2000
	b := NewBackend("a", "127.0.0.1:3001")
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range rounds {
				if b.Acquire(limit) {
					if n := b.InFlight(); n > limit {
						t.Errorf("%d in flight, limit %d", n, limit)
					}
					b.Release()
				}
			}
		})
	}
	wg.Wait()
	if n := b.InFlight(); n != 0 {
		t.Errorf("%d in flight at the end", n)
	}
	for range limit {
		if !b.Acquire(limit) {
			t.Fatal("Acquire refused below the limit")
		}
	}
	if b.Acquire(limit) {
		t.Error("Acquire granted at the limit")
	}
	if !b.Acquire(0) {
		t.Error("Acquire without a limit refused")
	}
}

func TestBackendReleaseWithoutAcquirePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	NewBackend("a", "").Release()
}

func TestBackendFirstByte(t *testing.T) {
	clock := &virtualClock{now: 1}
	b := NewBackend("a", "")
	b.clock = clock.read
	if got := b.FirstByte(); got != 0 {
		t.Errorf("FirstByte = %v without a sample", got)
	}
	steps := []struct {
		after, sample, want time.Duration
	}{
		{0, 100 * time.Millisecond, 100 * time.Millisecond},            // the first is taken whole.
		{halfLife, 200 * time.Millisecond, 150 * time.Millisecond},     // half of the new.
		{2 * halfLife, 550 * time.Millisecond, 450 * time.Millisecond}, // three quarters of the new.
		{0, time.Hour, 450 * time.Millisecond},                         // no time has passed.
		{-time.Second, time.Hour, 450 * time.Millisecond},              // nor when samples arrive out of order.
		{time.Hour, -time.Second, time.Nanosecond},                     // nothing is below a nanosecond.
		{time.Hour, 20 * time.Millisecond, 20 * time.Millisecond},      // old samples are forgotten.
	}
	for i, s := range steps {
		clock.now += int64(s.after)
		b.ObserveFirstByte(s.sample)
		if got := b.FirstByte(); (got - s.want).Abs() > time.Microsecond {
			t.Errorf("step %d: FirstByte = %v, want %v", i, got, s.want)
		}
	}
}

// TestBackendFirstByteSpansTime feeds the same change at two rates: the average
// must have followed it equally far after the same time.
func TestBackendFirstByteSpansTime(t *testing.T) {
	for _, interval := range []time.Duration{100 * time.Microsecond, 50 * time.Millisecond} {
		clock := &virtualClock{now: 1}
		b := NewBackend("a", "")
		b.clock = clock.read
		b.ObserveFirstByte(100 * time.Millisecond)
		for clock.now < int64(halfLife) {
			clock.now += int64(interval)
			b.ObserveFirstByte(200 * time.Millisecond)
		}
		if got := b.FirstByte(); (got - 150*time.Millisecond).Abs() > time.Millisecond {
			t.Errorf("a sample every %v: FirstByte = %v after a half-life, want 150ms", interval, got)
		}
	}
}

func TestBackendFirstByteConcurrently(t *testing.T) {
	b := NewBackend("a", "")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				b.ObserveFirstByte(10 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	if got := b.FirstByte(); (got - 10*time.Millisecond).Abs() > time.Microsecond {
		t.Errorf("FirstByte = %v after equal samples of 10ms", got)
	}
}

func TestHalved(t *testing.T) {
	last := 2.0
	for age := int64(-1); age < int64(20*halfLife); age += int64(halfLife) / 7 {
		got, want := halved(age), math.Exp2(-float64(max(age, 0))/float64(halfLife))
		if got > last || got < want*0.999 || got > want*1.07 {
			t.Errorf("halved(%v) = %v, want %v", time.Duration(age), got, want)
		}
		last = got
	}
	if got := halved(math.MaxInt64); got < 0 || got > 1e-100 {
		t.Errorf("halved(for ever) = %v", got)
	}
}

// TestBackendLayout keeps the counters on one cache line that nothing else is on.
func TestBackendLayout(t *testing.T) {
	var b Backend
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("the padding is meant for 64 bits")
	}
	first, last := unsafe.Offsetof(b.inFlight), unsafe.Offsetof(b.pickedAt)+7
	if first%cacheLine != 0 || first/cacheLine != last/cacheLine || unsafe.Sizeof(b) != 2*cacheLine {
		t.Errorf("counters at %d to %d of %d bytes", first, last, unsafe.Sizeof(b))
	}
	if size := unsafe.Sizeof(tally{}); size != cacheLine {
		t.Errorf("a tally is %d bytes", size)
	}
}

// TestTallyEndsExact changes a counter from many goroutines, while it is attached
// anew; the total must be right once they are done, not only nearly.
func TestTallyEndsExact(t *testing.T) {
	members := newMembers(1)
	b := members[0].Backend
	s := newSet(members)
	for range 50 {
		attachLoad(&s)
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for k := range 200 {
					b.Acquire(0)
					if k+g != 199 {
						b.Release()
					}
				}
			})
		}
		current := attachLoad(&s)
		wg.Wait()
		if got, want := current.total(&s), b.InFlight(); got != want || current.stolen.Load() {
			t.Fatalf("total %d, want %d", got, want)
		}
	}
}
