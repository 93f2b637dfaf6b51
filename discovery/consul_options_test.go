package discovery

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// optionNames are the options of all errors that are joined in err.
func optionNames(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		t.Fatalf("%v is not joined of errors", err)
	}
	var names []string
	for _, e := range joined.Unwrap() {
		var option *OptionError
		if !errors.As(e, &option) {
			t.Fatalf("%v is no *OptionError", e)
		}
		names = append(names, option.Option)
	}
	return names
}

func TestConsulOptionsValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*ConsulOptions)
		want   []string
	}{
		{"defaults", func(*ConsulOptions) {}, nil},
		{"addresses", func(o *ConsulOptions) {
			o.Addresses = []string{"a:8500", "http://a:1", "https://a:1/", "unix:///run/consul.sock", "[::1]:8500"}
		}, nil},
		{"no port", func(o *ConsulOptions) { o.Addresses = []string{"a"} }, []string{"address"}},
		{"port 0", func(o *ConsulOptions) { o.Addresses = []string{"a:0"} }, []string{"address"}},
		{"no host", func(o *ConsulOptions) { o.Addresses = []string{":8500"} }, []string{"address"}},
		{"scheme", func(o *ConsulOptions) { o.Addresses = []string{"ftp://a:1"} }, []string{"address"}},
		{"path", func(o *ConsulOptions) { o.Addresses = []string{"http://a:1/v1"} }, []string{"address"}},
		{"relative socket", func(o *ConsulOptions) { o.Addresses = []string{"unix://run/a"} }, []string{"address"}},
		{"twice", func(o *ConsulOptions) { o.Addresses = []string{"a:1", "b:1", "a:1"} }, []string{"address"}},
		{"two tokens", func(o *ConsulOptions) { o.Token, o.TokenFile = "a", "b" }, []string{"token_file"}},
		{"token with a new line", func(o *ConsulOptions) { o.Token = "a\n" }, []string{"token"}},
		{"tls without https", func(o *ConsulOptions) { o.Addresses, o.TLS.CAFile = []string{"a:1"}, "ca" }, []string{"tls"}},
		{"tls with https", func(o *ConsulOptions) { o.Addresses, o.TLS.CAFile = []string{"https://a:1"}, "ca" }, nil},
		{"certificate alone", func(o *ConsulOptions) { o.TLS.CertFile = "c" }, []string{"tls.cert"}},
		{"key alone", func(o *ConsulOptions) { o.TLS.KeyFile = "k" }, []string{"tls.key"}},
		{"connections", func(o *ConsulOptions) { o.MaxConnections = 1 }, []string{"max_connections"}},
		{"names", func(o *ConsulOptions) { o.Datacenter, o.Namespace, o.Partition = "a b", "a/b", "\x00" },
			[]string{"datacenter", "namespace", "partition"}},
		{"registration", func(o *ConsulOptions) { o.Register = &Registration{Name: "a/b", Port: -1, TTL: 1, DeregisterAfter: 1} },
			[]string{"register.name", "register.port", "register.ttl", "register.deregister_after"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := DefaultConsul()
			tc.change(&o)
			err := o.Validate()
			if got := optionNames(t, err); !slices.Equal(got, tc.want) {
				t.Errorf("options %q are wrong, want %q: %v", got, tc.want, err)
			}
		})
	}
}

func TestConsulQueryValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*ConsulQuery)
		want   []string
	}{
		{"all", func(q *ConsulQuery) {
			q.Tags, q.Filter, q.Near, q.MaxStale, q.Health, q.WeightMeta = []string{"a", "b"}, "x == y", "_agent", 0, "ignore", ""
		}, nil},
		{"no service", func(q *ConsulQuery) { q.Service = "" }, []string{"service"}},
		{"service with a slash", func(q *ConsulQuery) { q.Service = "a/b" }, []string{"service"}},
		{"long service", func(q *ConsulQuery) { q.Service = strings.Repeat("a", 257) }, []string{"service"}},
		{"tags", func(q *ConsulQuery) { q.Tags = []string{"", "a", "a", "b\n"} }, []string{"tag", "tag", "tag"}},
		{"filter", func(q *ConsulQuery) { q.Filter = "a\nb" }, []string{"filter"}},
		{"stale", func(q *ConsulQuery) { q.MaxStale = 25 * time.Hour }, []string{"max_stale"}},
		{"negative", func(q *ConsulQuery) { q.MaxStale = -1 }, []string{"max_stale"}},
		{"health", func(q *ConsulQuery) { q.Health = "" }, []string{"health"}},
		{"weight_meta", func(q *ConsulQuery) { q.WeightMeta = "a b" }, []string{"weight_meta"}},
		{"guard", func(q *ConsulQuery) { q.Guard = GuardOptions{MaxRemoval: 2} }, []string{"max_removal", "guard_timeout"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := DefaultConsulQuery()
			q.Service = "api"
			tc.change(&q)
			err := q.Validate()
			if got := optionNames(t, err); !slices.Equal(got, tc.want) {
				t.Errorf("options %q are wrong, want %q: %v", got, tc.want, err)
			}
		})
	}
}

func TestRegistrationValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Registration)
		want   []string
	}{
		{"defaults", func(*Registration) {}, nil},
		{"all", func(r *Registration) {
			r.ID, r.Address, r.Port, r.Tags, r.Meta = "id", "fd00::1", 80, []string{"a"}, map[string]string{"a-b_1": "c"}
		}, nil},
		{"name and id", func(r *Registration) { r.Name, r.ID = "", "a b" }, []string{"name", "id"}},
		{"address with port", func(r *Registration) { r.Address = "a:80" }, []string{"address"}},
		{"port", func(r *Registration) { r.Port = 65536 }, []string{"port"}},
		{"meta", func(r *Registration) { r.Meta = map[string]string{"a b": strings.Repeat("x", 513)} }, []string{"meta", "meta"}},
		{"ttl", func(r *Registration) { r.TTL = 2 * time.Hour }, []string{"ttl"}},
		{"deregister_after", func(r *Registration) { r.DeregisterAfter = time.Second }, []string{"deregister_after"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := DefaultRegistration()
			tc.change(&r)
			err := r.Validate()
			if got := optionNames(t, err); !slices.Equal(got, tc.want) {
				t.Errorf("options %q are wrong, want %q: %v", got, tc.want, err)
			}
		})
	}
}

func FuzzParseAgent(f *testing.F) {
	for _, s := range []string{"a:1", "http://[::1]:8500", "unix:///a", "https://a:1/", "://", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		scheme, rest, err := parseAgent(address)
		if err == nil && (scheme == "" || rest == "") {
			t.Errorf("parseAgent(%q) = %q, %q", address, scheme, rest)
		}
	})
}
