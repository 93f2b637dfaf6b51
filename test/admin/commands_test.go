package admin_test

import (
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

// TestCommands: each command does what its help says and prints what came of it.
func TestCommands(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, file(t, "admin: ADMIN\n"))
	good := s.Pool(t, "web").Backends[0].Address
	for range 4 { // both backends have their turns, and one refuses
		if _, err := http.Get(s.URL + "/shop?q=1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"pools", []string{"pools"}, []string{"web: ", " of 2 healthy, round_robin, 4 requests", "BACKEND", "STATE", good, "127.0.0.1:1"}},
		{"one pool", []string{"pools", "web"}, []string{good}},
		{"drain", []string{"drain", "web", good, "--for", "50s"}, []string{good + " is draining 50s now", "IN FLIGHT"}},
		{"flags first", []string{"drain", "--for=40s", "web", good}, []string{good + " is draining 40s now"}},
		{"disable", []string{"disable", "web", good}, []string{good + " is disabled now"}},
		{"enable", []string{"enable", "web", good}, []string{good + " is healthy now"}},
		{"weight", []string{"weight", "web", good, "7"}, []string{"with weight 7."}},
		{"weight of the configuration", []string{"weight", "web", good, "default"}, []string{"with weight 1."}},
		{"release", []string{"release", "web"}, []string{"Nothing is held in pool web"}},
		{"errors", []string{"errors"}, []string{"502", "connect_refused", "/shop", "route all, pool web, backend 127.0.0.1:1", "that there were since the start"}},
		{"errors of another pool", []string{"errors", "--pool", "shop"}, []string{"None of the last ", "They are of cause connect_refused; pool web."}},
		{"explain", []string{"explain", "-X", "POST", "-H", "Cookie: a=b", "http://example.com/shop"}, []string{"route     all", "pool      web", "CANDIDATE", good}},
		{"reload", []string{"reload"}, []string{"Generation ", "of " + s.File}},
		{"top", []string{"top", "-n", "2"}, []string{"requests/s", "POOL, BACKEND", "  " + good}},
	} {
		code, out, errOut := steelyard(t, append(c.args, "--admin", s.Admin)...)
		if code != 0 || errOut != "" {
			t.Errorf("%s: %d, %s", c.name, code, errOut)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", c.name, want, out)
			}
		}
		if strings.Contains(out, "\x1b") {
			t.Errorf("%s: colours although there is no terminal: %q", c.name, out)
		}
		if c.name == "top" {
			continue
		}
		if code, out, errOut := steelyard(t, append(c.args, "--json", "--admin", s.Admin)...); code != 0 || !json.Valid([]byte(out)) {
			t.Errorf("%s --json: %d, %s %s", c.name, code, out, errOut)
		}
	}
	_, out, _ := steelyard(t, "top", "-n", "2", "--json", "--admin", "http://"+s.Admin)
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 2 || !json.Valid([]byte(lines[0])) || !json.Valid([]byte(lines[1])) {
		t.Errorf("top --json: %s", out)
	}
}

