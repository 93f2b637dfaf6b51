package balancer

import (
	"fmt"
	"strings"
)

// Key says which part of a request is hashed. Its text form is the source,
// followed by a colon and the name for the sources that have one:
// "client_ip", "header:x-user-id".
type Key struct {
	// Source is one of client_ip, header, cookie, path, query, uri.
	Source string
	// Name is the name of the header, cookie or query parameter; empty for
	// the other sources.
	Name string
}

// keySources lists the values of Key.Source and whether they take a name.
func keySources() (sources []string, named map[string]bool) {
	return []string{"client_ip", "header", "cookie", "path", "query", "uri"},
		map[string]bool{"header": true, "cookie": true, "query": true}
}

const keyForms = "client_ip, header:NAME, cookie:NAME, path, query:NAME or uri"

// ParseKey reads the text form of a key. The error says what is wrong and what
// is allowed.
func ParseKey(text string) (Key, error) {
	source, name, colon := strings.Cut(text, ":")
	k := Key{Source: source, Name: name}
	if colon && name == "" {
		return Key{}, fmt.Errorf("key %q has no name after the colon; use %s", text, keyForms)
	}
	if err := k.validate(); err != nil {
		return Key{}, err
	}
	return k, nil
}

// String is the text form of k, which ParseKey reads back.
func (k Key) String() string {
	if k.Name == "" {
		return k.Source
	}
	return k.Source + ":" + k.Name
}

func (k Key) validate() error {
	sources, named := keySources()
	takesName, known := named[k.Source], false
	for _, s := range sources {
		known = known || s == k.Source
	}
	switch {
	case k.Source == "" && k.Name == "":
		return fmt.Errorf("key is empty; use %s", keyForms)
	case !known:
		return fmt.Errorf("key source %q is unknown%s; use %s", k.Source, didYouMean(k.Source, sources), keyForms)
	case takesName && k.Name == "":
		return fmt.Errorf("key source %s needs the name of the %s, as in %s:NAME", k.Source, nameNoun(k.Source), k.Source)
	case !takesName && k.Name != "":
		return fmt.Errorf("key source %s takes no name, but has %q", k.Source, k.Name)
	}
	for i := range len(k.Name) {
		if !nameByte(k.Source, k.Name[i]) {
			return fmt.Errorf("key %q: %q cannot be in the name of a %s", k, k.Name[i], nameNoun(k.Source))
		}
	}
	return nil
}

func nameNoun(source string) string {
	if source == "query" {
		return "query parameter"
	}
	return source
}

// nameByte reports whether c may occur in a name: a token of RFC 9110, section
// 5.6.2, for headers and cookies; anything but control characters and spaces
// for query parameters.
func nameByte(source string, c byte) bool {
	if c <= ' ' || c == 0x7f {
		return false
	}
	if source == "query" {
		return true
	}
	return c < 0x80 && !strings.ContainsRune(`()<>@,;:\"/[]?={}`, rune(c))
}
