package pool

import (
	"sync"
	"testing"
	"time"

	"steelyard/internal/adaptive"
)

// TestAdmission holds the limits of a pool to their numbers, and a change of the
// options to what has been counted before it.
func TestAdmission(t *testing.T) {
	o := options(2)
	o.MaxInFlight = 3
	inBubble(t, o, func(t *testing.T, p *Pool) {
		var tickets [4]Ticket
		for i := range 3 {
			if !p.Admit(&tickets[i]) {
				t.Fatalf("request %d was not let in", i)
			}
		}
		if p.Admits() || p.Admit(&tickets[3]) || tickets[3] != 0 {
			t.Error("a fourth was let in")
		}
		p.Discharge(&tickets[0])
		p.Discharge(&tickets[0]) // holds nothing any more
		if !p.Admit(&tickets[3]) || p.Admit(&tickets[0]) {
			t.Error("one left, and not exactly one could come")
		}

		o.MaxInFlight, o.Adaptive = 0, &adaptive.Options{Min: 2, Max: 2, Tolerance: 2}
		if err := p.Apply(o); err != nil {
			t.Fatal(err)
		}
		var later [3]Ticket
		if !p.Admit(&later[0]) || !p.Admit(&later[1]) || p.Admit(&later[2]) {
			t.Error("with the adaptive limit alone not exactly two were let in")
		}
		p.Measured(&later[0], time.Millisecond)
		if !p.Admit(&later[2]) {
			t.Error("one was answered, and its place is not free")
		}
		o.Adaptive = nil
		if err := p.Apply(o); err != nil {
			t.Fatal(err)
		}
		for i := range tickets {
			p.Discharge(&tickets[i])
		}
		for i := range later {
			p.Discharge(&later[i])
		}
		if a := &p.admission; a.inFlight.Load() != 0 || a.adaptive.Pending() != 0 {
			t.Errorf("%d and %d count after all have left", a.inFlight.Load(), a.adaptive.Pending())
		}
		var unlimited Ticket
		if !p.Admit(&unlimited) || unlimited != 0 {
			t.Error("without limits requests are counted")
		}
	})
}

// TestQueueOfALimitedPool: who waits for the pool's limit is served in turn, and
// nobody is forgotten.
func TestQueueOfALimitedPool(t *testing.T) {
	o := options(2)
	o.MaxInFlight, o.Queue, o.QueueTimeout = 2, 100, time.Minute
	inBubble(t, o, func(t *testing.T, p *Pool) {
		var wg sync.WaitGroup
		var most int
		var mu sync.Mutex
		now := 0
		for range 50 {
			wg.Go(func() {
				var ticket Ticket
				if !p.Admit(&ticket) {
					waitForAdmission(t, p, &ticket)
				}
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(time.Millisecond)
				mu.Lock()
				now--
				mu.Unlock()
				p.Discharge(&ticket)
				p.wakeFirst()
			})
		}
		wg.Wait()
		if most != 2 || p.Waiting() != 0 {
			t.Errorf("%d at once, %d still wait", most, p.Waiting())
		}
	})
}

func waitForAdmission(t *testing.T, p *Pool, ticket *Ticket) {
	w, look, err := p.Enqueue()
	if err != nil {
		t.Error(err)
		return
	}
	defer p.Leave(w)
	for !look || !p.Admit(ticket) {
		if err := p.Wait(w, present); err != nil {
			t.Error(err)
			return
		}
		look = true
	}
}
