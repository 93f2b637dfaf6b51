package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"steelyard/healthcheck"
	"steelyard/internal/outlier"
)

// httpKeys are the keys of a check that belong to an http probe.
var httpKeys = []string{"path", "method", "host", "headers", "status", "body", "body_regex"}

// checkMapping reads how backends are checked. The keys of the http probe stand
// beside those of every check, because nearly all checks are http.
func checkMapping() mapping[healthcheck.Options] {
	return mapping[healthcheck.Options]{
		noun:    "a check",
		shortIs: "a path such as /healthz, tcp or grpc",
		short:   readShortCheck,
		fresh:   healthcheck.DefaultOptions,
		fields: slices.Concat(httpFields(), []field[healthcheck.Options]{
			probe("tcp", tcpMapping().kind(), func(o *healthcheck.Options) *healthcheck.TCP { return &o.TCP },
				"Opens a connection, instead of a request."),
			probe("grpc", grpcMapping().kind(), func(o *healthcheck.Options) *healthcheck.GRPC { return &o.GRPC },
				"Calls `grpc.health.v1.Health/Check`, instead of a plain request."),
			probe("exec", command(), func(o *healthcheck.Options) *[]string { return &o.Exec.Command },
				"Runs a program, instead of a request; exit status 0 passes. `{address}`, `{host}` and `{port}` in its arguments stand for the backend's."),
			key("interval", duration(10*time.Millisecond, day, ""), func(o *healthcheck.Options) *time.Duration { return &o.Interval },
				"Time from the start of one check to the start of the next."),
			key("fast_interval", duration(10*time.Millisecond, day, ""), func(o *healthcheck.Options) *time.Duration { return &o.FastInterval },
				"Takes the place of `interval` while a backend is changing: before its first result, and on its way up or down. At most `interval`.").defaults("1s, or interval if that is shorter"),
			key("timeout", duration(time.Millisecond, time.Hour, ""), func(o *healthcheck.Options) *time.Duration { return &o.Timeout },
				"Longest time for one check; after it the check has failed.").defaults("2s, or interval if that is shorter"),
			key("rise", integer(1, 100), func(o *healthcheck.Options) *int { return &o.Rise },
				"Checks in a row that must pass before a backend that is out comes back."),
			key("fall", integer(1, 100), func(o *healthcheck.Options) *int { return &o.Fall },
				"Checks in a row that must fail before a backend is taken out."),
			key("start", enum([]string{"checking", "healthy", "unhealthy"}), func(o *healthcheck.Options) *string { return &o.Start },
				"What a backend is before its first check has ended: `checking` gets nothing yet, and that check alone decides."),
			key("port", orNone(integer(0, 65535), "the backend's own"), func(o *healthcheck.Options) *int { return &o.Port },
				"Checks this port of the backend's host."),
			key("tls", orTrue(checkTLSMapping()), func(o *healthcheck.Options) **healthcheck.TLS { return &o.TLS },
				"Checks over TLS; `true` is TLS with defaults, `false` is none although the pool has `tls`.").defaults("that of the pool"),
		}),
		check:    checkCheck,
		validate: func(o *healthcheck.Options) error { return o.Validate() },
		bounds:   map[string][]string{"fast_interval": {"interval"}},
	}
}

func httpFields() []field[healthcheck.Options] {
	header := func(name, val string) healthcheck.Header { return healthcheck.Header{Name: name, Value: val} }
	checkHeader := func(h healthcheck.Header) error {
		o := healthcheck.DefaultOptions()
		o.HTTP.Headers = []healthcheck.Header{h}
		return o.Validate()
	}
	return []field[healthcheck.Options]{
		key("path", anyText("a path that begins with /", nil), func(o *healthcheck.Options) *string { return &o.HTTP.Path },
			"What is asked for, with a query if need be."),
		key("method", anyText("a method in capitals: GET, HEAD, …", nil), func(o *healthcheck.Options) *string { return &o.HTTP.Method },
			"The method of the request."),
		key("host", anyText("a host name, with a port if need be", nil), func(o *healthcheck.Options) *string { return &o.HTTP.Host },
			"The `Host` header of the request.").defaults("the backend's address"),
		key("headers", pairs("name to text", "header names and their values", header, checkHeader), func(o *healthcheck.Options) *[]healthcheck.Header { return &o.HTTP.Headers },
			"Headers of the request, as they are.").defaults("none"),
		key("status", statuses(), func(o *healthcheck.Options) *[]healthcheck.StatusRange { return &o.HTTP.Status },
			"Which statuses pass."),
		key("body", anyText("any text", nil), func(o *healthcheck.Options) *string { return &o.HTTP.Body },
			"Must be in the body of the response.").defaults("not looked for"),
		key("body_regex", anyText("a regular expression (RE2)", nil), func(o *healthcheck.Options) *string { return &o.HTTP.BodyRegex },
			"Must match the body of the response.").defaults("not looked for"),
	}
}

