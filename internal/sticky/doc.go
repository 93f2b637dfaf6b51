// Package sticky keeps a client on its backend: opaque backend ids for cookies,
// and a bounded table for clients known by a header or their address.
//
// # Cookies
//
// The cookie carries ID of the backend and nothing else, so any Steelyard with
// the same configuration understands it, before and after a restart, and there
// is no state to lose. The proxy finds it with FindCookie, looks its value up
// among the ids of the pool, and passes the request's cookies on unchanged.
//
// When to send it: whenever the client is bound anew, because it had no cookie,
// its value was unknown or its backend was gone. If Cookie.Renews, also with
// every other response. TTL then counts from the last use, as it does for
// Header and ClientIP; were it only sent at first, each client would be torn
// from its backend TTL after its first request, in the middle of its work. A
// request does not tell how old its cookie is, so there is no cheaper moment.
// Session cookies live as long as the browser does and are not sent again: a
// Set-Cookie costs some 60 bytes, and it does not belong on a response that a
// shared cache may store. By itself it does not inhibit caching (RFC 9111,
// section 7.3): a cache in front of Steelyard either refuses such responses or
// hands one client's binding to others, unless the application says
// Cache-Control: private.
//
// # Tables
//
// Clients known by a header or their address are remembered in a Table, which
// belongs to the pool's runtime state and not to a configuration: it must
// survive reloads, and Resize carries it over a change of its options. It is in
// memory only; after a restart clients are bound anew.
//
// The package must not know how a backend is chosen, nor any particular HTTP
// implementation.
package sticky
