package gateway

import (
	"context"

	"github.com/financecommander/tollgate/internal/dialect/portalchat"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/pricing"
)

// Answers follows the answers to the portal's questions while they are given.
type Answers interface {
	// Begin is told of a question before an upstream is asked. It may give nil,
	// which means that the answer is not followed.
	Begin(ctx context.Context, p *identity.Principal, q Question) Answer
}

// Question is what a caller of the portal's chat asked.
type Question struct {
	Text         string // the message, without what was said before
	SpecialistID string
	Provider     string // of the first target
	Model        string
}

// Answer is one that is being given. Its methods are called one at a time.
type Answer interface {
	// Again says that another upstream is asked: what was not passed on is void.
	Again()
	// Text is the next piece of the answer.
	Text(piece string)
	// Pass is called before what there is of the answer is written to the caller.
	// It may wait, for a bounded time and until ctx ends, and says whether it did.
	Pass(ctx context.Context) (waited bool)
	// End is called once, whatever happened. It does not wait.
	End(Outcome)
}

// Outcome is what the end of an answer says of the whole.
type Outcome struct {
	Model        string
	InputTokens  int64
	OutputTokens int64
	Cost         pricing.Money
	Whole        bool // the caller's answer was completed
}

// told is the answer that somebody is told of, and who gives it; the zero value:
// nobody is told.
type told struct {
	answer Answer
	by     *attempt // the latest
}

// tell begins to tell of an answer, if it is one to a known caller of the
// portal's chat.
func (ex *exchange) tell() {
	call, ok := ex.call.(portalchat.Call)
	if !ok || ex.g.Answers == nil || ex.principal == nil || len(ex.route.targets) == 0 {
		return
	}
	first := &ex.route.targets[0]
	ex.told.answer = ex.g.Answers.Begin(ex.r.Context(), ex.principal, Question{
		Text: call.Message, SpecialistID: call.SpecialistID, Provider: first.provider.Name, Model: first.model,
	})
}

// tellAgain says that an attempt is made.
func (ex *exchange) tellAgain(a *attempt) {
	if ex.told.answer != nil {
		ex.told.by = a
		ex.told.answer.Again()
	}
}

// tellText tells of a piece of the answer.
func (ex *exchange) tellText(piece string) {
	if ex.told.answer != nil {
		ex.told.answer.Text(piece)
	}
}

// pass waits until the caller may have what there is of the answer. A wait of
// ours is no silence of the upstream's.
func (ex *exchange) pass(a *attempt) {
	if ex.told.answer != nil && ex.told.answer.Pass(ex.r.Context()) {
		a.watch.touch()
	}
}

// tellEnd says that the answer is over. Only the first call does anything.
func (ex *exchange) tellEnd() {
	answer, a := ex.told.answer, ex.told.by
	if answer == nil {
		return
	}
	ex.told = told{}
	var o Outcome
	if a != nil && a.settled {
		r := a.record
		o = Outcome{Model: r.Model, InputTokens: r.InputTokens, OutputTokens: r.OutputTokens, Cost: r.Cost, Whole: r.Success}
	}
	answer.End(o)
}
