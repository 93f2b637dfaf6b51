package transport

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// tlsBackend accepts TLS on a listener, one connection after the other.
func (b *backend) serveTLS(cfg *tls.Config) {
	var done sync.WaitGroup
	done.Go(func() {
		for {
			nc, err := b.ln.Accept()
			if err != nil {
				return
			}
			done.Go(func() { // until the client closes
				defer nc.Close()
				buf := make([]byte, 64)
				for c := tls.Server(nc, cfg); ; {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					_, _ = c.Write(buf[:n])
				}
			})
		}
	})
	b.t.Cleanup(func() { _ = b.ln.Close(); done.Wait() })
}

// trusting is TLS to backends that show the certificate of the tests.
func trusting(t *testing.T, change func(*TLSOptions)) *ClientTLS {
	t.Helper()
	o := DefaultTLSOptions()
	o.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	o.ServerName = "backend.test"
	cert, _ := certificate()
	writePEM(t, o.CAFile, "CERTIFICATE", cert.Certificate[0])
	if change != nil {
		change(&o)
	}
	c, err := NewClientTLS(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, encodePEM(kind, der), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestEndpointTLS: connections are pooled with TLS, resume sessions, and are used no
// more once the options have changed.
func TestEndpointTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			noLeaks(t)
			b := newBackend(t, "tcp")
			b.serveTLS(serverConfig(version))
			e := b.endpoint(func(o *Options) { o.TLS = trusting(t, nil) })
			talk := func(c *Conn) {
				t.Helper()
				if _, err := c.Send([]byte("hello"), Now()); err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 9)
				if n, err := c.Read(buf); string(buf[:n]) != "hello" || err != nil {
					t.Fatalf("%q, %v", buf[:n], err)
				}
			}
			for i := range 3 {
				c, err := e.Dial()
				if err != nil {
					t.Fatal(err)
				}
				talk(c)
				if got := c.Socket.TLS().ConnectionState().DidResume; got != (i > 0) {
					t.Errorf("connection %d resumes: %v", i, got)
				}
				e.Put(c, Now())
				if again := e.Get(false, Now()); again != c {
					t.Fatal("the connection is not used again")
				}
				talk(c)
				if i < 2 {
					c.Close()
					continue
				}
				e.Put(c, Now())
			}
			o := *e.Options()
			o.TLS = trusting(t, nil)
			e.SetOptions(o)
			if c := e.Get(true, Now()); c != nil {
				t.Error("a connection made with other TLS is used")
				c.Close()
			}
			c, err := e.Dial()
			if err != nil {
				t.Fatal(err)
			}
			if c.Socket.TLS().ConnectionState().DidResume {
				t.Error("a session made with other TLS is resumed")
			}
			talk(c)
			e.Put(c, Now())
			o.TLS = nil
			e.SetOptions(o)
			if e.Sweep(); e.Idle() != 0 {
				t.Error("a connection with TLS is kept where there is none")
			}
		})
	}
}

