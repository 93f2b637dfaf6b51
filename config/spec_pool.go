package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"steelyard/balancer"
	"steelyard/healthcheck"
	"steelyard/internal/adaptive"
	"steelyard/internal/outlier"
	"steelyard/internal/sticky"
	"steelyard/internal/transport"
)

// Values of Pool.WhenAllUnhealthy.
const (
	useAll = "use_all"
	reject = "reject"
)

// maxConnections is the highest limit of requests in flight.
const maxConnections = 1_000_000

type poolDraft struct {
	Pool
	backends []backendDraft
	sources  []sourceDraft
	at       value
	maxAt    value // of max_connections, when it is there
	queueAt  value
	policyAt value
	stickyAt value
}

type backendDraft struct {
	Backend
	at value // of its address
}

func poolMapping() mapping[poolDraft] {
	return mapping[poolDraft]{
		noun:    "a pool",
		shortIs: "",
		fresh: func() poolDraft {
			return poolDraft{Pool: Pool{
				Policy:    balancer.Options{Policy: "round_robin"},
				Retry:     Retry{Attempts: 2, On: []string{"connect", "reset"}, Budget: 0.2, BodyLimit: 64 << 10},
				Queue:     Queue{Timeout: 5 * time.Second},
				Transport: transport.DefaultOptions(),

				Outlier:          outlier.DefaultOptions(),
				DrainTimeout:     5 * time.Minute,
				WhenAllUnhealthy: useAll,
				ProxyProtocol:    proxyOff,
			}}
		},
		fields: []field[poolDraft]{
			key("policy", policyMapping().kind(), func(p *poolDraft) *balancer.Options { return &p.Policy },
				"How a backend is chosen: the name of a policy, or one key that is the name with its settings under it.").defaults("round_robin"),
			key("backends", oneOrMore(backendMapping().kind()), func(p *poolDraft) *[]backendDraft { return &p.backends },
				"The app servers. At least one, unless there is a `source`.").defaults("none"),
			key("source", oneOrMore(sourceMapping().kind()), func(p *poolDraft) *[]sourceDraft { return &p.sources },
				"Where more backends come from while Steelyard runs. Several are added up.").defaults("none"),
			key("check", optional(checkMapping().kind()), func(p *poolDraft) **healthcheck.Options { return &p.Check },
				"Probes each backend, and takes out those that fail.").defaults("none"),
			key("outlier", outlierMapping().kind(), func(p *poolDraft) *outlier.Options { return &p.Outlier },
				"Takes out for a while the backends on which requests fail."),
			key("slow_start", duration(100*time.Millisecond, time.Hour, "none"), func(p *poolDraft) *time.Duration { return &p.SlowStart },
				"How long the weight of a backend rises to its own after it has come back or was added."),
			key("drain_timeout", duration(time.Second, day, "no limit"), func(p *poolDraft) *time.Duration { return &p.DrainTimeout },
				"How long a backend that is drained, or that has left its source, keeps its bound sessions and requests; after it sessions move and what is left is cut (WebSockets are told with 1001)."),
			key("when_all_unhealthy", enum([]string{useAll, reject}), func(p *poolDraft) *string { return &p.WhenAllUnhealthy },
				"While every backend is out: `use_all` tries them all the same, `reject` answers 503."),
			key("sticky", optional(stickyMapping(sticky.DefaultCookie().Name, false).kind()), func(p *poolDraft) **sticky.Options { return &p.Sticky },
				"Keeps a client on its backend. Exactly one of its keys.").defaults("none"),
			key("retry", retryMapping().kind(), func(p *poolDraft) *Retry { return &p.Retry },
				"When a failed attempt is repeated on another backend."),
			key("max_connections", orNone(integer(0, maxConnections), "no limit"), func(p *poolDraft) *int { return &p.MaxConnections },
				"Most requests in flight on each backend that has no limit of its own."),
			key("max_in_flight", orNone(integer(0, maxConnections), "no limit"), func(p *poolDraft) *int { return &p.MaxInFlight },
				"Most requests in flight on all backends together; the rest wait in `queue` or get 503 with `Retry-After`."),
			key("adaptive_limit", orTrue(adaptiveMapping()), func(p *poolDraft) **adaptive.Options { return &p.AdaptiveLimit },
				"Finds out from the latency of the answers how many requests the pool can work on at once, and treats the rest as `max_in_flight` does.").defaults("off"),
			key("queue", queueMapping().kind(), func(p *poolDraft) *Queue { return &p.Queue },
				"Where requests wait while every backend is at its `max_connections`, or the pool at `max_in_flight` or `adaptive_limit`."),
			key("timeouts", timeoutsMapping().kind(), func(p *poolDraft) *transport.Options { return &p.Transport },
				"How long to wait for a backend."),
			key("keepalive", keepaliveMapping().kind(), func(p *poolDraft) *transport.Options { return &p.Transport },
				"Idle connections to backends that are kept for the next request."),
			proxyProtocolOut(),
			key("tls", orTrue(poolTLSMapping()), func(p *poolDraft) **transport.TLSOptions { return &p.TLS },
				"Speaks TLS to the backends, and in checks that have no `tls` of their own; `true` is TLS with defaults.").defaults("none"),
		},
		check: func(w *walker, s section, p *poolDraft) {
			p.maxAt, p.queueAt, p.policyAt, p.stickyAt = s.where("max_connections"), s.where("queue"), s.where("policy"), s.where("sticky")
			checkPool(w, s, p)
		},
	}
}

