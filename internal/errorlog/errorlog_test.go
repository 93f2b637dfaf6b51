package errorlog

import (
	"fmt"
	"testing"
)

// TestTheLastAreKept: newest first, no more than Size, and none lost before that.
func TestTheLastAreKept(t *testing.T) {
	var l Log
	for n := range 2*Size + 3 {
		l.Add(Record{RequestID: fmt.Sprint(n)})
		records, total := l.Last()
		if want := min(n+1, Size); len(records) != want || total != int64(n+1) {
			t.Fatalf("%d records of %d after %d", len(records), total, n+1)
		}
		for i, r := range records {
			if r.RequestID != fmt.Sprint(n-i) {
				t.Fatalf("record %d after %d is %s", i, n+1, r.RequestID)
			}
		}
	}
	if records, total := new(Log).Last(); len(records) != 0 || total != 0 {
		t.Error("an empty log has records")
	}
}
