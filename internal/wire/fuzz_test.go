package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
)

// theirBody reads a body with net/http.
func theirBody(r io.ReadCloser) (string, error) {
	b, err := io.ReadAll(r)
	_ = r.Close()
	return string(b), err
}

// corpus reads testdata/NAME.txt, which has a quoted text a line: the messages of
// test/wire, which keeps it as they are.
func corpus(f *testing.F, name string) (all []string) {
	text, err := os.ReadFile("testdata/" + name + ".txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		s, err := strconv.Unquote(strings.TrimSpace(line))
		if err != nil {
			f.Fatalf("%s: %v", line, err)
		}
		all = append(all, s)
	}
	return all
}

// FuzzRequest compares what is accepted with net/http's reading: method, target,
// host, fields, framing and body must agree; what is read differently is a
// smuggled request. What only we accept must be in onlyOurs, with a reason.
func FuzzRequest(f *testing.F) {
	for _, s := range corpus(f, "requests") {
		if len(s) < 2000 {
			f.Add([]byte(s), uint16(len(s)/2))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		rd := newReader(bytes.NewReader(data))
		head, err := rd.RequestHead(64 << 10)
		var ours Request
		if err == nil {
			err = ours.Parse(head)
		}
		sameInTwoParts(t, data, int(cut), err)
		if err != nil {
			return
		}
		checkFields(t, &ours.fields, head)
		theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\r\n")))))
		if err != nil {
			mustBeListed(t, onlyOurs, err, data)
			return
		}
		agree(t, "method", string(ours.Method), theirs.Method)
		agree(t, "target", string(ours.Target), theirs.RequestURI)
		if !strings.Contains(string(ours.Host), "%") { // net/http decodes the host of a URL
			agree(t, "host", string(ours.Host), theirs.Host)
		}
		agree(t, "length", fmt.Sprint(ours.Length), fmt.Sprint(theirs.ContentLength))
		agree(t, "close", fmt.Sprint(!ours.KeepAlive), fmt.Sprint(theirs.Close))
		sameFields(t, &ours.fields, theirs.Header)
		framing := FramingLength
		if ours.Chunked() {
			framing = FramingChunked
		}
		compareBody(t, rd, framing, ours.Length, theirs.Body)
	})
}

// sameInTwoParts: a head that comes in two parts is accepted, or refused with the
// same status, as it is in one.
func sameInTwoParts(t *testing.T, data []byte, cut int, whole error) {
	cut = min(cut, len(data))
	if cut == 0 || cut == len(data) {
		return
	}
	rd := newReader(&pieces{data[:cut:cut], data[cut:]})
	head, err := rd.RequestHead(64 << 10)
	var r Request
	if err == nil {
		err = r.Parse(head)
	}
	if (err == nil) != (whole == nil) || statusOf(err) != statusOf(whole) {
		t.Errorf("cut at %d: %v; whole: %v", cut, err, whole)
	}
}

// listed is an error of another parser for what ours accepts, and why that is no
// harm.
type listed struct{ theirs, why string }

// onlyOurs are the requests that net/http does not read and we do.
var onlyOurs = []listed{
	{"invalid URL escape", "in a path it is for router.Paths to refuse; in a host RFC 3986, section 3.2.2 allows what they do not"},
}

func mustBeListed(t *testing.T, list []listed, theirs error, data []byte) {
	t.Helper()
	for _, l := range list {
		if strings.Contains(theirs.Error(), l.theirs) {
			return
		}
	}
	t.Errorf("only we accept %q; they say: %v", data, theirs)
}

// sameFields: both have the same values under each name. net/http takes Host out
// of its header, and the fields that frame the message.
func sameFields(t *testing.T, ours *fields, theirs http.Header) {
	t.Helper()
	values := http.Header{}
	for i, f := range ours.Fields() {
		switch f.Kind {
		case KindHost, KindTransferEncoding, KindTrailer, KindContentLength, KindConnection, KindCacheControl:
		default:
			name := textproto.CanonicalMIMEHeaderKey(string(ours.Name(i)))
			values[name] = append(values[name], string(ours.Value(i)))
		}
	}
	for _, name := range []string{"Host", "Transfer-Encoding", "Trailer", "Content-Length", "Connection", "Cache-Control"} {
		theirs.Del(name)
	}
	if fmt.Sprint(values) != fmt.Sprint(theirs) {
		t.Errorf("fields: we read %q, net/http %q", values, theirs)
	}
}