func backendMapping() mapping[backendDraft] {
	return mapping[backendDraft]{
		noun:    "a backend",
		shortIs: "an address",
		short: func(w *walker, v value, b *backendDraft) bool {
			return isText(v.node) && (dialAddress().read(w, v, &b.Address) || true)
		},
		fresh: func() backendDraft { return backendDraft{Backend: Backend{Weight: 1}} },
		fields: []field[backendDraft]{
			key("address", dialAddress(), func(b *backendDraft) *string { return &b.Address }, "Where the app server listens.").needed(),
			key("weight", integer(0, balancer.MaxWeight), func(b *backendDraft) *int { return &b.Weight },
				"Its share of new requests, relative to the other backends. 0 gets nothing new."),
			key("backup", boolean(), func(b *backendDraft) *bool { return &b.Backup },
				"Use it only while no other backend can take the request."),
			key("max_connections", integer(0, maxConnections), func(b *backendDraft) *int { return &b.MaxConnections },
				"Most requests in flight on this backend; 0 takes the pool's.").defaults("the pool's"),
		},
		check: func(_ *walker, s section, b *backendDraft) {
			b.Line, b.at = s.line, s.value
			if s.has("address") {
				b.at = s.at["address"]
			}
		},
	}
}

// policyMapping has one key per policy.
func policyMapping() mapping[balancer.Options] {
	m := mapping[balancer.Options]{
		noun:    "a policy",
		shortIs: "the name of a policy",
		short: func(w *walker, v value, o *balancer.Options) bool {
			if !isText(v.node) {
				return false
			}
			var name string
			if enum(balancer.Names()).read(w, v, &name) {
				p := policyOptions(name)
				*o = p.fresh()
				p.finish(w, section{value: v}, o, true)
			}
			return true
		},
		check: func(w *walker, s section, _ *balancer.Options) {
			if len(s.at) > 1 || s.at != nil && len(s.at) == 0 && len(s.meant) == 0 {
				w.fail(s.value, Error{Msg: "needs exactly one policy", Allowed: strings.Join(balancer.Names(), ", ")})
			}
		},
	}
	for _, name := range balancer.Names() {
		p := policyOptions(name)
		k := p.kind()
		k.read = func(w *walker, v value, to *balancer.Options) bool {
			*to = p.fresh()
			return p.read(w, v, to)
		}
		k.keys = func(path string, _ *balancer.Options) []Key {
			o := p.fresh()
			return p.keys(path, &o)
		}
		whole := func(o *balancer.Options) *balancer.Options { return o }
		m.fields = append(m.fields, key(name, k, whole, policyDoc(name)).defaults("not chosen"))
	}
	return m
}

