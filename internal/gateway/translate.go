package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
	"github.com/financecommander/tollgate/internal/upstream"
)

// unsupportedHeader lets a caller choose what becomes of what the upstream's
// format cannot say: "drop" or "refuse". droppedHeader tells what was left out.
const (
	unsupportedHeader = "X-Tollgate-Unsupported"
	droppedHeader     = "X-Tollgate-Dropped"
)

// decode decodes the body whole, once.
func (ex *exchange) decode() *llm.Error {
	if ex.request != nil {
		return nil
	}
	request, err := ex.face.decode(ex)
	if err != nil {
		return asError(err)
	}
	ex.request = request
	return nil
}

// translate writes the decoded request for an upstream of a format, and sets up
// the attempt to read what it answers. The caller's encoder is still missing.
func (ex *exchange) translate(a *attempt, format dialect.Name, source dialect.Namer) ([]byte, *translated, error) {
	t := a.target
	codec := translator(format, t.model, ex.call.Stream())
	options := t.provider.EncodeOptions(format)
	options.Unsaid = &dialect.Unsaid{Drop: ex.drops(), Source: source, Target: format}
	options.Inline = ex.inline()
	request := ex.tailored(t, format)
	if err := ex.legible(request, a, format); err != nil {
		return nil, nil, err
	}
	if request.PreviousID != "" && format != dialect.OpenAIResponses {
		return nil, nil, &llm.Error{
			Cause: llm.CauseInvalidRequest, Param: string(dialect.FieldPreviousID), Code: "previous_response_not_found",
			Message: "previous_response_id names no answer that is kept here: send `\"store\": true` with the call it comes from, or the conversation itself in `input`",
		}
	}
	content, err := codec.EncodeRequest(request, options)
	if ex.refusedOurs(err, options.Unsaid) {
		request.Temperature = nil
		options.Unsaid.Dropped = nil
		content, err = codec.EncodeRequest(request, options)
	}
	if err != nil {
		return nil, nil, err
	}
	decoder := codec.NewDecoder(dialect.UpstreamOptions{Model: t.model})
	said := &translated{ex: ex, a: a, codec: codec, decoder: decoder, stream: ex.call.Stream()}
	a.codec, a.meter, a.said, a.dropped = codec, decoder, said, options.Unsaid.Dropped
	return content, said, nil
}

// drops says whether what cannot be said is left out.
func (ex *exchange) drops() bool {
	switch strings.ToLower(ex.r.Header.Get(unsupportedHeader)) {
	case "drop":
		return true
	case "refuse":
		return false
	default:
		return ex.g.DropUnsupported
	}
}

func (ex *exchange) inline() func(*llm.Media) (*llm.Media, error) {
	if ex.g.Fetch == nil {
		return nil
	}
	return func(m *llm.Media) (*llm.Media, error) { return ex.g.Fetch(ex.r.Context(), m) }
}

// sealer seals providers' state for this caller.
func (ex *exchange) sealer() dialect.Sealer {
	if ex.seal == nil {
		ex.seal = dialect.NoSeal{}
		if ex.g.Seal != nil {
			ex.seal = &boundedSealer{Sealer: ex.g.Seal(ex.owner()), left: int(ex.g.MaxBody)}
		}
	}
	return ex.seal
}

// boundedSealer bounds what the tokens of one request may hold in all: they are
// compressed, and one may stand in a body many times.
type boundedSealer struct {
	dialect.Sealer
	left int // bytes
}

// Open implements [dialect.Sealer].
func (b *boundedSealer) Open(token string) ([]byte, bool) {
	if b.left <= 0 {
		return nil, false
	}
	plain, ok := b.Sealer.Open(token)
	b.left -= len(plain)
	return plain, ok && b.left >= 0
}

// owner is whose state and stored answers the call may use.
func (ex *exchange) owner() string {
	if ex.principal == nil {
		return ""
	}
	return ex.principal.UserHash
}

