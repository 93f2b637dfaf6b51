package app

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"steelyard/config"
	"steelyard/internal/certs"
	"steelyard/internal/metrics"
	"steelyard/internal/proxy"
)

// openTLS makes ready what listeners need to speak TLS. A listener that stays,
// with the settings it has, keeps its certificates. It follows openSockets.
func (a *App) openTLS(t *takeover) error {
	t.tls = make([]*proxy.TLS, len(t.cfg.Listeners))
	for i := range t.cfg.Listeners {
		c := &t.cfg.Listeners[i]
		if c.TLS == nil {
			continue
		}
		store := keptStore(t.listeners[i].listener, c.TLS)
		if store != nil {
			store.Look() // who reloads does not want to wait for the watch
		} else {
			var err error
			if store, err = certs.Open(*c.TLS, a.tickets, slog.With("listener", c.Name)); err != nil {
				return a.explainTLS(c.Name, err)
			}
			store.Start()
			t.stores = append(t.stores, store)
		}
		t.tls[i] = &proxy.TLS{Store: store, Guards: c.TLS.ClientAuth != nil}
		if c.HSTS != nil {
			t.tls[i].HSTS = c.HSTS.Header()
		}
	}
	return nil
}

// explainTLS says of each thing that is wrong where it stands.
func (a *App) explainTLS(listener string, err error) error {
	var problems certs.Problems
	if !errors.As(err, &problems) {
		return fmt.Errorf("listener %s: %w", listener, err)
	}
	var all []error
	for _, p := range problems {
		place := "client_auth.ca"
		if p.Key != "ca" {
			place = fmt.Sprintf("certificates[%d].%s", p.Index, p.Key)
		}
		if p.Line > 0 && a.file != "" {
			all = append(all, fmt.Errorf("%s:%d: listeners.%s.tls.%s: %w", a.file, p.Line, listener, place, p))
		} else {
			all = append(all, fmt.Errorf("listeners.%s.tls.%s: %w", listener, place, p))
		}
	}
	return errors.Join(all...)
}

// keptStore is the Store of a listener that stays, nil if it is to get another.
func keptStore(l *proxy.Listener, o *certs.Options) *certs.Store {
	if l == nil || l.TLS() == nil {
		return nil
	}
	if has := l.TLS().Store.Options(); !reflect.DeepEqual(unlined(&has), unlined(o)) {
		return nil
	}
	return l.TLS().Store
}

// unlined is o without where it stands in its file.
func unlined(o *certs.Options) *certs.Options {
	if o == nil {
		return nil
	}
	n := *o
	n.Certificates = slices.Clone(n.Certificates)
	for i := range n.Certificates {
		n.Certificates[i].Line = 0
	}
	return &n
}

// closeStores ends the Stores of listeners of before that none of next has.
func closeStores(before []*certs.Store, next []*proxy.TLS) {
	for _, s := range before {
		if !slices.ContainsFunc(next, func(t *proxy.TLS) bool { return t != nil && t.Store == s }) {
			s.Close()
		}
	}
}

// stores are those of listeners.
func stores(listeners []*proxy.Listener) (all []*certs.Store) {
	for _, l := range listeners {
		if t := l.TLS(); t != nil {
			all = append(all, t.Store)
		}
	}
	return all
}

// unlinedListeners are listeners without where their certificates stand, which
// is no change.
func unlinedListeners(all []config.Listener) []config.Listener {
	all = slices.Clone(all)
	for i := range all {
		all[i].TLS = unlined(all[i].TLS)
	}
	return all
}

// acmePath is where those who issue certificates look for answers (RFC 8555,
// section 8.3).
const acmePath = "/.well-known/acme-challenge"

// namesACME reports whether a route is for such answers by its own words.
func namesACME(path string) bool {
	rest, ok := strings.CutPrefix(path, acmePath)
	return ok && (rest == "" || rest[0] == '/')
}

// sampleTLS is nil for a listener without TLS.
func sampleTLS(l *proxy.Listener) *metrics.TLSSample {
	t := l.TLS()
	if t == nil {
		return nil
	}
	s := &metrics.TLSSample{}
	var failed [certs.ReasonCount]int64
	s.Handshakes, failed = l.Handshakes()
	for r, n := range failed {
		s.Failed = append(s.Failed, metrics.CauseCount{Cause: certs.Reason(r).String(), Count: n})
	}
	for _, c := range t.Store.Status() {
		s.Certificates = append(s.Certificates, metrics.CertificateSample{
			File: c.File, Hosts: c.Hosts, KeyType: c.KeyType, Issuer: c.Issuer, Serial: c.Serial,
			From: c.From, Until: c.Until, Expiring: c.Expiring, Problem: c.Problem, OCSP: c.OCSP, Stapled: c.Stapled,
		})
	}
	s.ClientProblem = t.Store.ClientProblem()
	return s
}