func policyDoc(name string) string {
	switch name {
	case "round_robin":
		return "Takes turns, smoothly by weight."
	case "least_connections":
		return "The backend with the fewest requests in flight for its weight."
	case "consistent_hash":
		return "The same key goes to the same backend; a backend that leaves moves only its own keys."
	case "maglev":
		return "As consistent_hash, from a table: faster and more even, with slightly more keys moving."
	case "power_of_two":
		return "The less loaded of two backends drawn at random."
	case "random":
		return "Drawn at random by weight."
	case "least_time":
		return "The backend that answers fastest for the load it has."
	}
	return "See the list of policies."
}

// policyOptions are the settings of one policy.
func policyOptions(name string) mapping[balancer.Options] {
	m := mapping[balancer.Options]{
		noun:     "the settings of " + name,
		empty:    true,
		fresh:    func() balancer.Options { return balancer.Options{Policy: name} },
		validate: func(o *balancer.Options) error { return o.Validate() },
	}
	hashKey := key("key", hashKey(), func(o *balancer.Options) *balancer.Key { return &o.Key }, "What is hashed.").needed()
	switch name {
	case "consistent_hash":
		m.fields = []field[balancer.Options]{
			hashKey,
			key("load_factor", orNone(decimal("1.05 to 10, or 0 for no bound"), "no bound"), func(o *balancer.Options) *float64 { return &o.LoadFactor },
				"No backend gets more than this many times its fair share of the requests in flight; what is above goes to the next on the ring."),
			key("replicas", integer(0, 10000), func(o *balancer.Options) *int { return &o.Replicas },
				"Points on the ring per unit of weight: more is more even and takes more memory.").defaults("160"),
		}
	case "maglev":
		m.fields = []field[balancer.Options]{
			hashKey,
			key("table_size", orNone(integer(0, 16777213), "chosen by the number of backends"), func(o *balancer.Options) *int { return &o.TableSize },
				"Size of the table: a prime from 101, and at least 100 times the number of backends for shares within 1 %."),
		}
	}
	return m
}

func hashKey() kind[balancer.Key] {
	return kind[balancer.Key]{
		typ: "text", allowed: "client_ip, path, uri, header:NAME, cookie:NAME, query:NAME",
		show: func(k balancer.Key) string { return strings.TrimSuffix(k.Source+":"+k.Name, ":") },
		read: func(w *walker, v value, to *balancer.Key) bool {
			s, ok := w.text(v, "client_ip, path, uri, header:NAME, cookie:NAME, query:NAME")
			if !ok {
				return false
			}
			k, err := balancer.ParseKey(s)
			for _, f := range faults(err) {
				w.failf(v, "%s", f.msg)
			}
			*to = k
			return err == nil
		},
	}
}

func retryMapping() mapping[Retry] {
	attempts := integer(1, balancer.MaxTried)
	methods := checked("text", "methods in capitals, for example POST", checkMethod)
	return mapping[Retry]{
		noun:    "retry settings",
		shortIs: "the number of attempts alone, or off",
		short: func(w *walker, v value, r *Retry) bool {
			if !isText(v.node) {
				return false
			}
			readAttempts(w, v, attempts, r)
			return true
		},
		fields: []field[Retry]{
			key("attempts", attempts, func(r *Retry) *int { return &r.Attempts },
				"Most attempts in all, the first included. 1 turns retries off."),
			key("on", oneOrMore(enum(RetryReasons())), func(r *Retry) *[]string { return &r.On },
				"Which failures are repeated. The list replaces the default: without connect, a refused connection is an error although another backend could have taken the request."),
			key("budget", share(), func(r *Retry) *float64 { return &r.Budget },
				"How large a share of recent requests may be retried after their attempt had been written, so that an outage is not multiplied."),
			key("body_limit", size[int64](1, 1<<30, "bodies are never kept"), func(r *Retry) *int64 { return &r.BodyLimit },
				"Largest request body kept for a retry; a request with a larger one is not retried once some of it was sent."),
			key("methods", oneOrMore(methods), func(r *Retry) *[]string { return &r.Methods },
				"Methods that are repeated although they may not be idempotent.").defaults("none"),
		},
	}
}

