package pool

import (
	"context"

	"steelyard/discovery"
)

// fakeSource says what a test tells it to.
type fakeSource struct {
	told chan func(discovery.Sink)
}

func newFakeSource() *fakeSource { return &fakeSource{told: make(chan func(discovery.Sink))} }

func (s *fakeSource) String() string { return "fake" }

// Run implements discovery.Source.
func (s *fakeSource) Run(ctx context.Context, sink discovery.Sink) {
	for {
		select {
		case f := <-s.told:
			f(sink)
		case <-ctx.Done():
			return
		}
	}
}

func (s *fakeSource) set(members []discovery.Member) {
	s.told <- func(sink discovery.Sink) { sink.Set(members) }
}

func (s *fakeSource) fail(err error) {
	s.told <- func(sink discovery.Sink) { sink.Fail(err) }
}
