package explain_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"steelyard/internal/explain"
	"steelyard/test/harness"
)

// TestTheAdminAPIExplains asks a Steelyard of its own process, before and after a
// backend is drained.
func TestTheAdminAPIExplains(t *testing.T) {
	addresses := strings.Split(apps(t, 3), ", ")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
admin: {address: ADMIN}
routes:
  - {match: {path: /*}, pool: web, %s}
pools:
  web: {backends: [%s]}
`, tells, strings.Join(addresses, ", ")))
	client := harness.Client(t)
	question := func(method string) (a explain.Answer) {
		t.Helper()
		status, text, err := harness.Do(client, "POST", "http://"+s.Admin+"/api/v1/explain",
			`{"method": "`+method+`", "host": "app.test", "path": "/a?b"}`, "Content-Type: application/json")
		if err != nil || status != http.StatusOK {
			t.Fatalf("%d %s %v", status, text, err)
		}
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		return a
	}
	c := harness.Dial(t, s.Address)
	for i := range 8 {
		if i == 4 {
			s.Order(t, "web", addresses[0], "drain", "")
		}
		a := question("GET")
		m := c.Exchange(t, "GET /a?b HTTP/1.1\r\nHost: app.test\r\n\r\n")
		if a.Backend != m.Value("X-Backend") || a.Sends != m.Value("X-Got") || len(a.Candidates) != 3 {
			t.Errorf("explained %+v, got %q", a, m.Fields)
		}
		if why := a.Candidates[0].Why; i >= 4 && why != "draining: drained by the operator; it keeps only bound clients" {
			t.Errorf("of the drained backend it says %q", why)
		}
	}
	if a := question("CONNECT"); a.Cause != "not_supported" || a.Status != 501 {
		t.Errorf("%+v", a)
	}
}
