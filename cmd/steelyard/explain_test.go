package main

import (
	"strings"
	"testing"

	"steelyard/internal/explain"
)

// TestTheTargetStaysAsItIsWritten: what is asked about is what is written, byte for byte.
func TestTheTargetStaysAsItIsWritten(t *testing.T) {
	for text, want := range map[string]string{ // host and path; "" is refused
		"/a?b":                               " /a?b",
		"*":                                  " *",
		"http://h":                           "h /",
		"h":                                  "h /",
		"h/a":                                "h /a",
		"h:8080?x=/y":                        "h:8080 /?x=/y",
		"https://[::1]:8443/a":               "[::1]:8443 /a",
		"HTTP://h/a%2Fb/%zz/../ü?x=%20#frag": "h /a%2Fb/%zz/../ü?x=%20",
		"h/login?to=http://other/":           "h /login?to=http://other/",
		"/login?to=http://other/#x":          " /login?to=http://other/",
		"ws://h/s":                           "h /s",
		"":                                   "",
		"http://":                            "",
		"http:///a":                          "",
		"ftp://h/a":                          "",
		"http://user:secret@h/a":             "",
	} {
		var q explain.Question
		err := target(text, &q)
		if (err != nil) != (want == "") || err == nil && q.Host+" "+q.Path != want {
			t.Errorf("%q: host %q, path %q, %v; want %q", text, q.Host, q.Path, err, want)
		}
	}
}

// TestHeadersOfOneNameAreOneList, whatever the case of the name.
func TestHeadersOfOneNameAreOneList(t *testing.T) {
	h := headers{}
	for _, text := range []string{"Cookie: a=1", "X: 1", "cookie:b=2", "x : 2", "Y:"} {
		if err := h.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	if len(h) != 3 || h["Cookie"] != "a=1; b=2" || h["X"] != "1, 2" || h["Y"] != "" {
		t.Errorf("got %v", h)
	}
	if err := h.Set("nothing"); err == nil || !strings.Contains(err.Error(), "Name: value") {
		t.Errorf("got %v", err)
	}
}
