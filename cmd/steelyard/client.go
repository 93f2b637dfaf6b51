package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// client speaks to the admin API of a running Steelyard.
type client struct {
	base  string // http://host:port
	where string // as the user knows it
	token string
	http  http.Client
}

// newClient makes a client for host:port, :port, http(s)://host:port or unix:/path.
func newClient(address, token string, tlsConf *tls.Config) *client {
	c := &client{where: address, token: token}
	transport := &http.Transport{TLSClientConfig: tlsConf}
	c.http.Transport = transport
	switch path, isUnix := strings.CutPrefix(address, "unix:"); {
	case isUnix:
		scheme := "http://"
		if tlsConf != nil {
			scheme = "https://"
		}
		c.base = scheme + "localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
	case strings.Contains(address, "://"):
		c.base = strings.TrimRight(address, "/")
	default:
		scheme := "http://"
		if tlsConf != nil {
			scheme = "https://"
		}
		c.base = scheme + reachable(address)
	}
	return c
}

// reachable is where to connect to for an address that is listened on.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// call sends a request and returns the body of the answer; anything but 200 is an
// error.
func (c *client) call(method, path string, body any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	var sent []byte
	if body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	res, err := c.open(ctx, method, path, sent)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("%s: the answer broke off: %w", c.where, err)
	}
	return text, nil
}

// open sends a request and returns its answer, which is a 200.
func (c *client) open(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, usageError{fmt.Errorf("--admin %s is not host:port, a URL or unix:/path", c.where)}
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	return nil, refusal(res)
}
