package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"steelyard/discovery"
)

type sourceDraft struct {
	Source
	at value
}

// sourceMapping has one key per kind of source.
func sourceMapping() mapping[sourceDraft] {
	return mapping[sourceDraft]{
		noun: "a source",
		fields: []field[sourceDraft]{
			key("consul", optional(consulQueryMapping().kind()), func(s *sourceDraft) **discovery.ConsulQuery { return &s.Consul },
				"The instances of a service in Consul.").defaults("none"),
			key("dns", optional(dnsMapping().kind()), func(s *sourceDraft) **discovery.DNSOptions { return &s.DNS },
				"The addresses, or the SRV records, of a name.").defaults("none"),
			key("file", optional(fileSourceMapping().kind()), func(s *sourceDraft) **discovery.FileOptions { return &s.File },
				"A list in a file of its own, in YAML or JSON, which is watched.").defaults("none"),
		},
		check: func(w *walker, s section, d *sourceDraft) {
			d.Line, d.at = s.line, s.value
			if len(s.at) > 0 || len(s.meant) == 0 { // else what is unknown is the one
				s.oneOf(w, "consul", "dns", "file")
			}
		},
	}
}

func consulQueryMapping() mapping[discovery.ConsulQuery] {
	service := anyText("the name of a service", nil)
	return mapping[discovery.ConsulQuery]{
		noun:    "a source in Consul",
		shortIs: "the name of a service",
		short: func(w *walker, v value, q *discovery.ConsulQuery) bool {
			return isText(v.node) && (service.read(w, v, &q.Service) || true)
		},
		fresh: discovery.DefaultConsulQuery,
		fields: append([]field[discovery.ConsulQuery]{
			key("service", service, func(q *discovery.ConsulQuery) *string { return &q.Service },
				"Whose instances are the backends.").needed(),
			key("tag", oneOrMore(anyText("a tag", nil)), func(q *discovery.ConsulQuery) *[]string { return &q.Tags },
				"Takes only instances that have it; with a list, all of them.").defaults("none"),
			key("filter", anyText("an expression of Consul's filter language", nil), func(q *discovery.ConsulQuery) *string { return &q.Filter },
				"Takes only instances for which it is true: `Service.Meta.version == \"2\"`.").defaults("none"),
			key("datacenter", anyText("the name of a datacenter", nil), func(q *discovery.ConsulQuery) *string { return &q.Datacenter },
				"Asks another datacenter.").defaults("that of the key consul"),
			key("namespace", anyText("the name of a namespace", nil), func(q *discovery.ConsulQuery) *string { return &q.Namespace },
				"Asks another namespace (Consul Enterprise).").defaults("that of the key consul"),
			key("partition", anyText("the name of a partition", nil), func(q *discovery.ConsulQuery) *string { return &q.Partition },
				"Asks another admin partition (Consul Enterprise).").defaults("that of the key consul"),
			key("near", anyText("the name of a node, or _agent", nil), func(q *discovery.ConsulQuery) *string { return &q.Near },
				"Sorts by the distance to a node; `_agent` is that of the agent.").defaults("none"),
			key("max_stale", duration(time.Millisecond, day, "only the leader answers"), func(q *discovery.ConsulQuery) *time.Duration { return &q.MaxStale },
				"How old the answer of a Consul server without contact to its leader may be."),
			key("health", enum([]string{"passing", "warning", "ignore"}), func(q *discovery.ConsulQuery) *string { return &q.Health },
				"What Consul's own checks are for: with `passing` an instance in warning gets nothing, with `warning` it does, and `ignore` leaves it to `check`. Maintenance always counts."),
			key("weight_meta", anyText("a key of the service's meta", nil), func(q *discovery.ConsulQuery) *string { return &q.WeightMeta },
				"The key of an instance's meta that holds its weight; without one, Consul's own weights count."),
		}, guardFields(func(q *discovery.ConsulQuery) *discovery.GuardOptions { return &q.Guard })...),
		validate: func(q *discovery.ConsulQuery) error { return q.Validate() },
	}
}

// guardFields are the keys that every source has.
func guardFields[T any](place func(*T) *discovery.GuardOptions) []field[T] {
	return []field[T]{
		key("max_removal", share(), func(t *T) *float64 { return &place(t).MaxRemoval },
			"The largest share of the backends that may leave at once; what would take away more is held. 100% holds nothing."),
		key("guard_timeout", duration(time.Second, day, ""), func(t *T) *time.Duration { return &place(t).Timeout },
			"After this time what is held is carried out."),
	}
}

