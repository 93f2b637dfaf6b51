package certs

import (
	"bytes"
	"crypto/tls"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
)

func TestTicketKeysRotateDaily(t *testing.T) {
	start := time.Now()
	tickets := NewTickets(start)
	first, since := tickets.keys(nil, start)
	if len(first) != 1 {
		t.Fatalf("%d keys at the start", len(first))
	}
	if same, s := tickets.keys(nil, start.Add(23*time.Hour)); same[0] != first[0] || s != since {
		t.Error("another key on the same day")
	}
	second, s := tickets.keys(nil, start.Add(25*time.Hour))
	if len(second) != 2 || second[0] == first[0] || second[1] != first[0] || s == since {
		t.Error("the next day: want a new key, and that of the day before")
	}
	third, _ := tickets.keys(nil, start.Add(50*time.Hour))
	if len(third) != 2 || third[1] != second[0] {
		t.Error("the day after: want no key of the first day")
	}
	if late, _ := tickets.keys(nil, start.Add(200*time.Hour)); len(late) != 1 {
		t.Errorf("after a week of silence there are %d keys", len(late))
	}
}

func TestTicketKeysAreForOneTrust(t *testing.T) {
	now := time.Now()
	tickets := NewTickets(now)
	a, _ := tickets.keys([]byte("a"), now)
	b, _ := tickets.keys([]byte("b"), now)
	again, _ := tickets.keys([]byte("a"), now)
	if a[0] == b[0] || a[0] != again[0] || bytes.Equal(a[0][:], tickets.secrets[0].secret[:]) {
		t.Error("keys are to depend on trust, and on nothing else")
	}
}

// TestSessionsAreResumed shows that sessions outlive a Store, and end where other
// clients are believed.
func TestSessionsAreResumed(t *testing.T) {
	ca, clients, others := certtest.NewCA(t, "Test CA"), certtest.NewCA(t, "Clients"), certtest.NewCA(t, "Others")
	show := clients.Issue(t, "ecdsa", []string{"Ann"}).TLS()
	o := options(t, ca.Issue(t, "ecdsa", []string{"a.example"}))
	o.ClientAuth = &ClientAuth{Mode: Optional, CAFile: clients.File(t)}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			tickets := NewTickets(time.Now())
			client := &tls.Config{ServerName: "a.example", RootCAs: ca.Pool(), MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(4),
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &show, nil }}
			resumed := func(s *Store) bool {
				t.Helper()
				state, err, serverErr := shake(t, s.Config(), client)
				if err != nil {
					t.Fatal(err, serverErr)
				}
				return state.DidResume
			}
			first, _ := open(t, o, tickets)
			if resumed(first) {
				t.Error("resumed what never was")
			}
			if !resumed(first) {
				t.Error("not resumed")
			}
			next, _ := open(t, o, tickets)
			if !resumed(next) {
				t.Error("not resumed after a reload")
			}
			next.lookAt(time.Now().Add(25 * time.Hour))
			if !resumed(next) {
				t.Error("not resumed after the keys were rotated")
			}
			changed := o
			changed.ClientAuth = &ClientAuth{Mode: Optional, CAFile: others.File(t)}
			show = others.Issue(t, "ecdsa", []string{"Ann"}).TLS()
			other, _ := open(t, changed, tickets)
			if resumed(other) {
				t.Error("a session of a client that is not believed any more was resumed")
			}
			show = clients.Issue(t, "ecdsa", []string{"Ann"}).TLS()
		})
	}
}
