//go:build !race

package auth

// raceEnabled says that the race detector runs, under which pools drop what
// they are given and allocations mean nothing.
const raceEnabled = false
