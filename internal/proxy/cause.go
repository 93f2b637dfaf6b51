package proxy

import "net/http"

// Cause says why Steelyard made an error of its own. The list is closed: it is
// the same in the response header, in logs and in the documentation.
type Cause uint8

// The causes, see docs/errors.md for what to do about each.
const (
	CauseNone Cause = iota
	CauseNoRoute
	CauseNoBackend
	CauseQueueFull
	CauseQueueTimeout
	CauseOverloaded
	CauseConnectRefused
	CauseConnectTimeout
	CauseConnectFailed
	CauseNoFiles
	CauseTLSFailed
	CauseReset
	CauseResponseTimeout
	CauseBadResponse
	CauseTruncated
	CauseDrained
	CauseBadRequest
	CauseProxyHeader
	CauseBodyTooLarge
	CauseHeadTooLarge
	CauseTargetTooLong
	CauseHeadTimeout
	CauseBodyTimeout
	CauseWriteTimeout
	CauseNotSupported
	CauseDenied
	CauseRateLimited
	CauseCORS
	CausePlainHTTP
	CauseMisdirected
	CauseUnauthorized
	CauseAuthUnavailable
	CauseTooManyConns
	CauseClientTooMany
	CauseClientGone
	CauseShutdown
	CauseInternal
	causeCount
)

type causeInfo struct {
	name   string
	status int
	hint   string
}

var causes = [causeCount]causeInfo{
	CauseNone:            {"none", 0, ""},
	CauseNoRoute:         {"no_route", 404, "no route matches this host and path"},
	CauseNoBackend:       {"no_backend", 503, "no backend of the pool can take the request"},
	CauseQueueFull:       {"queue_full", 503, "every backend is at its limit and the queue is full"},
	CauseQueueTimeout:    {"queue_timeout", 503, "every backend was at its limit for as long as a request may wait"},
	CauseOverloaded:      {"overloaded", 503, "the pool has as many requests as it may have at once"},
	CauseConnectRefused:  {"connect_refused", 502, "the backend refuses connections; is the app running?"},
	CauseConnectTimeout:  {"connect_timeout", 504, "the backend did not answer the connection in time"},
	CauseConnectFailed:   {"connect_failed", 502, "the backend could not be connected to"},
	CauseNoFiles:         {"out_of_files", 503, "the balancer has no file descriptor left for a connection to the backend"},
	CauseTLSFailed:       {"tls_failed", 502, "no TLS connection to the backend could be made; the log says why"},
	CauseReset:           {"reset_before_response", 502, "the backend closed the connection before it answered"},
	CauseResponseTimeout: {"response_timeout", 504, "the backend did not answer in time"},
	CauseBadResponse:     {"bad_response", 502, "what the backend sent is not a valid HTTP/1.1 response"},
	CauseTruncated:       {"response_truncated", 502, "the backend ended the response before it was complete"},
	CauseDrained:         {"drained", 503, "the backend was being drained, and the time for what it had is over"},
	CauseBadRequest:      {"bad_request", 400, "the request is not valid HTTP/1.1"},
	CauseProxyHeader:     {"proxy_header", 400, "this listener expects a PROXY header from this address, and there was none that can be read"},
	CauseBodyTooLarge:    {"body_too_large", 413, "the request body is larger than this listener accepts"},
	CauseHeadTooLarge:    {"head_too_large", 431, "the request head is larger than this listener accepts"},
	CauseTargetTooLong:   {"target_too_long", 414, "the request target is longer than this listener accepts"},
	CauseHeadTimeout:     {"head_timeout", 408, "the request head did not arrive in time"},
	CauseBodyTimeout:     {"body_timeout", 408, "the request body did not arrive in time"},
	CauseWriteTimeout:    {"write_timeout", 408, "the client took its response too slowly"},
	CauseNotSupported:    {"not_supported", 501, "this is not offered here"},
	CauseDenied:          {"denied", 403, "this address may not come in here"},
	CauseRateLimited:     {"rate_limited", 429, "more requests than are allowed in this time; Retry-After says when to try again"},
	CauseCORS:            {"cors_refused", 403, "scripts of this origin may not do this here"},
	CausePlainHTTP:       {"plain_http", 400, "this port speaks TLS, and the request came without; ask for https:// in place of http://"},
	CauseMisdirected:     {"misdirected", 421, "the request is for another host than the connection was made for; connect again, for that host"},
	CauseUnauthorized:    {"unauthorized", 401, "a name and a password are needed here"},
	CauseAuthUnavailable: {"auth_unavailable", 503, "who you are cannot be found out at the moment"},
	CauseTooManyConns:    {"too_many_connections", 503, "there are as many connections as there may be; try again"},
	CauseClientTooMany:   {"too_many_from_client", 503, "there are as many connections from this address as there may be; close some, or try again"},
	CauseClientGone:      {"client_gone", 499, "the client left before it was answered"},
	CauseShutdown:        {"shutdown", 503, "the balancer stopped before the request was finished"},
	CauseInternal:        {"internal", 500, "something went wrong in the balancer itself; its log says more"},
}

// String is the cause's name in headers and logs.
func (c Cause) String() string { return causes[c].name }

// private reports whether details of the cause name a backend's address or quote
// what it sent; those are for the log alone.
func (c Cause) private() bool {
	switch c {
	case CauseNoBackend, CauseConnectRefused, CauseConnectTimeout, CauseConnectFailed, CauseNoFiles, CauseTLSFailed, CauseBadResponse, CauseAuthUnavailable:
		return true
	}
	return false
}

// Causes lists the names of all causes.
func Causes() []string {
	var names []string
	for c := CauseNoRoute; c < causeCount; c++ {
		names = append(names, c.String())
	}
	return names
}

// statusText is the reason phrase of a status.
func statusText(status int) string {
	if t := http.StatusText(status); t != "" {
		return t
	}
	return "Unknown"
}
