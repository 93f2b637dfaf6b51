package discovery

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

func entry(node, id, address string, port int, change ...func(*api.ServiceEntry)) *api.ServiceEntry {
	e := &api.ServiceEntry{
		Node:    &api.Node{Node: node, Address: "10.0.0.1", Datacenter: "dc1"},
		Service: &api.AgentService{ID: id, Address: address, Port: port, Weights: api.AgentWeights{Passing: 1, Warning: 1}},
	}
	for _, f := range change {
		f(e)
	}
	return e
}

func TestConsulMembers(t *testing.T) {
	withMeta := func(pairs ...string) func(*api.ServiceEntry) {
		return func(e *api.ServiceEntry) {
			e.Service.Meta = map[string]string{}
			for i := 0; i < len(pairs); i += 2 {
				e.Service.Meta[pairs[i]] = pairs[i+1]
			}
		}
	}
	withWeights := func(passing, warning int) func(*api.ServiceEntry) {
		return func(e *api.ServiceEntry) { e.Service.Weights = api.AgentWeights{Passing: passing, Warning: warning} }
	}
	withCheck := func(status string) func(*api.ServiceEntry) {
		return func(e *api.ServiceEntry) { e.Checks = append(e.Checks, &api.HealthCheck{Status: status}) }
	}
	q := DefaultConsulQuery()
	q.Health = healthIgnore
	for _, tc := range []struct {
		name     string
		entry    *api.ServiceEntry
		want     string // address and weight
		problems string // has to be in what is complained about
	}{
		{"service address", entry("n", "i", "10.1.1.1", 80), "10.1.1.1:80 1", ""},
		{"node address", entry("n", "i", "", 80), "10.0.0.1:80 1", ""},
		{"IPv6", entry("n", "i", "fd00::1", 80), "[fd00::1]:80 1", ""},
		{"IPv6 in brackets", entry("n", "i", "[fd00::1]", 80), "[fd00::1]:80 1", ""},
		{"name", entry("n", "i", "app.internal", 80), "app.internal:80 1", ""},
		{"no port", entry("n", "i", "10.1.1.1", 0), "", "port 0"},
		{"no address at all", entry("n", "i", "", 80, func(e *api.ServiceEntry) { e.Node = nil }), "", "no host"},
		{"address with port", entry("n", "i", "10.1.1.1:80", 80), "", `"10.1.1.1:80"`},
		{"address with a space", entry("n", "i", "a b", 80), "", `"a b"`},
		{"socket", entry("n", "i", "", 0, func(e *api.ServiceEntry) { e.Service.SocketPath = "/run/app.sock" }), "unix:/run/app.sock 1", ""},
		{"relative socket", entry("n", "i", "", 0, func(e *api.ServiceEntry) { e.Service.SocketPath = "app.sock" }), "", "absolute path"},
		{"no service", &api.ServiceEntry{}, "", "without a service"},
		{"nothing", nil, "", "without a service"},
		{"weight", entry("n", "i", "a", 1, withWeights(7, 2)), "a:1 7", ""},
		{"weight in warning", entry("n", "i", "a", 1, withWeights(7, 2), withCheck("warning")), "a:1 2", ""},
		{"weight in critical", entry("n", "i", "a", 1, withWeights(7, 2), withCheck("critical")), "a:1 7", ""},
		{"weight 0 in warning", entry("n", "i", "a", 1, withWeights(7, 0), withCheck("warning")), "a:1 0", ""},
		{"no weights", entry("n", "i", "a", 1, withWeights(0, 0)), "a:1 1", ""},
		{"too heavy", entry("n", "i", "a", 1, withWeights(70000, 1)), "a:1 65535", ""},
		{"negative", entry("n", "i", "a", 1, withWeights(-1, 1)), "a:1 0", ""},
		{"weight of meta", entry("n", "i", "a", 1, withWeights(7, 2), withMeta("weight", " 12 ")), "a:1 12", ""},
		{"weight 0 of meta", entry("n", "i", "a", 1, withMeta("weight", "0")), "a:1 0", ""},
		{"fraction in meta", entry("n", "i", "a", 1, withWeights(7, 2), withMeta("weight", "1.5")), "a:1 7", `weight: "1.5"`},
		{"too much in meta", entry("n", "i", "a", 1, withWeights(7, 2), withMeta("weight", "65536")), "a:1 7", "65535"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var problems []string
			got := consulMembers([]*api.ServiceEntry{tc.entry}, q, func(_, p string) { problems = append(problems, p) })
			text := ""
			if len(got) == 1 {
				text = fmt.Sprintf("%s %d", got[0].Address, got[0].Weight)
			}
			if text != tc.want {
				t.Errorf("members %q, want %q", text, tc.want)
			}
			if all := strings.Join(problems, "; "); (all == "") != (tc.problems == "") || !strings.Contains(all, tc.problems) {
				t.Errorf("complaints %q, want %q", all, tc.problems)
			}
		})
	}
}