func dnsMapping() mapping[discovery.DNSOptions] {
	return mapping[discovery.DNSOptions]{
		noun:    "a source in DNS",
		shortIs: "name:port",
		short: func(w *walker, v value, o *discovery.DNSOptions) bool {
			if isText(v.node) {
				readNamePort(w, v, o)
			}
			return isText(v.node)
		},
		fresh: discovery.DefaultDNS,
		fields: append([]field[discovery.DNSOptions]{
			key("name", anyText("a domain name", nil), func(o *discovery.DNSOptions) *string { return &o.Name },
				"What is asked for. It is complete as it is: search lists are not used.").needed(),
			key("type", enum([]string{"a", "srv"}), func(o *discovery.DNSOptions) *string { return &o.Type },
				"Which records: `a` is A and AAAA, `srv` brings ports, weights and priorities with it."),
			key("port", integer(1, 65535), func(o *discovery.DNSOptions) *int { return &o.Port },
				"The port of every backend; needed with `a`, not allowed with `srv`.").defaults("none"),
			key("servers", oneOrMore(anyText("a host, or host:port", nil)), func(o *discovery.DNSOptions) *[]string { return &o.Servers },
				"Whom to ask, in this order.").defaults("those of /etc/resolv.conf"),
			key("timeout", duration(10*time.Millisecond, 30*time.Second, ""), func(o *discovery.DNSOptions) *time.Duration { return &o.Timeout },
				"Longest wait for one server."),
			key("min_ttl", duration(100*time.Millisecond, day, ""), func(o *discovery.DNSOptions) *time.Duration { return &o.MinTTL },
				"Shortest time to the next question, whatever the TTL of the answer is."),
			key("max_ttl", duration(100*time.Millisecond, day, ""), func(o *discovery.DNSOptions) *time.Duration { return &o.MaxTTL },
				"Longest time to the next question, whatever the TTL of the answer is.").defaults("1m, or min_ttl if that is longer"),
			key("nxdomain_repeats", integer(1, 100), func(o *discovery.DNSOptions) *int { return &o.NXDomainRepeats },
				"How many answers in a row must say that there is nothing under the name before its backends leave."),
		}, guardFields(func(o *discovery.DNSOptions) *discovery.GuardOptions { return &o.Guard })...),
		check: func(_ *walker, s section, o *discovery.DNSOptions) {
			if !s.has("max_ttl") && s.good("min_ttl") {
				o.MaxTTL = max(o.MaxTTL, o.MinTTL)
			}
			if !s.has("min_ttl") && s.good("max_ttl") {
				o.MinTTL = min(o.MinTTL, o.MaxTTL)
			}
		},
		validate: func(o *discovery.DNSOptions) error { return o.Validate() },
		bounds:   map[string][]string{"min_ttl": {"max_ttl"}, "port": {"type"}},
	}
}

// readNamePort reads the short form of dns.
func readNamePort(w *walker, v value, o *discovery.DNSOptions) {
	const allowed = "name:port, or a mapping such as {name: …, type: srv}"
	text, ok := w.text(v, allowed)
	if !ok {
		return
	}
	name, port, found := strings.Cut(text, ":")
	if !found {
		w.fail(v, Error{Msg: fmt.Sprintf("%q has no port, which address records do not bring", clip(text)), Allowed: allowed})
		return
	}
	n, bad := parsePort(port)
	if bad != nil {
		w.fail(v, Error{Msg: bad.msg, Allowed: allowed})
		return
	}
	o.Name, o.Port = name, n
}

func fileSourceMapping() mapping[discovery.FileOptions] {
	return mapping[discovery.FileOptions]{
		noun:    "a source in a file",
		shortIs: "its path",
		short: func(w *walker, v value, o *discovery.FileOptions) bool {
			return isText(v.node) && (filePath().read(w, v, &o.Path) || true)
		},
		fresh: discovery.DefaultFile,
		fields: append([]field[discovery.FileOptions]{
			key("path", filePath(), func(o *discovery.FileOptions) *string { return &o.Path },
				"The file: a list of backends as under `backends`.").needed(),
		}, guardFields(func(o *discovery.FileOptions) *discovery.GuardOptions { return &o.Guard })...),
		validate: func(o *discovery.FileOptions) error { return o.Validate() },
	}
}

// filePath names a file. A relative one is kept relative to the folder of the
// configuration, so that it does not matter from where Steelyard is started.
func filePath() kind[string] {
	const allowed = "a path; a relative one begins in the folder of this file"
	return kind[string]{
		typ: "path", allowed: allowed,
		read: func(w *walker, v value, to *string) bool {
			s, ok := w.text(v, allowed)
			if ok && s == "" {
				w.fail(v, Error{Msg: "is empty", Allowed: allowed})
				ok = false
			}
			if folder := filepath.Dir(w.file); ok && folder != "." && !filepath.IsAbs(s) {
				s = folder + string(filepath.Separator) + s
			}
			*to = s
			return ok
		},
	}
}

// checkSources finds a source that stands twice in a pool, and warns of files
// that are not there: they may come later.
func checkSources(w *walker, p *poolDraft) {
	for i, s := range p.sources {
		if s.File != nil && s.File.Path != "" && w.missing(s.File.Path) {
			w.warnf(s.at, "there is no file %s yet; until there is one it names no backends", s.File.Path)
		}
		for _, other := range p.sources[:i] {
			a, b := s.Source, other.Source
			a.Line, b.Line = 0, 0
			if a != (Source{}) && reflect.DeepEqual(a, b) {
				w.failf(s.at, "the same source stands already in line %d of this pool", other.Line)
				break
			}
		}
	}
}