// onlyOursOfBodies are the bodies that net/http does not read and we do.
var onlyOursOfBodies = []listed{
	{"invalid byte in chunk length", "white space before an extension must be read (RFC 9112, section 7.1.1); extensions are dropped"},
	{"too much non-data", "both bound what extensions cost, we by their length and not by their number"},
}

// compareBody reads a body on both sides.
func compareBody(t *testing.T, rd *Reader, f Framing, length int64, theirs io.ReadCloser) {
	var b Body
	b.Init(rd, f, length)
	content, err := readBody(&b)
	if err != nil {
		return
	}
	their, err := theirBody(theirs)
	if err != nil {
		mustBeListed(t, onlyOursOfBodies, err, content)
		return
	}
	agree(t, "body", string(content), their)
}

func agree(t *testing.T, what, ours, theirs string) {
	t.Helper()
	if ours != theirs {
		t.Errorf("%s: we read %q, net/http %q", what, ours, theirs)
	}
}

// checkFields: the lines are the head, in order and without gaps, and hold
// nothing that another parser could take for the end of a line.
func checkFields(t *testing.T, f *fields, head []byte) {
	var joined []byte
	for i := range f.Fields() {
		joined = append(joined, f.Line(i)...)
		if !IsToken(f.Name(i)) || !IsValue(f.Value(i)) {
			t.Errorf("line %q is accepted", f.Line(i))
		}
	}
	first := bytes.IndexByte(head, '\n') + 1
	if want := head[first : len(head)-2]; !bytes.Equal(joined, want) {
		t.Errorf("the fields are %q, want %q", joined, want)
	}
}

// FuzzResponse is FuzzRequest for responses to GET and HEAD.
func FuzzResponse(f *testing.F) {
	for _, s := range corpus(f, "responses") {
		if len(s) < 2000 {
			f.Add([]byte(s), false)
			f.Add([]byte(s), true)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, toHead bool) {
		rd := newReader(bytes.NewReader(data))
		head, err := rd.Head(64 << 10)
		if err != nil {
			return
		}
		var ours Response
		if ours.Parse(head, toHead) != nil {
			return
		}
		checkFields(t, &ours.fields, head)
		req := &http.Request{Method: "GET"}
		if toHead {
			req.Method = "HEAD"
		}
		theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), req)
		if err != nil {
			t.Errorf("only we accept %q; they say: %v", data, err)
			return
		}
		agree(t, "status", fmt.Sprint(ours.Status), fmt.Sprint(theirs.StatusCode))
		if ours.Framing != FramingNone || toHead {
			compareBody(t, rd, ours.Framing, ours.Length, theirs.Body)
		}
	})
}

// FuzzChunked compares with net/http's reader, and with itself when the input
// comes in two parts.
func FuzzChunked(f *testing.F) {
	for _, name := range []string{"requests", "responses"} {
		for _, s := range corpus(f, name) {
			if head, body, _ := strings.Cut(s, "\r\n\r\n"); strings.Contains(head, "chunked") && len(body) < 2000 {
				f.Add([]byte(body), uint16(3))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		b, rd := newBody(bytes.NewReader(data), FramingChunked, -1)
		content, err := readBody(b)
		at := min(int(cut), len(data))
		two, _ := newBody(&pieces{data[:at:at], nil, data[at:]}, FramingChunked, -1)
		if at == 0 || at == len(data) {
			two, _ = newBody(bytes.NewReader(data), FramingChunked, -1)
		}
		again, err2 := readBody(two)
		if fmt.Sprint(err) != fmt.Sprint(err2) || err == nil && !bytes.Equal(content, again) || !bytes.Equal(b.Trailers(), two.Trailers()) {
			t.Fatalf("in one piece %q, %v; cut at %d %q, %v", content, err, at, again, err2)
		}
		if err != nil {
			return
		}
		their, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(data)))
		if err == nil {
			agree(t, "content", string(content), string(their))
		} else {
			mustBeListed(t, onlyOursOfBodies, err, data)
		}
		wire := AppendLastChunk(AppendChunk(nil, append(content, 'x')), b.Trailers())
		back, _ := newBody(bytes.NewReader(append(wire, rd.Bytes()...)), FramingChunked, -1)
		if got, err := readBody(back); err != nil || string(got) != string(content)+"x" || !bytes.Equal(back.Trailers(), b.Trailers()) {
			t.Errorf("written and read again: %q, %v", got, err)
		}
	})
}

