package gateway

import (
	"errors"
	"net/http"
	"time"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/gemini"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
	"github.com/financecommander/tollgate/internal/upstream"
)

// face is the caller's side of an exchange: how the request is read and how
// answers and errors are said.
type face interface {
	// name is the caller's dialect.
	name() dialect.Name
	// read peeks at a body.
	read(body []byte) (dialect.Call, *llm.Error)
	// formats are those in which a provider's model can be asked for this
	// caller, the best first. The caller's own among them means that bytes pass
	// through.
	formats(p *upstream.Provider, model string, stream bool) []dialect.Name
	// codec is of the caller's format, for calls that pass through; nil: none do.
	codec() dialect.Codec
	// pass makes what hands a passed-through answer on.
	pass(ex *exchange, a *attempt) answer
	// decode reads the body whole; nil for what translate reads itself.
	decode(ex *exchange) (*llm.Request, error)
	// translate makes the body for an upstream of another format, and sets up
	// the attempt to read its answer.
	translate(ex *exchange, a *attempt, format dialect.Name) ([]byte, error)
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
	// read takes in an unstreamed answer, before it is settled.
	read(upstream []byte) *llm.Error
	// body gives the caller's body for it, once settled.
	body() []byte
	// contentType gives the caller's for the upstream's, as header values.
	contentType(upstream []string) []string
	// ping is what keeps a silent stream open, and after how long a silence; nil:
	// nothing is sent.
	ping(*Options) ([]byte, time.Duration)
}

// client is the face of a caller who speaks a provider's format.
type client struct {
	dialect.Codec
	translator dialect.Translator // nil: the format passes through only
	own        []dialect.Name     // the format alone
	array      bool               // Gemini: the stream is wanted as a JSON array
}

func newClient(t dialect.Translator) client {
	return client{Codec: t, translator: t, own: []dialect.Name{t.Name()}}
}

func (c client) name() dialect.Name { return c.Name() }

func (c client) read(body []byte) (dialect.Call, *llm.Error) {
	call, err := c.Read(body)
	if err != nil {
		return nil, asError(err)
	}
	return call, nil
}

func (c client) formats(p *upstream.Provider, model string, stream bool) []dialect.Name {
	switch {
	case p.Endpoint(c.Name(), model, stream) != nil:
		return c.own
	case c.translator == nil:
		return nil
	}
	return spoken(p, model, stream)
}

func (c client) codec() dialect.Codec { return c.Codec }

func (c client) pass(ex *exchange, a *attempt) answer {
	same := &sameAnswer{codec: c.Codec, requestID: ex.requestID, hideUsage: a.askedUsage, call: ex.call}
	if s := ex.route.specialist; s != nil && s.SystemPrompt != "" {
		same.conceal, _ = c.Codec.(dialect.Concealer)
	}
	if c.array {
		return &arrayAnswer{answer: same}
	}
	return same
}

func (c client) decode(ex *exchange) (*llm.Request, error) {
	return c.translator.DecodeRequest(ex.body.bytes(), dialect.DecodeOptions{Seal: ex.sealer()})
}

func (c client) translate(ex *exchange, a *attempt, format dialect.Name) ([]byte, error) {
	content, said, err := ex.translate(a, format, c.translator)
	if err != nil {
		return nil, err
	}
	store, asked := ex.storing(format), ex.request
	if ex.previousID != "" { // which the caller named, and the expanded body does not
		asked = asked.Clone()
		asked.PreviousID = ex.previousID
	}
	said.encoder = c.translator.NewEncoder(dialect.AnswerOptions{
		Stream: said.stream, StreamUsage: ex.request.StreamUsage, Model: ex.call.Model(), RequestID: ex.requestID,
		Now: func() int64 { return time.Now().Unix() }, Seal: ex.sealer(), Request: asked, Store: store,
	})
	if store {
		said.keep = ex.keepResponse
	}
	if c.array {
		a.said = &arrayAnswer{answer: said}
	}
	return content, nil
}

// sameAnswer hands on an answer as it is.
type sameAnswer struct {
	codec     dialect.Codec
	requestID string
	hideUsage bool // the usage chunk was our wish, not the caller's
	call      dialect.Call
	conceal   dialect.Concealer // takes a specialist's prompt out of answers; nil: it is in none
	whole     []byte
}

func (s *sameAnswer) appendEvent(dst []byte, ev sse.Event, mark dialect.Mark) []byte {
	if mark.UsageOnly && s.hideUsage {
		return dst
	}
	if s.conceal != nil && len(ev.Data) > 0 {
		if data := s.conceal.Conceal(ev.Data, s.call); &data[0] != &ev.Data[0] {
			return sse.AppendEvent(dst, string(ev.Type), data)
		}
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

func (s *sameAnswer) read(upstream []byte) *llm.Error {
	s.whole = upstream
	if s.conceal != nil {
		s.whole = s.conceal.Conceal(upstream, s.call)
	}
	return nil
}

func (s *sameAnswer) body() []byte { return s.whole }

func (s *sameAnswer) contentType(upstream []string) []string { return upstream }

func (s *sameAnswer) ping(o *Options) ([]byte, time.Duration) {
	return commentPing, o.PassthroughPing
}

var commentPing = []byte(sse.Ping)

// arrayAnswer says a stream as the JSON array that Gemini's clients get who do
// not ask for `alt=sse`.
type arrayAnswer struct {
	answer
	framer  gemini.ArrayFramer
	scratch []byte
}

func (s *arrayAnswer) appendEvent(dst []byte, ev sse.Event, mark dialect.Mark) []byte {
	s.scratch = s.answer.appendEvent(s.scratch[:0], ev, mark)
	return s.append(dst)
}

func (s *arrayAnswer) appendRest(dst, rest []byte) []byte {
	s.scratch = s.answer.appendRest(s.scratch[:0], rest)
	return s.append(dst)
}

func (s *arrayAnswer) appendEnd(dst []byte, err *llm.Error) []byte {
	s.scratch = s.answer.appendEnd(s.scratch[:0], err)
	return s.framer.Close(s.append(dst))
}

// append appends what the events in scratch mean. They are whole and of a size
// that was held before, so none is too long.
func (s *arrayAnswer) append(dst []byte) []byte {
	dst, _ = s.framer.Append(dst, s.scratch)
	return dst
}

func (s *arrayAnswer) body() []byte {
	s.scratch = s.answer.body()
	return s.framer.Close(s.append(nil))
}

func (s *arrayAnswer) contentType([]string) []string { return jsonType }

func (s *arrayAnswer) ping(*Options) ([]byte, time.Duration) { return nil, 0 }

// asError makes any error one a caller may see.
func asError(err error) *llm.Error {
	if e, ok := errors.AsType[*llm.Error](err); ok {
		return e
	}
	return &llm.Error{Cause: llm.CauseInternal, Message: "the gateway failed on this call", Err: err}
}
