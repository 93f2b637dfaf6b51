package gate_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/test/harness"
)

// hashed is what `steelyard hash-password` makes of a password.
func hashed(t *testing.T, password string, args ...string) string {
	t.Helper()
	cmd := exec.Command(harness.Binary(t), append([]string{"hash-password"}, args...)...)
	cmd.Stdin = strings.NewReader(password + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// shows is the header by which a client says who it is.
func shows(name, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

func TestBasicAuth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, log := filepath.Join(dir, "users"), filepath.Join(dir, "access.log")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write(hashed(t, "two", "-u", "bob", "--bcrypt", "4") + "\n")
	app := harness.App(t, "A")
	yaml := strings.NewReplacer("APP", app.Address, "FILE", file, "LOG", log, "ALICE", hashed(t, "one")).Replace(`
listeners: {web: {address: "LISTEN", max_header_size: 1MiB}}
admin: {address: "ADMIN"}
access_log: {to: "LOG"}
routes:
  - match: {path: /echo}
    pool: web
    basic_auth: {realm: The Shop, users: {alice: "ALICE"}, file: "FILE"}
    request_headers: {set: {X-User: "{auth_user}"}}
  - {match: {path: /_stats}, pool: web, basic_auth: {users: {alice: "ALICE"}, forward: true}, cors: https://app.test}
  - {match: {path: /fixed}, respond: 200, basic_auth: {file: "FILE"}}
pools: {web: {backends: [APP]}}
`)
	s := harness.Start(t, yaml)
	c := harness.Dial(t, s.Address)
	m := ask(t, c, "/echo", "")
	if said(m) != "401 unauthorized" || m.Value("WWW-Authenticate") != `Basic realm="The Shop", charset="UTF-8"` {
		t.Errorf("without a word: %s %q", said(m), m.Fields)
	}
	for _, e := range []struct{ name, path, field, want string }{
		{"right", "/echo", shows("alice", "one"), "200"},
		{"of the file", "/echo", shows("bob", "two"), "200"},
		{"wrong", "/echo", shows("alice", "two"), "401 unauthorized"},
		{"nobody", "/echo", shows("carol", "one"), "401 unauthorized"},
		{"twice", "/echo", shows("alice", "one") + "\r\n" + shows("alice", "one"), "401 unauthorized"},
		{"bearer", "/echo", "Authorization: Bearer x", "401 unauthorized"},
		{"no base64", "/echo", "Authorization: Basic %%%", "401 unauthorized"},
		{"900 KiB", "/echo", "Authorization: Basic " + strings.Repeat("QUFB", 230_000), "401 unauthorized"},
		{"NUL within", "/echo", shows("alice", "one\x00"), "401 unauthorized"},
		{"only those of the route", "/fixed", shows("alice", "one"), "401 unauthorized"},
		{"a fixed response", "/fixed", shows("bob", "two"), "200"},
		{"forwarded", "/_stats", shows("alice", "one"), "200"},
	} {
		if got := said(ask(t, c, e.path, "", e.field)); got != e.want {
			t.Errorf("%s: %s, want %s", e.name, got, e.want)
		}
	}
	if m := c.Exchange(t, "OPTIONS /_stats HTTP/1.1\r\nHost: a\r\nOrigin: https://app.test\r\nAccess-Control-Request-Method: PUT\r\n\r\n"); m.Status() != 204 {
		t.Errorf("a preflight, which has no credentials: %s", said(m))
	}
	echo := string(ask(t, c, "/echo", "", shows("alice", "one"), "X-User: mallory").Body)
	if !strings.Contains(echo, `"X-User","alice"`) || strings.Contains(echo, "mallory") || strings.Contains(echo, "Authorization") {
		t.Errorf("the app got %s", echo)
	}
	for _, e := range []struct{ request, want string }{
		{"GET /echo HTTP/1.1\r\nHost: a\r\nAuthorization: Basic a\x00b\r\n\r\n", "400 bad_request"},
		{"GET /echo HTTP/1.1\r\nHost: a\r\nAuthorization: Basic " + strings.Repeat("A", 1<<20) + "\r\n\r\n", "431 head_too_large"},
	} {
		if got := said(harness.Dial(t, s.Address).Exchange(t, e.request)); got != e.want {
			t.Errorf("%.60q: %s, want %s", e.request, got, e.want)
		}
	}
	write(hashed(t, "three", "-u", "bob") + "\n")
	harness.Eventually(t, patience, "the new password is right", func() bool { return said(ask(t, c, "/fixed", "", shows("bob", "three"))) == "200" })
	if got := said(ask(t, c, "/fixed", "", shows("bob", "two"))); got != "401 unauthorized" {
		t.Errorf("the old password: %s", got)
	}
	write("bob:three\n")
	harness.Eventually(t, patience, "it is told that the file is wrong", func() bool {
		ask(t, c, "/fixed", "", shows("bob", "three"))
		return strings.Contains(s.Output(), "the users cannot be read; those before still hold")
	})
	if got := said(ask(t, c, "/fixed", "", shows("bob", "three"))); got != "200" {
		t.Errorf("with a file that is wrong: %s", got)
	}
	if g := s.Reload(t, strings.NewReplacer("APP", app.Address).Replace(yaml)+"\n# again"); g.LastOK {
		t.Error("a reload takes a file that is wrong")
	}
	harness.Eventually(t, patience, "the users are in the access log", func() bool {
		text, _ := os.ReadFile(log)
		return strings.Contains(string(text), `"user":"alice"`) && strings.Contains(string(text), `"user":"bob"`) && !strings.Contains(string(text), "carol")
	})
	_, answer, err := harness.Do(harness.Client(t), "POST", "http://"+s.Admin+"/api/v1/explain", `{"path": "/echo"}`, "Content-Type: application/json")
	if err != nil || !strings.Contains(answer, `"unauthorized"`) || !strings.Contains(answer, "basic_auth: a name and a password are asked for (The Shop)") {
		t.Errorf("explained as %v %s", err, answer)
	}
}

func TestHashPassword(t *testing.T) {
	t.Parallel()
	if got := hashed(t, "secret", "-u", "alice"); !strings.HasPrefix(got, "alice:$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("made %s", got)
	}
	if got := hashed(t, "secret", "--bcrypt", "10"); !strings.HasPrefix(got, "$2a$10$") {
		t.Errorf("made %s", got)
	}
	for _, args := range [][]string{{"-u", "a:b"}, {"--bcrypt", "99"}, {"more"}} {
		cmd := exec.Command(harness.Binary(t), append([]string{"hash-password"}, args...)...)
		cmd.Stdin = strings.NewReader("secret\n")
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("%q is taken: %s", args, out)
		}
	}
}

// TestGuessingHarmsNobody: while many guess passwords, those who are known, and
// those who need no password, are served as ever.
func TestGuessingHarmsNobody(t *testing.T) { // not in parallel: it measures
	app := harness.App(t, "A")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /in}, pool: web, basic_auth: {users: {alice: "%s"}}}
  - {pool: web}
