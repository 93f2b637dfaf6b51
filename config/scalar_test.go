package config

import (
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

func TestParseDuration(t *testing.T) {
	good := map[string]time.Duration{
		"2s": 2 * time.Second, "500ms": 500 * time.Millisecond, "1m30s": 90 * time.Second, "1h": time.Hour,
		"1d": 24 * time.Hour, "1d12h": 36 * time.Hour, "1.5h": 90 * time.Minute, "0": 0, "0s": 0, "250us": 250 * time.Microsecond,
	}
	for text, want := range good {
		if got, bad := parseDuration(text); bad != nil || got != want {
			t.Errorf("parseDuration(%q) = %v, %v, want %v", text, got, bad, want)
		}
	}
	bad := map[string]string{ // text to suggestion
		"": "", "5": "5s", "1.5": "1.5s", "s": "", "2 s": "2s", "10 seconds": "10s", "1minute": "1m", "3hours": "3h", "2days": "2d",
		"100 milliseconds": "100ms", "-1s": "", "1s 2s": "", "1x": "", "inf": "", "0x10": "", "1e3": "1e3s", "999999999999d": "", "2 months": "", "1_0s": "",
	}
	for text, want := range bad {
		got, wrong := parseDuration(text)
		if wrong == nil {
			t.Errorf("parseDuration(%q) = %v, want an error", text, got)
		} else if wrong.suggest != want {
			t.Errorf("parseDuration(%q) suggests %q, want %q", text, wrong.suggest, want)
		}
	}
}

// What a message shows must be accepted when it is written down.
func TestShownValuesCanBeRead(t *testing.T) {
	for _, d := range []time.Duration{time.Microsecond, time.Millisecond, 75 * time.Second, time.Hour, 90 * time.Minute, day, 30 * day, 400 * day} {
		if got, bad := parseDuration(showDuration(d)); bad != nil || got != d {
			t.Errorf("%v is shown as %q, which reads as %v, %v", d, showDuration(d), got, bad)
		}
	}
	for _, n := range []int64{0, 1, 1000, 1024, 1500, 65536, 10_000_000, 1 << 40} {
		if got, bad := parseSize(showSize(n)); bad != nil || got != n {
			t.Errorf("%d is shown as %q, which reads as %v, %v", n, showSize(n), got, bad)
		}
	}
}

func TestParseSize(t *testing.T) {
	good := map[string]int64{
		"0": 0, "4096": 4096, "100B": 100, "64KiB": 65536, "64 KiB": 65536, "10MB": 10_000_000, "10kB": 10_000, "10KB": 10_000,
		"1.5MiB": 3 << 19, "2GiB": 2 << 30, "1TiB": 1 << 40,
	}
	for text, want := range good {
		if got, bad := parseSize(text); bad != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v, want %d", text, got, bad, want)
		}
	}
	bad := map[string]string{
		"": "", "k": "", "64k": "64KiB", "64K": "64KiB", "10m": "10MiB", "10mb": "10MB", "1gib": "1GiB", "-1": "", "1.5": "", "10 apples": "", "1e3": "", "99999999999999999999": "",
	}
	for text, want := range bad {
		got, wrong := parseSize(text)
		if wrong == nil {
			t.Errorf("parseSize(%q) = %d, want an error", text, got)
		} else if wrong.suggest != want {
			t.Errorf("parseSize(%q) suggests %q, want %q", text, wrong.suggest, want)
		}
	}
}

