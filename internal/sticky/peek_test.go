package sticky

import (
	"testing"
	"time"
)

// Peek sees what Get sees, but a binding that is only looked at expires.
func TestPeekKeepsNothingAlive(t *testing.T) {
	now := int64(100)
	table := NewTable(64, 10*time.Second, func() int64 { return now })
	if b, ok := table.Peek(1); ok || b != 0 {
		t.Errorf("Peek of an unknown key = %d, %v", b, ok)
	}
	table.Put(1, 11)
	table.Put(2, 22)
	for range 3 {
		now += 5
		if b, ok := table.Get(1); !ok || b != 11 {
			t.Fatalf("Get(1) = %d, %v at %d, although it is used all the time", b, ok, now)
		}
		b, ok := table.Peek(2)
		if want := now <= 110; ok != want || want && b != 22 || !want && b != 0 {
			t.Errorf("Peek(2) = %d, %v at %d", b, ok, now)
		}
	}
}
