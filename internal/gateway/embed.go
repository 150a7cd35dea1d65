package gateway

import (
	"net/http"
	"time"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
	"github.com/financecommander/tollgate/internal/upstream"
)

// embeddings is the face of a caller who asks for embeddings.
type embeddings struct {
	dialect.Embedder
	batch bool // asked for by the call for many
}

func (e embeddings) name() dialect.Name { return e.Name() }

func (e embeddings) read(body []byte) (dialect.Call, *llm.Error) {
	return client{Codec: e.Embedder}.read(body)
}

func (e embeddings) formats(p *upstream.Provider, model string, _ bool) []dialect.Name {
	for _, format := range []dialect.Name{e.Name(), dialect.OpenAIEmbeddings, dialect.GeminiEmbeddings} {
		if p.Endpoint(format, model, false) != nil {
			return []dialect.Name{format}
		}
	}
	return nil
}

func (e embeddings) codec() dialect.Codec { return e.Embedder }

func (e embeddings) pass(ex *exchange, a *attempt) answer {
	a.batch = e.batch
	return client{Codec: e.Embedder}.pass(ex, a)
}

func (embeddings) decode(*exchange) (*llm.Request, error) { return nil, nil }

func (e embeddings) translate(ex *exchange, a *attempt, format dialect.Name) ([]byte, error) {
	request, err := e.DecodeEmbed(ex.body.bytes())
	if err != nil {
		return nil, err
	}
	request.Model = a.target.modelID()
	a.batch = len(request.Inputs) > 1
	codec := embedder(format, a.target.model, a.batch)
	var source dialect.Namer
	if namer, ok := e.Embedder.(dialect.Namer); ok {
		source = namer
	}
	unsaid := &dialect.Unsaid{Drop: ex.drops(), Source: source, Target: format}
	content, err := codec.EncodeEmbed(request, unsaid)
	if err != nil {
		return nil, err
	}
	a.codec, a.meter, a.dropped = codec, codec.NewMeter(), unsaid.Dropped
	a.said = &embedded{codec: codec, face: e.Embedder, request: request}
	return content, nil
}

func (e embeddings) WriteError(w http.ResponseWriter, err *llm.Error, requestID string) {
	e.Embedder.WriteError(w, err, requestID)
}

// embedded hands on embeddings in the caller's format. They are never streamed.
type embedded struct {
	codec, face dialect.Embedder // the upstream's and the caller's
	request     *llm.EmbedRequest
	whole       *llm.EmbedAnswer
}

func (*embedded) appendEvent(dst []byte, _ sse.Event, _ dialect.Mark) []byte { return dst }
func (*embedded) appendRest(dst, _ []byte) []byte                            { return dst }
func (*embedded) appendEnd(dst []byte, _ *llm.Error) []byte                  { return dst }

func (e *embedded) read(upstream []byte) (err *llm.Error) {
	e.whole, err = e.codec.DecodeEmbedded(upstream)
	return err
}

func (e *embedded) body() []byte { return e.face.AppendEmbedded(nil, e.whole, e.request) }

func (*embedded) contentType([]string) []string { return jsonType }

func (*embedded) ping(*Options) ([]byte, time.Duration) { return nil, 0 }
