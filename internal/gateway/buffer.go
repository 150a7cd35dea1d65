package gateway

import (
	"io"
	"sync"
)

// buffer is pooled memory for bodies. Its life begins with newBuffer and ends
// with free; nothing may keep its bytes after that.
type buffer struct {
	b    []byte
	kept bool // somebody may still read the bytes: leave them to the garbage collector
}

// Buffers larger than keepCapacity are left to the garbage collector, so that
// one 32 MiB body does not stay in the pool for ever.
const (
	firstCapacity = 1 << 10
	keepCapacity  = 1 << 20
)

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// newBuffer gives a buffer with room for size bytes and one more, so that a
// body of known size is read without growing.
func newBuffer(size int) *buffer {
	b := buffers.Get().(*buffer)
	if need := max(size+1, firstCapacity); cap(b.b) < need && need <= keepCapacity {
		b.b = make([]byte, 0, need)
	}
	return b
}

func (b *buffer) bytes() []byte {
	if b == nil {
		return nil
	}
	return b.b
}

// readFrom appends all of r.
func (b *buffer) readFrom(r io.Reader) (int, error) {
	for {
		if len(b.b) == cap(b.b) {
			b.b = append(b.b, 0)[:len(b.b)]
		}
		n, err := r.Read(b.b[len(b.b):cap(b.b)])
		b.b = b.b[:len(b.b)+n]
		if err == io.EOF {
			return len(b.b), nil
		}
		if err != nil {
			return len(b.b), err
		}
	}
}

// free gives the memory back, unless it is kept. It may be called on nil, and
// once.
func (b *buffer) free() {
	if b == nil {
		return
	}
	if b.kept || cap(b.b) > keepCapacity {
		b.b, b.kept = nil, false
	}
	b.b = b.b[:0]
	buffers.Put(b)
}

// keepIfIn keeps the memory if content lies in it.
func (b *buffer) keepIfIn(content []byte) {
	b.kept = b.kept || (len(content) > 0 && cap(b.b) > 0 && &content[:1][0] == &b.b[:1][0])
}
