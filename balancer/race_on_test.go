//go:build race

package balancer

// The race detector makes everything ten times slower, and statistics do not
// need it: the same promises are checked on fewer keys and members.
const (
	raceEnabled = true
	testKeys    = 10_000
	removalStep = 7
)
