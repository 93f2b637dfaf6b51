package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"steelyard/balancer"
	"steelyard/internal/sticky"
	"steelyard/internal/transport"
)

// maxConnections is the highest limit of requests in flight.
const maxConnections = 1_000_000

type poolDraft struct {
	Pool
	backends []backendDraft
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
			}}
		},
		fields: []field[poolDraft]{
			key("policy", policyMapping().kind(), func(p *poolDraft) *balancer.Options { return &p.Policy },
				"How a backend is chosen: the name of a policy, or one key that is the name with its settings under it.").defaults("round_robin"),
			key("backends", oneOrMore(backendMapping().kind()), func(p *poolDraft) *[]backendDraft { return &p.backends },
				"The app servers. At least one.").needed(),
			key("sticky", optional(stickyMapping(sticky.DefaultCookie().Name).kind()), func(p *poolDraft) **sticky.Options { return &p.Sticky },
				"Keeps a client on its backend. Exactly one of its keys.").defaults("none"),
			key("retry", retryMapping().kind(), func(p *poolDraft) *Retry { return &p.Retry },
				"When a failed attempt is repeated on another backend."),
			key("max_connections", orNone(integer(0, maxConnections), "no limit"), func(p *poolDraft) *int { return &p.MaxConnections },
				"Most requests in flight on each backend that has no limit of its own."),
			key("queue", queueMapping().kind(), func(p *poolDraft) *Queue { return &p.Queue },
				"Where requests wait while every backend is at its `max_connections`."),
			key("timeouts", timeoutsMapping().kind(), func(p *poolDraft) *transport.Options { return &p.Transport },
				"How long to wait for a backend."),
			key("keepalive", keepaliveMapping().kind(), func(p *poolDraft) *transport.Options { return &p.Transport },
				"Idle connections to backends that are kept for the next request."),
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
	if s.has("backends") && s.good("backends") {
		checkBackends(w, s, p)
	}
	if p.Sticky != nil && p.Policy.Hashes() && s.good("sticky", "policy") {
		w.failf(p.stickyAt, "contradicts policy %s: both would decide which backend a client gets; leave out sticky, or take another policy", p.Policy.Policy)
	}
	if p.Queue.Size == 0 || !s.good("queue", "max_connections", "backends") {
		return
	}
	limited := func(b backendDraft) bool { return p.MaxConnections > 0 || b.MaxConnections > 0 }
	switch {
	case !slices.ContainsFunc(p.backends, limited):
		w.failf(p.queueAt, "would never be used: neither the pool nor a backend has max_connections")
	case slices.ContainsFunc(p.backends, func(b backendDraft) bool { return !b.Backup && b.Weight > 0 && !limited(b) }):
		w.warnf(p.queueAt, "will hardly be used: a backend without max_connections takes everything")
	}
}

func checkBackends(w *walker, s section, p *poolDraft) {
	if len(p.backends) == 0 {
		w.fail(s.where("backends"), Error{Msg: "a pool needs a backend", Allowed: "a list of addresses"})
		return
	}
	lines := map[string]int{}
	weighs, primary := false, false
	for _, b := range p.backends {
		if line, dup := lines[b.Address]; dup {
			w.failf(b.at, "%s stands already in line %d of this pool; give one of them more weight instead", b.Address, line)
			continue
		}
		lines[b.Address] = b.at.line
		primary = primary || !b.Backup
		weighs = weighs || b.Weight > 0
	}
	switch {
	case !primary:
		w.failf(s.where("backends"), "every backend is a backup; there is nothing they could stand in for")
	case !weighs:
		w.failf(s.where("backends"), "every weight is 0, so no backend would get a request")
	}
}
