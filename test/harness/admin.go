package harness

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// PoolView is a pool as the admin API shows it.
type PoolView struct {
	Waiting int // requests in its queue
	Limits  []struct {
		Name     string
		Limit    int64
		InFlight int64 `json:"in_flight"`
	}

	Name     string
	Healthy  int
	Total    int
	FailOpen *time.Time `json:"fail_open_since"`
	Why      string
	Counters struct {
		Requests         int64
		Attempts         int64
		Retries          int64
		Ejections        int64
		FailOpens        int64 `json:"fail_opens"`
		FailOpenRequests int64 `json:"fail_open_requests"`
	}
	Backends []BackendView
	Sources  []SourceView
}

// BackendView is one of its backends.
type BackendView struct {
	Address      string
	State        string
	Reason       string
	Since        time.Time // when it became what it is
	Weight       int
	Percent      int        `json:"percent_of_weight"`
	DrainUntil   *time.Time `json:"drain_until"`
	DrainLeft    int64      `json:"drain_left_ms"`
	EjectedUntil *time.Time `json:"ejected_until"`
	Left         bool
	Held         bool
	InFlight     int64 `json:"in_flight"`
	Upgraded     int
	Requests     int64
	Failures     int64
	Connections  int64
	Source       string
	Name         string
	Tags         []string
	Meta         map[string]string
	Check        *struct {
		State    string
		Progress string
		Results  []struct {
			At      time.Time
			Latency float64 `json:"latency_ms"`
			OK      bool
			Status  int
			Error   string
		}
	}
}

// SourceView is one of its sources.
type SourceView struct {
	Name       string
	Members    int
	Error      string
	Alarm      string
	AlarmUntil *time.Time `json:"alarm_until"`
	Held       []string
}

// Pool asks the admin API, which the configuration must have opened with
// `admin: ADMIN`, for a pool.
func (s *Steelyard) Pool(t testing.TB, name string) PoolView {
	t.Helper()
	var p PoolView
	s.ask(t, "GET", "/api/v1/pools/"+name, "", &p)
	return p
}

// Backend is one backend of a pool; its Address is empty if the pool does not
// have it.
func (s *Steelyard) Backend(t testing.TB, pool, address string) BackendView {
	t.Helper()
	for _, b := range s.Pool(t, pool).Backends {
		if b.Address == address {
			return b
		}
	}
	return BackendView{}
}

// Order gives an order about a backend: drain, enable, disable or weight, with
// a JSON body such as {"for": "5s"} or "".
func (s *Steelyard) Order(t testing.TB, pool, address, action, body string) {
	t.Helper()
	s.ask(t, "POST", fmt.Sprintf("/api/v1/pools/%s/backends/%s/%s", pool, url.PathEscape(address), action), body, nil)
}

// Release carries out what the registry guard holds in a pool, and returns how
// many backends leave.
func (s *Steelyard) Release(t testing.TB, pool string) int {
	t.Helper()
	var answer struct{ Released int }
	s.ask(t, "POST", "/api/v1/pools/"+pool+"/release", "", &answer)
	return answer.Released
}

// ask sends a request to the admin API and reads its answer.
func (s *Steelyard) ask(t testing.TB, method, path, body string, into any) {
	t.Helper()
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	status, text, err := Do(&c, method, "http://"+s.Admin+path, body, "Content-Type: application/json")
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s %s: %d %s %v", method, path, status, text, err)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%s %s: %v in %q", method, path, err, text)
	}
}
