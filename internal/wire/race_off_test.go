//go:build !race

package wire

// raceEnabled says whether the race detector runs.
const raceEnabled = false
