// Package discovery finds out who the members of a pool are: from Consul, DNS
// and files. A source that cannot answer is not a source that says "nobody":
// errors and memberships are told apart everywhere. The package knows nothing
// of pools, of YAML or of the rest of Steelyard.
package discovery

import "context"

// Member is one backend as a source names it.
type Member struct {
	// Address is host:port, [host]:port or unix:/path; unique within one
	// answer, where the first of several wins.
	Address string
	// Weight is its share of new requests, 0 to 65535.
	Weight int
	// Backup members are used only when no other can take a request.
	Backup bool
	// MaxConnections bounds its requests in flight; 0 is the pool's limit.
	MaxConnections int
	// State is what the source says of its health; Reason says why, for
	// people, when that is not Serving; at most 200 bytes.
	State  State
	Reason string
	// Name is what the source calls it: the Consul service ID, the SRV target.
	// It is shown and nothing else, like Tags and Meta.
	Name string
	Tags []string
	// Meta is not written to after it was handed over. Consul's node and
	// datacenter are in it as "node" and "dc", unless the service has such keys.
	Meta map[string]string
}

// State is what a source says of a member.
type State uint8

// The states of a member.
const (
	Serving  State = iota
	Draining       // in maintenance: keeps what it has, gets nothing new
	Failing        // the source holds it for dead
)

// String is the state's name for people.
func (s State) String() string { return [...]string{"serving", "draining", "failing"}[s] }

// Sink takes what a source finds out. A source calls it from one goroutine.
type Sink interface {
	// Set replaces all that the source named before, with what belongs to the
	// sink from now on. It is called with the first answer, with every one that
	// differs from the one before, and with the first after a Fail.
	Set(members []Member)
	// Fail says that the source cannot answer now; the members stay. The error
	// names the source, what happened and what to do. It is called once for
	// each different error and not for every repetition.
	Fail(err error)
}

// Source is where members come from.
type Source interface {
	// Run tells sink of the membership until ctx ends; it does not return
	// before. It keeps trying after errors, and never in a busy loop.
	Run(ctx context.Context, sink Sink)
	// String names the source for people: "consul service api".
	String() string
}

// OptionError is one thing that is wrong with the options of a source. Option
// is in the spelling of the configuration ("service", "nxdomain_repeats").
type OptionError struct {
	Option  string
	Problem string
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Problem }
