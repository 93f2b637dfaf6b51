package router

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"steelyard/internal/wire"
)

type valueKind uint8

const (
	valueExact valueKind = iota
	valueRegex
	valuePresent
)

// condition is a header or query field that must match.
type condition struct {
	field
	kind  valueKind
	value string // exact value or expression
	re    *regexp.Regexp
}

// field names one header (lower case) or query parameter.
type field struct {
	query bool
	name  string
}

func (f field) peek(r *Request) []byte {
	p := r.Header
	if f.query {
		p = r.Query
	}
	if p == nil {
		return nil
	}
	return p.Peek(f.name)
}

func (c *condition) holds(r *Request) bool {
	v := c.peek(r)
	switch {
	case v == nil:
		return false
	case c.kind == valueExact:
		return string(v) == c.value
	case c.kind == valueRegex:
		return c.re.Match(v)
	}
	return true
}

// parseFields checks and compiles Match.Headers or Match.Query.
func parseFields(fields []Field, query bool) ([]condition, error) {
	what := "header"
	if query {
		what = "query"
	}
	var conds []condition
	var errs []error
	for _, f := range fields {
		c := condition{field: field{query: query, name: f.Name}, value: f.Value}
		if !query {
			c.name = strings.ToLower(f.Name)
		}
		err := c.parse()
		if err == nil && slices.ContainsFunc(conds, func(o condition) bool { return o.field == c.field }) {
			err = errors.New("is named twice; one condition per name, a regular expression can hold both")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %q: %w", what, f.Name, err))
			continue
		}
		conds = append(conds, c)
	}
	return conds, errors.Join(errs...)
}

func (c *condition) parse() error {
	if c.name == "" {
		return errors.New("has no name")
	}
	if !c.query && !isToken(c.name) {
		return errors.New("is not a header name; allowed are letters, digits and !#$%&'*+-.^_`|~")
	}
	switch {
	case c.value == "*":
		c.kind = valuePresent
	case c.value == "~":
		return errors.New("has no regular expression behind ~")
	case strings.HasPrefix(c.value, "~"):
		c.kind, c.value = valueRegex, c.value[1:]
		re, err := regexp.Compile(c.value)
		if err != nil {
			return fmt.Errorf("value %q is not a regular expression: %s", "~"+c.value, regexProblem(err))
		}
		c.re = re
	default:
		if strings.ContainsAny(c.value, "\r\n\x00") && !c.query {
			return fmt.Errorf("value %q has a control character, which no header carries", c.value)
		}
	}
	return nil
}

// parseMethods checks Match.Methods.
func parseMethods(methods []string) error {
	var errs []error
	for i, m := range methods {
		switch {
		case !isToken(m):
			errs = append(errs, fmt.Errorf("method %q: is not a method; allowed are tokens such as GET or POST", m))
		case m != strings.ToUpper(m) && isKnownMethod(strings.ToUpper(m)):
			errs = append(errs, fmt.Errorf("method %q: methods are compared with case; did you mean %s", m, strings.ToUpper(m)))
		case slices.Contains(methods[:i], m):
			errs = append(errs, fmt.Errorf("method %q: is named twice", m))
		}
	}
	return errors.Join(errs...)
}

func isKnownMethod(m string) bool {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT":
		return true
	}
	return false
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool { return wire.IsToken([]byte(s)) }
