package execute

import (
	"context"
	"strings"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/usage"
)

// ask does a model step.
func (t *task) ask(ctx context.Context) (product, *failure) {
	prompt, err := t.step.PromptTemplate.Execute(ctx, &t.scope)
	if err != nil {
		return product{}, broken(ctx, "prompt", err)
	}
	if t.step.Format == pipeline.FormatJSON {
		return t.askJSON(ctx, prompt)
	}
	text, f := t.answer(ctx, []llm.Message{llm.TextMessage(llm.RoleUser, prompt)})
	return product{text: text}, f
}

// askJSON asks for JSON; an answer that is no good goes back to the model once.
// Nothing is put out before it is known to be good.
func (t *task) askJSON(ctx context.Context, prompt string) (product, *failure) {
	prompt += "\n\nAnswer with JSON alone: no other text, no code fence."
	if t.step.Schema != nil {
		prompt += " It must fit this JSON Schema:\n" + string(t.step.Schema)
	}
	talk := []llm.Message{llm.TextMessage(llm.RoleUser, prompt)}
	for repaired := false; ; repaired = true {
		text, f := t.answer(ctx, talk)
		if f != nil {
			return product{}, f
		}
		p, wrong := t.check(text)
		switch {
		case wrong == "":
			t.say(p.text)
			return p, nil
		case repaired:
			return product{}, failuref("its answer is not the JSON that was asked for, neither at first nor when it was sent back")
		}
		if strings.TrimSpace(text) != "" { // some providers refuse a message that is empty
			talk = append(talk, llm.TextMessage(llm.RoleAssistant, text))
		}
		talk = append(talk, llm.TextMessage(llm.RoleUser,
			"This answer cannot be used: "+wrong+". Answer again with the whole JSON, corrected, and nothing else."))
		t.retry("its answer is not the JSON that was asked for")
	}
}

// check reads a JSON answer, or says to the model what is wrong with it.
func (t *task) check(answer string) (p product, wrong string) {
	p, value, ok := readJSON(answer)
	if !ok {
		return p, "it is not JSON"
	}
	if t.step.AnswerSchema == nil {
		return p, ""
	}
	return p, t.step.AnswerSchema.Validate(value)
}

// answer has the model answer, in as many tries as it may take.
func (t *task) answer(ctx context.Context, talk []llm.Message) (text string, f *failure) {
	f = t.persist(ctx, func(ctx context.Context, s *spender) (f *failure) {
		text, f = t.call(ctx, s, talk)
		return f
	})
	return text, f
}

// call makes one call of the gateway, which may ask several models until one has
// answered.
func (t *task) call(ctx context.Context, s *spender, talk []llm.Message) (string, *failure) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var size int
	var tooLong *failure
	call := callOf(t.step, t.run.Caller, t.run.ID)
	call.Messages = talk
	call.Text = func(piece string) {
		size += len(piece)
		if tooLong == nil {
			tooLong = t.put(len(piece), size)
		}
		switch {
		case tooLong != nil:
			cancel(tooLong)
		case t.step.Format != pipeline.FormatJSON:
			t.say(piece)
		}
	}
	call.Again = func() {
		size = 0
		if t.told {
			t.retry("the model broke off its answer, and another try is made")
		}
	}
	call.Record = func(row usage.Record) { t.account.record(s, t.step.Index, row) }
	answered, err := t.o.Models.Do(ctx, call)
	switch {
	case tooLong != nil:
		return "", tooLong
	case err != nil:
		return "", failureOfModel(err)
	}
	return answered.Text, nil
}

var _ Models = (*gateway.Gateway)(nil)

// failureOfModel is the failure of a model call.
func failureOfModel(err *llm.Error) *failure {
	f := failureOf(err)
	if err.Cause == llm.CauseUpstreamRejected { // the words are the provider's and may quote the prompt
		f.message = "the model's provider refuses the request"
		if err.Code == "context_length_exceeded" {
			f.message += ", since it is too long for the model"
		}
	}
	return f
}
