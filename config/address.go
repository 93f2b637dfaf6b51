package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// maxUnixPath is the longest path of a unix socket on Linux.
const maxUnixPath = 107

const (
	listenAllowed = `host:port, :port for every address of the machine, or unix:/path; ports are 1 to 65535`
	dialAllowed   = `host:port or unix:/path; ports are 1 to 65535`
)

// listenAddress is where a listener may listen.
func listenAddress() kind[string] { return addressKind(listenAllowed, true) }

// dialAddress is where a backend may be reached.
func dialAddress() kind[string] { return addressKind(dialAllowed, false) }

func addressKind(allowed string, listen bool) kind[string] {
	return scalar("address", allowed, func(s string) (string, *wrong) { return parseAddress(s, listen) }, func(s string) string { return s })
}

// parseAddress reads host:port or unix:/path and returns it in one canonical
// spelling, because the address is a backend's identity: names in lower case,
// IP addresses and ports without leading zeros. A listener may leave the host out.
func parseAddress(s string, listen bool) (string, *wrong) {
	got, bad := readAddress(s, listen)
	if bad == nil || bad.msg != "" {
		return got, bad
	}
	why, guess := notAddress(s, listen)
	if got, bad := readAddress(guess, listen); bad == nil {
		return "", &wrong{msg: why, suggest: got}
	}
	return "", &wrong{msg: why}
}

// readAddress is parseAddress without a word on what is not an address at all.
func readAddress(s string, listen bool) (string, *wrong) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return parseUnix(s, path)
	}
	host, portText, err := net.SplitHostPort(s)
	if err != nil || strings.ContainsAny(s, "/?#@ ") {
		return "", &wrong{}
	}
	port, bad := parsePort(portText)
	if bad != nil {
		return "", &wrong{msg: fmt.Sprintf("%q has no port from 1 to 65535", clip(s))}
	}
	portText = strconv.Itoa(port)
	if ip, err := netip.ParseAddr(host); err == nil {
		if !listen && ip.IsUnspecified() {
			return "", &wrong{msg: fmt.Sprintf("%q is not an address that can be connected to", clip(s)), suggest: "127.0.0.1:" + portText}
		}
		return net.JoinHostPort(ip.String(), portText), nil
	}
	switch {
	case host == "" && listen:
		return ":" + portText, nil
	case host == "":
		return "", &wrong{msg: fmt.Sprintf("%q has no host", clip(s)), suggest: "127.0.0.1:" + portText}
	case host == "*" && listen:
		return "", &wrong{msg: "every address of the machine is written without a host", suggest: ":" + portText}
	case !hostPattern.MatchString(host) || len(host) > 253:
		return "", &wrong{msg: fmt.Sprintf("%q has no host name or IP address before the port", clip(s))}
	case strings.Trim(host, "0123456789.") == "":
		return "", &wrong{msg: fmt.Sprintf("%q is not an IP address", host)}
	}
	return strings.ToLower(host) + ":" + portText, nil
}

func parsePort(s string) (int, *wrong) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, &wrong{msg: fmt.Sprintf("%q is not a port from 1 to 65535", clip(s))}
	}
	return int(port), nil
}

var hostPattern = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

// parseUnix checks the path of a unix socket; s is the whole address.
func parseUnix(s, path string) (string, *wrong) {
	switch {
	case strings.HasPrefix(path, "//"):
		return "", &wrong{msg: fmt.Sprintf("%q is a URL, not an address", clip(s)), suggest: "unix:/" + strings.TrimLeft(path, "/")}
	case !strings.HasPrefix(path, "/") || path == "/":
		return "", &wrong{msg: fmt.Sprintf("%q has no absolute path", clip(s))}
	case len(path) > maxUnixPath:
		return "", &wrong{msg: fmt.Sprintf("the path has %d bytes, a unix socket's at most %d", len(path), maxUnixPath)}
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", &wrong{msg: fmt.Sprintf("%q has a control character", clip(s))}
	}
	return s, nil
}

// notAddress says why s is not host:port, with a guess at what was meant.
func notAddress(s string, listen bool) (why, guess string) {
	why = fmt.Sprintf("%q is not an address", clip(s))
	u, err := url.Parse(s)
	switch {
	case strings.Contains(s, "://") && err == nil && u.Host != "":
		why = fmt.Sprintf("%q is a URL, not an address", clip(s))
		switch {
		case u.Port() != "":
			return why, u.Host
		case u.Scheme == "https" || u.Scheme == "wss":
			return why, u.Host + ":443"
		}
		return why, u.Host + ":80"
	case strings.HasPrefix(s, "/"):
		return why, "unix:" + s
	case s != "" && strings.Trim(s, "0123456789") == "" && listen:
		return why + ", a port alone", ":" + s
	case s != "" && strings.Trim(s, "0123456789") == "":
		return why + ", a port alone", "127.0.0.1:" + s
	case isIP(s):
		return why + ", it has no port", net.JoinHostPort(strings.Trim(s, "[]"), "80")
	case strings.Contains(s, "/"):
		before, _, _ := strings.Cut(s, "/")
		return why, before
	case hostPattern.MatchString(s):
		return why + ", it has no port", s + ":80"
	}
	return why, ""
}

func isIP(s string) bool {
	_, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return err == nil
}

// network is a range of addresses; a single address is a range of one.
func network() kind[netip.Prefix] {
	const allowed = "an IP address (10.0.0.7) or a range (10.0.0.0/8)"
	return scalar("network", allowed, func(s string) (netip.Prefix, *wrong) {
		if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
			ip = ip.Unmap()
			return netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return netip.Prefix{}, &wrong{msg: fmt.Sprintf("%q is not a network", clip(s))}
		}
		if p.Masked() != p {
			return netip.Prefix{}, &wrong{msg: s + " has bits set beyond its length", suggest: p.Masked().String()}
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 { // peers are compared as plain IPv4
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p, nil
	}, netip.Prefix.String)
}

// overlap reports whether two listeners could not both be opened. Names other
// than localhost are not resolved: they overlap only when they are the same.
func overlap(a, b string) bool {
	if a == b {
		return true
	}
	if strings.HasPrefix(a, "unix:") || strings.HasPrefix(b, "unix:") {
		return false
	}
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	if portA != portB {
		return false
	}
	return covers(hostA, hostB) || covers(hostB, hostA)
}

// covers reports whether listening on host wide takes what host narrow would
// listen on. No host and :: take both families, 0.0.0.0 takes IPv4.
func covers(wide, narrow string) bool {
	w, errWide := netip.ParseAddr(wide)
	n, errNarrow := netip.ParseAddr(narrow)
	switch {
	case wide == "" || errWide == nil && w.Is6() && w.IsUnspecified():
		return true
	case errWide == nil && w.IsUnspecified():
		return narrow == "localhost" || errNarrow == nil && n.Unmap().Is4()
	case wide == "localhost":
		return errNarrow == nil && n.IsLoopback()
	}
	return wide == narrow
}
