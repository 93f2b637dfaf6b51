package metrics

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// full is a Sample with everything in it.
func full(pools, backends int) *Sample {
	s := &Sample{
		At:         time.Unix(1700000000, 0),
		Generation: GenerationSample{ID: 3, Since: time.Unix(1700000000, 0), Reloads: 2, FailedReloads: 1, Rollbacks: 1},
		Listeners: []ListenerSample{{Name: "main", Address: "127.0.0.1:80", Connections: 4, Accepted: 9, Limit: 10, Rejected: []CauseCount{{"max_connections", 3}}, TLS: &TLSSample{
			Handshakes: [2][2]int64{{1, 2}, {3, 4}}, Failed: []CauseCount{{"plain_http", 5}},
			Certificates: []CertificateSample{{File: "a.pem", Until: time.Unix(1800000000, 0), Problem: "x", Stapled: time.Unix(1700003600, 0)}, {File: "b.pem", Until: time.Unix(1900000000, 0)}},
		}}},
		Routes:     []RouteSample{{Name: "web", Classes: [6]int64{1, 2, 3, 4, 5, 6}}},
		Refused:    []RefusedCount{{0, "denied", 4}},
		RateLimits: RateLimitSample{4096, 2},
		Errors:     []CauseCount{{"no_route", 7}, {"no_backend", 5}},
		Unpooled:   []CauseCount{{"no_route", 7}, {"no_backend", 0}},
		Retries:    []RetryCount{{"stale", "reset_before_response", 8}},
		AccessLog:  AccessLogSample{Lines: 10, Dropped: 2, Failed: 1},
	}
	var d Distribution
	var h Histogram
	for i := range 1000 {
		h.Observe(time.Duration(i) * 100 * time.Microsecond)
	}
	h.Read(&d)
	for i := range pools {
		p := PoolSample{
			Name: fmt.Sprintf("pool%d", i), Policy: "round_robin", Classes: [6]int64{0, 0, 20, 0, 0, 2}, Latency: d, Queued: d,
			Errors: []CauseCount{{"no_backend", 5}}, Bindings: true, Waiting: 3, InFlightLimit: 50, Admitted: 7, AdaptiveLimit: 40, Pending: 6, BaseLatency: 20 * time.Millisecond,
			Requests: 22, Attempts: 25, Sources: []SourceSample{{Name: "file a", Members: 2, Failing: true, Held: 1}},
		}
		for j := range backends {
			p.Backends = append(p.Backends, BackendSample{
				Address: fmt.Sprintf("10.0.%d.%d:80", i, j), State: "healthy", Usable: true, Weight: 2, Percent: 50, InFlight: 1, Bound: 6,
				Classes: [6]int64{0, 0, 10, 0, 0, 1}, Requests: 12, Failures: 1, FirstByte: d, Open: 3, Idle: 1, Dials: 4,
				Checked: true, ChecksPassed: 5, ChecksFailed: 1, CheckLatency: time.Millisecond,
			})
		}
		s.Pools = append(s.Pools, p)
	}
	return s
}

// scrape asks a handler over s for its metrics in a format.
func scrape(t testing.TB, s *Sample, accept string) []byte {
	t.Helper()
	h := NewHandler(func(into *Sample) { *into = *s }, Build{"1.2.3", "go1.25"})
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.Bytes()
}

