package gateway

import (
	"net/http"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/portalchat"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
	"github.com/financecommander/tollgate/internal/upstream"
)

// portal is the face of the portal's frontend. Its format only faces clients, so
// every call of it is translated.
type portal struct {
	stream bool
	direct bool // the question is a model's itself, not a specialist's
}

func (portal) name() dialect.Name { return dialect.PortalChat }

func (p portal) read(body []byte) (dialect.Call, *llm.Error) {
	decode := portalchat.Decode
	if p.direct {
		decode = portalchat.DecodeDirect
	}
	request, err := decode(body)
	if err != nil {
		return nil, asError(err)
	}
	return portalchat.Call{Request: request, Streaming: p.stream}, nil
}

func (portal) formats(p *upstream.Provider, model string, stream bool) []dialect.Name {
	return spoken(p, model, stream)
}

func (portal) codec() dialect.Codec { return nil }

func (portal) pass(*exchange, *attempt) answer { return nil }

func (p portal) decode(ex *exchange) (*llm.Request, error) {
	return ex.call.(portalchat.Call).LLM(p.stream), nil
}

func (p portal) translate(ex *exchange, a *attempt, format dialect.Name) ([]byte, error) {
	content, said, err := ex.translate(a, format, portalchat.Names{})
	if err != nil {
		return nil, err
	}
	ex.tellAgain(a)
	said.encoder = &portalEncoder{ex: ex, a: a}
	return content, nil
}

func (portal) WriteError(w http.ResponseWriter, err *llm.Error, requestID string) {
	portalchat.WriteError(w, err, requestID)
}

// portalEncoder writes answers as the portal's frontend has them. What ends one
// tells what it cost, so it is written once the attempt is settled.
type portalEncoder struct {
	ex *exchange
	a  *attempt
}

// AppendEvent implements [dialect.Encoder].
func (p *portalEncoder) AppendEvent(dst []byte, e llm.Event) []byte {
	switch e := e.(type) {
	case llm.TextDelta:
		if e.Text != "" {
			p.ex.tellText(e.Text)
			return portalchat.AppendChunk(dst, e.Text, p.a.target.model)
		}
	case llm.Finished:
		return portalchat.AppendFinal(dst, p.outcome(nil))
	case llm.Failed:
		return portalchat.AppendFinal(dst, p.outcome(e.Err))
	}
	return dst
}

// AppendAnswer implements [dialect.Encoder].
func (p *portalEncoder) AppendAnswer(dst []byte, a *llm.Answer) []byte {
	var text []byte
	for _, choice := range a.Choices[:min(len(a.Choices), 1)] {
		for _, part := range choice.Parts {
			switch part := part.(type) {
			case *llm.Text:
				text = append(text, part.Text...)
			case *llm.Refusal:
				text = append(text, part.Text...)
			}
		}
	}
	p.ex.tellText(string(text))
	return portalchat.AppendAnswer(dst, string(text), p.outcome(nil))
}

// Ping implements [dialect.Encoder].
func (*portalEncoder) Ping() []byte { return []byte(sse.Ping) }

func (p *portalEncoder) outcome(err *llm.Error) portalchat.Outcome {
	record := p.a.record
	return portalchat.Outcome{
		SpecialistID: record.SpecialistID, SpecialistName: record.SpecialistName,
		Provider: record.Provider, Model: record.Model,
		InputTokens: record.InputTokens, OutputTokens: record.OutputTokens,
		Cost: record.Cost, Latency: p.a.latency, Err: err,
	}
}
