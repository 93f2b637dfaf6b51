package balancer

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestOptionsValidate(t *testing.T) {
	header := Key{Source: "header", Name: "x-user-id"}
	for _, c := range []struct {
		name    string
		options Options
		want    []string // option and parts of the problem, for each error.
	}{
		{"zero value", Options{}, nil},
		{"round robin", Options{Policy: "round_robin"}, nil},
		{"ring", Options{Policy: "consistent_hash", Key: header, LoadFactor: 1.25, Replicas: 40}, nil},
		{"maglev", Options{Policy: "maglev", Key: Key{Source: "uri"}, TableSize: 65537}, nil},
		{"misspelt", Options{Policy: "rond_robin"}, []string{`policy: unknown policy "rond_robin"; did you mean round_robin?; allowed are round_robin, least_connections`}},
		{"dashes", Options{Policy: "Least-Connections"}, []string{"did you mean least_connections?"}},
		{"begun", Options{Policy: "least_conn"}, []string{"did you mean least_connections?"}},
		{"nothing like it", Options{Policy: "zebra"}, []string{`policy: unknown policy "zebra"; allowed`}},
		{"key missing", Options{Policy: "maglev"}, []string{"key: maglev needs a key: client_ip, header:NAME"}},
		{"key forbidden", Options{Policy: "random", Key: header}, []string{"key: only consistent_hash and maglev have a key, random has none"}},
		{"key forbidden by default", Options{Key: header}, []string{"round_robin has none"}},
		{"key source", Options{Policy: "maglev", Key: Key{Source: "headr", Name: "x"}}, []string{`key: key source "headr" is unknown; did you mean header?`}},
		{"key name missing", Options{Policy: "maglev", Key: Key{Source: "cookie"}}, []string{"key: key source cookie needs the name of the cookie"}},
		{"key name forbidden", Options{Policy: "maglev", Key: Key{Source: "path", Name: "x"}}, []string{`key: key source path takes no name, but has "x"`}},
		{"load factor low", Options{Policy: "consistent_hash", Key: header, LoadFactor: 1}, []string{"load_factor: 1 is out of range; allowed are 1.05 to 10"}},
		{"load factor high", Options{Policy: "consistent_hash", Key: header, LoadFactor: 10.1}, []string{"load_factor: 10.1 is"}},
		{"load factor not a number", Options{Policy: "consistent_hash", Key: header, LoadFactor: math.NaN()}, []string{"load_factor: NaN is"}},
		{"load factor negative", Options{Policy: "consistent_hash", Key: header, LoadFactor: -2}, []string{"load_factor: -2 is"}},
		{"load factor elsewhere", Options{Policy: "maglev", Key: header, LoadFactor: 2}, []string{"load_factor: only consistent_hash"}},
		{"replicas", Options{Policy: "consistent_hash", Key: header, Replicas: 10_001}, []string{"replicas: 10001 is out of range; allowed are 1 to 10000"}},
		{"replicas negative", Options{Policy: "consistent_hash", Key: header, Replicas: -1}, []string{"replicas: -1 is"}},
		{"replicas elsewhere", Options{Policy: "least_time", Replicas: 5}, []string{"replicas: only consistent_hash has replicas, least_time has none"}},
		{"table not a prime", Options{Policy: "maglev", Key: header, TableSize: 65536}, []string{"table_size: 65536 is not a prime; the next one is 65537"}},
		{"table small", Options{Policy: "maglev", Key: header, TableSize: 97}, []string{"table_size: 97 is out of range"}},
		{"table large", Options{Policy: "maglev", Key: header, TableSize: 1 << 24}, []string{"table_size: 16777216 is out of range"}},
		{"table elsewhere", Options{TableSize: 65537}, []string{"table_size: only maglev has a table, round_robin has none"}},
		{"all at once", Options{Policy: "random", Key: header, LoadFactor: 2, Replicas: 3, TableSize: 101},
			[]string{"key: only", "load_factor: only", "replicas: only", "table_size: only"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.options.Validate()
			policy, newErr := New(c.options)
			if (err == nil) != (newErr == nil) || (err == nil) != (policy != nil) {
				t.Fatalf("Validate: %v, but New: %v, %v", err, policy, newErr)
			}
			if len(c.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(c.want) {
				t.Fatalf("errors %q, want %d", lines, len(c.want))
			}
			for i, part := range c.want {
				if !strings.Contains(lines[i], part) {
					t.Errorf("error %q, want %q in it", lines[i], part)
				}
			}
			var option *OptionError
			if !errors.As(err, &option) {
				t.Errorf("%T is no *OptionError", err)
			}
		})
	}
}

func TestTableSizesArePrimes(t *testing.T) {
	for _, members := range []int{1, 656, 1_400, 3_000, 6_000, 12_000, 25_000, 50_000, 100_000} {
		if size := autoTableSize(members); !isPrime(size) || size > maxTableSize {
			t.Errorf("table size %d for %d members", size, members)
		}
	}
	if !isPrime(minTableSize) || !isPrime(maxTableSize) || isPrime(1) || isPrime(0) || isPrime(9) || !isPrime(2) {
		t.Error("isPrime is wrong, or the limits are")
	}
}

func TestParseKey(t *testing.T) {
	for text, want := range map[string]Key{
		"client_ip":        {Source: "client_ip"},
		"path":             {Source: "path"},
		"uri":              {Source: "uri"},
		"header:x-user-id": {Source: "header", Name: "x-user-id"},
		"cookie:sid":       {Source: "cookie", Name: "sid"},
		"query:user:id":    {Source: "query", Name: "user:id"},
	} {
		got, err := ParseKey(text)
		if err != nil || got != want {
			t.Errorf("ParseKey(%q) = %v, %v, want %v", text, got, err, want)
		}
		if got.String() != text {
			t.Errorf("String of %q = %q", text, got.String())
		}
	}
	for text, want := range map[string]string{
		"":             "key is empty; use client_ip, header:NAME",
		":":            "no name after the colon",
		":x":           `key source "" is unknown`,
		"header":       "needs the name of the header, as in header:NAME",
		"query":        "needs the name of the query parameter",
		"header:":      "no name after the colon",
		"client_ip:":   "no name after the colon",
		"client_ip:x":  "takes no name",
		"cookies:sid":  "did you mean cookie?",
		"client-ip":    "did you mean client_ip?",
		"header: x":    "cannot be in the name of a header",
		"header:a:b":   "cannot be in the name of a header",
		"cookie:a=b":   "cannot be in the name of a cookie",
		"query:a\x00b": "cannot be in the name of a query parameter",
	} {
		if got, err := ParseKey(text); err == nil || !strings.Contains(err.Error(), want) || got != (Key{}) {
			t.Errorf("ParseKey(%q) = %v, %v, want an error with %q", text, got, err, want)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, text := range []string{"", "client_ip", "header:x-user-id", "query:a:b", "cookie:", "uri:x", "héader:x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKey(text)
		if err != nil {
			if k != (Key{}) || err.Error() == "" {
				t.Errorf("ParseKey(%q) = %v with the error %q", text, k, err)
			}
			return
		}
		if k.String() != text {
			t.Errorf("ParseKey(%q) has the text %q", text, k.String())
		}
		if err := (Options{Policy: "maglev", Key: k}).Validate(); err != nil {
			t.Errorf("ParseKey(%q) is not valid: %v", text, err)
		}
	})
}
