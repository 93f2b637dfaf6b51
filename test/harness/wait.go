package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// Eventually waits until a condition holds and fails the test if it does not
// within the time given. The condition is asked every few milliseconds.
func Eventually(t testing.TB, within time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// FreeAddress is an address of 127.0.0.1 that nothing listens on. It lies below
// the range from which the kernel takes the ports of outgoing connections, so
// that none of those takes it before it is used.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(15000))
		ln, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		ln.Close()
		return address
	}
	t.Fatal("no free port between 15000 and 30000")
	return ""
}
