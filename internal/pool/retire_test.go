package pool

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"steelyard/balancer"
	"steelyard/healthcheck"
)

func TestValidateRefusesWhatApplyWould(t *testing.T) {
	good := options(2)
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"nothing wrong", func(*Options) {}, ""},
		{"a policy that does not exist", func(o *Options) { o.Policy = balancer.Options{Policy: "x"} }, "x"},
		{"a backend twice", func(o *Options) { o.Backends = append(o.Backends, o.Backends[0]) }, "named twice"},
		{"a check whose CA is missing", func(o *Options) {
			c := healthcheck.DefaultOptions()
			c.TLS = &healthcheck.TLS{CAFile: "missing.pem"}
			o.Check, o.Checks = &c, healthcheck.NewScheduler()
			t.Cleanup(o.Checks.Close)
		}, "missing.pem"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := good
			tt.change(&o)
			err := o.Validate()
			if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v; want %q", err, tt.want)
			}
			p := newPool(t, good)
			if applied := p.Apply(o); (applied == nil) != (err == nil) {
				t.Errorf("Validate says %v, Apply %v", err, applied)
			}
		})
	}
}

// TestRetireWaitsForWhatIsInFlight, and not for longer than the drain timeout.
func TestRetireWaitsForWhatIsInFlight(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ends  time.Duration // of the request; 0: it does not
		stop  time.Duration // of the context; 0: it does not
		least time.Duration
		most  time.Duration
	}{
		{"until it has ended", 3 * time.Second, 0, 3 * time.Second, 4 * time.Second},
		{"until the drain is over", 0, 0, 10 * time.Second, 12 * time.Second},
		{"until Steelyard stops", 0, 2 * time.Second, 2 * time.Second, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options(2)
				o.DrainTimeout = 10 * time.Second
				p, err := New("web", o)
				if err != nil {
					t.Fatal(err)
				}
				s := p.Snapshot()
				var tried Tried
				i := s.Pick(0, &tried)
				if !s.Acquire(i) {
					t.Fatal("not acquired")
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.stop > 0 {
					time.AfterFunc(tt.stop, cancel)
				}
				released := make(chan struct{})
				go func() {
					defer close(released)
					for began := time.Now(); !s.Endpoints[i].Cut() && (tt.ends == 0 || time.Since(began) < tt.ends) && ctx.Err() == nil; {
						time.Sleep(10 * time.Millisecond)
					}
					p.Release(s, i)
				}()
				began := time.Now()
				p.Retire(ctx)
				if took := time.Since(began); took < tt.least || took > tt.most {
					t.Errorf("took %v; want %v to %v", took, tt.least, tt.most)
				}
				if s.Endpoints[i].Cut() != (tt.name == "until the drain is over") {
					t.Error("cut:", s.Endpoints[i].Cut())
				}
				<-released
			})
		})
	}
}

// TestMembersStayUntilNewSourcesAnswer: a pool whose source is exchanged is never
// without backends.
func TestMembersStayUntilNewSourcesAnswer(t *testing.T) {
	inLab(t, 0, sourced, func(l *lab) {
		l.tell("s0", "s1")
		l.wantPicks("s0 s1")
		kept := l.e("s1")
		next := newFakeSource()
		o := l.o
		o.Sources = []SourceOptions{{Key: "another", Source: next, Guard: o.Sources[0].Guard}}
		l.do(l.Apply(o))
		l.after(time.Minute)
		l.wantPicks("s0 s1")
		next.set(members("s1", "s2"))
		l.after(time.Second)
		l.wantPicks("s1 s2")
		if l.e("s1") != kept {
			t.Error("a member that both name is another endpoint")
		}
		// Without any source nobody is awaited.
		o.Sources = nil
		o.Backends = []BackendOptions{{Address: "b9", Weight: 1}}
		l.do(l.Apply(o))
		l.wantPicks("b9")
		// A static pool that becomes sourced keeps its backends until then.
		third := newFakeSource()
		o.Backends = nil
		o.Sources = []SourceOptions{{Key: "third", Source: third, Guard: l.o.Sources[0].Guard}}
		l.do(l.Apply(o))
		l.after(time.Minute)
		l.wantPicks("b9")
		third.set(members("s7"))
		l.after(time.Second)
		l.wantPicks("s7")
	})
}
