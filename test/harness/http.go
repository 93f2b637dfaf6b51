package harness

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"
)

// Client is an HTTP client with connections of its own. It follows no redirect.
func Client(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		Timeout:       60 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Browser is a client that keeps cookies.
func Browser(t testing.TB) *http.Client {
	t.Helper()
	c := Client(t)
	var err error
	if c.Jar, err = cookiejar.New(nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// Do sends a request with "Name: value" headers and returns the whole answer.
// It may be called from any goroutine; an answer that broke off is an error.
func Do(c *http.Client, method, url, body string, headers ...string) (status int, answer string, err error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ":")
		if name == "Host" {
			req.Host = strings.TrimSpace(value)
			continue
		}
		req.Header.Add(name, strings.TrimSpace(value))
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return res.StatusCode, string(text), err
	}
	if cause := res.Header.Get("X-Steelyard-Cause"); cause != "" {
		return res.StatusCode, string(text), &CauseError{Status: res.StatusCode, Cause: cause, Text: string(text)}
	}
	return res.StatusCode, string(text), nil
}

// CauseError is an answer that Steelyard itself made because something failed.
type CauseError struct {
	Status int
	Cause  string
	Text   string
}

func (e *CauseError) Error() string { return fmt.Sprintf("%d %s: %.300s", e.Status, e.Cause, e.Text) }

// Get gets a URL and fails the test unless the answer is a 200.
func Get(t testing.TB, c *http.Client, url string, headers ...string) string {
	t.Helper()
	status, body, err := Do(c, "GET", url, "", headers...)
	if err != nil || status != http.StatusOK {
		t.Fatalf("GET %s: %d %.200q %v", url, status, body, err)
	}
	return body
}

// Shares gets a URL n times, one after the other, and counts the answers.
func Shares(t testing.TB, c *http.Client, url string, n int, headers ...string) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for range n {
		counts[Get(t, c, url, headers...)]++
	}
	return counts
}