func TestParseAddress(t *testing.T) {
	cases := []struct {
		text, listen, dial string // what each makes of text; ? is a refusal, ?x one that suggests x
	}{
		{"127.0.0.1:3001", "127.0.0.1:3001", "127.0.0.1:3001"},
		{"App.Example.com:080", "app.example.com:80", "app.example.com:80"},
		{"[2001:DB8:0::1]:80", "[2001:db8::1]:80", "[2001:db8::1]:80"},
		{"[fe80::1%eth0]:80", "[fe80::1%eth0]:80", "[fe80::1%eth0]:80"},
		{"unix:/run/a.sock", "unix:/run/a.sock", "unix:/run/a.sock"},
		{"my_app:80", "my_app:80", "my_app:80"},
		{":8080", ":8080", "?127.0.0.1:8080"},
		{"0.0.0.0:8080", "0.0.0.0:8080", "?127.0.0.1:8080"},
		{"*:8080", "?:8080", "?"},
		{"8080", "?:8080", "?127.0.0.1:8080"},
		{"http://a:1/x", "?a:1", "?a:1"},
		{"https://a", "?a:443", "?a:443"},
		{"tcp://10.0.0.1:99", "?10.0.0.1:99", "?10.0.0.1:99"},
		{"/run/a.sock", "?unix:/run/a.sock", "?unix:/run/a.sock"},
		{"unix:///run/a.sock", "?unix:/run/a.sock", "?unix:/run/a.sock"},
		{"unix:a.sock", "?", "?"},
		{"::1", "?[::1]:80", "?[::1]:80"},
		{"1.2.3:80", "?", "?"},
		{"1.2.3.4.5:80", "?", "?"},
		{"-a:80", "?", "?"},
		{"a:99999", "?", "?"},
		{"a:-1", "?", "?"},
		{"a:+1", "?", "?"},
		{"a:", "?", "?"},
		{":", "?", "?"},
		{"", "?", "?"},
		{strings.Repeat("a", 300) + ":80", "?", "?"},
	}
	show := func(got string, bad *wrong) string {
		if bad != nil {
			return "?" + bad.suggest
		}
		return got
	}
	for _, c := range cases {
		if got := show(parseAddress(c.text, true)); got != c.listen {
			t.Errorf("listening on %q: %q, want %q", c.text, got, c.listen)
		}
		if got := show(parseAddress(c.text, false)); got != c.dial {
			t.Errorf("dialling %q: %q, want %q", c.text, got, c.dial)
		}
	}
}

func TestOverlap(t *testing.T) {
	cases := []struct {
		a, b string
		want bool
	}{
		{":80", "0.0.0.0:80", true}, {":80", "[::]:80", true}, {"0.0.0.0:80", "[::]:80", true}, {":80", "10.0.0.1:80", true},
		{":80", "[::1]:80", true}, {":80", "a.example:80", true}, {"0.0.0.0:80", "127.0.0.1:80", true},
		{"0.0.0.0:80", "localhost:80", true}, {"localhost:80", "127.0.0.1:80", true}, {"localhost:80", "[::1]:80", true},
		{"a.example:80", "a.example:80", true}, {"unix:/a", "unix:/a", true},
		{":80", ":81", false}, {"0.0.0.0:80", "[::1]:80", false}, {"127.0.0.1:80", "10.0.0.1:80", false},
		{"a.example:80", "b.example:80", false}, {"unix:/a", "unix:/b", false}, {"unix:/a", ":80", false}, {"localhost:80", "10.0.0.1:80", false},
	}
	for _, c := range cases {
		if overlap(c.a, c.b) != c.want || overlap(c.b, c.a) != c.want {
			t.Errorf("overlap(%s, %s) = %t and %t, want %t both ways", c.a, c.b, overlap(c.a, c.b), overlap(c.b, c.a), c.want)
		}
	}
}

func TestExpand(t *testing.T) {
	good := map[string]string{
		"plain": "plain", "$WORD": "$WORD", "${WORD}": "word", "a${WORD}b${PORT}c": "awordb3001c", "$${WORD}": "${WORD}",
		"$$${WORD}": "$${WORD}", "${1}": "${1}", "^(.)${1}$": "^(.)${1}$", "${NONE:-x}": "x", "${NONE:-}": "", "${EMPTY:-x}": "x",
		"${EMPTY}": "", "${WORD:-x}": "word", "${NONE:-a:-b}": "a:-b", "$": "$", "{WORD}": "{WORD}",
	}
	for text, want := range good {
		if got, _, problem := expand(text, testEnv); problem != "" || got != want {
			t.Errorf("expand(%q) = %q, %q, want %q", text, got, problem, want)
		}
	}
	for _, text := range []string{"${NONE}", "${", "${}", "${WORD", "${A B}", "${NONE:-${WORD}}", "x${NONE}y", "${WORD-x}", "${-x}"} {
		if got, _, problem := expand(text, testEnv); problem == "" {
			t.Errorf("expand(%q) = %q, want a problem", text, got)
		}
	}
	loop := func(string) (string, bool) { return "${X}", true }
	if got, _, _ := expand("${X}", loop); got != "${X}" {
		t.Errorf("what a variable holds was expanded again: %q", got)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"round_robin", "least_connections", "weight", "backends", "on", "pool"}
	cases := map[string]string{
		"round-robin": "round_robin", "RoundRobin": "round_robin", "wieght": "weight", "leastconn": "least_connections",
		"backend": "backends", "Weight": "weight", "pol": "pool", "rr": "round_robin", "servers": "backends",
		"zzz": "", "": "", "completely_different": "", strings.Repeat("weight", 20): "",
	}
	for got, want := range cases {
		if near := nearest(got, words); near != want {
			t.Errorf("nearest(%q) = %q, want %q", got, near, want)
		}
	}
	if d := editDistance("weight", "wieght"); d != 1 {
		t.Errorf("a swap of neighbours costs %d, want 1", d)
	}
	if d := editDistance("abc", "axcd"); d != 2 {
		t.Errorf("editDistance(abc, axcd) = %d, want 2", d)
	}
}

