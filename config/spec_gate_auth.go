package config

import (
	"steelyard/internal/auth"
)

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
			if o.File != "" && w.missing(o.File) {
				w.warnf(s.where("file"), "there is no file %s; Steelyard does not start without it", o.File)
			}
		},
		validate: func(o *auth.Options) error { return o.Validate() },
	}
}
