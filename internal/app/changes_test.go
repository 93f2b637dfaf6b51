package app

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestChangesInWords: what an operator reads behind a reload.
func TestChangesInWords(t *testing.T) {
	const plain = `
listeners: {web: {address: ":8080"}}
routes: [{match: {host: shop.example, path: /*}, pool: web}, {match: {path: /api/*}, pool: api}]
pools:
  web: {backends: [127.0.0.1:3001, 127.0.0.1:3002], sticky: client_ip}
  api: {backends: [127.0.0.1:4001], policy: {consistent_hash: {key: header:x-id}}, check: /healthz}
`
	for _, tt := range []struct {
		name     string
		from, to string // parts of plain
		want     []string
	}{
		{"nothing", "", "", []string{"nothing changed"}},
		{"only lines move", "\nlisteners", "\n\n\nlisteners", []string{"nothing changed"}},
		{"a backend leaves and affinity ends", "[127.0.0.1:3001, 127.0.0.1:3002], sticky: client_ip", "[127.0.0.1:3001]",
			[]string{"pool web: -1 backend (127.0.0.1:3002), sticky off (312 bound sessions affected)"}},
		{"backends come", "[127.0.0.1:4001]", "[127.0.0.1:4001, 127.0.0.1:4002, 127.0.0.1:4003]",
			[]string{"pool api: +2 backends (127.0.0.1:4002, 127.0.0.1:4003)"}},
		{"a backend is exchanged and another weighed", "[127.0.0.1:3001, 127.0.0.1:3002]", "[{address: 127.0.0.1:3001, weight: 3}, 127.0.0.1:3003]",
			[]string{"pool web: +1 backend (127.0.0.1:3003), -1 backend (127.0.0.1:3002; 104 bound sessions affected), backend 127.0.0.1:3001 weight 1 -> 3"}},
		{"affinity of another kind", "sticky: client_ip", "sticky: {cookie: {secret: hush}}",
			[]string{"pool web: sticky.cookie on, sticky.client_ip off (312 bound sessions affected)"}},
		{"another policy", "policy: {consistent_hash: {key: header:x-id}}", "policy: least_time", []string{"pool api: policy consistent_hash -> least_time"}},
		{"no check", ", check: /healthz", "", []string{"pool api: check off"}},
		{"a check in detail", "check: /healthz", "check: {path: /healthz, interval: 7s}", []string{"pool api: check.interval 5s -> 7s"}},
		{"timeouts", "check: /healthz", "check: /healthz, timeouts: {response: 5s}, keepalive: {max_idle: 4}",
			[]string{"pool api: keepalive.max_idle 256 -> 4, timeouts.response 60s -> 5s"}},
		{"TLS and the PROXY protocol to backends", "check: /healthz", "check: /healthz, proxy_protocol: v2, tls: {server_name: api.test}",
			[]string{"pool api: proxy_protocol off -> v2, tls on"}},
		{"TLS to backends in detail", "check: /healthz", "check: {path: /healthz, tls: false}", []string{"pool api: check.tls true -> false"}},
		{"a source for the backends", "backends: [127.0.0.1:4001]", "source: {file: /tmp/x.yaml}", []string{"pool api: -1 backend (127.0.0.1:4001), source changed"}},
		{"a route elsewhere", "path: /*}, pool: web", "path: /*}, pool: api", []string{"route shop.example/*: pool web -> api"}},
		{"a route that splits", "path: /*}, pool: web", "path: /*}, split: [{pool: web, weight: 9}, {pool: api, weight: 1}]",
			[]string{"route shop.example/*: pool web -> split web 9 / api 1"}},
		{"a route that answers", "path: /api/*}, pool: api", "path: /api/*}, respond: 410",
			[]string{"route /api/*: pool api -> respond 410"}},
		{"a route gone, another come", "path: /api/*}, pool: api", "path: /v2/*}, pool: api, host: backend",
			[]string{"route /api/*: removed (was pool api)", "route /v2/*: added (pool api)"}},
		{"what a route does beside", "path: /api/*}, pool: api", "path: /api/*}, pool: api, host: backend, rewrite: {strip_prefix: /api}",
			[]string{"route /api/*: rewrite.strip_prefix none -> /api, host preserve -> backend"}},
		{"limits of a listener", `{address: ":8080"}`, `{address: ":8080", idle_timeout: 30s, max_body_size: 1MiB}`,
			[]string{"listener web: idle_timeout 75s -> 30s, max_body_size 0 -> 1048576"}},
		{"a listener elsewhere, and another", `web: {address: ":8080"}`, `web: {address: ":8081"}, two: ":8082"`,
			[]string{"listener web: address :8080 -> :8081", "listener two: opened on :8082"}},
		{"a listener less", `web: {address: ":8080"}`, `other: {address: ":8080"}`,
			[]string{"listener web: closed (was on :8080)", "listener other: opened on :8080"}},
		{"a pool renamed", "  api: {back", "  api2: {back", []string{"route /api/*: pool api -> api2", "pool api: removed (1 backend)", "pool api2: added (1 backend)"}},
		{"the rest of the file", "\nlisteners", "\nshutdown_timeout: 10s\ntrusted_proxies: [10.0.0.0/8]\nadmin: 127.0.0.1:9400\nreload: {watch: true}\nlisteners",
			[]string{"trusted_proxies none -> 10.0.0.0/8", "shutdown_timeout 30s -> 10s", "admin on", "reload.watch false -> true"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.Replace(plain, tt.from, tt.to, 1)
			if tt.name == "a pool renamed" {
				changed = strings.Replace(changed, "pool: api}", "pool: api2}", 1)
			}
			bound := func(pool string) map[string]int {
				return map[string]map[string]int{"web": {"127.0.0.1:3001": 208, "127.0.0.1:3002": 104}}[pool]
			}
			got := describe(parse(t, plain), parse(t, changed), bound)
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestChangesQuoteNoSecretAndAreBounded(t *testing.T) {
	file := func(secret string, routes int) string {
		var b strings.Builder
		fmt.Fprintf(&b, "listeners: {web: \":8080\"}\npools: {web: {backends: [127.0.0.1:1], sticky: {cookie: {secret: %s}}}}\nroutes:\n  - {pool: web}\n", secret)
		for i := range routes {
			fmt.Fprintf(&b, "  - {match: {path: /%d}, pool: web}\n", i)
		}
		return b.String()
	}
	nobody := func(string) map[string]int { return nil }
	got := describe(parse(t, file("hush-one", 0)), parse(t, file("hush-two", 0)), nobody)
	if want := "pool web: sticky.cookie.secret changed (sessions bound by cookie are affected)"; len(got) != 1 || got[0] != want {
		t.Errorf("%q; want %q", got, want)
	}
	got = describe(parse(t, file("a", 0)), parse(t, file("a", 500)), nobody)
	if len(got) != maxChanges+1 || got[maxChanges] != "and 300 changes more" {
		t.Errorf("%d lines, the last is %q", len(got), got[len(got)-1])
	}
}
