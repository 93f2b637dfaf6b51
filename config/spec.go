package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"steelyard/discovery"
	"steelyard/internal/router"
)

// draft is a file as it was read: the values and where they stand. check.go
// makes a Config of it.
type draft struct {
	listeners       []listenerDraft
	routes          []routeDraft
	pools           []poolDraft
	trusted         []netip.Prefix
	forwarded       Forwarded
	paths           string
	shutdownTimeout time.Duration
	shutdownDelay   time.Duration
	reload          Reload
	consul          *discovery.ConsulOptions
	admin           *adminDraft
	log             Log
	accessLog       *AccessLog
	errors          ErrorPages
}

type listenerDraft struct {
	Listener
	at     value
	errors ErrorPages
}

const (
	noListener = "there is no listener, so nobody could connect"
	noRoute    = "there is no route, so every request would be answered 404"
)

// fileMapping is the top level of the file.
func fileMapping() mapping[draft] {
	return mapping[draft]{
		noun: "a configuration",
		fresh: func() draft {
			return draft{
				forwarded:       Forwarded{XForwarded: true, RequestID: true},
				paths:           router.PathsNormalize.String(),
				shutdownTimeout: 30 * time.Second,
				log:             Log{Level: "info"},
				errors:          ErrorPages{CauseHeader: true},
			}
		},
		ignores: func(key string) bool { return strings.HasPrefix(key, "x-") },
		fields: []field[draft]{
			key("listeners", named("listener", listenerMapping().kind(), func(l *listenerDraft, name string, at value) { l.Name, l.at = name, at }),
				func(d *draft) *[]listenerDraft { return &d.listeners },
				"Addresses that accept client connections, by name. At least one.").neededFor(noListener),
			key("routes", listOf(routeMapping().kind(), func(r *routeDraft, at value) { r.Line, r.at = at.line, at }), func(d *draft) *[]routeDraft { return &d.routes },
				"Which requests go where. At least one.").neededFor(noRoute),
			key("pools", named("pool", poolMapping().kind(), func(p *poolDraft, name string, at value) { p.Name, p.Line, p.at = name, at.line, at }),
				func(d *draft) *[]poolDraft { return &d.pools },
				"Sets of backends that serve the same thing, by name. Every pool that a route names.").defaults("none"),
			key("trusted_proxies", oneOrMore(network()), func(d *draft) *[]netip.Prefix { return &d.trusted },
				"Peers whose `X-Forwarded-*`, `Forwarded` and `X-Request-Id` headers are believed. What others send in them is replaced.").defaults("none"),
			key("forwarded", forwardedMapping().kind(), func(d *draft) *Forwarded { return &d.forwarded },
				"Which headers tell a backend who asked."),
			key("paths", enum(router.PathsNames()), func(d *draft) *string { return &d.paths },
				"What becomes of paths that can be read in more than one way: `normalize` them and refuse what stays ambiguous, "+
					"`reject` all of them, or `pass` them on and match them as they come."),
			key("shutdown_timeout", duration(time.Millisecond, day, ""), func(d *draft) *time.Duration { return &d.shutdownTimeout },
				"How long a stopping Steelyard waits for requests in flight before it closes their connections."),
			key("shutdown_delay", duration(0, time.Hour, ""), func(d *draft) *time.Duration { return &d.shutdownDelay },
				"How long a stopping Steelyard goes on as before, while `/readyz` of the admin API says 503, so that a balancer in front sends nothing new by then. `shutdown_timeout` begins behind that."),
			key("consul", optional(consulMapping().kind()), func(d *draft) **discovery.ConsulOptions { return &d.consul },
				"How to reach Consul, for all sources that ask it.").defaults("as Consul's own tools do"),
			key("admin", optional(adminMapping().kind()), func(d *draft) **adminDraft { return &d.admin },
				"Where the admin API listens, and who may use it.").defaults("none"),
			key("log", logMapping().kind(), func(d *draft) *Log { return &d.log },
				"Steelyard's own log, on standard error."),
			key("access_log", optional(accessLogMapping().kind()), func(d *draft) **AccessLog { return &d.accessLog },
				"A line for each request.").defaults("off"),
			key("errors", errorsMapping().kind(), func(d *draft) *ErrorPages { return &d.errors },
				"How the errors that Steelyard makes look."),
			key("reload", reloadMapping().kind(), func(d *draft) *Reload { return &d.reload },
				"When the file is read anew without being asked, and when that is undone."),
			{
				name: "x-<anything>", typ: "anything", allowed: "anything", def: "none",
				doc: "Ignored. A place for anchors that other parts of the file use.",
			},
		},
	}
}

