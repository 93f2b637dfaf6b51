package config

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"steelyard/internal/auth"
	"steelyard/internal/rewrite"
	"steelyard/internal/transport"
	"steelyard/internal/wire"
)

// ForwardAuth asks another server whether a request may come in.
type ForwardAuth struct {
	// Pool is asked. The URL of a server makes a pool of its own.
	Pool string
	Path string // with its query
	Host string // "": the address of the backend
	// Timeout bounds the answer; default 5s.
	Timeout time.Duration
	// RequestHeaders that the server sees; none: all. ResponseHeaders that go from
	// its answer to the backend. In lower case.
	RequestHeaders, ResponseHeaders []string
}

// URL is where it asks, as the file has it.
func (f *ForwardAuth) URL() string {
	switch {
	case f.Host == "":
		return "pool:" + f.Pool + f.Path
	case strings.HasPrefix(f.Pool, ownPool+"https:"):
		return "https://" + f.Host + f.Path
	}
	return "http://" + f.Host + f.Path
}

// ownPool begins the names of pools that URLs make; no pool of the file has a colon.
const ownPool = "forward_auth:"

type forwardDraft struct {
	ForwardAuth
	pool    placed[string] // of the file
	address string         // of a server in place of it
	tls     bool           // it speaks TLS
}

func basicAuthMapping() mapping[auth.Options] {
	type pair = [2]string
	users := pairs("name to hash", "names, each with a hash as "+auth.Make+" makes it",
		func(name, hash string) pair { return pair{name, hash} },
		func(p pair) error {
			if err := auth.CheckName(p[0]); err != nil {
				return err
			}
			_, err := auth.ParseHash(p[1])
			return err
		})
	byName := kind[map[string]string]{typ: users.typ, allowed: users.allowed}
	byName.read = func(w *walker, v value, to *map[string]string) bool {
		var list []pair
		if !users.read(w, v, &list) {
			return false
		}
		*to = make(map[string]string, len(list))
		for _, p := range list {
			(*to)[p[0]] = p[1]
		}
		return true
	}
	return mapping[auth.Options]{
		noun:    "settings of basic_auth",
		shortIs: "the path of the file alone",
		short: func(w *walker, v value, o *auth.Options) bool {
			return isText(v.node) && (filePath().read(w, v, &o.File) || true)
		},
		fresh: func() auth.Options { return auth.Options{Realm: "Restricted"} },
		fields: []field[auth.Options]{
			key("realm", anyText("text without quotes", nil), func(o *auth.Options) *string { return &o.Realm },
				"What browsers show when they ask."),
			key("users", byName, func(o *auth.Options) *map[string]string { return &o.Users },
				"Hashes by name, of bcrypt or argon2id; `"+auth.Make+"` makes one.").defaults("none"),
			key("file", filePath(), func(o *auth.Options) *string { return &o.File },
				"File with more of them, a line `name:hash` each, as `htpasswd -B` writes it. It is read again when it changes.").defaults("none"),
			key("forward", boolean(), func(o *auth.Options) *bool { return &o.Forward },
				"Lets the backend have the `Authorization` header as well."),
		},
		check: func(w *walker, s section, o *auth.Options) {
			switch {
			case o.File == "" || !s.good("users", "file", "realm"):
			case w.missing(o.File):
				w.warnf(s.where("file"), "there is no file %s; Steelyard does not start without it", o.File)
			case w.disk && o.Validate() == nil:
				if _, err := auth.NewBasic(*o, nil); err != nil {
					for _, f := range faults(err) {
						w.failf(s.where("file"), "%s", f.msg)
					}
				}
			}
		},
		validate: func(o *auth.Options) error { return o.Validate() },
	}
}

