package anthropic

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// thought is how a request asks a model to think.
type thought struct {
	kind   string // the `type`; "": nothing is said
	on     bool   // the model will think
	budget int64  // in tokens; 0: none
	effort string // for output_config
}

// thinking decides how to ask for the reasoning that the client wants. What
// cannot be had is for [writer.writeThinking] to say.
func (w *writer) thinking() thought {
	want := w.r.Reasoning
	switch {
	case want == nil:
		return thought{}
	case w.native:
		return w.nativeThinking()
	case off(want):
		if w.model.thinking == noThinking || w.model.thinking == alwaysThinking {
			return thought{}
		}
		return thought{kind: thinkingDisabled}
	case w.model.thinking == noThinking, w.mute() != "":
		return thought{}
	}
	budget := int64(-1)
	if want.Budget != nil {
		budget = *want.Budget
	}
	switch w.model.thinking {
	case budgetThinking:
		return w.budgeted(want.Effort, budget)
	case eitherThinking:
		if budget > 0 && want.Effort == "" && w.fits(budget) >= minBudget {
			return w.budgeted("", budget)
		}
	case noThinking, adaptiveThinking, alwaysThinking:
	}
	t := thought{kind: thinkingAdaptive, on: true}
	switch {
	case want.Effort != "":
		t.effort = w.model.effort(want.Effort)
	case budget > 0:
		t.effort = w.model.effortOf(budget)
	case !wanted(want) && (want.Show == nil || !*want.Show): // to ask for thoughts is to ask for thinking
		return thought{}
	}
	return t
}

// off says that the client wants no thinking.
func off(want *llm.Reasoning) bool {
	return want.Effort == "none" || want.Budget != nil && *want.Budget == 0
}

// wanted says that the client wants thinking, be it by an effort, a budget or a
// word.
func wanted(want *llm.Reasoning) bool {
	return want != nil && !off(want) && (want.Effort != "" || want.Budget != nil || want.Adaptive)
}

// budgeted asks for thinking with a budget: the client's, or one for its effort.
func (w *writer) budgeted(effort string, budget int64) thought {
	if budget <= 0 {
		budget = budgets[effort]
	}
	if budget == 0 {
		if !wanted(w.r.Reasoning) {
			return thought{}
		}
		budget = budgets["medium"]
	}
	if budget = w.fits(max(budget, minBudget)); budget < minBudget {
		return thought{}
	}
	return thought{kind: thinkingEnabled, on: true, budget: budget}
}

// fits is a budget below the client's limit, as the API wants it.
func (w *writer) fits(budget int64) int64 {
	if w.r.MaxTokens > 0 {
		return min(budget, w.r.MaxTokens-1)
	}
	return budget
}

// nativeThinking says what the client said. The budget stays below the limit,
// which the gateway may have lowered.
func (w *writer) nativeThinking() thought {
	want := w.r.Reasoning
	t := thought{effort: want.Effort}
	switch own := want.Extra.In(Format); {
	case wire.Member(own, "type") != nil:
		t.kind = string(jsonedit.AppendText(nil, wire.Member(own, "type")))
	case want.Adaptive:
		t.kind = thinkingAdaptive
	case want.Budget != nil && *want.Budget > 0:
		t.kind, t.budget = thinkingEnabled, *want.Budget
		if limit := w.r.MaxTokens; limit > minBudget && t.budget >= limit {
			t.budget = limit - 1
		}
	case want.Budget != nil:
		t.kind = thinkingDisabled
	}
	t.on = t.kind != "" && t.kind != thinkingDisabled
	return t
}

// mute says why there can be no thinking in this call; "" if there can. With a
// budget, the answer to a tool's result must follow thinking that the API can
// check, and no tool may be forced.
func (w *writer) mute() string {
	if choice := w.r.ToolChoice; choice != nil && choice.Mode == llm.ToolRequired && len(w.r.Tools) > 0 {
		return forcedTool
	}
	if w.model.thinking == budgetThinking && w.thoughtless() {
		return lostThinking
	}
	return ""
}

