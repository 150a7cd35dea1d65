package llm

// Event is one step of a streamed answer, in no particular dialect. The set is
// closed. An answer is
//
//	Started (PartStart delta… PartEnd)… ChoiceEnd… Finished
//
// or breaks off with Failed anywhere. Parts have numbers of their own, from 0
// in the order of their starts, over all choices; parts of different choices,
// and parallel tool calls of a chat stream, may overlap ([dialect.Sequence] puts
// them in a row for formats that cannot say that).
type Event interface{ event() }

// Started begins an answer. Fields the provider did not say are zero.
type Started struct {
	ID      string // the provider's
	Model   string // the model that answers, as the provider names it
	Created int64  // Unix seconds
	// Usage is what is known of the input already (Anthropic's message_start).
	Usage Usage
	Extra Extra
}

// PartStart begins a part: the part as far as it is known (a tool call has ID
// and Name), whose text or arguments the deltas add to. A part without deltas
// (an image, a NativePart, redacted thinking) is whole in it.
type PartStart struct {
	Part   int // its number
	Choice int // whose; 0 unless several answers were asked for
	Begin  Part
}

// TextDelta adds to the text of a Text or Refusal part.
type TextDelta struct {
	Part int
	Text string
}

// ThinkingDelta adds to the text of a Thinking part.
type ThinkingDelta struct {
	Part int
	Text string
}

// ArgumentsDelta adds to the arguments of a tool call.
type ArgumentsDelta struct {
	Part int
	JSON string
}

// CitationDelta adds a citation to a Text part.
type CitationDelta struct {
	Part     int
	Citation Citation
}

// LogProbsDelta adds log probabilities of a choice's tokens.
type LogProbsDelta struct {
	Choice int
	Part   int // the Text part they belong to; -1: not known
	Tokens []LogProb
}

// PartEnd ends a part. Opaque, Extra and Wire are what became known of it since
// its start; nil and empty where nothing did.
type PartEnd struct {
	Part   int
	Opaque *Opaque
	Extra  Extra
	Wire   Extra
}

// ChoiceEnd says why an answer of possibly several stopped.
type ChoiceEnd struct {
	Choice       int
	Reason       FinishReason
	StopSequence string // the one met, where the provider says it
	Extra        Extra
}

// Finished ends an answer and says what it cost. Reported is false when the
// provider gave no usage. A decoder gives it from End only.
type Finished struct {
	Reason      FinishReason // the first choice's
	Usage       Usage
	Reported    bool
	Model       string // the model that answered, as the provider names it
	ServiceTier string // how the provider processed the call
	// UsageExtra is what the usage object says beyond Usage.
	UsageExtra Extra
	Extra      Extra
}

// Failed ends an answer that broke off. A decoder gives it from End only.
type Failed struct{ Err *Error }

func (Started) event()        {}
func (PartStart) event()      {}
func (TextDelta) event()      {}
func (ThinkingDelta) event()  {}
func (ArgumentsDelta) event() {}
func (CitationDelta) event()  {}
func (LogProbsDelta) event()  {}
func (PartEnd) event()        {}
func (ChoiceEnd) event()      {}
func (Finished) event()       {}
func (Failed) event()         {}

// LogProb is one token and how likely it was.
type LogProb struct {
	Token   string
	LogProb float64
	Bytes   []byte    // of the token; nil: not said
	Top     []LogProb // alternatives at its place
	Extra   Extra
}

// FinishReason says why a model stopped.
type FinishReason string

// The finish reasons.
const (
	FinishUnknown   FinishReason = ""               // none was given
	FinishStop      FinishReason = "stop"           // the model was done, or met a stop sequence
	FinishLength    FinishReason = "length"         // token limit or context window reached
	FinishToolCalls FinishReason = "tool_calls"     // the model wants tools run
	FinishFilter    FinishReason = "content_filter" // a filter or the model itself refused
	FinishPause     FinishReason = "pause"          // a long turn is paused and goes on when sent back (Anthropic)
	FinishError     FinishReason = "error"          // the provider broke off
	FinishOther     FinishReason = "other"          // a reason this list does not know
)
