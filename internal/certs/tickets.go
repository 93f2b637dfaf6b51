package certs

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// ticketPeriod is how long new session tickets are made with one secret.
	ticketPeriod = 24 * time.Hour
	// ticketSecrets is how many secrets a ticket may be of, the present one
	// included: a ticket is good for one to two periods.
	ticketSecrets = 2
)

// Tickets are the secrets that keys for session tickets come from. One serves
// all listeners of the process and outlives configurations, so that sessions are
// resumed after a reload. They never leave the process. It is safe for concurrent
// use.
type Tickets struct {
	mu      sync.Mutex
	secrets []ticketSecret // newest first
}

type ticketSecret struct {
	secret [32]byte
	since  time.Time
}

// NewTickets makes the first secret.
func NewTickets(now time.Time) *Tickets {
	t := &Tickets{}
	t.rotate(now)
	return t
}

// rotate makes a secret if the newest is too old, and forgets those that are
// older than a ticket may be.
func (t *Tickets) rotate(now time.Time) {
	if len(t.secrets) > 0 && now.Sub(t.secrets[0].since) < ticketPeriod {
		return
	}
	s := ticketSecret{since: now}
	_, _ = rand.Read(s.secret[:]) // never fails
	kept := []ticketSecret{s}
	for _, old := range t.secrets {
		if len(kept) < ticketSecrets && now.Sub(old.since) < ticketSecrets*ticketPeriod {
			kept = append(kept, old)
		}
	}
	t.secrets = kept
}

// keys are the keys of the moment, that for new tickets first, for those who
// trust the same clients, which is what trust stands for: a ticket carries the
// certificate of its client, so that one from where other CAs were believed must
// not be understood. The time tells one set of keys from another.
func (t *Tickets) keys(trust []byte, now time.Time) (keys [][32]byte, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rotate(now)
	for _, s := range t.secrets {
		key, err := hkdf.Key(sha256.New, s.secret[:], nil, "steelyard session tickets\x00"+string(trust), 32)
		if err != nil {
			panic(err) // only for lengths that HKDF cannot give
		}
		keys = append(keys, [32]byte(key))
	}
	return keys, t.secrets[0].since
}
