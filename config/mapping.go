package config

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	yamlMapping  = yaml.MappingNode
	yamlSequence = yaml.SequenceNode
	yamlScalar   = yaml.ScalarNode
)

// mapping declares one mapping of the file: its keys, stored in a T. It is the
// only place that knows them; decoding, the hints for unknown keys, and the
// documentation all go by it.
type mapping[T any] struct {
	// noun names it in messages: "a pool".
	noun   string
	fields []field[T]
	// fresh makes a T with every default; nil means the zero value.
	fresh func() T
	// short reads what may stand in place of the mapping; it reports false when v is not of
	// that form. shortIs describes the form.
	short   func(w *walker, v value, to *T) bool
	shortIs string
	// empty allows the key without a value, meaning all defaults.
	empty bool
	// ignores reports whether an unknown key is left alone.
	ignores func(key string) bool
	// check looks at the keys together. It runs even when some had errors, which
	// section.good tells.
	check func(w *walker, s section, to *T)
	// validate is the owning package's own check of the values.
	validate func(*T) error
	// prefix is what the owning package puts before the names of these keys.
	prefix string
	// bounds names, for a key, those on which it depends what the key may be:
	// it is not judged without them.
	bounds map[string][]string
}

// field is one key of a mapping.
type field[T any] struct {
	name, doc    string
	typ, allowed string
	def          string // overrides show
	required     string // what is wrong when it is absent; empty for an optional key
	read         func(w *walker, v value, to *T) bool
	show         func(def *T) string
	keys         func(path string, def *T) []Key
}

// key declares a key whose value of kind k is kept in the place that place gives.
func key[T, V any](name string, k kind[V], place func(*T) *V, doc string) field[T] {
	f := field[T]{name: name, doc: doc, typ: k.typ, allowed: k.allowed}
	f.read = func(w *walker, v value, to *T) bool { return k.read(w, v, place(to)) }
	if k.show != nil {
		f.show = func(def *T) string { return k.show(*place(def)) }
	}
	if k.keys != nil {
		f.keys = func(path string, def *T) []Key { return k.keys(path, place(def)) }
	}
	return f
}

// needed marks a key that must be there.
func (f field[T]) needed() field[T] { return f.neededFor("is missing") }

// neededFor is needed with another word on what its absence means.
func (f field[T]) neededFor(why string) field[T] {
	f.required = why
	return f
}

// defaults replaces the default in the documentation, where the zero value means
// something that has to be said.
func (f field[T]) defaults(text string) field[T] {
	f.def = text
	return f
}

// section is a mapping that has been read: where it stands and where its keys do.
type section struct {
	value
	at     map[string]value
	failed map[string]bool // keys whose value had an error
	meant  map[string]bool // keys that an unknown one was probably meant to be
}

func (s section) has(name string) bool { _, ok := s.at[name]; return ok }

// good reports whether none of the keys had an error.
func (s section) good(names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return s.failed[n] || s.meant[n] })
}

// where is the place of a key, or of the mapping when the key is absent.
func (s section) where(name string) value {
	if v, ok := s.at[name]; ok {
		return v
	}
	v := s.value
	v.path = join(v.path, name)
	return v
}

// oneOf notes an error unless exactly one of the keys is there.
func (s section) oneOf(w *walker, names ...string) bool {
	var have []string
	for _, n := range names {
		if s.has(n) {
			have = append(have, n)
		}
	}
	switch {
	case len(have) == 1:
		return true
	case len(have) == 0 && s.good(names...):
		w.fail(s.value, Error{Msg: "one key is missing", Allowed: "exactly one of " + strings.Join(names, ", ")})
	case len(have) > 1:
		w.fail(s.at[have[len(have)-1]], Error{Msg: fmt.Sprintf("cannot stand beside %s", strings.Join(have[:len(have)-1], " and ")), Allowed: "exactly one of " + strings.Join(names, ", ")})
	}
	return false
}

// kind makes the mapping usable as the value of a key.
func (m mapping[T]) kind() kind[T] {
	k := kind[T]{typ: "mapping", read: m.read, fresh: m.fresh, allowed: m.allowed(), keys: m.keys}
	if m.shortIs != "" {
		k.typ += ", or " + m.shortIs
	}
	return k
}

func (m mapping[T]) names() []string {
	names := make([]string, len(m.fields))
	for i, f := range m.fields {
		names[i] = f.name
	}
	return names
}

func (m mapping[T]) allowed() string {
	text := "a mapping with " + someOf(m.names())
	if len(m.fields) == 0 {
		text = "nothing, it has no settings"
	}
	if m.shortIs != "" {
		text = m.shortIs + ", or " + text
	}
	return text
}

