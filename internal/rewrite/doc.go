// Package rewrite changes a request's path and the headers of both directions,
// with templates that are parsed once and expanded without allocation.
//
// # Templates
//
// A template is text with variables in braces, "https://{host}{uri}"; "{{" and
// "}}" stand for the braces themselves. The variables:
//
//	client_ip    client_port   address of the client
//	host                       the Host that the client asked for
//	method       scheme        GET, ...; http or https
//	path         query         as the client sent them, without and behind "?"
//	uri                        path, and "?" and query if there is one
//	request_id                 the request's id
//	route        pool          names from the configuration
//	backend      listener      address of the backend; name of the listener
//	tls_version  tls_sni       such as 1.3; the host that the client named to TLS
//	tls_client_verified        true or false: whether it has shown a certificate
//	tls_client_subject         of that certificate: subject (RFC 2253),
//	tls_client_cn              common name,
//	tls_client_san             alternative names (dns:a,email:b,uri:c),
//	tls_client_fingerprint     SHA-256 in hexadecimal
//	auth_user                  who the client has shown to be
//	{header.NAME}              a request header, the first of that name
//	{query.NAME}               a query parameter
//	{cookie.NAME}              a cookie of the request
//
// What is not there expands to nothing. The environment is no variable: the
// configuration expands ${NAME} when it is read.
//
// # Safety
//
// Variables carry bytes that clients chose. Template.AppendHeader replaces
// every control byte except the tab (0x00 to 0x1F and 0x7F, so CR, LF and NUL
// too) by a space, as RFC 9110, section 5.5, asks of recipients, and takes
// spaces and tabs off both ends. A value can therefore never end its line.
// Template.Append changes nothing and is not fit for headers.
//
// # Headers
//
// Remove comes first, then set, then add. Set sends one header of that name
// instead of all that came; add sends one more. A header whose value expands to
// nothing is not sent, in set as in add; set then still removes what came. Names
// are compared without case and sent as they are written in the configuration.
//
// Connection, Keep-Alive, Proxy-Connection, TE, Trailer, Transfer-Encoding,
// Upgrade, Content-Length and Expect belong to the connection or frame the
// message, and Host has a key of its own: they are refused.
//
// # Paths
//
// Prefixes end at segments: stripping /v1 takes /v1 and what is below /v1/, and
// leaves /v10 alone. Paths are compared byte for byte as the client sent them,
// still percent-encoded. A path that does not match is left as it is.
//
//	strip /v1              /v1/a -> /a    /v1/ -> /    /v1 -> /     /v1//a -> /a
//	replace /v1 by /api    /v1/a -> /api/a    /v1/ -> /api/    /v1 -> /api
//	replace / by /app      /a -> /app/a       / -> /app/
//
// A rewritten path begins with exactly one slash: "//host/x" would be read as
// another host by whoever resolves it as a reference (RFC 3986, section 4.2).
// An empty path becomes "/", and "*" (OPTIONS) does not match a prefix.
//
// The package must not know where values come from, nor any particular HTTP
// implementation.
package rewrite
