//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"
)

// kind is how a work is measured; each has its metrics in measure.go.
type kind int

const (
	saturate kind = iota // as many requests as the load manages: CPU, requests/s
	messages             // the same for WebSocket messages
	latency              // at 30 % and 70 % of nginx's saturation rate
	idle                 // memory per idle connection
	startUp              // from exec to the first answer
	reload               // requests at a fixed rate while configurations are reloaded
)

// work is one thing that is measured, and the shape of the proxies for it.
type work struct {
	name  string
	title string
	kind  kind

	connections int
	size        int // bytes of a response body
	post        int // bytes of a request body
	message     int // bytes of a WebSocket message
	newConn     bool
	webSocket   bool
	tls         bool
	log         bool
	policy      string
	sticky      bool
	backends    int
	routes      int
	bothCores   bool

	aim    float64 // what issue 6 wants of Steelyard's ratio to the better of nginx and HAProxy; 0: nothing
	goal   string  // the same in words, where it is not of CPU
	plain  bool    // Steelyard as it is without the feature runs in the same rounds
	few    bool    // caddy is left out, and three rounds do
	quick  bool    // part of a quick run
	charts string  // the growth it is a point of: connections, backends or routes
}

const (
	roundRobin = "round_robin"
	kib        = 1 << 10
	mib        = 1 << 20

	withinPlain = "within 5 % of Steelyard without it"
)

// works is all there is, in the order in which it is measured.
func works() []work {
	all := []work{
		{name: "get-100", title: "GET 100 B, 64 connections", aim: .9, goal: "1.10 times the better's requests/s", quick: true, charts: "connections backends routes"},
		{name: "get-16k", title: "GET 16 KiB", size: 16 * kib, aim: .9, quick: true},
		{name: "get-128k", title: "GET 128 KiB", size: 128 * kib, aim: .75, quick: true},
		{name: "get-1m", title: "GET 1 MiB", size: mib, aim: .75},
		{name: "post-1k", title: "POST 1 KiB", post: kib},
		{name: "post-128k", title: "POST 128 KiB", post: 128 * kib, aim: .8, quick: true},
		{name: "connections-1000", title: "GET 100 B, 1,000 connections", connections: 1000, aim: 1, quick: true, charts: "connections"},
		{name: "connections-8000", title: "GET 100 B, 8,000 connections", connections: 8000, charts: "connections"},
		{name: "new-connection", title: "GET 100 B, a new connection each", newConn: true},
		{name: "access-log", title: "GET 100 B, access log on", log: true, aim: 1, quick: true},
		{name: "access-log-16k", title: "GET 16 KiB, access log on", log: true, size: 16 * kib, few: true},
		{name: "access-log-1000", title: "GET 100 B, 1,000 connections, access log on", log: true, connections: 1000, few: true},
		{name: "sticky", title: "sticky by cookie", goal: withinPlain, sticky: true, plain: true},
		{name: "backends-1000", title: "1,000 backends", backends: 1000, goal: withinPlain, plain: true, charts: "backends"},
		{name: "routes-10000", title: "10,000 routes", routes: 10000, goal: withinPlain, plain: true, charts: "routes"},
	}
	for _, p := range []string{"least_connections", "least_time", "random", "power_of_two", "consistent_hash", "maglev"} {
		w := work{name: "policy-" + p, title: "policy " + p, policy: p, plain: true, few: true}
		if p == "least_connections" {
			w.goal = withinPlain
		}
		all = append(all, w)
	}
	all = append(all, []work{
		{name: "tls", title: "TLS, GET 100 B", tls: true},
		{name: "tls-128k", title: "TLS, GET 128 KiB", tls: true, size: 128 * kib, few: true},
		{name: "tls-handshake", title: "TLS, a new connection each", tls: true, newConn: true, few: true},
		{name: "both-cores", title: "GET 100 B, two cores given to the proxy", bothCores: true},
		{name: "websocket", title: "WebSocket, messages of 100 B", kind: messages, message: 100},
	}...)
	all = append(all, growth()...)
	all = append(all, []work{
		{name: "latency", title: "latency, GET 100 B", kind: latency, goal: "p99 at 70 % at most 1.10 times the better's", quick: true},
		{name: "latency-16k", title: "latency, GET 16 KiB", kind: latency, size: 16 * kib, few: true},
		{name: "latency-post", title: "latency, POST 1 KiB", kind: latency, post: kib, few: true},
		{name: "latency-new", title: "latency, a new connection each", kind: latency, newConn: true, few: true},
		{name: "reload", title: "reloads under load", kind: reload},
		{name: "idle-connections", title: "memory of an idle keep-alive connection", kind: idle, connections: 4000, goal: "at most 6 KiB", quick: true},
		{name: "idle-websockets", title: "memory of an idle WebSocket", kind: idle, connections: 4000, goal: "at most 12 KiB", webSocket: true},
		{name: "start-up", title: "start-up, 1 route, 3 backends", kind: startUp, quick: true},
		{name: "start-up-large", title: "start-up, 10,000 routes, 1,000 backends", kind: startUp, backends: 1000, routes: 10000, few: true},
	}...)
	for i := range all {
		all[i].complete()
	}
	return all
}

