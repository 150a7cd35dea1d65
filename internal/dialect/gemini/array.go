package gemini

import (
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/sse"
)

// ArrayFramer makes of an event stream what streamGenerateContent answers where
// the URL does not say alt=sse: a JSON array of the chunks, which grows as they
// come. A stream that breaks off has its error as the last element.
// The zero value is ready.
type ArrayFramer struct {
	scanner sse.Scanner
	began   bool
}

// ArrayContentType is the content type of such an answer.
const ArrayContentType = "application/json; charset=UTF-8"

// Append takes the stream's next bytes, cut anywhere, and appends what they
// mean. The error is that of an event too long to be held.
func (f *ArrayFramer) Append(dst, stream []byte) ([]byte, error) {
	if _, err := f.scanner.Write(stream); err != nil {
		return dst, err
	}
	for e, ok := f.scanner.Next(); ok; e, ok = f.scanner.Next() {
		dst = f.element(dst, e.Data)
	}
	return dst, nil
}

// element appends a chunk. What is no JSON would spoil the whole array.
func (f *ArrayFramer) element(dst, chunk []byte) []byte {
	s := jsonedit.NewScanner(chunk)
	if s.Skip(); len(chunk) == 0 || s.End() != nil {
		return dst
	}
	if f.began {
		dst = append(dst, ",\n"...)
	} else {
		dst, f.began = append(dst, '['), true
	}
	return append(dst, chunk...)
}

// Close appends the array's end.
func (f *ArrayFramer) Close(dst []byte) []byte {
	if !f.began {
		dst, f.began = append(dst, '['), true
	}
	return append(dst, "]\n"...)
}
