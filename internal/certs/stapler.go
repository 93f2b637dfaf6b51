package certs

import (
	"context"
	"net/http"
	"time"
)

// stapler keeps the OCSP responses of a Store's certificates fresh, one after the
// other. No handshake waits for it.
type stapler struct {
	s      *Store
	client *http.Client
	of     map[*entry]*stapling
}

func newStapler(s *Store) *stapler {
	return &stapler{s: s, of: map[*entry]*stapling{}, client: &http.Client{
		Timeout:   ocspTimeout,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: maxOCSP},
	}}
}

func (st *stapler) run(ctx context.Context) {
	poll := time.NewTicker(watchPoll)
	defer poll.Stop()
	for {
		st.round(func(sp *stapling) error { return sp.tend(ctx, st.client, time.Now()) }, ctx)
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

// files takes what files there are, and asks nobody.
func (st *stapler) files(now time.Time) {
	st.round(func(sp *stapling) error { _, err := sp.look(now); return err }, context.Background())
}

// round tends each certificate that is shown, and forgets those that are not.
func (st *stapler) round(tend func(*stapling) error, ctx context.Context) {
	now := map[*entry]*stapling{}
	for _, e := range st.s.set.Load().all {
		sp := st.of[e]
		if sp == nil {
			sp = &stapling{e: e}
		}
		now[e] = sp
		if err := tend(sp); ctx.Err() == nil {
			st.s.noteStaple(sp, err)
		}
	}
	st.of = now
}

// noteStaple keeps for Status what has become of a staple, and tells what is
// wrong, once.
func (s *Store) noteStaple(sp *stapling, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, src := range s.sources {
		if src.e != sp.e {
			continue
		}
		src.ocsp, src.stapled = "", time.Time{}
		if sp.held != nil {
			src.stapled = sp.held.until
		}
		if err != nil {
			src.ocsp = err.Error()
		}
		switch {
		case src.ocsp != "" && src.ocsp != sp.told:
			s.log.Warn("no fresh OCSP response can be had; the certificate is shown with the one before while that holds, then without",
				"file", src.files.CertFile, "error", err)
		case src.ocsp == "" && sp.told != "":
			s.log.Info("there is an OCSP response again", "file", src.files.CertFile)
		}
		sp.told = src.ocsp
	}
}
