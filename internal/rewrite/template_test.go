package rewrite

import (
	"fmt"
	"strings"
	"testing"
)

// values expands {x} to "<x>" and {kind.NAME} to what the map has for it.
type values map[string]string

func (m values) AppendVar(dst []byte, v Var, name string) []byte {
	if v < VarHeader {
		dst = append(dst, '<')
		dst = append(dst, v.String()...)
		return append(dst, '>')
	}
	return append(dst, m[strings.TrimSuffix(v.String(), "NAME")+name]...)
}

func TestTemplate(t *testing.T) {
	vals := values{"header.X-A": "h", "query.a b": "q", "query.a.b": "dot", "cookie.sid": "c"}
	for _, tc := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"literal", "a b", "a b"},
		{"every plain variable", "{client_ip}{client_port}{host}{method}{path}{query}{uri}{scheme}{request_id}{route}{pool}{backend}{listener}",
			"<client_ip><client_port><host><method><path><query><uri><scheme><request_id><route><pool><backend><listener>"},
		{"header", "{header.X-A}", "h"},
		{"query with a space", "{query.a b}", "q"},
		{"query with a dot", "{query.a.b}", "dot"},
		{"cookie", "{cookie.sid}!", "c!"},
		{"absent", "[{header.X-B}]", "[]"},
		{"between text", "https://{host}/x{path}?", "https://<host>/x<path>?"},
		{"literal braces", "{{a}}", "{a}"},
		{"literal braces around a variable", "{{{host}}}", "{<host>}"},
		{"only braces", "{{}}{{", "{}{"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tpl, err := Parse(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(tpl.Append([]byte("+"), vals)); got != "+"+tc.want {
				t.Errorf("Append = %q, want %q", got, "+"+tc.want)
			}
			_, constant := tpl.Constant()
			if want := !strings.Contains(strings.ReplaceAll(tc.in, "{{", ""), "{"); constant != want {
				t.Errorf("constant = %v, want %v", constant, want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct {
		in      string
		want    []string
		wantNot string
	}{
		{"{clientip}", []string{"{clientip}", "did you mean {client_ip}", "request_id, route", "header.NAME"}, ""},
		{"{Host}", []string{"did you mean {host}"}, ""},
		{"{url}", []string{"did you mean {uri}"}, ""},
		{"{headers.X-A}", []string{"did you mean {header.X-A}"}, ""},
		{"{nonsense}", []string{"unknown variable {nonsense}", "client_ip"}, "did you mean"},
		{"{env}", []string{"${NAME}"}, "did you mean"},
		{"{env.HOME}", []string{"${NAME}"}, "did you mean"},
		{"{header}", []string{"unknown variable {header}"}, ""},
		{"{header.}", []string{"lacks a name", "{header.NAME}"}, ""},
		{"{header.a b}", []string{"header name"}, ""},
		{"{cookie.a=b}", []string{"cookie name"}, ""},
		{"{query.a\n}", []string{"control"}, ""},
		{"{host.x}", []string{"unknown variable {host.x}"}, ""},
		{"{}", []string{"unknown variable {}"}, ""},
		{"a{", []string{"{ without }", "{{"}, ""},
		{"{host", []string{"{ without }"}, ""},
		{"{ho{st}", []string{"{ without }"}, ""},
		{"a}b", []string{"} without {", "}}"}, ""},
	} {
		t.Run(tc.in, func(t *testing.T) {
			_, err := Parse(tc.in)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not mention %q", err, w)
				}
			}
			if tc.wantNot != "" && strings.Contains(err.Error(), tc.wantNot) {
				t.Errorf("error %q mentions %q", err, tc.wantNot)
			}
		})
	}
}

func TestAppendHeaderIsSafe(t *testing.T) {
	for _, tc := range []struct{ name, in, value, want string }{
		{"line break", "{header.v}", "a\r\nSet-Cookie: x", "a  Set-Cookie: x"},
		{"NUL and DEL", "{header.v}", "a\x00b\x7fc", "a b c"},
		{"tab stays", "{header.v}", "a\tb", "a\tb"},
		{"not ASCII stays", "{header.v}", "é\xff", "é\xff"},
		{"ends", "{header.v}", " \r\n a \t\n", "a"},
		{"nothing left", "{header.v}", "\r\n \t", ""},
		{"around text", " x{header.v} ", "\n", "x"},
		{"constant", " a\nb ", "", "a b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tpl, err := Parse(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(tpl.AppendHeader([]byte("+ "), values{"header.v": tc.value})); got != "+ "+tc.want {
				t.Errorf("AppendHeader = %q, want %q", got, "+ "+tc.want)
			}
		})
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"", "{host}", "{{}}", "{{{host}}}", "{header.A}", "}{", "a{header.v}b", "{query.\xff}"} {
		f.Add(s, "v\r\n\x00")
	}
	f.Fuzz(func(t *testing.T, s, value string) {
		tpl, err := Parse(s)
		if err != nil {
			return
		}
		vals := values{"header.v": value, "cookie.v": value, "query.v": value}
		plain := tpl.Append(nil, vals)
		if got := tpl.Append([]byte("dst"), vals); string(got) != "dst"+string(plain) {
			t.Fatalf("Append depends on dst: %q, %q", got, plain)
		}
		head := tpl.AppendHeader([]byte("dst"), vals)
		if !strings.HasPrefix(string(head), "dst") || len(head)-3 > len(plain) {
			t.Fatalf("AppendHeader = %q, Append = %q", head, plain)
		}
		for _, c := range head {
			if c < ' ' && c != '\t' || c == 0x7f {
				t.Fatalf("AppendHeader lets %#x through in %q", c, head)
			}
		}
		if v := string(head[3:]); v != strings.Trim(v, " \t") {
			t.Fatalf("AppendHeader leaves blanks in %q", v)
		}
		// Braces written twice must give back any text.
		double := strings.NewReplacer("{", "{{", "}", "}}").Replace(s)
		if literal, err := Parse(double); err != nil || string(literal.Append(nil, nil)) != s {
			t.Fatalf("Parse(%q): %v", double, err)
		}
	})
}

// TestFurtherVariables: a template may be given more of them, which are known
// nowhere else.
func TestFurtherVariables(t *testing.T) {
	more := []string{"status", "host"}
	tmpl, err := ParseWith("{status} {method}", more)
	if err != nil {
		t.Fatal(err)
	}
	got := tmpl.Append(nil, varNames{})
	if want := fmt.Sprintf("<%d> <%d>", VarMore, VarMethod); string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := Parse("{status}"); err == nil {
		t.Error("{status} is known everywhere")
	}
	if _, err := ParseWith("{statsu}", more); err == nil || !strings.Contains(err.Error(), "did you mean {status}") || strings.Count(err.Error(), "host") != 1 {
		t.Errorf("got %v", err)
	}
}

// varNames has the number of each variable as its value.
type varNames struct{}

func (varNames) AppendVar(dst []byte, v Var, _ string) []byte { return fmt.Appendf(dst, "<%d>", v) }
