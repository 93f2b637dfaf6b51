package discovery

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestAgentDown takes the agent away for a long time: it is probed by one
// goroutine for all, and found again soon.
func TestAgentDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		fake.set(10, 1)
		c := fakeClient(t, nil, fake)
		defer c.Close()
		var sinks []*fakeSink
		for i := range 50 {
			s, stop := runFake(c, func(q *ConsulQuery) { q.Service = fmt.Sprintf("s%d", i) })
			defer stop()
			sinks = append(sinks, s)
		}
		synctest.Wait()
		for _, s := range sinks {
			s.expect(t, "set 1")
		}
		fake.change(func() { fake.down = true })
		time.Sleep(10 * time.Minute)
		for _, s := range sinks {
			s.expect(t, "connection refused; see that Consul is running")
		}
		if st := c.Stats(); st.Agent != "" || !strings.Contains(st.Error, "a:8500") {
			t.Errorf("stats: %+v", st)
		}
		// None of the watches asked while nobody answered.
		requests := c.Stats().Requests
		time.Sleep(time.Minute)
		if n := c.Stats().Requests - requests; n > 80 {
			t.Errorf("%d requests to a dead agent in a minute", n)
		}
		fake.change(func() { fake.down = false })
		time.Sleep(1300 * time.Millisecond)
		synctest.Wait()
		for _, s := range sinks {
			s.expect(t, "set 1")
		}
	})
}

// TestAgentHangs has an agent that takes requests and answers none.
func TestAgentHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		fake.set(10, 1)
		c := fakeClient(t, nil, fake)
		defer c.Close()
		s, stop := runFake(c, nil)
		defer stop()
		synctest.Wait()
		s.expect(t, "set 1")
		fake.change(func() { fake.hang = true })
		time.Sleep(12 * time.Second)
		s.expect(t, "did not answer in time")
		fake.change(func() { fake.hang = false })
		time.Sleep(4 * time.Second)
		s.expect(t, "set 1")
	})
}

// TestOneLostConnection is no failure that anybody hears of.
func TestOneLostConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		fake.set(10, 1)
		c := fakeClient(t, nil, fake)
		defer c.Close()
		s, stop := runFake(c, nil)
		defer stop()
		synctest.Wait()
		fake.change(func() { fake.down = true })
		fake.mu.Lock() // Before anything asks again.
		fake.down = false
		fake.mu.Unlock()
		time.Sleep(5 * time.Second)
		s.expect(t, "set 1")
	})
}

// TestSeveralAgents moves to the next agent and back to the first.
func TestSeveralAgents(t *testing.T) {
	for _, tc := range []struct {
		name   string
		lose   func(*fakeConsul)
		regain func(*fakeConsul)
	}{
		{"down", func(f *fakeConsul) { f.down = true }, func(f *fakeConsul) { f.down = false }},
		{"hanging", func(f *fakeConsul) { f.hang = true }, func(f *fakeConsul) { f.hang = false }},
		{"without a leader", func(f *fakeConsul) { f.noLeader = true }, func(f *fakeConsul) { f.noLeader = false }},
		{"failing all queries", func(f *fakeConsul) { f.status = 500 }, func(f *fakeConsul) { f.status = 0 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, second := newFake(), newFake()
				first.set(100, 1)
				second.set(5, 2)
				c := fakeClient(t, nil, first, second)
				defer c.Close()
				s, stop := runFake(c, nil)
				defer stop()
				synctest.Wait()
				s.expect(t, "set 1")
				first.change(func() { first.index++; tc.lose(first) })
				time.Sleep(14 * time.Second)
				told := s.take()
				if len(told) == 0 || told[len(told)-1] != "set 2" {
					t.Fatalf("told %q, want the members of the second agent at last", told)
				}
				// An index of the first agent means nothing to the second.
				if asked := second.log()[0]; strings.Contains(asked, "index=") {
					t.Errorf("the second agent was asked %q first", asked)
				}
				first.change(func() { tc.regain(first) })
				time.Sleep(20 * time.Second)
				synctest.Wait()
				told = s.take()
				if len(told) == 0 || told[len(told)-1] != "set 1" {
					t.Errorf("told %q, want the members of the first agent again", told)
				}
				if st := c.Stats(); st.Agent != "a:8500" || st.Moves < 2 {
					t.Errorf("stats: %+v", st)
				}
			})
		})
	}
}

