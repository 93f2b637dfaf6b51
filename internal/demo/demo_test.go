package demo

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestBackendsHaveTheirManners(t *testing.T) {
	b, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	broken := 0
	for i, m := range manners() {
		for range 5 {
			began := time.Now()
			res, err := client.Get("http://" + b.addresses[i] + "/who")
			if err != nil {
				broken++
				continue
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if !strings.HasPrefix(string(body), m.name) {
				t.Errorf("%s answered %q", m.name, body)
			}
			if took := time.Since(began); took < m.delay {
				t.Errorf("%s took %v, want %v at least", m.name, took, m.delay)
			}
		}
	}
	if broken != 1 {
		t.Errorf("%d requests were broken off, want one of fifteen", broken)
	}
}

func TestWelcomeNamesEveryBackendAndTheConfiguration(t *testing.T) {
	b, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	text := b.Welcome()
	for i, m := range manners() {
		if !strings.Contains(text, m.name) || !strings.Contains(text, b.addresses[i]) {
			t.Errorf("no %s at %s in the welcome:\n%s", m.name, b.addresses[i], text)
		}
	}
	if !strings.Contains(text, "policy: least_connections") {
		t.Error("the welcome does not show the configuration")
	}
}
