package dialect

import (
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// RequestEncoder writes a request in a format. To be replaced by [Translator].
type RequestEncoder interface {
	EncodeLegacy(*llm.Request) ([]byte, error)
}

// AnswerDecoder reads a format's answers. To be replaced by [Decoder].
type AnswerDecoder interface {
	Event(sse.Event) []llm.Event
	Body([]byte) []llm.Event
	End() []llm.Event
}
