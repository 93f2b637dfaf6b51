package config

import (
	"fmt"
	"regexp"
	"strings"

	"steelyard/balancer"
	"steelyard/discovery"
	"steelyard/healthcheck"
	"steelyard/internal/outlier"
	"steelyard/internal/transport"
)

// kind reads values of one type: it knows what to call the type, what is
// allowed, and how a default is written. Kinds are combined from smaller ones:
// list(address), optional(stickyMapping), and so on.
type kind[V any] struct {
	// typ names the type in the documentation: duration, size, list of text.
	typ string
	// allowed says what is accepted, in messages and in the documentation.
	allowed string
	// read stores what v holds in to, which has its default already. It
	// reports false after noting an error.
	read func(w *walker, v value, to *V) bool
	// show writes a default the way the file would.
	show func(V) string
	// fresh makes the default of an element; nil means the zero value.
	fresh func() V
	// keys lists the keys inside, for mappings.
	keys func(path string, def *V) []Key
}

func (k kind[V]) start() V {
	if k.fresh != nil {
		return k.fresh()
	}
	var zero V
	return zero
}

// wrong is why a text is not accepted: what is wrong and what was probably meant.
type wrong struct{ msg, suggest string }

// scalar makes the kind of values that are written as one text.
func scalar[V any](typ, allowed string, parse func(string) (V, *wrong), show func(V) string) kind[V] {
	k := kind[V]{typ: typ, allowed: allowed, show: show}
	k.read = func(w *walker, v value, to *V) bool {
		text, ok := w.text(v, allowed)
		if !ok {
			return false
		}
		got, bad := parse(text)
		if bad != nil {
			w.fail(v, Error{Msg: bad.msg, Allowed: allowed, Suggest: bad.suggest})
			return false
		}
		*to = got
		return true
	}
	return k
}

// list is a sequence of k.
func list[V any](k kind[V]) kind[[]V] {
	l := kind[[]V]{typ: "list of " + strings.Replace(k.typ, "mapping", "mappings", 1), allowed: "a list; each item " + k.allowed, show: showList[V]}
	l.read = func(w *walker, v value, to *[]V) bool {
		switch {
		case v.node.Kind != yamlSequence && isNull(v.node):
			w.fail(v, Error{Msg: "has no value", Allowed: "a list"})
			return false
		case v.node.Kind != yamlSequence:
			w.fail(v, Error{Msg: "is " + kindName(v.node) + ", not a list", Allowed: "a list, one item per line with - in front, or [a, b]"})
			return false
		}
		*to = nil
		items, all := w.items(v)
		for _, item := range items {
			x := k.start()
			if !k.read(w, item, &x) {
				all = false
				continue
			}
			*to = append(*to, x)
		}
		return all
	}
	if k.keys != nil {
		l.keys = func(path string, _ *[]V) []Key {
			x := k.start()
			return k.keys(path+"[]", &x)
		}
	}
	return l
}

// listOf is a sequence whose items are kept even when they have errors, so that
// what they refer to can be checked as well; set stores the place of an item.
func listOf[V any](k kind[V], set func(to *V, at value)) kind[[]V] {
	item := k
	item.read = func(w *walker, v value, to *V) bool {
		set(to, v)
		k.read(w, v, to)
		return true
	}
	return list(item)
}

func showList[V any](vs []V) string {
	words := make([]string, len(vs))
	for i, v := range vs {
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, ", ")
}

// oneOrMore is a sequence of k, or a single k in place of a sequence of one.
func oneOrMore[V any](k kind[V]) kind[[]V] {
	l := list(k)
	many := l.read
	l.typ, l.allowed = k.typ+", or a list of them", k.allowed
	l.read = func(w *walker, v value, to *[]V) bool {
		if v.node.Kind == yamlSequence {
			return many(w, v, to)
		}
		x := k.start()
		if !k.read(w, v, &x) {
			return false
		}
		*to = []V{x}
		return true
	}
	return l
}

// optional is a k that may be absent altogether.
func optional[V any](k kind[V]) kind[*V] {
	o := kind[*V]{typ: k.typ, allowed: k.allowed}
	o.read = func(w *walker, v value, to **V) bool {
		x := k.start()
		ok := k.read(w, v, &x)
		*to = &x
		return ok
	}
	if k.keys != nil {
		o.keys = func(path string, _ **V) []Key {
			x := k.start()
			return k.keys(path, &x)
		}
	}
	return o
}

// orTrue is a mapping that may be absent altogether, and that true stands for
// when it only has defaults.
func orTrue[V any](m mapping[V]) kind[*V] {
	m.shortIs = "true"
	k := optional(m.kind())
	k.typ = "mapping, or true"
	inner := k.read
	k.read = func(w *walker, v value, to **V) bool {
		if !isText(v.node) {
			return inner(w, v, to)
		}
		on := false
		if !booleanOr(", or a mapping with "+someOf(m.names())).read(w, v, &on) {
			return false
		}
		*to = nil
		if on {
			x := m.kind().start()
			*to = &x
		}
		return true
	}
	return k
}

// named is a mapping whose keys are names that the file chooses; set stores the
// name and place of an element. The order of the file is kept.
func named[V any](noun string, k kind[V], set func(to *V, name string, at value)) kind[[]V] {
	n := kind[[]V]{typ: "mapping of " + noun + "s by name", allowed: "names, each with " + k.allowed}
	n.read = func(w *walker, v value, to *[]V) bool {
		if v.node.Kind != yamlMapping {
			w.fail(v, Error{Msg: "is " + kindName(v.node) + ", not a mapping", Allowed: "the names of " + noun + "s, each with its settings"})
			return false
		}
		all := true
		for _, e := range w.entries(v) {
			if !namePattern.MatchString(e.name()) {
				w.fail(e.key, Error{Msg: fmt.Sprintf("%q is not a name for a %s", clip(e.name()), noun), Allowed: namesAllowed})
				all = false
				continue
			}
			val, ok := w.follow(e.val, e.key.path)
			if !ok {
				all = false
				continue
			}
			x := k.start()
			set(&x, e.name(), e.key)
			all = k.read(w, val, &x) && all
			*to = append(*to, x) // even a broken one: references to it are right
		}
		return all
	}
	n.keys = func(path string, _ *[]V) []Key {
		x := k.start()
		return k.keys(path+".<name>", &x)
	}
	return n
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)

const namesAllowed = "1 to 63 letters, digits, _ - and ., the first a letter or digit"

// fault is one thing that a package's Validate found; option is the key it is
// about, when the package says.
type fault struct{ option, msg string }

// faults lists what a package's check found, without the package's prefix.
func faults(err error) []fault {
	if err == nil {
		return nil
	}
	switch e := err.(type) { // not errors.As: what wraps several has words of its own
	case interface{ Unwrap() []error }:
		var all []fault
		for _, one := range e.Unwrap() {
			all = append(all, faults(one)...)
		}
		return all
	case *balancer.OptionError:
		return []fault{{e.Option, e.Problem}}
	case *healthcheck.OptionError:
		return []fault{{e.Option, e.Problem}}
	case *outlier.OptionError:
		return []fault{{e.Option, e.Problem}}
	case *discovery.OptionError:
		return []fault{{e.Option, e.Problem}}
	case *transport.OptionError:
		return []fault{{e.Option, e.Problem}}
	}
	return []fault{{"", packagePrefix.ReplaceAllString(strings.ReplaceAll(err.Error(), "\n", "; "), "")}}
}

var packagePrefix = regexp.MustCompile(`^(auth|balancer|browser|ratelimit|router|rewrite|sticky|transport): `)
