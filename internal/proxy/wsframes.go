package proxy

import "encoding/binary"

// wsFrames follows the frames of one direction of a WebSocket (RFC 6455,
// section 5.2) so that a Close frame can be put between two of them. It reads
// only what it needs to find where each frame ends.
type wsFrames struct {
	head [14]byte
	n    int    // bytes of head so far
	left uint64 // payload of the current frame still to come
	bad  bool   // the stream is not made of frames
	done bool   // a Close frame has gone by whole
	last byte   // opcode of the current frame
}

// boundary reports whether the direction stands between two frames.
func (f *wsFrames) boundary() bool { return !f.bad && f.n == 0 && f.left == 0 }

// feed follows p, which is the next part of the direction, and returns how many
// bytes of it are before the end of the last frame that ends in it.
func (f *wsFrames) feed(p []byte) (whole int) {
	for at := 0; at < len(p) && !f.bad; {
		if f.left > 0 {
			n := min(f.left, uint64(len(p)-at))
			f.left -= n
			at += int(n)
			f.endOfPayload()
		} else {
			f.head[f.n] = p[at]
			f.n++
			at++
			f.parseHead()
		}
		if f.boundary() {
			whole = at
		}
	}
	return whole
}

func (f *wsFrames) endOfPayload() {
	if f.left == 0 && f.last == opClose {
		f.done = true
	}
}

const (
	opClose    = 8
	maskedBit  = 0x80
	finBit     = 0x80
	lengthBits = 0x7f
)

// parseHead looks at the head so far and starts the payload when it is whole.
func (f *wsFrames) parseHead() {
	if f.n < 2 {
		return
	}
	size, need := uint64(f.head[1]&lengthBits), 2
	switch size {
	case 126:
		need += 2
	case 127:
		need += 8
	}
	at := need
	if f.head[1]&maskedBit != 0 {
		need += 4
	}
	if f.n < need {
		return
	}
	switch at {
	case 4:
		size = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 10:
		size = binary.BigEndian.Uint64(f.head[2:])
		f.bad = size>>63 != 0
	}
	f.last = f.head[0] & 0x0f
	f.n, f.left = 0, size
	f.endOfPayload()
}

// appendClose appends a Close frame with a status (RFC 6455, section 7.4). mask
// is used for frames to a server; a key of zeros is as good as any towards a
// backend that is trusted, and leaves the payload readable.
func appendClose(dst []byte, status uint16, mask bool) []byte {
	dst = append(dst, finBit|opClose)
	if mask {
		dst = append(dst, maskedBit|2, 0, 0, 0, 0)
	} else {
		dst = append(dst, 2)
	}
	return binary.BigEndian.AppendUint16(dst, status)
}
