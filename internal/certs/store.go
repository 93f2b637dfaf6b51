package certs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Store has the certificates of one listener, as their files are now. It is safe
// for concurrent use.
type Store struct {
	o       Options
	log     *slog.Logger
	tickets *Tickets
	stapler *stapler           // nil: nothing is stapled
	stop    context.CancelFunc // nil: it has not been started
	running sync.WaitGroup

	set  atomic.Pointer[set]
	conf atomic.Pointer[tls.Config]

	mu        sync.Mutex
	sources   []*source // as Options.Certificates
	ca        caSource
	trust     []byte    // see Tickets.keys
	keysSince time.Time // of the ticket keys in use
}

// source is a certificate of the options: what is shown, and what has become of
// its files since.
type source struct {
	files   Files
	e       *entry
	seen    [2]os.FileInfo
	read    time.Time // when the files were read last
	problem Problems  // nil: what is shown is what the files have
	told    string    // the problem that was logged last
	phase   phase     // that was logged
	ocsp    string    // what is wrong with its OCSP response
	stapled time.Time // until when the response holds; zero: there is none
}

// caSource is the file of CAs.
type caSource struct {
	pool    *x509.CertPool
	sum     []byte
	seen    os.FileInfo
	read    time.Time
	problem *Problem
	told    string
}

// phase is how near its end a certificate is.
type phase uint8

const (
	phaseGood phase = iota
	phaseExpiring
	phaseExpired
)

// Open reads the files of o. The error is of type Problems and says all that is
// wrong with them. A nil tickets is for who needs no session to outlive the Store.
func Open(o Options, tickets *Tickets, log *slog.Logger) (*Store, error) {
	now := time.Now()
	s := &Store{o: o, log: log, tickets: tickets}
	if s.tickets == nil {
		s.tickets = NewTickets(now)
	}
	var wrong Problems
	for i, f := range o.Certificates {
		src := &source{files: f, read: now, seen: [2]os.FileInfo{look(f.CertFile), look(f.KeyFile)}}
		p, problems := Load(f, now)
		for _, bad := range problems {
			bad.Index, bad.Line = i, f.Line
			wrong = append(wrong, bad)
		}
		if p != nil {
			src.e = newEntry(p)
		}
		s.sources = append(s.sources, src)
	}
	if c := o.ClientAuth; c != nil {
		s.ca.seen, s.ca.read = look(c.CAFile), now
		var bad *Problem
		if s.ca.pool, s.ca.sum, bad = readCAs(c.CAFile, now); bad != nil {
			wrong = append(wrong, bad)
		}
	}
	if wrong != nil {
		return nil, wrong
	}
	s.renew()
	s.configure(now)
	for _, src := range s.sources {
		s.judgePhase(src, now)
	}
	if o.OCSP {
		s.stapler = newStapler(s)
		s.stapler.files(now) // so that the first client gets them
	}
	return s, nil
}

func newEntry(p *Pair) *entry {
	e := &entry{Pair: p}
	e.shown.Store(&p.cert)
	return e
}

// Start watches the files, and asks for OCSP responses, until Close. It must be
// called once at most.
func (s *Store) Start() {
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	s.running.Go(func() { s.watchFiles(ctx) })
	if s.stapler != nil {
		s.running.Go(func() { s.stapler.run(ctx) })
	}
}

// Close ends what Start began, if it did; the configurations that were given
// away go on.
func (s *Store) Close() {
	if s.stop != nil {
		s.stop()
		s.running.Wait()
	}
}

// Config is what a connection that begins now uses. It is not to be changed.
func (s *Store) Config() *tls.Config { return s.conf.Load() }

// Options are those it was opened with.
func (s *Store) Options() Options { return s.o }

// renew makes the choice among the certificates anew. Its caller holds mu, or is
// alone.
func (s *Store) renew() {
	all := make([]*entry, len(s.sources))
	for i, src := range s.sources {
		all[i] = src.e
	}
	s.set.Store(newSet(all))
}

// configure makes a configuration for the CAs of the moment. Its caller holds
// mu, or is alone.
func (s *Store) configure(now time.Time) {
	c := s.o.base()
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return s.set.Load().choose(hello).shown.Load(), nil
	}
	s.trust = nil
	if a := s.o.ClientAuth; a != nil {
		c.ClientCAs = s.ca.pool
		sum := sha256.Sum256(s.ca.sum)
		s.trust = append([]byte(a.Mode+"\x00"), sum[:]...)
	}
	keys, since := s.tickets.keys(s.trust, now)
	c.SetSessionTicketKeys(keys)
	s.keysSince = since
	s.conf.Store(c)
}

// SameSite reports whether one certificate is for both hosts, so that who was
// shown it may speak to either. Hosts that no certificate has are those of the
// first.
func (s *Store) SameSite(a, b string) bool {
	set := s.set.Load()
	return set.candidates(normal(a))[0] == set.candidates(normal(b))[0]
}

// Valid reports whether the first certificate is valid for a host.
func (s *Store) Valid(host string) bool {
	return s.set.Load().all[0].Leaf.VerifyHostname(host) == nil
}

// Look reads the files that have changed. What cannot be used stays as it was.
func (s *Store) Look() { s.lookAt(time.Now()) }

