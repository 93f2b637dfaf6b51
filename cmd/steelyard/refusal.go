package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// tlsFor reads the files of TLS; nil when none is named.
func tlsFor(ca, cert, key string, https bool) (*tls.Config, error) {
	if ca == "" && cert == "" && key == "" && !https {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		if conf.RootCAs = x509.NewCertPool(); !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca: %s has no certificate in PEM", ca)
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("--cert and --key: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// unreachable says what to do about an API that does not answer.
func (c *client) unreachable(err error) error {
	cure := "is Steelyard running, and has its configuration `admin: 127.0.0.1:9400`? --admin ADDRESS or -c FILE names another address"
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknown):
		cure = "its certificate is of a CA that this machine does not trust; name it with --ca FILE"
	case strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		cure = "it speaks plain HTTP; leave out --ca, --cert, --key and https://"
	case strings.Contains(err.Error(), "certificate required"), strings.Contains(err.Error(), "bad certificate"):
		cure = "it asks for a certificate of yours; name it with --cert FILE and --key FILE"
	case errors.Is(err, context.DeadlineExceeded):
		cure = "it has not answered within 15s"
	}
	return fmt.Errorf("the admin API at %s cannot be reached: %w\n%s", c.where, errors.Unwrap(err), cure)
}

// refusal is the error of an answer that is not 200.
func refusal(res *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	var f struct {
		Error, Cure string
		Errors      []string
	}
	if json.Unmarshal(text, &f) != nil || f.Error == "" {
		if strings.Contains(string(text), "HTTPS server") {
			return errors.New("the admin API speaks HTTPS; name it as https://host:port, with --ca FILE if its CA is your own")
		}
		return fmt.Errorf("not the admin API answered, but something that says %s: %.300s\nthe key admin of the configuration has its address; --admin ADDRESS or -c FILE names it", res.Status, plain(string(text)))
	}
	lines := append([]string{f.Error}, f.Errors...)
	if f.Cure != "" {
		lines = append(lines, f.Cure)
	}
	for i := range lines {
		lines[i] = plain(lines[i])
	}
	return errors.New(strings.Join(lines, "\n"))
}
