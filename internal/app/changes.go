package app

import (
	"fmt"
	"reflect"
	"strings"

	"steelyard/config"
)

const unchanged = "nothing changed"

// maxChanges bounds the lines that describe one reload.
const maxChanges = 200

// describe says in words what b changes in a, one line each: listeners, routes,
// pools, and the rest of the file, in file order. bound counts the clients bound
// to the backends of a pool of a, by address; nil where that is not known. What
// may be secret is not quoted.
func describe(a, b *config.Config, bound func(pool string) map[string]int) []string {
	d := &differ{bound: bound}
	d.listeners(unlinedListeners(a.Listeners), unlinedListeners(b.Listeners))
	d.routes(a.Routes, b.Routes)
	d.pools(a.Pools, b.Pools)
	d.rest(a, b)
	switch n := len(d.lines); {
	case n == 0:
		return []string{unchanged}
	case n > maxChanges:
		return append(d.lines[:maxChanges], fmt.Sprintf("and %d changes more", n-maxChanges))
	}
	return d.lines
}

type differ struct {
	bound func(pool string) map[string]int
	lines []string
}

func (d *differ) add(who string, what ...string) {
	if len(what) > 0 {
		d.lines = append(d.lines, who+": "+strings.Join(what, ", "))
	}
}

func (d *differ) listeners(a, b []config.Listener) {
	name := func(l config.Listener) string { return l.Name }
	pair(a, b, name, func(before, after *config.Listener) {
		switch {
		case before == nil:
			d.add("listener "+after.Name, "opened on "+after.Address)
		case after == nil:
			d.add("listener "+before.Name, "closed (was on "+before.Address+")")
		default:
			d.add("listener "+after.Name, fields("", *before, *after)...)
		}
	})
	d.add("listeners", anotherOrder(a, b, name)...)
}

// anotherOrder says whether what both lists have stands in another order.
func anotherOrder[T any](a, b []T, name func(T) string) []string {
	ranks := map[string]int{}
	for _, x := range a {
		if _, twice := ranks[name(x)]; !twice {
			ranks[name(x)] = len(ranks)
		}
	}
	last := -1
	for _, x := range b {
		rank, had := ranks[name(x)]
		if had && rank < last {
			return []string{"another order"}
		}
		if had {
			last = rank
		}
	}
	return nil
}

func (d *differ) routes(a, b []config.Route) {
	turn := map[string]int{} // routes of one name are told apart by their order
	name := func(r config.Route) string {
		turn[r.Name]++
		return fmt.Sprint(r.Name, "\x00", turn[r.Name])
	}
	pairTwice(a, b, name, func() { clear(turn) }, func(before, after *config.Route) {
		switch {
		case before == nil:
			d.add("route "+after.Name, "added ("+action(after)+")")
		case after == nil:
			d.add("route "+before.Name, "removed (was "+action(before)+")")
		default:
			d.route(before, after)
		}
	})
	d.add("routes", anotherOrder(a, b, func(r config.Route) string { return r.Name })...)
}

func (d *differ) route(before, after *config.Route) {
	x, y := *before, *after
	var what []string
	if was, is := action(before), action(after); was != is {
		if x.Pool != "" && y.Pool != "" {
			is = y.Pool // as in "pool web -> api"
		}
		what = append(what, was+" -> "+is)
	} else if !reflect.DeepEqual(x.Respond, y.Respond) {
		what = append(what, "respond changed")
	} else if x.Split != nil && y.Split != nil && !reflect.DeepEqual(x.Split.Sticky, y.Split.Sticky) {
		what = append(what, "sticky of the split changed")
	}
	if f, g := x.ForwardAuth, y.ForwardAuth; f != nil && g != nil && (f.Pool != g.Pool || f.Path != g.Path || f.Host != g.Host) {
		what = append(what, fmt.Sprintf("forward_auth.url %s -> %s", f.URL(), g.URL()))
		same := *g
		same.Pool, same.Path, same.Host = f.Pool, f.Path, f.Host
		y.ForwardAuth = &same
	}
	x.Pool, x.Split, x.Redirect, x.Respond = "", nil, nil, nil
	y.Pool, y.Split, y.Redirect, y.Respond = "", nil, nil, nil
	d.add("route "+after.Name, append(what, fields("", x, y)...)...)
}

// action is what a route does, in words.
func action(r *config.Route) string {
	switch {
	case r.Pool != "":
		return "pool " + r.Pool
	case r.Split != nil:
		var to []string
		for _, w := range r.Split.To {
			to = append(to, fmt.Sprintf("%s %d", w.Pool, w.Weight))
		}
		return "split " + strings.Join(to, " / ")
	case r.Redirect != nil:
		return fmt.Sprintf("redirect %d to %s", r.Redirect.Status, r.Redirect.To)
	case r.Respond != nil:
		return fmt.Sprintf("respond %d", r.Respond.Status)
	}
	return "nothing"
}

