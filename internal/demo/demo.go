// Package demo has the backends of `steelyard demo`: three servers with
// different manners, so that there is something to balance.
package demo

import (
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Address is where the demo's balancer listens.
const Address = "127.0.0.1:8080"

// manner is how one of the backends behaves.
type manner struct {
	name  string
	about string
	delay time.Duration
	every int64 // breaks off every so many-th request; 0: never
}

func manners() []manner {
	return []manner{
		{name: "swift", about: "answers at once"},
		{name: "steady", about: "takes 40 ms", delay: 40 * time.Millisecond},
		{name: "shaky", about: "breaks every fifth request off", every: 5},
	}
}

// Backends are the running backends.
type Backends struct {
	servers   []*http.Server
	addresses []string
}

// Start runs the backends on free ports of the loopback.
func Start() (*Backends, error) {
	b := &Backends{}
	for _, m := range manners() {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Close()
			return nil, fmt.Errorf("demo backend %s: %w", m.name, err)
		}
		s := &http.Server{Handler: m.handler(), ReadHeaderTimeout: 10 * time.Second}
		b.servers = append(b.servers, s)
		b.addresses = append(b.addresses, ln.Addr().String())
		go func() {
			if err := s.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
				panic(err)
			}
		}()
	}
	return b, nil
}

// Close stops the backends.
func (b *Backends) Close() {
	for _, s := range b.servers {
		_ = s.Close()
	}
}

// Configuration is the YAML that the demo's balancer runs by.
func (b *Backends) Configuration() string {
	list := strings.Join(b.addresses, ", ")
	return fmt.Sprintf(`listeners:
  web: {address: "%s"}

routes:
  - {match: {path: /sticky/*}, pool: sticky}
  - {match: {path: /teapot}, respond: {status: 418, body: "short and stout\n"}}
  - {match: {path: /*}, pool: web}

pools:
  web:
    backends: [%s]
  sticky:
    policy: least_connections
    backends: [%s]
    sticky: {cookie: {name: demo}}
`, Address, list, list)
}

// Welcome says what runs and what to try.
func (b *Backends) Welcome() string {
	var s strings.Builder
	s.WriteString("Steelyard balances three backends:\n\n")
	for i, m := range manners() {
		fmt.Fprintf(&s, "  %-7s %-17s %s\n", m.name, b.addresses[i], m.about)
	}
	fmt.Fprintf(&s, `
Try, in another terminal or a browser:

  http://%[1]s/                               a page; reload it and watch who answers
  for i in 1 2 3 4 5 6; do curl -s %[1]s/who; done      the backends take turns; shaky's failures go unnoticed
  curl -s -c jar -b jar %[1]s/sticky/who      a cookie keeps you on one backend
  curl -N %[1]s/events                        a feed, event by event
  curl -i %[1]s/teapot                        a response of the balancer's own
  curl -i -X CONNECT %[1]s                    an error that explains itself

The configuration behind it:

%[2]s
Ctrl-C stops it.
`, Address, indent(b.Configuration()))
	return s.String()
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ") + "\n"
}

// handler serves the demo's pages as m does it.
func (m manner) handler() http.Handler {
	var served atomic.Int64
	mux := http.NewServeMux()
	who := func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s (%s), its request %d\n", m.name, m.about, served.Load())
	}
	mux.HandleFunc("/who", who)
	mux.HandleFunc("/sticky/", who)
	mux.HandleFunc("/events", m.events)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = page.Execute(w, map[string]any{"Name": m.name, "About": m.about, "Count": served.Load(),
			"Client": r.Header.Get("X-Forwarded-For"), "ID": r.Header.Get("X-Request-Id")})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := served.Add(1)
		if m.every > 0 && n%m.every == 0 {
			panic(http.ErrAbortHandler)
		}
		time.Sleep(m.delay)
		mux.ServeHTTP(w, r)
	})
}

// events feeds the time of day, once a second, for a minute.
func (m manner) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for range 60 {
		fmt.Fprintf(w, "data: %s says it is %s\n\n", m.name, time.Now().Format(time.TimeOnly))
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Steelyard: {{.Name}}</title>
<meta name="viewport" content="width=device-width">
<style>
:root { color-scheme: light dark; font: 18px/1.5 system-ui, sans-serif }
body { margin: 15vh auto; max-width: 34rem; padding: 0 1.5rem }
h1 { font-size: 3rem; margin: 0 } dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem }
dt { opacity: .65 } dd { margin: 0; overflow-wrap: anywhere } button { font: inherit; padding: .4rem 1.2rem }
</style></head><body>
<h1>{{.Name}}</h1><p>This backend {{.About}}.</p>
<dl><dt>its request</dt><dd>{{.Count}}</dd><dt>your address</dt><dd>{{.Client}}</dd><dt>request id</dt><dd>{{.ID}}</dd></dl>
<form><button autofocus>Again</button></form>
</body></html>
`))
