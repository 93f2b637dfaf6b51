//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the parts of a bench be this test binary.
func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		if err := part(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// buildSteelyard does so, or skips where a candidate is missing.
func buildSteelyard(t *testing.T) string {
	t.Helper()
	if err := need(options{candidates: strings.Join(all, ",")}); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), "steelyard")
	if out, err := exec.Command("go", "build", "-o", file, "../cmd/steelyard").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

// A whole run, as short as it can be: every kind of work, every candidate, what
// it prints and what it writes.
func TestShortRun(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	docs, steelyardBinary := t.TempDir(), buildSteelyard(t)
	page := "# Performance\n\n" + beginMark + "old\n" + endMark + "after\n"
	if err := os.WriteFile(filepath.Join(docs, "performance.md"), []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct{ candidates, only string }{
		{strings.Join(all, ","), "get-100"},
		{"steelyard", "connections-1000,sticky,policy-maglev,routes-100,backends-30,tls,websocket,access-log,post-1k,latency,reload,idle-*,start-up"},
	} {
		var out bytes.Buffer
		o := options{rounds: 1, seconds: 1, only: part.only, candidates: part.candidates, binary: steelyardBinary, write: true, docs: docs,
			oneCore: true, cold: true}
		if err := run(t.Context(), o, &out); err != nil {
			t.Fatalf("%v\n%s", err, out.Bytes())
		}
		t.Logf("%s", out.Bytes())
	}
	b, err := os.ReadFile(filepath.Join(docs, "performance.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r results
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Works) != 15 {
		t.Errorf("%d works in the file, want 15", len(r.Works))
	}
	for _, w := range r.Works {
		f, ok := w.get(steelyard, metrics[w.Kind][0].key)
		if !ok || f.Median <= 0 {
			t.Errorf("%s: no figure of Steelyard", w.Work)
		}
		if w.Work == "get-100" && len(w.Peers) != len(all) {
			t.Errorf("get-100 has %d candidates, want %d", len(w.Peers), len(all))
		}
	}
	b, err = os.ReadFile(filepath.Join(docs, "performance.md"))
	if text := string(b); err != nil || !strings.HasPrefix(text, "# Performance\n") || !strings.HasSuffix(text, "after\n") ||
		!strings.Contains(text, "GET 100 B, 64 connections") || strings.Contains(text, "old") {
		t.Errorf("%v, the page is now\n%s", err, text)
	}
	for _, g := range growths {
		checkChart(t, filepath.Join(docs, "img", "bench-"+g.name+".svg"))
		if !bytes.Contains(b, []byte("(img/bench-"+g.name+".svg)")) {
			t.Errorf("the page does not show the chart of %s", g.name)
		}
	}
}

func checkChart(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
		return
	}
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Errorf("%s: %v", file, err)
			return
		}
	}
	if bytes.Count(b, []byte("<circle")) < 2 || bytes.Contains(b, []byte("NaN")) || bytes.Contains(b, []byte("Inf")) {
		t.Errorf("%s has too few points, or none:\n%s", file, b)
	}
}

func TestOptionsNameWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		o    options
		want string
	}{
		"an unknown work":      {options{only: "get-100,nothing"}, "nothing: no such work"},
		"an unknown candidate": {options{only: "get-100", candidates: "apache"}, `"apache" is none of`},
		"too many rounds":      {options{rounds: 1000}, "-rounds"},
		"too long a round":     {options{seconds: 3600}, "-seconds"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(t.Context(), c.o, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
		})
	}
}

func TestWholeRunStaysShort(t *testing.T) {
	o := options{rounds: 5, seconds: 2, candidates: strings.Join(all, ",")}
	quick := options{rounds: 3, seconds: 1, candidates: o.candidates, quick: true}
	for name, c := range map[string]struct {
		o     options
		limit float64
	}{"make bench": {o, 40}, "make bench-quick": {quick, 4}} {
		t.Run(name, func(t *testing.T) {
			some, err := chosen("", c.o.quick)
			if err != nil {
				t.Fatal(err)
			}
			minutes, names := 0.0, map[string]bool{}
			for _, w := range some {
				minutes += w.estimate(c.o).Minutes()
				if names[w.name] {
					t.Errorf("two works are called %s", w.name)
				}
				names[w.name] = true
			}
			t.Logf("%d works, %.1f minutes", len(some), minutes)
			if minutes > c.limit {
				t.Errorf("%.1f minutes, want at most %.0f", minutes, c.limit)
			}
		})
	}
}

