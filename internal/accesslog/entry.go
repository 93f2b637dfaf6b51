package accesslog

import (
	"strconv"
	"time"
)

// Entry is what is known of one request. Its bytes belong to the caller and are
// read only while a line is made of it.
type Entry struct {
	Time      time.Time // when the request's first byte was there
	RequestID []byte
	Client    []byte
	User      string // who the client has shown to be
	Listener  string
	Method    []byte // empty when there was no valid head
	Host      []byte
	Path      []byte
	Query     []byte
	Minor     int // of HTTP/1
	Status    int
	Route     string
	Pool      string
	Backend   string // of the last attempt
	Attempts  []Attempt
	Retries   int
	Cause     string // of an error that Steelyard made
	Affinity  string // none, bound, new
	BytesIn   int64  // of the request's body
	BytesOut  int64  // of the response's body
	Queue     time.Duration
	Connect   time.Duration
	FirstByte time.Duration
	Total     time.Duration
	UserAgent []byte
	Referer   []byte
	// Of TLS; empty without.
	TLSVersion, TLSSNI string
	TLSClient          string // subject of the certificate it has shown
}

// Attempt is one that failed.
type Attempt struct {
	Backend, Reason, Class string
	Took                   time.Duration
}

// Field is one value of a line.
type Field uint8

// The fields, in the order of a JSON line.
const (
	FieldTime Field = iota
	FieldRequestID
	FieldClient
	FieldUser
	FieldListener
	FieldMethod
	FieldHost
	FieldPath
	FieldQuery
	FieldProtocol
	FieldStatus
	FieldRoute
	FieldPool
	FieldBackend
	FieldAttempts
	FieldRetries
	FieldCause
	FieldAffinity
	FieldBytesIn
	FieldBytesOut
	FieldQueue
	FieldConnect
	FieldFirstByte
	FieldTotal
	FieldUserAgent
	FieldReferer
	FieldTLSVersion
	FieldTLSSNI
	FieldTLSClientSubject
	fieldCount
)

var fieldNames = [fieldCount]string{
	"time", "request_id", "client", "user", "listener", "method", "host", "path", "query", "protocol", "status", "route", "pool", "backend",
	"attempts", "retries", "cause", "affinity", "bytes_in", "bytes_out", "queue_ms", "connect_ms", "first_byte_ms", "total_ms", "user_agent", "referer",
	"tls_version", "tls_sni", "tls_client_subject",
}

// String is the field's name in JSON lines, in templates and in the configuration.
func (f Field) String() string { return fieldNames[f] }

// Names lists the names of all fields, in the order of a JSON line.
func Names() []string { return fieldNames[:] }

// AllFields lists all fields.
func AllFields() []Field {
	all := make([]Field, fieldCount)
	for i := range all {
		all[i] = Field(i)
	}
	return all
}

// ParseFields finds fields by name; ok is false if one is unknown.
func ParseFields(names []string) (fields []Field, ok bool) {
	for _, name := range names {
		f := Field(0)
		for f < fieldCount && fieldNames[f] != name {
			f++
		}
		if f == fieldCount {
			return nil, false
		}
		fields = append(fields, f)
	}
	return fields, true
}

// text is the value of a field that is text; ok is false for others.
func (e *Entry) text(f Field) (b []byte, s string, ok bool) {
	switch f {
	case FieldRequestID:
		b = e.RequestID
	case FieldClient:
		b = e.Client
	case FieldUser:
		s = e.User
	case FieldListener:
		s = e.Listener
	case FieldMethod:
		b = e.Method
	case FieldHost:
		b = e.Host
	case FieldPath:
		b = e.Path
	case FieldQuery:
		b = e.Query
	case FieldProtocol:
		s = e.protocol()
	case FieldRoute:
		s = e.Route
	case FieldPool:
		s = e.Pool
	case FieldBackend:
		s = e.Backend
	case FieldCause:
		s = e.Cause
	case FieldAffinity:
		s = e.Affinity
	case FieldUserAgent:
		b = e.UserAgent
	case FieldReferer:
		b = e.Referer
	case FieldTLSVersion:
		s = e.TLSVersion
	case FieldTLSSNI:
		s = e.TLSSNI
	case FieldTLSClientSubject:
		s = e.TLSClient
	default:
		return nil, "", false
	}
	return b, s, true
}

// protocol is empty when there was no valid head.
func (e *Entry) protocol() string {
	switch {
	case len(e.Method) == 0:
		return ""
	case e.Minor == 0:
		return "HTTP/1.0"
	}
	return "HTTP/1.1"
}

// appendNumber appends the value of a field that is a number.
func (e *Entry) appendNumber(dst []byte, f Field) []byte {
	switch f {
	case FieldStatus:
		return strconv.AppendInt(dst, int64(e.Status), 10)
	case FieldRetries:
		return strconv.AppendInt(dst, int64(e.Retries), 10)
	case FieldBytesIn:
		return strconv.AppendInt(dst, e.BytesIn, 10)
	case FieldBytesOut:
		return strconv.AppendInt(dst, e.BytesOut, 10)
	case FieldQueue:
		return appendMillis(dst, e.Queue)
	case FieldConnect:
		return appendMillis(dst, e.Connect)
	case FieldFirstByte:
		return appendMillis(dst, e.FirstByte)
	}
	return appendMillis(dst, e.Total)
}

// appendMillis appends d in milliseconds with three digits behind the point.
func appendMillis(dst []byte, d time.Duration) []byte {
	us := max(d, 0).Microseconds()
	dst = strconv.AppendInt(dst, us/1000, 10)
	us %= 1000
	return append(dst, '.', byte('0'+us/100), byte('0'+us/10%10), byte('0'+us%10))
}

// timeLayout is RFC 3339 with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

func (e *Entry) appendTime(dst []byte) []byte { return e.Time.UTC().AppendFormat(dst, timeLayout) }
