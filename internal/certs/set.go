package certs

import (
	"cmp"
	"crypto/tls"
	"slices"
	"strings"
	"sync/atomic"
)

// entry is a certificate that is shown to clients.
type entry struct {
	*Pair
	shown atomic.Pointer[tls.Certificate] // with the OCSP response of the moment
}

// set chooses among certificates. Only what is stapled to them changes.
type set struct {
	all   []*entry
	exact map[string][]*entry // best first
	wild  map[string][]*entry // by what follows the "*."
	first []*entry            // for clients that name no host, or an unknown one
}

// keyTypes are in the order in which they are preferred: signing with ECDSA costs
// a tenth of RSA, and Ed25519 is what few clients know.
var keyTypes = []string{"ecdsa", "ed25519", "rsa"}

func newSet(all []*entry) *set {
	s := &set{all: all, exact: map[string][]*entry{}, wild: map[string][]*entry{}}
	for _, e := range all {
		for _, n := range e.Names {
			at, name := s.exact, n
			if rest, ok := strings.CutPrefix(n, "*."); ok {
				at, name = s.wild, rest
			}
			if !slices.Contains(at[name], e) {
				at[name] = append(at[name], e)
			}
		}
	}
	for _, m := range []map[string][]*entry{s.exact, s.wild} {
		for _, list := range m {
			slices.SortStableFunc(list, func(a, b *entry) int {
				return cmp.Compare(slices.Index(keyTypes, a.KeyType), slices.Index(keyTypes, b.KeyType))
			})
		}
	}
	s.first = s.lookup(all[0].Names[0])
	return s
}

// lookup finds the certificates for a name, or for a pattern such as
// *.example.com, in lower case: those that have it, else those that have the
// pattern one label up. Nil: none has it.
func (s *set) lookup(name string) []*entry {
	if list := s.exact[name]; list != nil {
		return list
	}
	if i := strings.IndexByte(name, '.'); i > 0 {
		return s.wild[name[i+1:]]
	}
	return nil
}

// candidates are the certificates for a host, best first, never none.
func (s *set) candidates(host string) []*entry {
	if list := s.lookup(host); list != nil {
		return list
	}
	return s.first
}

// choose finds the certificate for a client.
func (s *set) choose(hello *tls.ClientHelloInfo) *entry {
	list := s.candidates(normal(hello.ServerName))
	if len(list) == 1 {
		return list[0]
	}
	for _, e := range list {
		if hello.SupportsCertificate(e.shown.Load()) == nil {
			return e
		}
	}
	return list[0] // the handshake says what is missing
}

// normal is a host as the maps have it.
func normal(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// NeverShown says which of several certificates another takes all hosts of, by
// their place in the list, each with a text for people.
func NeverShown(pairs []*Pair) map[int]string {
	type slot struct{ name, keyType string }
	first := map[slot]*Pair{}
	out := map[int]string{}
	for i, p := range pairs {
		var by *Pair // who has the last of its names
		shown := false
		for _, n := range p.Names {
			at := slot{n, p.KeyType}
			if first[at] == nil {
				first[at] = p
			}
			by = first[at]
			shown = shown || by == p
		}
		if !shown {
			out[i] = p.CertFile + " is never shown: " + by.CertFile + " comes first and is for the same hosts"
		}
	}
	return out
}
