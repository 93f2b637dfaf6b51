package proxy

import (
	"bytes"

	"steelyard/internal/rewrite"
	"steelyard/internal/router"
)

// findRoute is the index of the route that takes the request, -1 if none does;
// why is set when its path is refused.
func (x *exchange) findRoute() (i int, why string) {
	plain := x.gen.Paths == router.PathsPass || router.Plain(x.req.Path) || x.req.Path[0] != '/'
	if !plain {
		if why = x.readPath(); why != "" {
			return -1, why
		}
	}
	x.match = router.Request{Host: x.req.Host, Path: x.req.Path, Method: x.req.Method, Header: x.req, Query: &x.query}
	x.query.raw = x.req.Query
	if i = x.gen.Table.Match(&x.match); i < 0 {
		return i, ""
	}
	if !plain {
		why = x.otherReading(i)
	}
	if why == "" && x.gen.Paths != router.PathsPass {
		why = x.rewriting(x.gen.Routes[i].Path)
	}
	return i, why
}

// rewriting reports a path that a regular expression would make one with dot
// segments: of /static../x ^/static(.*) and /files/$1 make /files/../x.
func (x *exchange) rewriting(p *rewrite.PathRewriter) (why string) {
	if !p.Regex() || x.req.Path[0] != '/' {
		return ""
	}
	x.out = p.Append(x.out[:0], x.req.Path)
	if router.Plain(x.out) {
		return ""
	}
	read, why := router.PathsNormalize.Read(nil, x.out)
	if why == "" && !bytes.Equal(read, x.out) {
		why = router.WhyRewritten
	}
	return why
}

// readPath brings the path into the form in which it is routed and forwarded,
// or says why it is refused.
func (x *exchange) readPath() (why string) {
	r := x.req
	if x.read, why = x.gen.Paths.Read(x.read[:0], r.Path); why != "" {
		x.read = x.read[:0]
		return why
	}
	x.readLen = len(x.read)
	if r.HasQuery {
		x.read = append(append(x.read, '?'), r.Query...)
	}
	x.keepReading()
	return ""
}

// keepReading gives the request the path as it was read, if that was needed.
func (x *exchange) keepReading() {
	if len(x.read) > 0 {
		x.req.Path = x.read[:x.readLen]
	}
}

// otherReading reports a path that a lenient program behind route i would take
// for one of a route that comes before it: what that route is there for would
// be got around.
func (x *exchange) otherReading(i int) (why string) {
	x.out = router.Loosest(x.out[:0], x.req.Path)
	if bytes.Equal(x.out, x.req.Path) {
		return ""
	}
	q := x.match
	q.Path = x.out
	if j := x.gen.Table.Match(&q); j >= 0 && x.gen.Table.Before(j, i) {
		return router.WhyOther
	}
	return ""
}

// uri is path and query as they were read; where that is as they were sent, they
// are the end of the target.
func (x *exchange) uri() []byte {
	if len(x.read) > 0 {
		return x.read
	}
	n := len(x.req.Path)
	if x.req.HasQuery {
		n += 1 + len(x.req.Query)
	}
	t := x.req.Target
	v := t[len(t)-n:]
	if x.req.Absolute && v[0] != '/' {
		return append([]byte{'/'}, v[1:]...) // http://host?query has no path
	}
	return v
}
