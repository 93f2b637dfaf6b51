package router

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxSteps bounds the steps of an explanation.
const maxSteps = 50

// Step is one route that was looked at.
type Step struct {
	Index int // in the slice given to New
	// Why says in words why the route does not take the request, or that it
	// does.
	Why string
}

// Explanation says how a table comes to its choice.
type Explanation struct {
	// Index is what Match returns.
	Index int
	// Steps are routes in match order up to the one that takes the request, at
	// most 50: of more, those that came nearest to it. Left counts the others.
	Steps []Step
	Left  int
}

// stage is how far a route came with a request.
type stage uint8

const (
	stageHost stage = iota // its host differs
	stagePath
	stageConditions
	stageTakes
)

// Explain says for people which route takes q and why those before it do not. It
// looks at one route after the other, so it may cost.
func (t *Table) Explain(q *Request) Explanation {
	e := Explanation{Index: -1}
	var buf [maxHost]byte
	host := normalHost(q.Host, &buf)
	var stages []stage
	for _, r := range t.ranked {
		how, why := r.explain(q, host)
		e.Steps, stages = append(e.Steps, Step{r.index, why}), append(stages, how)
		if how == stageTakes {
			e.Index = r.index
			break
		}
	}
	e.shorten(stages)
	return e
}

// shorten keeps the steps that came furthest, and of equals the last, in match
// order.
func (e *Explanation) shorten(stages []stage) {
	e.Left = len(e.Steps) - maxSteps
	if e.Left <= 0 {
		e.Left = 0
		return
	}
	at := make([]int, len(e.Steps))
	for i := range at {
		at[i] = i
	}
	slices.SortFunc(at, func(a, b int) int { return cmp.Or(cmp.Compare(stages[b], stages[a]), b-a) })
	at = at[:maxSteps]
	slices.Sort(at)
	kept := make([]Step, maxSteps)
	for i, from := range at {
		kept[i] = e.Steps[from]
	}
	e.Steps = kept
}

// explain says how far r comes with q, whose normal host is given.
func (r *route) explain(q *Request, host []byte) (stage, string) {
	if !r.host.takes(host) {
		return stageHost, "host differs: it is not " + r.host.String()
	}
	if !r.path.takes(q.Path) {
		return stagePath, "path differs: it is not " + r.path.String()
	}
	var whys []string
	if len(r.methods) > 0 && !r.takesMethod(q.Method) {
		whys = append(whys, "method is not "+strings.Join(r.methods, ", "))
	}
	for i := range r.conds {
		if c := &r.conds[i]; !c.holds(q) {
			whys = append(whys, c.whyNot(q))
		}
	}
	if len(whys) > 0 {
		return stageConditions, strings.Join(whys, "; ")
	}
	return stageTakes, "takes it"
}

// takes reports whether a normal host is one of the pattern's.
func (k hostKey) takes(host []byte) bool {
	switch k.kind {
	case hostExact:
		return string(host) == k.text
	case hostWildcard:
		n := len(host) - len(k.text)
		return n > 1 && host[n-1] == '.' && string(host[n:]) == k.text
	}
	return true
}

// String is the pattern as it can be written.
func (k hostKey) String() string {
	switch k.kind {
	case hostExact:
		return k.text
	case hostWildcard:
		return "*." + k.text
	}
	return "*"
}

// takes reports whether a path is one of the pattern's.
func (k *pathKey) takes(path []byte) bool {
	switch k.kind {
	case pathExact:
		return string(path) == k.text
	case pathRegex:
		return k.re.Match(path)
	case pathPrefix:
		rest, ok := strings.CutPrefix(string(path), k.text)
		return ok && (rest == "" || rest[0] == '/')
	}
	return true
}

// String is the pattern as it can be written.
func (k *pathKey) String() string {
	switch k.kind {
	case pathExact:
		return k.text
	case pathRegex:
		return "~" + k.text
	case pathPrefix:
		return k.text + "/*"
	}
	return "/*"
}

// maxShown is how much of a request's value is quoted, in bytes.
const maxShown = 80

// whyNot says why c, which does not hold, does not.
func (c *condition) whyNot(q *Request) string {
	what := "header"
	if c.query {
		what = "query parameter"
	}
	what += " " + c.name
	v := c.peek(q)
	if v == nil {
		return what + " is missing"
	}
	shown := strconv.Quote(string(v[:min(len(v), maxShown)]))
	if len(v) > maxShown {
		shown += "…"
	}
	if c.kind == valueRegex {
		return fmt.Sprintf("%s is %s, which ~%s does not match", what, shown, c.value)
	}
	return fmt.Sprintf("%s is %s, not %q", what, shown, c.value)
}
