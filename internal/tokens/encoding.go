package tokens

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/pkoukk/tiktoken-go"
	loader "github.com/pkoukk/tiktoken-go-loader"
)

// Without this tiktoken fetches vocabularies from the network.
func init() { tiktoken.SetBpeLoader(loader.NewOfflineLoader()) }

// The vocabularies at hand.
var (
	o200k  = newEncoding(tiktoken.MODEL_O200K_BASE)
	cl100k = newEncoding(tiktoken.MODEL_CL100K_BASE)
)

// encoding is a vocabulary that is loaded when first asked for.
type encoding struct {
	name  string
	start sync.Once
	done  chan struct{} // closed when bpe and err are set
	bpe   *tiktoken.Tiktoken
	err   error
}

func newEncoding(name string) *encoding {
	return &encoding{name: name, done: make(chan struct{})}
}

// load begins loading, once. Nobody need wait for the goroutine: it reads
// embedded data for some tenths of a second and ends.
func (e *encoding) load() {
	e.start.Do(func() {
		go func() {
			defer close(e.done)
			e.bpe, e.err = tiktoken.GetEncoding(e.name)
		}()
	})
}

// ready is the loaded vocabulary; nil while it is not there.
func (e *encoding) ready() *tiktoken.Tiktoken {
	select {
	case <-e.done:
		return e.bpe
	default:
		e.load()
		return nil
	}
}

// wait loads the vocabulary and waits for it.
func (e *encoding) wait(ctx context.Context) error {
	e.load()
	select {
	case <-e.done:
		if e.err != nil {
			return fmt.Errorf("load vocabulary %s: %w", e.name, e.err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("load vocabulary %s: %w", e.name, context.Cause(ctx))
	}
}

// tiktoken's work grows with the square of a run's length, be it of letters,
// marks or white space, so a text goes to it in pieces, and a run longer than
// any in real text is cut.
const (
	pieceLimit = 4 << 10
	runLimit   = 128
)

func countPieces(bpe *tiktoken.Tiktoken, text []byte) int64 {
	var count int64
	for len(text) > 0 {
		n := cut(text)
		count += int64(len(bpe.EncodeOrdinary(string(text[:n]))))
		text = text[n:]
	}
	return count
}

// cut says how many bytes the next piece has: up to pieceLimit, ending before
// white space, where a token begins anyway, and within a run that is too long.
func cut(text []byte) int {
	limit := min(len(text), pieceLimit)
	runStart := 0
	for i := 1; i < limit; i++ {
		if isSpace(text[i]) != isSpace(text[i-1]) {
			runStart = i
		} else if i-runStart >= runLimit {
			return runeStart(text, i)
		}
	}
	if limit == len(text) {
		return limit
	}
	if i := bytes.LastIndexAny(text[:limit], " \t\r\n"); i > 0 {
		return i
	}
	return runeStart(text, limit)
}

// runeStart moves back to where the rune at i begins, if text is valid there.
func runeStart(text []byte, i int) int {
	for j := i; j > i-utf8.UTFMax; j-- {
		if utf8.RuneStart(text[j]) {
			return j
		}
	}
	return i
}
