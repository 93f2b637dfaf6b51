package config

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestErrorsOfTheIssue maps each error that was asked for to a file that shows
// it and a piece of the message.
func TestErrorsOfTheIssue(t *testing.T) {
	cases := []struct{ promise, file, message string }{
		{"every error in one run", "many_at_once", "24:48: pools.api.retry.body_limit"},
		{"what is allowed", "type_number", "; allowed: 0 to 65535"},
		{"nearest key", "unknown_key_top", `did you mean "listeners"?`},
		{"unknown keys", "unknown_key_nested", `unknown key "wieght"`},
		{"keys of later versions", "unknown_key_of_later_versions", `does not have "cache"`},
		{"duplicate keys, with the line of the first", "duplicate_key", `"max_connections" stands already in line 6`},
		{"wrong types", "type_wrong_kind", "is a list, not a mapping"},
		{"bad durations", "duration", `did you mean "75s"?`},
		{"bad sizes", "size", `did you mean "32KiB"?`},
		{"bad percentages", "percentage", `did you mean "20%"?`},
		{"bad booleans", "type_boolean", `did you mean "true"?`},
		{"bad addresses", "address_of_backend", `is a URL, not an address`},
		{"bad listener addresses", "address_of_listener", `did you mean ":8080"?`},
		{"bad networks", "trusted_proxies", `did you mean "10.0.0.0/8"?`},
		{"pools that do not exist", "pool_that_does_not_exist", `there is no pool "wbe"; allowed: web, canary; did you mean "web"?`},
		{"a split with an unknown pool", "pool_that_does_not_exist", `split[1].pool: there is no pool "canry"`},
		{"a route that can never match, with the other's line", "route_that_never_matches", `can never match: route "everything" in line 4`},
		{"two listeners on one address", "listeners_on_one_address", "0.0.0.0:80 and :80 of listener a (line 2)"},
		{"weights below 0", "weight_below_zero", "-1 is too small"},
		{"weights too high", "weight_below_zero", "65536 is too large"},
		{"weights all zero", "weight_all_zero", "pools.a.backends: every weight is 0"},
		{"weights all zero in a split", "weight_all_zero", "split.to: every weight is 0"},
		{"sticky against the policy", "sticky_contradicts_policy", "contradicts policy consistent_hash"},
		{"all backends backup", "backends_all_backup", "every backend is a backup"},
		{"a pool without backends", "pool_without_backends", "a pool needs a backend"},
		{"duplicate backends", "backend_twice", "127.0.0.1:3001 stands already in line 6"},
		{"a queue that would never be used", "queue", "would never be used"},
		{"no listeners", "file_without_listeners_and_routes", "there is no listener"},
		{"no routes", "file_without_listeners_and_routes", "there is no route"},
		{"more than one action", "route_with_two_actions", "cannot stand beside pool"},
		{"no action", "route_without_action", "exactly one of pool, split, redirect, respond"},
		{"redirect status", "redirect", "allowed: 301, 302, 303, 307, 308"},
		{"environment unset", "environment_unset", "NO_SUCH_HOST is not set"},
		{"syntax", "syntax_unclosed_bracket", ":5:5: this is not YAML"},
		{"several documents", "file_two_documents", "one document in a file"},
		{"an empty file shows an example", "file_empty", minimalExample},
		{"merge of a wrong type", "merge_of_text", "<< merges"},
		{"a check that is two probes", "check_together", "cannot stand beside tcp"},
		{"a command that is no list", "check_probes", "no shell to take it apart; write a list"},
		{"ranges of statuses", "check_values", `did you mean "200-299"?`},
		{"words of other balancers", "unknown_key_words_of_checks", `unknown key "unhealthy_threshold"; allowed: path, method`},
		{"neither backends nor a source", "pool_without_backends", "is missing, and there is no source either"},
		{"two sources in one", "source", "cannot stand beside consul"},
		{"an address record without a port", "source_dns", "an address record has no port"},
		{"an admin API open to others", "admin_open_to_others", "nothing says who may use it; add token_file, token or tls.client_ca, or listen on 127.0.0.1 or a unix socket"},
		{"an admin API on a listener", "admin_on_a_listener", "of listener web (line 1) cannot both be listened on"},
	}
	for _, c := range cases {
		t.Run(c.promise, func(t *testing.T) {
			_, err := parseFile(t, filepath.Join("testdata", "bad", c.file+".yaml"))
			if err == nil || !strings.Contains(err.Error(), c.message) {
				t.Errorf("no %q in\n%v", c.message, err)
			}
		})
	}
}

