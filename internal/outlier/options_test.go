package outlier

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestOptionsValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(o *Options)
		want   []string // option and parts of the problem, for each error.
	}{
		{"default", func(*Options) {}, nil},
		{"off", func(o *Options) { o.Off = true }, nil},
		{"never", func(o *Options) { o.Consecutive, o.MaxEjected = 0, 0 }, nil},
		{"lowest", func(o *Options) {
			o.Consecutive, o.On, o.FailureShare, o.Window, o.MinRequests = 1, "5xx", 0.001, time.Second, 1
			o.Ejection, o.MaxEjection, o.MaxEjected = 100*time.Millisecond, 100*time.Millisecond, 0.01
		}, nil},
		{"highest", func(o *Options) {
			o.Consecutive, o.FailureShare, o.Window, o.MinRequests = 1000, 1, 10*time.Minute, 1_000_000
			o.Ejection, o.MaxEjection, o.MaxEjected = time.Hour, 24*time.Hour, 1
		}, nil},
		{"consecutive high", func(o *Options) { o.Consecutive = 1001 }, []string{"consecutive: 1001 is out of range; allowed are 1 to 1000 failures in a row, or 0"}},
		{"consecutive negative", func(o *Options) { o.Consecutive = -1 }, []string{"consecutive: -1 is"}},
		{"on", func(o *Options) { o.On = "502" }, []string{`on: unknown kind of failure "502"; allowed are gateway (`}},
		{"on empty", func(o *Options) { o.On = "" }, []string{`on: unknown kind of failure ""`}},
		{"share high", func(o *Options) { o.FailureShare = 20 }, []string{"failure_share: 20 is out of range; allowed are shares above 0 to 1"}},
		{"share negative", func(o *Options) { o.FailureShare = -0.1 }, []string{"failure_share: -0.1 is"}},
		{"share not a number", func(o *Options) { o.FailureShare = math.NaN() }, []string{"failure_share: NaN is"}},
		{"window short", func(o *Options) { o.Window = time.Second - 1 }, []string{"window: 999.999999ms is out of range; allowed are 1s to 10m"}},
		{"window long", func(o *Options) { o.Window = time.Hour }, []string{"window: 1h is"}},
		{"min requests", func(o *Options) { o.MinRequests = 0 }, []string{"min_requests: 0 is out of range; allowed are 1 to 1000000"}},
		{"min requests high", func(o *Options) { o.MinRequests = 1_000_001 }, []string{"min_requests: 1000001 is"}},
		{"ejection short", func(o *Options) { o.Ejection = 0 }, []string{"ejection: 0s is out of range; allowed are 100ms to 1h"}},
		{"ejection long", func(o *Options) { o.Ejection, o.MaxEjection = 61*time.Minute, 2*time.Hour }, []string{"ejection: 1h1m is"}},
		{"max ejection below ejection", func(o *Options) { o.Ejection = 10 * time.Minute }, []string{"max_ejection: 5m is less than the first ejection, 10m; raise it"}},
		{"max ejection long", func(o *Options) { o.MaxEjection = 25 * time.Hour }, []string{"max_ejection: 25h is out of range; allowed are the value of ejection to 24h"}},
		{"max ejected", func(o *Options) { o.MaxEjected = 50 }, []string{"max_ejected: 50 is out of range; allowed are shares of the pool from 0"}},
		{"max ejected not a number", func(o *Options) { o.MaxEjected = math.NaN() }, []string{"max_ejected: NaN is"}},
		{"all at once", func(o *Options) { *o = Options{Consecutive: -1, FailureShare: 2, MaxEjection: -1, MaxEjected: 2} }, []string{
			"consecutive: ", "on: ", "failure_share: ", "window: ", "min_requests: ", "ejection: ", "max_ejection: ", "max_ejected: "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := DefaultOptions()
			c.change(&o)
			err := o.Validate()
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
			for i, start := range c.want {
				if !strings.HasPrefix(lines[i], start) {
					t.Errorf("error %q, want it to begin with %q", lines[i], start)
				}
			}
			var option *OptionError
			if !errors.As(err, &option) {
				t.Errorf("%T is no *OptionError", err)
			}
		})
	}
}

func TestBrief(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 10 * time.Second: "10s", time.Minute: "1m", 90 * time.Second: "1m30s", 10 * time.Minute: "10m",
		time.Hour: "1h", 10 * time.Hour: "10h", time.Hour + time.Minute: "1h1m", time.Hour + time.Second: "1h0m1s",
		100 * time.Millisecond: "100ms",
	} {
		if got := brief(d); got != want {
			t.Errorf("brief(%v) = %q, want %q", d, got, want)
		}
	}
}
