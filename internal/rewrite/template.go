package rewrite

import (
	"errors"
	"strings"
)

// Values expands variables. AppendVar appends the value of v to dst and returns
// it, dst itself if there is none. name is the NAME of VarHeader, VarQueryParam
// and VarCookie as the template has it, else empty.
type Values interface {
	AppendVar(dst []byte, v Var, name string) []byte
}

// Template is a parsed template. It is immutable and safe for concurrent use.
type Template struct {
	parts []part
	// constant says that there are no variables; text and header are then what
	// Append and AppendHeader append.
	constant     bool
	text, header string
}

// part is literal text, or a variable if isVar.
type part struct {
	literal string
	isVar   bool
	v       Var
	name    string
}

// Parse reads a template; see the package comment for its syntax. The error
// names an unknown variable, the nearest that exists, and all of them.
func Parse(s string) (*Template, error) { return ParseWith(s, nil) }

// ParseWith is Parse for a template that may have further variables; the first
// of them is VarMore, the next VarMore+1, and so on.
func ParseWith(s string, more []string) (*Template, error) {
	t := &Template{}
	var lit strings.Builder
	flush := func() {
		if lit.Len() > 0 {
			t.parts = append(t.parts, part{literal: lit.String()})
			lit.Reset()
		}
	}
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			lit.WriteString(s)
			break
		}
		lit.WriteString(s[:i])
		s = s[i:]
		if len(s) > 1 && s[0] == s[1] {
			lit.WriteByte(s[0])
			s = s[2:]
			continue
		}
		if s[0] == '}' {
			return nil, errors.New("} without {; a literal brace is }}")
		}
		end := strings.IndexAny(s[1:], "{}") + 1
		if end == 0 || s[end] == '{' {
			return nil, errors.New("{ without }; a literal brace is {{")
		}
		v, name, err := parseVar(s[1:end], more)
		if err != nil {
			return nil, err
		}
		flush()
		t.parts = append(t.parts, part{isVar: true, v: v, name: name})
		s = s[end+1:]
	}
	flush()
	t.setConstant()
	return t, nil
}

func (t *Template) setConstant() {
	for _, p := range t.parts {
		if p.isVar {
			return
		}
		t.text += p.literal
	}
	t.constant = true
	t.header = string(clean([]byte(t.text), 0))
}

// Constant returns the template's text and true if it has no variables.
func (t *Template) Constant() (string, bool) { return t.text, t.constant }

// Append appends the expanded template to dst. It allocates only to grow dst.
// v is not asked if the template is constant and may then be nil.
func (t *Template) Append(dst []byte, v Values) []byte {
	if t.constant {
		return append(dst, t.text...)
	}
	for i := range t.parts {
		if p := &t.parts[i]; p.isVar {
			dst = v.AppendVar(dst, p.v, p.name)
		} else {
			dst = append(dst, p.literal...)
		}
	}
	return dst
}

// AppendHeader is Append for a header's value: control bytes become spaces and
// white space at both ends is dropped, see the package comment.
func (t *Template) AppendHeader(dst []byte, v Values) []byte {
	if t.constant {
		return append(dst, t.header...)
	}
	return clean(t.Append(dst, v), len(dst))
}

// clean makes b[start:] a field value in place and returns b shortened to it.
func clean(b []byte, start int) []byte {
	for i := start; i < len(b); i++ {
		if c := b[i]; c < ' ' && c != '\t' || c == 0x7f {
			b[i] = ' '
		}
	}
	for len(b) > start && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	first := start
	for first < len(b) && isBlank(b[first]) {
		first++
	}
	if first > start {
		n := copy(b[start:], b[first:])
		b = b[:start+n]
	}
	return b
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
