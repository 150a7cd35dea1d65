package gateway

import (
	"errors"
	"net/http"

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
	WriteError(w http.ResponseWriter, err *llm.Error, requestID string)
}

// answer turns an upstream's answer into the caller's bytes.
type answer interface {
	// appendEvent appends what the caller gets for one event of a stream.
	appendEvent(dst []byte, ev sse.Event, mark dialect.Mark) []byte
	// appendEnd appends what ends a stream once the attempt is settled; err
	// says why it is not whole.
	appendEnd(dst []byte, err *llm.Error) []byte
	// body gives the caller's body for an unstreamed answer, once settled.
	body(upstream []byte) []byte
	// contentType gives the caller's for the upstream's.
	contentType(upstream string) string
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

func (s *sameAnswer) appendEnd(dst []byte, err *llm.Error) []byte {
	if err == nil || err.Cause == llm.CauseClientGone {
		return dst
	}
	return s.codec.AppendErrorEvent(dst, err, s.requestID)
}

func (s *sameAnswer) body(upstream []byte) []byte { return upstream }

func (s *sameAnswer) contentType(upstream string) string { return upstream }

// portal is the face of the portal's frontend.
type portal struct{ stream bool }

func (portal) name() dialect.Name { return dialect.PortalChat }

func (p portal) read(body []byte) (dialect.Codec, dialect.Call, *llm.Error) {
	request, err := portalchat.Decode(body)
	if err != nil {
		return nil, nil, asError(err)
	}
	encoded, err := openaichat.Chat.EncodeRequest(request.LLM(p.stream))
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
	return &portalAnswer{ex: ex, a: a, stream: p.stream, decoder: openaichat.Chat.NewDecoder()}
}

type portalAnswer struct {
	ex      *exchange
	a       *attempt
	stream  bool
	decoder dialect.AnswerDecoder
}

func (p *portalAnswer) appendEvent(dst []byte, ev sse.Event, _ dialect.Mark) []byte {
	for _, event := range p.decoder.Event(ev) {
		if text, ok := event.(llm.TextDelta); ok && text.Text != "" {
			dst = portalchat.AppendChunk(dst, text.Text, p.a.target.model)
		}
	}
	return dst
}

func (p *portalAnswer) appendEnd(dst []byte, err *llm.Error) []byte {
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

func (p *portalAnswer) contentType(string) string {
	if p.stream {
		return "text/event-stream"
	}
	return "application/json"
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
