package wire

import (
	"bytes"
	"sync"
)

// Sizes of pooled buffers in bytes. Heads and small bodies fit the small one,
// bodies that stream use the large one.
const (
	SmallBuffer = 4 << 10
	LargeBuffer = 32 << 10
)

// Buffer is a pooled byte buffer. The pointer is what is pooled, so that
// getting and putting one allocates nothing.
type Buffer struct{ B []byte }

var (
	smallBuffers = sync.Pool{New: func() any { return &Buffer{B: make([]byte, SmallBuffer)} }}
	largeBuffers = sync.Pool{New: func() any { return &Buffer{B: make([]byte, LargeBuffer)} }}
)

// GetBuffer returns a buffer of at least size bytes, with len(B) its whole
// capacity. Its content is arbitrary.
func GetBuffer(size int) *Buffer {
	switch {
	case size <= SmallBuffer:
		return smallBuffers.Get().(*Buffer)
	case size <= LargeBuffer:
		return largeBuffers.Get().(*Buffer)
	}
	return &Buffer{B: make([]byte, size)}
}

// Put gives the buffer back; the caller must not use it afterwards. Buffers of
// other sizes are left to the garbage collector, so that one huge head does not
// stay in memory.
func (b *Buffer) Put() {
	b.B = b.B[:cap(b.B)]
	switch cap(b.B) {
	case SmallBuffer:
		smallBuffers.Put(b)
	case LargeBuffer:
		largeBuffers.Put(b)
	}
}

func indexLF(b []byte) int { return bytes.IndexByte(b, '\n') }
