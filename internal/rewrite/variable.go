package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"steelyard/internal/wire"
)

// Var names a variable of a template.
type Var uint8

// The variables. VarHeader, VarQueryParam and VarCookie come with a name.
const (
	VarClientIP Var = iota
	VarClientPort
	VarHost
	VarMethod
	VarPath
	VarQuery
	VarURI
	VarScheme
	VarRequestID
	VarRoute
	VarPool
	VarBackend
	VarListener
	VarTLSVersion
	VarTLSSNI
	VarTLSClientVerified
	VarTLSClientSubject
	VarTLSClientCN
	VarTLSClientSAN
	VarTLSClientFingerprint
	VarAuthUser
	VarHeader
	VarQueryParam
	VarCookie
	// VarMore is the first of the variables that ParseWith was given.
	VarMore
)

// String returns v as templates spell it, "header.NAME" for VarHeader.
func (v Var) String() string {
	if names := Variables(); int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("Var(%d)", uint8(v))
}

// Variables lists what may stand between braces, in the order of the constants.
func Variables() []string {
	return []string{
		"client_ip", "client_port", "host", "method", "path", "query", "uri", "scheme",
		"request_id", "route", "pool", "backend", "listener",
		"tls_version", "tls_sni", "tls_client_verified", "tls_client_subject", "tls_client_cn", "tls_client_san", "tls_client_fingerprint",
		"auth_user",
		"header.NAME", "query.NAME", "cookie.NAME",
	}
}

// parseVar reads what stands between braces.
func parseVar(s string, more []string) (Var, string, error) {
	if i := slices.Index(more, s); i >= 0 {
		return VarMore + Var(i), "", nil
	}
	kind, name, named := strings.Cut(s, ".")
	for i, known := range Variables() {
		v := Var(i)
		if v < VarHeader && s == known {
			return v, "", nil
		}
		if v < VarHeader || !named || kind+".NAME" != known {
			continue
		}
		switch {
		case name == "":
			return 0, "", fmt.Errorf("{%s} lacks a name; write {%s}", s, known)
		case v != VarQueryParam && !isToken(name):
			return 0, "", fmt.Errorf("{%s}: %q is not a %s name", s, name, kind)
		case strings.ContainsFunc(name, isControl):
			return 0, "", fmt.Errorf("{%s} has a control character", s)
		}
		return v, name, nil
	}
	return 0, "", unknownVar(s, kind, name, named, more)
}

func unknownVar(s, kind, name string, named bool, more []string) error {
	known := Variables()
	for _, name := range more {
		if !slices.Contains(known, name) {
			known = append(known, name)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "unknown variable {%s}", s)
	if s == "env" || kind == "env" {
		b.WriteString("; the environment is written ${NAME} and read with the configuration")
	} else if near := nearest(s, kind, name, named, known); near != "" {
		fmt.Fprintf(&b, "; did you mean {%s}", near)
	}
	fmt.Fprintf(&b, "; there are %s; literal braces are {{ and }}", strings.Join(known, ", "))
	return fmt.Errorf("%s", b.String())
}

// nearest returns the variable that s was probably meant to be, or "".
func nearest(s, kind, name string, named bool, variables []string) string {
	best, least := "", 3
	for _, known := range variables {
		have, want := s, known
		if k, ok := strings.CutSuffix(known, ".NAME"); ok {
			if !named {
				continue
			}
			have, want = kind, k
			known = k + "." + name
		}
		limit := min(least, len(want)/2+1)
		if d := distance(strings.ToLower(have), want); d < limit {
			best, least = known, d
		}
	}
	return best
}

// distance is the edit distance (Levenshtein) of two short texts, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = slices.Min([]int{cost, row[j] + 1, row[j+1] + 1})
		}
	}
	return row[len(b)]
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool { return wire.IsToken([]byte(s)) }
