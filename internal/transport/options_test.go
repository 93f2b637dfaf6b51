package transport

import (
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	cases := []struct {
		name   string
		change func(*Options)
		want   []string // what the error names; none: valid
	}{
		{"the defaults", func(*Options) {}, nil},
		{"no idle connections", func(o *Options) { o.MaxIdle = 0 }, nil},
		{"negative max_idle", func(o *Options) { o.MaxIdle = -1 }, []string{"max_idle -1"}},
		{"max_idle too large", func(o *Options) { o.MaxIdle = 65536 }, []string{"max_idle"}},
		{"timeouts of 0 that mean none", func(o *Options) { o.ResponseTimeout, o.BodyTimeout = 0, 0 }, nil},
		{"timeouts that cannot be 0", func(o *Options) { o.IdleTimeout, o.ConnectTimeout = 0, 0 }, []string{"idle_timeout", "connect_timeout"}},
		{"the bounds", func(o *Options) { o.IdleTimeout, o.ConnectTimeout = 24*time.Hour, time.Millisecond }, nil},
		{"all out of range", func(o *Options) {
			*o = Options{MaxIdle: -1, IdleTimeout: -1, ConnectTimeout: 25 * time.Hour, ResponseTimeout: -1, BodyTimeout: 1}
		}, []string{"max_idle", "idle_timeout", "connect_timeout", "response_timeout", "body_timeout"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := DefaultOptions()
			c.change(&o)
			err := o.Validate()
			if (err != nil) != (len(c.want) > 0) {
				t.Fatalf("got %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not name %s", err, w)
				}
			}
			if err != nil && strings.Count(err.Error(), "\n") != len(c.want)-1 {
				t.Errorf("not one line each: %q", err)
			}
		})
	}
}
