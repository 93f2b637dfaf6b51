package ratelimit

import (
	"hash/maphash"
	"sync/atomic"
)

// maxPlaces bounds what all limiters of a store have together: 64 MiB.
const maxPlaces = 8 << 20

// Store bounds the memory of limiters that belong together, and hashes their
// keys.
type Store struct {
	seed      maphash.Seed
	places    atomic.Int64
	forgotten atomic.Int64
}

// NewStore makes a store without limiters.
func NewStore() *Store { return &Store{seed: maphash.MakeSeed()} }

// New makes a limiter; Options must be valid. Close ends it.
func (s *Store) New(o Options) *Limiter {
	s.places.Add(1 << minBits * ways)
	return newLimiter(o, s)
}

// Hash is the hash of a key. It is seeded at random, so that nobody outside can
// choose keys that push each other out.
func (s *Store) Hash(b []byte) uint64 { return maphash.Bytes(s.seed, b) }

// Memory is what all limiters have, in bytes.
func (s *Store) Memory() int64 { return s.places.Load() * 8 }

// Forgotten counts the buckets in use that were given up for others because the
// memory was full.
func (s *Store) Forgotten() int64 { return s.forgotten.Load() }

// reserve reports whether there may be n places more.
func (s *Store) reserve(n int64) bool {
	if s.places.Add(n) > maxPlaces {
		s.places.Add(-n)
		return false
	}
	return true
}

func (s *Store) free(n int64) { s.places.Add(-n) }
