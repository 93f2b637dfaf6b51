//go:build !race

package healthcheck

// raceEnabled says whether the race detector runs.
const raceEnabled = false
