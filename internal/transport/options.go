package transport

import "time"

// Options tunes the connections to the backends of one pool.
type Options struct {
	// MaxIdle is the most idle connections kept per backend; default 256.
	MaxIdle int
	// IdleTimeout closes connections unused for this long; default 60s.
	IdleTimeout time.Duration
	// ConnectTimeout bounds a dial; default 2s.
	ConnectTimeout time.Duration
	// ResponseTimeout bounds the wait for a response head after the request
	// was sent; default 60s, 0 means no limit.
	ResponseTimeout time.Duration
	// BodyTimeout bounds the silence of a backend in the middle of a response
	// body; default 0, no limit, so that event streams may be quiet.
	BodyTimeout time.Duration
	// TLS secures the connections; nil: they are plain.
	TLS *ClientTLS
}
