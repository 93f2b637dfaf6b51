package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/internal/certs"
	"steelyard/internal/certs/certtest"
	"steelyard/internal/pool"
	"steelyard/internal/rewrite"
)

// testTLS is what overTLS makes.
type testTLS struct {
	ca    *certtest.CA
	store *certs.Store
}

// overTLS makes the listener of f speak TLS as app.test and other.test.
func overTLS(t testing.TB, f *fixture, o certs.Options, hsts string) *testTLS {
	t.Helper()
	s := &testTLS{ca: certtest.NewCA(t, "Test CA")}
	dir := t.TempDir()
	for _, host := range []string{"app.test", "other.test"} {
		cert, key := s.ca.Issue(t, "ecdsa", []string{host}).Files(t, dir, host)
		o.Certificates = append(o.Certificates, certs.Files{CertFile: cert, KeyFile: key})
	}
	if o.ClientAuth != nil {
		o.ClientAuth.CAFile = s.ca.File(t)
	}
	var err error
	if s.store, err = certs.Open(o, nil, slog.Default()); err != nil {
		t.Fatal(err)
	}
	s.store.Start()
	t.Cleanup(s.store.Close)
	f.listener.SetTLS(&TLS{Store: s.store, HSTS: hsts, Guards: o.ClientAuth != nil})
	return s
}

// dial makes a connection inside TLS.
func (s *testTLS) dial(t testing.TB, f *fixture, change func(*tls.Config)) *tls.Conn {
	t.Helper()
	conf := &tls.Config{ServerName: "app.test", RootCAs: s.ca.Pool()}
	if change != nil {
		change(conf)
	}
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(patience))
	c := tls.Client(nc, conf)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestAllocationsOverTLS holds that TLS brings nothing of ours: what crypto/tls
// allocates for one exchange is measured with a server that does nothing else.
func TestAllocationsOverTLS(t *testing.T) {
	if raceEnabled {
		t.Skip("pools drop what they are given under the race detector")
	}
	for _, tc := range costs(t) {
		if tc.name == "sticky cookie" {
			continue // its cookie is that of a backend
		}
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t, []string{tc.backend(tc.response)}, func(f *fixture, po *pool.Options, g *Generation, l *Limits) {
				f.route.RequestHeaders = headers(t, rewrite.Headers{Set: []rewrite.Header{{Name: "X-TLS", Value: "{tls_version} {tls_sni} {tls_client_verified}"}}})
				if tc.change != nil {
					tc.change(f, po, g, l)
				}
			})
			const hsts = "max-age=31536000"
			s := overTLS(t, f, certs.Options{ClientAuth: &certs.ClientAuth{Mode: certs.Optional}}, hsts)
			request, buf := []byte(strings.Replace(tc.request, "example.com", "app.test", 1)), make([]byte, 32<<10)
			want := len(tc.response) + len("Strict-Transport-Security: \r\n") + len(hsts)
			measure := func(c net.Conn) float64 {
				for range 200 {
					roundTrip(t, c, request, buf, want)
				}
				return testing.AllocsPerRun(1000, func() { roundTrip(t, c, request, buf, want) })
			}
			plain := measure(bareTLS(t, s, len(request), []byte(tc.response+strings.Repeat("x", want-len(tc.response)))))
			ours := measure(s.dial(t, f, nil))
			t.Logf("%v allocations, of which crypto/tls makes %v", ours, plain)
			// One more is crypto/tls's as well: a read that is tried before it is
			// waited for, so that no buffer is held meanwhile.
			if ours > plain+tc.budget+1 {
				t.Errorf("%v allocations, %v without us", ours, plain)
			}
		})
	}
}

