//go:build !race

package balancer

// Sizes of the statistical tests; smaller ones are in race_on_test.go.
const (
	raceEnabled = false
	testKeys    = 50_000
	removalStep = 1
)
