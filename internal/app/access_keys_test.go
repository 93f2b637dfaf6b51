package app

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"steelyard/internal/metrics"
)

// TestAccessKeys shows the keys of the access log and of error pages.
func TestAccessKeys(t *testing.T) { runKeyCases(t, accessKeyCases()) }

func accessKeyCases() []keyCase {
	prefix := func(names ...string) []string { return prefixed("access_log", names) }
	line := func(s *side) string { // the last line, after one more request
		s.get("/some/path?a=b")
		b, _ := os.ReadFile(filepath.Join(s.dir, "access.log"))
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		switch last := lines[len(lines)-1]; {
		case strings.HasPrefix(last, `{"time":`):
			return "json"
		case strings.Contains(last, `"GET /some/path?a=b HTTP/1.1"`):
			return "combined"
		default:
			return last
		}
	}
	dropped := func(s *side) string {
		for range 40 {
			s.get("/"+strings.Repeat("x", 30_000), "User-Agent", "x")
		}
		var sample metrics.Sample
		s.app.Sample(&sample)
		return map[bool]string{true: "dropped", false: "kept"}[sample.AccessLog.Dropped > 0]
	}
	const to = `to: "${DIR}/access.log"`
	ok := answers(200, "")
	stuck := func(s *side) { // nobody reads what the log is written to
		if err := syscall.Mkfifo(filepath.Join(s.dir, "pipe"), 0o600); err != nil {
			s.t.Fatal(err)
		}
		ok(s)
	}
	return slices.Concat(pageCases(), []keyCase{
		{name: "access_log", keys: prefix("", ".to"), world: ok, pool: `backends: ["${A}"]`, top: "access_log: KEY", with: "{" + to + "}", without: "off",
			look: line, want: "json", other: ""},
		{name: "access_log.format", keys: prefix(".format"), world: ok, pool: `backends: ["${A}"]`, top: "access_log: {" + to + ", KEY}", with: "format: combined", without: "format: json",
			look: line, want: "combined", other: "json"},
		{name: "access_log.fields", keys: prefix(".fields"), world: ok, pool: `backends: ["${A}"]`, top: "access_log: {" + to + ", KEY}", with: "fields: [status, pool]", without: "fields: [path]",
			look: line, want: `{"status":200,"pool":"web"}`, other: `{"path":"/some/path"}`},
		{name: "access_log.template", keys: prefix(".template"), world: ok, pool: `backends: ["${A}"]`, top: "access_log: {" + to + ", KEY}",
			with: `template: "{status} {query.a} {route}"`, without: `template: "{bytes_in}"`, look: line, want: "200 b /*", other: "0"},
		{name: "access_log.sample", keys: prefix(".sample"), world: ok, pool: `backends: ["${A}"]`, top: "access_log: {" + to + ", KEY}", with: "sample: 0%", without: "sample: 100%",
			look: line, want: "", other: "json"},
		{name: "access_log.errors", keys: prefix(".errors"), world: answers(503, ""), pool: `backends: ["${A}"]`, top: "access_log: {" + to + ", sample: 0, KEY}", with: "errors: sampled", without: "errors: always",
			look: line, want: "", other: "json"},
		{name: "routes[].access_log", keys: []string{"routes[].access_log"}, world: ok, pool: `backends: ["${A}"]`, top: "access_log: {" + to + "}", route: "KEY",
			with: "access_log: false", without: "access_log: true", look: line, want: "", other: "json"},
		{name: "access_log.buffer", keys: prefix(".buffer"), world: stuck, pool: `backends: ["${A}"]`, listener: "max_header_size: 64KiB, max_target_length: 64KiB", top: "access_log: {to: \"${DIR}/pipe\", KEY}",
			with: "buffer: 1MiB", without: "buffer: 1GiB", look: dropped, want: "dropped", other: "kept"},
	})
}

// pageCases are about error pages. Nothing is behind the pool.
func pageCases() []keyCase {
	world := func(s *side) {
		s.names("A", freeAddress(s.t))
		s.write("mine.txt", "mine {status} {cause}")
		s.write("other.txt", "other")
	}
	body := func(s *side) string {
		_, body := s.get("/")
		first, _, _ := strings.Cut(body, "\n")
		return first
	}
	cause := func(s *side) string {
		res, _ := s.get("/")
		return res.Header.Get("X-Steelyard-Cause")
	}
	const own = "502 " // and its reason
	text := own + http.StatusText(http.StatusBadGateway)
	return []keyCase{
		{name: "errors.pages", keys: []string{"errors", "errors.pages"}, world: world, pool: `backends: ["${A}"]`, top: "errors: {pages: {KEY}}",
			with: `5xx: "${DIR}/mine.txt"`, without: `404: "${DIR}/mine.txt"`, look: body, want: "mine 502 connect_refused", other: text},
		{name: "errors.cause_header", keys: []string{"errors.cause_header"}, world: world, pool: `backends: ["${A}"]`, top: "errors: {KEY}",
			with: "cause_header: false", without: "cause_header: true", look: cause, want: "", other: "connect_refused"},
		{name: "listeners.errors", keys: []string{"listeners.<name>.errors", "listeners.<name>.errors.pages"}, world: world, pool: `backends: ["${A}"]`,
			top: `errors: {pages: {default: "${DIR}/other.txt"}}`, listener: "errors: {pages: {KEY}}", with: `502: "${DIR}/mine.txt"`, without: `404: "${DIR}/mine.txt"`,
			look: body, want: "mine 502 connect_refused", other: "other"},
	}
}