func TestConsulMembersOrderAndMeta(t *testing.T) {
	b := entry("b", "1", "10.1.1.3", 80)
	a2 := entry("a", "2", "10.1.1.2", 80)
	a1 := entry("a", "1", "10.1.1.1", 80, func(e *api.ServiceEntry) {
		e.Service.Tags, e.Service.Meta = []string{"v1"}, map[string]string{"zone": "x", "dc": "mine"}
	})
	twin := entry("c", "1", "10.1.1.1", 80)
	complaints := map[string]string{}
	complain := func(key, p string) { complaints[key] = p }
	got := consulMembers([]*api.ServiceEntry{twin, b, a2, a1}, DefaultConsulQuery(), complain)
	var order []string
	for _, m := range got {
		order = append(order, m.Address)
	}
	if want := []string{"10.1.1.1:80", "10.1.1.2:80", "10.1.1.3:80"}; !reflect.DeepEqual(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
	if len(complaints) != 1 || !strings.Contains(complaints["c/1/taken"], "another instance") {
		t.Errorf("complaints %q", complaints)
	}
	first := got[0]
	if !reflect.DeepEqual(first.Tags, []string{"v1"}) ||
		!reflect.DeepEqual(first.Meta, map[string]string{"zone": "x", "node": "a", "dc": "mine"}) {
		t.Errorf("tags %q, meta %q", first.Tags, first.Meta)
	}
	near := DefaultConsulQuery()
	near.Near = "_agent"
	if got := consulMembers([]*api.ServiceEntry{b, a1}, near, complain); got[0].Address != "10.1.1.3:80" {
		t.Error("the order of distances was not kept")
	}
}

func TestSameMembers(t *testing.T) {
	base := func() []Member {
		return []Member{{Address: "a:1", Weight: 1, Tags: []string{"x"}, Meta: map[string]string{"k": "v"}}, {Address: "b:1", Weight: 1}}
	}
	for _, tc := range []struct {
		name   string
		change func([]Member) []Member
		same   bool
	}{
		{"nothing", func(m []Member) []Member { return m }, true},
		{"order", func(m []Member) []Member { return []Member{m[1], m[0]} }, true},
		{"fewer", func(m []Member) []Member { return m[:1] }, false},
		{"address", func(m []Member) []Member { m[0].Address = "c:1"; return m }, false},
		{"weight", func(m []Member) []Member { m[0].Weight = 2; return m }, false},
		{"state", func(m []Member) []Member { m[0].State = Failing; return m }, false},
		{"reason", func(m []Member) []Member { m[0].Reason = "r"; return m }, false},
		{"name", func(m []Member) []Member { m[0].Name = "n"; return m }, false},
		{"tags", func(m []Member) []Member { m[0].Tags = nil; return m }, false},
		{"meta", func(m []Member) []Member { m[0].Meta = map[string]string{"k": "w"}; return m }, false},
	} {
		if got := sameMembers(base(), tc.change(base())); got != tc.same {
			t.Errorf("%s: sameMembers = %v", tc.name, got)
		}
	}
}

func FuzzConsulWeight(f *testing.F) {
	for _, s := range []string{"1", " 5 ", "-1", "65536", "0x10", "1e3", "१", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		complained := false
		e := entry("n", "i", "a", 1, func(e *api.ServiceEntry) { e.Service.Meta = map[string]string{"weight": text} })
		w := consulWeight(e, "weight", func(_, p string) { complained = true })
		if w < 0 || w > maxWeight || complained && w != 1 {
			t.Errorf("weight %d of %q", w, text)
		}
	})
}

func TestLeftOut(t *testing.T) {
	instance := func(id string, port int) *api.ServiceEntry {
		return &api.ServiceEntry{Node: &api.Node{Node: "n", Address: "10.0.0.1"}, Service: &api.AgentService{ID: id, Service: "api", Port: port}}
	}
	for _, tc := range []struct {
		name    string
		entries []*api.ServiceEntry
		want    string
	}{
		{"one", []*api.ServiceEntry{instance("a", 0)},
			"service api has 1 instance, none of which can be used: instance a on node n has port 0, and is left out; register it with the port it listens on"},
		{"the first of two", []*api.ServiceEntry{instance("a", 0), instance("b", 70000)},
			"service api has 2 instances, none of which can be used: instance a on node n has port 0, and is left out; register it with the port it listens on"},
		{"not all", []*api.ServiceEntry{instance("a", 0), instance("b", 80)}, ""},
	} {
		if got := leftOut(ConsulQuery{Service: "api"}, tc.entries); got != tc.want {
			t.Errorf("%s: %q; want %q", tc.name, got, tc.want)
		}
	}
}
