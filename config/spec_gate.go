package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"steelyard/balancer"
	"steelyard/internal/auth"
	"steelyard/internal/browser"
	"steelyard/internal/ratelimit"
	"steelyard/internal/rewrite"
)

// RateLimit bounds how many requests a key may make.
type RateLimit struct {
	ratelimit.Options
	// Key is client_ip (default), a header or a cookie.
	Key balancer.Key
}

// gateKeys are the keys of a route that say who may come in, in the order in
// which they are asked.
func gateKeys() []field[routeDraft] {
	return []field[routeDraft]{
		key("allow", oneOrMore(network()), func(r *routeDraft) *[]netip.Prefix { return &r.Allow },
			"Addresses that may come in; others get 403.").defaults("everyone"),
		key("deny", oneOrMore(network()), func(r *routeDraft) *[]netip.Prefix { return &r.Deny },
			"Addresses that may not, whatever `allow` says.").defaults("none"),
		key("rate_limit", optional(rateLimitMapping().kind()), func(r *routeDraft) **RateLimit { return &r.RateLimit },
			"How many requests one client may make; others get 429. One limit for all hosts and paths of the route.").defaults("none"),
		key("cors", optional(corsMapping().kind()), func(r *routeDraft) **browser.CORS { return &r.CORS },
			"Which scripts of other origins may use it; preflights are answered here, and `Access-Control-*` of the backend is replaced.").defaults("none, left to the backend"),
		key("basic_auth", optional(basicAuthMapping().kind()), func(r *routeDraft) **auth.Options { return &r.BasicAuth },
			"Asks for a name and a password; without the right ones 401.").defaults("none"),
		key("forward_auth", optional(forwardAuthMapping().kind()), func(r *routeDraft) **forwardDraft { return &r.forward },
			"Asks another server: 2xx lets the request in, any other answer goes to the client.").defaults("none"),
		key("security_headers", orTrue(securityMapping()), func(r *routeDraft) **browser.Security { return &r.SecurityHeaders },
			"Tells browsers to be careful, where the backend does not.").defaults("none"),
	}
}

func rateLimitMapping() mapping[RateLimit] {
	return mapping[RateLimit]{
		noun:    "a rate limit",
		shortIs: "a rate such as 100/s",
		short: func(w *walker, v value, r *RateLimit) bool {
			return isText(v.node) && (rate().read(w, v, &r.Options) || true)
		},
		fresh: func() RateLimit {
			return RateLimit{Options: ratelimit.Options{Per: time.Second}, Key: balancer.Key{Source: "client_ip"}}
		},
		fields: []field[RateLimit]{
			key("requests", integer(1, ratelimit.MaxRequests), func(r *RateLimit) *int { return &r.Requests },
				"Requests in each `per`, in the long run.").needed(),
			key("per", duration(time.Second, ratelimit.MaxPer, ""), func(r *RateLimit) *time.Duration { return &r.Per },
				"That time, in whole seconds."),
			key("burst", integer(1, ratelimit.MaxRequests), func(r *RateLimit) *int { return &r.Burst },
				"How many may come at once after a pause.").defaults("as many as requests"),
			key("key", rateKey(), func(r *RateLimit) *balancer.Key { return &r.Key },
				"By what clients are told apart. Where a request does not have the header or cookie, by the address."),
		},
		check: func(w *walker, s section, r *RateLimit) {
			if r.Burst == 0 {
				r.Burst = r.Requests
			}
			if r.Per%time.Second != 0 && s.good("per") {
				w.failf(s.where("per"), "%s is not in whole seconds, which is what clients can be told", showDuration(r.Per))
			}
		},
	}
}

// rateKey is what clients can be told apart by.
func rateKey() kind[balancer.Key] {
	const allowed = "client_ip, header:NAME, cookie:NAME"
	k := hashKey()
	all := k.read
	k.allowed = allowed
	k.read = func(w *walker, v value, to *balancer.Key) bool {
		var got balancer.Key
		if !all(w, v, &got) {
			return false
		}
		switch got.Source {
		case "client_ip", "header", "cookie":
			*to = got
			return true
		}
		w.fail(v, Error{Msg: fmt.Sprintf("%q does not tell clients apart", got.Source), Allowed: allowed})
		return false
	}
	return k
}

var ratePattern = regexp.MustCompile(`^\s*([0-9]+)\s*/\s*([0-9.]*)\s*([a-z]+)\s*$`)

// rate reads 100/s, 20/m or 100/10s.
func rate() kind[ratelimit.Options] {
	const allowed = "requests per time: 100/s, 20/m, 1000/h or 100/10s"
	return scalar("rate", allowed, func(s string) (o ratelimit.Options, bad *wrong) {
		m := ratePattern.FindStringSubmatch(s)
		if m == nil {
			return o, &wrong{msg: fmt.Sprintf("%q is not a rate", clip(s)), suggest: likelyRate(s)}
		}
		var err error
		if o.Requests, err = strconv.Atoi(m[1]); err != nil || o.Requests < 1 || o.Requests > ratelimit.MaxRequests {
			return o, &wrong{msg: fmt.Sprintf("%s requests are not within 1 to %d", clip(m[1]), ratelimit.MaxRequests)}
		}
		if m[2] == "" {
			m[2] = "1"
		}
		if o.Per, bad = parseDuration(m[2] + m[3]); bad != nil {
			return o, &wrong{msg: fmt.Sprintf("%q is not a time; it is s, m, h or d, or a number of them", clip(strings.TrimPrefix(m[2], "1")+m[3])), suggest: likelyRate(s)}
		}
		if o.Per < time.Second || o.Per > ratelimit.MaxPer {
			return o, &wrong{msg: showDuration(o.Per) + " is not within 1s to 24h"}
		}
		return o, nil
	}, func(o ratelimit.Options) string { return fmt.Sprintf("%d/%s", o.Requests, showDuration(o.Per)) })
}

// likelyRate is what was meant by 100, 100r/s, 100/sec or 100/minute.
func likelyRate(s string) string {
	m := regexp.MustCompile(`^\s*([0-9]+)\s*r?(?:/\s*(s|m|h|d)[a-z]*)?\s*$`).FindStringSubmatch(s)
	switch {
	case m == nil:
		return ""
	case m[2] == "":
		return m[1] + "/s"
	}
	return m[1] + "/" + m[2]
}

// checkGate finds keys of a route that contradict each other.
func checkGate(w *walker, s section, r *routeDraft) {
	if s.has("basic_auth") && s.has("forward_auth") {
		w.failf(s.at["forward_auth"], "cannot stand beside basic_auth: one of them says who may come in")
	}
	if r.CORS == nil || !s.good("response_headers", "cors") {
		return
	}
	names := append([]string(nil), r.ResponseHeaders.Remove...)
	for _, h := range append(append([]rewrite.Header(nil), r.ResponseHeaders.Set...), r.ResponseHeaders.Add...) {
		names = append(names, h.Name)
	}
	for _, name := range names {
		if strings.HasPrefix(strings.ToLower(name), "access-control-") {
			w.failf(s.where("response_headers"), "%s is what cors of the same route sets; leave one of them out", name)
		}
	}
}
