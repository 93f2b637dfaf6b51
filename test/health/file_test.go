package health_test

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"steelyard/test/harness"
)

// put puts a text in the place of the list.
func (l *list) put(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(l.path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(l.path+".new", l.path); err != nil {
		t.Fatal(err)
	}
}

func TestAFileWithOneBadLineKeepsTheLastGoodList(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b", "c")
	list := newList(t, apps[0].Address, apps[1].Address)
	s := harness.Start(t, list.pool("policy: round_robin"))
	l := begin(t, s.URL, 4)
	l.flows(20)
	list.put(t, "- "+apps[2].Address+"\n- {address: "+apps[0].Address+", wieght: 2}\n")
	var source harness.SourceView
	harness.Eventually(t, patience, "the error is shown", func() bool {
		source = s.Pool(t, "web").Sources[0]
		return source.Error != ""
	})
	for _, want := range []string{list.path + ":2:", "wieght", `did you mean "weight"`} {
		if !strings.Contains(source.Error, want) {
			t.Errorf("the error is %q; want it to say %s", source.Error, want)
		}
	}
	said(t, s, "source cannot answer; its members stay as they are", list.path+":2:", "wieght", "did you mean")
	if source.Members != 2 || len(s.Pool(t, "web").Backends) != 2 {
		t.Errorf("with a bad line there are %d members", source.Members)
	}
	l.flows(50)
	if got := harness.Shares(t, harness.Client(t), s.URL, 20); got["c"] != 0 || len(got) != 2 {
		t.Errorf("with a bad line: %v", got)
	}
	list.put(t, "- "+apps[2].Address+"\n- {address: "+apps[0].Address+", weight: 2}\n")
	becomes(t, s, apps[2], "healthy")
	if source := s.Pool(t, "web").Sources[0]; source.Error != "" || source.Members != 2 {
		t.Errorf("mended, the source shows %+v", source)
	}
	said(t, s, "source answers again")
	l.end(apps...)
}

func TestAMissingFileIsExplainedAndReadWhenItIsThere(t *testing.T) {
	t.Parallel()
	app := harness.App(t, "a")
	list := &list{path: t.TempDir() + "/later/backends.json"}
	s := harness.Start(t, list.pool("check: /healthz"))
	status, _, err := harness.Do(harness.Client(t), "GET", s.URL, "")
	var cause *harness.CauseError
	if !errors.As(err, &cause) || cause.Cause != "no_backend" || status != http.StatusServiceUnavailable {
		t.Errorf("while the pool is empty: %d %v; want 503 no_backend", status, err)
	}
	if strings.Contains(cause.Text, list.path) {
		t.Errorf("a client was told of the file: %s", cause.Text)
	}
	p := s.Pool(t, "web")
	if p.Total != 0 || !strings.Contains(p.Why, "the pool has no backends") || !strings.Contains(p.Why, list.path+": is not there") {
		t.Errorf("the pool shows %+v", p)
	}
	said(t, s, "request failed", "cause=no_backend", list.path+": is not there", "write it there, or correct the path")
	if err := os.Mkdir(strings.TrimSuffix(list.path, "/backends.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	list.write(t, app.Address)
	becomes(t, s, app, "healthy")
	harness.Get(t, harness.Client(t), s.URL)
}

func TestACheckThatCannotPassSaysWhy(t *testing.T) {
	t.Parallel()
	app := harness.App(t, "a")
	for _, c := range []struct{ name, check, want string }{
		{"TLS on a plain port", "{path: /healthz, tls: true, interval: 1s}", "TLS"},
		{"a wrong path", `{path: "/status?code=404", interval: 1s}`, "404"},
		{"a program that fails", `{exec: [/bin/sh, -c, "echo no license; exit 3"], interval: 1s}`, "exit status 3"},
		{"a closed port", "{tcp: {}, port: 1, interval: 1s}", "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := harness.Start(t, onePool("check: "+c.check, app))
			b := becomes(t, s, app, "unhealthy")
			if !strings.Contains(b.Reason, c.want) {
				t.Errorf("the reason is %q; want it to name %s", b.Reason, c.want)
			}
			said(t, s, "backend is unhealthy", app.Address, c.want)
			t.Log(b.Reason)
		})
	}
}