// bareTLS is a connection to a server that answers every n bytes with the same ones.
func bareTLS(t *testing.T, s *testTLS, n int, answer []byte) net.Conn {
	t.Helper()
	addr := rawBackend(t, func(nc net.Conn, _ int) {
		c := tls.Server(nc, s.store.Config())
		buf := make([]byte, n)
		for {
			if _, err := io.ReadFull(c, buf); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
	f := &fixture{addr: addr}
	return s.dial(t, f, nil)
}

func BenchmarkRequestOverTLS(b *testing.B) {
	f := newFixture(b, []string{cannedBackend(b, smallResponse)}, nil)
	s := overTLS(b, f, certs.Options{}, "")
	c := s.dial(b, f, nil)
	request, buf := []byte(strings.Replace(smallGet, "example.com", "app.test", 1)), make([]byte, 32<<10)
	b.ReportAllocs()
	for b.Loop() {
		roundTrip(b, c, request, buf, len(smallResponse))
	}
}

// TestTLSWhileTheListenerChanges is for the race detector: connections begin, are
// served and end while the listener's settings are exchanged and counted.
func TestTLSWhileTheListenerChanges(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{cannedBackend(t, smallResponse)}, nil)
	s := overTLS(t, f, certs.Options{ClientAuth: &certs.ClientAuth{Mode: certs.Optional}}, "max-age=1")
	has := f.listener.TLS()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			f.listener.SetTLS(&TLS{Store: has.Store, HSTS: fmt.Sprintf("max-age=%d", i), Guards: i%2 == 0})
			f.listener.Configure("test", testLimits())
			f.listener.Handshakes()
			s.store.Look()
			time.Sleep(time.Millisecond)
		}
	})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 10 {
				c := s.dial(t, f, nil)
				for range 5 {
					if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"); err != nil {
						t.Error(err)
						return
					}
					res, err := http.ReadResponse(bufio.NewReader(c), nil)
					if err != nil || res.StatusCode != 200 {
						t.Error(res, err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
				}
				c.Close()
			}
		})
	}
	clients.Wait()
	close(stop)
	wg.Wait()
	if done, _ := f.listener.Handshakes(); done[1][0] != 40 {
		t.Errorf("%v handshakes are counted, want 40", done)
	}
}

// TestShutdownLetsGoOfWhoSaysNothing: a connection that has not begun its
// handshake is as idle as one between two requests.
func TestShutdownLetsGoOfWhoSaysNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{cannedBackend(t, smallResponse)}, nil)
	overTLS(t, f, certs.Options{}, "")
	silent, half := rawDial(t, f.addr), rawDial(t, f.addr)
	if _, err := half.Write([]byte("\x16\x03\x01\x02\x00")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "both are accepted", func() bool { return f.listener.Connections() == 2 })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	began := time.Now()
	if n := f.listener.Shutdown(ctx); n != 1 { // the half, which is at work, is cut at the end
		t.Errorf("%d connections were cut", n)
	}
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("the half of a handshake was given %v", took)
	}
	_ = silent.SetReadDeadline(time.Now().Add(patience))
	if _, err := silent.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("who said nothing got %v", err)
	}
	if _, failed := f.listener.Handshakes(); failed[certs.ReasonTimeout] != 2 {
		t.Errorf("failures: %v", failed)
	}
}

func rawDial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestHostPorts(t *testing.T) {
	for _, c := range []struct{ host, bare, redirect string }{
		{"a.test", "a.test", "a.test"}, {"a.test:80", "a.test", "a.test"}, {"[::1]:80", "::1", "[::1]"}, {"[::1]", "::1", "[::1]"}, {"", "", ""}, {"192.0.2.1:8", "192.0.2.1", "192.0.2.1"},
	} {
		if got := string(withoutHostPort([]byte(c.host))); got != c.bare {
			t.Errorf("%q: %q, want %q", c.host, got, c.bare)
		}
		if got := string(withoutHTTPPort([]byte(c.host))); got != c.redirect {
			t.Errorf("%q in a redirect: %q, want %q", c.host, got, c.redirect)
		}
	}
}
