package healthcheck

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	grpcPath = "/grpc.health.v1.Health/Check"
	// maxMessage bounds a HealthCheckResponse, which has two bytes.
	maxMessage = 4 << 10
	// maxGRPCHead bounds the headers of a response.
	maxGRPCHead = 64 << 10
)

// grpcProbe calls grpc.health.v1.Health/Check on a new HTTP/2 connection.
type grpcProbe struct {
	*connector
	message []byte // the framed request
	service string
}

func newGRPCProbe(o *Options) (*grpcProbe, error) {
	conn, err := newConnector(o, "", "h2")
	if err != nil {
		return nil, err
	}
	p := &grpcProbe{connector: conn, service: o.GRPC.Service}
	var body []byte
	if p.service != "" { // HealthCheckRequest.service is field 1.
		body = protowire.AppendTag(body, 1, protowire.BytesType)
		body = protowire.AppendString(body, p.service)
	}
	p.message = binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))
	p.message = append(p.message, body...)
	return p, nil
}

// Run implements Probe. status is that of the call, 0 for OK.
func (p *grpcProbe) Run(ctx context.Context, address string) (int, error) {
	at, err := locate(address, p.port)
	if err != nil {
		return 0, err
	}
	conn, release, err := p.connect(ctx, at)
	if err != nil {
		return 0, err
	}
	defer release()
	defer conn.Close()
	// The connection is made here, with TLS if need be, so that its errors are
	// those of the other probes; the transport is only the codec.
	heard := &sniffer{Conn: conn}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	once := &http.Transport{
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return heard, nil },
		Protocols:              &protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxGRPCHead,
	}
	client, err := once.NewClientConn(ctx, "http", "backend:0")
	if err != nil {
		return 0, p.callError(ctx, err, heard)
	}
	defer client.Close()
	res, err := client.RoundTrip(p.request(ctx, at))
	if err != nil {
		return 0, p.callError(ctx, err, heard)
	}
	defer res.Body.Close()
	// Trailers come only once the body has been read to its end.
	body, err := io.ReadAll(io.LimitReader(res.Body, maxMessage+1))
	if err != nil {
		return 0, p.callError(ctx, err, heard)
	}
	return judgeCall(res, body, p.service)
}

// sniffer is a connection that keeps the first bytes that have come: the errors
// of the transport depend on whether it was reading or writing when the
// connection ended, and do not say what the backend speaks. Its owner closes the
// connection under it, the transport cannot.
type sniffer struct {
	net.Conn
	mu    sync.Mutex // held while reading
	first []byte
}

func (s *sniffer) Close() error { return nil }

func (s *sniffer) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.Conn.Read(p)
	const most = 64
	s.first = append(s.first, p[:min(n, most-len(s.first))]...)
	return n, err
}

// start returns the first bytes, after a last look whether there are any. The
// transport must have failed.
func (s *sniffer) start() []byte {
	s.SetReadDeadline(time.Now().Add(lingerTime))
	s.mu.Lock()
	first := s.first
	s.mu.Unlock()
	if len(first) == 0 {
		s.Read(make([]byte, 64))
		s.mu.Lock()
		first = s.first
		s.mu.Unlock()
	}
	return first
}

func (p *grpcProbe) request(ctx context.Context, at place) *http.Request {
	scheme := "http"
	if p.tls != nil {
		scheme = "https"
	}
	host := at.authority()
	if p.tls != nil && p.tls.ServerName != "" {
		host = p.tls.ServerName
	}
	req := &http.Request{
		Method: http.MethodPost,
		URL:    &url.URL{Scheme: scheme, Host: host, Path: grpcPath},
		Host:   host,
		Header: http.Header{
			"Content-Type": {"application/grpc"},
			"Te":           {"trailers"},
			"User-Agent":   {"steelyard-check"},
		},
		Body:          io.NopCloser(bytes.NewReader(p.message)),
		ContentLength: int64(len(p.message)),
	}
	return req.WithContext(ctx)
}

