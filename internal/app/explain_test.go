package app

import (
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"steelyard/config"
	"steelyard/internal/admin"
	"steelyard/internal/explain"
)

// explainedFile has what the command line has to say something about.
const explainedFile = `
listeners: {web: {address: "LISTEN"}}
routes:
  - {name: rest, match: {path: /*}, pool: web}
  - match: {host: [a.test, b.test], path: /x, method: [GET, PUT], headers: {X-A: "1"}, query: {q: "*"}}
    split: {to: [{pool: web, weight: 9}, {pool: found, weight: 1}]}
  - {name: found, match: {path: /found}, pool: found}
  - {name: old, match: {path: /old}, redirect: {to: /new}}
  - {name: gone, match: {path: /gone}, respond: {status: 410}}
pools:
  web:
    backends: ["127.0.0.1:1", {address: "127.0.0.1:2", weight: 3}]
    check: {path: /health}
  found:
    source: [{consul: shop}, {dns: "shop.internal:3001"}, {file: /nowhere/list.yaml}]
    sticky: {client_ip: {}}
consul: {address: "http://127.0.0.1:1"}
`

func explained(t *testing.T, address string) *config.Config {
	t.Helper()
	return parse(t, strings.Replace(explainedFile, "LISTEN", address, 1))
}

// A file is explained without anything of it being started or left behind.
func TestExplainFile(t *testing.T) {
	before := runtime.NumGoroutine()
	cfg := explained(t, "127.0.0.1:1")
	a, err := ExplainFile(cfg, explain.Question{Host: "c.test", Path: "/"})
	if err != nil {
		t.Fatal(err)
	}
	if a.Route != "rest" || a.RouteLine != 4 || a.Backend == "" || len(a.Candidates) != 2 || a.Candidates[1].Share != 0.75 ||
		a.Candidates[0].State != "healthy" || len(a.Notes) != 1 || !strings.Contains(a.Notes[0], "count as healthy") {
		t.Errorf("%+v", a)
	}
	if a, err = ExplainFile(cfg, explain.Question{Path: "/found"}); err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(a.Notes, "\n")
	for _, want := range []string{"the Consul service shop", "the DNS name shop.internal", "the file /nowhere/list.yaml", "bound by header or address"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note says %q: %q", want, a.Notes)
		}
	}
	if a.Cause != "" || a.Status != 0 || !strings.HasPrefix(a.Why, "which backend gets it is known to a running Steelyard only") {
		t.Errorf("a pool whose sources have not been asked: %+v", a)
	}
	if _, err = ExplainFile(cfg, explain.Question{ClientIP: "me"}); err == nil {
		t.Error("a question without sense is answered")
	}
	goroutinesEnd(t, before)
}

// Routes are shown in match order, as they stand in the file, and count.
func TestExplainNamesListenersThatRedirect(t *testing.T) {
	cfg := parse(t, `
listeners: {web: {address: "127.0.0.1:1", redirect_to_https: true}, other: "127.0.0.1:2"}
routes:
  - {name: all, respond: {status: 200}}
  - {name: acme, match: {path: /.well-known/acme-challenge/*}, respond: {status: 200}}
`)
	for path, notes := range map[string]int{"/": 1, "/.well-known/acme-challenge/x": 0} {
		a, err := ExplainFile(cfg, explain.Question{Host: "c.test", Path: path})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, note := range a.Notes {
			if strings.Contains(note, "the listener web sends it to https") {
				n++
			}
		}
		if n != notes {
			t.Errorf("%s: %q", path, a.Notes)
		}
	}
}

func TestRoutes(t *testing.T) {
	address := freeAddress(t)
	text := strings.NewReplacer("LISTEN", address, "pool: found", "pool: web", "{pool: found", "{pool: other").Replace(explainedFile)
	text = text[:strings.Index(text, "  found:\n    source")] + "  other: {backends: [\"127.0.0.1:3\"]}\n"
	a, err := Start(parse(t, strings.Replace(text, "    check: {path: /health}\n", "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop()
	for range 3 {
		if status, _ := get(t, "http://"+address+"/gone"); status != 410 {
			t.Fatalf("status %d", status)
		}
	}
	views := a.Routes()
	gone := func(v admin.RouteView) bool { return v.Name == "gone" }
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		// A request is counted a moment after its response.
		if views = a.Routes(); views[slices.IndexFunc(views, gone)].Requests == 3 {
			break
		}
	}
	var names []string
	for _, v := range views {
		names = append(names, v.Name)
	}
	if len(views) != 6 || names[5] != "rest" || views[0].Line != 5 || !slices.Contains(names[2:5], "gone") {
		t.Fatalf("routes in the order %q", names)
	}
	want := map[string]any{"host": "a.test", "path": "/x", "method": []string{"GET", "PUT"}, "headers": map[string]string{"X-A": "1"}, "query": map[string]string{"q": "*"}}
	if v := views[0]; !reflect.DeepEqual(v.Match, want) || v.Action != "split" || !slices.Equal(v.To, []string{"web: 9", "other: 1"}) {
		t.Errorf("%+v", v)
	}
	for _, want := range []admin.RouteView{
		{Name: "rest", Line: 4, Match: map[string]any{"path": "/*"}, Action: "pool", To: []string{"web"}},
		{Name: "old", Line: 8, Match: map[string]any{"path": "/old"}, Action: "redirect", To: []string{"/new"}},
		{Name: "gone", Line: 9, Match: map[string]any{"path": "/gone"}, Action: "respond", Requests: 3},
	} {
		i := slices.Index(names, want.Name)
		if v := views[i]; !reflect.DeepEqual(v, want) {
			t.Errorf("%+v, want %+v", v, want)
		}
	}
	if answer, err := a.Explain(explain.Question{Path: "/gone"}); err != nil || answer.Status != 410 || answer.RouteLine != 9 {
		t.Errorf("%+v, %v", answer, err)
	}
}
