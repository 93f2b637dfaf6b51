package admin

import (
	"encoding/json"
	"math"
	"strconv"
	"sync"
	"time"
)

// Number is a figure, in JSON with at most three decimals; NaN is null and says
// that it is not known, as a latency of no requests.
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) { return appendNumber(nil, float64(n)), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	*n = Number(f)
	return err
}

// Live is what happened in the last second, and how everything is at its end. It
// is immutable. Rates are per second, shares from 0 to 1.
type Live struct {
	At    time.Time  `json:"at"`
	Total LiveTotal  `json:"total"`
	Pools []LivePool `json:"pools"`

	encode  sync.Once
	encoded []byte
}

// LiveTotal is all of the process. Its requests are those of all routes and those
// that no route took; its latency is that of the pools.
type LiveTotal struct {
	Rate        Number      `json:"rps"`
	ErrorShare  Number      `json:"error_share"` // responses of class 5xx
	P50         Number      `json:"p50_ms"`
	P95         Number      `json:"p95_ms"`
	P99         Number      `json:"p99_ms"`
	Connections int64       `json:"connections"` // of clients
	Causes      []LiveCause `json:"causes"`      // of the errors of this second
}

// LiveCause is how many errors per second one cause makes.
type LiveCause struct {
	Cause string `json:"cause"`
	Rate  Number `json:"rps"`
}

// LivePool is one pool.
type LivePool struct {
	Name           string        `json:"name"`
	Policy         string        `json:"policy"`
	Healthy        int           `json:"healthy"` // of those named now, slow starts included
	Total          int           `json:"total"`   // who is named now
	Rate           Number        `json:"rps"`
	ErrorShare     Number        `json:"error_share"`
	P50            Number        `json:"p50_ms"`
	P95            Number        `json:"p95_ms"`
	P99            Number        `json:"p99_ms"`
	Waiting        int           `json:"waiting"`
	FailOpen       bool          `json:"fail_open"`
	Why            string        `json:"why,omitempty"` // no backend is healthy
	Held           int           `json:"held"`          // members that the guard keeps
	SourcesFailing int           `json:"sources_failing"`
	Backends       []LiveBackend `json:"backends"`
}

// LiveBackend is one backend. Its share is that of the pool's attempts; the
// intended one follows from weights alone, whatever the policy.
type LiveBackend struct {
	Address    string `json:"address"`
	State      string `json:"state"`
	Reason     string `json:"reason,omitempty"`
	Usable     bool   `json:"usable"`
	Left       bool   `json:"left,omitempty"` // not named any more
	Weight     int    `json:"weight"`
	Percent    int    `json:"percent"` // of its weight
	Backup     bool   `json:"backup"`
	Rate       Number `json:"rps"`
	Share      Number `json:"share"`
	Intended   Number `json:"intended_share"`
	ErrorShare Number `json:"error_share"`
	FirstByte  Number `json:"first_byte_ms"` // the median
	InFlight   int64  `json:"in_flight"`
	Open       int64  `json:"open"` // connections
	Idle       int    `json:"idle"`
	Upgraded   int    `json:"upgraded"`
}

// JSON is the encoding of l, made once for all who want it. By hand, because
// 2,000 backends a second are too many for reflection.
func (l *Live) JSON() []byte {
	l.encode.Do(func() {
		size := 256
		for i := range l.Pools {
			size += 256 + 320*len(l.Pools[i].Backends)
		}
		l.encoded = l.append(make([]byte, 0, size))
	})
	return l.encoded
}

func (l *Live) append(to []byte) []byte {
	to = append(to, `{"at":`...)
	to = l.At.AppendFormat(to, `"`+time.RFC3339Nano+`"`)
	t := &l.Total
	to = appendField(to, `,"total":{"rps":`, t.Rate)
	to = appendField(to, `,"error_share":`, t.ErrorShare)
	to = appendLatency(to, t.P50, t.P95, t.P99)
	to = appendInt(to, `,"connections":`, t.Connections)
	to = append(to, `,"causes":[`...)
	for i, c := range t.Causes {
		to = appendComma(to, i)
		to = appendText(to, `{"cause":`, c.Cause)
		to = appendField(to, `,"rps":`, c.Rate)
		to = append(to, '}')
	}
	to = append(to, `]},"pools":[`...)
	for i := range l.Pools {
		to = l.Pools[i].append(appendComma(to, i))
	}
	return append(to, `]}`...)
}