// callError says why a call has not ended.
func (p *grpcProbe) callError(ctx context.Context, err error, heard *sniffer) error {
	if timedOut(ctx, err) {
		return silence("no response within " + p.timeout.String())
	}
	first := heard.start()
	switch {
	case len(first) == 0:
		return errors.New("connection closed before a response; does the backend speak gRPC" + withTLS(p.tls != nil) + "?")
	case bytes.HasPrefix(first, []byte("HTTP/1")):
		return errors.New("the backend speaks HTTP/1.1, not gRPC, on this port")
	case len(first) > 2 && first[0] == 0x15 && first[1] == 3:
		return errors.New("the backend answers with TLS; set tls for this check")
	case len(first) < 4 || first[0] != 0 || first[3] != 4: // The first frame is SETTINGS (RFC 9113, section 3.4).
		return errors.New("the backend does not speak HTTP/2, which gRPC needs: got " + excerpt(first))
	}
	return errors.New("HTTP/2: " + strings.TrimPrefix(cause(err), "http2: "))
}

func withTLS(with bool) string {
	if with {
		return " with TLS"
	}
	return " without TLS"
}

// judgeCall decides on a response that has been read to its end, or to one byte
// past maxMessage.
func judgeCall(res *http.Response, body []byte, service string) (int, error) {
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("HTTP status %d instead of a gRPC response; does the backend serve gRPC on this port?", res.StatusCode)
	}
	if kind := res.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/grpc") {
		return 0, fmt.Errorf("content type %s instead of application/grpc; does the backend serve gRPC on this port?", shortQuote(kind))
	}
	if len(body) > maxMessage {
		return 0, fmt.Errorf("response is larger than %d bytes", maxMessage)
	}
	code, err := callStatus(res.Header, res.Trailer)
	if err != nil {
		return 0, err
	}
	if code != 0 {
		return code, statusError(code, res, service)
	}
	serving, err := parseHealth(body)
	if err != nil {
		return code, fmt.Errorf("response of the health service: %w", err)
	}
	if serving != 1 {
		return code, errors.New(servingText(serving) + ", expected SERVING")
	}
	return code, nil
}

// callStatus reads grpc-status from the trailers, or from the headers of a
// response that has nothing else.
func callStatus(header, trailer http.Header) (int, error) {
	text := trailer.Get("Grpc-Status")
	if text == "" {
		text = header.Get("Grpc-Status")
	}
	if text == "" {
		return 0, errors.New("response without grpc-status")
	}
	code, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, errors.New("response with grpc-status " + shortQuote(text) + ", which is not a number")
	}
	return int(code), nil
}

// statusError explains a call that has failed.
func statusError(code int, res *http.Response, service string) error {
	text := codeText(code)
	message := res.Trailer.Get("Grpc-Message")
	if message == "" {
		message = res.Header.Get("Grpc-Message")
	}
	if decoded, err := url.PathUnescape(message); err == nil { // gRPC percent-encodes it.
		message = decoded
	}
	if message != "" {
		text += ": " + clip(message, 100)
	}
	switch code {
	case 12:
		text += "; does the server register the health service?"
	case 5:
		text += "; does the server set a status for service " + shortQuote(service) + "?"
	}
	return errors.New(text)
}

var codeNames = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
	"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

func codeText(code int) string {
	if code < len(codeNames) {
		return codeNames[code]
	}
	return "gRPC status " + strconv.Itoa(code)
}

func servingText(serving uint64) string {
	names := [...]string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}
	if serving < uint64(len(names)) {
		return names[serving]
	}
	return fmt.Sprintf("serving status %d", serving)
}

// parseHealth reads one framed HealthCheckResponse and returns its status.
func parseHealth(b []byte) (serving uint64, err error) {
	if len(b) < 5 {
		return 0, fmt.Errorf("%d bytes instead of a message", len(b))
	}
	if b[0] != 0 {
		return 0, errors.New("it is compressed, which was not asked for")
	}
	size := binary.BigEndian.Uint32(b[1:5])
	b = b[5:]
	if uint64(size) != uint64(len(b)) {
		return 0, fmt.Errorf("message of %d bytes announced, %d came", size, len(b))
	}
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, errors.New("it is malformed")
		}
		b = b[n:]
		if field == 1 && kind == protowire.VarintType { // HealthCheckResponse.status
			serving, n = protowire.ConsumeVarint(b)
		} else {
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return 0, errors.New("it is malformed")
		}
		b = b[n:]
	}
	return serving, nil
}
