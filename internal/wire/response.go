package wire

import "bytes"

// Framing is how the end of a body is known (RFC 9112, section 6.3).
type Framing uint8

// The framings of a body.
const (
	FramingNone    Framing = iota // there is no body
	FramingLength                 // Content-Length
	FramingChunked                // chunked transfer coding
	FramingClose                  // ends with the connection
)

// Response is the head of a response. Its slices point into the bytes given to
// Parse and are valid as long as those are.
type Response struct {
	fields
	Status int
	// StatusText is the status code and reason as they were sent, "200 OK".
	StatusText []byte
	// Minor is the minor version of the sender, 0 or 1.
	Minor   int
	Framing Framing
	// Length is the length of the body with FramingLength.
	Length int64
	// KeepAlive says that the connection can be used again after the body.
	KeepAlive bool
	// KeepAliveSeconds is the timeout parameter of Keep-Alive, how long the
	// backend keeps an idle connection; 0 if it was not said. A backend that
	// says 0 means less than a second (Node.js rounds down): that is too short
	// to be relied on, and KeepAlive is false.
	KeepAliveSeconds int
}

// Informational reports a 1xx response, which another response follows, other
// than 101, which is the last.
func (r *Response) Informational() bool {
	return r.Status < 200 && r.Status != 101
}

// Parse reads a complete head as found by Reader.Head. toHead says that it
// answers a HEAD request, so that no body follows. Errors are of type *Error.
func (r *Response) Parse(head []byte, toHead bool) error {
	end := lineEnd(head, 0)
	if end < 0 {
		return badMessage("the status line does not end with CRLF")
	}
	if err := r.parseLine(head[:end-2]); err != nil {
		return err
	}
	if err := r.fields.parse(head, end); err != nil {
		return err
	}
	length, coding, err := r.framing()
	if err != nil {
		return err
	}
	r.KeepAlive = !r.connClose && (r.Minor == 1 || r.connKeepAlive)
	seconds, said := r.keepAliveTimeout()
	r.KeepAliveSeconds = seconds
	if said && seconds == 0 {
		r.KeepAlive = false
	}
	r.Length = 0
	// RFC 9112, section 6.3: chunked is the last coding or the body ends with
	// the connection. Codings below chunked cannot be passed on as if they were
	// content, so they are refused.
	if coding != nil && (!EqualFold(coding, chunkedCoding) || r.Minor == 0) {
		return badMessage("the transfer coding %q is not understood", coding[:min(len(coding), maxQuoted)])
	}
	switch {
	case toHead || r.Status < 200 || r.Status == 204 || r.Status == 304:
		r.Framing = FramingNone
	case coding != nil:
		r.Framing = FramingChunked
	case length >= 0:
		r.Framing, r.Length = FramingLength, length
	default:
		r.Framing, r.KeepAlive = FramingClose, false
	}
	return nil
}

func (r *Response) parseLine(line []byte) error {
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' ||
		line[7] < '0' || line[7] > '9' {
		return badMessage("the response does not begin with HTTP/1.0 or HTTP/1.1 and a status")
	}
	r.Minor = 1
	if line[7] == '0' {
		r.Minor = 0
	}
	n := 0
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return badMessage("the status is not a number of three digits")
		}
		n = n*10 + int(c-'0')
	}
	if n < 100 || n > 599 {
		return badMessage("the status %d is outside 100 to 599", n)
	}
	if len(line) > 12 && line[12] != ' ' || !IsValue(line[12:]) {
		return badMessage("the reason phrase is not valid")
	}
	r.Status, r.StatusText = n, line[9:]
	return nil
}

// keepAliveTimeout reads the timeout parameter of Keep-Alive: not a standard,
// but what Node.js and Apache send.
func (r *Response) keepAliveTimeout() (seconds int, said bool) {
	for item, rest := NextItem(r.First(KindKeepAlive)); item != nil; item, rest = NextItem(rest) {
		i := bytes.IndexByte(item, '=')
		if i < 0 || !EqualFold(TrimOWS(item[:i]), "timeout") {
			continue
		}
		digits := TrimOWS(item[i+1:])
		for _, c := range digits {
			if c < '0' || c > '9' || seconds > 1e6 {
				return 0, false
			}
			seconds = seconds*10 + int(c-'0')
		}
		return seconds, len(digits) > 0
	}
	return 0, false
}
