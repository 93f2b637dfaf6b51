package app

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"
	"unicode"
)

// keyNames are the keys of fields whose names say something else.
var keyNames = map[string]string{
	"transport.connect_timeout": "timeouts.connect", "transport.response_timeout": "timeouts.response", "transport.body_timeout": "timeouts.body",
	"transport.idle_timeout": "keepalive.idle_timeout", "transport.max_idle": "keepalive.max_idle",
	"error_pages": "errors.pages", "match.methods": "match.method",
	"check.type": "check", "check.http": "check", "check.exec.command": "check.exec", "check.tls.ca_file": "check.tls.ca",
	"consul.addresses": "consul.address", "consul.tls.ca_file": "consul.tls.ca", "consul.tls.cert_file": "consul.tls.cert", "consul.tls.key_file": "consul.tls.key",
	"admin.tls.cert_file": "admin.tls.cert", "admin.tls.key_file": "admin.tls.key", "admin.tls.client_ca_file": "admin.tls.client_ca",
	"tls.ocsp": "tls.ocsp_stapling", "tls.client_auth.ca_file": "tls.client_auth.ca", "https_port": "redirect_to_https",
	"transport.tls": "tls", "check.preface": "proxy_protocol",
	"tls.ca_file": "tls.ca", "tls.cert_file": "tls.cert", "tls.key_file": "tls.key",
}

// fields says which fields of two structs of one type differ: "name old -> new"
// for what is short, "name changed" for the rest. Places in a file do not count.
func fields(prefix string, a, b any) (what []string) {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		f := x.Type().Field(i)
		if !f.IsExported() || f.Name == "Line" || f.Name == "Name" && prefix == "" {
			continue
		}
		name := keyOf(f.Name)
		if f.Anonymous {
			name = prefix // its fields are those of what it is in
		} else if prefix != "" {
			name = prefix + "." + name
		}
		what = append(what, field(name, x.Field(i), y.Field(i))...)
	}
	return what
}

func field(name string, a, b reflect.Value) []string {
	if name == "check.no_tls" {
		name, a, b = "check.tls", b, a // says the opposite
	}
	if same, ok := keyNames[name]; ok {
		name = same
	}
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		return nil
	}
	if a.Kind() == reflect.Pointer && a.Type().Elem().Kind() == reflect.Struct {
		switch {
		case a.IsNil():
			return []string{name + " on"}
		case b.IsNil():
			return []string{name + " off"}
		}
		return fields(name, a.Elem().Interface(), b.Elem().Interface())
	}
	if whole, ok := strings.CutSuffix(name, ".off"); ok && a.Kind() == reflect.Bool {
		return []string{whole + map[bool]string{true: " off", false: " on"}[b.Bool()]}
	}
	if isSecret(name) {
		return []string{name + " changed"}
	}
	was, short := word(a)
	is, alsoShort := word(b)
	if short && alsoShort {
		return []string{fmt.Sprintf("%s %s -> %s", name, was, is)}
	}
	if a.Kind() == reflect.Struct {
		return fields(name, a.Interface(), b.Interface())
	}
	return []string{name + " changed"}
}

// isSecret reports whether a value is not to be quoted. The arguments of a command are
// often that of a password.
func isSecret(name string) bool {
	for _, s := range []string{"secret", "token", "password", "tls.key", "check.exec"} {
		if strings.Contains(name, s) {
			return true
		}
	}
	return false
}

// maxWord is the longest text that is quoted.
const maxWord = 60

// word is a short value as one would write it.
func word(v reflect.Value) (string, bool) {
	text := ""
	switch x := v.Interface().(type) {
	case time.Duration:
		text = inUnits(x)
	case netip.Prefix:
		text = x.String()
	case fmt.Stringer:
		text = x.String()
	default:
		switch v.Kind() {
		case reflect.String:
			text = v.String()
		case reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint16, reflect.Uint64, reflect.Float64:
			text = fmt.Sprint(x)
		case reflect.Slice:
			words := make([]string, v.Len())
			for i := range words {
				w, ok := word(v.Index(i))
				if !ok {
					return "", false
				}
				words[i] = w
			}
			text = strings.Join(words, "+")
		default:
			return "", false
		}
	}
	return cmp.Or(text, "none"), len(text) <= maxWord
}

// inUnits writes a duration in the largest unit that needs no fraction, up to 5m
// in place of 5m0s.
func inUnits(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if d != 0 && d%u.unit == 0 && (u.unit < time.Minute || d >= 2*u.unit) {
			return fmt.Sprintf("%d%s", d/u.unit, u.name)
		}
	}
	if d == 0 {
		return "0"
	}
	return d.String()
}

// keyOf spells the name of a field as a key of the file: IdleTimeout is
// idle_timeout, ClientIP client_ip.
func keyOf(field string) string {
	var b strings.Builder
	runes := []rune(field)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