pools: {web: {backends: [%s]}}
`, hashed(t, "one"), app.Address))
	known := harness.Dial(t, s.Address)
	if got := said(ask(t, known, "/in", "", shows("alice", "one"))); got != "200" {
		t.Fatal(got)
	}
	before, _ := s.Memory(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var wrong, busy atomic.Int64
	const guessers = 100
	for g := range guessers {
		c, err := harness.Connect(s.Address)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer c.Close()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := fmt.Fprintf(c, "GET /in HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", shows("alice", fmt.Sprint(g, " ", i))); err != nil {
					return
				}
				m, err := c.Receive("GET")
				if err != nil {
					return
				}
				switch said(m) {
				case "401 unauthorized":
					wrong.Add(1)
				case "503 auth_unavailable":
					busy.Add(1)
					time.Sleep(10 * time.Millisecond) // who guesses does not do it faster for being refused
				default:
					t.Errorf("a guesser gets %s", said(m))
				}
			}
		})
	}
	harness.Eventually(t, patience, "they guess", func() bool { return wrong.Load() > 5 && busy.Load() > 5 })
	var took []time.Duration
	open := harness.Dial(t, s.Address)
	for range 100 {
		began := time.Now()
		if a, b := said(ask(t, known, "/in", "", shows("alice", "one"))), said(ask(t, open, "/", "")); a != "200" || b != "200" {
			t.Errorf("%s for who is known, %s without a password", a, b)
		}
		took = append(took, time.Since(began))
		time.Sleep(5 * time.Millisecond)
	}
	close(stop)
	after, _ := s.Memory(t)
	wg.Wait()
	slices.Sort(took)
	t.Logf("%d wrong, %d told to come later; both requests took %v, at most %v; %d MiB before, %d MiB with it", wrong.Load(), busy.Load(), took[50], took[99], before>>20, after>>20)
	if took[90] > 250*time.Millisecond {
		t.Errorf("one in ten took more than %v", took[90])
	}
	if after-before > 200<<20 {
		t.Errorf("%d MiB more", (after-before)>>20)
	}
}
