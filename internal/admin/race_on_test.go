//go:build race

package admin

// raceEnabled says whether the race detector runs.
const raceEnabled = true
