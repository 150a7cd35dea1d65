package gateway

import (
	"bytes"
	"io"
	"sync/atomic"
)

// Bodies from pooledBody on go upstream from pooled memory, which saves making
// and clearing it. It costs a write of their header on its own, since net/http
// sends a body along with the header only if it knows the body's type.
const (
	pooledBody = 16 << 10
	// editRoom is what edits usually add to a body, beside the system prompt.
	editRoom = 4 << 10
)

// upstreamBody is the body of one attempt. A transport may read a request's body
// even after RoundTrip returned, so pooled memory is given back by the last of
// the attempt and the readers it gave away.
type upstreamBody struct {
	content []byte
	memory  *buffer // holds the content; nil: nothing pooled does
	holders atomic.Int32
}

// reader gives the content to a transport.
func (b *upstreamBody) reader() io.ReadCloser {
	if b.memory == nil {
		return io.NopCloser(bytes.NewReader(b.content))
	}
	b.holders.Add(1)
	r := &heldReader{body: b}
	r.Reset(b.content)
	return r
}

// release ends one holder's need of the content.
func (b *upstreamBody) release() {
	if b.memory != nil && b.holders.Add(-1) == 0 {
		b.memory.free()
	}
}

// heldReader reads pooled memory until it is closed.
type heldReader struct {
	bytes.Reader
	body   *upstreamBody
	closed atomic.Bool
}

// Close implements io.Closer. A transport may call it more than once.
func (r *heldReader) Close() error {
	if r.closed.CompareAndSwap(false, true) {
		r.body.release()
	}
	return nil
}
