package config

import (
	"time"

	"steelyard/discovery"
)

// consulMapping reads how to reach Consul.
func consulMapping() mapping[discovery.ConsulOptions] {
	agent := checked("address", "host:port, http://host:port, https://host:port or unix:///path", func(s string) error {
		o := discovery.DefaultConsul()
		o.Addresses = []string{s}
		return o.Validate()
	})
	agents := oneOrMore(agent)
	return mapping[discovery.ConsulOptions]{
		noun:    "settings of Consul",
		shortIs: "an address",
		short: func(w *walker, v value, o *discovery.ConsulOptions) bool {
			return isText(v.node) && (agents.read(w, v, &o.Addresses) || true)
		},
		fresh: discovery.DefaultConsul,
		fields: []field[discovery.ConsulOptions]{
			key("address", agents, func(o *discovery.ConsulOptions) *[]string { return &o.Addresses },
				"The agent; with a list, the next is asked when one does not answer.").defaults("CONSUL_HTTP_ADDR, else 127.0.0.1:8500"),
			key("token", anyText("the SecretID of an ACL token", nil), func(o *discovery.ConsulOptions) *string { return &o.Token },
				"ACL token, better as `${NAME}` than written out.").defaults("CONSUL_HTTP_TOKEN, else that of CONSUL_HTTP_TOKEN_FILE"),
			key("token_file", filePath(), func(o *discovery.ConsulOptions) *string { return &o.TokenFile },
				"File with the ACL token. It is read again when it changes.").defaults("none"),
			key("datacenter", anyText("the name of a datacenter", nil), func(o *discovery.ConsulOptions) *string { return &o.Datacenter },
				"Which datacenter sources ask.").defaults("the agent's own"),
			key("namespace", anyText("the name of a namespace", nil), func(o *discovery.ConsulOptions) *string { return &o.Namespace },
				"Which namespace they ask (Consul Enterprise).").defaults("the agent's own"),
			key("partition", anyText("the name of a partition", nil), func(o *discovery.ConsulOptions) *string { return &o.Partition },
				"Which admin partition they ask (Consul Enterprise).").defaults("the agent's own"),
			key("tls", consulTLSMapping().kind(), func(o *discovery.ConsulOptions) *discovery.ConsulTLS { return &o.TLS },
				"How to speak TLS to `https://` addresses.").defaults("the system's CAs, no certificate"),
			key("max_connections", integer(2, 1000), func(o *discovery.ConsulOptions) *int { return &o.MaxConnections },
				"Most connections to one agent; more questions than that take turns. An agent allows one client 200."),
			key("register", orTrue(registerMapping()), func(o *discovery.ConsulOptions) **discovery.Registration { return &o.Register },
				"Announces Steelyard itself as a service; `true` does so with defaults.").defaults("none"),
		},
		check: func(w *walker, s section, o *discovery.ConsulOptions) {
			if s.has("token_file") && s.good("token_file") && w.missing(o.TokenFile) {
				w.warnf(s.at["token_file"], "there is no file %s yet; until there is one Consul is asked without a token", o.TokenFile)
			}
		},
		validate: func(o *discovery.ConsulOptions) error { return o.Validate() },
	}
}

func consulTLSMapping() mapping[discovery.ConsulTLS] {
	return mapping[discovery.ConsulTLS]{
		noun: "settings of tls",
		fields: []field[discovery.ConsulTLS]{
			key("ca", filePath(), func(t *discovery.ConsulTLS) *string { return &t.CAFile },
				"PEM file with the certificates to trust.").defaults("those of the system"),
			key("cert", filePath(), func(t *discovery.ConsulTLS) *string { return &t.CertFile },
				"PEM file with the certificate to show.").defaults("none"),
			key("key", filePath(), func(t *discovery.ConsulTLS) *string { return &t.KeyFile },
				"PEM file with its key.").defaults("none"),
			key("server_name", anyText("a host name", nil), func(t *discovery.ConsulTLS) *string { return &t.ServerName },
				"Expected in the agent's certificate.").defaults("the host of the address"),
			key("insecure", boolean(), func(t *discovery.ConsulTLS) *bool { return &t.Insecure },
				"Accepts any certificate."),
		},
		validate: func(t *discovery.ConsulTLS) error {
			o := discovery.DefaultConsul()
			o.TLS = *t
			return o.Validate()
		},
		check: func(w *walker, s section, t *discovery.ConsulTLS) {
			for name, path := range map[string]string{"ca": t.CAFile, "cert": t.CertFile, "key": t.KeyFile} {
				if path != "" && w.missing(path) {
					w.warnf(s.at[name], "there is no file %s; Steelyard does not start without it", path)
				}
			}
		},
		prefix: "tls.",
		bounds: map[string][]string{"cert": {"key"}, "key": {"cert"}},
	}
}

func registerMapping() mapping[discovery.Registration] {
	return mapping[discovery.Registration]{
		noun:  "a registration",
		fresh: discovery.DefaultRegistration,
		fields: []field[discovery.Registration]{
			key("name", anyText("the name of a service", nil), func(r *discovery.Registration) *string { return &r.Name },
				"Name of the service."),
			key("id", anyText("an id that no other service of the agent has", nil), func(r *discovery.Registration) *string { return &r.ID },
				"Id of this instance.").defaults("name-hostname-port"),
			key("address", anyText("a host name or an IP address", nil), func(r *discovery.Registration) *string { return &r.Address },
				"What others connect to.").defaults("the agent's own"),
			key("port", integer(1, 65535), func(r *discovery.Registration) *int { return &r.Port },
				"Which port others connect to.").defaults("that of the first listener"),
			key("tags", oneOrMore(anyText("a tag", nil)), func(r *discovery.Registration) *[]string { return &r.Tags },
				"Tags of the service.").defaults("none"),
			key("meta", textMap(), func(r *discovery.Registration) *map[string]string { return &r.Meta },
				"Meta of the service.").defaults("none"),
			key("ttl", duration(time.Second, time.Hour, ""), func(r *discovery.Registration) *time.Duration { return &r.TTL },
				"Consul holds it for dead after this long without a sign of life, which comes three times as often."),
			key("deregister_after", duration(time.Minute, 30*day, ""), func(r *discovery.Registration) *time.Duration { return &r.DeregisterAfter },
				"Consul removes it when it was dead for this long."),
		},
		validate: func(r *discovery.Registration) error { return r.Validate() },
	}
}

// textMap is a mapping of names to texts that its package checks.
func textMap() kind[map[string]string] {
	type pair = [2]string
	inner := pairs("name to text", "names and their values", func(name, val string) pair { return pair{name, val} }, func(pair) error { return nil })
	return kind[map[string]string]{
		typ: inner.typ, allowed: inner.allowed,
		read: func(w *walker, v value, to *map[string]string) bool {
			var got []pair
			if !inner.read(w, v, &got) {
				return false
			}
			*to = make(map[string]string, len(got))
			for _, p := range got {
				(*to)[p[0]] = p[1]
			}
			return true
		},
	}
}

// buildConsul gives the options of Consul if something asks it.
func (d *draft) buildConsul(w *walker, root section) *discovery.ConsulOptions {
	asked := false
	for _, p := range d.pools {
		for _, s := range p.sources {
			asked = asked || s.Consul != nil
		}
	}
	switch {
	case d.consul == nil && asked:
		o := discovery.DefaultConsul()
		return &o
	case d.consul != nil && !asked && d.consul.Register == nil:
		w.warnf(root.where("consul"), "nothing uses Consul: no pool has a source in it, and register is not there")
	}
	return d.consul
}
