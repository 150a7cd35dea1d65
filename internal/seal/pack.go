package seal

import (
	"bytes"
	"compress/flate"
	"io"
	"sync"
)

// What the first byte of a packed content says of the rest.
const (
	stored   = 0
	deflated = 1 // with the dictionary below
)

// dictionary is text that states are full of; with it even short ones shrink (a
// signature of 16 bytes: from 96 to 36). It is part of the format: another
// dictionary needs another first byte.
const dictionary = `"},"r":true,"o":{"f":"openai_responses","m":"gpt-5"o":{"f":"gemini","m":"gemini-2.5-pro","v":""i":"rs_fc_id":"call_toolu_01"t":[{"t":"{"o":{"f":"anthropic_messages","m":"claude-sonnet-4-5-20250929","v":"`

// quickFrom is the size from which speed counts for more than the last percent:
// a stored conversation may have megabytes of images.
const quickFrom = 32 << 10

var (
	small = newPackers(flate.DefaultCompression)
	large = newPackers(flate.BestSpeed)
)

// A packer compresses. Its tables are large, so packers are used again.
type packer struct {
	writer *flate.Writer
	out    bytes.Buffer
	home   *sync.Pool
}

func newPackers(level int) *sync.Pool {
	pool := new(sync.Pool)
	pool.New = func() any {
		p := &packer{home: pool}
		p.writer, _ = flate.NewWriterDict(&p.out, level, []byte(dictionary)) // the level is good
		return p
	}
	return pool
}

// A packedContent is good until it is released.
type packedContent struct {
	data []byte
	from *packer
}

// maxKept bounds the memory that a packer keeps between two uses.
const maxKept = 1 << 20

func (c packedContent) release() {
	if c.from.out.Cap() <= maxKept {
		c.from.home.Put(c.from)
	}
}

func pack(plain []byte) packedContent {
	pool := small
	if len(plain) >= quickFrom {
		pool = large
	}
	p := pool.Get().(*packer)
	p.out.Reset()
	p.out.WriteByte(deflated)
	p.writer.Reset(&p.out)
	_, _ = p.writer.Write(plain) // writing to memory does not fail
	_ = p.writer.Close()
	if p.out.Len() > 1+len(plain) {
		p.out.Reset()
		p.out.WriteByte(stored)
		p.out.Write(plain)
	}
	return packedContent{data: p.out.Bytes(), from: p}
}

// unpack reverses pack. It never makes more than limit bytes, whatever packed
// claims to hold.
func unpack(packed []byte, limit int) ([]byte, bool) {
	if len(packed) == 0 {
		return nil, false
	}
	switch kind, rest := packed[0], packed[1:]; kind {
	case stored:
		return rest, len(rest) <= limit
	case deflated:
		return inflate(rest, limit)
	}
	return nil, false
}

// inflaters are used again as well: one has a window of 32 KiB.
var inflaters = sync.Pool{New: func() any { return flate.NewReaderDict(nil, []byte(dictionary)) }}

func inflate(packed []byte, limit int) ([]byte, bool) {
	inflater := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(inflater)
	if err := inflater.(flate.Resetter).Reset(bytes.NewReader(packed), []byte(dictionary)); err != nil {
		return nil, false
	}
	var plain bytes.Buffer
	plain.Grow(min(2*len(packed), limit))
	n, err := plain.ReadFrom(io.LimitReader(inflater, int64(limit)+1))
	if err != nil || n > int64(limit) {
		return nil, false
	}
	return plain.Bytes(), true
}
