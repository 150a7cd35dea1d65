package dialect

import (
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// Translator is a wire format that can stand on either side of a translation:
// facing a client it decodes requests and encodes answers, facing an upstream it
// encodes requests and decodes answers.
type Translator interface {
	Codec

	// DecodeRequest reads a client's body whole. It is strict where the format
	// is: wrong types, missing members, unknown roles, orphan tool results and
	// bad base64 are *llm.Error with CauseInvalidRequest whose Param is the path
	// in the client's own words ("messages[3].content[0].image_url.url"). What
	// the vocabulary has no word for is kept as Extra and Native.
	DecodeRequest(body []byte, o DecodeOptions) (*llm.Request, error)

	// EncodeRequest writes a request for an upstream. What the format cannot say
	// goes through o.Unsaid: refused with a 400, or left out and noted.
	EncodeRequest(r *llm.Request, o EncodeOptions) ([]byte, error)

	// NewDecoder reads one streamed answer of an upstream.
	NewDecoder(o UpstreamOptions) Decoder

	// DecodeAnswer reads a whole answer of an upstream.
	DecodeAnswer(body []byte, o UpstreamOptions) (*llm.Answer, *llm.Error)

	// NewEncoder writes one answer for a client.
	NewEncoder(o AnswerOptions) Encoder

	// FieldPath names a field of llm.Request as this format's clients know it
	// ("generationConfig.topK"), for errors; "" for one it does not have.
	FieldPath(f Field) string
	// PartPath is where a message or part stood in a client's body
	// ("messages[3].content[0]").
	PartPath(p llm.Pos) string
}

// DecodeOptions are what reading a client's request may need.
type DecodeOptions struct {
	// Seal opens state that an earlier answer carried (never nil; [NoSeal] opens
	// nothing).
	Seal Sealer
}

// EncodeOptions are what writing an upstream's request may need. The zero value
// but for Unsaid is an OpenAI-like upstream without quirks.
type EncodeOptions struct {
	Unsaid *Unsaid // never nil
	// MaxTokensField is the chat member that limits what is generated
	// ("max_completion_tokens", "max_tokens").
	MaxTokensField string
	// AskUsage asks for usage in a stream of chat completions.
	AskUsage bool
	// StrictChat: the chat upstream refuses members that OpenAI does not know, so
	// that Anthropic's cache_control and the like must not be sent.
	StrictChat bool
	// Inline fetches what a media part's URL names and gives the part with Data,
	// for formats that take the content only; nil: fetching is off, and such a
	// part is refused (or dropped) as one the format cannot say.
	Inline func(*llm.Media) (*llm.Media, error)
	// Vertex: the upstream is Google's Vertex AI. Anthropic's body there has no
	// model and a version inside; Gemini's may have labels and counts otherwise.
	Vertex bool
}

// UpstreamOptions say whose answer is read.
type UpstreamOptions struct {
	Model string // as the upstream names it, for [llm.Opaque]
}

// AnswerOptions are what writing an answer for a client may need.
type AnswerOptions struct {
	Stream      bool
	StreamUsage bool         // a chat client asked for usage in its stream
	Model       string       // what the client asked for, where the upstream names no model
	RequestID   string       // for errors in the stream
	Now         func() int64 // Unix seconds; never nil
	Seal        Sealer       // never nil
	// Request is the client's own, for formats whose answers repeat parts of it
	// (Responses). It may be nil.
	Request *llm.Request
	// Store: the answer is kept for a later previous_response_id (Responses).
	Store bool
}

// Decoder reads one streamed answer of an upstream into llm's events. It is the
// answer's [Meter] as well, so that it is walked over once.
type Decoder interface {
	Meter
	// Events gives what the last call of Event or Body made of it; never Finished
	// or Failed. Valid until the next call of any method.
	Events() []llm.Event
	// End is called once, when the answer is over for good or bad (err says why
	// it is not whole). It gives what is left: the ends of open parts and
	// choices, and Finished or Failed.
	End(err *llm.Error) []llm.Event
}

// Encoder writes one answer for a client.
type Encoder interface {
	// AppendEvent appends what a client's stream has for an event. Failed is
	// said so that nobody takes the stream for a whole one.
	AppendEvent(dst []byte, e llm.Event) []byte
	// AppendAnswer appends the body of an unstreamed answer.
	AppendAnswer(dst []byte, a *llm.Answer) []byte
	// Ping is what keeps a silent stream open; nil: the format has nothing that
	// all its clients pass over.
	Ping() []byte
}

// TokenCounter is a format with a call that counts a request's tokens.
type TokenCounter interface {
	// DecodeCount reads a client's request.
	DecodeCount(body []byte, o DecodeOptions) (*llm.Request, error)
	// EncodeCount writes it for an upstream.
	EncodeCount(r *llm.Request, o EncodeOptions) ([]byte, error)
	// DecodeCounted reads an upstream's answer; ok is false for one that is none.
	DecodeCounted(body []byte) (tokens int64, ok bool)
	// AppendCounted appends a client's answer.
	AppendCounted(dst []byte, tokens int64) []byte
}

// Embedder is a format with a call for embeddings.
type Embedder interface {
	Codec
	DecodeEmbed(body []byte) (*llm.EmbedRequest, error)
	EncodeEmbed(r *llm.EmbedRequest, u *Unsaid) ([]byte, error)
	// DecodeEmbedded reads an upstream's answer.
	DecodeEmbedded(body []byte) (*llm.EmbedAnswer, *llm.Error)
	// AppendEmbedded appends a client's answer to its request r.
	AppendEmbedded(dst []byte, a *llm.EmbedAnswer, r *llm.EmbedRequest) []byte
}

// Collect reads a whole stream's events; for upstreams that stream unasked, and
// for tests.
func Collect(d Decoder, events []sse.Event) (*llm.Answer, *llm.Error) {
	var c llm.Collector
	for _, e := range events {
		d.Event(e)
		for _, out := range d.Events() {
			c.Add(out)
		}
	}
	for _, out := range d.End(nil) {
		c.Add(out)
	}
	return c.Answer()
}