// FuzzHeader puts arbitrary octets where the field lines of a request stand and
// compares with net/textproto: names, values and their order within a name. What
// frames the message is written as every parser reads it.
func FuzzHeader(f *testing.F) {
	for _, s := range corpus(f, "requests") {
		if _, fields, found := strings.Cut(s, "\r\n"); found && len(s) < 2000 {
			fields, _, _ = strings.Cut(fields, "\r\n\r\n")
			f.Add([]byte(fields))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		block := append(bytes.Clone(data), "\r\n\r\n"...)
		if bytes.Index(block, []byte("\r\n\r\n"))+4 != len(block) || bytes.HasPrefix(block, []byte("\r\n")) {
			return // more than one head
		}
		var ours Request
		if ours.Parse(append([]byte("GET / HTTP/1.1\r\n"), block...)) != nil {
			return
		}
		theirs, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(block))).ReadMIMEHeader()
		if err != nil {
			t.Fatalf("only we accept %q; they say: %v", block, err)
		}
		values := textproto.MIMEHeader{}
		for i := range ours.Fields() {
			name := textproto.CanonicalMIMEHeaderKey(string(ours.Name(i)))
			values[name] = append(values[name], string(ours.Value(i)))
		}
		if fmt.Sprint(values) != fmt.Sprint(theirs) {
			t.Errorf("we read %q, net/textproto %q", values, theirs)
		}
		checkFraming(t, &ours)
	})
}

// checkFraming: no field that frames the message is passed on in an odd spelling,
// or under a name that another program takes for it.
func checkFraming(t *testing.T, r *Request) {
	for i, f := range r.Fields() {
		line := string(r.Line(i))
		if f.Odd {
			line = string(r.AppendFraming(nil, i))
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\r\n"), ":")
		switch strings.ReplaceAll(strings.ToLower(name), "_", "-") {
		case "content-length":
			if n, err := strconv.ParseUint(strings.TrimPrefix(value, " "), 10, 63); !f.Hop && (err != nil || value != fmt.Sprintf(" %d", n) || int64(n) != r.Length) {
				t.Errorf("%q is passed on with a body of %d", line, r.Length)
			}
		case "transfer-encoding":
			if !f.Hop && (value != " chunked" || !r.Chunked()) {
				t.Errorf("%q is passed on with a body of %d", line, r.Length)
			}
		case "connection", "te", "upgrade", "keep-alive", "proxy-connection", "proxy-authorization", "http2-settings":
			if !f.Hop {
				t.Errorf("%q is passed on", line)
			}
		}
	}
}

// FuzzTarget compares the reading of targets with net/url's, and holds that what
// is passed on is read as what came.
func FuzzTarget(f *testing.F) {
	for _, s := range corpus(f, "requests") {
		line, _, _ := strings.Cut(s, "\r\n")
		if words := strings.Split(line, " "); len(words) == 3 && len(s) < 2000 {
			f.Add([]byte(words[1]), words[0] == "OPTIONS")
		}
	}
	f.Fuzz(func(t *testing.T, target []byte, options bool) {
		method := "GET"
		if options {
			method = "OPTIONS"
		}
		r, err := parseRequest(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: field.test\r\n\r\n", method, target))
		if err != nil {
			return
		}
		if !bytes.Equal(r.Target, target) {
			t.Fatalf("%q is read as the target %q", target, r.Target)
		}
		again := fmt.Sprintf("%s %s", method, r.Path)
		if r.HasQuery {
			again += "?" + string(r.Query)
		}
		twice, err := parseRequest(again + " HTTP/1.1\r\nHost: " + string(r.Host) + "\r\n\r\n")
		if err != nil || string(twice.Path) != string(r.Path) || string(twice.Query) != string(r.Query) || string(twice.Host) != string(r.Host) || twice.Absolute {
			t.Fatalf("%q is passed on as %q to %q, which is read as %q ? %q at %q, %v", target, again, r.Host, twice.Path, twice.Query, twice.Host, err)
		}
		u, err := url.ParseRequestURI(string(target))
		if err != nil {
			mustBeListed(t, onlyOurs, err, target)
			return
		}
		if r.Absolute && !strings.Contains(string(r.Host), "%") {
			agree(t, "host", string(r.Host), u.Host)
		}
		if r.Path[0] == '/' && u.EscapedPath() != "" {
			agree(t, "path", string(r.Path), rawPath(u))
		}
		agree(t, "query", string(r.Query), u.RawQuery)
		if u.User != nil || u.Fragment != "" {
			t.Errorf("%q has the user %v and the fragment %q", target, u.User, u.Fragment)
		}
	})
}

// rawPath is the path as it stood in the text.
func rawPath(u *url.URL) string {
	if u.RawPath != "" {
		return u.RawPath
	}
	return u.EscapedPath()
}