// TestFigures: what is in the sample is what is read, with the right labels.
func TestFigures(t *testing.T) {
	text := string(scrape(t, full(1, 1), "text/plain"))
	for _, want := range []string{
		`steelyard_build_info{goversion="go1.25",version="1.2.3"} 1`,
		`steelyard_config_generation 3`,
		`steelyard_listener_tls_handshakes_total{address="127.0.0.1:80",listener="main",resumed="true",version="1.3"} 4`,
		`steelyard_listener_tls_handshakes_total{address="127.0.0.1:80",listener="main",resumed="false",version="1.2"} 1`,
		`steelyard_listener_tls_handshake_failures_total{address="127.0.0.1:80",listener="main",reason="plain_http"} 5`,
		`steelyard_tls_certificate_expiry_timestamp_seconds{file="a.pem",listener="main"} 1.8e+09`,
		`steelyard_tls_certificate_problem{file="a.pem",listener="main"} 1`,
		`steelyard_tls_certificate_problem{file="b.pem",listener="main"} 0`,
		`steelyard_tls_ocsp_staple_expiry_timestamp_seconds{file="a.pem",listener="main"} 1.7000036e+09`,
		`steelyard_config_generation_timestamp_seconds 1.7e+09`,
		`steelyard_config_last_reload_successful 0`,
		`steelyard_config_reloads_total{result="success"} 2`,
		`steelyard_config_reloads_total{result="failure"} 1`,
		`steelyard_listener_connections{address="127.0.0.1:80",listener="main"} 4`,
		`steelyard_listener_connections_limit{address="127.0.0.1:80",listener="main"} 10`,
		`steelyard_listener_connections_rejected_total{address="127.0.0.1:80",listener="main",reason="max_connections"} 3`,
		`steelyard_route_responses_total{class="none",route="web"} 1`,
		`steelyard_route_responses_total{class="5xx",route="web"} 6`,
		`steelyard_errors_total{cause="no_route",pool=""} 7`,
		`steelyard_errors_total{cause="no_backend",pool=""} 0`,
		`steelyard_errors_total{cause="no_backend",pool="pool0"} 5`,
		`steelyard_backend_bound_sessions{backend="10.0.0.0:80",pool="pool0"} 6`,
		`steelyard_retries_total{class="stale",reason="reset_before_response"} 8`,
		`steelyard_access_log_lines_total{result="dropped"} 2`,
		`steelyard_pool_latency_seconds_bucket{pool="pool0",le="+Inf"} 1000`,
		`steelyard_pool_latency_seconds_count{pool="pool0"} 1000`,
		`steelyard_pool_backends{pool="pool0",state="healthy"} 1`,
		`steelyard_pool_backends{pool="pool0",state="ejected"} 0`,
		`steelyard_source_held_members{pool="pool0",source="file a"} 1`,
		`steelyard_backend_state{backend="10.0.0.0:80",pool="pool0",state="healthy"} 1`,
		`steelyard_backend_weight_ratio{backend="10.0.0.0:80",pool="pool0"} 0.5`,
		`steelyard_backend_connections{backend="10.0.0.0:80",pool="pool0",state="busy"} 2`,
		`steelyard_backend_checks_total{backend="10.0.0.0:80",pool="pool0",result="failed"} 1`,
		`steelyard_backends_not_listed 0`,
		`go_goroutines `,
		`process_open_fds `,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("there is no %s", want)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if err != nil {
		t.Error(err)
	}
}

// TestHostileNames: what a registry or a file may call things fails no scrape.
func TestHostileNames(t *testing.T) {
	s := full(2, 2)
	s.Pools[0].Name = "a\xff\"\n"
	s.Pools[1].Sources = []SourceSample{{Name: "x"}, {Name: "x"}, {Name: "x #2"}}
	s.Routes = append(s.Routes, s.Routes[0])
	text := string(scrape(t, s, "text/plain"))
	for _, want := range []string{`pool="a` + "\uFFFD" + `\"\n"`, `source="x #2"`, `source="x #2 #2"`, `route="web #2"`} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s", want)
		}
	}
}

// TestBackendsAreBounded: those beyond the limit are counted, and the pools are
// still whole.
func TestBackendsAreBounded(t *testing.T) {
	s := full(26, 100)
	text := string(scrape(t, s, "text/plain"))
	if n := strings.Count(text, "\nsteelyard_backend_up{"); n != MaxBackends {
		t.Errorf("%d backends have metrics", n)
	}
	for _, want := range []string{"steelyard_backends_not_listed 100", `steelyard_pool_usable_backends{pool="pool25"} 100`} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("there is no %s", want)
		}
	}
}