// TestCommandsSayWhatToDo: what goes wrong comes with what to do about it.
func TestCommandsSayWhatToDo(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, file(t, "admin: {address: ADMIN, token: "+token+"}\n"))
	silent := harness.FreeAddress(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "token"), token+"\n")
	write(t, filepath.Join(dir, "closed.yaml"), strings.Replace(file(t, ""), "LISTEN", silent, 1))
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nobody there", []string{"pools", "--admin", silent}, 1, "admin: 127.0.0.1:9400"},
		{"no token", []string{"pools", "--admin", s.Admin}, 1, "STEELYARD_ADMIN_TOKEN or --token-file"},
		{"the token of a file", []string{"pools", "--admin", s.Admin, "--token-file", filepath.Join(dir, "token")}, 0, ""},
		{"all of the configuration", []string{"pools", "-c", s.File}, 0, ""},
		{"no admin in the configuration", []string{"pools", "-c", filepath.Join(dir, "closed.yaml")}, 1, "add the line `admin: 127.0.0.1:9400`"},
		{"no such pool", []string{"pools", "shop", "-c", s.File}, 1, "there are web"},
		{"a slip in the pool", []string{"pools", "wbe", "-c", s.File}, 1, `did you mean "web"?`},
		{"no such backend", []string{"drain", "web", "127.0.0.1:2", "-c", s.File}, 1, "no such backend"},
		{"not a duration", []string{"drain", "web", "127.0.0.1:1", "--for", "soon", "-c", s.File}, 1, "as 30s or 5m"},
		{"a word missing", []string{"drain", "web"}, 2, "BACKEND is missing"},
		{"a word too many", []string{"enable", "web", "a", "b"}, 2, `unexpected argument "b"`},
		{"not a weight", []string{"weight", "web", "127.0.0.1:1", "heavy"}, 2, "not a whole number or default"},
		{"not a URL", []string{"explain", "http://"}, 2, "neither http://host/path nor /path"},
		{"not a header", []string{"explain", "-H", "x", "/"}, 2, "Name: value"},
		{"TLS where there is none", []string{"pools", "--admin", "https://" + s.Admin}, 1, "plain HTTP"},
	} {
		if code, out, errOut := steelyard(t, c.args...); code != c.code || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: %d, %s%s, want %d and %q", c.name, code, out, errOut, c.code, c.want)
		}
	}
	s.Write(t, "listeners: {web: LISTEN}\nroutes: [{pool: wbe}]\npools: {web: {backends: [127.0.0.1:1]}}\nadmin: {address: ADMIN, token: "+token+"}\n")
	if code, _, errOut := steelyard(t, "reload", "--admin", s.Admin, "--token-file", filepath.Join(dir, "token")); code != 1 || !strings.Contains(errOut, `did you mean "web"`) {
		t.Errorf("reload of a broken file: %d, %s", code, errOut)
	}
}

// TestExplainNeedsNoProcess: with -c FILE alone the file answers.
func TestExplainNeedsNoProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "steelyard.yaml")
	write(t, path, strings.Replace(file(t, ""), "LISTEN", harness.FreeAddress(t), 1))
	code, out, errOut := steelyard(t, "explain", "-c", path, "/shop")
	if code != 0 || !strings.Contains(out, "pool      web") || !strings.Contains(out, "127.0.0.1:1") {
		t.Errorf("%d, %s%s", code, out, errOut)
	}
	if code, out, _ := steelyard(t, "explain", "-c", path, "/shop", "--json"); code != 0 || !json.Valid([]byte(out)) {
		t.Errorf("--json: %d, %s", code, out)
	}
}

// TestUnixSocket: an admin API on a unix socket is reached by its path and by the
// configuration, and the audit says so.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.sock")
	if len(path) > 100 {
		t.Skip("the path of the temporary folder is too long for a socket")
	}
	s := harness.Start(t, file(t, "admin: unix:"+path+"\n"))
	harness.Eventually(t, 5*time.Second, "the socket is there", func() bool {
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	for _, args := range [][]string{{"disable", "web", "127.0.0.1:1", "--admin", "unix:" + path}, {"pools", "-c", s.File}} {
		if code, out, errOut := steelyard(t, args...); code != 0 || !strings.Contains(out, "disabled") {
			t.Errorf("%v: %d, %s%s", args, code, out, errOut)
		}
	}
	harness.Eventually(t, 5*time.Second, "the audit says who", func() bool { return strings.Contains(s.Output(), `who="unix socket"`) })
}

// TestCommandsOverTLS: with -c the commands know that it is HTTPS, and --ca whom
// to trust.
func TestCommandsOverTLS(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t, "ca")
	ours.issue(t, "server", false)
	ours.issue(t, "ops", false)
	s := harness.Start(t, file(t, "admin: {address: ADMIN, tls: {cert: "+ours.path("server.pem")+", key: "+ours.path("server.key")+", client_ca: "+ours.path("ca.pem")+"}}\n"))
	show := []string{"--cert", ours.path("ops.pem"), "--key", ours.path("ops.key")}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"all right", append([]string{"pools", "-c", s.File, "--ca", ours.path("ca.pem")}, show...), 0, ""},
		{"an unknown CA", append([]string{"pools", "-c", s.File}, show...), 1, "--ca FILE"},
		{"no certificate", []string{"pools", "--admin", s.Admin, "--ca", ours.path("ca.pem")}, 1, "--cert FILE and --key FILE"},
		{"no TLS", []string{"pools", "--admin", s.Admin}, 1, "https://host:port"},
	} {
		if code, _, errOut := steelyard(t, c.args...); code != c.code || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: %d, %s, want %d and %q", c.name, code, errOut, c.code, c.want)
		}
	}
}
