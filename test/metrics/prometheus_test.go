package metrics_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
	"steelyard/test/harness"
)

// question is an expression of the examples.
type question struct{ where, expr string }

// panel is what matters of a panel of Grafana.
type panel struct {
	Title   string
	Targets []struct{ Expr string }
	Panels  []panel
}

// dashboard lists the expressions of a Grafana dashboard, with its variables
// filled in.
func dashboard(t *testing.T, file string) (all []question) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels     []panel
		Templating struct {
			List []struct{ Name, Definition string }
		}
		Annotations struct{ List []struct{ Name, Expr string } }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$__rate_interval", "20s", "$instance", ".*", "$pool", ".*")
	add := func(where, expr string) { all = append(all, question{where, fill.Replace(expr)}) }
	var walk func([]panel)
	walk = func(panels []panel) {
		for _, p := range panels {
			for i, target := range p.Targets {
				add(fmt.Sprintf("panel %q, %d", p.Title, i), target.Expr)
			}
			walk(p.Panels)
		}
	}
	walk(d.Panels)
	values := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	for _, v := range d.Templating.List {
		if m := values.FindStringSubmatch(v.Definition); m != nil {
			add("variable "+v.Name, fmt.Sprintf("count by (%s) (%s)", m[2], m[1]))
		}
	}
	for _, a := range d.Annotations.List {
		add("annotation "+a.Name, a.Expr)
	}
	if len(all) < 50 {
		t.Fatalf("found only %d expressions in %s", len(all), file)
	}
	return all
}

// threshold is the end of an alert's expression: that it holds is not what a
// test can ask, only that there is something to compare.
var threshold = regexp.MustCompile(` (==|!=|<=|>=|<|>) [0-9.]+\s*$`)

// alerts lists the expressions of a file of alert rules, as promtool prints them,
// without their thresholds. Windows are cut short to what a test lasts.
func alerts(t *testing.T, p *harness.Prometheus) (all []question) {
	t.Helper()
	for _, rule := range p.Rules(t) {
		expr := threshold.ReplaceAllString(rule.Expr, "")
		if expr == rule.Expr {
			t.Errorf("alert %s has no threshold at its end: %s", rule.Name, rule.Expr)
		}
		all = append(all, question{"alert " + rule.Name, regexp.MustCompile(`\[\d+[mh]\]`).ReplaceAllString(expr, "[20s]")})
	}
	if len(all) < 15 {
		t.Fatalf("found only %d alerts", len(all))
	}
	return all
}

// busySteelyard runs a Steelyard with everything the metrics speak of: checks, a
// source, a queue, retries, errors, and a backend that is down.
func busySteelyard(t *testing.T) *harness.Steelyard {
	t.Helper()
	apps := harness.Apps(t, "a", "b")
	apps[1].Set(t, "code", 502)
	apps[1].Set(t, "share", 0.2)
	members := filepath.Join(t.TempDir(), "members.yaml")
	if err := os.WriteFile(members, []byte("["+apps[0].Address+"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, key := certtest.NewCA(t, "Lab CA").Issue(t, "ecdsa", []string{"app.test"}).Files(t, t.TempDir(), "a")
	return harness.Start(t, fmt.Sprintf(`
listeners:
  web: {address: "LISTEN"}
  secure: {address: %[5]q, tls: {certificates: {cert: %[6]q, key: %[7]q}}}
routes:
  - {name: web, match: {path: /*}, pool: web}
  - {name: narrow, match: {path: /slow}, pool: narrow}
  - {name: listed, match: {path: /listed}, pool: listed}
  - {name: flaky, match: {path: /flaky}, pool: flaky}
  - {name: dead, match: {path: /dead}, pool: dead}
pools:
  web: {backends: [%[1]s, %[2]s, %[3]s], check: {path: /healthz, interval: 500ms}, outlier: off}
  flaky: {backends: [%[1]s, %[3]s], outlier: off}
  narrow: {backends: [{address: %[1]s, max_connections: 1}], queue: {size: 50, timeout: 5s}}
  listed: {source: {file: %[4]q}}
  dead: {backends: [%[3]s], when_all_unhealthy: reject}
admin: ADMIN
`, apps[0].Address, apps[1].Address, harness.FreeAddress(t), members, harness.FreeAddress(t), cert, key))
}

// load keeps s busy until stop is closed.
func load(t *testing.T, s *harness.Steelyard, stop <-chan struct{}) {
	c := harness.Client(t)
	var wg sync.WaitGroup
	for worker := range 4 {
		paths := []string{"/", "/slow?ms=5", "/listed", "/flaky", "/dead"}
		wg.Go(func() {
			for i := worker; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(4 * time.Millisecond): // a steady load, not the most there can be
				}
				// How it ends is not what is asked here.
				_, _, _ = harness.Do(c, "GET", s.URL+paths[i%len(paths)], "")
			}
		})
	}
	wg.Wait()
}