// decode reads the family of a name from a scrape in protobuf.
func decode(t *testing.T, body []byte, name string) *dto.MetricFamily {
	t.Helper()
	d := expfmt.NewDecoder(bytes.NewReader(body), expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		var f dto.MetricFamily
		switch err := d.Decode(&f); {
		case err == io.EOF:
			t.Fatalf("there is no %s", name)
		case err != nil:
			t.Fatal(err)
		case f.GetName() == name:
			return &f
		}
	}
}

// TestHistograms: classic and native buckets are of the same observations, and
// each lies near where it was.
func TestHistograms(t *testing.T) {
	const accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
	f := decode(t, scrape(t, full(1, 1), accept), "steelyard_pool_latency_seconds")
	h := f.Metric[0].Histogram
	if h.GetSampleCount() != 1000 || h.GetSchema() != nativeSchema || len(h.PositiveSpan) == 0 {
		t.Fatalf("%v", h)
	}
	for _, b := range h.Bucket {
		if math.IsInf(b.GetUpperBound(), 1) {
			continue
		}
		// One observation each 0.1 ms up to 100 ms.
		want := min(b.GetUpperBound()*10000, 1000)
		if got := float64(b.GetCumulativeCount()); got < want*0.85-2 || got > want*1.15+2 {
			t.Errorf("%v observations up to %v s, want about %v", got, b.GetUpperBound(), want)
		}
	}
	index, count, total, next := 0, int64(0), int64(0), 0
	for _, span := range h.PositiveSpan {
		index += int(span.GetOffset())
		for range span.GetLength() {
			count += h.PositiveDelta[next]
			total += count
			next++
			upper := math.Exp2(float64(index) / 4)
			if want := min(upper*10000, 1000); float64(total) < want*0.85-2 || float64(total) > want*1.15+2 {
				t.Errorf("%d observations up to %v s in native buckets, want about %v", total, upper, want)
			}
			index++
		}
	}
	if total != 1000 {
		t.Errorf("%d observations in native buckets", total)
	}
}

// TestDocumentation compares the code with docs/metrics.md.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `steelyard_") {
			documented = append(documented, strings.TrimSpace(line))
		}
	}
	for i, f := range families {
		labels := ""
		if len(f.labels) > 0 {
			labels = "`" + strings.Join(f.labels, "`, `") + "`"
		}
		row := strings.ReplaceAll(fmt.Sprintf("| `%s` | %s | %s | %s |", f.name, f.kind, labels, f.help), "|  |", "| |")
		if !slices.Contains(documented, row) {
			t.Errorf("docs/metrics.md has no row\n%s", row)
		} else if documented[min(i, len(documented)-1)] != row {
			t.Errorf("the row of %s is not at its place", f.name)
		}
	}
	if len(documented) != len(families) {
		t.Errorf("%d rows, %d metrics", len(documented), len(families))
	}
}

func BenchmarkScrape(b *testing.B) {
	s := full(100, 20)
	for b.Loop() {
		scrape(b, s, "text/plain")
	}
}

// TestAPanicWhileCollectingIsSurvived: it costs the scrape its figures, and
// nothing else; the next one has them.
func TestAPanicWhileCollectingIsSurvived(t *testing.T) {
	broken := true
	h := NewHandler(func(into *Sample) {
		if broken {
			panic("a fault")
		}
		*into = *full(1, 1)
	}, Build{"1.2.3", "go1.25"})
	ask := func() (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return w.Code, w.Body.String()
	}
	if code, text := ask(); code != http.StatusOK || strings.Contains(text, "steelyard_pool") || !strings.Contains(text, "go_goroutines") {
		t.Errorf("%d %.200s", code, text)
	}
	broken = false
	if code, text := ask(); code != http.StatusOK || !strings.Contains(text, "steelyard_pool_requests_total") {
		t.Errorf("after it: %d %.200s", code, text)
	}
}
