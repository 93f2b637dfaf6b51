package discovery

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// udpSize is what EDNS0 offers: larger datagrams are lost too often.
	udpSize = 1232
	// maxFollow is how many times a CNAME is asked for that an answer left open.
	maxFollow = 8
)

// asker answers a question, however.
type asker interface {
	ask(ctx context.Context, q question) (reply, error)
}

// lookup asks, and follows the CNAMEs that an answer leaves open.
func lookup(ctx context.Context, a asker, q question) (reply, error) {
	ttl, first := time.Duration(1<<62), q
	for range maxFollow {
		r, err := a.ask(ctx, q)
		if err != nil {
			return reply{}, err
		}
		if r.ttl != noTTL {
			r.ttl = min(r.ttl, ttl)
		}
		if r.alias == "" {
			return r, nil
		}
		ttl, q.name = r.ttl, r.alias
	}
	return reply{}, fmt.Errorf("%s leads through more than %d CNAMEs, or in a circle; correct them in the zone", first.name, maxFollow)
}

// client asks servers, the one that answered last first.
type client struct {
	given   []string // host:port; none are those of conf
	conf    *resolvConf
	timeout time.Duration // of one exchange

	mu   sync.Mutex
	last string
}

func (c *client) servers() ([]string, error) {
	servers := c.given
	if len(servers) == 0 {
		var err error
		if servers, err = c.conf.servers(); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	last := c.last
	c.mu.Unlock()
	if i := slices.Index(servers, last); i > 0 {
		servers = slices.Concat(servers[i:i+1], servers[:i], servers[i+1:])
	}
	return servers, nil
}

// ask tries one server after the other. Its error names each, and has nothing
// in it that differs from one time to the next.
func (c *client) ask(ctx context.Context, q question) (reply, error) {
	servers, err := c.servers()
	if err != nil {
		return reply{}, err
	}
	var failed []string
	for _, server := range servers {
		r, err := c.askServer(ctx, server, q)
		if err == nil {
			c.mu.Lock()
			c.last = server
			c.mu.Unlock()
			r.server = server
			return r, nil
		}
		if ctx.Err() != nil {
			return reply{}, ctx.Err()
		}
		failed = append(failed, "server "+server+": "+err.Error())
	}
	slices.Sort(failed) // The order changes with who answered last.
	return reply{}, errors.New(strings.Join(failed, "; "))
}

func (c *client) askServer(ctx context.Context, server string, q question) (reply, error) {
	m, err := c.exchange(ctx, server, q, true)
	if err == nil {
		switch m.Rcode {
		case dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers:
			m, err = c.exchange(ctx, server, q, false) // It may not know EDNS0.
		}
	}
	if err != nil {
		return reply{}, err
	}
	return interpret(m, q)
}

// exchange asks by UDP, and by TCP if the answer does not fit.
func (c *client) exchange(ctx context.Context, server string, q question, edns bool) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(q.name, q.qtype)
	if edns {
		m.SetEdns0(udpSize, false)
	}
	query, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("cannot ask for %s: %w", q.name, err)
	}
	answer, err := c.over(ctx, "udp", server, query, q)
	if err == nil && answer.Truncated {
		answer, err = c.over(ctx, "tcp", server, query, q)
		if err != nil {
			err = fmt.Errorf("%w (the answer is too large for UDP)", err)
		}
	}
	return answer, err
}

// over makes one exchange. Answers to other questions are passed over until the
// time is up: they may be late, or forged.
func (c *client) over(ctx context.Context, network, server string, query []byte, q question) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, server)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	id, tcp := binary.BigEndian.Uint16(query), network == "tcp"
	if tcp {
		query = append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
	}
	if _, err := conn.Write(query); err != nil {
		return nil, c.explain(ctx, err)
	}
	buf := make([]byte, 4096)
	for {
		raw, err := readMessage(conn, tcp, buf)
		if err != nil {
			return nil, c.explain(ctx, err)
		}
		m, ours, err := parseMessage(raw, id, q)
		switch {
		case ours && tcp && err == nil && m.Truncated:
			return nil, errors.New("it cuts off its answer even over TCP; the name has too many records for it")
		case ours:
			return m, err
		case tcp:
			return nil, errors.New("it answered another question; check that a DNS server listens there")
		}
	}
}

func readMessage(conn net.Conn, tcp bool, buf []byte) ([]byte, error) {
	if !tcp {
		n, err := conn.Read(buf)
		return buf[:n], err
	}
	if _, err := io.ReadFull(conn, buf[:2]); err != nil {
		return nil, err
	}
	raw := make([]byte, binary.BigEndian.Uint16(buf))
	_, err := io.ReadFull(conn, raw)
	return raw, err
}

// explain drops the ports of our own from an error, which differ each time.
func (c *client) explain(ctx context.Context, err error) error {
	var timeout net.Error
	var op *net.OpError
	switch {
	case ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("no answer within %s; check that it runs, and that UDP and TCP reach it", c.timeout)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it closed the connection without an answer; check that a DNS server listens there")
	case errors.As(err, &op):
		err = op.Err
	}
	return fmt.Errorf("%w; check the address, and that the server runs", err)
}

// resolvConf reads the name servers from a resolv.conf, again when it changes.
type resolvConf struct {
	path string

	mu    sync.Mutex
	seen  os.FileInfo
	found []string
}

func (c *resolvConf) servers() ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the DNS servers: %w; correct that, or set servers", err)
	}
	if c.seen == nil || !os.SameFile(c.seen, info) || !info.ModTime().Equal(c.seen.ModTime()) || info.Size() != c.seen.Size() {
		data, err := os.ReadFile(c.path)
		if err != nil {
			return nil, fmt.Errorf("cannot read the DNS servers: %w; correct that, or set servers", err)
		}
		c.found, c.seen = parseResolvConf(data), info
	}
	if len(c.found) == 0 {
		return nil, fmt.Errorf("%s has no nameserver line with an address; add one, or set servers", c.path)
	}
	return c.found, nil
}

// parseResolvConf returns the name servers in the form host:port. Lines that it
// does not understand are skipped, as every resolver does.
func parseResolvConf(data []byte) (servers []string) {
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(words[1])
		if err == nil && len(servers) < maxServers {
			servers = append(servers, net.JoinHostPort(addr.String(), "53"))
		}
	}
	return servers
}
