package proxy

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// frame makes a WebSocket frame (RFC 6455, section 5.2).
func frame(opcode byte, mask bool, payload string) string {
	b := []byte{finBit | opcode}
	masked := byte(0)
	if mask {
		masked = maskedBit
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, masked|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(n))
	}
	if mask {
		b = append(b, 0, 0, 0, 0)
	}
	return string(b) + payload
}

func TestWSFrames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		stream   string
		whole    int // of the stream, -1 all
		boundary bool
		done     bool
		bad      bool
	}{
		{"nothing", "", 0, true, false, false},
		{"one", frame(1, false, "abc"), -1, true, false, false},
		{"masked", frame(1, true, "abc"), -1, true, false, false},
		{"empty", frame(9, false, ""), -1, true, false, false},
		{"125 bytes", frame(2, false, strings.Repeat("x", 125)), -1, true, false, false},
		{"126 bytes", frame(2, true, strings.Repeat("x", 126)), -1, true, false, false},
		{"65535 bytes", frame(2, false, strings.Repeat("x", 65535)), -1, true, false, false},
		{"65536 bytes", frame(2, true, strings.Repeat("x", 65536)), -1, true, false, false},
		{"two", frame(1, false, "abc") + frame(10, false, ""), -1, true, false, false},
		{"one and a half", frame(1, false, "abc") + frame(1, false, "abc")[:4], 5, false, false, false},
		{"half a head", frame(2, false, strings.Repeat("x", 300))[:3], 0, false, false, false},
		{"close", frame(opClose, true, "\x03\xe8"), -1, true, true, false},
		{"empty close", frame(opClose, false, ""), -1, true, true, false},
		{"half a close", frame(opClose, false, "\x03\xe8")[:3], 0, false, false, false},
		{"close behind others", frame(1, false, "abc") + frame(opClose, false, "\x03\xe8bye"), -1, true, true, false},
		{"a length beyond 63 bits", "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 0, false, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			whole := tc.whole
			if whole < 0 {
				whole = len(tc.stream)
			}
			var at1, at2 wsFrames
			if got := at1.feed([]byte(tc.stream)); got != whole {
				t.Errorf("%d bytes are whole frames, want %d", got, whole)
			}
			for i := range len(tc.stream) { // the same byte by byte
				at2.feed([]byte{tc.stream[i]})
			}
			for _, f := range []*wsFrames{&at1, &at2} {
				if f.boundary() != tc.boundary || f.done != tc.done || f.bad != tc.bad {
					t.Errorf("boundary %v, done %v, bad %v", f.boundary(), f.done, f.bad)
				}
			}
		})
	}
}

func TestAppendClose(t *testing.T) {
	t.Parallel()
	if got, want := appendClose(nil, 1001, false), []byte{0x88, 2, 0x03, 0xe9}; !bytes.Equal(got, want) {
		t.Errorf("got % x, want % x", got, want)
	}
	if got, want := appendClose(nil, 1001, true), []byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9}; !bytes.Equal(got, want) {
		t.Errorf("got % x, want % x", got, want)
	}
	for _, mask := range []bool{false, true} {
		var f wsFrames
		if b := appendClose(nil, 1001, mask); f.feed(b) != len(b) || !f.done {
			t.Errorf("mask %v: not understood as a Close frame", mask)
		}
	}
}

// frameEnds is a plain reading of a stream: the offset behind each whole frame,
// and whether one of them is a Close.
func frameEnds(b []byte) (ends []int, done bool) {
	at := 0
	for {
		rest := b[at:]
		if len(rest) < 2 {
			return ends, done
		}
		head, size := 2, uint64(rest[1]&0x7f)
		switch size {
		case 126:
			if len(rest) < 4 {
				return ends, done
			}
			head, size = 4, uint64(binary.BigEndian.Uint16(rest[2:]))
		case 127:
			if len(rest) < 10 {
				return ends, done
			}
			head, size = 10, binary.BigEndian.Uint64(rest[2:])
		}
		if rest[1]&0x80 != 0 {
			head += 4
		}
		if len(rest) < head || size > uint64(len(rest)-head) {
			return ends, done
		}
		at += head + int(size)
		ends = append(ends, at)
		done = done || rest[0]&0x0f == 8
	}
}

// FuzzWSFrames compares with the plain reading, in any cut.
func FuzzWSFrames(f *testing.F) {
	f.Add([]byte(frame(1, true, "abc")+frame(opClose, false, "")), uint8(3))
	f.Add([]byte(frame(2, false, strings.Repeat("x", 300))), uint8(1))
	f.Add([]byte("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), uint8(9))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint8) {
		var fr wsFrames
		var got []int
		size := int(cut)%7 + 1
		for at := 0; at < len(stream); at += size {
			part := stream[at:min(at+size, len(stream))]
			if whole := fr.feed(part); whole > 0 {
				got = append(got, at+whole)
			} else if whole < 0 || whole > len(part) {
				t.Fatalf("%d bytes of %d", whole, len(part))
			}
		}
		ends, done := frameEnds(stream)
		if fr.done != done {
			t.Errorf("done %v, want %v", fr.done, done)
		}
		// feed reports the last end in each part.
		var want []int
		for i, e := range ends {
			if i+1 == len(ends) || (ends[i+1]-1)/size != (e-1)/size {
				want = append(want, e)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("ends at %v, want %v", got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("ends at %v, want %v", got, want)
			}
		}
		if at := 0; !fr.bad {
			if len(ends) > 0 {
				at = ends[len(ends)-1]
			}
			if fr.boundary() != (at == len(stream)) {
				t.Errorf("boundary %v at %d of %d", fr.boundary(), at, len(stream))
			}
		}
	})
}
