// Command bench measures what a proxied request costs Steelyard, nginx, HAProxy
// and caddy, side by side on this machine.
//
// The proxy is pinned to one core, load and backends to others. The candidates
// of a work run at the same time and are loaded in turn, in short rounds, so
// that a change of the machine's mood meets all of them. What counts is the CPU
// time of the proxy's processes per request, and its ratio to nginx in the same
// round, because absolute times differ from machine to machine and from hour to
// hour. docs/performance.md explains the figures and holds the last ones.
//
//	go run ./bench                       # everything; makes docs/performance.*
//	go run ./bench -only get-100 -write=false
//	go run ./bench -list
//
// It needs nginx, haproxy, caddy and wrk, runs on Linux, sends to 127.0.0.1
// only, and stops by itself. Two parts of it run as processes of their own, so
// that they can be pinned: `bench load` and `bench serve`.
package main