func TestMinimalExampleOfTheMessageWorks(t *testing.T) {
	if c, err := Parse("minimal", []byte(minimalExample), testEnv); err != nil || len(c.Warnings) > 0 {
		t.Errorf("%v, %v", err, c)
	}
}

func TestLoad(t *testing.T) {
	t.Setenv("STEELYARD_TEST_PORT", "3777")
	path := filepath.Join(t.TempDir(), "steelyard.yaml")
	text := `{listeners: {web: ":8080"}, routes: [{pool: web}], pools: {web: {backends: "127.0.0.1:${STEELYARD_TEST_PORT}"}}}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Pools[0].Backends[0].Address; got != "127.0.0.1:3777" {
		t.Errorf("backend %s, want the port of the environment", got)
	}
	if _, err := Load(path + ".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := os.WriteFile(path, []byte("a: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	var es Errors
	if _, err := Load(path); !errors.As(err, &es) || es[0].File != path {
		t.Errorf("want Errors that name %s, got %v", path, err)
	}
}

// TestLoadFindsFilesBesideTheConfiguration loads from another folder than the
// one that relative paths begin in.
func TestLoadFindsFilesBesideTheConfiguration(t *testing.T) {
	folder := t.TempDir()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	write("there.yaml", []byte("[]"))
	write("steelyard.yaml", []byte(`
listeners: {web: ":8080"}
routes: [{pool: web}]
pools:
  web:
    source: [{file: there.yaml}, {file: later/list.yaml}, {file: /nowhere/list.yaml}, {consul: web}]
    check: {path: /, tls: {ca: ca.pem}}
consul: {token_file: /etc/token, address: "https://127.0.0.1:8501", tls: {ca: ./ca.pem}}
`))
	c, err := Load(filepath.Join(folder, "steelyard.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p := c.Pools[0]
	for _, f := range []struct{ got, want string }{
		{p.Sources[0].File.Path, folder + "/there.yaml"}, {p.Sources[1].File.Path, folder + "/later/list.yaml"},
		{p.Sources[2].File.Path, "/nowhere/list.yaml"}, {p.Check.TLS.CAFile, folder + "/ca.pem"},
		{c.Consul.TLS.CAFile, folder + "/./ca.pem"}, {c.Consul.TokenFile, "/etc/token"},
	} {
		if f.got != f.want {
			t.Errorf("path %s, want %s", f.got, f.want)
		}
	}
	var warnings []string
	for _, w := range c.Warnings {
		warnings = append(warnings, w.Error())
	}
	at := filepath.Join(folder, "steelyard.yaml")
	want := []string{
		at + ":6:34: pools.web.source[1]: there is no file " + folder + "/later/list.yaml yet; until there is one it names no backends",
		at + ":6:59: pools.web.source[2]: there is no file /nowhere/list.yaml yet; until there is one it names no backends",
		at + ":8:22: consul.token_file: there is no file /etc/token yet; until there is one Consul is asked without a token",
	}
	if !slices.Equal(warnings, want) {
		t.Errorf("warnings\n%s\nwant\n%s", strings.Join(warnings, "\n"), strings.Join(want, "\n"))
	}
}

// hostile are small files that stand for enormous ones.
func hostile() map[string]string {
	const head = "listeners: {web: \":8080\"}\nroutes: [{pool: p}]\n"
	merges := "x-0: &m0 {a: 1}\n"
	for i := 1; i < 15; i++ {
		merges += fmt.Sprintf("x-%d: &m%d {<<: [%s]}\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*m%d, ", i-1), 20), ", "))
	}
	pools := head + "x-b: &b [" + strings.Repeat("127.0.0.1:1, ", 5000) + "]\npools:\n"
	for i := range 5000 {
		pools += fmt.Sprintf("  p%d: {backends: *b}\n", i)
	}
	hosts, refs := "", ""
	for i := range 2000 {
		hosts += fmt.Sprintf("h%d.example, ", i)
		refs += fmt.Sprintf("  - {match: {path: /%d}, pool: nopool%d}\n", i, i)
	}
	many := ""
	for i := range 2000 {
		many += fmt.Sprintf("  somepool%d: {backends: 127.0.0.1:1}\n", i)
	}
	return map[string]string{
		"merges of merges":      merges + head + "pools: {p: {<<: *m14, backends: 127.0.0.1:1}}\n",
		"a list used often":     pools,
		"hosts times paths":     "listeners: {web: \":8080\"}\nroutes: [{match: {host: [" + hosts + "], path: [" + strings.ReplaceAll(strings.ReplaceAll(hosts, "h", "/h"), ".example", "") + "]}, respond: 200}]\n",
		"a cycle":               head + "pools: &p {p: *p}\n",
		"a cycle of lists":      head + "pools: {p: {backends: &b [*b, *b]}}\n",
		"deep nesting":          head + "pools: " + strings.Repeat("{a: ", 5000) + "1" + strings.Repeat("}", 5000) + "\n",
		"many misspelt names":   "listeners: {web: \":8080\"}\nroutes:\n" + refs + "pools:\n" + many,
		"a long key":            head + "pools: {" + strings.Repeat("a", 100000) + ": 1}\n",
		"many misspelt keys":    head + "pools: {p: {backends: 127.0.0.1:1}}\n" + strings.ReplaceAll(strings.ReplaceAll(many, "  some", "x"), "{backends: 127.0.0.1:1}", "1"),
		"unclosed and large":    head + "pools: {p: [" + strings.Repeat("a,\n", 20000),
		"unclosed and larger":   head + "pools: {p: [" + strings.Repeat("a,\n", 400000),
		"larger than the bound": strings.Repeat("#", maxFileSize+1),
	}
}

func TestHostileFilesAreBounded(t *testing.T) {
	for name, text := range hostile() {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse("hostile", []byte(text), testEnv)
			if err == nil {
				t.Error("accepted")
			}
			var es Errors
			if !errors.As(err, &es) {
				t.Fatalf("error is %T", err)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			} else {
				t.Logf("%v for %d bytes, %d errors, the first: %.200s", took, len(text), len(es), es[0].Error())
			}
		})
	}
}

// A route table of the size the router is built for must load in no time.
func TestLargeFile(t *testing.T) {
	var b strings.Builder
	b.WriteString("listeners: {web: \":8080\"}\nroutes:\n")
	for i := range 10000 {
		fmt.Fprintf(&b, "  - {match: {host: h%d.example.com, path: /v%d/*}, pool: p%d}\n", i, i, i%500)
	}
	b.WriteString("pools:\n")
	for i := range 500 {
		fmt.Fprintf(&b, "  p%d: {backends: [127.0.0.1:%d, 127.0.0.2:%d]}\n", i, i+1, i+1)
	}
	start := time.Now()
	c, err := Parse("large", []byte(b.String()), testEnv)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Routes) != 10000 || len(c.Pools) != 500 {
		t.Errorf("%d routes and %d pools", len(c.Routes), len(c.Pools))
	}
	t.Logf("%v", time.Since(start))
}

// TestManyErrorsArePrintedInPart: one mistake made thousands of times leaves the
// terminal readable.
func TestManyErrorsArePrintedInPart(t *testing.T) {
	t.Parallel()
	file := "routes:\n" + strings.Repeat("  - {respond: {status: 204}, colour: blue}\n", 1000)
	_, err := Parse("f.yaml", []byte(file), nil)
	var all Errors
	if !errors.As(err, &all) || len(all) < 1000 {
		t.Fatalf("%d errors", len(all))
	}
	lines := strings.Split(err.Error(), "\n")
	if want := fmt.Sprintf("f.yaml: and %d more", len(all)-mostPrinted); len(lines) != mostPrinted+1 || lines[mostPrinted] != want {
		t.Errorf("%d lines, the last %q, want %q", len(lines), lines[len(lines)-1], want)
	}
}
