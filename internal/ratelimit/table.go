package ratelimit

import "sync/atomic"

// A table has sets of places, as a cache of a processor does: the upper bits of
// a key, which is a hash, choose the set, and any place of it may hold the key. A
// set is one cache line. A place is one word, written by compare-and-swap: a tag,
// which are the bits of the key behind the first minBits, and the time at which
// the bucket is full again. 0 is an empty place.
//
// Two keys that agree in minBits+tagBits bits share a bucket: with a million
// keys that is one in 30,000 of them.
//
// The time is counted modulo 2^timeBits. That no bucket can be full later than
// burst from now tells those that are kept from those left behind by the clock.
const (
	ways     = 8
	tagBits  = 28
	timeBits = 64 - tagBits
	timeMask = 1<<timeBits - 1
	minBits  = 6  // 512 places, 4 KiB
	maxBits  = 18 // 2,097,152 places, 16 MiB
)

type place = atomic.Uint64

type table struct {
	sets      [][ways]place
	bits      int // that choose the set
	displaced atomic.Int64
}

func newTable(bits int) *table { return &table{sets: make([][ways]place, 1<<bits), bits: bits} }

// size is the number of places.
func (t *table) size() int64 { return int64(len(t.sets)) * ways }

func tagOf(key uint64) uint64 { return key << minBits >> (64 - tagBits) }

// entry is what is kept of a key whose bucket is full at a time.
func (t *table) entry(key, fullAt uint64) uint64 {
	return tagOf(key)<<timeBits | fullAt&timeMask
}

// lacks is how much a bucket lacks now, 0 if it is full or nothing is known.
func lacks(entry, now, full, slack uint64) uint64 {
	left := (entry - now) & timeMask
	if entry == 0 || left > full+slack {
		return 0
	}
	return min(left, full)
}

// find returns the place of a key with what is in it, and what its bucket lacks.
// A key that has none gets an empty place or else that of the bucket that lacks
// least (other): who is near his limit is never forgotten for who is not.
func (t *table) find(key, now, full, slack uint64) (p *place, was, used uint64, other bool) {
	s := &t.sets[key>>(64-t.bits)]
	tag := tagOf(key)
	least := ^uint64(0)
	for i := range s {
		entry := s[i].Load()
		lack := lacks(entry, now, full, slack)
		if entry>>timeBits == tag && lack > 0 {
			return &s[i], entry, lack, false
		}
		if lack < least {
			p, was, least = &s[i], entry, lack
		}
	}
	return p, was, 0, least > 0
}

// grown is a table of twice the size with the buckets that are in use. What is
// taken meanwhile may be missing.
func (t *table) grown(now, full, slack uint64) *table {
	g := newTable(t.bits + 1)
	next := tagBits - 1 - (t.bits - minBits) // the bit of the tag that chooses between two sets
	for i := range t.sets {
		for j := range t.sets[i] {
			entry := t.sets[i][j].Load()
			if lacks(entry, now, full, slack) == 0 {
				continue
			}
			half := entry >> (timeBits + next) & 1
			g.sets[uint64(i)<<1|half][j].Store(entry)
		}
	}
	return g
}
