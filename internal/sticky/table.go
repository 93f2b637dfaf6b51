package sticky

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// ways is how many places a key has in the table.
const ways = 8

// putAttempts is how often Put starts over when others write to the same
// places before it gives up.
const putAttempts = 4

// Table remembers which backend a client is bound to, in a fixed amount of
// memory (24 bytes per binding). Get and Put are safe for concurrent use, wait
// for nobody and allocate nothing.
//
// Keys and bindings are hashes (Hash) of the client's key and of the backend's
// identity. A key can stand in one of 8 places; when those are taken, the
// binding that was unused longest gives way, so expired ones go first. With as
// many clients as the size this costs about one binding in seven; with a size of
// twice the clients at one time, less than one in a hundred.
type Table struct {
	sets []set
	ttl  atomic.Uint32 // seconds; 0: for ever
	now  func() int64
	base int64 // now when the table was made
	seed maphash.Seed
}

type set [ways]entry

// entry is one place. Its key and binding are only valid together, so they are
// read under a version (a sequence lock without waiting): seq is odd while a
// writer owns the entry, and a reader that sees it odd, or changed after
// reading, has read nothing. Writers take the entry by compare-and-swap from
// the version they looked at, so two cannot own it and none overwrites what it
// has not seen. used may change without the version: it is a hint.
type entry struct {
	seq     atomic.Uint32
	used    atomic.Uint32 // stamp of the last use; 0: empty
	key     atomic.Uint64
	binding atomic.Uint64
}

// view is what was in an entry at one moment.
type view struct {
	seq, used    uint32
	key, binding uint64
}

// read returns what the entry holds, or false if it was being written.
func (e *entry) read() (v view, ok bool) {
	v.seq = e.seq.Load()
	v.used, v.key, v.binding = e.used.Load(), e.key.Load(), e.binding.Load()
	return v, v.seq&1 == 0 && e.seq.Load() == v.seq
}

// write replaces what v saw in the entry, or returns false if that has changed.
func (e *entry) write(v view, key, binding uint64, used uint32) bool {
	if !e.seq.CompareAndSwap(v.seq, v.seq+1) {
		return false
	}
	e.key.Store(key)
	e.binding.Store(binding)
	e.used.Store(used)
	e.seq.Store(v.seq + 2)
	return true
}

// touch notes a use. It does nothing if the entry was emptied since v.
func (e *entry) touch(v view, stamp uint32) {
	if v.used < stamp {
		e.used.CompareAndSwap(v.used, stamp)
	}
}

// NewTable makes a table for size bindings, rounded up to a multiple of 8,
// which are forgotten when unused for longer than ttl, rounded up to seconds; a
// ttl of 0 or less means never. now returns the time in seconds from any fixed
// moment and should not go back; nil means the monotonic clock. It is called for
// every Get and Put.
func NewTable(size int, ttl time.Duration, now func() int64) *Table {
	if now == nil {
		start := time.Now()
		now = func() int64 { return int64(time.Since(start) / time.Second) }
	}
	t := &Table{sets: make([]set, setsFor(size)), now: now, base: now(), seed: maphash.MakeSeed()}
	t.setTTL(ttl)
	return t
}

func setsFor(size int) int { return (max(size, 1) + ways - 1) / ways }

func (t *Table) setTTL(ttl time.Duration) {
	seconds := (max(ttl, 0) + time.Second - 1) / time.Second
	t.ttl.Store(uint32(min(int64(seconds), math.MaxUint32)))
}

// Hash returns the hash of a client's key or a backend's identity for use with
// this table and those that Resize makes of it. It is seeded at random, so that
// clients cannot choose keys that push each other out, and means nothing
// outside this process.
func (t *Table) Hash(b []byte) uint64 { return maphash.Bytes(t.seed, b) }

// HashString is Hash for a string.
func (t *Table) HashString(s string) uint64 { return maphash.String(t.seed, s) }

// Get returns the binding of key and notes that it was used. ok is false if
// there is none, it has expired, or it is being replaced at this moment.
func (t *Table) Get(key uint64) (binding uint64, ok bool) {
	stamp := t.stamp()
	e, v, ok := t.find(key, stamp)
	if ok {
		e.touch(v, stamp)
	}
	return v.binding, ok
}

// Peek is Get without noting a use: it keeps no binding alive.
func (t *Table) Peek(key uint64) (binding uint64, ok bool) {
	_, v, ok := t.find(key, t.stamp())
	return v.binding, ok
}

// find is the entry in which key stands and what is in it, at stamp.
func (t *Table) find(key uint64, stamp uint32) (*entry, view, bool) {
	s, _ := t.set(key)
	for i := range s {
		e := &s[i]
		if e.key.Load() != key {
			continue
		}
		v, ok := e.read()
		if !ok || v.key != key || v.used == 0 {
			continue
		}
		if t.expired(v.used, stamp) {
			break
		}
		return e, v, true
	}
	return nil, view{}, false
}