// probe is the key of a probe that is not http: it chooses itself.
func probe[V any](name string, k kind[V], place func(*healthcheck.Options) *V, doc string) field[healthcheck.Options] {
	f := key(name, k, place, doc).defaults("not chosen")
	read := f.read
	f.read = func(w *walker, v value, o *healthcheck.Options) bool {
		o.Type, o.HTTP = name, healthcheck.HTTP{}
		return read(w, v, o)
	}
	return f
}

// readShortCheck reads a check that is one word.
func readShortCheck(w *walker, v value, o *healthcheck.Options) bool {
	if !isText(v.node) {
		return false
	}
	allowed := checkMapping().allowed()
	text, ok := w.text(v, allowed)
	if !ok {
		return true
	}
	e := Error{Msg: fmt.Sprintf("unknown value %q", clip(text)), Allowed: allowed}
	switch {
	case strings.HasPrefix(text, "/"):
		o.HTTP.Path = text
		return true
	case text == "tcp", text == "grpc":
		o.Type, o.HTTP = text, healthcheck.HTTP{}
		return true
	case slices.Contains(offWords, text):
		e.Msg += "; a pool without this key is not checked"
	case slices.Contains([]string{"http", "https", "true", "yes", "on"}, text):
		e.Suggest = "/"
	case strings.Contains(text, "://"):
		e.Msg = fmt.Sprintf("%q is a URL; each backend is checked at its own address", clip(text))
	default:
		if e.Suggest = nearest(text, []string{"tcp", "grpc"}); e.Suggest == "" && !strings.ContainsAny(text, " :?") {
			e.Suggest = "/" + text
		}
	}
	w.fail(v, e)
	return true
}

// offWords are what people write for off.
var offWords = []string{"off", "false", "no", "never", "none", "0"}

// checkCheck looks at the keys of one check together.
func checkCheck(w *walker, s section, o *healthcheck.Options) {
	probes := []string{"tcp", "grpc", "exec"}
	if i := slices.IndexFunc(probes, s.has); i >= 0 {
		s.oneOf(w, probes...)
		for _, name := range httpKeys {
			if s.has(name) {
				w.failf(s.at[name], "belongs to an http check and contradicts %s; leave one of them out", probes[i])
			}
		}
		if s.has("exec") && s.has("tls") && o.TLS != nil {
			w.failf(s.at["tls"], "contradicts exec, which makes no connection; leave one of them out")
		}
	}
	o.NoTLS = s.has("tls") && s.good("tls") && o.TLS == nil
	switch {
	case !s.good("interval", "timeout"):
	case !s.has("timeout"):
		o.Timeout = min(o.Timeout, o.Interval)
	case o.Timeout > o.Interval:
		w.warnf(s.at["timeout"], "%s is longer than the interval of %s: a check that takes long delays the next", showDuration(o.Timeout), showDuration(o.Interval))
	}
}

func tcpMapping() mapping[healthcheck.TCP] {
	return mapping[healthcheck.TCP]{
		noun:  "settings of tcp",
		empty: true,
		fields: []field[healthcheck.TCP]{
			key("send", anyText("any text", nil), func(t *healthcheck.TCP) *string { return &t.Send },
				"Written when the connection is open.").defaults("nothing"),
			key("expect", anyText("any text", nil), func(t *healthcheck.TCP) *string { return &t.Expect },
				"Must be in what comes back.").defaults("not waited for"),
		},
		validate: func(t *healthcheck.TCP) error {
			o := healthcheck.DefaultOptions()
			o.Type, o.HTTP, o.TCP = "tcp", healthcheck.HTTP{}, *t
			return o.Validate()
		},
		prefix: "tcp.",
	}
}

