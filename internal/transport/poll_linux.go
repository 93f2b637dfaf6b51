package transport

import "golang.org/x/sys/unix"

// pollEnded is what poll(2) says of a peer that has ended its direction.
const pollEnded = unix.POLLRDHUP