func forwardAuthMapping() mapping[forwardDraft] {
	name := checked("text", "a header name", func(s string) error {
		if err := (rewrite.Headers{Remove: []string{s}}).Validate(); err != nil {
			return fmt.Errorf("%q %s", clip(s), strings.TrimPrefix(err.Error(), fmt.Sprintf("remove %q: ", s)))
		}
		return nil
	})
	return mapping[forwardDraft]{
		noun:    "settings of forward_auth",
		shortIs: "the url alone",
		short: func(w *walker, v value, f *forwardDraft) bool {
			return isText(v.node) && (authURL().read(w, v, f) || true)
		},
		fresh: func() forwardDraft { return forwardDraft{ForwardAuth: ForwardAuth{Timeout: 5 * time.Second}} },
		fields: []field[forwardDraft]{
			key("url", authURL(), func(f *forwardDraft) *forwardDraft { return f },
				"Where to ask: a server, or a pool, whose checks, retries and TLS then hold.").needed(),
			key("timeout", duration(time.Millisecond, time.Minute, ""), func(f *forwardDraft) *time.Duration { return &f.Timeout },
				"Longest time for the answer; then 503."),
			key("request_headers", oneOrMore(name), func(f *forwardDraft) *[]string { return &f.RequestHeaders },
				"Headers of the request that are sent along, beside the `X-Forwarded-*` that say what is asked for.").defaults("all"),
			key("response_headers", oneOrMore(name), func(f *forwardDraft) *[]string { return &f.ResponseHeaders },
				"Headers of the answer that the backend gets. What clients send under these names never arrives.").defaults("none"),
		},
		check: func(_ *walker, _ section, f *forwardDraft) {
			for _, list := range [][]string{f.RequestHeaders, f.ResponseHeaders} {
				for i := range list {
					list[i] = strings.ToLower(list[i])
				}
			}
		},
	}
}

// authURL is a URL or pool:NAME/path.
func authURL() kind[forwardDraft] {
	const allowed = "http://host:port/path, https://host/path, or pool:NAME/path"
	return kind[forwardDraft]{typ: "URL", allowed: allowed, read: func(w *walker, v value, to *forwardDraft) bool {
		text, ok := w.text(v, allowed)
		if !ok {
			return false
		}
		if bad := to.parse(text, v); bad != nil {
			w.fail(v, Error{Msg: bad.msg, Allowed: allowed, Suggest: bad.suggest})
			return false
		}
		return true
	}}
}

func (f *forwardDraft) parse(text string, at value) *wrong {
	rest, isPool := strings.CutPrefix(text, "pool:")
	if isPool {
		name, path, slash := strings.Cut(rest, "/")
		f.Path = "/" + path
		f.Pool, f.pool = name, placed[string]{val: name, at: at}
		switch {
		case name == "" || strings.HasPrefix(path, "/"):
			return &wrong{msg: fmt.Sprintf("%q does not name a pool", clip(text)), suggest: "pool:" + strings.TrimLeft(rest, "/")}
		case slash && !plainPath(f.Path):
			return &wrong{msg: fmt.Sprintf("%q has a path that cannot be asked for", clip(text))}
		}
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return &wrong{msg: fmt.Sprintf("%q is not a URL", clip(text))}
	case u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Fragment != "":
		return &wrong{msg: fmt.Sprintf("%q is not a plain http or https URL", clip(text))}
	}
	f.tls = u.Scheme == "https"
	port, name := cmp.Or(u.Port(), "80"), ownPool
	if f.tls {
		port, name = cmp.Or(u.Port(), "443"), name+"https:"
	}
	address, bad := parseAddress(net.JoinHostPort(u.Hostname(), port), false)
	if bad != nil {
		return bad
	}
	if f.Path = u.RequestURI(); !plainPath(f.Path) {
		return &wrong{msg: fmt.Sprintf("%q has a path that cannot be asked for", clip(text))}
	}
	f.address, f.Pool, f.Host = address, name+address, u.Host
	return nil
}

// plainPath reports whether a path can stand in a request line.
func plainPath(path string) bool {
	var r wire.Request
	return r.Parse([]byte("GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")) == nil
}

// authPools are the pools of servers that are named by a URL, one for each.
func (d *draft) authPools() (pools []Pool) {
	made := map[string]bool{}
	for _, r := range d.routes {
		f := r.forward
		if f == nil || f.address == "" || made[f.Pool] {
			continue
		}
		made[f.Pool] = true
		p := poolMapping().fresh().Pool
		p.Name, p.Line = f.Pool, r.at.line
		p.Backends = []Backend{{Address: f.address, Weight: 1, Line: r.at.line}}
		if f.tls {
			o := transport.DefaultTLSOptions()
			p.TLS = &o
		}
		pools = append(pools, p)
	}
	return pools
}
