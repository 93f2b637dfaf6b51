//go:build !race

package pool

// raceEnabled says whether the race detector runs.
const raceEnabled = false
