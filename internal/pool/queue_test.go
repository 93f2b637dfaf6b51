package pool

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"steelyard/internal/outlier"
)

// limited are options of n backends of limit places each, and a queue.
func limited(n, limit, size int) Options {
	o := options(n)
	for i := range o.Backends {
		o.Backends[i].MaxConnections = limit
	}
	o.Queue, o.QueueTimeout = size, 10*time.Second
	return o
}

func present() error { return nil }

// acquire is what the request path does: look, else queue. want limits it to
// one backend, -1: any. It returns the backend.
func acquire(p *Pool, want int) (*Snapshot, int, error) {
	look := func() (*Snapshot, int) {
		s := p.Snapshot()
		if want >= 0 {
			if s.Acquire(want) {
				return s, want
			}
			return s, -1
		}
		for {
			i := s.Pick(0, &Tried{})
			if i < 0 || s.Acquire(i) {
				return s, i
			}
		}
	}
	if !p.Crowded() {
		if s, i := look(); i >= 0 {
			return s, i, nil
		}
	}
	w, now, err := p.Enqueue()
	if err != nil {
		return nil, -1, err
	}
	defer p.Leave(w)
	for {
		if now {
			if s, i := look(); i >= 0 {
				return s, i, nil
			}
		}
		now = true
		if err := p.Wait(w, present); err != nil {
			return nil, -1, err
		}
	}
}

// TestQueueOrder: first come, first served.
func TestQueueOrder(t *testing.T) {
	inBubble(t, limited(1, 1, 100), func(t *testing.T, p *Pool) {
		s, i, err := acquire(p, -1)
		if err != nil {
			t.Fatal(err)
		}
		var order []int
		var waiting sync.WaitGroup
		for n := range 20 {
			waiting.Go(func() {
				s, i, err := acquire(p, -1)
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, n) // one at a time: the limit is 1
				time.Sleep(time.Millisecond)
				p.Release(s, i)
			})
			synctest.Wait()
		}
		if !p.Crowded() {
			t.Error("not crowded")
		}
		p.Release(s, i)
		waiting.Wait()
		for n, v := range order {
			if n != v {
				t.Fatalf("served in the order %v", order)
			}
		}
		if p.Crowded() || len(order) != 20 || p.queue.active != 0 || p.queue.first != nil || p.queue.last != nil {
			t.Errorf("%d served, %d waiting, %d active", len(order), p.queue.waiting.Load(), p.queue.active)
		}
	})
}

// TestQueueEnds: full, out of time, and the client gone.
func TestQueueEnds(t *testing.T) {
	inBubble(t, limited(1, 1, 2), func(t *testing.T, p *Pool) {
		s, i, _ := acquire(p, -1)
		defer p.Release(s, i)
		start := time.Now()
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, _, err := acquire(p, -1); !errors.Is(err, ErrQueueTimeout) {
				t.Errorf("got %v", err)
			}
			if d := time.Since(start); d != p.QueueTimeout() {
				t.Errorf("waited %v", d)
			}
		})
		errGone := errors.New("gone")
		waiting.Go(func() {
			w, _, err := p.Enqueue()
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Leave(w)
			asked := 0
			err = p.Wait(w, func() error {
				if asked++; asked == 3 {
					return errGone
				}
				return nil
			})
			if err != errGone || time.Since(start) != 3*goneEvery {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		})
		synctest.Wait()
		if _, _, err := acquire(p, -1); !errors.Is(err, ErrQueueFull) {
			t.Errorf("a third waits: %v", err)
		}
		waiting.Wait()
		if p.Crowded() {
			t.Error("still crowded")
		}
	})
}

func TestQueueOff(t *testing.T) {
	p := newPool(t, options(1))
	if p.Queues() {
		t.Error("a pool without a queue queues")
	}
	if _, _, err := p.Enqueue(); !errors.Is(err, ErrQueueFull) {
		t.Errorf("got %v", err)
	}
	apply(t, p, limited(1, 1, 5))
	if !p.Queues() || p.QueueTimeout() != 10*time.Second {
		t.Error("the options are not in force")
	}
}

