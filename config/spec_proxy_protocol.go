package config

import "net/netip"

// proxyOff is Pool.ProxyProtocol without a PROXY header.
const proxyOff = "off"

// proxyProtocolIn is the key of a listener behind something that speaks the PROXY
// protocol.
func proxyProtocolIn() field[listenerDraft] {
	return key("proxy_protocol", oneOrMore(network()), func(l *listenerDraft) *[]netip.Prefix { return &l.ProxyProtocol },
		"Networks whose connections must begin with a PROXY header (version 1 or 2), which says who the client is. Connections from elsewhere must not have one. On a unix socket every connection must.").defaults("none")
}

// proxyProtocolOut is the key of a pool whose backends expect it.
func proxyProtocolOut() field[poolDraft] {
	return key("proxy_protocol", enum([]string{proxyOff, "v1", "v2"}), func(p *poolDraft) *string { return &p.ProxyProtocol },
		"Begins each connection to a backend with a PROXY header that names the client. Such a connection serves only that client. Checks send one too.")
}
