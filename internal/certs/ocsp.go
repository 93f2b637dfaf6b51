package certs

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	// ocspTimeout bounds one question to a responder, maxOCSP its answer in bytes.
	ocspTimeout = 10 * time.Second
	maxOCSP     = 64 << 10
	// ocspRetry and ocspRetryMost bound the wait after a responder has failed.
	ocspRetry     = time.Minute
	ocspRetryMost = time.Hour
	// ocspMost is the longest that a response is not asked for anew, and how long
	// one holds that does not say it.
	ocspMost    = 12 * time.Hour
	ocspUnsaid  = time.Hour
	clockLeeway = 5 * time.Minute // how far the responder's clock may be ahead
)

// staple is an OCSP response.
type staple struct {
	der   []byte
	until time.Time // it holds until then
	next  time.Time // when to ask for another one
}

// readStaple checks a response for a certificate.
func readStaple(der []byte, leaf, issuer *x509.Certificate, now time.Time) (*staple, error) {
	r, err := ocsp.ParseResponseForCert(der, leaf, issuer)
	switch {
	case err != nil:
		return nil, err
	case r.Status == ocsp.Revoked:
		return nil, fmt.Errorf("the certificate was revoked on %s; have it issued anew, with another key", r.RevokedAt.UTC().Format(timeFormat))
	case r.Status != ocsp.Good:
		return nil, errors.New("the responder does not know the certificate")
	case r.ThisUpdate.After(now.Add(clockLeeway)):
		return nil, fmt.Errorf("the response is not valid before %s; is the clock of this machine right?", r.ThisUpdate.UTC().Format(timeFormat))
	}
	s := &staple{der: der, until: r.NextUpdate}
	if r.NextUpdate.IsZero() {
		s.until = now.Add(ocspUnsaid)
	}
	if !s.until.After(now) {
		return nil, fmt.Errorf("the response held until %s", s.until.UTC().Format(timeFormat))
	}
	// Halfway to its end, so that a responder may fail for as long.
	s.next = now.Add(min(s.until.Sub(now)/2, ocspMost))
	return s, nil
}

// responder is where a certificate's status can be asked for; "" is nowhere.
func responder(leaf *x509.Certificate) string {
	for _, u := range leaf.OCSPServer {
		if strings.HasPrefix(u, "http://") || strings.HasPrefix(u, "https://") {
			return u
		}
	}
	return ""
}

// ask gets a response from the certificate's responder.
func ask(ctx context.Context, client *http.Client, p *Pair) ([]byte, error) {
	url := responder(p.Leaf)
	question, err := ocsp.CreateRequest(p.Leaf, p.issuer, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, ocspTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	req.Header.Set("Accept", "application/ocsp-response")
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, res.Status)
	}
	der, err := io.ReadAll(io.LimitReader(res.Body, maxOCSP+1))
	if err == nil && len(der) > maxOCSP {
		err = fmt.Errorf("the answer of %s has more than %d bytes", url, maxOCSP)
	}
	return der, err
}

// stapleFile is where a response for a certificate is looked for first.
func stapleFile(f Files) string { return f.CertFile + ".ocsp" }

// stapling is what is known of the OCSP response of one certificate. It belongs
// to the goroutine that staples, once that runs.
type stapling struct {
	e        *entry
	held     *staple // nil: none
	fromFile bool    // held is
	due      time.Time
	failed   int         // times in a row that the responder did
	seen     os.FileInfo // the file as it was read last; nil: there was none
	fileErr  error       // what was wrong with it
	askErr   error       // what was wrong with the last answer of the responder
	told     string      // the last problem
}

// look takes the response of the file, if that has changed. It reports whether
// the certificate is shown with one of the file.
func (s *stapling) look(now time.Time) (bool, error) {
	path := stapleFile(s.e.Files)
	info := look(path)
	if same(info, s.seen) {
		return s.fromFile && s.held != nil, s.fileErr
	}
	s.seen, s.fileErr = info, nil
	if info == nil {
		return false, nil // the response it had holds as long as it says
	}
	held, err := s.read(path, info.Size(), now)
	if err != nil {
		s.fileErr = fmt.Errorf("%s: %w", path, err)
		return s.fromFile && s.held != nil, s.fileErr
	}
	s.use(held)
	s.fromFile = true
	return true, nil
}

func (s *stapling) read(path string, size int64, now time.Time) (*staple, error) {
	if size > maxOCSP {
		return nil, fmt.Errorf("%d bytes is more than a response has", size)
	}
	der, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return readStaple(der, s.e.Leaf, s.e.issuer, now)
}

// use shows the certificate with a response from now on.
func (s *stapling) use(held *staple) {
	s.held, s.fromFile, s.failed, s.due = held, false, 0, held.next
	s.show(held.der)
}

func (s *stapling) show(der []byte) {
	c := s.e.cert
	c.OCSPStaple = der
	s.e.shown.Store(&c)
}

// tend does what is due: takes the file, or asks the responder, or takes off what
// has expired. It returns what is wrong.
func (s *stapling) tend(ctx context.Context, client *http.Client, now time.Time) error {
	if s.held != nil && !s.held.until.After(now) {
		s.held = nil
		s.show(nil)
	}
	fromFile, err := s.look(now)
	if fromFile || responder(s.e.Leaf) == "" {
		return err
	}
	if now.Before(s.due) {
		return s.askErr
	}
	if s.e.issuer == nil {
		return errors.New("the file does not have the certificate of who signed it, without which its status cannot be asked; name the file with the full chain")
	}
	der, asked := ask(ctx, client, s.e.Pair)
	if asked == nil {
		var held *staple
		if held, asked = readStaple(der, s.e.Leaf, s.e.issuer, now); asked == nil {
			s.use(held)
			s.askErr = nil
			return err
		}
	}
	s.askErr = asked
	s.failed++
	wait := min(ocspRetry<<min(s.failed-1, 10), ocspRetryMost)
	s.due = now.Add(wait/2 + rand.N(wait/2+1))
	return asked
}