// TestLeavePassesOn: a wake-up that comes as its receiver leaves is not lost.
func TestLeavePassesOn(t *testing.T) {
	inBubble(t, limited(1, 1, 5), func(t *testing.T, p *Pool) {
		s, i, _ := acquire(p, -1)
		leaver, _, _ := p.Enqueue()
		p.lookedInVain(leaver)
		served := make(chan error, 1)
		go func() {
			s, i, err := acquire(p, -1)
			if err == nil {
				p.Release(s, i)
			}
			served <- err
		}()
		synctest.Wait()
		p.Release(s, i) // wakes the leaver, who does not look
		p.Leave(leaver)
		synctest.Wait()
		select {
		case err := <-served:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("the second waits although the place is free")
		}
	})
}

// TestPlaceLeftBehind: with two places free and one waiter woken, a request that
// comes then gets the second at once and not when the first is done.
func TestPlaceLeftBehind(t *testing.T) {
	inBubble(t, limited(1, 2, 5), func(t *testing.T, p *Pool) {
		s, i, _ := acquire(p, -1)
		_, _, _ = acquire(p, -1)
		w, now, _ := p.Enqueue()
		if !now {
			t.Fatal("the first does not look at once")
		}
		p.lookedInVain(w)
		p.Release(s, i)
		p.Release(s, i)
		served := make(chan error, 1)
		go func() {
			_, _, err := acquire(p, -1)
			served <- err
		}()
		synctest.Wait()
		if err := p.Wait(w, present); err != nil || !s.Acquire(i) {
			t.Fatalf("the first is not served: %v", err)
		}
		p.Leave(w)
		synctest.Wait()
		select {
		case <-served:
		default:
			t.Error("the second waits although a place is free")
		}
		p.Release(s, i)
		p.Release(s, i)
	})
}

