package load

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"steelyard/test/harness"
)

// App is a Node.js server that answers what Ask asks, and can be ended and
// started again at its address.
type App struct {
	*harness.Node
	Name string
	ids  string // the file of the ids of the POSTs it got
	env  []string
}

// Apps starts one per name. env are settings of all of them; see app.mjs.
func Apps(t testing.TB, names []string, env ...string) []*App {
	t.Helper()
	dir := t.TempDir()
	var apps []*App
	for _, name := range names {
		a := &App{Name: name, ids: filepath.Join(dir, name), env: env}
		a.start(t, "PORT=0")
		apps = append(apps, a)
	}
	return apps
}

func (a *App) start(t testing.TB, port string) {
	t.Helper()
	env := append([]string{"NAME=" + a.Name, "IDS=" + a.ids, port}, a.env...)
	a.Node = harness.StartNode(t, "test/load/testdata/app.mjs", env...)
}

// Again starts an app that has been killed.
func (a *App) Again(t testing.TB) {
	t.Helper()
	_, port, _ := strings.Cut(a.Address, ":")
	a.start(t, "PORT="+port)
}

// Set changes its mood, past any balancer: what it does with requests (behave:
// well, midbody, garbage), how long it thinks (delay, in ms), what its check
// answers (health, a status).
func (a *App) Set(t testing.TB, key, value string) {
	t.Helper()
	var zero int
	a.Ask(t, "/_set?"+url.Values{key: {value}}.Encode(), &zero)
}

// Posts is how often each POST has reached one of the apps.
func Posts(t testing.TB, apps []*App) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for _, a := range apps {
		file, err := os.ReadFile(a.ids)
		if err != nil {
			t.Fatal(err)
		}
		for id := range strings.Lines(string(file)) {
			counts[strings.TrimSpace(id)]++
		}
	}
	return counts
}

// Addresses is a YAML list of the addresses of apps.
func Addresses(apps []*App) string {
	var all []string
	for _, a := range apps {
		all = append(all, a.Address)
	}
	return "[" + strings.Join(all, ", ") + "]"
}