// readAttempts reads the short form of retry.
func readAttempts(w *walker, v value, attempts kind[int], r *Retry) {
	const allowed = "off, a number of attempts, or a mapping"
	switch text, ok := w.text(v, allowed); {
	case !ok:
	case text == "off":
		r.Attempts = 1
	case slices.Contains([]string{"false", "no", "never", "none", "0"}, text):
		w.fail(v, Error{Msg: fmt.Sprintf("unknown value %q", text), Allowed: allowed, Suggest: "off"})
	default:
		attempts.read(w, v, &r.Attempts)
	}
}

func queueMapping() mapping[Queue] {
	length := integer(0, maxConnections)
	return mapping[Queue]{
		noun:    "queue settings",
		shortIs: "the size alone",
		short: func(w *walker, v value, q *Queue) bool {
			return isText(v.node) && (length.read(w, v, &q.Size) || true)
		},
		fields: []field[Queue]{
			key("size", orNone(length, "no queue"), func(q *Queue) *int { return &q.Size },
				"Most requests that wait; one more is answered 503 with `Retry-After`."),
			key("timeout", duration(time.Millisecond, time.Hour, ""), func(q *Queue) *time.Duration { return &q.Timeout },
				"Longest wait; after it the answer is 503."),
		},
		check: func(w *walker, s section, q *Queue) {
			if s.has("timeout") && s.good("size", "timeout") && q.Size == 0 {
				w.failf(s.at["timeout"], "has no effect without a size")
			}
		},
	}
}

func timeoutsMapping() mapping[transport.Options] {
	return mapping[transport.Options]{
		noun: "timeouts",
		fields: []field[transport.Options]{
			key("connect", duration(time.Millisecond, day, ""), func(o *transport.Options) *time.Duration { return &o.ConnectTimeout },
				"Longest time to open a connection."),
			key("response", duration(time.Millisecond, day, "no limit"), func(o *transport.Options) *time.Duration { return &o.ResponseTimeout },
				"Longest wait for the head of the response after the request was sent."),
			key("body", duration(time.Millisecond, day, "no limit"), func(o *transport.Options) *time.Duration { return &o.BodyTimeout },
				"Longest silence of a backend in the middle of a response body. Event streams may be quiet for long."),
		},
		fresh:    transport.DefaultOptions,
		validate: func(o *transport.Options) error { return o.Validate() },
	}
}

func keepaliveMapping() mapping[transport.Options] {
	return mapping[transport.Options]{
		noun: "keep-alive settings",
		fields: []field[transport.Options]{
			key("max_idle", integer(0, 65535), func(o *transport.Options) *int { return &o.MaxIdle },
				"Most idle connections kept per backend; 0 keeps none."),
			key("idle_timeout", duration(time.Millisecond, day, ""), func(o *transport.Options) *time.Duration { return &o.IdleTimeout },
				"Closes a connection that was idle for this long. A backend that says `Keep-Alive: timeout=N` shortens it for itself."),
		},
		fresh:    transport.DefaultOptions,
		validate: func(o *transport.Options) error { return o.Validate() },
	}
}

// checkPool looks at the keys of one pool together.
func checkPool(w *walker, s section, p *poolDraft) {
	switch {
	case s.has("backends") && s.good("backends", "source"):
		checkBackends(w, s, p)
	case !s.has("backends") && !s.has("source") && s.good("backends", "source"):
		w.fail(s.where("backends"), Error{Msg: "is missing, and there is no source either", Allowed: backendMapping().allowed()})
	}
	if p.Sticky != nil && p.Policy.Hashes() && s.good("sticky", "policy") {
		w.failf(p.stickyAt, "contradicts policy %s: both would decide which backend a client gets; leave out sticky, or take another policy", p.Policy.Policy)
	}
	checkSources(w, p)
	checkPort(w, s, p)
	checkNames(w, s, p)
	checkQueue(w, s, p)
	checkHealth(w, s, p)
}

