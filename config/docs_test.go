package config

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const docsFile = "../docs/configuration.md"

// The tables of the document stand between <!-- keys: path --> and <!-- end -->.
// Each lists the keys below its path (top is the file), without those that
// another table has.
var tablePattern = regexp.MustCompile(`(?s)<!-- keys: (\S*) -->\n(.*?)<!-- end -->`)

// TestDocsListEveryKey compares the document with what the code accepts, both
// ways and in every column.
func TestDocsListEveryKey(t *testing.T) {
	data, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(data)
	tables := tablePattern.FindAllStringSubmatch(doc, -1)
	var roots []string
	for i := range tables {
		tables[i][1] = strings.TrimPrefix(tables[i][1], "top")
		roots = append(roots, tables[i][1])
	}
	var documented []string
	for _, m := range tables {
		root, got := m[1], m[2]
		want := keyTable(root, roots)
		for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(got, -1) {
			documented = append(documented, strings.TrimPrefix(root+"."+row[1], "."))
		}
		if got != want && !*update {
			t.Errorf("the table of %q differs from the code (go test ./config -update writes it anew), want:\n%s", root, want)
		}
		doc = strings.Replace(doc, m[0], strings.Replace(m[0], "-->\n"+got, "-->\n"+want, 1), 1)
	}
	if *update {
		if err := os.WriteFile(docsFile, []byte(doc), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	var accepted []string
	for _, k := range Keys() {
		accepted = append(accepted, k.Path)
		if !slices.Contains(documented, k.Path) {
			t.Errorf("%s is accepted and not documented", k.Path)
		}
		if k.Doc == "" || k.Type == "" || k.Allowed == "" {
			t.Errorf("%s lacks meaning, type or allowed values: %+v", k.Path, k)
		}
	}
	for i, path := range documented {
		if !slices.Contains(accepted, path) {
			t.Errorf("%s is documented and not accepted", path)
		}
		if slices.Contains(documented[:i], path) {
			t.Errorf("%s is documented twice", path)
		}
	}
}

// keyTable renders the keys below root that no longer root has.
func keyTable(root string, roots []string) string {
	var b strings.Builder
	b.WriteString("| key | type | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n")
	for _, k := range Keys() {
		rest, ok := strings.CutPrefix("."+k.Path, strings.TrimSuffix("."+root, ".")+".")
		if !ok {
			continue
		}
		if slices.ContainsFunc(roots, func(r string) bool { return len(r) > len(root) && strings.HasPrefix(k.Path, r+".") }) {
			continue
		}
		def, allowed := k.Default, k.Allowed
		switch {
		case k.Required:
			def = "**required**"
		case def == "" && strings.HasPrefix(k.Type, "mapping"):
			def = "see its keys"
		default:
			def = escape(def)
		}
		if strings.Contains(allowed, "mapping with ") {
			allowed, _, _ = strings.Cut(allowed, "a mapping with ")
			allowed += "its keys"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", rest, escape(k.Type), def, escape(allowed), k.Doc)
	}
	return b.String()
}

// escape keeps Markdown from reading a text as markup.
func escape(s string) string {
	return regexp.MustCompile(`[*_~<>|\[\]$]`).ReplaceAllString(s, `\$0`)
}

// TestDocsExamplesAreRight parses each YAML example of the document. Parts of a
// file are completed with the rest of a minimal one.
func TestDocsExamplesAreRight(t *testing.T) {
	data, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(data), -1)
	if len(blocks) < 10 {
		t.Errorf("%d examples, want at least 10", len(blocks))
	}
	for i, m := range blocks {
		text := m[1]
		for _, part := range []struct{ key, stub string }{
			{"listeners:", "listeners: {web: \":8080\"}\n"}, {"routes:", "routes: [{pool: web}]\n"}, {"pools:", "pools: {web: {backends: \"127.0.0.1:3001\"}}\n"},
		} {
			if !strings.HasPrefix(text, part.key) && !strings.Contains(text, "\n"+part.key) {
				text += part.stub
			}
		}
		line := 1 + strings.Count(string(data[:strings.Index(string(data), m[0])]), "\n")
		if _, err := Parse(fmt.Sprintf("example %d in line %d", i+1, line), []byte(text), testEnv); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
}

func TestExamplesLoad(t *testing.T) {
	for _, name := range []string{"minimal", "full"} {
		t.Run(name, func(t *testing.T) {
			c, err := Load("../examples/" + name + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range c.Warnings {
				if !strings.HasPrefix(w.Msg, "there is no file /etc/steelyard/") { // It is of another machine.
					t.Errorf("warning: %v", w)
				}
			}
		})
	}
}

func TestMinimalExample(t *testing.T) {
	data, err := os.ReadFile("../examples/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(data), "\n"); lines > 10 {
		t.Errorf("%d lines, the promise is ten", lines)
	}
	c, err := Load("../examples/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Pools) != 1 || len(c.Pools[0].Backends) != 3 || c.Pools[0].Backends[2].Address != "127.0.0.1:3003" || c.Listeners[0].Address != ":8080" {
		t.Errorf("not what it should be:\n%s", dump(c))
	}
}

// TestFullExampleHasEveryKey compares the keys of full.yaml with Keys.
func TestFullExampleHasEveryKey(t *testing.T) {
	data, err := os.ReadFile("../examples/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	collectKeys(doc.Content[0], "", seen)
	for _, k := range Keys() {
		path := strings.Replace(k.Path, "x-<anything>", "x-defaults", 1)
		// The affinity of a split has the keys of that of a pool, where they stand;
		// a template stands in place of what is there.
		if !seen[path] && path != "access_log.template" && !strings.HasPrefix(path, "routes[].split.sticky.") {
			t.Errorf("%s is not in examples/full.yaml", k.Path)
		}
	}
}

// collectKeys notes the paths of all keys below n, in the form of Keys.
func collectKeys(n *yaml.Node, path string, seen map[string]bool) {
	switch n.Kind {
	case yaml.SequenceNode:
		for _, c := range n.Content {
			collectKeys(c, path+"[]", seen)
		}
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			p := strings.TrimPrefix(path+"."+n.Content[i].Value, ".")
			if path == "listeners" || path == "pools" {
				p = path + ".<name>"
			}
			seen[p] = true
			collectKeys(n.Content[i+1], p, seen)
		}
	}
}
