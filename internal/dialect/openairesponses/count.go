package openairesponses

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// CountCodec is the endpoint that counts the tokens of a request. It takes the
// members of a request that a model reads.
//
// Source: https://platform.openai.com/docs/api-reference/responses/input-tokens.
type CountCodec struct{ Codec }

// Count is the endpoint `POST /v1/responses/input_tokens`.
var Count CountCodec

var (
	_ dialect.Codec        = Count
	_ dialect.TokenCounter = Count
)

// Name implements [dialect.Codec].
func (CountCodec) Name() dialect.Name { return dialect.OpenAICount }

// NewMeter implements [dialect.Codec]. Counting costs nothing, so there is
// nothing to read but whether an answer is one.
func (CountCodec) NewMeter() dialect.Meter { return &countMeter{} }

type countMeter struct{ reading dialect.Reading }

func (*countMeter) Event(sse.Event) dialect.Mark { return dialect.Mark{} }

func (m *countMeter) Body(body []byte) {
	if _, ok := Count.DecodeCounted(body); ok {
		m.reading.Complete = true
	} else {
		m.reading.Err = wire.NotUnderstood()
	}
}

func (m *countMeter) Reading() dialect.Reading { return m.reading }

// DecodeCount implements [dialect.TokenCounter].
func (CountCodec) DecodeCount(body []byte, o dialect.DecodeOptions) (*llm.Request, error) {
	return Responses.DecodeRequest(body, o)
}

// EncodeCount implements [dialect.TokenCounter]. What chooses tokens and where
// the answer goes costs no input and is not known to the endpoint.
func (CountCodec) EncodeCount(r *llm.Request, o dialect.EncodeOptions) ([]byte, error) {
	b := newBody(r, o)
	b.Object()
	b.Name("model").Text(r.Model)
	b.conversation()
	b.tools()
	b.text()
	b.reasoning()
	b.TextMember("previous_response_id", r.PreviousID)
	b.beyond()
	b.End()
	if b.err != nil {
		return nil, b.err
	}
	return b.Bytes, nil
}

// DecodeCounted implements [dialect.TokenCounter].
func (CountCodec) DecodeCounted(body []byte) (tokens int64, ok bool) {
	s := jsonedit.NewScanner(body)
	for name := range s.Members {
		if string(name) == "input_tokens" {
			tokens, ok = s.Int()
		}
	}
	return max(tokens, 0), ok && s.End() == nil
}

// AppendCounted implements [dialect.TokenCounter].
func (CountCodec) AppendCounted(dst []byte, tokens int64) []byte {
	dst = append(dst, `{"object":"response.input_tokens","input_tokens":`...)
	return append(appendInt(dst, tokens), '}')
}
