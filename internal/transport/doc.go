// Package transport speaks HTTP/1.1 to one backend: it dials, keeps idle
// connections, knows when one is too old to be trusted, and reads and writes
// with deadlines that are paid a few times a second instead of per request.
//
// It knows nothing of pools, policies or retries; what to do about an error is
// decided above.
package transport