func (s *Store) lookAt(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for _, src := range s.sources {
		if s.lookAtPair(src, now) {
			changed = true
		}
		s.judgePhase(src, now)
	}
	if changed {
		s.renew()
	}
	switch {
	case s.o.ClientAuth != nil && s.lookAtCAs(now):
		s.configure(now)
	default:
		if keys, since := s.tickets.keys(s.trust, now); since != s.keysSince {
			s.conf.Load().SetSessionTicketKeys(keys)
			s.keysSince = since
		}
	}
}

// lookAtPair reports whether another certificate is to be shown.
func (s *Store) lookAtPair(src *source, now time.Time) bool {
	seen := [2]os.FileInfo{look(src.files.CertFile), look(src.files.KeyFile)}
	if same(seen[0], src.seen[0]) && same(seen[1], src.seen[1]) && (src.problem == nil || now.Sub(src.read) < watchAgain) {
		return false
	}
	src.seen, src.read = seen, now
	p, problems := Load(src.files, now)
	src.problem = problems
	if problems != nil {
		if text := problems.Error(); text != src.told {
			src.told = text
			s.log.Error("a certificate cannot be exchanged; the one before is shown on", "file", src.files.CertFile, "error", text,
				"expires", src.e.Leaf.NotAfter.UTC().Format(timeFormat))
		}
		return false
	}
	recovered := src.told != ""
	src.told = ""
	if slices.EqualFunc(p.cert.Certificate, src.e.cert.Certificate, bytes.Equal) {
		if recovered {
			s.log.Info("the files of a certificate are right again", "file", src.files.CertFile)
		}
		return false
	}
	lost := slices.DeleteFunc(slices.Clone(src.e.Names), func(n string) bool { return slices.Contains(p.Names, n) })
	if len(lost) > 0 {
		s.log.Warn("the new certificate lacks hosts that the one before had", "file", src.files.CertFile, "hosts", someOf(lost))
	}
	src.e, src.phase, src.ocsp, src.stapled = newEntry(p), phaseGood, "", time.Time{}
	s.log.Info("a certificate was exchanged", "file", src.files.CertFile, "hosts", someOf(p.Names), "expires", p.Leaf.NotAfter.UTC().Format(timeFormat))
	for _, w := range p.Warnings {
		s.log.Warn("certificate", "warning", w)
	}
	return true
}

// lookAtCAs reports whether other CAs are to be believed.
func (s *Store) lookAtCAs(now time.Time) bool {
	path := s.o.ClientAuth.CAFile
	seen := look(path)
	if same(seen, s.ca.seen) && (s.ca.problem == nil || now.Sub(s.ca.read) < watchAgain) {
		return false
	}
	s.ca.seen, s.ca.read = seen, now
	pool, sum, bad := readCAs(path, now)
	s.ca.problem = bad
	if bad != nil {
		if s.ca.told != bad.Error() {
			s.ca.told = bad.Error()
			s.log.Error("the CAs of clients cannot be exchanged; those before are believed on", "file", path, "error", bad)
		}
		return false
	}
	s.ca.told = ""
	if bytes.Equal(sum, s.ca.sum) {
		return false
	}
	s.ca.pool, s.ca.sum = pool, sum
	s.log.Info("the CAs of clients were exchanged", "file", path)
	return true
}

// judgePhase tells, once, that the end of a certificate is near, or over.
func (s *Store) judgePhase(src *source, now time.Time) {
	p, was := src.e.Pair, src.phase
	switch {
	case now.After(p.Leaf.NotAfter):
		src.phase = phaseExpired
	case p.Expiring(now):
		src.phase = phaseExpiring
	default:
		src.phase = phaseGood
	}
	if src.phase <= was {
		return
	}
	end := p.Leaf.NotAfter.UTC().Format(timeFormat)
	if src.phase == phaseExpired {
		s.log.Error("a certificate has expired, and clients refuse it; renew it", "file", p.CertFile, "expired", end)
	} else {
		s.log.Warn("a certificate expires soon; its renewal seems to have failed", "file", p.CertFile, "expires", end)
	}
}

// Status is what is known of one certificate.
type Status struct {
	File     string
	Hosts    []string
	KeyType  string // ecdsa, ed25519 or rsa
	Issuer   string
	Serial   string // in hexadecimal
	From     time.Time
	Until    time.Time
	Expiring bool // the end is near, or over
	// Problem is what is wrong with the files as they are now, so that what is
	// shown is from before; "": nothing.
	Problem string
	// OCSP is good, none (there is none to be had), or what is wrong.
	OCSP string
	// Stapled is until when the OCSP response holds; zero: there is none.
	Stapled time.Time
}

// Status is what is known of each certificate, in the order of the options.
func (s *Store) Status() []Status {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, len(s.sources))
	for i, src := range s.sources {
		leaf := src.e.Leaf
		all[i] = Status{
			File: src.files.CertFile, Hosts: src.e.Names, KeyType: src.e.KeyType, Issuer: src.e.issuerText,
			Serial: src.e.serialText, From: leaf.NotBefore, Until: leaf.NotAfter, Expiring: src.e.Expiring(now),
			OCSP: "none", Stapled: src.stapled,
		}
		if src.problem != nil {
			all[i].Problem = src.problem.Error()
		}
		if !src.stapled.IsZero() {
			all[i].OCSP = "good"
		}
		all[i].OCSP = cmp.Or(src.ocsp, all[i].OCSP)
	}
	return all
}

// ClientProblem is what is wrong with the file of CAs as it is now; "": nothing.
func (s *Store) ClientProblem() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ca.problem == nil {
		return ""
	}
	return s.ca.problem.Error()
}