func (p *LivePool) append(to []byte) []byte {
	to = appendText(to, `{"name":`, p.Name)
	to = appendText(to, `,"policy":`, p.Policy)
	to = appendInt(to, `,"healthy":`, int64(p.Healthy))
	to = appendInt(to, `,"total":`, int64(p.Total))
	to = appendField(to, `,"rps":`, p.Rate)
	to = appendField(to, `,"error_share":`, p.ErrorShare)
	to = appendLatency(to, p.P50, p.P95, p.P99)
	to = appendInt(to, `,"waiting":`, int64(p.Waiting))
	to = appendBool(to, `,"fail_open":`, p.FailOpen)
	if p.Why != "" {
		to = appendText(to, `,"why":`, p.Why)
	}
	to = appendInt(to, `,"held":`, int64(p.Held))
	to = appendInt(to, `,"sources_failing":`, int64(p.SourcesFailing))
	to = append(to, `,"backends":[`...)
	for i := range p.Backends {
		to = p.Backends[i].append(appendComma(to, i))
	}
	return append(to, `]}`...)
}

func (b *LiveBackend) append(to []byte) []byte {
	to = appendText(to, `{"address":`, b.Address)
	to = appendText(to, `,"state":`, b.State)
	if b.Reason != "" {
		to = appendText(to, `,"reason":`, b.Reason)
	}
	to = appendBool(to, `,"usable":`, b.Usable)
	if b.Left {
		to = append(to, `,"left":true`...)
	}
	to = appendInt(to, `,"weight":`, int64(b.Weight))
	to = appendInt(to, `,"percent":`, int64(b.Percent))
	to = appendBool(to, `,"backup":`, b.Backup)
	to = appendField(to, `,"rps":`, b.Rate)
	to = appendField(to, `,"share":`, b.Share)
	to = appendField(to, `,"intended_share":`, b.Intended)
	to = appendField(to, `,"error_share":`, b.ErrorShare)
	to = appendField(to, `,"first_byte_ms":`, b.FirstByte)
	to = appendInt(to, `,"in_flight":`, b.InFlight)
	to = appendInt(to, `,"open":`, b.Open)
	to = appendInt(to, `,"idle":`, int64(b.Idle))
	to = appendInt(to, `,"upgraded":`, int64(b.Upgraded))
	return append(to, '}')
}

func appendLatency(to []byte, p50, p95, p99 Number) []byte {
	to = appendField(to, `,"p50_ms":`, p50)
	to = appendField(to, `,"p95_ms":`, p95)
	return appendField(to, `,"p99_ms":`, p99)
}

func appendComma(to []byte, i int) []byte {
	if i > 0 {
		to = append(to, ',')
	}
	return to
}

func appendField(to []byte, name string, n Number) []byte {
	return appendNumber(append(to, name...), float64(n))
}

func appendInt(to []byte, name string, n int64) []byte {
	return strconv.AppendInt(append(to, name...), n, 10)
}

func appendBool(to []byte, name string, b bool) []byte {
	return strconv.AppendBool(append(to, name...), b)
}

// appendText appends a string, which may have been written by others.
func appendText(to []byte, name, text string) []byte {
	to = append(to, name...)
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(text) // a string is always marshalled
			return append(to, quoted...)
		}
	}
	to = append(append(to, '"'), text...)
	return append(to, '"')
}

func appendNumber(to []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(to, "null"...)
	}
	f = math.Round(f * 1000)
	whole, rest := math.Modf(f / 1000)
	if rest == 0 || math.Abs(whole) > 1e12 {
		return strconv.AppendFloat(to, whole, 'f', -1, 64)
	}
	return strconv.AppendFloat(to, f/1000, 'f', -1, 64)
}
