package roundtrip_test

import (
	"slices"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
)

// answer is what a model of a format answers, with all that only the format
// itself can say: signatures, encrypted thinking, ids.
func (d dice) answer(r *llm.Request, user, model llm.Format, name string) llm.Answer {
	a := llm.Answer{
		ID: answerIDs[model] + d.word(20), Model: name, Created: 1_760_000_000 + int64(d.IntN(1_000_000)),
		Usage: d.usage(model), Reported: true,
	}
	if model == dialect.AnthropicMessages {
		a.Created = 0
	} else if model != dialect.Gemini {
		a.ServiceTier = pick(d, "default", "default", "flex", "priority")
	}
	choices := 1
	if r.N == 2 && (model == dialect.OpenAIChat || model == dialect.Gemini) {
		choices = 2
	}
	for i := range choices {
		c := llm.Choice{Index: i, Parts: d.answerParts(r, user, model, name)}
		c.Reason, c.StopSequence = d.reason(r, model, c.Parts)
		if r.LogProbs && model != dialect.AnthropicMessages && hasText(c.Parts) {
			c.LogProbs = []llm.LogProb{{Token: "He", LogProb: -0.25, Top: []llm.LogProb{{Token: "He", LogProb: -0.25}, {Token: "Hi", LogProb: -1.5}}}, {Token: "llo", LogProb: -3}}
		}
		a.Choices = append(a.Choices, c)
	}
	return a
}

var answerIDs = map[llm.Format]string{
	dialect.OpenAIChat: "chatcmpl-", dialect.OpenAIResponses: "resp_", dialect.AnthropicMessages: "msg_01", dialect.Gemini: "",
}

func hasText(parts []llm.Part) bool {
	for _, p := range parts {
		if _, ok := p.(*llm.Text); ok {
			return true
		}
	}
	return false
}

func (d dice) reason(r *llm.Request, model llm.Format, parts []llm.Part) (reason llm.FinishReason, stop string) {
	for _, p := range parts {
		if _, ok := p.(*llm.ToolCall); ok {
			return llm.FinishToolCalls, ""
		}
	}
	if model == dialect.AnthropicMessages && len(r.Stop) > 0 && d.oneIn(2) {
		return llm.FinishStop, r.Stop[0]
	}
	reasons := []llm.FinishReason{llm.FinishStop, llm.FinishStop, llm.FinishStop, llm.FinishLength, llm.FinishFilter}
	if model == dialect.AnthropicMessages {
		reasons = append(reasons, llm.FinishPause)
	}
	return pick(d, reasons...), ""
}

// usage fills the buckets that a format tells apart.
func (d dice) usage(model llm.Format) llm.Usage {
	some := func() int64 { return pick(d, 0, 1, int64(d.IntN(100_000))) }
	u := llm.Usage{Input: some(), CacheRead: some(), Output: some(), Reasoning: some()}
	switch model {
	case dialect.OpenAIChat:
		u.CacheWrite5m, u.InputAudio, u.OutputAudio = some(), some(), some()
	case dialect.OpenAIResponses:
		u.CacheWrite5m = some()
	case dialect.AnthropicMessages:
		u.CacheWrite5m, u.CacheWrite1h = some(), some()
	case dialect.Gemini:
		u.InputAudio, u.InputImage, u.InputVideo, u.CachedImage, u.OutputImage = some(), some(), some(), some(), some()
	}
	return u
}

func (d dice) answerParts(r *llm.Request, user, model llm.Format, name string) []llm.Part {
	state := func(value string) *llm.Opaque { return &llm.Opaque{Format: model, Model: name, Value: value} }
	switch model {
	case dialect.OpenAIChat:
		return d.chatParts(r, state)
	case dialect.OpenAIResponses:
		return d.responsesParts(r, state)
	case dialect.AnthropicMessages:
		return d.anthropicParts(r, state)
	}
	return d.geminiParts(r, user, state)
}

// calls are the calls of an answer, none in half of the cases.
func (d dice) calls(r *llm.Request, model llm.Format) (calls []*llm.ToolCall) {
	if model == dialect.AnthropicMessages || model == dialect.Gemini { // which custom tools do not reach
		r = r.Clone()
		r.Tools = slices.DeleteFunc(slices.Clone(r.Tools), func(t llm.Tool) bool { return t.Custom })
	}
	if len(r.Tools) == 0 || d.oneIn(3) {
		return nil
	}
	for range 1 + d.IntN(3) {
		calls = append(calls, d.call(r, model))
	}
	return calls
}

