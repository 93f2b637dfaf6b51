// Package certs holds the certificates that a listener shows: it reads and
// checks their files, chooses one for each client, exchanges them when the files
// change, staples OCSP responses to them, and rotates the keys of session
// tickets.
//
// A Store is what one listener uses. Whoever accepts a connection asks it for
// the tls.Config of this moment; a file that cannot be used changes nothing but
// the Store's Status.
//
// The package must not know of listeners, nor of HTTP beyond what asking an OCSP
// responder takes.
package certs
