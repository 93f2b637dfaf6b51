//go:build !linux

package upgrade

// Reloading are the lines that say that a reload has begun.
func Reloading() []string { return []string{"RELOADING=1"} }
