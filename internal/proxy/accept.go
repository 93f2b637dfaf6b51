package proxy

import (
	"bytes"
	"strconv"

	"steelyard/internal/wire"
)

// pageKind is what an error page consists of.
type pageKind uint8

const (
	pageText pageKind = iota
	pageHTML
	pageJSON
	pageKinds
)

var pageTypes = [pageKinds]struct{ main, sub, field string }{
	pageText: {"text", "plain", "text/plain; charset=utf-8"},
	pageHTML: {"text", "html", "text/html; charset=utf-8"},
	pageJSON: {"application", "json", "application/json"},
}

// wish is how much a client wants a kind of page (RFC 9110, section 12.5.1): the
// closest of its ranges says so.
type wish struct {
	closeness int // 0: not named; 1: */*, 2: type/*, 3: the type itself
	quality   float64
	at        int // which of the ranges
}

// wishes reads Accept. Without it everything is as good as anything else.
func wishes(r *wire.Request) (all [pageKinds]wish) {
	at, any := 0, false
	list := r.Fields()
	for i := range list {
		if !wire.EqualFold(r.Name(i), "accept") {
			continue
		}
		for item, rest := wire.NextItem(r.Value(i)); item != nil; item, rest = wire.NextItem(rest) {
			any = true
			at++
			name, params, _ := bytes.Cut(item, []byte{';'})
			main, sub, _ := bytes.Cut(bytes.TrimSpace(name), []byte{'/'})
			q := quality(params)
			for k := range all {
				if c := closeness(main, sub, pageKind(k)); c > all[k].closeness {
					all[k] = wish{c, q, at}
				}
			}
		}
	}
	if !any {
		for k := range all {
			all[k] = wish{1, 1, 0}
		}
	}
	return all
}

func closeness(main, sub []byte, k pageKind) int {
	t := &pageTypes[k]
	switch {
	case string(main) == "*" && string(sub) == "*":
		return 1
	case !wire.EqualFold(main, t.main):
		return 0
	case string(sub) == "*":
		return 2
	case wire.EqualFold(sub, t.sub):
		return 3
	}
	return 0
}

// quality is the value of the parameter q, 1 without one; what is none is 0.
func quality(params []byte) float64 {
	for len(params) > 0 {
		var p []byte
		p, params, _ = bytes.Cut(params, []byte{';'})
		name, value, _ := bytes.Cut(bytes.TrimSpace(p), []byte{'='})
		if wire.EqualFold(bytes.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}

// better reports whether a client wants w rather than o. Of two that it wants
// equally, the one that it names more closely, or first, is meant.
func (w wish) better(o wish) bool {
	switch {
	case w.quality != o.quality:
		return w.quality > o.quality
	case w.closeness != o.closeness:
		return w.closeness > o.closeness
	}
	return w.at < o.at
}

// preferred is the kind of page that a client wants most; text if it wants none.
func preferred(all *[pageKinds]wish) pageKind {
	best := pageText
	for k := pageHTML; k < pageKinds; k++ {
		if all[k].better(all[best]) {
			best = k
		}
	}
	if all[best].quality == 0 {
		return pageText
	}
	return best
}
