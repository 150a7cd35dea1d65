package gateway

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
)

// buffer is pooled memory for bodies. Its life begins with newBuffer and ends
// when everybody who holds it has let go by free; nothing may keep its bytes
// after that. A transport may read a request's body even after RoundTrip
// returned, so each upstream request holds the buffer until it closes its body.
type buffer struct {
	b       []byte
	holders atomic.Int32
}

// Buffers larger than keepCapacity are left to the garbage collector, so that
// one 32 MiB body does not stay in the pool for ever.
const (
	firstCapacity = 4 << 10
	keepCapacity  = 1 << 20
)

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// newBuffer gives a buffer with room for size bytes and one more, so that a
// body of known size is read without growing.
func newBuffer(size int) *buffer {
	b := buffers.Get().(*buffer)
	b.holders.Store(1)
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

// hold adds a holder.
func (b *buffer) hold() { b.holders.Add(1) }

// free lets go; the last to do so gives the memory back. It may be called on
// nil.
func (b *buffer) free() {
	if b == nil || b.holders.Add(-1) > 0 {
		return
	}
	if cap(b.b) > keepCapacity {
		b.b = nil
	}
	b.b = b.b[:0]
	buffers.Put(b)
}

// requestBody is the body of an upstream request. It holds the buffer that its
// bytes may belong to until the transport closes it.
type requestBody struct {
	bytes.Reader
	buffer *buffer
	closed atomic.Bool
}

func newRequestBody(content []byte, b *buffer) *requestBody {
	b.hold()
	body := &requestBody{buffer: b}
	body.Reset(content)
	return body
}

// Close implements io.Closer.
func (b *requestBody) Close() error {
	if b.closed.CompareAndSwap(false, true) {
		b.buffer.free()
	}
	return nil
}
