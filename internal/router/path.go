package router

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

type pathKind uint8

const (
	pathExact pathKind = iota
	pathRegex
	pathPrefix
	pathAny
)

// pathKey is a path pattern in the form in which it is compared. text is the
// exact path, the prefix without "/*", or the expression without "~".
type pathKey struct {
	kind pathKind
	text string
	re   *regexp.Regexp
	// literal is what every path that re takes begins with.
	literal string
	// whole says that re takes every path that begins with literal.
	whole bool
}

// parsePath checks and compiles Match.Path.
func parsePath(s string) (pathKey, error) {
	fail := func(why string) (pathKey, error) {
		return pathKey{}, fmt.Errorf("path %q: %s; allowed are an exact path (/login), a prefix (/v1/*), a regular expression (~^/u/[0-9]+$), or /* for any", s, why)
	}
	if s == "" || s == "/*" {
		return pathKey{kind: pathAny}, nil
	}
	if expr, ok := strings.CutPrefix(s, "~"); ok {
		return parseRegex(expr, fail)
	}
	if s[0] != '/' {
		return fail("does not begin with / or ~")
	}
	key := pathKey{kind: pathExact, text: s}
	if head, ok := strings.CutSuffix(s, "/*"); ok {
		key = pathKey{kind: pathPrefix, text: head}
	}
	if strings.Contains(key.text, "*") {
		return fail("has a * that is not a whole last segment (/*)")
	}
	for i := 0; i < len(key.text); i++ {
		switch c := key.text[i]; {
		case c == '?' || c == '#':
			return fail(fmt.Sprintf("has a %q; paths are compared without query and fragment", c))
		case c <= ' ' || c == 0x7f:
			return fail("has white space or a control character; write it percent-encoded, as clients send it")
		case c >= 0x80:
			return fail("has a character outside ASCII; write it percent-encoded, as clients send it")
		}
	}
	return key, nil
}

func parseRegex(expr string, fail func(string) (pathKey, error)) (pathKey, error) {
	if expr == "" {
		return fail("has no regular expression behind ~")
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return fail("is not a regular expression: " + regexProblem(err))
	}
	key := pathKey{kind: pathRegex, text: expr, re: re}
	if tree, err := syntax.Parse(expr, syntax.Perl); err == nil {
		key.literal, key.whole = beginning(tree)
	}
	return key, nil
}

// regexProblem takes the package's prefix off an error of regexp.Compile.
func regexProblem(err error) string {
	return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
}

// beginning finds the text that everything matched by re must begin with, and
// whether beginning with it is enough. It errs towards ("", false).
func beginning(re *syntax.Regexp) (literal string, whole bool) {
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = re.Sub
	}
	if parts[0].Op != syntax.OpBeginText {
		// An unanchored expression that may be empty finds a match anywhere.
		return "", len(parts) == 1 && mayBeEmpty(parts[0])
	}
	parts = parts[1:]
	var b strings.Builder
	for len(parts) > 0 && parts[0].Op == syntax.OpLiteral && parts[0].Flags&syntax.FoldCase == 0 {
		for _, r := range parts[0].Rune {
			// The matcher reads every invalid byte as U+FFFD.
			if r == utf8.RuneError {
				return b.String(), false
			}
			b.WriteRune(r)
		}
		parts = parts[1:]
	}
	return b.String(), len(parts) == 0 || len(parts) == 1 && mayBeEmpty(parts[0])
}

// mayBeEmpty reports whether re matches the empty text anywhere.
func mayBeEmpty(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpStar, syntax.OpQuest:
		return true
	case syntax.OpCapture:
		return mayBeEmpty(re.Sub[0])
	}
	return false
}