// examples writes the Prometheus configuration of the examples anew, for a
// Steelyard that a test runs and with a short interval.
func examples(t *testing.T, s *harness.Steelyard) string {
	t.Helper()
	from := filepath.Join(harness.Root(t), "examples", "prometheus")
	dir := t.TempDir()
	for _, name := range []string{"prometheus.yml", "alerts.yml"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.NewReplacer("127.0.0.1:9400", s.Admin, "interval: 15s", "interval: 1s").Replace(string(text))
		if name == "prometheus.yml" && changed == string(text) {
			t.Fatalf("%s does not scrape 127.0.0.1:9400", name)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "prometheus.yml")
}

// unanswered lists the questions that have no figure for an answer.
func unanswered(t *testing.T, p *harness.Prometheus, all []question) (missing []string) {
	t.Helper()
	for _, q := range all {
		values, problem := p.Query(t, q.expr)
		if problem != "" {
			t.Fatalf("%s: %s\n%s", q.where, problem, q.expr)
		}
		if !slices.ContainsFunc(values, func(v float64) bool { return !math.IsNaN(v) }) {
			missing = append(missing, fmt.Sprintf("%s: %v\n%s", q.where, values, q.expr))
		}
	}
	return missing
}

// TestExamplesHaveData: every expression of the dashboard and of the alerts has
// an answer on a real Prometheus, with classic buckets; and one that takes native
// histograms finds the same latency in them.
func TestExamplesHaveData(t *testing.T) {
	s := busySteelyard(t)
	file := examples(t, s)
	harness.Promtool(t, "", "check", "config", file)
	harness.Promtool(t, "", "check", "rules", filepath.Join(filepath.Dir(file), "alerts.yml"))
	classic := harness.StartPrometheus(t, file)
	native := harness.StartPrometheus(t, file, "--enable-feature=native-histograms")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		load(t, s, stop)
	}()
	defer func() {
		close(stop)
		<-done
	}()
	all := append(dashboard(t, filepath.Join(harness.Root(t), "examples", "grafana", "steelyard.json")), alerts(t, classic)...)
	reloadAfterScrape(t, s, classic)
	var missing []string
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(250 * time.Millisecond) {
		if missing = unanswered(t, classic, all); len(missing) == 0 || time.Now().After(deadline) {
			break
		}
	}
	for _, m := range missing {
		t.Errorf("no data: %s", m)
	}
	if t.Failed() {
		_, text := read(t, s)
		harness.Promtool(t, text, "check", "metrics")
	}
	p90 := `histogram_quantile(0.9, sum(rate(steelyard_pool_latency_seconds{pool="narrow"}[20s])))`
	harness.Eventually(t, 10*time.Second, "native histograms have a latency near that of the classic ones", func() bool {
		a, _ := native.Query(t, p90)
		b, _ := classic.Query(t, strings.Replace(strings.Replace(p90, "seconds{", "seconds_bucket{", 1), "sum(", "sum by (le) (", 1))
		return len(a) == 1 && len(b) == 1 && a[0] > 0.004 && a[0] > b[0]/2.5 && a[0] < b[0]*2.5
	})
}

// reloadAfterScrape reloads the configuration once Prometheus has seen the one of
// the start.
func reloadAfterScrape(t *testing.T, s *harness.Steelyard, p *harness.Prometheus) {
	t.Helper()
	seen := func(generation float64) func() bool {
		return func() bool {
			values, _ := p.Query(t, "steelyard_config_generation")
			return len(values) == 1 && values[0] == generation
		}
	}
	harness.Eventually(t, 20*time.Second, "Prometheus has scraped", seen(1))
	status, text, err := harness.Do(harness.Client(t), "POST", "http://"+s.Admin+"/api/v1/reload", "", "Content-Type: application/json")
	if err != nil || status != 200 {
		t.Fatalf("reload: %d %s %v", status, text, err)
	}
	harness.Eventually(t, 20*time.Second, "Prometheus has seen the reload", seen(2))
}
