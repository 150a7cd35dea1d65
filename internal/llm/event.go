package llm

// Event is one step of a streamed answer, in no particular dialect. The set is
// closed.
type Event interface{ event() }

// TextDelta adds to the answer's text.
type TextDelta struct{ Text string }

// ThinkingDelta adds to the model's visible reasoning.
type ThinkingDelta struct{ Text string }

// Finished ends an answer: why it stopped, and the tokens it cost. Reported is
// false when the provider gave no usage.
type Finished struct {
	Reason   FinishReason
	Usage    Usage
	Reported bool
	Model    string // the model that answered, as the provider names it
}

// Failed ends an answer that broke off.
type Failed struct{ Err *Error }

func (TextDelta) event()     {}
func (ThinkingDelta) event() {}
func (Finished) event()      {}
func (Failed) event()        {}

// FinishReason says why a model stopped.
type FinishReason string

// The finish reasons.
const (
	FinishUnknown   FinishReason = ""               // none was given
	FinishStop      FinishReason = "stop"           // the model was done, or met a stop sequence
	FinishLength    FinishReason = "length"         // token limit or context window reached
	FinishToolCalls FinishReason = "tool_calls"     // the model wants tools run
	FinishFilter    FinishReason = "content_filter" // a filter or the model itself refused
	FinishError     FinishReason = "error"          // the provider broke off
	FinishOther     FinishReason = "other"          // a reason this list does not know
)