// TestDialTLSErrors: each says what to do, is a *TLSError, and leaves nothing open.
func TestDialTLSErrors(t *testing.T) {
	b := newBackend(t, "tcp")
	b.serveTLS(serverConfig(0))
	for _, c := range []struct {
		name   string
		change func(*TLSOptions)
		text   string
	}{
		{"name", func(o *TLSOptions) { o.ServerName = "other.test" }, "is not for other.test (it is for backend.test, 127.0.0.1); set tls.server_name"},
		{"authority", func(o *TLSOptions) { o.CAFile = "" }, "set tls.ca"},
	} {
		t.Run(c.name, func(t *testing.T) {
			noLeaks(t)
			e := b.endpoint(func(o *Options) { o.TLS = trusting(t, c.change) })
			_, err := e.Dial()
			var te *TLSError
			if !errors.As(err, &te) || te.Timeout() || !strings.Contains(te.Text, c.text) || e.Open() != 0 {
				t.Errorf("got %v, %d open", err, e.Open())
			}
		})
	}
	t.Run("time", func(t *testing.T) {
		noLeaks(t)
		silent := newBackend(t, "tcp")
		e := silent.endpoint(func(o *Options) { o.TLS, o.ConnectTimeout = trusting(t, nil), 50*time.Millisecond })
		_, err := e.Dial()
		var te *TLSError
		if !errors.As(err, &te) || !te.Timeout() || !strings.Contains(te.Text, "within 50ms (timeouts.connect)") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("unix socket without a name", func(t *testing.T) {
		noLeaks(t)
		b := newBackend(t, "unix")
		e := b.endpoint(func(o *Options) { o.TLS = trusting(t, func(o *TLSOptions) { o.ServerName = "" }) })
		if _, err := e.Dial(); err == nil || !strings.Contains(err.Error(), "set tls.server_name") {
			t.Errorf("got %v", err)
		}
	})
}

// TestRefresh: files that change are in force at the next look, those that cannot be
// used never, which is said once and not before a second look.
func TestRefresh(t *testing.T) {
	c := trusting(t, nil)
	file := c.Options().CAFile
	expect := func(what string, changed bool, text string) {
		t.Helper()
		got, err := c.Refresh()
		if got != changed || (err == nil) != (text == "") || err != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, %v; want %v, %q", what, got, err, changed, text)
		}
	}
	base := c.config.Load()
	expect("nothing new", false, "")
	write := func(text string, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(file, when, when); err != nil {
			t.Fatal(err)
		}
	}
	write("nonsense", time.Hour)
	expect("nonsense", false, "")
	expect("nonsense still", false, "holds no certificate")
	expect("nonsense, told already", false, "")
	if c.config.Load() != base {
		t.Error("nonsense has changed what is in force")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	expect("gone", false, "")
	expect("gone still", false, "cannot read")
	cert, _ := certificate()
	write(string(encodePEM("CERTIFICATE", cert.Certificate[0])), 2*time.Hour)
	expect("a certificate", true, "")
	expect("the same", false, "")
	if c.config.Load() == base {
		t.Error("what is new is not in force")
	}
}

func TestTLSOptionsLoad(t *testing.T) {
	dir := t.TempDir()
	cert, _ := certificate()
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.pem", encodePEM("CERTIFICATE", cert.Certificate[0]))
	broken := file("broken.pem", encodePEM("CERTIFICATE", []byte("x")))
	other := file("other.key", otherKey(t))
	for _, c := range []struct {
		name   string
		change func(*TLSOptions)
		want   string
	}{
		{"defaults", func(*TLSOptions) {}, ""},
		{"a CA", func(o *TLSOptions) { o.CAFile = good }, ""},
		{"an address as the name", func(o *TLSOptions) { o.ServerName = "::1" }, ""},
		{"a URL as the name", func(o *TLSOptions) { o.ServerName = "https://a" }, "server_name: "},
		{"a port in the name", func(o *TLSOptions) { o.ServerName = "a:443" }, "server_name: "},
		{"a broken CA", func(o *TLSOptions) { o.CAFile = broken }, "ca: certificate 1 of "},
		{"a CA that is a key", func(o *TLSOptions) { o.CAFile = other }, "holds no certificate"},
		{"a folder", func(o *TLSOptions) { o.CAFile = dir }, "is not a file"},
		{"a certificate alone", func(o *TLSOptions) { o.CertFile = good }, "key: is missing"},
		{"a key alone", func(o *TLSOptions) { o.KeyFile = other }, "cert: is missing"},
		{"a key of another", func(o *TLSOptions) { o.CertFile, o.KeyFile = good, other }, "key: " + other + " does not go with " + good},
		{"both exchanged", func(o *TLSOptions) { o.CertFile, o.KeyFile = other, good }, "cert: " + other + " holds no certificate"},
		{"an old version", func(o *TLSOptions) { o.MinVersion = "1.1" }, "min_version: "},
		{"a CA for nothing", func(o *TLSOptions) { o.CAFile, o.Verify = good, false }, "ca: would not be used"},
		{"not there, and otherwise wrong", func(o *TLSOptions) { o.CAFile, o.MinVersion = dir+"/none.pem", "1" }, "min_version: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := DefaultTLSOptions()
			c.change(&o)
			err := o.Load()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := NewClientTLS(TLSOptions{CAFile: dir + "/none.pem", MinVersion: "1.2", Verify: true}); err == nil || !strings.Contains(err.Error(), "cannot read") {
		t.Errorf("a file that is not there: %v", err)
	}
}