// read fills to, which has its defaults already, from the mapping at v or from
// its short form.
func (m mapping[T]) read(w *walker, v value, to *T) bool {
	before := w.failed()
	switch {
	case m.empty && isNull(v.node):
		m.finish(w, section{value: v}, to, true)
	case v.node.Kind == yamlMapping:
		m.readKeys(w, v, to)
	case m.short != nil && m.short(w, v, to):
		if w.failed() == before {
			m.finish(w, section{value: v}, to, true)
		}
	case isNull(v.node):
		w.fail(v, Error{Msg: "has no value", Allowed: m.allowed()})
	default:
		w.fail(v, Error{Msg: fmt.Sprintf("is %s, not %s", kindName(v.node), m.noun), Allowed: m.allowed()})
	}
	return w.failed() == before
}

// readKeys reads the keys of the mapping at v and returns where they stand.
func (m mapping[T]) readKeys(w *walker, v value, to *T) section {
	before := w.failed()
	s := section{value: v, at: map[string]value{}, failed: map[string]bool{}, meant: map[string]bool{}}
	for _, e := range w.entries(v) {
		if m.ignores != nil && m.ignores(e.name()) {
			continue
		}
		i := slices.IndexFunc(m.fields, func(f field[T]) bool { return f.name == e.name() })
		if i < 0 {
			s.meant[m.unknown(w, e.key)] = true
			continue
		}
		val, ok := w.follow(e.val, e.key.path)
		s.at[e.name()] = val
		if !ok {
			s.failed[e.name()] = true
			continue
		}
		s.failed[e.name()] = !m.fields[i].read(w, val, to) || !m.tryAlone(w, val, m.fields[i])
	}
	for _, f := range m.fields {
		if f.required != "" && !s.has(f.name) && !s.meant[f.name] {
			w.fail(s.where(f.name), Error{Msg: f.required, Allowed: f.allowed})
		}
	}
	m.finish(w, s, to, w.failed() == before)
	return s
}

// finish runs the checks that need the whole. When the keys had errors (not
// whole), of what the owning package finds only that is reported which it pins
// to another key.
func (m mapping[T]) finish(w *walker, s section, to *T, whole bool) {
	before := w.failed()
	if m.check != nil {
		m.check(w, s, to)
	}
	if m.validate == nil || w.failed() > before {
		return
	}
	for _, f := range faults(m.validate(to)) {
		name := m.keyOf(f)
		at, pinned := s.at[name]
		switch {
		case pinned && s.good(name) && s.good(m.bounds[name]...):
			w.failf(at, "%s", f.msg)
		case whole && s.at != nil && name != "":
			w.failf(s.where(name), "%s", f.msg)
		case whole:
			w.failf(s.value, "%s", f.msg)
		}
	}
}

// keyOf is the key of this mapping that a fault is about, empty if none.
func (m mapping[T]) keyOf(f fault) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(f.option, m.prefix), ".")
	if !slices.Contains(m.names(), name) {
		return ""
	}
	return name
}

// tryAlone asks the owning package whether the value of one key is right on its
// own, so that the error stands at the key instead of at the mapping. It does
// so by reading the key once more into defaults that are otherwise untouched.
// It reports false after noting an error.
func (m mapping[T]) tryAlone(w *walker, v value, f field[T]) bool {
	if m.validate == nil {
		return true
	}
	probe := kind[T]{fresh: m.fresh}.start()
	if m.validate(&probe) != nil {
		return true // something required is missing: only the whole can be judged
	}
	silent := &walker{file: w.file, env: w.env, missing: w.missing, left: maxAliased}
	if !f.read(silent, v, &probe) {
		return true
	}
	alone := true
	for _, f := range faults(m.validate(&probe)) {
		if m.bounds[m.keyOf(f)] == nil {
			w.failf(v, "%s", f.msg)
			alone = false
		}
	}
	return alone
}

// unknown explains a key that the mapping does not have, and returns the key that
// was probably meant.
func (m mapping[T]) unknown(w *walker, at value) string {
	name := at.node.Value
	allowed := someOf(m.names())
	if len(m.fields) == 0 {
		allowed = "none"
	}
	if slices.Contains(laterKeys, name) {
		w.fail(at, Error{Msg: fmt.Sprintf("this version of Steelyard does not have %q", name), Allowed: allowed})
		return ""
	}
	suggest := w.near(name, m.names())
	w.fail(at, Error{Msg: fmt.Sprintf("unknown key %q", clip(name)), Allowed: allowed, Suggest: suggest})
	return suggest
}

// keys lists the keys of the mapping and of those inside it.
func (m mapping[T]) keys(path string, def *T) []Key {
	var all []Key
	for _, f := range m.fields {
		k := Key{Path: f.name, Type: f.typ, Allowed: f.allowed, Default: f.def, Doc: f.doc, Required: f.required != ""}
		if path != "" {
			k.Path = path + "." + f.name
		}
		if k.Default == "" && f.show != nil && !k.Required {
			k.Default = f.show(def)
		}
		all = append(all, k)
		if f.keys != nil {
			all = append(all, f.keys(k.Path, def)...)
		}
	}
	return all
}
