package accesslog

import "unicode/utf8"

// AppendJSON appends a line that is one JSON object with these fields. Text that
// is empty is left out, and so are attempts when none failed. Whatever bytes a
// client has sent, the line is valid JSON.
func (e *Entry) AppendJSON(dst []byte, fields []Field) []byte {
	dst = append(dst, '{')
	for _, f := range fields {
		b, s, isText := e.text(f)
		if isText && len(b) == 0 && s == "" || f == FieldAttempts && len(e.Attempts) == 0 {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(dst, fieldNames[f]...)
		dst = append(dst, '"', ':')
		switch {
		case isText && b != nil:
			dst = appendJSONText(dst, b)
		case isText:
			dst = appendJSONText(dst, s)
		case f == FieldTime:
			dst = append(dst, '"')
			dst = append(e.appendTime(dst), '"')
		case f == FieldAttempts:
			dst = e.appendJSONAttempts(dst)
		default:
			dst = e.appendNumber(dst, f)
		}
	}
	return append(dst, '}', '\n')
}

func (e *Entry) appendJSONAttempts(dst []byte) []byte {
	for i := range e.Attempts {
		a := &e.Attempts[i]
		if i == 0 {
			dst = append(dst, '[')
		} else {
			dst = append(dst, ',')
		}
		dst = appendJSONText(append(dst, `{"backend":`...), a.Backend)
		dst = appendJSONText(append(dst, `,"reason":`...), a.Reason)
		if a.Class != "" {
			dst = appendJSONText(append(dst, `,"class":`...), a.Class)
		}
		dst = append(appendMillis(append(dst, `,"ms":`...), a.Took), '}')
	}
	return append(dst, ']')
}

const hexDigits = "0123456789abcdef"

// appendJSONText appends s as a JSON string (RFC 8259, section 7). Bytes that are
// not UTF-8 become U+FFFD; what steers terminals (C0 and C1) and the line
// separators of JavaScript are escaped.
func appendJSONText[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := decodeRune(s[i:])
			if r != utf8.RuneError || n > 1 {
				if r >= 0xa0 && r != '\u2028' && r != '\u2029' {
					i += n
					continue
				}
			}
			dst = append(dst, s[from:i]...)
			dst = append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
			i += n
			from = i
			continue
		}
		dst = append(dst, s[from:i]...)
		if c == '"' || c == '\\' {
			dst = append(dst, '\\', c)
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}

func decodeRune[T string | []byte](s T) (rune, int) {
	var b [utf8.UTFMax]byte
	return utf8.DecodeRune(b[:copy(b[:], s)])
}

// oneWord replaces spaces in what was appended from some place on.
func oneWord(dst []byte, from int) []byte {
	for i := from; i < len(dst); i++ {
		if dst[i] == ' ' {
			dst[i] = '_'
		}
	}
	return dst
}

// AppendCombined appends a line of the combined format of NCSA and Apache:
// client, user, time, request line, status, bytes, referer, user
// agent.
func (e *Entry) AppendCombined(dst []byte) []byte {
	dst = oneWord(appendOrDash(dst, e.Client), len(dst)) // the zone of an address, which a proxy has believed, may have spaces
	dst = append(dst, " - "...)
	if from := len(dst); e.User != "" {
		dst = oneWord(Escape(append(dst, e.User...), from), from)
	} else {
		dst = append(dst, '-')
	}
	dst = append(dst, " ["...)
	dst = e.Time.AppendFormat(dst, "02/Jan/2006:15:04:05 -0700")
	dst = append(dst, `] "`...)
	if len(e.Method) == 0 {
		dst = append(dst, '-')
	} else {
		dst = appendEscaped(dst, e.Method)
		dst = append(dst, ' ')
		dst = appendEscaped(dst, e.Path)
		if len(e.Query) > 0 {
			dst = append(dst, '?')
			dst = appendEscaped(dst, e.Query)
		}
		dst = append(dst, ' ')
		dst = append(dst, e.protocol()...)
	}
	dst = append(dst, `" `...)
	dst = e.appendNumber(dst, FieldStatus)
	dst = append(dst, ' ')
	if e.BytesOut == 0 {
		dst = append(dst, '-')
	} else {
		dst = e.appendNumber(dst, FieldBytesOut)
	}
	dst = append(dst, ` "`...)
	dst = appendOrDash(dst, e.Referer)
	dst = append(dst, `" "`...)
	dst = appendOrDash(dst, e.UserAgent)
	return append(dst, '"', '\n')
}

func appendOrDash(dst, b []byte) []byte {
	if len(b) == 0 {
		return append(dst, '-')
	}
	return appendEscaped(dst, b)
}

// AppendField appends the value of a field as a template has it: what is text
// is not escaped yet, see Escape.
func (e *Entry) AppendField(dst []byte, f Field) []byte {
	if b, s, ok := e.text(f); ok {
		return append(append(dst, b...), s...)
	}
	switch f {
	case FieldTime:
		return e.appendTime(dst)
	case FieldAttempts:
		for i := range e.Attempts {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, e.Attempts[i].Backend...)
			dst = append(append(dst, '='), e.Attempts[i].Reason...)
		}
		return dst
	}
	return e.appendNumber(dst, f)
}

// Escape escapes what stands in b from start on as Apache does, so that a client
// can neither forge a line nor end a quoted value, and puts - where there is
// nothing.
func Escape(b []byte, start int) []byte {
	if start == len(b) {
		return append(b, '-')
	}
	for i := start; i < len(b); i++ {
		if !plain(b[i]) {
			raw := append([]byte(nil), b[i:]...)
			return appendEscaped(b[:i], raw)
		}
	}
	return b
}

func plain(c byte) bool { return c >= ' ' && c < 0x7f && c != '"' && c != '\\' }

// appendEscaped appends b with \" and \\, and \xhh for everything that is not
// printable ASCII.
func appendEscaped(dst, b []byte) []byte {
	for _, c := range b {
		switch {
		case plain(c):
			dst = append(dst, c)
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return dst
}
