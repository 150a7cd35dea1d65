package gateway

import (
	"context"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/usage"
)

// Call is a model call that the gateway makes for a caller by itself: a step of a
// pipeline. It goes the way of all calls, and no other.
type Call struct {
	Caller *identity.Principal
	// Label is what the rows say: the run, the step, and the step's name in the
	// specialist's place.
	Label Label

	// Specialist is the id or alias of one; else Provider and Model are asked.
	Specialist   string
	Provider     string
	Model        string
	SystemPrompt string // of a model that is no specialist
	// Temperature and MaxTokens go before a specialist's; nil and 0: not said.
	Temperature *float64
	MaxTokens   int64
	// Fallbacks come after the specialist's own.
	Fallbacks []specialist.Target

	Messages []llm.Message
	Output   *llm.OutputFormat // nil: text. Where an upstream cannot be told, it is not.

	// Text gets the answer as it comes; Again says that another upstream is asked,
	// so that what came is void. Either may be nil. They are called one at a time.
	Text  func(piece string)
	Again func()
	// Record gets a copy of each row of the usage log that the call leaves, also of
	// tries that failed; nil: nobody does. It must not wait.
	Record func(usage.Record)
}

// Answered is the whole answer to a [Call].
type Answered struct {
	Text     string
	Provider string
	Model    string // that answered, by the name it was asked by
	Finish   llm.FinishReason
}

// Do makes a call and waits for its end.
func (g *Gateway) Do(ctx context.Context, c Call) (*Answered, *llm.Error) { panic("to be written") }

// MayDo says why a call would be refused whatever its messages are: there is no
// such specialist or model, or the caller may not use it. nil: it would not.
func (g *Gateway) MayDo(c Call) *llm.Error { panic("to be written") }
