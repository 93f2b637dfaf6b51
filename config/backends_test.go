package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseBackends(t *testing.T) {
	long := Backend{Address: "127.0.0.1:3002", Weight: 2, Backup: true, MaxConnections: 5}
	for _, tt := range []struct {
		name, text string
		want       []Backend
	}{
		{"addresses", "- 127.0.0.1:3001\n- unix:/run/app.sock\n", []Backend{{Address: "127.0.0.1:3001", Weight: 1, Line: 1}, {Address: "unix:/run/app.sock", Weight: 1, Line: 2}}},
		{"mappings", "# two\n- {address: 127.0.0.1:3002, weight: 2, backup: true, max_connections: 5}\n", at(2, long)},
		{"JSON", `[{"address": "127.0.0.1:3002", "weight": 2, "backup": true, "max_connections": 5}]`, at(1, long)},
		{"JSON on lines with tabs", "[\n\t{\n\t\t\"address\": \"127.0.0.1:3002\",\n\t\t\"weight\": 2, \"backup\": true,\n\t\t\"max_connections\": 5\n\t}\n]\n", at(2, long)},
		{"environment", "- app:${PORT}\n", at(1, Backend{Address: "app:3001", Weight: 1})},
		{"anchors", "- &a {address: app:1, weight: 3}\n- {<<: *a, address: app:2}\n", []Backend{{Address: "app:1", Weight: 3, Line: 1}, {Address: "app:2", Weight: 3, Line: 2}}},
		{"weight 0 and backups alone", "- {address: app:1, weight: 0, backup: true}\n", at(1, Backend{Address: "app:1", Backup: true})},
		{"nobody", "[]\n", []Backend{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseBackends("list.yaml", []byte(tt.text), testEnv)
			if err != nil || got == nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func at(line int, b Backend) []Backend {
	b.Line = line
	return []Backend{b}
}

func TestParseBackendsRefuses(t *testing.T) {
	const list = "; allowed: one backend per line with - in front, or [a, b]"
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "list:1:1: the file is empty; write [] if there is to be no backend"},
		{"comments", "# nobody\n", "list:1:1: the file is empty; write [] if there is to be no backend"},
		{"null", "null\n", "list:1:1: the file is empty, not a list of backends" + list},
		{"a mapping", "backends: [app:1]\n", "list:1:1: the file is a mapping, not a list of backends" + list},
		{"lines without dashes", "app:1\napp:2\n", `list:1:1: the file is "app:1 app:2", not a list of backends` + list},
		{"two documents", "[app:1]\n---\n[app:2]\n", "list:2:1: a second YAML document begins here; allowed: one document in a file"},
		{"syntax", "- app:1\n- {address: app:2\n", "list:2:1: this is not YAML: did not find expected ',' or '}'"},
		{"no value", "-\n", "list:1:2: [0]: has no value; allowed: an address, or a mapping with address, weight, backup, max_connections"},
		{
			"several", "- app\n- {adress: app:1}\n- {address: app:2, weight: -1, weight: 2}\n- app:3\n- APP:3\n- ${NONE}:1\n",
			`list:1:3: [0]: "app" is not an address, it has no port; allowed: host:port or unix:/path; ports are 1 to 65535; did you mean "app:80"?
list:2:4: [1].adress: unknown key "adress"; allowed: address, weight, backup, max_connections; did you mean "address"?
list:3:28: [2].weight: -1 is too small; allowed: 0 to 65535
list:3:32: [2].weight: the key "weight" stands already in line 3
list:5:3: [4]: app:3 stands already in line 4 of this file; give one of them more weight instead
list:6:3: [5]: environment variable NONE is not set; set it or write ${NONE:-default}, and $${NONE} for a literal ${NONE}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseBackends("list", []byte(tt.text), testEnv)
			var es Errors
			if !errors.As(err, &es) || got != nil {
				t.Fatalf("got %v, %v", got, err)
			}
			if err.Error() != tt.want {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

// TestParseManyBackends shows that the time grows with the number, not with its
// square: a source may well have 10,000.
func TestParseManyBackends(t *testing.T) {
	var b strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&b, "- 10.0.%d.%d:80\n", i/250, i%250+1)
	}
	got, err := ParseBackends("list", []byte(b.String()), testEnv)
	if err != nil || len(got) != 20000 {
		t.Errorf("%d backends, %v", len(got), err)
	}
}

// FuzzParseBackends holds for any bytes: no panic, no endless work, and either
// backends that are distinct and valid or Errors with positions in the file.
func FuzzParseBackends(f *testing.F) {
	for _, text := range []string{
		"[]", "- app:1\n- {address: app:2, weight: 3, backup: true}\n", `["app:1", {"address": "app:2", "max_connections": 5}]`,
		"", "{}", "- ${PORT}\n", "- &a {address: app:1}\n- *a\n", "&a [*a]", "[[a]]", "- app:1\n-", "\t- a", "- {<<: [{weight: 1}], address: app:1}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		got, err := ParseBackends("fuzz", data, testEnv)
		if err != nil {
			if got != nil {
				t.Error("backends beside an error")
			}
			checkPositions(t, data, err)
			return
		}
		seen := map[string]bool{}
		for _, b := range got {
			if again, bad := parseAddress(b.Address, false); bad != nil || again != b.Address || seen[b.Address] || b.Weight < 0 || b.Line < 1 {
				t.Errorf("backend %+v", b)
			}
			seen[b.Address] = true
		}
	})
}
