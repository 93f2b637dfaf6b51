package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"steelyard/internal/explain"
)

func TestReachable(t *testing.T) {
	for address, want := range map[string]string{
		":9400": "127.0.0.1:9400", "0.0.0.0:9400": "127.0.0.1:9400", "[::]:9400": "127.0.0.1:9400",
		"10.0.0.5:9400": "10.0.0.5:9400", "[::1]:9400": "[::1]:9400", "ops.example:9400": "ops.example:9400", "9400": "9400",
	} {
		if got := reachable(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

func TestTarget(t *testing.T) {
	for text, want := range map[string][2]string{
		"/shop?q=1":              {"", "/shop?q=1"},
		"http://example.com":     {"example.com", "/"},
		"https://example.com/a":  {"example.com", "/a"},
		"example.com:8080/a%20b": {"example.com:8080", "/a%20b"},
	} {
		var q explain.Question
		if err := target(text, &q); err != nil || q.Host != want[0] || q.Path != want[1] {
			t.Errorf("%s: %q %q %v, want %q", text, q.Host, q.Path, err, want)
		}
	}
}

// TestTablesAreAligned: columns by what is seen, colours and foreign letters
// included, and nothing that would steer a terminal.
func TestTablesAreAligned(t *testing.T) {
	tab := table{right: map[int]bool{1: true}, colour: map[int]func(string) string{0: stateColour}}
	tab.add("STATE", "N", "WHY")
	tab.add("healthy", 1000, "ü")
	tab.add("slow_start 5%", 1, "\x1b[2Jred\nline\u202e")
	want := []string{"STATE             N  WHY", "healthy        1000  ü", "slow_start 5%     1  ·[2Jred·line·"}
	for i, line := range tab.lines(false) {
		if line != want[i] {
			t.Errorf("%q, want %q", line, want[i])
		}
	}
	for state, code := range map[string]string{"2/2 healthy": "32", "1/2 healthy": "33", "0/2 healthy": "31", "0/0 healthy": "31", "unhealthy": "31"} {
		if got := stateColour(state); !strings.HasPrefix(got, "\x1b["+code+"m") {
			t.Errorf("%s: %q", state, got)
		}
	}
	coloured := strings.Join(tab.lines(true), "\n")
	for _, part := range []string{"\x1b[32mhealthy\x1b[0m        1000", "\x1b[33mslow_start 5%\x1b[0m"} {
		if !strings.Contains(coloured, part) {
			t.Errorf("no %q in %q", part, coloured)
		}
	}
}

// TestHostileAnswers: what answers need not be the admin API, and what it says
// does not steer the terminal.
func TestHostileAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		status     int
		body, want string
	}{
		"not JSON":           {200, "<html>", "did not answer as the admin API does"},
		"an error page":      {502, "<html>\x1b[2J", "not the admin API answered, but something that says 502 Bad Gateway: <html>·[2J"},
		"an error with cure": {403, `{"error": "no\u001b[2J", "cure": "do this", "errors": ["one", "two"]}`, "no·[2J\none\ntwo\ndo this"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}))
		status, _, errOut := invoke(t, "pools", "--admin", s.Listener.Addr().String())
		s.Close()
		if status != 1 || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: %d %q, want %q", name, status, errOut, c.want)
		}
	}
}

// TestLiveLines: figures that are not known are not zero.
func TestLiveLines(t *testing.T) {
	lines, err := liveLines([]byte(`{"at": "2026-01-02T03:04:05Z", "total": {"rps": 12.34, "error_share": null, "p50_ms": 1.25, "p99_ms": null, "connections": 3},
		"pools": [{"name": "web", "healthy": 1, "total": 2, "rps": 12.34, "error_share": 0.5, "p50_ms": null, "waiting": 2, "why": "x",
		"backends": [{"address": "127.0.0.1:1", "state": "unhealthy", "reason": "refused", "rps": 0, "share": null, "error_share": null, "first_byte_ms": null, "in_flight": 4}]}]}`), false, 0)
	text := strings.Join(lines, "\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"12.3 requests/s, – errors, p50 1.2 ms, p99 – ms, 3 connections", "1/2 healthy", "50.0%", "2 waiting", "  127.0.0.1:1  unhealthy", "refused"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if _, err := liveLines([]byte("{"), false, 0); err == nil {
		t.Error("half an event is shown")
	}
}

// TestTablesFitATerminal: figures stay, what explains is cut at its end, and names
// in their middle.
func TestTablesFitATerminal(t *testing.T) {
	long := "a-very-long-label.of-a-host-name.example:3000"
	for _, width := range []int{200, 80, 60, 10} {
		tab := table{right: map[int]bool{1: true}}
		tab.add("BACKEND", "REQUESTS", "WHY")
		tab.add(long, 1234567, "cannot resolve it: no such host, and nobody knows why that is so")
		tab.add("127.0.0.1:1", 1, "refused")
		tab.fit(width)
		lines := tab.lines(false)
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); n > max(width, 53) {
				t.Errorf("%d: %d characters: %q", width, n, line)
			}
		}
		if !strings.Contains(lines[1], "1234567") || !strings.Contains(lines[1], ":3000") || !strings.HasPrefix(lines[1], "a-very-") || !strings.Contains(lines[2], "127.0.0.1:1  ") {
			t.Errorf("%d: %q", width, lines)
		}
		if whole := strings.Contains(lines[1], long) && strings.Contains(lines[1], "that is so"); whole != (width == 200) {
			t.Errorf("%d: %q", width, lines[1])
		}
	}
}