// TestReleaseWhileLooking: a place that becomes free just after a waiter saw
// none lets it look again.
func TestReleaseWhileLooking(t *testing.T) {
	inBubble(t, limited(1, 1, 5), func(t *testing.T, p *Pool) {
		for range 2 { // at once after Enqueue, and after Wait
			s, i, _ := acquire(p, -1)
			w, now, _ := p.Enqueue()
			if !now {
				t.Fatal("the first does not look at once")
			}
			p.Release(s, i)
			start := time.Now()
			if err := p.Wait(w, present); err != nil || time.Since(start) != 0 {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
			p.Leave(w)
		}
	})
}

// TestNoOvertaking: a newcomer does not look while one that was woken has not,
// and a place that is taken wakes nobody.
func TestNoOvertaking(t *testing.T) {
	inBubble(t, limited(1, 1, 5), func(t *testing.T, p *Pool) {
		s, i, _ := acquire(p, -1)
		first, _, _ := p.Enqueue()
		p.lookedInVain(first)
		p.Release(s, i)
		second, now, _ := p.Enqueue()
		if now {
			t.Error("the newcomer looks first")
		}
		if err := p.Wait(first, present); err != nil || !s.Acquire(i) {
			t.Fatalf("the first finds nothing: %v", err)
		}
		p.Leave(first)
		if p.queue.active != 0 {
			t.Error("the second is woken for nothing")
		}
		p.Release(s, i)
		if err := p.Wait(second, present); err != nil || !s.Acquire(i) {
			t.Errorf("the second finds nothing: %v", err)
		}
		p.Leave(second)
		p.Release(s, i)
	})
}

// TestBoundWaiterBlocksNobody: one that waits for a certain backend does not
// keep others from the free places of another.
func TestBoundWaiterBlocksNobody(t *testing.T) {
	inBubble(t, limited(2, 1, 5), func(t *testing.T, p *Pool) {
		s, _, _ := acquire(p, 0)
		_, _, _ = acquire(p, 1)
		results := make(chan int, 3)
		for _, want := range []int{0, 1} { // the first is bound to 0, which stays full
			go func() {
				_, i, err := acquire(p, want)
				if err != nil {
					i = -1
				}
				results <- i
			}()
			synctest.Wait()
		}
		p.Release(s, 1)
		synctest.Wait()
		if len(results) != 1 {
			t.Fatal("the wake-up is lost on the bound one")
		}
		p.Release(s, <-results)
		synctest.Wait()
		go func() { // comes while 1 is free and the bound one waits
			_, i, _ := acquire(p, -1)
			results <- i
		}()
		synctest.Wait()
		if len(results) != 1 {
			t.Fatal("a newcomer waits behind the bound one")
		}
		p.Release(s, <-results)
		p.Release(s, 0)
		synctest.Wait()
		if got := <-results; got != 0 {
			t.Errorf("the bound one got %d", got)
		}
		p.Release(s, 0)
	})
}

// TestMembershipWakes: a new backend serves those who wait.
func TestMembershipWakes(t *testing.T) {
	inBubble(t, limited(1, 1, 5), func(t *testing.T, p *Pool) {
		s, i, _ := acquire(p, -1)
		served := make(chan string, 2)
		for range 2 {
			go func() {
				s, i, err := acquire(p, -1)
				if err == nil {
					served <- s.Endpoints[i].Address
					p.Release(s, i)
				}
			}()
		}
		synctest.Wait()
		apply(t, p, limited(2, 1, 5))
		synctest.Wait()
		if len(served) != 2 || <-served != "b1" {
			t.Error("the new backend does not serve those who wait")
		}
		p.Release(s, i)
	})
}

// TestQueueStress: many requests, some bound and some impatient, and a changing
// membership; everybody is served or gives up by himself, and the limits hold.
func TestQueueStress(t *testing.T) {
	o := limited(3, 2, 1000)
	o.QueueTimeout = 20 * time.Second
	p := newPool(t, o)
	var inFlight [3]atomic.Int64
	var served, impatient atomic.Int64
	var all sync.WaitGroup
	for n := range 32 {
		all.Go(func() {
			for range 200 {
				want := -1
				if n%4 == 0 {
					want = rand.IntN(3)
				}
				if n%8 == 1 && leaveSoon(p) {
					impatient.Add(1)
					continue
				}
				s, i, err := acquire(p, want)
				if err != nil {
					t.Error(err)
					return
				}
				if inFlight[i].Add(1) > 2 {
					t.Error("the limit is broken")
				}
				runtime.Gosched()
				inFlight[i].Add(-1)
				p.Release(s, i)
				served.Add(1)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("stuck after %d: a wake-up is lost", served.Load())
	}
	if p.Crowded() || p.queue.active != 0 {
		t.Errorf("%d waiting, %d active at the end", p.queue.waiting.Load(), p.queue.active)
	}
	t.Logf("%d served, %d left", served.Load(), impatient.Load())
}

// leaveSoon takes a place in the queue and gives it up without looking.
func leaveSoon(p *Pool) bool {
	if !p.Crowded() {
		return false
	}
	w, _, err := p.Enqueue()
	if err != nil {
		return false
	}
	runtime.Gosched()
	p.Leave(w)
	return true
}

// TestAllocations: what every request does costs none.
func TestAllocations(t *testing.T) {
	p := newPool(t, limited(100, 10, 5))
	tried := &Tried{}
	if n := testing.AllocsPerRun(1000, func() {
		s := p.Snapshot()
		tried.Reset()
		i := s.Pick(0, tried)
		if p.Crowded() || !s.Acquire(i) || s.Bound(i, tried) == BoundGone || s.ByID([]byte("12345678")) >= 0 {
			t.Fatal("not acquired")
		}
		p.Release(s, i)
	}); n != 0 {
		t.Errorf("a request costs %v allocations", n)
	}
}

// TestTellingIsFree: what the request path tells the pool costs no allocation,
// and never waits for the writer.
func TestTellingIsFree(t *testing.T) {
	o := limited(4, 0, 5)
	o.Outlier = outlier.DefaultOptions()
	p := newPool(t, o)
	e := p.Snapshot().Endpoints[1]
	busy, began := make(chan struct{}), make(chan struct{})
	p.commands <- func(*writer) {
		close(began)
		<-busy
	}
	defer close(busy)
	<-began
	if n := testing.AllocsPerRun(1000, func() {
		p.Stats.Requests.Add(1)
		p.Answered(e, 200)
		p.Answered(e, 503)
		p.Failed(e)
		p.ConnectFailed(e)
		p.Connected(e)
		if e.Cut() || !p.MayRetry() && p.Stats.RetriesDenied.Load() == 0 {
			t.Fatal("cut")
		}
	}); n != 0 {
		t.Errorf("a request costs %v allocations", n)
	}
}
