package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"steelyard/internal/router"
)

// placed is a value together with where it stands, for checks that come later.
type placed[V any] struct {
	val V
	at  value
}

func placedAt[V any](k kind[V]) kind[placed[V]] {
	p := kind[placed[V]]{typ: k.typ, allowed: k.allowed}
	p.read = func(w *walker, v value, to *placed[V]) bool {
		to.at = v
		return k.read(w, v, &to.val)
	}
	return p
}

// checked is a text that a package's own check accepts. Its messages say what is
// allowed.
func checked(typ, allowed string, check func(string) error) kind[string] {
	return kind[string]{
		typ: typ, allowed: allowed,
		show: func(s string) string { return s },
		read: func(w *walker, v value, to *string) bool {
			s, ok := w.text(v, allowed)
			if !ok {
				return false
			}
			for _, f := range faults(check(s)) {
				w.failf(v, "%s", f.msg)
				ok = false
			}
			*to = s
			return ok
		},
	}
}

// oneOfNumbers is one of a few numbers.
func oneOfNumbers(numbers ...int) kind[int] {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = strconv.Itoa(n)
	}
	return scalar("number", strings.Join(words, ", "), func(s string) (int, *wrong) {
		n, err := strconv.Atoi(s)
		if err != nil || !slices.Contains(numbers, n) {
			return 0, &wrong{msg: fmt.Sprintf("%q is not possible here", clip(s))}
		}
		return n, nil
	}, strconv.Itoa)
}

// pairs is a mapping of names that the file chooses to texts, in file order.
func pairs[V any](types, allowed string, build func(name, val string) V, check func(V) error) kind[[]V] {
	return kind[[]V]{
		typ: "mapping of " + types, allowed: allowed,
		read: func(w *walker, v value, to *[]V) bool {
			if v.node.Kind != yamlMapping {
				w.fail(v, Error{Msg: "is " + kindName(v.node) + ", not a mapping", Allowed: "a mapping of " + types})
				return false
			}
			*to = nil
			return readPairs(w, v, to, allowed, build, check)
		},
	}
}

func readPairs[V any](w *walker, v value, to *[]V, allowed string, build func(name, val string) V, check func(V) error) bool {
	before := w.failed()
	for _, e := range w.entries(v) {
		val, ok := w.follow(e.val, e.key.path)
		if !ok {
			continue
		}
		text, ok := w.text(val, allowed)
		if !ok {
			continue
		}
		x := build(e.name(), text)
		for _, f := range faults(check(x)) {
			w.failf(val, "%s", f.msg)
		}
		*to = append(*to, x)
	}
	return w.failed() == before
}

// listOfPairs lets a list of mappings stand in place of one, so that a name can
// come more than once.
func listOfPairs[V any](one kind[[]V]) kind[[]V] {
	return kind[[]V]{
		typ: one.typ + ", or a list of them", allowed: one.allowed,
		read: func(w *walker, v value, to *[]V) bool {
			if v.node.Kind != yamlSequence {
				return one.read(w, v, to)
			}
			*to = nil
			items, all := w.items(v)
			for _, item := range items {
				var some []V
				all = one.read(w, item, &some) && all
				*to = append(*to, some...)
			}
			return all
		},
	}
}

// checkHeader reports what is wrong with a header that is sent as it is.
func checkHeader(name, val string) error {
	const tokenChars = "!#$%&'*+-.^_`|~"
	for i := 0; i < len(name); i++ {
		c := name[i]
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune(tokenChars, rune(c)) {
			return fmt.Errorf("%q is not a header name", clip(name))
		}
	}
	switch strings.ToLower(name) {
	case "":
		return errors.New("a header needs a name")
	case "content-length", "transfer-encoding", "connection", "trailer", "upgrade":
		return fmt.Errorf("%s is set by Steelyard itself", name)
	}
	if hasControl(strings.ReplaceAll(val, "\t", " ")) {
		return errors.New("the value of a header has no control characters")
	}
	return nil
}

// checkMethod reports what is wrong with a method name.
func checkMethod(s string) error {
	return router.Match{Methods: []string{s}}.Validate()
}