func (d dice) chatParts(r *llm.Request, state func(string) *llm.Opaque) (parts []llm.Part) {
	if d.oneIn(2) {
		members := pick(d, "reasoning_content", "reasoning")
		t := &llm.Thinking{Text: d.said()}
		t.Opaque = state(members)
		t.Wire = llm.Extra{Format: dialect.OpenAIChat, JSON: obj("members", members)}
		parts = append(parts, t)
	}
	calls := d.calls(r, dialect.OpenAIChat)
	switch {
	case len(calls) == 0 && d.oneIn(10):
		parts = append(parts, &llm.Refusal{Text: d.said()})
	case len(calls) == 0 || d.oneIn(2):
		text := &llm.Text{Text: d.said()}
		if d.oneIn(6) {
			text.Citations = []llm.Citation{{URL: "https://example.com/" + d.word(4), Title: "A title ü", Start: 0, End: 3}}
		}
		parts = append(parts, text)
	}
	for _, call := range calls {
		if d.oneIn(5) { // Gemini's compatible endpoint
			call.Opaque = state(string(obj("google", obj("thought_signature", d.bytes(40)))))
		}
		parts = append(parts, call)
	}
	return parts
}

func (d dice) responsesParts(r *llm.Request, state func(string) *llm.Opaque) (parts []llm.Part) {
	think := func() {
		t := &llm.Thinking{Text: pick(d, "", d.said())}
		t.Opaque = state(d.bytes(300))
		t.Opaque.ItemID = "rs_" + d.word(30)
		parts = append(parts, t)
	}
	if d.oneIn(2) {
		think()
	}
	calls := d.calls(r, dialect.OpenAIResponses)
	switch {
	case len(calls) == 0 && d.oneIn(10):
		parts = append(parts, &llm.Refusal{Text: d.said()})
	case len(calls) == 0 || d.oneIn(2):
		text := &llm.Text{Text: d.said()}
		if d.oneIn(6) {
			text.Citations = []llm.Citation{{URL: "https://example.com/" + d.word(4), Title: "A title", Start: 1, End: 3}}
		}
		parts = append(parts, text)
	}
	for _, call := range calls {
		if d.oneIn(4) {
			think()
		}
		if d.oneIn(8) {
			parts = append(parts, &llm.Text{Text: d.said()})
		}
		parts = append(parts, call)
	}
	return parts
}

func (d dice) anthropicParts(r *llm.Request, state func(string) *llm.Opaque) (parts []llm.Part) {
	think := func() {
		t := &llm.Thinking{Text: pick(d, d.said(), d.said(), "")}
		if t.Opaque = state(d.bytes(300)); d.oneIn(4) {
			t.Text, t.Redacted = "", true
		}
		parts = append(parts, t)
	}
	for d.oneIn(2) {
		think()
	}
	calls := d.calls(r, dialect.AnthropicMessages)
	if len(calls) == 0 || d.oneIn(2) {
		text := &llm.Text{Text: d.said()}
		if d.oneIn(6) {
			citation := llm.Citation{URL: "https://example.com/" + d.word(4), Title: "A title", Quote: "quoted"}
			citation.Extra = llm.Extra{Format: dialect.AnthropicMessages, JSON: obj("type", "web_search_result_location", "url", citation.URL,
				"title", citation.Title, "encrypted_index", d.bytes(20), "cited_text", citation.Quote)}
			text.Citations = []llm.Citation{citation}
		}
		parts = append(parts, text)
	}
	for _, call := range calls {
		if d.oneIn(6) {
			think()
		}
		if d.oneIn(8) {
			parts = append(parts, &llm.Text{Text: d.said()})
		}
		parts = append(parts, call)
	}
	return parts
}

func (d dice) geminiParts(r *llm.Request, user llm.Format, state func(string) *llm.Opaque) (parts []llm.Part) {
	signed := func(n int) *llm.Opaque {
		if d.oneIn(n) {
			return nil
		}
		return state(d.bytes(200))
	}
	if d.oneIn(2) {
		t := &llm.Thinking{Text: d.said()}
		t.Opaque = signed(2)
		parts = append(parts, t)
	}
	calls := d.calls(r, dialect.Gemini)
	if len(calls) == 0 || d.oneIn(2) {
		text := &llm.Text{Text: d.said()}
		text.Opaque = signed(2)
		parts = append(parts, text)
	}
	if user == dialect.Gemini && d.oneIn(12) { // other users' SDKs have no place for it
		parts = append(parts, &llm.Media{Common: llm.Common{Opaque: signed(3)}, Kind: llm.MediaImage, MIME: "image/png", Data: d.bytes(60)})
	}
	for i, call := range calls {
		if i == 0 { // parallel calls share one
			call.Opaque = signed(6)
		}
		parts = append(parts, call)
	}
	return parts
}
