package rewrite

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Validate reports what is wrong with p, joined by errors.Join: more than one
// kind of rewrite, a prefix that is not a path, a bad regular expression, a
// group that the expression does not have.
func (p Path) Validate() error {
	_, err := CompilePath(p)
	return err
}

// PathRewriter is a compiled Path. It is immutable and safe for concurrent use;
// nil leaves paths unchanged.
type PathRewriter struct {
	// A prefix and what stands for it, without a trailing slash, or
	from, to string
	// an expression and its replacement.
	re       *regexp.Regexp
	template []byte
}

// CompilePath compiles p. It returns nil for a Path that changes nothing, and
// the error of Validate.
func CompilePath(p Path) (*PathRewriter, error) {
	var errs []error
	var r *PathRewriter
	n := 0
	if p.StripPrefix != "" {
		n++
		errs = append(errs, checkPrefix("strip_prefix", p.StripPrefix, false))
		r = &PathRewriter{from: p.StripPrefix}
	}
	if p.ReplacePrefix != nil {
		n++
		from, to := p.ReplacePrefix.From, p.ReplacePrefix.To
		errs = append(errs, checkPrefix("replace_prefix from", from, true), checkPrefix("replace_prefix to", to, true))
		r = &PathRewriter{from: strings.TrimSuffix(from, "/"), to: strings.TrimSuffix(to, "/")}
	}
	if p.Regex != nil {
		n++
		re, err := checkRegex(*p.Regex)
		errs = append(errs, err)
		r = &PathRewriter{re: re, template: []byte(p.Regex.To)}
	}
	if n > 1 {
		errs = append(errs, errors.New("only one of strip_prefix, replace_prefix and regex is allowed"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return r, nil
}

// checkPrefix checks a path prefix; root says whether "/" makes sense.
func checkPrefix(what, s string, root bool) error {
	why := pathProblem(s)
	switch {
	case why != "":
	case !strings.HasPrefix(s, "/"):
		why = "does not begin with /"
	case s == "/" && root:
		return nil
	case s == "/":
		why = "strips nothing"
	case strings.HasPrefix(s, "//"):
		why = "begins with two slashes"
	case strings.HasSuffix(s, "/*"):
		why = "ends with /*, which a prefix does not need"
	case strings.HasSuffix(s, "/"):
		why = "ends with a slash, which a prefix does not need"
	default:
		return nil
	}
	return fmt.Errorf("%s %q: %s; allowed is a path prefix such as /v1", what, s, why)
}

// pathProblem says why s cannot be part of a path, or "".
func pathProblem(s string) string {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '?' || c == '#':
			return fmt.Sprintf("has a %q; the query is kept as it is", c)
		case c <= ' ' || c == 0x7f || c >= 0x80:
			return "has white space, a control character or one outside ASCII; write it percent-encoded"
		}
	}
	return ""
}

func checkRegex(r Replace) (*regexp.Regexp, error) {
	if r.From == "" {
		return nil, errors.New(`regex from "": has no regular expression`)
	}
	re, err := regexp.Compile(r.From)
	if err != nil {
		return nil, fmt.Errorf("regex from %q: is not a regular expression: %s", r.From, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	why := pathProblem(r.To)
	if why == "" {
		why = groupProblem(re, r.To)
	}
	if why != "" {
		return nil, fmt.Errorf("regex to %q: %s", r.To, why)
	}
	return re, nil
}

// groupProblem says which reference in a replacement re has no group for, or
// "". package regexp would put nothing in its place.
func groupProblem(re *regexp.Regexp, to string) string {
	for {
		_, rest, found := strings.Cut(to, "$")
		if !found {
			return ""
		}
		if strings.HasPrefix(rest, "$") {
			to = rest[1:]
			continue
		}
		name, tail, braced := rest, "", strings.HasPrefix(rest, "{")
		if braced {
			name, tail, found = strings.Cut(rest[1:], "}")
		} else if i := strings.IndexFunc(rest, notWord); i >= 0 {
			name, tail = rest[:i], rest[i:]
		}
		if !found || name == "" || strings.IndexFunc(name, notWord) >= 0 {
			return "has a $ without the number or name of a group; a literal one is $$"
		}
		if number, err := strconv.Atoi(name); err == nil && strconv.Itoa(number) == name {
			if number > re.NumSubexp() {
				return fmt.Sprintf("refers to group %d of an expression with %d", number, re.NumSubexp())
			}
		} else if re.SubexpIndex(name) < 0 {
			hint := ""
			if !braced {
				hint = "; a name goes on as far as it can, ${1} ends it"
			}
			return fmt.Sprintf("refers to the group %q, which the expression does not have%s", name, hint)
		}
		to = tail
	}
}

func notWord(r rune) bool {
	return !('0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '_')
}

// Regex reports whether r rewrites by a regular expression, which may join what
// was apart; prefixes are exchanged at slashes only.
func (r *PathRewriter) Regex() bool { return r != nil && r.re != nil }

// Append appends the rewritten path to dst. path is without query and must not
// overlap dst. Prefixes allocate only to grow dst; a regular expression may
// allocate more. Unless path is something else than a path ("*"), what is
// appended begins with a slash.
func (r *PathRewriter) Append(dst, path []byte) []byte {
	switch {
	case len(path) == 0:
		path = []byte("/")
	case path[0] != '/':
		return append(dst, path...)
	}
	switch {
	case r == nil:
		return append(dst, path...)
	case r.re != nil:
		return r.appendRegex(dst, path)
	case len(path) < len(r.from) || string(path[:len(r.from)]) != r.from || len(path) > len(r.from) && path[len(r.from)] != '/':
		return append(dst, path...)
	}
	start := len(dst)
	dst = append(append(dst, r.to...), path[len(r.from):]...)
	return oneSlash(dst, start)
}

func (r *PathRewriter) appendRegex(dst, path []byte) []byte {
	m := r.re.FindSubmatchIndex(path)
	if m == nil {
		return append(dst, path...)
	}
	start := len(dst)
	dst = append(dst, path[:m[0]]...)
	dst = r.re.Expand(dst, r.template, path, m)
	dst = append(dst, path[m[1]:]...)
	return oneSlash(dst, start)
}

// oneSlash makes dst[start:] begin with exactly one slash.
func oneSlash(dst []byte, start int) []byte {
	n := start
	for n < len(dst) && dst[n] == '/' {
		n++
	}
	switch n - start {
	case 0:
		dst = append(dst, 0)
		copy(dst[start+1:], dst[start:])
		dst[start] = '/'
	case 1:
	default:
		dst = append(dst[:start+1], dst[n:]...)
	}
	return dst
}