// tailored is the decoded request as a target shall have it: with its
// specialist's settings, and without state of other models.
func (ex *exchange) tailored(t *target, format dialect.Name) *llm.Request {
	request := ex.request.Clone()
	request.Model = t.modelID()
	for i := range request.Messages {
		request.Messages[i].Parts = ownState(request.Messages[i].Parts, format, t.model)
	}
	s := ex.route.specialist
	if s == nil {
		return request
	}
	if s.SystemPrompt != "" {
		prompt := llm.TextMessage(llm.RoleSystem, s.SystemPrompt)
		prompt.Pos = llm.Pos{Message: -1, Part: -1}
		request.Messages = slices.Insert(request.Messages, 0, prompt)
	}
	if request.Temperature == nil {
		request.Temperature = ex.setTemperature(format)
	}
	if s.MaxTokens > 0 && (request.MaxTokens <= 0 || request.MaxTokens > s.MaxTokens) {
		request.MaxTokens = s.MaxTokens
	}
	return request
}

// noSampling is the version from which Anthropic's API takes no temperature.
// Source: https://platform.claude.com/docs/en/api/versioning
const noSampling = "2026-10-21"

// setTemperature is the temperature that the specialist sets for a call to an
// upstream of a format; nil: none, or the API version that the caller speaks, and
// the upstream is told, has no such thing.
func (ex *exchange) setTemperature(format dialect.Name) *float64 {
	s := ex.route.specialist
	if s == nil || format == dialect.AnthropicMessages && ex.face.name() == format && ex.r.Header.Get("Anthropic-Version") >= noSampling {
		return nil
	}
	return s.Temperature
}

// refusedOurs says that a temperature was refused which the specialist has set and
// not the caller, who could do nothing about it. A model that thinks, say, may
// take none.
func (ex *exchange) refusedOurs(err error, u *dialect.Unsaid) bool {
	refused, ok := errors.AsType[*llm.Error](err)
	return ok && ex.request.Temperature == nil && ex.route.specialist != nil && refused.Param == u.Name(dialect.FieldTemperature)
}

// ownState takes out of parts what is another model's: its state, and thinking
// that is nothing without it. A conversation that moves to another model goes on
// without them; they are good for the model that made them and for no other.
func ownState(parts []llm.Part, format dialect.Name, model string) []llm.Part {
	foreign := func(p llm.Part) bool {
		o := p.Base().Opaque
		return o != nil && (o.Format != format || o.Model != "" && o.Model != model)
	}
	if !slices.ContainsFunc(parts, foreign) {
		return parts
	}
	kept := make([]llm.Part, 0, len(parts))
	for _, p := range parts {
		if !foreign(p) {
			kept = append(kept, p)
			continue
		}
		if _, thinking := p.(*llm.Thinking); thinking {
			continue // nothing without its state
		}
		own := llm.ClonePart(p)
		own.Base().Opaque = nil
		kept = append(kept, own)
	}
	return kept
}

// translated hands on an answer in the caller's format.
type translated struct {
	ex      *exchange
	a       *attempt
	codec   dialect.Translator // the upstream's
	decoder dialect.Decoder    // of a stream; it is the attempt's meter as well
	encoder dialect.Encoder    // the caller's
	stream  bool               // the caller wants one
	// keep is told of a whole answer before the caller sees its end; nil: nobody
	// is.
	keep func(dialect.Encoder)

	collected llm.Collector // of a stream that the caller did not ask for
	whole     *llm.Answer
}

func (t *translated) appendEvent(dst []byte, _ sse.Event, _ dialect.Mark) []byte {
	for _, e := range t.decoder.Events() {
		dst = t.say(dst, e)
	}
	return dst
}

func (t *translated) say(dst []byte, e llm.Event) []byte {
	if t.stream {
		return t.encoder.AppendEvent(dst, e)
	}
	t.collected.Add(e)
	return dst
}

// appendRest appends nothing: half an event means nothing to another dialect.
func (t *translated) appendRest(dst, _ []byte) []byte { return dst }

