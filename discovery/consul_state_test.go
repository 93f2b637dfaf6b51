package discovery

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hashicorp/consul/api"
)

func TestConsulState(t *testing.T) {
	pass := &api.HealthCheck{CheckID: "serfHealth", Name: "Serf Health Status", Status: "passing", Output: "alive"}
	warn := &api.HealthCheck{CheckID: "w", Name: "load", Status: "warning", Output: "\n  load 9.1 \nmore"}
	crit := &api.HealthCheck{CheckID: "c", Name: "http", Status: "critical", Output: "HTTP 500\nbody"}
	odd := &api.HealthCheck{CheckID: "o", Status: "rebooting"}
	node := &api.HealthCheck{CheckID: "_node_maintenance", Status: "critical", Notes: "new kernel"}
	service := &api.HealthCheck{CheckID: "_service_maintenance:api-1", Status: "critical"}
	plainNode := &api.HealthCheck{CheckID: "_node_maintenance", Status: "critical", Notes: "Maintenance mode is enabled for this node, but no reason was provided. This is a default message."}
	for _, tc := range []struct {
		name   string
		checks api.HealthChecks
		health string
		state  State
		reason string
	}{
		{"no checks", nil, "passing", Serving, ""},
		{"all pass", api.HealthChecks{pass, pass}, "passing", Serving, ""},
		{"warning is not passing", api.HealthChecks{pass, warn}, "passing", Failing, `check "load" is warning: load 9.1`},
		{"warning may do", api.HealthChecks{pass, warn}, "warning", Serving, ""},
		{"critical", api.HealthChecks{pass, crit}, "passing", Failing, `check "http" is critical: HTTP 500`},
		{"critical with warning", api.HealthChecks{warn, crit}, "warning", Failing, `check "http" is critical: HTTP 500`},
		{"critical is worse than warning", api.HealthChecks{warn, crit}, "passing", Failing, `check "http" is critical: HTTP 500`},
		{"unknown state", api.HealthChecks{odd}, "passing", Failing, `check "o" is in the unknown state "rebooting"`},
		{"unknown state with warning", api.HealthChecks{odd}, "warning", Failing, `check "o" is in the unknown state "rebooting"`},
		{"no state", api.HealthChecks{{CheckID: "x"}}, "passing", Failing, `check "x" is in the unknown state ""`},
		{"ignored", api.HealthChecks{crit, warn, odd}, "ignore", Serving, ""},
		{"node in maintenance", api.HealthChecks{pass, node}, "passing", Draining, "node in maintenance: new kernel"},
		{"node without reason", api.HealthChecks{pass, plainNode}, "passing", Draining, "node in maintenance"},
		{"service in maintenance", api.HealthChecks{service, pass}, "passing", Draining, "service in maintenance"},
		{"maintenance before critical", api.HealthChecks{crit, service}, "passing", Draining, "service in maintenance"},
		{"maintenance though ignored", api.HealthChecks{crit, node}, "ignore", Draining, "node in maintenance: new kernel"},
		{"maintenance as a state", api.HealthChecks{{CheckID: "m", Status: "maintenance"}}, "passing", Draining, "service in maintenance"},
		{"a nil check", api.HealthChecks{nil, crit}, "passing", Failing, `check "http" is critical: HTTP 500`},
		{"long output", api.HealthChecks{{Name: "n", Status: "critical", Output: strings.Repeat("é", 300)}}, "passing",
			Failing, `check "n" is critical: ` + strings.Repeat("é", 87) + "…"},
		{"control characters", api.HealthChecks{{Name: "n", Status: "critical", Output: "a\x1b[31mb\xff"}}, "passing",
			Failing, `check "n" is critical: a [31mb�`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			state, reason := consulState(tc.checks, tc.health)
			if state != tc.state || reason != tc.reason {
				t.Errorf("consulState = %v, %q; want %v, %q", state, reason, tc.state, tc.reason)
			}
		})
	}
}

func FuzzConsulState(f *testing.F) {
	f.Add("c", "critical", "out\nput", "notes", "passing")
	f.Add("_node_maintenance", "critical", "", "\xff\x00", "ignore")
	f.Fuzz(func(t *testing.T, id, status, output, notes, health string) {
		state, reason := consulState(api.HealthChecks{{CheckID: id, Status: status, Output: output, Notes: notes}}, health)
		if len(reason) > maxReason || !utf8.ValidString(reason) || strings.ContainsAny(reason, "\n\r\x00\x1b") {
			t.Errorf("reason %q", reason)
		}
		if (state == Serving) != (reason == "") {
			t.Errorf("state %v with reason %q", state, reason)
		}
	})
}

func TestWarned(t *testing.T) {
	for _, tc := range []struct {
		states []string
		want   bool
	}{
		{nil, false}, {[]string{"passing"}, false}, {[]string{"passing", "warning"}, true},
		{[]string{"warning", "critical"}, false},
	} {
		var checks api.HealthChecks
		for _, s := range tc.states {
			checks = append(checks, &api.HealthCheck{Status: s})
		}
		if got := warned(checks); got != tc.want {
			t.Errorf("warned(%q) = %v", tc.states, got)
		}
	}
}
