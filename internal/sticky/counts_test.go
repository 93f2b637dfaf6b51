package sticky

import (
	"maps"
	"testing"
	"time"
)

// TestCounts: they are those of Len, told apart, without what has expired.
func TestCounts(t *testing.T) {
	now := int64(0)
	table := NewTable(800, 10*time.Second, func() int64 { return now })
	if got := table.Counts(); len(got) != 0 {
		t.Errorf("an empty table has %v", got)
	}
	for k := range uint64(30) {
		table.Put(k, 1+k%3)
	}
	table.Put(0, 2) // bound anew
	if got, want := table.Counts(), map[uint64]int{1: 9, 2: 11, 3: 10}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	now = 6
	table.Put(1, 2)
	now = 12
	if got, want := table.Counts(), map[uint64]int{2: 1}; !maps.Equal(got, want) || table.Len() != 1 {
		t.Errorf("%v, want %v; Len is %d", got, want, table.Len())
	}
}

func BenchmarkCounts(b *testing.B) {
	table := NewTable(100_000, time.Hour, nil)
	for k := range uint64(60_000) {
		table.Put(k*0x9E3779B97F4A7C15, k%20)
	}
	for b.Loop() {
		table.Counts()
	}
}
