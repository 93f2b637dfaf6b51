package admin

import (
	"net/netip"
	"sync"
	"time"
)

const (
	maxGuesses   = 10              // wrong tokens in a row that an address may show
	guessEvery   = 6 * time.Second // gives one of them back
	maxGuessers  = 1024            // addresses that are remembered
	guessForgets = maxGuesses * guessEvery
)

// guesses bounds how fast an address may try tokens. It remembers a bounded
// number of addresses; networks of IPv6 count as one.
type guesses struct {
	mu   sync.Mutex
	from map[netip.Addr]guesser
}

// guesser is a bucket of wrong tokens.
type guesser struct {
	wrong float64 // as of at
	at    time.Time
}

func (g guesser) now(now time.Time) float64 {
	return max(0, g.wrong-float64(now.Sub(g.at))/float64(guessEvery))
}

// wait is how long an address must leave tokens alone; 0: it may try.
func (g *guesses) wait(a netip.Addr, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	over := g.from[network(a)].now(now) - (maxGuesses - 1)
	return time.Duration(max(0, over) * float64(guessEvery))
}

// wrong notes a wrong token.
func (g *guesses) wrong(a netip.Addr, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.from == nil {
		g.from = make(map[netip.Addr]guesser)
	}
	a = network(a)
	if _, known := g.from[a]; !known && len(g.from) >= maxGuessers {
		g.forget(now)
	}
	g.from[a] = guesser{g.from[a].now(now) + 1, now}
}

// forget drops who has been quiet, or else the one who was quiet longest.
func (g *guesses) forget(now time.Time) {
	var oldest netip.Addr
	for a, who := range g.from {
		if now.Sub(who.at) > guessForgets {
			delete(g.from, a)
		} else if !oldest.IsValid() || who.at.Before(g.from[oldest].at) {
			oldest = a
		}
	}
	if len(g.from) >= maxGuessers {
		delete(g.from, oldest)
	}
}

// network is what counts as one address.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
