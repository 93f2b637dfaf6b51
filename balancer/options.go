package balancer

// Options chooses and tunes a policy. The zero value is round robin.
type Options struct {
	// Policy is one of Names(); "" means round_robin.
	Policy string
	// Key is what consistent_hash and maglev hash; other policies have none.
	Key Key
	// LoadFactor bounds consistent_hash: no member gets more than LoadFactor
	// times its fair share of the requests in flight. 0 means unbounded,
	// otherwise 1.05 to 10.
	LoadFactor float64
	// Replicas is the number of virtual nodes per unit of weight for
	// consistent_hash, 1 to 10000; 0 means the default of 100.
	Replicas int
	// TableSize is the size of the maglev table, a prime of at least 100 times
	// the number of members; 0 lets Build choose.
	TableSize int
}

// Key says which part of a request is hashed.
type Key struct {
	// Source is one of client_ip, header, cookie, path, query, uri.
	Source string
	// Name is the name of the header, cookie or query parameter.
	Name string
}
