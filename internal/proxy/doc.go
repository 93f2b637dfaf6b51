// Package proxy is the request's path: match, pick, attempt, retry, stream,
// account. fasthttp.Server accepts connections and runs each as a clientConn, which
// reads heads and bodies with package wire and serves one request after the other;
// the response leaves through the same clientConn in the bytes the backend sent.
//
// It builds nothing: a Generation made of routes and pools is handed to it whole
// and swapped by one atomic store.
package proxy
