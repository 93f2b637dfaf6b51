package healthcheck

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
)

const (
	maxHead   = 64 << 10  // bytes of a response head, interim responses included
	maxBody   = 256 << 10 // bytes of a response body that are looked at
	readerBuf = 4 << 10
)

// httpProbe makes a request on a new connection and judges the response.
type httpProbe struct {
	*connector
	head     []byte // the request up to the value of Host
	tail     []byte // and after it
	host     string // "" is the backend's address
	request  *http.Request
	status   []StatusRange
	expected string // the ranges as text
	body     []byte
	regex    *regexp.Regexp
}

func newHTTPProbe(o *Options) (*httpProbe, error) {
	h := &o.HTTP
	conn, err := newConnector(o, h.Host, "http/1.1")
	if err != nil {
		return nil, err
	}
	p := &httpProbe{
		connector: conn, host: h.Host, request: &http.Request{Method: h.Method},
		status: h.Status, body: []byte(h.Body),
	}
	if h.BodyRegex != "" {
		if p.regex, err = regexp.Compile(h.BodyRegex); err != nil {
			return nil, &OptionError{Option: "body_regex", Problem: err.Error()}
		}
	}
	p.head, p.tail = buildRequest(h)
	ranges := make([]string, len(h.Status))
	for i, r := range h.Status {
		ranges[i] = fmt.Sprintf("%d-%d", r.From, r.To)
		if r.From == r.To {
			ranges[i] = fmt.Sprint(r.From)
		}
	}
	p.expected = strings.Join(ranges, ", ")
	return p, nil
}

// buildRequest makes the bytes of the request before and after the value of Host.
func buildRequest(h *HTTP) (head, tail []byte) {
	head = fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: ", h.Method, h.Path)
	tail = append(tail, "\r\nConnection: close\r\n"...)
	agent, accept := false, false
	for _, f := range h.Headers {
		tail = fmt.Appendf(tail, "%s: %s\r\n", f.Name, f.Value)
		agent = agent || strings.EqualFold(f.Name, "User-Agent")
		accept = accept || strings.EqualFold(f.Name, "Accept")
	}
	if !agent {
		tail = append(tail, "User-Agent: steelyard-check\r\n"...)
	}
	if !accept {
		tail = append(tail, "Accept: */*\r\n"...)
	}
	switch h.Method {
	case "POST", "PUT", "PATCH": // These are expected to have a body (RFC 9110, section 8.6).
		tail = append(tail, "Content-Length: 0\r\n"...)
	}
	return head, append(tail, "\r\n"...)
}

// Run implements Probe.
func (p *httpProbe) Run(ctx context.Context, address string) (int, error) {
	return runLingering(ctx, p, address)
}

func (p *httpProbe) check(ctx context.Context, address string) (int, leaving, error) {
	at, err := locate(address, p.port)
	if err != nil {
		return 0, leaving{}, err
	}
	conn, release, err := p.connect(ctx, at)
	if err != nil {
		return 0, leaving{}, err
	}
	x := exchanges.Get().(*exchange)
	status, over, err := p.exchange(ctx, conn, at, x)
	x.free()
	release()
	if over && p.tls == nil { // TLS has a goodbye of its own.
		conn.Close()
		return status, leaving{}, err
	}
	return status, leaving{conn}, err
}

// exchange writes the request and judges the response. over says that nothing of
// the response is left on the connection.
func (p *httpProbe) exchange(ctx context.Context, conn net.Conn, at place, x *exchange) (status int, over bool, err error) {
	host := p.host
	if host == "" {
		host = at.authority()
	}
	x.bytes = append(append(append(x.bytes[:0], p.head...), host...), p.tail...)
	_, werr := conn.Write(x.bytes)
	// A server may answer and close before it has read all of the request, so
	// that what it says counts more than a failure to write.
	x.reset(conn)
	res, err := x.readHead(p.request)
	if err != nil {
		if werr != nil && x.got() == 0 {
			err = werr
		}
		return 0, true, x.headError(ctx, err, p)
	}
	if !p.allows(res.StatusCode) {
		return res.StatusCode, x.complete(res), fmt.Errorf("status %d, expected %s", res.StatusCode, p.expected)
	}
	if len(p.body) > 0 || p.regex != nil {
		over, err = p.checkBody(ctx, res.Body, x)
		return res.StatusCode, over, err
	}
	return res.StatusCode, x.complete(res), nil
}

func (p *httpProbe) allows(status int) bool {
	for _, r := range p.status {
		if r.From <= status && status <= r.To {
			return true
		}
	}
	return false
}

