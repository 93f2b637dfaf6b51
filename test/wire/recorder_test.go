package wire_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"steelyard/test/harness"
)

// request is one that a backend saw.
type request struct {
	method, target string
	host           string
	body           int    // length of its content
	raw            string // head and body as they came; a chunked body in one chunk
}

// recorder is a backend that keeps the octets of every request. It reads with a
// parser of its own, which understands only what Steelyard may send.
type recorder struct {
	mu      sync.Mutex
	seen    []request
	strange []string // what is no request that Steelyard may send
}

// newRecorder starts one, and answers each request with its target.
func newRecorder(t testing.TB) (rec *recorder, address string) {
	rec = &recorder{}
	address = harness.Backend(t, func(c *harness.Conn) {
		for {
			r, err := readRequest(c.R)
			if err != nil {
				rec.note(err)
				return
			}
			rec.mu.Lock()
			rec.seen = append(rec.seen, r)
			rec.mu.Unlock()
			body := r.method + " " + r.target
			answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Method: %s\r\n\r\n", len(body), r.method)
			if r.method != "HEAD" {
				answer += body
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	})
	return rec, address
}

// note keeps what is wrong with a message; one that is not complete is no request,
// and what Steelyard does to one that the client breaks.
func (rec *recorder) note(err error) {
	if _, wrong := err.(notSendable); wrong {
		rec.mu.Lock()
		rec.strange = append(rec.strange, err.Error())
		rec.mu.Unlock()
	}
}

// take returns what has been seen, and forgets it.
func (rec *recorder) take(t testing.TB) []request {
	t.Helper()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for _, s := range rec.strange {
		t.Errorf("the backend got what Steelyard must not send: %s", s)
	}
	seen := rec.seen
	rec.seen, rec.strange = nil, nil
	return seen
}

// notSendable is an error about a message that Steelyard must never send.
type notSendable string

func (e notSendable) Error() string { return string(e) }

func notAllowed(format string, args ...any) error { return notSendable(fmt.Sprintf(format, args...)) }

var (
	tokenOnly   = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	requestLine = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[!-~]*|\\*) HTTP/1\\.1$")
	chunkLine   = regexp.MustCompile("^(0|[1-9a-f][0-9a-f]*)$")
	// added is what Steelyard says of the client.
	added = regexp.MustCompile(`X-Forwarded-For: 127\.0\.0\.1\r\nX-Forwarded-Proto: https?\r\n(?:X-Forwarded-Host: ([^\r]*)\r\n)?X-Request-Id: [0-9a-f]{32}\r\n`)
)

// readRequest reads one request, strictly.
func readRequest(r *bufio.Reader) (q request, err error) {
	var head strings.Builder
	first, err := readLine(r, &head)
	if err != nil {
		return q, err
	}
	m := requestLine.FindStringSubmatch(first)
	if m == nil {
		return q, notAllowed("the request line %q", first)
	}
	q.method, q.target = m[1], m[2]
	length, chunked, hosts := -1, false, 0
	for {
		line, err := readLine(r, &head)
		if err != nil {
			return q, err
		}
		if line == "" {
			break
		}
		name, value, ok := field(line)
		if !ok {
			return q, notAllowed("the field line %q", line)
		}
		switch strings.ReplaceAll(strings.ToLower(name), "_", "-") {
		case "content-length":
			if length >= 0 || chunked || !regexp.MustCompile(`^ (0|[1-9][0-9]*)$`).MatchString(value) {
				return q, notAllowed("the framing of %q", head.String())
			}
			length, _ = strconv.Atoi(value[1:]) // as matched
		case "transfer-encoding":
			if length >= 0 || chunked || value != " chunked" {
				return q, notAllowed("the framing of %q", head.String())
			}
			chunked = true
		case "host":
			hosts++
			q.host = strings.Trim(value, " \t")
		case "te", "keep-alive", "proxy-connection", "http2-settings", "proxy-authorization":
			return q, notAllowed("the line %q", line)
		}
	}
	if hosts != 1 {
		return q, notAllowed("%d Hosts in %q", hosts, head.String())
	}
	q.raw = head.String()
	return q, q.readBody(r, length, chunked)
}

// field takes a field line apart.
func field(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, ":")
	for _, c := range []byte(value) {
		ok = ok && (c >= ' ' || c == '\t') && c != 0x7f
	}
	return name, value, ok && tokenOnly.MatchString(name)
}

// readBody reads the body behind a head; a chunked one is kept as if it had come
// in one chunk, because in how many depends on how it came.
func (q *request) readBody(r *bufio.Reader, length int, chunked bool) error {
	if !chunked {
		content := make([]byte, max(length, 0))
		_, err := io.ReadFull(r, content)
		q.body, q.raw = len(content), q.raw+string(content)
		return err
	}
	var content bytes.Buffer
	for {
		var chunk strings.Builder
		line, err := readLine(r, &chunk)
		if err != nil {
			return err
		}
		if !chunkLine.MatchString(line) {
			return notAllowed("the chunk size %q", line)
		}
		n, err := strconv.ParseInt(line, 16, 32)
		if err != nil {
			return notAllowed("the chunk size %q", line)
		}
		if n == 0 {
			break
		}
		if _, err := io.CopyN(&content, r, n); err != nil {
			return err
		}
		if end, err := readLine(r, &chunk); err != nil || end != "" {
			return firstOf(err, notAllowed("%q behind a chunk", end))
		}
	}
	q.body = content.Len()
	if content.Len() > 0 {
		q.raw += fmt.Sprintf("%x\r\n%s\r\n", content.Len(), content.String())
	}
	q.raw += "0\r\n"
	var trailers strings.Builder
	for {
		line, err := readLine(r, &trailers)
		if err != nil {
			return err
		}
		if line == "" {
			q.raw += trailers.String()
			return nil
		}
		if _, _, ok := field(line); !ok {
			return notAllowed("the trailer %q", line)
		}
	}
}

func firstOf(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// readLine reads a line that ends with CRLF and has no other CR or LF, and appends
// it to all.
func readLine(r *bufio.Reader, all *strings.Builder) (string, error) {
	line, err := r.ReadString('\n')
	all.WriteString(line)
	if err != nil {
		return line, err // a message that is not complete
	}
	text, found := strings.CutSuffix(line, "\r\n")
	if !found || strings.ContainsAny(text, "\r\x00") {
		return line, notAllowed("the line %q", line)
	}
	return text, nil
}

// template is the request with what Steelyard adds as <+>, after it was compared
// with what it must be.
func (q *request) template() string {
	m := added.FindStringSubmatchIndex(q.raw)
	if m == nil {
		return q.raw
	}
	host := ""
	if m[2] >= 0 {
		host = q.raw[m[2]:m[3]]
	}
	if host != q.host {
		return q.raw
	}
	return q.raw[:m[0]] + "<+>" + q.raw[m[1]:]
}
