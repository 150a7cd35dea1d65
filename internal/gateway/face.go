package gateway

import (
	"errors"
	"net/http"
	"time"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/dialect/portalchat"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// face is the caller's side of an exchange: how the request is read and how
// answers and errors are said.
type face interface {
	// name is the caller's dialect.
	name() dialect.Name
	// read peeks at a body: the codec of the format to speak with the upstream,
	// and the call in that format.
	read(body []byte) (dialect.Codec, dialect.Call, *llm.Error)
	// answer makes what turns one upstream answer into the caller's.
	answer(ex *exchange, a *attempt) answer
	// pingEvery is the silence after which a stream gets a comment; 0: none.
	pingEvery(*Options) time.Duration
	WriteError(w http.ResponseWriter, err *llm.Error, requestID string)
}

// answer turns an upstream's answer into the caller's bytes.
type answer interface {
	// appendEvent appends what the caller gets for one event of a stream.
	appendEvent(dst []byte, ev sse.Event, mark dialect.Mark) []byte
	// appendRest appends what the caller gets for the bytes after the last whole
	// event of a stream.
	appendRest(dst, rest []byte) []byte
	// appendEnd appends what ends a stream once the attempt is settled; err
	// says why it is not whole.
	appendEnd(dst []byte, err *llm.Error) []byte
	// body gives the caller's body for an unstreamed answer, once settled.
	body(upstream []byte) []byte
	// contentType gives the caller's for the upstream's, as header values.
	contentType(upstream []string) []string
}

// passthrough is the face of a caller who speaks the upstream's format: bytes
// go through as they are.
type passthrough struct{ dialect.Codec }

func (p passthrough) name() dialect.Name { return p.Name() }

func (p passthrough) read(body []byte) (dialect.Codec, dialect.Call, *llm.Error) {
	call, err := p.Read(body)
	if err != nil {
		return nil, nil, asError(err)
	}
	return p.Codec, call, nil
}

func (p passthrough) answer(ex *exchange, a *attempt) answer {
	return &sameAnswer{codec: p.Codec, requestID: ex.requestID, hideUsage: a.askedUsage}
}

func (passthrough) pingEvery(o *Options) time.Duration { return o.PassthroughPing }

type sameAnswer struct {
	codec     dialect.Codec
	requestID string
	hideUsage bool // the usage chunk was our wish, not the caller's
}

func (s *sameAnswer) appendEvent(dst []byte, ev sse.Event, mark dialect.Mark) []byte {
	if mark.UsageOnly && s.hideUsage {
		return dst
	}
	return append(dst, ev.Raw...)
}

func (s *sameAnswer) appendRest(dst, rest []byte) []byte { return append(dst, rest...) }

func (s *sameAnswer) appendEnd(dst []byte, err *llm.Error) []byte {
	if err == nil || err.Cause == llm.CauseClientGone {
		return dst
	}
	return s.codec.AppendErrorEvent(dst, err, s.requestID)
}

func (s *sameAnswer) body(upstream []byte) []byte { return upstream }

func (s *sameAnswer) contentType(upstream []string) []string { return upstream }

// portal is the face of the portal's frontend.
type portal struct{ stream bool }

func (portal) name() dialect.Name { return dialect.PortalChat }

func (p portal) read(body []byte) (dialect.Codec, dialect.Call, *llm.Error) {
	request, err := portalchat.Decode(body)
	if err != nil {
		return nil, nil, asError(err)
	}
	encoded, err := openaichat.Chat.EncodeLegacy(request.LLM(p.stream))
	if err != nil {
		return nil, nil, asError(err)
	}
	call, err := openaichat.Chat.Read(encoded)
	if err != nil {
		return nil, nil, asError(err)
	}
	return openaichat.Chat, call, nil
}

func (portal) WriteError(w http.ResponseWriter, err *llm.Error, requestID string) {
	portalchat.WriteError(w, err, requestID)
}

func (p portal) answer(ex *exchange, a *attempt) answer {
	return &portalAnswer{ex: ex, a: a, stream: p.stream, decoder: openaichat.Chat.NewLegacyDecoder()}
}

func (p portal) pingEvery(o *Options) time.Duration {
	if !p.stream {
		return 0
	}
	return o.PortalPing
}

type portalAnswer struct {
	ex      *exchange
	a       *attempt
	stream  bool
	decoder dialect.AnswerDecoder
	text    []byte // of an answer that the upstream streamed unasked
}

func (p *portalAnswer) appendEvent(dst []byte, ev sse.Event, _ dialect.Mark) []byte {
	for _, event := range p.decoder.Event(ev) {
		text, ok := event.(llm.TextDelta)
		switch {
		case !ok || text.Text == "":
		case p.stream:
			dst = portalchat.AppendChunk(dst, text.Text, p.a.target.model)
		default:
			p.text = append(p.text, text.Text...)
		}
	}
	return dst
}

// appendRest appends nothing: half an event means nothing to another dialect.
func (p *portalAnswer) appendRest(dst, _ []byte) []byte { return dst }

func (p *portalAnswer) appendEnd(dst []byte, err *llm.Error) []byte {
	if !p.stream {
		return portalchat.AppendAnswer(dst, string(p.text), p.outcome(err))
	}
	return portalchat.AppendFinal(dst, p.outcome(err))
}

func (p *portalAnswer) body(upstream []byte) []byte {
	var text []byte
	for _, event := range p.decoder.Body(upstream) {
		if delta, ok := event.(llm.TextDelta); ok {
			text = append(text, delta.Text...)
		}
	}
	if p.stream { // the upstream answered a streamed call in one piece
		return portalchat.AppendFinal(portalchat.AppendChunk(nil, string(text), p.a.target.model), p.outcome(nil))
	}
	return portalchat.AppendAnswer(nil, string(text), p.outcome(nil))
}

func (p *portalAnswer) contentType([]string) []string {
	if p.stream {
		return streamType
	}
	return jsonType
}

func (p *portalAnswer) outcome(err *llm.Error) portalchat.Outcome {
	record := p.a.record
	return portalchat.Outcome{
		SpecialistID: record.SpecialistID, SpecialistName: record.SpecialistName,
		Provider: record.Provider, Model: record.Model,
		InputTokens: record.InputTokens, OutputTokens: record.OutputTokens,
		Cost: record.Cost, Latency: p.a.latency, Err: err,
	}
}

// asError makes any error one a caller may see.
func asError(err error) *llm.Error {
	if e, ok := errors.AsType[*llm.Error](err); ok {
		return e
	}
	return &llm.Error{Cause: llm.CauseInternal, Message: "the gateway failed on this call", Err: err}
}
