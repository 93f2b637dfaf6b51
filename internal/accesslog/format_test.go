package accesslog

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func entry() Entry {
	return Entry{
		Time: time.Date(2026, 11, 23, 1, 2, 3, 456e6, time.FixedZone("", 3600)), RequestID: []byte("abc"), Client: []byte("192.0.2.1"), Listener: "web",
		Method: []byte("GET"), Host: []byte("example.com"), Path: []byte("/a"), Query: []byte("b=c"), Minor: 1, Status: 502, Route: "all", Pool: "app", Backend: "10.0.0.1:80",
		Attempts: []Attempt{{"10.0.0.2:80", "connect_refused", "unsent", 1500 * time.Microsecond}}, Retries: 1, Cause: "bad_response", Affinity: "new",
		BytesIn: 1, BytesOut: 2, Queue: time.Millisecond, Connect: 2 * time.Millisecond, FirstByte: 3 * time.Millisecond, Total: 1234567 * time.Microsecond,
		UserAgent: []byte(`a "b"`), Referer: []byte("http://x/"),
	}
}

func TestJSON(t *testing.T) {
	e := entry()
	const want = `{"time":"2026-11-23T00:02:03.456Z","request_id":"abc","client":"192.0.2.1","listener":"web","method":"GET","host":"example.com","path":"/a","query":"b=c",` +
		`"protocol":"HTTP/1.1","status":502,"route":"all","pool":"app","backend":"10.0.0.1:80",` +
		`"attempts":[{"backend":"10.0.0.2:80","reason":"connect_refused","class":"unsent","ms":1.500}],"retries":1,"cause":"bad_response","affinity":"new",` +
		`"bytes_in":1,"bytes_out":2,"queue_ms":1.000,"connect_ms":2.000,"first_byte_ms":3.000,"total_ms":1234.567,"user_agent":"a \"b\"","referer":"http://x/"}` + "\n"
	if got := string(e.AppendJSON(nil, AllFields())); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	fields, ok := ParseFields([]string{"status", "path"})
	if got := string(e.AppendJSON(nil, fields)); !ok || got != `{"status":502,"path":"/a"}`+"\n" {
		t.Errorf("got %s, %v", got, ok)
	}
	if _, ok := ParseFields([]string{"nonsense"}); ok {
		t.Error("nonsense is a field")
	}
	if got := string((&Entry{}).AppendJSON(nil, AllFields())); !json.Valid([]byte(got)) || strings.Contains(got, "attempts") {
		t.Errorf("an empty entry is %s", got)
	}
}

func TestCombined(t *testing.T) {
	e := entry()
	const want = `192.0.2.1 - - [23/Nov/2026:01:02:03 +0100] "GET /a?b=c HTTP/1.1" 502 2 "http://x/" "a \"b\""` + "\n"
	if got := string(e.AppendCombined(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	forged := Entry{Time: e.Time, Client: []byte("fe80::1%x - - [now] \"GET"), Status: 200}
	if got, want := string(forged.AppendCombined(nil)), `fe80::1%x_-_-_[now]_\"GET - - [23/Nov/2026:01:02:03 +0100] "-" 200 - "-" "-"`+"\n"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	none := Entry{Time: e.Time, Client: []byte("192.0.2.1"), Status: 400}
	if got, want := string(none.AppendCombined(nil)), `192.0.2.1 - - [23/Nov/2026:01:02:03 +0100] "-" 400 - "-" "-"`+"\n"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFieldsOfTemplates(t *testing.T) {
	e := entry()
	want := map[Field]string{FieldTime: "2026-11-23T00:02:03.456Z", FieldStatus: "502", FieldAttempts: "10.0.0.2:80=connect_refused", FieldTotal: "1234.567", FieldPool: "app", FieldUserAgent: `a "b"`}
	for f, want := range want {
		if got := string(e.AppendField([]byte("x"), f)); got != "x"+want {
			t.Errorf("%s: %s, want %s", f, got, want)
		}
	}
	for in, want := range map[string]string{"": "-", "a": "a", `a"b`: `a\"b`, "a\nb\xff": `a\x0ab\xff`} {
		if got := string(Escape([]byte("x "+in), 2)); got != "x "+want {
			t.Errorf("%q is escaped as %q, want %q", in, got, want)
		}
	}
}

// FuzzFormats: whatever a client sends, a line is one line, and valid JSON that
// has what was sent.
func FuzzFormats(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\c\n\r\t\x00\x7f", "\xff\xfe", "\u2028é😀", "\xed\xa0\x80", "\xc3", "\u009b2J", "a b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e := Entry{Method: []byte("GET"), Path: b, Host: b, UserAgent: b, Referer: b, Client: b, Pool: string(b)}
		line := e.AppendJSON(nil, AllFields())
		var back struct{ Path, Pool string }
		if err := json.Unmarshal(line, &back); err != nil || !utf8.Valid(line) {
			t.Fatalf("%q: %v", line, err)
		}
		var want strings.Builder
		for _, r := range string(b) { // every broken byte becomes one U+FFFD
			want.WriteRune(r)
		}
		if back.Path != want.String() || back.Pool != back.Path {
			t.Fatalf("%q became %q", b, back.Path)
		}
		for _, r := range string(line[:len(line)-1]) {
			if r < ' ' || 0x7f <= r && r < 0xa0 || r == '\u2028' || r == '\u2029' {
				t.Fatalf("control character in %q", line)
			}
		}
		if fields := bytes.Fields(e.AppendCombined(nil)); len(b) > 0 && string(fields[1]) != "-" {
			t.Fatalf("the client has more than one word in %q", fields)
		}
		for _, line := range [][]byte{line, e.AppendCombined(nil), append(Escape(append([]byte(nil), b...), 0), '\n')} {
			for i, c := range line {
				if (c < ' ' || c == 0x7f) && i < len(line)-1 {
					t.Fatalf("control byte in %q", line)
				}
			}
		}
	})
}

func TestAllocations(t *testing.T) {
	e, buf, fields := entry(), make([]byte, 0, 4096), AllFields()
	if n := testing.AllocsPerRun(100, func() { e.AppendJSON(buf, fields); e.AppendCombined(buf) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkJSON(b *testing.B) {
	e, buf, fields := entry(), make([]byte, 0, 4096), AllFields()
	e.Attempts = nil
	b.ReportAllocs()
	for b.Loop() {
		e.AppendJSON(buf, fields)
	}
}

func BenchmarkCombined(b *testing.B) {
	e, buf := entry(), make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		e.AppendCombined(buf)
	}
}
