package rewrite

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Validate reports everything that is wrong with h, joined by errors.Join:
// names that are not tokens or belong to the connection, values that are no
// templates or empty, a name that is set twice or both set and removed.
func (h Headers) Validate() error {
	_, err := CompileHeaders(h)
	return err
}

// HeaderRewriter is a compiled Headers. It is immutable and safe for concurrent
// use; nil changes nothing.
type HeaderRewriter struct {
	drops   []string
	lengths uint64 // bit n%64: there is a name of n bytes in drops
	lines   []line
}

// line is a header to send.
type line struct {
	name  string // with ": "
	value *Template
}

// CompileHeaders compiles h. It returns nil for Headers that change nothing,
// and the error of Validate.
func CompileHeaders(h Headers) (*HeaderRewriter, error) {
	r := &HeaderRewriter{}
	var errs []error
	for _, name := range h.Remove {
		if err := r.drop(name); err != nil {
			errs = append(errs, fmt.Errorf("remove %q: %w", name, err))
		}
	}
	removed := len(r.drops)
	for _, f := range h.Set {
		err := errors.Join(r.drop(f.Name), r.send(f))
		if slices.ContainsFunc(r.drops[:removed], equalTo(f.Name)) {
			err = errors.New("is removed as well; set replaces what came")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("set %q: %w", f.Name, err))
		}
	}
	for _, f := range h.Add {
		if err := errors.Join(checkName(f.Name), r.send(f)); err != nil {
			errs = append(errs, fmt.Errorf("add %q: %w", f.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if r.Empty() {
		return nil, nil
	}
	return r, nil
}

func (r *HeaderRewriter) drop(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if slices.ContainsFunc(r.drops, equalTo(name)) {
		return errors.New("is named twice; use add to send more than one")
	}
	r.drops = append(r.drops, name)
	r.lengths |= 1 << (len(name) % 64)
	return nil
}

func (r *HeaderRewriter) send(f Header) error {
	t, err := Parse(f.Value)
	if err != nil {
		return fmt.Errorf("value %q: %w", f.Value, err)
	}
	for _, p := range t.parts {
		if strings.ContainsFunc(p.literal, func(c rune) bool { return isControl(c) && c != '\t' }) {
			return fmt.Errorf("value %q: has a control character", f.Value)
		}
	}
	if t.constant && t.header == "" {
		return errors.New("value is empty and would never be sent; use remove to take a header away")
	}
	r.lines = append(r.lines, line{f.Name + ": ", t})
	return nil
}

func equalTo(name string) func(string) bool {
	return func(s string) bool { return strings.EqualFold(s, name) }
}

// checkName says why a header name cannot be rewritten.
func checkName(name string) error {
	if name == "" {
		return errors.New("has no name")
	}
	if !isToken(name) {
		return errors.New("is not a header name; allowed are letters, digits and !#$%&'*+-.^_`|~")
	}
	switch strings.ToLower(name) {
	case "host":
		return errors.New("is not rewritten as a header; use the route's `host:`")
	case "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade":
		return errors.New("belongs to one connection (RFC 9110, section 7.6.1) and is made anew on each")
	case "content-length", "expect":
		return errors.New("frames the message and cannot be rewritten")
	}
	return nil
}

// Empty reports whether r changes nothing.
func (r *HeaderRewriter) Empty() bool {
	return r == nil || len(r.drops) == 0 && len(r.lines) == 0
}

// Drops reports whether a header that came must not be passed on, because it is
// removed or set. Names are compared without case, and a header that came with _
// for - is taken for the same one, as CGI and its heirs do. It allocates nothing and
// takes the time of one bit test for most names that stay.
func (r *HeaderRewriter) Drops(name []byte) bool {
	if r == nil || r.lengths&(1<<(len(name)%64)) == 0 {
		return false
	}
	for _, d := range r.drops {
		if len(d) == len(name) && equalFold(d, name) {
			return true
		}
	}
	return false
}

// equalFold compares two texts of one length without the case of ASCII letters,
// and takes _ in b for - in a.
func equalFold(a string, b []byte) bool {
	for i := range len(a) {
		if x, y := a[i], b[i]; x != y && lower(x) != lower(y) && (x != '-' || y != '_') {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// Append appends the headers to send, first those of set, then those of add, as
// complete lines "Name: value\r\n". A header with an empty value is left out.
// It allocates only to grow dst.
func (r *HeaderRewriter) Append(dst []byte, v Values) []byte {
	if r == nil {
		return dst
	}
	for i := range r.lines {
		l := &r.lines[i]
		start := len(dst)
		dst = append(dst, l.name...)
		value := len(dst)
		dst = l.value.AppendHeader(dst, v)
		if len(dst) == value {
			dst = dst[:start]
			continue
		}
		dst = append(dst, "\r\n"...)
	}
	return dst
}
