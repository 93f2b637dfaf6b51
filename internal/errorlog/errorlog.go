// Package errorlog keeps the last errors that clients got, for people who ask
// what happened: those Steelyard made itself and those it passed on. It is
// written only when something failed.
package errorlog

import (
	"sync"
	"time"
)

// Size is how many records are kept.
const Size = 200

// Record is one error.
type Record struct {
	At        time.Time
	Cause     string // from the closed list; "" for a 5xx that a backend answered
	Status    int    // that the client got; 0 if its response was cut
	Hint      string // what to do about the cause
	Detail    string // what exactly happened; it may name addresses
	RequestID string
	Listener  string
	Client    string
	Method    string
	Host      string
	Path      string // at most 512 bytes, without the query
	Route     string
	Pool      string
	Backend   string // of the last attempt
	Total     time.Duration
	Attempts  []Attempt
}

// Attempt is one try on one backend.
type Attempt struct {
	Backend string
	Cause   string // why it failed; "" if it answered
	Class   string // what the backend can know of it: unsent, stale, possibly_processed
	Status  int    // of its response; 0 if there was none
	Took    time.Duration
}

// Log is the ring of the last records. It is safe for concurrent use; the zero
// value is ready.
type Log struct {
	mu      sync.Mutex
	records []Record
	next    int
	total   int64
}

// Add keeps a record in place of the oldest one.
func (l *Log) Add(r Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	if len(l.records) < Size {
		l.records = append(l.records, r)
		return
	}
	l.records[l.next] = r
	l.next = (l.next + 1) % Size
}

// Skip counts an error of which no record is kept, because there are too many.
func (l *Log) Skip() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
}

// Last returns the records, newest first, and how many there ever were.
func (l *Log) Last() (records []Record, total int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.records {
		k := (l.next - 1 - i + 2*len(l.records)) % len(l.records)
		records = append(records, l.records[k])
	}
	return records, l.total
}
