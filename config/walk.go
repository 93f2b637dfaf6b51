package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// walker carries what reading one file collects. It never stops at an error.
type walker struct {
	file     string
	env      func(string) (string, bool)
	missing  func(path string) bool // reports whether there is no such file
	disk     bool                   // the files that are named may be looked into
	errs     []*Error
	warnings []*Error
	// left is how many more values may be visited. Aliases let a small file
	// stand for an enormous one; this bounds the work.
	left int
	// compares is how many more names are compared to find a nearest one.
	compares int
}

// value is a node in its place: aliases are followed, but the position is where
// the file uses the value.
type value struct {
	node      *yaml.Node // never an alias
	path      string
	line, col int
}

// maxAliased is how many values aliases may add to those a file spells out.
const maxAliased = 250_000

// maxMergeDepth bounds << in <<, and finds the mapping that merges itself.
const maxMergeDepth = 16

func newWalker(file string, env func(string) (string, bool), root *yaml.Node) *walker {
	return &walker{file: file, env: env, left: 2*countNodes(root) + maxAliased, compares: 200_000}
}

func countNodes(n *yaml.Node) int {
	sum := 1
	for _, c := range n.Content {
		sum += countNodes(c)
	}
	return sum
}

// failed marks how many errors there are, to see later whether there are more.
func (w *walker) failed() int { return len(w.errs) }

// fail notes an error at v.
func (w *walker) fail(v value, e Error) {
	e.File, e.Line, e.Col = w.file, v.line, v.col
	if e.Path == "" {
		e.Path = v.path
	}
	w.errs = append(w.errs, &e)
}

// failf notes an error at v that consists of a message.
func (w *walker) failf(v value, format string, args ...any) {
	w.fail(v, Error{Msg: fmt.Sprintf(format, args...)})
}

// warnf notes something at v that is allowed and hardly meant.
func (w *walker) warnf(v value, format string, args ...any) {
	w.warnings = append(w.warnings, &Error{File: w.file, Line: v.line, Col: v.col, Path: v.path, Msg: fmt.Sprintf(format, args...)})
}

// near is nearest with a bound on how often one file may ask.
func (w *walker) near(got string, words []string) string {
	if w.compares -= len(words); w.compares < 0 {
		return ""
	}
	return nearest(got, words)
}

// spend counts n visits and reports whether they are within bounds; the first
// time they are not it notes an error.
func (w *walker) spend(v value, n int) bool {
	if w.left < 0 {
		return false
	}
	if w.left -= n; w.left < 0 {
		w.failf(v, "the aliases up to here stand for %d values more than the file spells out; what comes after is not read", maxAliased)
		return false
	}
	return true
}

// follow makes the value for node n at path. It is false when the bounds are
// used up.
func (w *walker) follow(n *yaml.Node, path string) (value, bool) {
	v := value{node: n, path: path, line: n.Line, col: n.Column}
	if n.Kind == yaml.AliasNode {
		v.node = n.Alias
	}
	if !w.spend(v, 1) {
		return v, false
	}
	if tag := v.node.Tag; v.node.Style&yaml.TaggedStyle != 0 && !slices.Contains(plainTags, v.node.ShortTag()) {
		w.failf(v, "the tag %q is not used in this file", clip(tag))
		return v, false
	}
	return v, true
}

// plainTags are the explicit tags that change nothing here.
var plainTags = []string{"!!str", "!!int", "!!float", "!!bool", "!!map", "!!seq"}

// entry is one key of a mapping with its value.
type entry struct {
	key value // path includes the key
	val *yaml.Node
}

func (e entry) name() string { return e.key.node.Value }

// entries lists the keys of a mapping in file order, with merge keys (<<)
// resolved: what the mapping says itself wins, then earlier merges over later
// ones. A duplicate key is an error and ignored.
func (w *walker) entries(v value) []entry { return w.entriesAt(v, 0) }

func (w *walker) entriesAt(v value, depth int) []entry {
	var own, merged []entry
	lines := map[string]int{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, ok := w.follow(v.node.Content[i], v.path)
		if !ok {
			continue
		}
		if key.node.Kind != yaml.ScalarNode {
			w.failf(key, "a key is %s", kindName(key.node))
			continue
		}
		name := key.node.Value
		key.path = join(v.path, name)
		if line, dup := lines[name]; dup {
			w.failf(key, "the key %q stands already in line %d", clip(name), line)
			continue
		}
		lines[name] = key.line
		if key.node.ShortTag() == "!!merge" {
			merged = append(merged, w.merge(v, v.node.Content[i+1], depth+1)...)
			continue
		}
		own = append(own, entry{key, v.node.Content[i+1]})
	}
	for _, e := range merged {
		if _, have := lines[e.name()]; !have {
			lines[e.name()] = e.key.line
			own = append(own, e)
		}
	}
	return own
}

// merge lists what << brings into the mapping at v: the keys of one mapping or
// of several.
func (w *walker) merge(v value, n *yaml.Node, depth int) []entry {
	m, ok := w.follow(n, v.path)
	if !ok {
		return nil
	}
	switch {
	case depth > maxMergeDepth:
		w.failf(m, "merge keys (<<) are nested more than %d deep; does this mapping merge itself?", maxMergeDepth)
	case m.node.Kind == yaml.MappingNode:
		return w.entriesAt(m, depth)
	case m.node.Kind == yaml.SequenceNode:
		var all []entry
		for _, c := range m.node.Content {
			all = append(all, w.merge(v, c, depth+1)...)
		}
		return all
	default:
		w.fail(m, Error{Msg: "<< merges " + kindName(m.node), Allowed: "an alias to a mapping such as *base, or a list of them"})
	}
	return nil
}

// items lists the values of a sequence. It is false when some were left out
// after noting an error.
func (w *walker) items(v value) (out []value, all bool) {
	all = true
	for i, n := range v.node.Content {
		item, ok := w.follow(n, v.path+"["+strconv.Itoa(i)+"]")
		if !ok {
			all = false
			continue
		}
		out = append(out, item)
	}
	return out, all
}

// text gives the text of a scalar with its environment variables expanded.
// allowed says what the place takes, for the messages.
func (w *walker) text(v value, allowed string) (string, bool) {
	switch {
	case isNull(v.node):
		w.fail(v, Error{Msg: "has no value", Allowed: allowed})
		return "", false
	case isBareTemplate(v.node):
		w.fail(v, Error{Msg: "is a mapping; a text that begins with { needs quotes", Allowed: allowed})
		return "", false
	case v.node.Kind != yaml.ScalarNode:
		w.fail(v, Error{Msg: "is " + kindName(v.node), Allowed: allowed})
		return "", false
	}
	s, _, problem := expand(v.node.Value, w.env)
	if problem != "" {
		w.failf(v, "%s", problem)
		return "", false
	}
	return s, true
}

// isBareTemplate reports whether n was probably meant as a text: {host} without
// quotes is a mapping with one empty key.
func isBareTemplate(n *yaml.Node) bool {
	return n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle != 0 && len(n.Content) == 2 && isNull(n.Content[1])
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// isText reports whether n is a scalar with a value.
func isText(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && !isNull(n) }

func kindName(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "empty"
	}
	return fmt.Sprintf("%q", clip(n.Value))
}

// join adds a key to a path, in quotes when it would be ambiguous without.
func join(path, key string) string {
	if key == "" || strings.ContainsAny(key, ". []\"\t\r\n") || len(key) > 100 {
		key = strconv.Quote(clip(key))
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