const (
	forcedTool   = "it cannot think where a tool is forced"
	lostThinking = "the thinking before the tool's call is lost"
)

// thoughtless says that the last turn called a tool without thinking that can be
// sent again.
func (w *writer) thoughtless() bool {
	for i := len(w.r.Messages) - 1; i >= 0; i-- {
		m := &w.r.Messages[i]
		if m.Role != llm.RoleAssistant {
			continue
		}
		if i == len(w.r.Messages)-1 {
			return false
		}
		called, thought := false, false
		for _, p := range m.Parts {
			switch p := p.(type) {
			case *llm.ToolCall:
				called = true
			case *llm.Thinking:
				thought = thought || replayable(p)
			}
		}
		return called && !thought
	}
	return false
}

// replayable says that thinking can be sent back: it has Anthropic's own proof.
func replayable(p *llm.Thinking) bool { return p.Opaque != nil && p.Opaque.Format == Format }

// writeThinking writes the thinking and the effort, the output's format beside
// it, and says what cannot be had.
func (w *writer) writeThinking() error {
	t := w.thinking()
	if !w.native {
		if err := w.unthinkable(t); err != nil {
			return err
		}
	}
	if t.kind != "" {
		want := w.r.Reasoning
		w.Name("thinking").Object().Name("type").Text(t.kind)
		w.IntMember("budget_tokens", t.budget)
		shown := t.kind == thinkingEnabled && want.Show != nil && *want.Show // which needs no word
		if want.Show != nil && !shown && (w.native || t.on && w.model.thinking >= adaptiveThinking) {
			w.Name("display").Text(display(*want.Show))
		}
		w.Members(want.Extra.In(Format), "type")
		w.End()
	}
	return w.writeOutput(t.effort)
}

func display(show bool) string {
	if show {
		return "summarized"
	}
	return "omitted"
}

// unthinkable says what of the client's wish is not met.
func (w *writer) unthinkable(t thought) error {
	want := w.r.Reasoning
	if want == nil {
		return nil
	}
	if err := w.extra(want.Extra, string(dialect.FieldReasoning)); err != nil {
		return err
	}
	switch {
	case off(want) && w.model.thinking == alwaysThinking:
		return w.o.Unsaid.Field(dialect.FieldReasoning, "it always thinks")
	case t.on || !wanted(want):
		return nil
	case w.model.thinking == noThinking:
		return w.o.Unsaid.Field(dialect.FieldReasoning, "it cannot think")
	case w.mute() == forcedTool:
		return w.o.Unsaid.Field(dialect.FieldReasoning, forcedTool)
	}
	// The thinking before a tool's call is lost, or the limit leaves no room: the
	// call is worth more without thinking than not at all.
	w.o.Unsaid.Leave(dialect.FieldReasoning)
	return nil
}

// writeOutput writes output_config.
func (w *writer) writeOutput(effort string) error {
	out := w.r.Output
	if out != nil && (out.Kind == llm.OutputText || out.Kind == "") {
		out = nil
	}
	if out != nil && len(out.Schema) == 0 {
		if err := w.o.Unsaid.Field(dialect.FieldOutput, "it takes a JSON Schema only"); err != nil {
			return err
		}
		out = nil
	}
	rest := wire.Member(w.r.Extra.In(Format), "output_config")
	if out == nil && effort == "" && rest == nil {
		return nil
	}
	w.Name("output_config").Object()
	w.TextMember("effort", effort)
	if out != nil {
		if err := w.extra(out.Extra, w.o.Unsaid.Name(dialect.FieldOutput)); err != nil {
			return err
		}
		w.Name("format").Object().Name("type").Text(string(llm.OutputJSONSchema))
		w.Name("schema")
		if w.native {
			w.Raw(out.Schema)
		} else {
			w.Bytes = appendClosed(w.Bytes, out.Schema)
		}
		w.Members(out.Extra.In(Format))
		w.End()
	}
	w.Members(rest)
	w.End()
	return nil
}