func grpcMapping() mapping[healthcheck.GRPC] {
	service := anyText("the name of a service, for example shop.Cart", nil)
	return mapping[healthcheck.GRPC]{
		noun:    "settings of grpc",
		empty:   true,
		shortIs: "the name of a service",
		short: func(w *walker, v value, g *healthcheck.GRPC) bool {
			return isText(v.node) && (service.read(w, v, &g.Service) || true)
		},
		fields: []field[healthcheck.GRPC]{
			key("service", service, func(g *healthcheck.GRPC) *string { return &g.Service },
				"Which service is asked for.").defaults("the server as a whole"),
		},
		validate: func(g *healthcheck.GRPC) error {
			o := healthcheck.DefaultOptions()
			o.Type, o.HTTP, o.GRPC = "grpc", healthcheck.HTTP{}, *g
			return o.Validate()
		},
		prefix: "grpc.",
	}
}

// command is a program with its arguments, as a list, because there is no shell
// that would take a text apart.
func command() kind[[]string] {
	const allowed = `a list, for example [/usr/bin/check, "{address}"]`
	k := list(anyText(allowed, nil))
	k.allowed = allowed
	many := k.read
	k.read = func(w *walker, v value, to *[]string) bool {
		if !isText(v.node) {
			return many(w, v, to)
		}
		text, ok := w.text(v, allowed)
		switch words := strings.Fields(text); {
		case !ok:
			return false
		case len(words) > 1:
			w.fail(v, Error{Msg: "is one text, and there is no shell to take it apart; write a list", Allowed: allowed, Suggest: flowList(words)})
			return false
		}
		*to = []string{text}
		return true
	}
	return k
}

