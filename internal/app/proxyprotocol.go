package app

import (
	"steelyard/config"
	"steelyard/internal/pool"
	"steelyard/internal/proxyproto"
)

// proxyVersion is the version of the PROXY header of a pool, 0 for none.
func proxyVersion(c *config.Pool) int {
	switch c.ProxyProtocol {
	case "v1":
		return 1
	case "v2":
		return 2
	}
	return 0
}

// prefaceChecks lets the checks of a pool send a PROXY header as its requests do,
// one that says that the connection is Steelyard's own. At another port somebody
// else listens, who need not expect one.
func prefaceChecks(c *config.Pool, o *pool.Options) {
	v := proxyVersion(c)
	if v == 0 || o.Check == nil || o.Check.Type == "exec" || o.Check.Port != 0 {
		return
	}
	check := *o.Check // the configuration's own stays as it is
	check.Preface = string(proxyproto.Local(v))
	o.Check = &check
}
