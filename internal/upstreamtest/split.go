package upstreamtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// Split cuts a body into the packets it is sent in. A reader's view must not
// depend on it.
type Split struct {
	Name  string
	start func() cutter
}

// cutter says where the first packet of a body that is not empty ends.
type cutter func(body []byte) (end int)

// Pieces cuts a body.
func (s Split) Pieces(body []byte) [][]byte {
	var pieces [][]byte
	cut := s.start()
	for len(body) > 0 {
		end := cut(body)
		pieces = append(pieces, body[:end:end])
		body = body[end:]
	}
	return pieces
}

// The ways to split.
var (
	Whole    = always("whole", func(body []byte) int { return len(body) })
	PerEvent = always("per event", eventEnd)
	PerByte  = PerBytes(1)
	Random   = Split{"random", seeded} // 1 to 100 bytes, the same in every run
	Splits   = []Split{Whole, PerEvent, PerByte, Random}
)

// PerBytes splits every n bytes.
func PerBytes(n int) Split {
	return always(fmt.Sprintf("%d bytes", n), func(body []byte) int { return min(n, len(body)) })
}

func always(name string, cut cutter) Split {
	return Split{name, func() cutter { return cut }}
}

func eventEnd(body []byte) int {
	end := len(body)
	for _, blank := range []string{"\r\n\r\n", "\n\n"} {
		if i := bytes.Index(body[:end], []byte(blank)); i >= 0 {
			end = i + len(blank)
		}
	}
	return end
}

func seeded() cutter {
	r := rand.New(rand.NewPCG(1, 1))
	return func(body []byte) int { return min(1+r.IntN(100), len(body)) }
}
