package config

// Defaults of listeners that keep slow and greedy clients within bounds.
const (
	defaultHeaderFields = 200
	defaultTargetLength = 8 << 10
	// defaultHandshakes at once take about 50 MB.
	defaultHandshakes = 1000
	// defaultRate is what Kestrel asks of clients too, in bytes a second: who is
	// slower than a modem of 1979 is none that anybody waits for.
	defaultRate = 240
)

// whenFull are the values of when_full, the default first.
var whenFull = []string{"reject", "wait"}

// limitKeys are the keys of a listener that bound what its clients may take up.
func limitKeys() []field[listenerDraft] {
	return []field[listenerDraft]{
		key("max_connections", integer(1, maxConnections), func(l *listenerDraft) *int { return &l.MaxConnections },
			"Most connections of clients at once.").defaults("as many as open files allow"),
		key("max_connections_per_client", integer(1, maxConnections), func(l *listenerDraft) *int { return &l.MaxConnectionsPerClient },
			"Most of them from one address, or one /64 of IPv6, by the peer of the socket or its PROXY header; beyond it the answer is 503. Does not count for `trusted_proxies`.").defaults("half of all that there may be"),
		key("when_full", enum(whenFull), func(l *listenerDraft) *string { return &l.WhenFull },
			"What becomes of connections beyond `max_connections`: `reject` answers 503 at once, `wait` leaves them to the kernel until there is room."),
		key("max_handshakes", integer(1, maxConnections), func(l *listenerDraft) *int { return &l.MaxHandshakes },
			"Most TLS handshakes at once. Others wait for their turn within `header_timeout`, and are closed after it."),
		key("max_requests", integer(1, maxConnections), func(l *listenerDraft) *int { return &l.MaxRequests },
			"Most requests of one connection, which is closed after the last.").defaults("no limit"),
		key("max_header_fields", integer(10, 1000), func(l *listenerDraft) *int { return &l.MaxHeaderFields },
			"Most fields of a request head; beyond it the answer is 431."),
		key("max_target_length", size[int](64, 1<<20, ""), func(l *listenerDraft) *int { return &l.MaxTargetLength },
			"Longest request target, path and query; beyond it the answer is 414."),
		key("min_body_rate", size[int64](1, 1<<30, "none"), func(l *listenerDraft) *int64 { return &l.MinBodyRate },
			"Bytes a second that a client has to send of its body, on average, once it has kept it waiting for `body_timeout`; below it the answer is 408."),
		key("min_response_rate", size[int64](1, 1<<30, "none"), func(l *listenerDraft) *int64 { return &l.MinResponseRate },
			"Bytes a second that a client has to take of a response that waits for it, on average, once it has kept it waiting for `write_timeout`; below it the connection is reset."),
	}
}
