package wire

import (
	"bytes"
	"sync"
	"sync/atomic"
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

// maxLarge is how many large buffers there may be before bodies get no more of them:
// they make do with small ones then, so that peers who keep theirs waiting
// cannot fill the memory with them.
const maxLarge = 512

// plenty is how many large buffers may be in use before they go only to those who
// have shown that they use them well. Who does holds one for the moment between a read
// and a write, so that few serve many.
const plenty = maxLarge / 8

// largeInUse counts the large buffers that are in use.
var largeInUse atomic.Int64

// Plenty reports whether there are enough large buffers for everybody.
func Plenty() bool { return largeInUse.Load() < plenty }

// GetBuffer returns a buffer of at least size bytes, with len(B) its whole
// capacity. Its content is arbitrary.
func GetBuffer(size int) *Buffer {
	switch {
	case size <= SmallBuffer:
		return smallBuffers.Get().(*Buffer)
	case size <= LargeBuffer:
		largeInUse.Add(1)
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
		largeInUse.Add(-1)
		largeBuffers.Put(b)
	}
}

func indexLF(b []byte) int { return bytes.IndexByte(b, '\n') }
