package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	dialTimeout  = 2 * time.Second
	probeTimeout = 2 * time.Second
	// answerTimeout is what a query may take beyond the time it was told to wait.
	answerTimeout = 10 * time.Second
	// maxAnswer bounds what is read of one answer; 10,000 instances take about
	// 15 MB.
	maxAnswer = 256 << 20
)

var errNoLeader = errors.New("it has no contact to a cluster leader")

// agent is one Consul agent with the connections to it.
type agent struct {
	address string
	client  *api.Client
	open    atomic.Int64 // connections open now
	close   func()
}

// newAgent makes the client of one agent, whose requests are counted. transport replaces the network in
// tests; nil is the network.
func newAgent(address string, o ConsulOptions, t *token, requests *atomic.Uint64, transport http.RoundTripper) (*agent, error) {
	scheme, rest, err := parseAgent(address)
	if err != nil {
		return nil, err
	}
	a := &agent{address: address, close: func() {}}
	if transport == nil {
		network, err := a.network(scheme, rest, o)
		if err != nil {
			return nil, err
		}
		a.close, transport = network.CloseIdleConnections, network
	}
	if scheme == "unix" {
		scheme, rest = "http", "localhost"
	}
	a.client, err = api.NewClient(&api.Config{
		Address: rest,
		Scheme:  scheme,
		// Neither the environment nor its files are looked at when there is a
		// token; the transport puts the real one in its place.
		Token:      "of the transport",
		HttpClient: &http.Client{Transport: &authorized{next: transport, token: t, requests: requests}},
	})
	return a, err
}

// network is a transport with connections of its own, bounded and counted.
func (a *agent) network(scheme, rest string, o ConsulOptions) (*http.Transport, error) {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	transport := &http.Transport{
		MaxConnsPerHost:     o.MaxConnections,
		MaxIdleConnsPerHost: o.MaxConnections,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: dialTimeout,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if scheme == "unix" {
				network, address = "unix", rest
			}
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			a.open.Add(1)
			return &countedConn{Conn: c, open: &a.open}, nil
		},
	}
	if scheme != "https" {
		return transport, nil
	}
	config, err := api.SetupTLSConfig(&api.TLSConfig{
		Address: o.TLS.ServerName, CAFile: o.TLS.CAFile, CertFile: o.TLS.CertFile, KeyFile: o.TLS.KeyFile,
		InsecureSkipVerify: o.TLS.Insecure,
	})
	if err != nil {
		return nil, &OptionError{Option: "tls", Problem: fmt.Sprintf("cannot be used: %v", err)}
	}
	transport.TLSClientConfig = config
	return transport, nil
}

// probe asks whether the agent answers and its cluster has a leader. An agent
// that refuses a connection because it has too many of ours is alive.
func (a *agent) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	leader, err := a.client.Status().LeaderWithQueryOptions((&api.QueryOptions{}).WithContext(ctx))
	var status api.StatusError
	if errors.As(err, &status) && status.Code == http.StatusTooManyRequests {
		return nil
	}
	if err == nil && leader == "" {
		return errNoLeader
	}
	return err
}

// countedConn counts itself out once.
type countedConn struct {
	net.Conn
	open   *atomic.Int64
	closed atomic.Bool
}

func (c *countedConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

// authorized sends the token of the moment, counts requests and bounds answers.
type authorized struct {
	next     http.RoundTripper
	token    *token
	requests *atomic.Uint64
}

func (t *authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	t.requests.Add(1)
	req = req.Clone(req.Context())
	if value := t.token.get(); value != "" {
		req.Header.Set("X-Consul-Token", value)
	} else {
		req.Header.Del("X-Consul-Token")
	}
	res, err := t.next.RoundTrip(req)
	if err == nil {
		res.Body = &boundedBody{ReadCloser: res.Body, left: maxAnswer}
	}
	return res, err
}

var errTooLong = fmt.Errorf("its answer has more than %d MiB", maxAnswer>>20)

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