func forwardedMapping() mapping[Forwarded] {
	return mapping[Forwarded]{
		noun: "the forwarding headers",
		fields: []field[Forwarded]{
			key("x_forwarded", boolean(), func(f *Forwarded) *bool { return &f.XForwarded },
				"Send `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`."),
			key("standard", boolean(), func(f *Forwarded) *bool { return &f.Standard },
				"Send `Forwarded` (RFC 7239)."),
			key("request_id", boolean(), func(f *Forwarded) *bool { return &f.RequestID },
				"Send `X-Request-Id`: the trusted peer's, or a new one."),
		},
	}
}

func listenerMapping() mapping[listenerDraft] {
	return mapping[listenerDraft]{
		noun:    "a listener",
		shortIs: "an address",
		short: func(w *walker, v value, l *listenerDraft) bool {
			return isText(v.node) && (listenAddress().read(w, v, &l.Address) || true)
		},
		fresh: func() listenerDraft {
			return listenerDraft{Listener: Listener{
				IdleTimeout: 75 * time.Second, HeaderTimeout: 10 * time.Second,
				BodyTimeout: time.Minute, WriteTimeout: time.Minute,
				MaxHeaderSize: 32 << 10, UpgradeTimeout: time.Hour,
				MaxHeaderFields: defaultHeaderFields, MaxTargetLength: defaultTargetLength, MaxHandshakes: defaultHandshakes,
				MinBodyRate: defaultRate, MinResponseRate: defaultRate, WhenFull: whenFull[0],
			}}
		},
		check: checkListenerTLS,
		fields: append([]field[listenerDraft]{
			key("address", listenAddress(), func(l *listenerDraft) *string { return &l.Address },
				"Where to listen. No two listeners may take the same address.").needed(),
			key("idle_timeout", duration(time.Millisecond, day, ""), func(l *listenerDraft) *time.Duration { return &l.IdleTimeout },
				"Closes a keep-alive connection that has no request for this long."),
			key("header_timeout", duration(time.Millisecond, time.Hour, ""), func(l *listenerDraft) *time.Duration { return &l.HeaderTimeout },
				"Longest time from the first byte of a request to the end of its head."),
			key("body_timeout", duration(time.Millisecond, day, ""), func(l *listenerDraft) *time.Duration { return &l.BodyTimeout },
				"Longest silence of a client in the middle of its request body."),
			key("write_timeout", duration(time.Millisecond, day, ""), func(l *listenerDraft) *time.Duration { return &l.WriteTimeout },
				"Longest time a client may accept nothing of its response."),
			key("max_header_size", size[int](1<<10, 1<<20, ""), func(l *listenerDraft) *int { return &l.MaxHeaderSize },
				"Largest request head; beyond it the answer is 431."),
			key("max_body_size", size[int64](1, 1<<40, "no limit"), func(l *listenerDraft) *int64 { return &l.MaxBodySize },
				"Largest request body; beyond it the answer is 413."),
			key("upgrade_timeout", duration(time.Millisecond, 30*day, "never"), func(l *listenerDraft) *time.Duration { return &l.UpgradeTimeout },
				"Closes a WebSocket or other upgraded connection that was silent both ways for this long."),
			proxyProtocolIn(),
			key("errors", listenerErrorsMapping().kind(), func(l *listenerDraft) *ErrorPages { return &l.errors },
				"Pages of this listener's own; those it does not have are taken from `errors` of the file."),
		}, slices.Concat(limitKeys(), tlsFields())...),
	}
}

// readFile reads the whole file.
func readFile(w *walker, root *yaml.Node) *Config {
	m := fileMapping()
	d := m.fresh()
	v, ok := w.follow(root, "")
	switch {
	case !ok:
		return nil
	case v.node.Kind != yamlMapping:
		w.fail(v, Error{Msg: fmt.Sprintf("the file is %s, not %s", kindName(v.node), m.noun), Allowed: m.allowed()})
		return nil
	}
	s := m.readKeys(w, v, &d)
	return d.build(w, s)
}