// growth is the points of the charts that no other work measures.
func growth() []work {
	var all []work
	for _, n := range []int{8, 256, 4000} {
		all = append(all, work{name: fmt.Sprint("connections-", n), title: fmt.Sprintf("GET 100 B, %s connections", thousands(n)),
			connections: n, few: true, charts: "connections"})
	}
	for _, n := range []int{30, 300} {
		all = append(all, work{name: fmt.Sprint("backends-", n), title: fmt.Sprint(n, " backends"), backends: n, few: true, charts: "backends"})
	}
	for _, n := range []int{100, 1000} {
		all = append(all, work{name: fmt.Sprint("routes-", n), title: thousands(n) + " routes", routes: n, few: true, charts: "routes"})
	}
	return all
}

// complete fills in what is the same for most.
func (w *work) complete() {
	w.connections = orElse(w.connections, 64)
	w.size = orElse(w.size, 100)
	w.message = orElse(w.message, 100)
	w.backends = orElse(w.backends, 3)
	w.routes = orElse(w.routes, 1)
	if w.policy == "" {
		w.policy = roundRobin
	}
	w.webSocket = w.webSocket || w.kind == messages
}

// stripped is the work without its feature: what `plain` is measured with.
func (w work) stripped() work {
	w.sticky, w.policy, w.backends, w.routes = false, roundRobin, 3, 1
	return w
}

// roundsOf is how many rounds are made of a work when n are wanted.
func (w work) roundsOf(n int) int {
	if w.few || w.kind == idle {
		return min(n, 3)
	}
	return n
}

// path is what is asked for: the middle one of the routes.
func (w work) path() string {
	if w.routes > 1 {
		return fmt.Sprintf("/r%d/", w.routes/2)
	}
	return "/"
}

// keep is how many idle connections to backends the proxies may keep.
func (w work) keep() int { return max(256, w.connections, 2*w.backends) }

// estimate is how long the work takes, without repetitions.
func (w work) estimate(o options) time.Duration {
	n := len(o.peersOf(w))
	rounds := time.Duration(w.roundsOf(o.rounds) * n)
	load := time.Duration(o.seconds) * time.Second
	settle := 800 * time.Millisecond
	switch w.kind {
	case latency:
		return rounds*2*load + 2*load*time.Duration(n+1) + 2*time.Second
	case idle:
		return rounds * (settleTime + 2*settle)
	case startUp:
		return rounds * settle
	default:
		return rounds*(load+100*time.Millisecond) + time.Duration(n)*(warmUp+settle) + time.Second
	}
}

func orElse(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// thousands writes a number with commas.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// chosen is the works whose names match one of the patterns, comma-separated;
// a pattern is a name or the beginning of one with *.
func chosen(patterns string, quick bool) ([]work, error) {
	var some []work
	used := map[string]bool{}
	for _, w := range works() {
		take := patterns == "" && (w.quick || !quick)
		for p := range strings.SplitSeq(patterns, ",") {
			prefix, star := strings.CutSuffix(p, "*")
			if p == w.name || star && strings.HasPrefix(w.name, prefix) {
				take, used[p] = true, true
			}
		}
		if take {
			some = append(some, w)
		}
	}
	for p := range strings.SplitSeq(patterns, ",") {
		if p != "" && !used[p] {
			return nil, fmt.Errorf("-only %s: no such work; -list names them", p)
		}
	}
	return some, nil
}
