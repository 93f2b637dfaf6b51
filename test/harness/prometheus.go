package harness

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Prometheus is a running Prometheus.
type Prometheus struct {
	*Process
	URL string
}

// StartPrometheus runs Prometheus with a configuration file and waits until it
// answers. Its data goes when the test ends.
func StartPrometheus(t testing.TB, file string, flags ...string) *Prometheus {
	t.Helper()
	address := FreeAddress(t)
	args := append([]string{
		"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(t.TempDir(), "data"), "--web.listen-address=" + address,
	}, flags...)
	p := &Prometheus{Process: start(t, "prometheus", exec.Command("prometheus", args...)), URL: "http://" + address}
	Eventually(t, 20*time.Second, "Prometheus is ready", func() bool {
		if p.Ended() {
			t.Fatalf("prometheus ended instead of listening; on Debian: apt-get install prometheus")
		}
		res, err := http.Get(p.URL + "/-/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return p
}

// Query evaluates an expression now, and returns the value of each series; the
// text says what is wrong with the expression, if anything is.
func (p *Prometheus) Query(t testing.TB, expr string) (values []float64, problem string) {
	t.Helper()
	res, err := http.Get(p.URL + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Status string
		Error  string
		Data   struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	if answer.Status != "success" {
		return nil, answer.Error
	}
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string) // as the API has it
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatalf("%s: value %v", expr, r.Value)
		}
		values = append(values, v)
	}
	return values, ""
}

// Promtool runs promtool with input on its standard input and fails the test if
// it finds anything.
func Promtool(t testing.TB, input string, args ...string) {
	t.Helper()
	in, err := os.CreateTemp(t.TempDir(), "promtool")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := in.WriteString(input); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("promtool", args...)
	cmd.Stdin = in
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}

// Rule is an alert.
type Rule struct{ Name, Expr string }

// Rules lists the alerts that Prometheus has read.
func (p *Prometheus) Rules(t testing.TB) (rules []Rule) {
	t.Helper()
	res, err := http.Get(p.URL + "/api/v1/rules")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Query string }
			}
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			rules = append(rules, Rule{r.Name, r.Query})
		}
	}
	return rules
}