// checkBody reads the body until what is wanted has come. over says that it was
// read to its end.
func (p *httpProbe) checkBody(ctx context.Context, body io.Reader, x *exchange) (over bool, err error) {
	x.limit.N = 8 * maxBody // The head has its own bound; chunks have heads too.
	buf := x.bytes[:0]
	for len(buf) < maxBody {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, rerr := body.Read(buf[len(buf):min(cap(buf), maxBody)])
		from := max(0, len(buf)-len(p.body)+1)
		buf = buf[:len(buf)+n]
		x.bytes = buf
		if p.regex == nil && bytes.Contains(buf[from:], p.body) {
			return rerr == io.EOF, nil
		}
		if rerr == io.EOF {
			return true, p.judgeBody(buf, false)
		}
		if rerr != nil {
			return true, x.bodyError(ctx, rerr, p)
		}
	}
	return false, p.judgeBody(buf, true)
}

// judgeBody looks at all that was read of a body; cut says that there is more.
func (p *httpProbe) judgeBody(body []byte, cut bool) error {
	missing := ""
	switch {
	case p.regex != nil && p.regex.Match(body):
	case p.regex != nil:
		missing = "body does not match " + shortQuote(p.regex.String())
	case !bytes.Contains(body, p.body):
		missing = "body does not contain " + shortQuote(string(p.body))
	}
	switch {
	case missing == "":
		return nil
	case cut:
		return fmt.Errorf("%s within its first %d KiB, more is not read", missing, maxBody>>10)
	case len(body) == 0:
		return errors.New(missing + " (it is empty)")
	}
	return errors.New(missing + " (got " + excerpt(body) + ")")
}

// exchanges are the buffers of exchanges.
var exchanges = sync.Pool{New: func() any {
	x := &exchange{}
	x.reader = bufio.NewReaderSize(&x.limit, readerBuf)
	return x
}}

// exchange is what one request and its response need.
type exchange struct {
	limit  io.LimitedReader
	reader *bufio.Reader
	bytes  []byte // the request, then the body
}

func (x *exchange) reset(r io.Reader) {
	x.limit = io.LimitedReader{R: r, N: maxHead}
	x.reader.Reset(&x.limit)
}

// free gives the buffers back, except large ones.
func (x *exchange) free() {
	x.reset(nil)
	if cap(x.bytes) > 16<<10 {
		x.bytes = nil
	}
	exchanges.Put(x)
}

// got is how many bytes have come, of the head.
func (x *exchange) got() int64 { return maxHead - x.limit.N }

// readHead reads the head of the final response.
func (x *exchange) readHead(req *http.Request) (*http.Response, error) {
	for {
		if start, err := x.reader.Peek(5); err != nil || string(start) != "HTTP/" {
			if strings.HasPrefix("HTTP/", string(start)) {
				return nil, err // Nothing yet, or a part.
			}
			all, _ := x.reader.Peek(x.reader.Buffered())
			return nil, &notHTTP{all}
		}
		res, err := http.ReadResponse(x.reader, req)
		if err != nil {
			return nil, err
		}
		if res.StatusCode >= 200 || res.StatusCode == 101 {
			return res, nil
		}
	}
}

// complete reports whether the body of a response has come already, so that
// nothing that arrives later would be answered with a reset.
func (x *exchange) complete(res *http.Response) bool {
	return res.Body == http.NoBody || res.ContentLength >= 0 && res.ContentLength <= int64(x.reader.Buffered())
}

// notHTTP is a response that does not begin as one.
type notHTTP struct{ start []byte }

func (e *notHTTP) Error() string {
	if len(e.start) > 2 && e.start[0] == 0x15 && e.start[1] == 3 {
		return "the backend answers with TLS; set tls for this check"
	}
	if bytes.HasPrefix(e.start, []byte("\x00\x00")) && len(e.start) > 3 && e.start[3] == 4 {
		return "the backend answers with HTTP/2; this check speaks HTTP/1.1"
	}
	return "not an HTTP response: " + excerpt(e.start)
}

func (x *exchange) headError(ctx context.Context, err error, p *httpProbe) error {
	var not *notHTTP
	switch {
	case errors.As(err, &not):
		return errors.New(not.Error())
	case x.limit.N <= 0:
		return fmt.Errorf("response head is larger than %d KiB", maxHead>>10)
	case timedOut(ctx, err) || isEOF(err) || isSyscall(err):
		return readError(ctx, err, x.got() > 0, p.timeout)
	}
	return errors.New("not an HTTP response: " + clip(strings.TrimPrefix(err.Error(), "net/http: "), 150))
}

func (x *exchange) bodyError(ctx context.Context, err error, p *httpProbe) error {
	if x.limit.N <= 0 {
		return errors.New("response body: its chunks are too small to be read")
	}
	if timedOut(ctx, err) || isEOF(err) || isSyscall(err) {
		return readError(ctx, err, true, p.timeout)
	}
	return errors.New("response body: " + clip(err.Error(), 150))
}
