package gateway

import (
	"net/http"
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/usage"
)

// step is the face of a [Call], and its own encoder. There are no bytes on this
// side: the request is here already, and the answer's text goes to the call's
// functions. Nothing of that is beyond recall, so when an answer breaks off it is
// still another target's turn.
type step struct {
	Call
	request *llm.Request
	limit   int // of the answer, in bytes

	by     *attempt // the latest
	text   strings.Builder
	finish llm.FinishReason
	whole  bool
	err    *llm.Error // why there is no answer
}

var (
	_ face            = (*step)(nil)
	_ dialect.Encoder = (*step)(nil)
	_ dialect.Call    = stepCall{}
)

func newStep(c Call) *step {
	s := &step{Call: c, limit: maxAnswer}
	s.request = &llm.Request{
		Model: stepCall{s}.Model(), Messages: c.Messages, Stream: true, StreamUsage: true,
		Output: c.Output, Temperature: c.Temperature, MaxTokens: c.MaxTokens,
	}
	if c.Specialist == "" && c.SystemPrompt != "" {
		s.request.Messages = slices.Concat([]llm.Message{llm.TextMessage(llm.RoleSystem, c.SystemPrompt)}, c.Messages)
	}
	return s
}

// outcome is what the call has come to.
func (s *step) outcome(r *http.Request) (*Answered, *llm.Error) {
	switch {
	case s.whole:
		return &Answered{Text: s.text.String(), Provider: s.by.target.provider.Name, Model: s.by.target.model, Finish: s.finish}, nil
	case s.err != nil:
		return nil, s.err
	case r.Context().Err() != nil:
		return nil, clientGone(r)
	}
	return nil, &llm.Error{Cause: llm.CauseInternal, Message: "the gateway failed on this call; it has been logged"}
}

func (*step) name() dialect.Name { return dialect.Pipeline }

func (s *step) read([]byte) (dialect.Call, *llm.Error) { return stepCall{s}, nil }

func (*step) formats(p *upstream.Provider, model string, stream bool) []dialect.Name {
	return spoken(p, model, stream)
}

func (*step) codec() dialect.Codec { return nil }

func (*step) pass(*exchange, *attempt) answer { return nil }

func (s *step) decode(*exchange) (*llm.Request, error) { return s.request, nil }

func (s *step) translate(ex *exchange, a *attempt, format dialect.Name) ([]byte, error) {
	content, said, err := ex.translate(a, format, nil)
	if err != nil {
		return nil, err
	}
	if ex.tried > 0 && s.Again != nil {
		s.Again()
	}
	s.by, s.finish = a, ""
	s.text.Reset()
	said.encoder = s
	return content, nil
}

// WriteError implements [ErrorWriter]: the error is the call's outcome.
func (s *step) WriteError(_ http.ResponseWriter, err *llm.Error, _ string) { s.err = err }

// AppendEvent implements [dialect.Encoder].
func (s *step) AppendEvent(dst []byte, e llm.Event) []byte {
	switch e := e.(type) {
	case llm.TextDelta:
		s.say(e.Text)
	case llm.Finished:
		s.finish, s.whole = e.Reason, true
	case llm.Failed:
		s.err = e.Err
	}
	return dst
}

func (s *step) say(text string) {
	if text == "" || s.by.tooLong {
		return
	}
	if s.text.Len()+len(text) > s.limit {
		s.by.tooLong = true
		s.by.watch.stop() // no more of it is read
		return
	}
	s.text.WriteString(text)
	if s.Text != nil {
		s.Text(text)
	}
}

// AppendAnswer implements [dialect.Encoder].
func (s *step) AppendAnswer(dst []byte, a *llm.Answer) []byte {
	for e := range a.Events {
		dst = s.AppendEvent(dst, e)
	}
	return dst
}

// Ping implements [dialect.Encoder].
func (*step) Ping() []byte { return nil }

// tellRow gives a copy of a row that the ledger has to who made the call here.
func (ex *exchange) tellRow(r *usage.Record) {
	if s, ok := ex.face.(*step); ok && s.Record != nil {
		s.Record(*r)
	}
}

// refusesOutput says that an upstream, which was told what form the answer is to
// have, called the request bad: many models know no such thing.
func (s *step) refusesOutput(err *llm.Error) bool {
	return err != nil && s.Output != nil && err.Cause == llm.CauseUpstreamRejected &&
		(err.Status() == http.StatusBadRequest || err.Status() == http.StatusUnprocessableEntity) &&
		err.Code != "context_length_exceeded" && !slices.Contains(s.by.dropped, string(dialect.FieldOutput))
}

// askPlainly asks a target without saying what form the answer is to have.
func (ex *exchange) askPlainly(t *target) *llm.Error {
	output := ex.request.Output
	ex.request.Output = nil
	defer func() { ex.request.Output = output }()
	return ex.attempt(t)
}

// stepCall is the request as the gateway looks at it.
type stepCall struct{ *step }

// Model implements [dialect.Call].
func (c stepCall) Model() string {
	if c.Specialist != "" {
		return c.Specialist
	}
	return c.Provider + "/" + c.step.Model
}

// Stream implements [dialect.Call]: a run shows its steps' answers as they come.
func (stepCall) Stream() bool { return true }

// UsageWanted implements [dialect.Call].
func (stepCall) UsageWanted() bool { return true }

// MaxTokens implements [dialect.Call].
func (c stepCall) MaxTokens() int64 { return c.step.MaxTokens }

// Patch implements [dialect.Call]. There is no body to patch.
func (stepCall) Patch(dialect.Edits) ([]byte, error) {
	return nil, &llm.Error{Cause: llm.CauseInternal, Message: "a pipeline's call has no body that could be sent to a provider"}
}

// AppendText implements [dialect.Call].
func (c stepCall) AppendText(dst []byte, limit int) []byte {
	t := wire.NewTextCollector(dst, limit)
	for _, m := range c.request.Messages {
		for _, p := range m.Parts {
			if text, ok := p.(*llm.Text); ok {
				t.Plain(text.Text)
			}
		}
	}
	return t.Bytes()
}
