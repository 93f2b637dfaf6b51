//go:build !linux

package transport

// pollEnded is nothing where poll(2) has no word for a peer that has ended its
// direction; a read finds that.
const pollEnded = 0