func (d *differ) pools(a, b []config.Pool) {
	name := func(p config.Pool) string { return p.Name }
	pair(a, b, name, func(before, after *config.Pool) {
		switch {
		case before == nil:
			d.add("pool "+after.Name, "added ("+sizeOf(after)+")")
		case after == nil:
			d.add("pool "+before.Name, "removed ("+sizeOf(before)+d.affected(before, "; ")+")")
		default:
			d.pool(before, after)
		}
	})
	d.add("pools", anotherOrder(a, b, name)...)
}

func sizeOf(p *config.Pool) string {
	if n := len(p.Sources); n > 0 && len(p.Backends) == 0 {
		return number(n, "source")
	} else if n > 0 {
		return number(len(p.Backends), "backend") + " and " + number(n, "source")
	}
	return number(len(p.Backends), "backend")
}

func number(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// affected counts the clients that lose the backend they are bound to.
func (d *differ) affected(p *config.Pool, lead string) string {
	if p.Sticky == nil {
		return ""
	}
	by := d.bound(p.Name)
	if by == nil {
		return lead + "sessions bound by cookie are affected"
	}
	n := 0
	for _, bound := range by {
		n += bound
	}
	return lead + number(n, "bound session") + " affected"
}

// leaving counts the clients that are bound to backends that leave while affinity
// goes on: they move when the drain of these is over.
func (d *differ) leaving(before, after *config.Pool, left []string) string {
	if len(left) == 0 || before.Sticky == nil || !reflect.DeepEqual(before.Sticky, after.Sticky) {
		return "" // without affinity all clients are affected, which is said there
	}
	by, n := d.bound(before.Name), 0
	if by == nil {
		return ""
	}
	for _, address := range left {
		n += by[address]
	}
	return "; " + number(n, "bound session") + " affected"
}

func (d *differ) pool(before, after *config.Pool) {
	what := d.backends(before, after)
	if was, is := before.Sticky, after.Sticky; !reflect.DeepEqual(was, is) {
		text := "sticky on"
		if is == nil {
			text = "sticky off"
		} else if was != nil {
			text = strings.Join(fields("sticky", *was, *is), ", ")
		}
		if lost := d.affected(before, ""); lost != "" {
			text += " (" + lost + ")"
		}
		what = append(what, text)
	}
	x, y := unplaced(before), unplaced(after)
	if was, is := x.Policy.Policy, y.Policy.Policy; was != is {
		what = append(what, fmt.Sprintf("policy %s -> %s", was, is))
		y.Policy = x.Policy // what belongs to it goes with it
	} else {
		what = append(what, fields("policy."+is, x.Policy, y.Policy)...)
		y.Policy = x.Policy
	}
	if !reflect.DeepEqual(x.Sources, y.Sources) {
		what = append(what, "source changed")
	}
	x.Backends, x.Sticky, x.Sources = nil, nil, nil
	y.Backends, y.Sticky, y.Sources = nil, nil, nil
	d.add("pool "+after.Name, append(what, fields("", x, y)...)...)
}

// backends says which came, which left, and what changed for those that stay.
func (d *differ) backends(from, to *config.Pool) (what []string) {
	var came, left, changed []string
	address := func(b config.Backend) string { return b.Address }
	pair(from.Backends, to.Backends, address, func(before, after *config.Backend) {
		switch {
		case before == nil:
			came = append(came, after.Address)
		case after == nil:
			left = append(left, before.Address)
		default:
			for _, f := range fields("", *before, *after) {
				changed = append(changed, "backend "+after.Address+" "+f)
			}
		}
	})
	for _, c := range []struct {
		sign, more string
		who        []string
	}{{"+", "", came}, {"-", d.leaving(from, to, left), left}} {
		if n := len(c.who); n > 0 {
			what = append(what, c.sign+number(n, "backend")+" ("+some(c.who)+c.more+")")
		}
	}
	what = append(what, changed...)
	if anotherOrder(from.Backends, to.Backends, address) != nil {
		what = append(what, "backends in another order")
	}
	return what
}

// some lists the first few of many.
func some(words []string) string {
	const most = 5
	if len(words) <= most {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
}

// rest compares everything that has no name of its own.
func (d *differ) rest(a, b *config.Config) {
	x, y := *a, *b
	x.Listeners, x.Routes, x.Pools, x.Warnings = nil, nil, nil, nil
	y.Listeners, y.Routes, y.Pools, y.Warnings = nil, nil, nil, nil
	d.lines = append(d.lines, fields("", x, y)...)
}

// pair calls f for what a and b have under one name, in the order of a, and then
// for what only b has. What is missing is nil.
func pair[T any](a, b []T, name func(T) string, f func(before, after *T)) {
	pairTwice(a, b, name, func() {}, f)
}

// pairTwice is pair with a name that depends on those asked for before; again is
// called between the two lists.
func pairTwice[T any](a, b []T, name func(T) string, again func(), f func(before, after *T)) {
	after := map[string]*T{}
	names := make([]string, len(b))
	for i := range b {
		names[i] = name(b[i])
		after[names[i]] = &b[i]
	}
	again()
	had := map[string]bool{}
	for i := range a {
		n := name(a[i])
		had[n] = true
		f(&a[i], after[n])
	}
	for i := range b {
		if !had[names[i]] {
			f(nil, &b[i])
		}
	}
}
