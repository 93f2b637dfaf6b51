package config

import (
	"time"

	"steelyard/internal/browser"
)

func corsMapping() mapping[browser.CORS] {
	origin := checked("text", "https://app.example.com, https://*.example.com, \"null\", or * for any", browser.ValidOrigin)
	origins := oneOrMore(origin)
	name := anyText("a name, or * for any", nil)
	return mapping[browser.CORS]{
		noun:    "settings of CORS",
		shortIs: "the origins alone",
		short: func(w *walker, v value, c *browser.CORS) bool {
			return (isText(v.node) || v.node.Kind == yamlSequence) && (origins.read(w, v, &c.Origins) || true)
		},
		fresh: browser.DefaultCORS,
		fields: []field[browser.CORS]{
			key("origins", origins, func(c *browser.CORS) *[]string { return &c.Origins },
				"Whose scripts may.").needed(),
			key("methods", oneOrMore(name), func(c *browser.CORS) *[]string { return &c.Methods },
				"Methods that scripts may use. GET, HEAD and POST they may in any case."),
			key("headers", oneOrMore(name), func(c *browser.CORS) *[]string { return &c.Headers },
				"Request headers that scripts may send."),
			key("expose", oneOrMore(name), func(c *browser.CORS) *[]string { return &c.Expose },
				"Response headers that scripts may read, beyond the harmless ones.").defaults("none"),
			key("credentials", boolean(), func(c *browser.CORS) *bool { return &c.Credentials },
				"Lets scripts send cookies and passwords. Not with the origin `*`."),
			key("max_age", duration(time.Second, day, "not at all"), func(c *browser.CORS) *time.Duration { return &c.MaxAge },
				"How long browsers remember what they asked."),
		},
		check: func(w *walker, s section, c *browser.CORS) {
			if len(c.Origins) == 0 && s.good("origins") && (s.at == nil || s.has("origins")) {
				w.failf(s.where("origins"), "is empty, so no script could use it")
			}
		},
		validate: func(c *browser.CORS) error {
			if len(c.Origins) == 0 {
				return nil // said already
			}
			return c.Validate()
		},
	}
}

func securityMapping() mapping[browser.Security] {
	return mapping[browser.Security]{
		noun:  "security headers",
		fresh: browser.DefaultSecurity,
		fields: []field[browser.Security]{
			key("no_sniff", boolean(), func(s *browser.Security) *bool { return &s.NoSniff },
				"`X-Content-Type-Options: nosniff`: what is no script is not run as one."),
			key("frames", enum(browser.Frames()), func(s *browser.Security) *string { return &s.Frames },
				"Who may show pages in a frame: the site alone (`self`), `none`, or `any`. `X-Frame-Options`, and `frame-ancestors` for `Content-Security-Policy`."),
			key("referrer", enum(browser.Referrers()), func(s *browser.Security) *string { return &s.Referrer },
				"`Referrer-Policy`: what other sites learn of where somebody comes from."),
			key("policy", anyText("a Content-Security-Policy", nil), func(s *browser.Security) *string { return &s.Policy },
				"`Content-Security-Policy`, beside what `frames` adds to it.").defaults("none"),
			key("override", boolean(), func(s *browser.Security) *bool { return &s.Override },
				"Replaces what the backend has sent of these, in place of leaving it."),
			key("hide_server", boolean(), func(s *browser.Security) *bool { return &s.HideServer },
				"Removes `Server` and `X-Powered-By` of the backend."),
		},
		validate: func(s *browser.Security) error { return s.Validate() },
	}
}
