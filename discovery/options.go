package discovery

import "time"

// GuardOptions tune a Guard, which keeps a source from emptying a pool at once.
type GuardOptions struct {
	// MaxRemoval is the share of the members that may leave at once, 0 to 1; 1
	// turns the guard off. Default 0.5 for consul and dns, 1 for a file.
	MaxRemoval float64
	// Timeout is when a held removal is carried out unless it was released or
	// taken back before, 1s to 24h; default 10m.
	Timeout time.Duration
}

// ConsulOptions is how to reach Consul; one for all sources.
type ConsulOptions struct {
	// Addresses are the agents, tried in this order: host:port, http://host:port,
	// https://host:port or unix:///path. None takes CONSUL_HTTP_ADDR, else
	// 127.0.0.1:8500.
	Addresses []string
	// Token authenticates; TokenFile has it, and is read again when it changes
	// or was refused. Neither takes CONSUL_HTTP_TOKEN, else
	// CONSUL_HTTP_TOKEN_FILE, else none.
	Token     string
	TokenFile string
	// Datacenter, Namespace and Partition are the defaults of queries; "" is the agent's.
	Datacenter, Namespace, Partition string
	// TLS is used with https addresses.
	TLS ConsulTLS
	// MaxConnections bounds the connections to one agent, 2 to 1000; default
	// 100, half of what an agent allows one client by default
	// (http_max_conns_per_client). More queries than that take turns.
	MaxConnections int
	// Register announces Steelyard itself; nil does not.
	Register *Registration
}

// ConsulTLS is how to speak TLS to an agent.
type ConsulTLS struct {
	CAFile, CertFile, KeyFile string // PEM; "" is the system's CAs, no certificate
	ServerName                string // "" is the host of the address
	Insecure                  bool   // accepts any certificate
}

// Registration is Steelyard as a service of its own in Consul, with a TTL check.
type Registration struct {
	Name string // of the service; default "steelyard"
	ID   string // default name-hostname-port
	// Address and Port are what others connect to; "" is the agent's own address.
	Address string
	Port    int
	Tags    []string
	Meta    map[string]string
	// TTL of the check, refreshed at a third of it; 1s to 1h; default 15s.
	TTL time.Duration
	// DeregisterAfter removes the service when its check was critical for that
	// long, 1m to 30 days; default 10m.
	DeregisterAfter time.Duration
}

// ConsulQuery is one pool's source in Consul.
type ConsulQuery struct {
	Service string
	// Tags must all be there.
	Tags []string
	// Filter is an expression of Consul's filter language.
	Filter string
	// Datacenter, Namespace and Partition override those of ConsulOptions.
	Datacenter, Namespace, Partition string
	// Near sorts by distance to a node; _agent is the agent asked.
	Near string
	// MaxStale is how old an answer of a server without contact to its leader
	// may be, 0 to 24h; default 30s. 0 asks the leader alone (consistent).
	MaxStale time.Duration
	// Health says whether Consul's checks are an input: passing (default: what
	// is in warning gets nothing), warning (what is in warning serves), or
	// ignore (all serve, but for maintenance).
	Health string
	// WeightMeta names a key of the service's meta whose whole number
	// overrides Consul's weights; default "weight".
	WeightMeta string
	Guard      GuardOptions
}

// DNSOptions is a source that asks DNS.
type DNSOptions struct {
	// Name is asked for; a trailing dot is not needed, search lists are not used.
	Name string
	// Type is a (A and AAAA; default) or srv.
	Type string
	// Port is that of every member with type a; with srv it must be 0.
	Port int
	// Servers are host or host:port; none takes those of /etc/resolv.conf.
	Servers []string
	// Timeout bounds one exchange with one server, 10ms to 30s; default 2s.
	Timeout time.Duration
	// MinTTL and MaxTTL bound the time to the next question, which is
	// otherwise the answer's TTL; 100ms to 24h; default 1s and 60s.
	MinTTL, MaxTTL time.Duration
	// NXDomainRepeats is how many times in a row the name must not exist, or
	// have no address, before the members are taken away, 1 to 100; default 3.
	NXDomainRepeats int
	Guard           GuardOptions
}

// FileOptions is a source that watches a file.
type FileOptions struct {
	// Path of the file.
	Path  string
	Guard GuardOptions
}
