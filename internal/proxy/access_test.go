package proxy

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"steelyard/internal/accesslog"
	"steelyard/internal/pool"
	"steelyard/internal/rewrite"
	"steelyard/internal/sticky"
)

// accessLog makes a log to a file of the test, and a function that ends it and
// returns its lines.
func accessLog(t testing.TB, change func(*AccessLog)) (*AccessLog, func() []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.log")
	s, err := accesslog.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	a := &AccessLog{Log: accesslog.New(slog.New(slog.DiscardHandler)), Fields: accesslog.AllFields(), Sample: 1, Errors: true}
	a.Log.Use(s, 4<<20)
	t.Cleanup(a.Log.Close)
	if change != nil {
		change(a)
	}
	return a, func() []string {
		a.Log.Close()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.SplitAfter(strings.TrimSuffix(string(b), "\n"), "\n")
	}
}

// TestAccessLine: what a line says of each kind of request.
func TestAccessLine(t *testing.T) {
	t.Parallel()
	const get = "GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nUser-Agent: me \"x\"\r\nReferer: http://r/\r\nConnection: close\r\n\r\n"
	cases := []struct {
		name    string
		first   func(testing.TB) string
		second  func(testing.TB) string
		request string
		change  func(*fixture)
		want    string // keys and values that the line has to have, as JSON
		not     string // keys it must not have
	}{
		{"ok", cannedResponse(smallResponse), nil, get, nil,
			`{"client":"127.0.0.1","listener":"test","method":"GET","host":"example.com","path":"/a","query":"b=c","protocol":"HTTP/1.1","status":200,"route":"all","pool":"web","backend":"FIRST",
			"retries":0,"affinity":"none","bytes_in":0,"bytes_out":5,"queue_ms":0,"user_agent":"me \"x\"","referer":"http://r/"}`, "cause attempts"},
		{"a body", func(t testing.TB) string { return postBackend(t, "payload", smallResponse) }, nil,
			"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 7\r\n\r\npayload", nil, `{"method":"POST","bytes_in":7,"bytes_out":5}`, "query user_agent"},
		{"chunked both ways", func(t testing.TB) string {
			return postBackend(t, "\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
		}, nil, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n7\r\npayload\r\n0\r\n\r\n", nil, `{"bytes_in":7,"bytes_out":3}`, ""},
		{"retried", refusedBackend, cannedResponse(smallResponse), get, nil, `{"status":200,"backend":"SECOND","retries":1}`, "cause"},
		{"an error of ours", refusedBackend, closingBackend, get, nil, `{"status":502,"cause":"reset_before_response","backend":"SECOND","retries":1}`, ""},
		{"cut", cutBackend("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell"), nil, get, nil, `{"status":200,"cause":"response_truncated","bytes_out":4}`, ""},
		{"sticky", cannedResponse(smallResponse), nil, get, func(f *fixture) {
			c := sticky.DefaultCookie()
			f.target.Sticky = &sticky.Options{Cookie: &c}
		}, `{"affinity":"new"}`, ""},
		{"no valid head", cannedResponse(smallResponse), nil, "GET / HTTP/1.1\r\nHost : x\r\n\r\n", nil, `{"status":400,"cause":"bad_request","client":"127.0.0.1","listener":"test"}`, "method path protocol"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			log, lines := accessLog(t, nil)
			backends := []string{tc.first(t)}
			if tc.second != nil {
				backends = append(backends, tc.second(t))
			}
			f := newFixture(t, backends, func(f *fixture, po *pool.Options, g *Generation, _ *Limits) {
				withBackup(po)
				g.AccessLog = log
				if tc.change != nil {
					tc.change(f)
					po.Sticky = f.target.Sticky
				}
			})
			f.exchangeRaw(t, tc.request)
			waitFor(t, "the connection has ended", func() bool { return f.listener.Connections() == 0 })
			all := lines()
			var got, want map[string]any
			if len(all) != 1 || json.Unmarshal([]byte(all[0]), &got) != nil {
				t.Fatalf("got %q", all)
			}
			text := strings.Replace(tc.want, "FIRST", backends[0], 1)
			text = strings.Replace(text, "SECOND", backends[len(backends)-1], 1)
			if err := json.Unmarshal([]byte(text), &want); err != nil {
				t.Fatal(err)
			}
			for k, v := range want {
				if got[k] != v {
					t.Errorf("%s is %v, want %v", k, got[k], v)
				}
			}
			for _, k := range strings.Fields(tc.not) {
				if v, ok := got[k]; ok {
					t.Errorf("%s is %v, want none", k, v)
				}
			}
			if len(got["request_id"].(string)) != 32 || got["total_ms"].(float64) <= 0 || got["time"] == "" {
				t.Errorf("got %s", all[0])
			}
			if want["retries"] == 1.0 && !strings.Contains(all[0], `"attempts":[{"backend":"`+backends[0]+`","reason":"connect_refused","class":"unsent","ms":`) {
				t.Errorf("got %s", all[0])
			}
		})
	}
}

// TestAccessTemplate: every variable has a value or a dash, and nothing that a
// client sends breaks the line.
func TestAccessTemplate(t *testing.T) {
	t.Parallel()
	all := append(rewrite.Variables()[:rewrite.VarHeader], accesslog.Names()...)
	tmpl, err := rewrite.ParseWith(`"{header.x-a}" {query.q} {cookie.c} {`+strings.Join(all, "} {")+"}", accesslog.Names())
	if err != nil {
		t.Fatal(err)
	}
	log, lines := accessLog(t, func(a *AccessLog) { a.Template = tmpl })
	f := newFixture(t, []string{cannedBackend(t, smallResponse)}, func(_ *fixture, _ *pool.Options, g *Generation, _ *Limits) { g.AccessLog = log })
	f.exchangeRaw(t, "GET /p?q=%0aforged HTTP/1.1\r\nHost: x\r\nX-A: a\"b\r\nCookie: c=d\r\nConnection: close\r\n\r\n")
	f.exchangeRaw(t, "GET / HTTP/1.1\r\nHost : x\r\n\r\n")
	waitFor(t, "the connections have ended", func() bool { return f.listener.Connections() == 0 })
	got := lines()
	if len(got) != 2 || !strings.HasPrefix(got[0], `"a\"b" \x0aforged d 127.0.0.1 `) || !strings.HasPrefix(got[1], `"-" - - 127.0.0.1 - - `) || !strings.Contains(got[1], " bad_request ") {
		t.Errorf("got %q", got)
	}
	for _, line := range got {
		if n := len(strings.Fields(line)); n != 3+len(all) {
			t.Errorf("%d words, want %d: %s", n, 3+len(all), line)
		}
	}
}

// TestSampling: a share of what went well, and all errors.
func TestSampling(t *testing.T) {
	t.Parallel()
	for name, errors := range map[string]bool{"errors always": true, "errors as the rest": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log, lines := accessLog(t, func(a *AccessLog) { a.Sample, a.Errors = 0.25, errors })
			f := newFixture(t, []string{cannedBackend(t, smallResponse), cannedBackend(t, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")},
				func(_ *fixture, _ *pool.Options, g *Generation, _ *Limits) { g.AccessLog = log })
			nc, r := f.dial(t)
			const n = 2000
			for range 2 * n {
				send(t, nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				readResponse(t, r, "GET")
			}
			nc.Close()
			waitFor(t, "the connection has ended", func() bool { return f.listener.Connections() == 0 })
			got := map[bool]int{}
			for _, line := range lines() {
				got[strings.Contains(line, `"status":200`)]++
			}
			if got[true] < n/5 || got[true] > n/3 || errors && got[false] != n || !errors && (got[false] < n/5 || got[false] > n/3) {
				t.Errorf("%d of %d that went well, %d of as many that failed", got[true], n, got[false])
			}
		})
	}
}

// TestSamplesAgree: what one Steelyard draws, another draws too, and what is in a
// small sample is in a larger one.
func TestSamplesAgree(t *testing.T) {
	some, more := &AccessLog{Sample: 0.1}, &AccessLog{Sample: 0.3}
	const n = 20_000
	inSome, inMore := 0, 0
	for i := range n {
		id := fmt.Appendf(nil, "request-%d", i)
		if some.draws(id) {
			inSome++
			if !more.draws(id) {
				t.Fatalf("%s is in the smaller sample alone", id)
			}
		}
		if more.draws(id) {
			inMore++
		}
	}
	if inSome < n*9/100 || inSome > n*11/100 || inMore < n*29/100 || inMore > n*31/100 {
		t.Errorf("%d and %d of %d, want 10 %% and 30 %%", inSome, inMore, n)
	}
	// Held by name, because other processes and releases have to agree.
	if !more.draws([]byte("rain")) || some.draws([]byte("wind")) {
		t.Error("the sample is not what it was")
	}
	if (&AccessLog{}).draws([]byte("rain")) {
		t.Error("a sample of nothing has something")
	}
}

// TestAccessLogAllocations: a line costs no allocation, in whatever form.
func TestAccessLogAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("pools drop what they are given under the race detector")
	}
	tmpl, err := rewrite.ParseWith(`{client_ip} "{method} {uri}" {status} {pool}/{backend} {total_ms} {attempts} "{header.user-agent}" {request_id}`, accesslog.Names())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*AccessLog){
		"json":     nil,
		"combined": func(a *AccessLog) { a.Combined = true },
		"template": func(a *AccessLog) { a.Template = tmpl },
		"sampled":  func(a *AccessLog) { a.Sample = 0.5 },
	} {
		t.Run(name, func(t *testing.T) {
			log, _ := accessLog(t, change)
			f := newFixture(t, []string{cannedBackend(t, smallResponse)}, func(_ *fixture, _ *pool.Options, g *Generation, _ *Limits) { g.AccessLog = log })
			nc, _ := f.dial(t)
			request, buf := []byte(smallGet), make([]byte, 32<<10)
			for range 5000 { // the log's buffers get their size
				roundTrip(t, nc, request, buf, len(smallResponse))
			}
			if allocs := testing.AllocsPerRun(1000, func() { roundTrip(t, nc, request, buf, len(smallResponse)) }); allocs > 1 {
				t.Errorf("%v allocations, want 1 at most, as without a log", allocs)
			}
		})
	}
}

func BenchmarkAccessLog(b *testing.B) {
	for _, on := range []bool{false, true} {
		b.Run(map[bool]string{false: "off", true: "json"}[on], func(b *testing.B) {
			log, _ := accessLog(b, nil)
			f := newFixture(b, []string{cannedBackend(b, smallResponse)}, func(_ *fixture, _ *pool.Options, g *Generation, _ *Limits) {
				if on {
					g.AccessLog = log
				}
			})
			nc, _ := f.dial(b)
			request, buf := []byte(smallGet), make([]byte, 32<<10)
			b.ReportAllocs()
			for b.Loop() {
				roundTrip(b, nc, request, buf, len(smallResponse))
			}
		})
	}
}
