package discovery

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/consul/api"
)

// maxReason bounds Member.Reason.
const maxReason = 200

// consulState is what Consul's checks of one instance, those of its node
// included, mean for it. health is ConsulQuery.Health. The worst check counts;
// maintenance of service or node comes before everything, since somebody has
// asked for it, and holds when checks are ignored. An unknown status is not
// taken for health.
func consulState(checks api.HealthChecks, health string) (State, string) {
	for _, c := range checks {
		if c != nil && inMaintenance(c) && c.Status != api.HealthPassing {
			return Draining, clip(maintenanceReason(c))
		}
	}
	if health == healthIgnore {
		return Serving, ""
	}
	warning := ""
	for _, c := range checks {
		if c == nil {
			continue
		}
		switch c.Status {
		case api.HealthPassing:
		case api.HealthWarning:
			if warning == "" {
				warning = checkReason(c)
			}
		default:
			return Failing, clip(checkReason(c))
		}
	}
	if warning != "" && health != healthWarning {
		return Failing, clip(warning)
	}
	return Serving, ""
}

// warned reports whether the worst check is in warning, which is when Consul's
// weight for warning holds.
func warned(checks api.HealthChecks) bool {
	found := false
	for _, c := range checks {
		if c == nil || c.Status == api.HealthPassing {
			continue
		}
		if c.Status != api.HealthWarning {
			return false
		}
		found = true
	}
	return found
}

func inMaintenance(c *api.HealthCheck) bool {
	return c.CheckID == api.NodeMaint || strings.HasPrefix(c.CheckID, api.ServiceMaintPrefix) ||
		c.Status == api.HealthMaint
}

func maintenanceReason(c *api.HealthCheck) string {
	what := "service in maintenance"
	if c.CheckID == api.NodeMaint {
		what = "node in maintenance"
	}
	// Consul's own text says nothing that what does not.
	if c.Notes == "" || strings.HasPrefix(c.Notes, "Maintenance mode is enabled for this") {
		return what
	}
	return what + ": " + c.Notes
}

func checkReason(c *api.HealthCheck) string {
	name := c.Name
	if name == "" {
		name = c.CheckID
	}
	status := c.Status
	if status != api.HealthCritical && status != api.HealthWarning {
		status = fmt.Sprintf("in the unknown state %q", status)
	}
	reason := fmt.Sprintf("check %q is %s", name, status)
	if line := firstLine(c.Output); line != "" {
		reason += ": " + line
	}
	return reason
}

// firstLine is the first line of s that is not blank.
func firstLine(s string) string {
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}

// clip makes one line of at most maxReason bytes of text from outside.
func clip(s string) string {
	if len(s) > 4*maxReason {
		s = s[:4*maxReason]
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	if len(s) <= maxReason {
		return s
	}
	const more = "…"
	cut := maxReason - len(more)
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + more
}