// TestNoAgentAtStart says so, of all agents, and starts.
func TestNoAgentAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newFake(), newFake()
		first.down, second.noLeader = true, true
		c := fakeClient(t, nil, first, second)
		defer c.Close()
		s, stop := runFake(c, nil)
		defer stop()
		time.Sleep(time.Minute)
		s.expect(t, "consul service api: agent a:8500: connection refused; agent b:8500: it has no contact to a cluster leader")
	})
}

// TestTokenFile reads the token again when it changes, and keeps the last one
// when the file has gone.
func TestTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	o := DefaultConsul()
	o.TokenFile = file
	tok := newToken(o, slog.New(slog.DiscardHandler))
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name    string
		do      func()
		changed bool
		value   string
		trouble string
	}{
		{"not there", func() {}, false, "", "no such file"},
		{"written", func() { write("one\n") }, true, "one", ""},
		{"the same", func() {}, false, "one", ""},
		{"another", func() { write("three\n") }, true, "three", ""},
		{"empty", func() { write("") }, false, "three", "no token"},
		{"two words", func() { write("a b") }, false, "three", "no token"},
		{"too long", func() { write(strings.Repeat("a", 5000)) }, false, "three", "5000 bytes"},
		{"gone", func() { os.Remove(file) }, false, "three", "no such file"},
		{"back", func() { write("four") }, true, "four", ""},
	} {
		step.do()
		changed := tok.refresh(false)
		if changed != step.changed || tok.get() != step.value {
			t.Errorf("%s: refresh() = %v with token %q, want %v with %q", step.name, changed, tok.get(), step.changed, step.value)
		}
		if got := tok.trouble(); (got == "") != (step.trouble == "") || !strings.Contains(got, step.trouble) {
			t.Errorf("%s: trouble %q, want %q", step.name, got, step.trouble)
		}
	}
}

func TestTokenOfTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("file"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	t.Setenv("CONSUL_HTTP_TOKEN", "")
	t.Setenv("CONSUL_HTTP_TOKEN_FILE", file)
	if got := newToken(DefaultConsul(), log).get(); got != "file" {
		t.Errorf("token %q", got)
	}
	t.Setenv("CONSUL_HTTP_TOKEN", "env")
	if got := newToken(DefaultConsul(), log).get(); got != "env" {
		t.Errorf("token %q", got)
	}
	o := DefaultConsul()
	o.Token = "option"
	if got := newToken(o, log).get(); got != "option" {
		t.Errorf("token %q", got)
	}
}

// TestNewConsulRefuses what cannot work.
func TestNewConsulRefuses(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	t.Setenv("CONSUL_HTTP_ADDR", "ftp://a")
	if _, err := NewConsul(DefaultConsul(), log); err == nil || !strings.Contains(err.Error(), "CONSUL_HTTP_ADDR") {
		t.Errorf("error %v", err)
	}
	o := DefaultConsul()
	o.Addresses, o.TLS.CAFile = []string{"https://127.0.0.1:8501"}, filepath.Join(t.TempDir(), "none")
	if _, err := NewConsul(o, log); err == nil || !strings.Contains(err.Error(), "tls: cannot be used") {
		t.Errorf("error %v", err)
	}
	if _, err := NewConsul(ConsulOptions{}, log); err == nil {
		t.Error("options without defaults were taken")
	}
}

// TestClosed has a source that outlives its Consul.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakeClient(t, nil, newFake())
		c.Close()
		s, stop := runFake(c, nil)
		synctest.Wait()
		s.expect(t, "was closed")
		stop()
	})
}