func TestCheckHostHeader(t *testing.T) {
	for _, s := range []string{"preserve", "backend", "a.example", "a.example:8080", "[::1]:80", "[::1]", "10.0.0.1"} {
		if bad := checkHostHeader(s); bad != nil {
			t.Errorf("%q: %s", s, bad.msg)
		}
	}
	for _, s := range []string{"", "http://a", "a/b", "a:b", "a:1\r\nX: y", "a b", "[a]", "[::1", "a:99999", "a\n"} {
		if checkHostHeader(s) == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

// TestAdminAddress: what only this machine can reach is known as such, and
// mistakes are answered with an address that is safe.
func TestAdminAddress(t *testing.T) {
	good := map[string]bool{ // whether only this machine can reach it
		"127.0.0.1:9400": true, "127.8.9.10:9400": true, "[::1]:9400": true, "LocalHost:9400": true, "unix:/run/admin.sock": true,
		":9400": false, "0.0.0.0:9400": false, "[::]:9400": false, "10.0.0.1:9400": false, "[2001:db8::1]:9400": false,
		"edge.example:9400": false, "localhost.example:9400": false, "128.0.0.1:9400": false,
	}
	bad := map[string]string{ // address to suggestion
		"9400": "127.0.0.1:9400", "*:9400": "", "/run/admin.sock": "unix:/run/admin.sock", "": "",
	}
	read := func(text string) (a Admin, _ Errors) {
		w := &walker{env: testEnv, left: maxAliased}
		adminAddress().read(w, value{node: &yaml.Node{Kind: yamlScalar, Value: text, Tag: "!!str"}}, &a.Address)
		return a, w.errs
	}
	for text, local := range good {
		if a, errs := read(text); a.Address != strings.ToLower(text) || len(errs) > 0 || a.Local() != local {
			t.Errorf("%q: %q, %v, local %v, want %v", text, a.Address, errs, a.Local(), local)
		}
	}
	for text, want := range bad {
		if a, errs := read(text); a.Address != "" || len(errs) != 1 || errs[0].Suggest != want {
			t.Errorf("%q: %q, %v, want an error that suggests %q", text, a.Address, errs, want)
		}
	}
}

func TestParseStatuses(t *testing.T) {
	good := map[string]string{"200": "200", "200-299": "200-299", "100 - 599": "100-599", "404-404": "404"}
	for text, want := range good {
		if got, bad := parseStatuses(text); bad != nil || showStatuses(got) != want {
			t.Errorf("parseStatuses(%q) = %v, %v, want %s", text, got, bad, want)
		}
	}
	bad := map[string]string{ // text to suggestion
		"": "", "-": "", "2xx": "200-299", "5XX": "500-599", "4**": "400-499", "6xx": "", "299-200": "200-299", "99": "", "600": "", "200-": "", "-299": "",
		"200-299-300": "", "+200": "", "2e2": "", "99999999999": "",
	}
	for text, want := range bad {
		if got, wrong := parseStatuses(text); wrong == nil || wrong.suggest != want {
			t.Errorf("parseStatuses(%q) = %v, %v, want an error that suggests %q", text, got, wrong, want)
		}
	}
}
