package discovery

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// checkProblems holds a Validate error to one line per wanted part, in order.
func checkProblems(t *testing.T, err error, want []string) {
	t.Helper()
	if len(want) == 0 {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if err == nil {
		t.Fatalf("no error, want %q", want)
	}
	var option *OptionError
	if !errors.As(err, &option) {
		t.Errorf("%T is no *OptionError", err)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) {
		t.Fatalf("errors %q, want %q", lines, want)
	}
	for i, part := range want {
		if !strings.Contains(lines[i], part) {
			t.Errorf("error %q, want %q in it", lines[i], part)
		}
	}
}

func TestDNSOptionsValidate(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*DNSOptions)
		want []string
	}{
		{"defaults", func(o *DNSOptions) {}, nil},
		{"type left out", func(o *DNSOptions) { o.Type = "" }, nil},
		{"trailing dot", func(o *DNSOptions) { o.Name = "app.example." }, nil},
		{"one label", func(o *DNSOptions) { o.Name = "app" }, nil},
		{"container name", func(o *DNSOptions) { o.Name = "my_app" }, nil},
		{"service", func(o *DNSOptions) { o.Name, o.Type, o.Port = "_http._tcp.example", "srv", 0 }, nil},
		{"no name", func(o *DNSOptions) { o.Name = "" }, []string{"name: is missing"}},
		{"root", func(o *DNSOptions) { o.Name = "." }, []string{"name: the root has no members"}},
		{"address as name", func(o *DNSOptions) { o.Name = "10.0.0.1" }, []string{`name: "10.0.0.1" is an address and not a name`}},
		{"IPv6 as name", func(o *DNSOptions) { o.Name = "[::1]" }, []string{"is an address and not a name"}},
		{"two dots", func(o *DNSOptions) { o.Name = "a..b" }, []string{"two dots in a row"}},
		{"long label", func(o *DNSOptions) { o.Name = strings.Repeat("a", 64) + ".example" }, []string{"label of 64 characters"}},
		{"long name", func(o *DNSOptions) { o.Name = strings.Repeat("abcdefghi.", 26) }, []string{"is 259 characters long"}},
		{"longest name", func(o *DNSOptions) { o.Name = strings.Repeat("abcdefghi.", 25) + "abc" }, nil},
		{"hyphen first", func(o *DNSOptions) { o.Name = "-a.example" }, []string{"begins or ends with a hyphen"}},
		{"port in name", func(o *DNSOptions) { o.Name = "a.example:80" }, []string{"has the character ':'"}},
		{"not ASCII", func(o *DNSOptions) { o.Name = "bücher.example" }, []string{"xn--"}},
		{"no port", func(o *DNSOptions) { o.Port = 0 }, []string{"port: is missing"}},
		{"port high", func(o *DNSOptions) { o.Port = 65536 }, []string{"port: 65536 is out of range"}},
		{"port with srv", func(o *DNSOptions) { o.Type = "srv" }, []string{"port: 80 is given, but srv records bring their own"}},
		{"type", func(o *DNSOptions) { o.Type = "A" }, []string{`type: unknown type "A"; allowed are a`}},
		{"servers", func(o *DNSOptions) {
			o.Servers = []string{"10.0.0.1", "10.0.0.1:8600", "[::1]", "[fe80::1%eth0]:53", "dns.example", "localhost:5353"}
		}, nil},
		{"bad servers", func(o *DNSOptions) {
			o.Servers = []string{"::1", "[::1", "[10.0.0.1]", "[::1]53", "", ":53", "a:b", "a:0", "a:65536", "a b"}
		}, []string{
			`servers: "::1" is no host:port; use host or host:port, with an IPv6 address in brackets`,
			"no closing bracket", "no IPv6 address between", `has "53" after the bracket`, "no valid host", "no valid host",
			`the port "b"`, `the port "0"`, `the port "65536"`, "no valid host",
		}},
		{"many servers", func(o *DNSOptions) { o.Servers = strings.Split(strings.Repeat("a,", 16)+"a", ",") }, []string{"servers: 17 are given"}},
		{"timeout", func(o *DNSOptions) { o.Timeout = time.Minute }, []string{"timeout: is 1m0s; allowed are 10ms to 30s"}},
		{"times", func(o *DNSOptions) { o.MinTTL, o.MaxTTL = 0, 25*time.Hour }, []string{"min_ttl: is 0s", "max_ttl: is 25h0m0s"}},
		{"times swapped", func(o *DNSOptions) { o.MinTTL, o.MaxTTL = time.Minute, time.Second }, []string{"min_ttl: 1m0s is longer than max_ttl (1s)"}},
		{"repeats", func(o *DNSOptions) { o.NXDomainRepeats = 0 }, []string{"nxdomain_repeats: 0 is out of range; allowed are 1 to 100"}},
		{"guard", func(o *DNSOptions) { o.Guard = GuardOptions{MaxRemoval: 1.5} }, []string{"max_removal: 1.5 is out", "guard_timeout: is 0s"}},
		{"all at once", func(o *DNSOptions) { *o = DNSOptions{Type: "srv", Port: 1} }, []string{
			"name: ", "port: ", "timeout: ", "min_ttl: ", "max_ttl: ", "nxdomain_repeats: ", "guard_timeout: ",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := DefaultDNS()
			o.Name, o.Port = "app.example", 80
			c.edit(&o)
			checkProblems(t, o.Validate(), c.want)
		})
	}
}

func TestFileOptionsValidate(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*FileOptions)
		want []string
	}{
		{"defaults", func(o *FileOptions) {}, nil},
		{"no path", func(o *FileOptions) { o.Path = "" }, []string{"path: is missing"}},
		{"folder", func(o *FileOptions) { o.Path = "/etc/" }, []string{`path: "/etc/" names a folder`}},
		{"zero byte", func(o *FileOptions) { o.Path = "a\x00b" }, []string{"zero byte"}},
		{"guard", func(o *FileOptions) { o.Guard.Timeout = 25 * time.Hour }, []string{"guard_timeout: is 25h0m0s; allowed are 1s to 24h0m0s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := DefaultFile()
			o.Path = "backends.yaml"
			c.edit(&o)
			checkProblems(t, o.Validate(), c.want)
		})
	}
}

func TestGuardOptionsValidate(t *testing.T) {
	for _, c := range []struct {
		name  string
		share float64
		want  []string
	}{
		{"none may leave", 0, nil},
		{"half", 0.5, nil},
		{"off", 1, nil},
		{"negative", -0.1, []string{"max_removal: -0.1 is out of range; allowed are 0% to 100%"}},
		{"not a number", math.NaN(), []string{"max_removal: NaN is out"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkProblems(t, GuardOptions{MaxRemoval: c.share, Timeout: time.Minute}.Validate(), c.want)
		})
	}
}

func TestServerAddress(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1": "10.0.0.1:53", "10.0.0.1:8600": "10.0.0.1:8600", "[::1]": "[::1]:53", "[::1]:5353": "[::1]:5353",
		"[fe80::1%eth0]": "[fe80::1%eth0]:53", "dns.example": "dns.example:53", "a:053": "a:53",
	} {
		if got, err := serverAddress(in); err != nil || got != want {
			t.Errorf("serverAddress(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}
