// Package router finds the route that takes a request, in an immutable table
// that many goroutines read without a lock and without allocation.
//
// # Which route wins
//
// All routes that take a request are compared by this list, and the first
// difference decides. The order in the file matters only for the last line.
//
//  1. Host: an exact name, then the wildcard with the longest suffix, then any host.
//  2. Path: exact, then a regular expression, then the longest prefix, then any path.
//     Between regular expressions the one with the longer literal beginning
//     comes first: "~^/user/[0-9]+$" begins with "/user/", "~^/[a-z]+$" with
//     "/", "~[.]png$" with nothing.
//  3. Conditions: more before fewer. Each header, each query parameter and the
//     list of methods counts as one.
//  4. Values: more exact header and query values before fewer, then more
//     regular expressions, so that "x: 1" comes before "x: *".
//  5. Methods: fewer before more, so that [GET] comes before [GET, POST].
//  6. Position: the first in the file.
//
// A route whose host and path fit but whose method, header or query do not is
// skipped and the next in this order is tried, from the exact host through its
// wildcards down to any host.
//
// Regular expressions stand above prefixes, as they do in nginx, because they
// are written as exceptions to a prefix: below it, "~^/app/.*[.]png$" beside
// "/app/*" could never win, without a word of warning. The price is that they
// have to be run on requests that a prefix would take as well. It is paid only
// on the hosts that have them, and an expression that is anchored to a literal
// beginning ("^/app/") runs only on paths that begin so, and only while no
// better route has been found and after its other conditions hold.
//
// # What is compared
//
// The host without case, without port and without one trailing dot, as text:
// "[::1]" is not "[0::1]". A host longer than the 253 bytes of a DNS name is
// taken by any-host routes only. The path is compared byte for byte as it is
// given, without query: no decoding, no cleaning of "..", no case folding. How a
// client's path is read, before it is given, is what Paths is for. Methods are
// compared with case (RFC 9110, section 9.1), and GET does not include HEAD. Of a
// repeated header or parameter the Peeker shows one value, the first.
//
// The package must not know what a route does with the request, nor any
// particular HTTP implementation.
package router
