package rewrite

import "testing"

// fixed expands every variable to the same text.
type fixed struct{}

func (fixed) AppendVar(dst []byte, v Var, name string) []byte { return append(dst, "value"...) }

func TestNothingIsAllocated(t *testing.T) {
	dst := make([]byte, 0, 1024)
	tpl, err := Parse("https://{host}{uri}#{header.X-A}")
	if err != nil {
		t.Fatal(err)
	}
	headers := mustCompile(t, Headers{Set: []Header{{"X-Id", "{request_id}"}, {"X-B", "constant"}}, Remove: []string{"Server"}})
	strip, err := CompilePath(Path{StripPrefix: "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	replace, err := CompilePath(Path{ReplacePrefix: &Replace{"/v1", "/"}})
	if err != nil {
		t.Fatal(err)
	}
	path, name := []byte("/v1//a/b"), []byte("SERVER")
	var v Values = fixed{}
	for what, f := range map[string]func(){
		"template":     func() { tpl.Append(dst, v) },
		"header value": func() { tpl.AppendHeader(dst, v) },
		"header lines": func() { headers.Append(dst, v) },
		"drops":        func() { headers.Drops(name) },
		"strip":        func() { strip.Append(dst, path) },
		"replace":      func() { replace.Append(dst, path) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

func BenchmarkHeaders(b *testing.B) {
	r := mustCompile(b, Headers{Set: []Header{{"X-Id", "{request_id}"}, {"X-Pool", "{pool}/{backend}"}, {"X-B", "constant"}}, Remove: []string{"Server"}})
	b.Run("append", func(b *testing.B) {
		dst := make([]byte, 0, 1024)
		var v Values = fixed{}
		b.ReportAllocs()
		for b.Loop() {
			dst = r.Append(dst[:0], v)
		}
	})
	b.Run("drops", func(b *testing.B) {
		name := []byte("Accept-Encoding")
		b.ReportAllocs()
		for b.Loop() {
			r.Drops(name)
		}
	})
}

func BenchmarkStripPrefix(b *testing.B) {
	r, err := CompilePath(Path{StripPrefix: "/v1"})
	if err != nil {
		b.Fatal(err)
	}
	dst, path := make([]byte, 0, 256), []byte("/v1/users/42/items")
	b.ReportAllocs()
	for b.Loop() {
		dst = r.Append(dst[:0], path)
	}
}