func TestParseWrk(t *testing.T) {
	const good = "  61234 requests in 2.01s, 12.34MB read\nRequests/sec:  30464.68\n"
	for name, c := range map[string]struct {
		out  string
		rate float64
		err  string
	}{
		"good":        {good, 61234 / 2.01, ""},
		"few errors":  {good + "  Socket errors: connect 0, read 2, write 0, timeout 1\n", 61234 / 2.01, ""},
		"many errors": {good + "  Socket errors: connect 0, read 2000, write 0, timeout 0\n", 0, "errors"},
		"no 2xx":      {good + "  Non-2xx or 3xx responses: 61234\n", 0, "errors"},
		"a minute":    {"  600 requests in 1.00m, 1MB read\n", 10, ""},
		"nothing":     {"unable to connect", 0, "no total"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseWrk([]byte(c.out))
			if c.err == "" && (err != nil || got["rate"] < c.rate*.999 || got["rate"] > c.rate*1.001) ||
				c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// The ratio is the median of each round's own ratio, not that of the medians:
// a machine that changes its mood between rounds changes neither.
func TestFiguresOfRounds(t *testing.T) {
	w := work{name: "get-100", title: "t", aim: .9}
	rounds := func(cpu ...float64) (all []sample) {
		for _, c := range cpu {
			all = append(all, sample{"cpu": c, "rate": 1000 / c})
		}
		return all
	}
	o := newOutcome(w, []string{nginx, haproxy, steelyard}, measured{nginx: rounds(10, 20, 12), haproxy: rounds(8, 16, 9.6), steelyard: rounds(9, 18, 10.8)})
	f, _ := o.get(steelyard, "cpu")
	if f.Ratio != .9 || f.Median != 10.8 || f.Min != 9 || f.Max != 18 {
		t.Errorf("%+v", f)
	}
	if got := o.toBetter("cpu", false); got < 1.124 || got > 1.126 { // HAProxy's is 0.8.
		t.Errorf("to the better: %g, want 1.125", got)
	}
	if got := o.toBetter("rate", true); got < .88 || got > .9 {
		t.Errorf("rate to the better: %g, want 0.889", got)
	}
	if o.Spread != 2 || !o.busy() {
		t.Errorf("spread %g", o.Spread)
	}
}

func TestPutKeepsOneOfEachInOrder(t *testing.T) {
	var r results
	for _, name := range []string{"sticky", "get-100", "no longer a work", "sticky"} {
		r.put(outcome{Work: name})
	}
	var names []string
	for _, o := range r.Works {
		names = append(names, o.Work)
	}
	if got := strings.Join(names, " "); got != "get-100 sticky" {
		t.Error(got)
	}
}

func TestLoadCommandChecksItself(t *testing.T) {
	for name, args := range map[string][]string{"posts": {"-post", "100"}, "messages": {"-websocket"}, "at most": {"-post", "1", "-rate", "0"}} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := loadCommand(t.Context(), append(args, "-seconds", "0.2"), &out)
			if err != nil || !strings.Contains(out.String(), " 0 failed, ") || strings.HasPrefix(out.String(), "0 done") {
				t.Errorf("%v\n%s", err, out.Bytes())
			}
		})
	}
}

// The CPU time of a process, with what its children took, is what it has used.
func TestCPUOfATree(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	// A child that is waited for, then one that lives on; both count to a
	// number, so the time is theirs however busy the machine is.
	p, err := start(nil, out, t.TempDir(), "sh", "-c", `sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'; echo one; i=0
while [ $i -lt 200000 ]; do i=$((i+1)); done; echo two; exec sleep 60`)
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	after := func(line string) usage {
		for t.Context().Err() == nil {
			if b, _ := os.ReadFile(out.Name()); strings.Contains(string(b), line) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		u, err := p.cpu()
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	one := after("one")
	two := after("two").minus(one)
	if one.all < 10*time.Millisecond || two.all < one.all/2 || two.inKernel() > two.all {
		t.Errorf("the first took %+v, the second, twice as long, %+v", one, two)
	}
}

// TestNothingToCompareWith: a work that nginx has no part in shows no ratios.
func TestNothingToCompareWith(t *testing.T) {
	w := work{name: "policy", title: "a policy", kind: saturate}
	o := newOutcome(w, []string{steelyard}, measured{steelyard: {{"cpu": 10, "rate": 5}, {"cpu": 12, "rate": 6}}})
	var printed, written strings.Builder
	if err := o.print(&printed); err != nil {
		t.Fatal(err)
	}
	r := &results{Works: []outcome{o}}
	r.table(&written, "CPU", metrics[saturate][0], saturate, saturate)
	for _, text := range []string{printed.String(), written.String()} {
		if !strings.Contains(text, "11.0") || strings.Contains(text, "(0.00)") || strings.Contains(text, "| 0.00 |") || strings.Contains(text, "\n;") {
			t.Errorf("%s", text)
		}
	}
}