// Put binds key, anew if it was bound. When several goroutines bind one key at
// the same time, one of them wins. Put gives up, without harm, if others keep
// writing to the same places.
func (t *Table) Put(key, binding uint64) {
	s, from := t.set(key)
	stamp := t.stamp()
	for range putAttempts {
		i, v := s.place(key, from)
		if i < 0 {
			continue
		}
		e := &s[i]
		if v.used != 0 && v.key == key && v.binding == binding {
			e.touch(v, stamp)
			return
		}
		if e.write(v, key, binding, stamp) {
			s.removeDoubles(key, i)
			return
		}
	}
}

// place returns where key stands or, if it does not, the place unused longest;
// -1 if every place is being written. The search begins at from, so that places
// used in the same second give way in turn and not always the first.
func (s *set) place(key uint64, from int) (at int, seen view) {
	at = -1
	for n := range ways {
		i := (from + n) % ways
		v, ok := s[i].read()
		if !ok {
			continue
		}
		if v.key == key && v.used != 0 {
			return i, v
		}
		if at < 0 || v.used < seen.used {
			at, seen = i, v
		}
	}
	return at, seen
}

// removeDoubles leaves only the first of the entries of key, after one was
// written at mine. Two goroutines that bind the same new key at once may have
// taken two places; whichever finishes last sees both. That holds only if every
// write is followed by it, since an entry being written is not seen.
func (s *set) removeDoubles(key uint64, mine int) {
	for i := range s {
		if i == mine || s[i].key.Load() != key {
			continue
		}
		v, ok := s[i].read()
		if !ok || v.key != key || v.used == 0 {
			continue
		}
		if i > mine {
			s[i].write(v, 0, 0, 0)
		} else if own, ok := s[mine].read(); ok && own.key == key {
			s[mine].write(own, 0, 0, 0)
			return
		}
	}
}

// Len counts the bindings that have not expired. It reads the whole table: call
// it for a metric, not for a request.
func (t *Table) Len() int {
	n, stamp := 0, t.stamp()
	for i := range t.sets {
		for j := range t.sets[i] {
			if used := t.sets[i][j].used.Load(); used != 0 && !t.expired(used, stamp) {
				n++
			}
		}
	}
	return n
}

// Counts is Len by binding: how many keys each stands for. It reads the whole
// table and costs some 20 ns for each key that is bound: call it for people.
func (t *Table) Counts() map[uint64]int {
	counts, stamp := map[uint64]int{}, t.stamp()
	for i := range t.sets {
		for j := range t.sets[i] {
			e := &t.sets[i][j]
			if used := e.used.Load(); used == 0 || t.expired(used, stamp) {
				continue
			}
			if v, ok := e.read(); ok && v.used != 0 {
				counts[v.binding]++
			}
		}
	}
	return counts
}

// Size is the most bindings the table can hold.
func (t *Table) Size() int { return len(t.sets) * ways }

// Resize applies changed options to a table in use. If size fits the table as
// it is, it gets the new ttl and is returned. Otherwise Resize returns a new
// table with the bindings that have not expired, as far as they fit; what is
// put into the old table meanwhile may be missing. Hashes stay the same.
func (t *Table) Resize(size int, ttl time.Duration) *Table {
	if setsFor(size) == len(t.sets) {
		t.setTTL(ttl)
		return t
	}
	other := &Table{sets: make([]set, setsFor(size)), now: t.now, base: t.base, seed: t.seed}
	other.setTTL(ttl)
	stamp := t.stamp()
	for i := range t.sets {
		for j := range t.sets[i] {
			if v, ok := t.sets[i][j].read(); ok && v.used != 0 && !t.expired(v.used, stamp) {
				other.adopt(v)
			}
		}
	}
	return other
}

// adopt takes over a binding of another table unless its places are taken by
// younger ones. t must not be in use yet.
func (t *Table) adopt(v view) {
	s, from := t.set(v.key)
	if i, old := s.place(v.key, from); old.used < v.used {
		s[i].write(old, v.key, v.binding, v.used)
	}
}

// set returns where key can stand, and at which place to begin. The
// multiplication spreads keys that are not hashes; its high half scales to any
// number of sets.
func (t *Table) set(key uint64) (s *set, from int) {
	hi, lo := bits.Mul64(key*0x9E3779B97F4A7C15, uint64(len(t.sets)))
	return &t.sets[hi], int(lo >> 61)
}

// stamp is the time in seconds, from 1.
func (t *Table) stamp() uint32 {
	return uint32(min(max(t.now()-t.base, 0)+1, math.MaxUint32))
}

// expired compares signed, so that a clock that went back expires nothing.
func (t *Table) expired(used, stamp uint32) bool {
	ttl := int64(t.ttl.Load())
	return ttl > 0 && int64(stamp)-int64(used) > ttl
}