func (t *translated) appendEnd(dst []byte, err *llm.Error) []byte {
	if err != nil && err.Cause == llm.CauseClientGone {
		return dst
	}
	for _, e := range t.decoder.End(err) {
		dst = t.say(dst, e)
	}
	if !t.stream {
		answer, _ := t.collected.Answer()
		dst = t.encoder.AppendAnswer(dst, answer)
	}
	return t.kept(dst, err)
}

// kept lets a whole answer be kept, if it is to be.
func (t *translated) kept(dst []byte, err *llm.Error) []byte {
	if t.keep != nil && err == nil {
		t.keep(t.encoder)
	}
	return dst
}

func (t *translated) read(upstream []byte) (err *llm.Error) {
	t.whole, err = t.codec.DecodeAnswer(upstream, dialect.UpstreamOptions{Model: t.a.target.model})
	return err
}

func (t *translated) body() []byte {
	var dst []byte
	if !t.stream {
		return t.kept(t.encoder.AppendAnswer(nil, t.whole), nil)
	}
	for e := range t.whole.Events { // the upstream answered a streamed call in one piece
		dst = t.encoder.AppendEvent(dst, e)
	}
	return t.kept(dst, nil)
}

func (t *translated) contentType([]string) []string {
	if t.stream {
		return streamType
	}
	return jsonType
}

func (t *translated) ping(o *Options) ([]byte, time.Duration) {
	if !t.stream {
		return nil, 0
	}
	return t.encoder.Ping(), o.Ping
}

// The bounds of what droppedHeader tells.
const (
	maxDropped     = 20
	maxDroppedPath = 100
)

// tellDropped names what was left out of a request. Paths hold members' names
// that the caller sent, so they are made fit for a header.
func tellDropped(h http.Header, paths []string) {
	if len(paths) == 0 {
		return
	}
	plain := make([]string, 0, min(len(paths), maxDropped))
	for _, path := range paths[:min(len(paths), maxDropped)] {
		path = strings.Map(func(r rune) rune {
			if r <= ' ' || r > '~' || r == ',' {
				return '?'
			}
			return r
		}, path)
		plain = append(plain, path[:min(len(path), maxDroppedPath)])
	}
	if len(paths) > len(plain) {
		plain = append(plain, "...")
	}
	h[droppedHeader] = []string{strings.Join(plain, ", ")}
}

// Fetch gets what a media part's URL names, for formats that take content only.
type Fetch func(context.Context, *llm.Media) (*llm.Media, error)

// spoken are the formats to translate to for a provider's model, the best first.
func spoken(p *upstream.Provider, model string, stream bool) []dialect.Name {
	var formats []dialect.Name
	for _, format := range p.Formats() {
		if p.Endpoint(format, model, stream) != nil {
			formats = append(formats, format)
		}
	}
	return formats
}

// order gives a target's formats, the best for this call first. Where a model can
// be asked for its thoughts in one format only (OpenAI's Responses), a call that
// wants to see them, or brings some back, goes there.
func (ex *exchange) order(t *target) []dialect.Name {
	if ex.request != nil && !t.provider.TakesDocuments(t.formats[0]) && slices.ContainsFunc(ex.request.Messages, hasDocuments) {
		if at := slices.IndexFunc(t.formats, t.provider.TakesDocuments); at > 0 {
			return slices.Concat(t.formats[at:at+1], t.formats[:at], t.formats[at+1:])
		}
	}
	at := slices.Index(t.formats, dialect.OpenAIResponses)
	if at <= 0 || ex.request == nil || !wantsThoughts(ex.request, t.model) {
		return t.formats
	}
	return slices.Concat(t.formats[at:at+1], t.formats[:at], t.formats[at+1:])
}

func wantsThoughts(r *llm.Request, model string) bool {
	if r.Reasoning != nil && r.Reasoning.Show != nil && *r.Reasoning.Show {
		return true
	}
	for _, m := range r.Messages {
		for _, p := range m.Parts {
			if p.Base().Opaque.From(dialect.OpenAIResponses, model) {
				return true
			}
		}
	}
	return false
}