// flowList writes words as a YAML list in one line; what a list in brackets would
// take for something else is quoted.
func flowList(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		if quoted[i] = word; strings.ContainsAny(word, "{}[],:#&*!|>'\"%@`\\") {
			quoted[i] = strconv.Quote(word)
		}
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func checkTLSMapping() mapping[healthcheck.TLS] {
	return mapping[healthcheck.TLS]{
		noun: "settings of tls",
		fields: []field[healthcheck.TLS]{
			key("server_name", anyText("a host name", nil), func(t *healthcheck.TLS) *string { return &t.ServerName },
				"Sent (SNI) and expected in the certificate.").defaults("that of host, else the backend's host"),
			key("insecure", boolean(), func(t *healthcheck.TLS) *bool { return &t.Insecure },
				"Accepts any certificate."),
			key("ca", filePath(), func(t *healthcheck.TLS) *string { return &t.CAFile },
				"PEM file with the certificates to trust.").defaults("those of the system"),
		},
		validate: func(t *healthcheck.TLS) error {
			o := healthcheck.DefaultOptions()
			o.TLS = t
			return o.Validate()
		},
		prefix: "tls.",
	}
}

// statuses is a status, a range of them, or a list of both.
func statuses() kind[[]healthcheck.StatusRange] {
	one := scalar("status", "a status (200), a range (200-299), or a list of them; 100 to 599", parseStatuses, showStatuses)
	k := oneOrMore(one)
	k.show = func(all []healthcheck.StatusRange) string {
		words := make([]string, len(all))
		for i, r := range all {
			words[i] = showStatuses(r)
		}
		return strings.Join(words, ", ")
	}
	return k
}

func showStatuses(r healthcheck.StatusRange) string {
	if r.From == r.To {
		return strconv.Itoa(r.From)
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}

// parseStatuses reads 200 or 200-299.
func parseStatuses(s string) (healthcheck.StatusRange, *wrong) {
	bad := &wrong{msg: fmt.Sprintf("%q is neither a status nor a range of them", clip(s))}
	if len(s) == 3 && '1' <= s[0] && s[0] <= '5' && strings.Trim(s[1:], "xX*") == "" {
		bad.suggest = s[:1] + "00-" + s[:1] + "99"
		return healthcheck.StatusRange{}, bad
	}
	low, high, ranged := strings.Cut(s, "-")
	if !ranged {
		high = low
	}
	from, errFrom := strconv.ParseUint(strings.TrimSpace(low), 10, 16)
	to, errTo := strconv.ParseUint(strings.TrimSpace(high), 10, 16)
	switch {
	case errFrom != nil || errTo != nil:
		return healthcheck.StatusRange{}, bad
	case from > to:
		return healthcheck.StatusRange{}, &wrong{msg: s + " has the higher status first", suggest: fmt.Sprintf("%d-%d", to, from)}
	case from < 100 || to > 599:
		return healthcheck.StatusRange{}, &wrong{msg: s + " is out of range"}
	}
	return healthcheck.StatusRange{From: int(from), To: int(to)}, nil
}

// outlierMapping reads what real traffic takes a backend out for.
func outlierMapping() mapping[outlier.Options] {
	return mapping[outlier.Options]{
		noun:    "settings of outliers",
		shortIs: "off",
		short: func(w *walker, v value, o *outlier.Options) bool {
			if !isText(v.node) {
				return false
			}
			readOff(w, v, &o.Off)
			return true
		},
		fresh: outlier.DefaultOptions,
		fields: []field[outlier.Options]{
			key("consecutive", orNone(integer(0, 1000), "never"), func(o *outlier.Options) *int { return &o.Consecutive },
				"Takes a backend out after this many failures in a row."),
			key("on", enum([]string{outlier.OnGateway, outlier.On5xx}), func(o *outlier.Options) *string { return &o.On },
				"What is a failure: `gateway` is no connection, a reset, no response in time, what is not HTTP, 502, 503 and 504; `5xx` is any other 5xx as well."),
			key("failure_share", orNone(share(), "never"), func(o *outlier.Options) *float64 { return &o.FailureShare },
				"Takes a backend out when this share of its requests in the window failed."),
			key("window", duration(time.Second, 10*time.Minute, ""), func(o *outlier.Options) *time.Duration { return &o.Window },
				"How far `failure_share` looks back."),
			key("min_requests", integer(1, 1_000_000), func(o *outlier.Options) *int { return &o.MinRequests },
				"Requests that must be in the window before `failure_share` says anything."),
			key("ejection", duration(100*time.Millisecond, time.Hour, ""), func(o *outlier.Options) *time.Duration { return &o.Ejection },
				"How long a backend is out the first time. It doubles each time, and is forgotten while the backend behaves."),
			key("max_ejection", duration(100*time.Millisecond, day, ""), func(o *outlier.Options) *time.Duration { return &o.MaxEjection },
				"The most that `ejection` grows to.").defaults("5m, or ejection if that is longer"),
			key("max_ejected", orNone(share(), "nobody is taken out"), func(o *outlier.Options) *float64 { return &o.MaxEjected },
				"The largest share of the pool that may be out at a time; above 0 one backend may be, however small it is."),
		},
		check:    checkOutlier,
		validate: func(o *outlier.Options) error { return o.Validate() },
		bounds:   map[string][]string{"max_ejection": {"ejection"}},
	}
}

// readOff reads the word off.
func readOff(w *walker, v value, off *bool) {
	const allowed = "off, or a mapping with its keys"
	text, ok := w.text(v, allowed)
	switch *off = ok && text == "off"; {
	case !ok || *off:
	case slices.Contains(offWords, text):
		w.fail(v, Error{Msg: fmt.Sprintf("unknown value %q", text), Allowed: allowed, Suggest: "off"})
	default:
		w.fail(v, Error{Msg: fmt.Sprintf("unknown value %q; a pool without this key has outliers with defaults", clip(text)), Allowed: allowed})
	}
}

func checkOutlier(w *walker, s section, o *outlier.Options) {
	if !s.has("max_ejection") && s.good("ejection") {
		o.MaxEjection = max(o.MaxEjection, o.Ejection)
	}
	for _, name := range []string{"window", "min_requests"} {
		if s.has(name) && s.good("failure_share") && o.FailureShare == 0 {
			w.failf(s.at[name], "has no effect without failure_share")
		}
	}
	never := o.Consecutive == 0 && o.FailureShare == 0 || o.MaxEjected == 0
	if s.at != nil && never && s.good("consecutive", "failure_share", "max_ejected") {
		w.warnf(s.value, "takes no backend out; as short: outlier: off")
	}
}
