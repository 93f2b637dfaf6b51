package config

import (
	"fmt"
	"strings"
)

// expand replaces ${NAME} and ${NAME:-default} in one scalar value. It works on
// values that have been parsed already, so that what a variable holds can never
// become YAML structure. $${ is a literal ${, and ${1} is left alone because
// regular expressions use it for groups. An empty variable counts as unset for
// the default, as in a shell. What was inserted is not expanded again.
// changed reports whether text differs because of a variable; problem is empty
// when all went well.
func expand(s string, env func(string) (string, bool)) (text string, changed bool, problem string) {
	if !strings.Contains(s, "${") {
		return s, false, ""
	}
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String(), changed, ""
		}
		if i > 0 && s[i-1] == '$' {
			b.WriteString(s[:i-1])
			b.WriteString("${")
			s = s[i+2:]
			continue
		}
		b.WriteString(s[:i])
		s = s[i:]
		if len(s) > 2 && isDigit(s[2]) {
			b.WriteString("${")
			s = s[2:]
			continue
		}
		end := strings.IndexByte(s, '}')
		if end < 0 {
			return "", false, fmt.Sprintf("%q has no closing }; write $${ for a literal ${", clip(s))
		}
		val, problem := variable(s[2:end], env)
		if problem != "" {
			return "", false, problem
		}
		b.WriteString(val)
		changed = true
		s = s[end+1:]
	}
}

// variable gives the value for what stands between ${ and }.
func variable(inner string, env func(string) (string, bool)) (val, problem string) {
	name, def, hasDef := strings.Cut(inner, ":-")
	if !isEnvName(name) {
		return "", fmt.Sprintf("${%s} is not an environment variable; write ${NAME} or ${NAME:-default}, and $${ for a literal ${", clip(inner))
	}
	if strings.Contains(def, "${") {
		return "", fmt.Sprintf("the default of ${%s} may not contain another ${", name)
	}
	val, set := env(name)
	switch {
	case hasDef && val == "":
		return def, ""
	case !set:
		return "", fmt.Sprintf("environment variable %s is not set; set it or write ${%s:-default}, and $${%s} for a literal ${%s}", name, name, name, name)
	}
	return val, ""
}

func isEnvName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (i == 0 || !isDigit(c)) {
			return false
		}
	}
	return s != ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// clip shortens a text for a message.
func clip(s string) string {
	const most = 60
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most]) + "…"
}
