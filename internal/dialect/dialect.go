// Package dialect defines what a wire format's codec can do. Each format has a
// folder of its own below this one and is used on both sides of the gateway:
// facing clients and facing upstreams.
//
// Where client and upstream speak the same format nothing is translated: the
// request body gets surgical edits ([Call.Patch]) and keeps every other byte,
// and the answer's bytes pass through while a [Meter] reads along. Where they
// differ, bodies and events go through package llm.
package dialect

import (
	"net/http"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// Name names a wire format in rows, metrics and configuration.
type Name = llm.Format

// The wire formats.
const (
	OpenAIChat        Name = "openai_chat"        // POST /v1/chat/completions
	OpenAICompletions Name = "openai_completions" // POST /v1/completions
	OpenAIEmbeddings  Name = "openai_embeddings"  // POST /v1/embeddings
	OpenAIResponses   Name = "openai_responses"   // POST /v1/responses
	AnthropicMessages Name = "anthropic_messages" // POST /v1/messages
	Gemini            Name = "gemini"             // POST /v1beta/models/{model}:generateContent, :streamGenerateContent
	GeminiEmbeddings  Name = "gemini_embeddings"  // POST /v1beta/models/{model}:embedContent, :batchEmbedContents
	PortalChat        Name = "portal_chat"        // POST /chat/send, /chat/stream
	Pipeline          Name = "pipeline"           // a step of a run; no client speaks it

	// Counting tokens costs nothing and leaves no usage row.
	OpenAICount    Name = "openai_input_tokens"    // POST /v1/responses/input_tokens
	AnthropicCount Name = "anthropic_count_tokens" // POST /v1/messages/count_tokens
	GeminiCount    Name = "gemini_count_tokens"    // POST /v1beta/models/{model}:countTokens
)

// Codec is one wire format.
type Codec interface {
	Name() Name

	// Read finds in a request body what the gateway must know of it. It is
	// strict (one JSON object, no duplicate top-level keys, right types where it
	// looks) and does not decode the rest. Errors are *llm.Error with
	// CauseInvalidRequest that name the field in Param.
	Read(body []byte) (Call, error)

	// NewMeter returns a meter for one answer.
	NewMeter() Meter

	// Error reads an upstream's error answer: its cause, and of its text only
	// what a caller may see. status is never 2xx.
	Error(status int, header http.Header, body []byte) *llm.Error
	ErrorWriter
}

// Concealer is a codec of a format whose answers repeat what was sent, so that
// edits of ours would show.
type Concealer interface {
	// Conceal puts the client's own words back into a whole answer, or into the
	// data of an event. It gives data itself where there is nothing to conceal.
	Conceal(data []byte, call Call) []byte
}

// ErrorWriter says errors as a dialect's clients expect them.
type ErrorWriter interface {
	// WriteError answers a request that failed before its first byte.
	WriteError(w http.ResponseWriter, err *llm.Error, requestID string)
	// AppendErrorEvent appends the event that ends a stream which broke off.
	AppendErrorEvent(dst []byte, err *llm.Error, requestID string) []byte
}

// Call is one request body, read without decoding it whole. It refers to the
// body's bytes and may not outlive them.
type Call interface {
	Model() string
	Stream() bool
	// UsageWanted says that the client itself asked for usage in the stream.
	UsageWanted() bool
	// MaxTokens is the most the client lets the model generate; 0: not said.
	MaxTokens() int64
	// Patch returns the body with the edits made and every other byte kept. It
	// returns the body itself where nothing changes.
	Patch(Edits) ([]byte, error)
	// AppendText appends the request's text (messages, tools, no images) to
	// dst, at most limit bytes of it, for a token estimate.
	AppendText(dst []byte, limit int) []byte
}

// Edits are the changes the gateway makes to a request body.
type Edits struct {
	Model        string   // the upstream's name of the model; "": as it is
	SystemPrompt string   // goes before the client's own instructions
	Temperature  *float64 // used where the client set none
	MaxTokens    int64    // cap: used where the client set none or more; 0: no cap
	// MaxTokensField is the member that carries the limit when the client set
	// none: "max_completion_tokens" or "max_tokens".
	MaxTokensField string
	AskUsage       bool // ask for usage in a stream, if the client did not
	// Into is memory for the edited body, used if it has room; nil: new memory.
	Into []byte
}

// Meter reads along with one upstream answer and learns what it cost. It is
// used by one goroutine.
type Meter interface {
	// Event reads one whole event of a stream.
	Event(sse.Event) Mark
	// Body reads a whole answer that is no stream.
	Body([]byte)
	// Reading is what was learnt so far. It may be asked at any time, also
	// after the answer broke off.
	Reading() Reading
}

// Mark says what an event of a stream was.
type Mark struct {
	Content   bool // carries generated content (text, reasoning, a tool call)
	UsageOnly bool // exists only because usage was asked for: the chunk with empty choices
	Terminal  bool // the last event of a whole stream
	Failed    bool // an error instead of content; Reading().Err says which
}

// Reading is what a meter learnt of an answer.
type Reading struct {
	Usage llm.Usage
	// Beside is what the call cost on top of Usage: passes of the same model that
	// the provider bills but leaves out of its totals (Anthropic's compaction).
	Beside   llm.Usage
	Reported bool             // Usage is the provider's own
	Finish   llm.FinishReason // as far as one was given
	Complete bool             // the answer was whole: its terminal event was seen, or the body was well formed
	Err      *llm.Error       // an error inside a 200 answer
	Model    string           // the model that answered, as the provider names it; "" if it did not say
	// ServiceTier is how the provider says it processed the call ("flex",
	// "priority"), which may change the price; "" if it did not say.
	ServiceTier string
	// Text is generated text seen so far (at most 256 KiB of it), for an
	// estimate where usage is missing; TextBytes counts all of it.
	Text      []byte
	TextBytes int64
	// CostUSD is the cost as the provider itself states it, as a decimal
	// ("0.00123"); "" if it states none.
	CostUSD string
}
