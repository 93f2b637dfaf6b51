package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing that is wrong in a configuration file, and where.
type Error struct {
	File string
	// Line and Col count from 1; columns count characters.
	Line, Col int
	// Path is the YAML path, for example pools.web.backends[1].weight; empty
	// when the file as a whole is meant.
	Path string
	// Msg says what is wrong.
	Msg string
	// Allowed says what is allowed in this place; may be empty.
	Allowed string
	// Suggest is the key or value that was probably meant; may be empty.
	Suggest string
}

// Error prints one line: file:line:col: path: what is wrong; allowed: …; did
// you mean "…"?
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", e.File, e.Line, e.Col)
	if e.Path != "" {
		b.WriteString(e.Path)
		b.WriteString(": ")
	}
	b.WriteString(e.Msg)
	if e.Allowed != "" {
		b.WriteString("; allowed: ")
		b.WriteString(e.Allowed)
	}
	if e.Suggest != "" {
		fmt.Fprintf(&b, "; did you mean %q?", e.Suggest)
	}
	return oneLine(b.String())
}

// oneLine replaces control characters by spaces: a message may quote a file, and
// must neither break its line nor reach a terminal's escapes.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || 0x7f <= r && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}

// Errors is everything that is wrong in one file, in file order, never empty.
type Errors []*Error

// mostPrinted is how many errors are printed: who generates a file may make one
// mistake thousands of times.
const mostPrinted = 50

// Error prints one error per line, and how many more there are than it prints.
func (es Errors) Error() string {
	lines := make([]string, 0, mostPrinted+1)
	for i, e := range es {
		if i == mostPrinted {
			lines = append(lines, fmt.Sprintf("%s: and %d more", oneLine(e.File), len(es)-i))
			break
		}
		lines = append(lines, e.Error())
	}
	return strings.Join(lines, "\n")
}

// sortErrors orders by position and keeps one of those that say the same about the
// same place, which happens when an anchor is used several times.
func sortErrors(es []*Error) []*Error {
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), cmp.Compare(a.Msg, b.Msg))
	})
	return slices.CompactFunc(es, func(a, b *Error) bool {
		return a.Line == b.Line && a.Col == b.Col && a.Msg == b.Msg
	})
}

// someOf lists words for a message, the first few of many.
func someOf(words []string) string {
	const most = 20
	if len(words) <= most {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
}

// Nearest is the word of words that was probably meant by got; "" if none is near.
func Nearest(got string, words []string) string { return nearest(got, words) }

// nearest returns the word that was probably meant by got: one that differs in
// case or separators only, or else our word for that of another balancer, or
// else one that got is the beginning of, or the closest by edit distance when
// that is close enough to be a slip. Empty when there is none.
func nearest(got string, words []string) string {
	const longest = 64 // bounds the work for hostile files
	if got == "" || len(got) > longest {
		return ""
	}
	best, bestDist := "", max(1, len(got)/3)+1
	folded := fold(got)
	if i := slices.IndexFunc(words, func(w string) bool { return fold(w) == folded }); i >= 0 {
		return words[i]
	}
	for _, w := range otherWords[folded] {
		if slices.Contains(words, w) {
			return w
		}
	}
	for _, w := range words {
		if len(got) > 3 && strings.HasPrefix(fold(w), folded) {
			return w
		}
		if len(w) > longest || len(w)-len(got) >= bestDist || len(got)-len(w) >= bestDist {
			continue
		}
		if d := editDistance(strings.ToLower(got), strings.ToLower(w)); d < bestDist {
			best, bestDist = w, d
		}
	}
	return best
}

// fold drops what people vary without noticing: case, '_', '-' and spaces.
func fold(s string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ' ' {
			return -1
		}
		return r
	}, s))
}

// editDistance counts insertions, deletions, replacements and swaps of
// neighbours between a and b (optimal string alignment).
func editDistance(a, b string) int {
	two, one, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one, row = one, row, two
	}
	return one[len(b)]
}