// checkPort finds backends that a check cannot reach at its port. Those of
// sources fail their check, which says why.
func checkPort(w *walker, s section, p *poolDraft) {
	if p.Check == nil || p.Check.Port == 0 || !s.good("check") {
		return
	}
	for _, b := range p.backends {
		if strings.HasPrefix(b.Address, "unix:") {
			w.failf(b.at, "is a unix socket, which has no ports, but check has port %d; leave that out, or put the socket into a pool of its own", p.Check.Port)
		}
	}
}

// checkQueue finds a queue in which no request would ever wait.
func checkQueue(w *walker, s section, p *poolDraft) {
	if p.Queue.Size == 0 || p.MaxConnections > 0 || !s.good("queue", "max_connections", "backends", "source") {
		return
	}
	limited := func(b backendDraft) bool { return b.MaxConnections > 0 }
	sourced := false // may there be backends without a limit from elsewhere?
	for _, src := range p.sources {
		if src.File != nil {
			return // the file may limit each of its own
		}
		sourced = true
	}
	switch {
	case p.MaxInFlight > 0 || p.AdaptiveLimit != nil:
	case !slices.ContainsFunc(p.backends, limited):
		w.failf(p.queueAt, "would never be used: neither the pool nor a backend has max_connections, and the pool has no max_in_flight or adaptive_limit")
	case sourced, slices.ContainsFunc(p.backends, func(b backendDraft) bool { return !b.Backup && b.Weight > 0 && !limited(b) }):
		w.warnf(p.queueAt, "will hardly be used: a backend without max_connections takes everything")
	}
}

// checkHealth warns of keys that are about backends that come and go, in a pool
// where none does.
func checkHealth(w *walker, s section, p *poolDraft) {
	if p.Check != nil || !p.Outlier.Off || len(p.sources) > 0 || !s.good("check", "outlier", "source") {
		return
	}
	const unknown = "without check, outlier and source nothing tells that a backend is out"
	if s.has("slow_start") && p.SlowStart > 0 {
		w.warnf(s.at["slow_start"], "will hardly be used: %s", unknown)
	}
	if s.has("when_all_unhealthy") && p.WhenAllUnhealthy == reject {
		w.warnf(s.at["when_all_unhealthy"], "will hardly be used: %s", unknown)
	}
}

// checkBackends looks at the backends of the file together. What a source
// brings may stand in for what they lack.
func checkBackends(w *walker, s section, p *poolDraft) {
	if len(p.backends) == 0 && !s.has("source") {
		w.fail(s.where("backends"), Error{Msg: "a pool needs a backend", Allowed: "a list of addresses"})
		return
	}
	distinct(w, p.backends, "pool")
	if s.has("source") {
		return
	}
	primary := func(b backendDraft) bool { return !b.Backup }
	weighs := func(b backendDraft) bool { return b.Weight > 0 }
	switch {
	case !slices.ContainsFunc(p.backends, primary):
		w.failf(s.where("backends"), "every backend is a backup; there is nothing they could stand in for")
	case !slices.ContainsFunc(p.backends, weighs):
		w.failf(s.where("backends"), "every weight is 0, so no backend would get a request")
	}
}

// distinct notes an error at each backend whose address stands already in the
// same pool or file.
func distinct(w *walker, backends []backendDraft, where string) {
	lines := map[string]int{}
	for _, b := range backends {
		if line, dup := lines[b.Address]; dup {
			w.failf(b.at, "%s stands already in line %d of this %s; give one of them more weight instead", b.Address, line, where)
			continue
		}
		lines[b.Address] = b.at.line
	}
}
