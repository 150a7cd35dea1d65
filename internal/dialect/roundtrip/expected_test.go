package roundtrip_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
)

// unsayable are the settings that a format has no words for, or not for all
// models and values. Only they may be refused, or left out and noted.
var unsayable = map[llm.Format][]dialect.Field{
	dialect.OpenAIChat: {dialect.FieldTopK, dialect.FieldCache},
	dialect.OpenAIResponses: {
		dialect.FieldTopK, dialect.FieldFrequencyPenalty, dialect.FieldPresencePenalty, dialect.FieldSeed, dialect.FieldStop,
		dialect.FieldN, dialect.FieldCache,
	},
	dialect.AnthropicMessages: {
		dialect.FieldFrequencyPenalty, dialect.FieldPresencePenalty, dialect.FieldSeed, dialect.FieldN, dialect.FieldLogProbs,
		dialect.FieldTopLogProbs, dialect.FieldVerbosity, dialect.FieldSafetyID, dialect.FieldCacheKey, dialect.FieldStore,
		dialect.FieldMetadata, dialect.FieldServiceTier,
		dialect.FieldTools,                                                                     // custom ones
		dialect.FieldOutput,                                                                    // without a schema
		dialect.FieldStop,                                                                      // of white space
		dialect.FieldCache,                                                                     // more than four marks
		dialect.FieldTemperature, dialect.FieldTopP, dialect.FieldTopK, dialect.FieldReasoning, // by model
	},
	dialect.Gemini: {
		dialect.FieldVerbosity, dialect.FieldParallelTools, dialect.FieldUser, dialect.FieldSafetyID, dialect.FieldCacheKey,
		dialect.FieldStore, dialect.FieldMetadata, dialect.FieldServiceTier, dialect.FieldCache,
		dialect.FieldTools, // custom ones
	},
}

// unsayablePart says that a format cannot say a part, or not to all models.
func unsayablePart(to llm.Format, p llm.Part, inResult bool) bool {
	switch p := p.(type) {
	case *llm.ToolCall:
		return p.Custom && to == dialect.Gemini
	case *llm.ToolResult:
		return p.Custom && to == dialect.Gemini ||
			slices.ContainsFunc(p.Parts, func(inner llm.Part) bool { return unsayablePart(to, inner, true) })
	case *llm.Media:
		switch to {
		case dialect.OpenAIChat:
			return p.Kind == llm.MediaVideo || p.Kind == llm.MediaDocument && p.URL != ""
		case dialect.OpenAIResponses:
			return p.Kind == llm.MediaVideo
		case dialect.AnthropicMessages:
			return p.Kind == llm.MediaVideo || p.Kind == llm.MediaAudio || p.Detail != ""
		case dialect.Gemini:
			return p.URL != "" || p.Detail != "" || p.Name != "" || inResult
		}
	}
	return false
}

// silences are the settings that a format says otherwise, or not at all, without
// a word to the user, each with the reason. Everything else that is not said must
// be refused or noted.
var silences = []struct {
	to    llm.Format // "": all
	field dialect.Field
	why   string
	when  func(want, got string, r *llm.Request) bool // nil: always
}{
	{"", dialect.FieldReasoning, "it is the default, as the model sees fit", func(want, got string, r *llm.Request) bool {
		return r.Reasoning.Effort == "" && (r.Reasoning.Adaptive || r.Reasoning.Budget != nil && *r.Reasoning.Budget < 0)
	}},
	{"", dialect.FieldVerbosity, "it is the default", is("medium")},
	{"", dialect.FieldFrequencyPenalty, "it is the default", is("0")},
	{"", dialect.FieldPresencePenalty, "it is the default", is("0")},
	{"", dialect.FieldParallelTools, "it is the default, or no tool can be called", func(want, got string, r *llm.Request) bool {
		return want == "true" || want == "" && got == "true" || len(r.Tools) == 0 || r.ToolChoice != nil && r.ToolChoice.Mode == llm.ToolNone
	}},
	{"", dialect.FieldServiceTier, "the formats' words for it differ", func(want, got string, r *llm.Request) bool {
		return want == "auto" || got != "" && want != ""
	}},
	{"", dialect.FieldTopLogProbs, "it means nothing without logprobs", func(_, _ string, r *llm.Request) bool { return !r.LogProbs }},
	{dialect.AnthropicMessages, dialect.FieldMaxTokens, "it is required, so there is a default", is("")},
	{dialect.AnthropicMessages, dialect.FieldTemperature, "it is the default", is("1")},
	{dialect.AnthropicMessages, dialect.FieldToolChoice, "there are no tools, or a choice was needed to forbid parallel calls", func(want, got string, r *llm.Request) bool {
		return len(r.Tools) == 0 || want == "" && got == "auto"
	}},
	{dialect.AnthropicMessages, dialect.FieldTools, "the format has no sets of allowed tools, so the others are not sent", allowedSet},
	{dialect.AnthropicMessages, dialect.FieldToolChoice, "likewise", allowedSet},
	{dialect.OpenAIChat, dialect.FieldTools, "OpenAI alone has sets of allowed tools, so the others are not sent", allowedSet},
	{dialect.OpenAIChat, dialect.FieldToolChoice, "likewise", allowedSet},
	{dialect.OpenAIChat, "strict", "likewise", allowedSet},
	{dialect.OpenAIChat, dialect.FieldCache, "likewise", allowedSet},
	{dialect.AnthropicMessages, "strict", "likewise", allowedSet},
	{dialect.AnthropicMessages, dialect.FieldCache, "likewise", allowedSet},
	{dialect.AnthropicMessages, dialect.FieldOutput, "its schemas must be closed", func(want, got string, _ *llm.Request) bool {
		open := func(schema string) string { return strings.ReplaceAll(schema, `,"additionalProperties":false`, "") }
		return got != "" && open(want) == open(got)
	}},
	{dialect.AnthropicMessages, dialect.FieldUser, "safety_identifier says it", func(want, got string, r *llm.Request) bool { return want == "" && got == r.SafetyID }},
	{dialect.AnthropicMessages, dialect.FieldSafetyID, "the user says it", func(want, got string, r *llm.Request) bool { return r.User == "" }},
	{dialect.OpenAIResponses, dialect.FieldReasoning, "gpt-5 always thinks; it gets the least effort", func(want, _ string, r *llm.Request) bool { return want == "off" && r.Model == "gpt-5" }},
	{dialect.Gemini, dialect.FieldReasoning, "Gemini 3 Pro always thinks; it gets the least level", func(want, _ string, r *llm.Request) bool {
		return want == "off" && r.Model == "gemini-3-pro-preview"
	}},
	{dialect.AnthropicMessages, dialect.FieldReasoning, "thoughts to show need thinking", func(want, got string, r *llm.Request) bool {
		return want == "" && r.Reasoning.Show != nil && *r.Reasoning.Show
	}},
	{dialect.Gemini, dialect.FieldToolChoice, "a tool that is strict needs the mode VALIDATED", func(want, got string, r *llm.Request) bool {
		return want == "" && got == "auto"
	}},
	{dialect.Gemini, "strict", "its mode VALIDATED holds for all tools", nil},
}

func allowedSet(_, _ string, r *llm.Request) bool {
	c := r.ToolChoice
	return c != nil && (len(c.Names) > 1 || len(c.Names) == 1 && c.Mode == llm.ToolAuto)
}

func is(value string) func(want, got string, r *llm.Request) bool {
	return func(want, _ string, _ *llm.Request) bool { return want == value }
}

func silent(to llm.Format, field dialect.Field, want, got string, r *llm.Request) bool {
	for _, s := range silences {
		if (s.to == "" || s.to == to) && s.field == field && (s.when == nil || s.when(want, got, r)) {
			return true
		}
	}
	return false
}

// carried are an answer's parts as a user's format has place for them.
func carried(parts []llm.Part, format llm.Format, plain, stream bool) []llm.Part {
	switch format {
	case dialect.OpenAIChat:
		return carriedByChat(parts, plain, stream)
	case dialect.AnthropicMessages, dialect.Gemini: // whose refusals are text
		return mapParts(parts, refusalAsText)
	}
	return parts
}

func mapParts(parts []llm.Part, f func(llm.Part) llm.Part) []llm.Part {
	var all []llm.Part
	for _, p := range parts {
		if p = f(p); p != nil {
			all = append(all, p)
		}
	}
	return all
}

func refusalAsText(p llm.Part) llm.Part {
	if r, ok := p.(*llm.Refusal); ok {
		return &llm.Text{Common: r.Common, Text: r.Text}
	}
	return p
}

// thoughtsFirst puts the thinking of each step of a turn before what else is said
// up to the next call. Gemini's users send thinking without text back with the
// part after it, since Google's SDK for Go forgets parts without text, and where
// exactly it stood is not kept.
func thoughtsFirst(messages []llm.Message) []llm.Message {
	all := joined(messages)
	for i := range all {
		if all[i].Role != llm.RoleAssistant {
			continue
		}
		var thinking, others, parts []llm.Part
		for _, p := range all[i].Parts {
			switch p.(type) {
			case *llm.Thinking:
				thinking = append(thinking, p)
			case *llm.ToolCall:
				parts = slices.Concat(parts, thinking, others, []llm.Part{p})
				thinking, others = nil, nil
			default:
				others = append(others, p)
			}
		}
		all[i].Parts = slices.Concat(parts, thinking, others)
	}
	return all
}

// carriedByChat has the thinking first, then the text, then the calls, since a
// chat message has a member for each. A plain user keeps only the thinking that
// the first call's id carries: all of it, or in a stream what came before.
func carriedByChat(parts []llm.Part, plain, stream bool) []llm.Part {
	var thinking, content, calls []llm.Part
	for _, p := range parts {
		foreign := p.Base().Opaque != nil && p.Base().Opaque.Format != dialect.OpenAIChat
		switch p := p.(type) {
		case *llm.Thinking:
			if !plain || foreign && (len(calls) == 0 || !stream) {
				thinking = append(thinking, p)
			}
		case *llm.ToolCall:
			if plain && !foreign {
				p = new(*p)
				p.Opaque = nil
			}
			calls = append(calls, p)
		case *llm.Text:
			if plain {
				p = new(*p)
				p.Opaque = nil
			}
			content = append(content, p)
		default:
			content = append(content, p)
		}
	}
	if plain && len(calls) == 0 {
		thinking = nil
	}
	return slices.Concat(thinking, content, calls)
}

// shown is an answer as a user's format can say it.
func shown(a *llm.Answer, format llm.Format) []string {
	var all []string
	for _, c := range a.Choices {
		if c.Index > 0 && format != dialect.OpenAIChat && format != dialect.Gemini {
			continue // has one only, and its users cannot ask for more
		}
		var text, refusal, thinking string
		var called, cited []string
		for _, p := range c.Parts {
			switch p := p.(type) {
			case *llm.Text:
				text += p.Text
				for _, cite := range p.Citations {
					if format != dialect.Gemini || !calls(c.Parts) { // they are the candidate's there
						cited = append(cited, cite.URL+" "+cite.Title)
					}
				}
			case *llm.Refusal:
				if format == dialect.OpenAIChat || format == dialect.OpenAIResponses {
					refusal += p.Text
				} else {
					text += p.Text
				}
			case *llm.Thinking:
				thinking += p.Text
			case *llm.ToolCall:
				called = append(called, fmt.Sprintf("%s(%s) %v", p.Name, canonical(p.Arguments), p.Custom))
			}
		}
		all = append(all, fmt.Sprintf("choice %d: text %q refusal %q thinking %q", c.Index, text, refusal, thinking))
		all = append(all, called...)
		all = append(all, cited...)
		reason, stop := c.Reason, c.StopSequence
		if (format == dialect.AnthropicMessages || format == dialect.Gemini) && reason == llm.FinishStop && refuses(c.Parts) {
			reason = llm.FinishFilter // its refusals have a stop reason of their own
		}
		if reason == llm.FinishPause && format != dialect.AnthropicMessages {
			reason = llm.FinishStop // other formats' users cannot send a turn back to go on with it
		}
		if format == dialect.OpenAIResponses || format == dialect.Gemini {
			stop = ""
		}
		all = append(all, fmt.Sprintf("choice %d stopped: %s %q", c.Index, reason, stop))
		if format != dialect.AnthropicMessages && (format != dialect.OpenAIResponses || !calls(c.Parts)) { // a stream from Gemini has them too late
			all = append(all, tokens(c.LogProbs))
		}
	}
	return append(all, fmt.Sprintf("%+v", countable(a.Usage, format)))
}

func refuses(parts []llm.Part) bool {
	return slices.ContainsFunc(parts, func(p llm.Part) bool { _, ok := p.(*llm.Refusal); return ok })
}

func calls(parts []llm.Part) bool {
	return slices.ContainsFunc(parts, func(p llm.Part) bool { _, ok := p.(*llm.ToolCall); return ok })
}

// countable puts the buckets together that a format does not tell apart.
func countable(u llm.Usage, format llm.Format) llm.Usage {
	move := func(to *int64, from ...*int64) {
		for _, f := range from {
			*to += *f
			*f = 0
		}
	}
	if format != dialect.AnthropicMessages {
		move(&u.CacheWrite5m, &u.CacheWrite1h)
	}
	switch format {
	case dialect.OpenAIChat:
		move(&u.CacheRead, &u.CachedImage, &u.CachedAudio)
		move(&u.Input, &u.InputImage, &u.InputVideo)
		move(&u.Output, &u.OutputImage, &u.OutputVideo)
	case dialect.OpenAIResponses:
		move(&u.CacheRead, &u.CachedImage, &u.CachedAudio)
		move(&u.Input, &u.InputAudio, &u.InputImage, &u.InputVideo)
		move(&u.Output, &u.OutputAudio, &u.OutputImage, &u.OutputVideo)
	case dialect.AnthropicMessages:
		move(&u.CacheRead, &u.CachedImage, &u.CachedAudio)
		move(&u.Input, &u.InputAudio, &u.InputImage, &u.InputVideo)
		move(&u.Output, &u.OutputAudio, &u.OutputImage, &u.OutputVideo)
	case dialect.Gemini:
		move(&u.Input, &u.CacheWrite5m)
	}
	return u
}

// spoken is a request as a model's format can say it.
func spoken(r *llm.Request, to, from llm.Format, strict bool) *llm.Request {
	if to == dialect.OpenAIChat && strict { // OpenAI itself has no place for state
		r = r.Clone()
		for i := range r.Messages {
			r.Messages[i].Parts = mapParts(r.Messages[i].Parts, stateless)
		}
	}
	if to == from {
		return r
	}
	out := r.Clone()
	out.Messages = nil
	var shown []llm.Part // of a row of results, for chats
	show := func() {
		if shown != nil {
			out.Messages = append(out.Messages, llm.Message{Role: llm.RoleUser, Parts: shown})
			shown = nil
		}
	}
	for _, m := range r.Messages {
		switch to {
		case dialect.OpenAIChat:
			for _, p := range m.Parts {
				if result, ok := p.(*llm.ToolResult); ok {
					said, rest := spokenByChat(result)
					out.Messages = append(out.Messages, llm.Message{Role: llm.RoleTool, Parts: []llm.Part{said}})
					shown = append(shown, rest...)
				}
			}
			m.Parts = slices.DeleteFunc(slices.Clone(m.Parts), func(p llm.Part) bool { _, ok := p.(*llm.ToolResult); return ok })
			m.Parts = mapParts(mapParts(m.Parts, documentAsText), named("document.pdf"))
			if len(m.Parts) == 0 {
				continue
			}
			show()
		case dialect.AnthropicMessages:
			m.Parts = mapParts(m.Parts, spokenByAnthropic)
		case dialect.Gemini:
			m.Parts = mapParts(mapParts(m.Parts, refusalAsText), unnamed)
		case dialect.OpenAIResponses:
			if m.Role == llm.RoleSystem && m.Pos.Message < 0 { // instructions are one text
				m.Parts = []llm.Part{&llm.Text{Text: llm.TextOf(m.Parts)}}
			}
			m.Parts = mapParts(mapParts(m.Parts, documentAsData), named("document.pdf"))
			m.Parts = mapParts(m.Parts, errorInWords)
		}
		out.Messages = append(out.Messages, m)
	}
	show()
	return out
}

func stateless(p llm.Part) llm.Part {
	switch p := p.(type) {
	case *llm.Thinking:
		return nil
	case *llm.ToolCall:
		p = new(*p)
		p.Opaque = nil
		return p
	default:
		return p
	}
}

// spokenByChat is a result as a chat can say it: as text. What else there is is
// shown in a message of the user's behind the results.
func spokenByChat(r *llm.ToolResult) (said *llm.ToolResult, shown []llm.Part) {
	said = new(*r)
	said.Parts = nil
	for _, p := range r.Parts {
		if text, ok := p.(*llm.Text); ok && text.Text != "" {
			said.Parts = append(said.Parts, p)
		} else if !ok {
			shown = append(shown, p)
		}
	}
	if shown != nil {
		shown = append([]llm.Part{&llm.Text{Text: "Result of tool call " + r.CallID + ":"}}, shown...)
	}
	if llm.TextOf(said.Parts) == "" && shown != nil {
		said.Parts = []llm.Part{&llm.Text{Text: "See the next user message."}}
	}
	if r.IsError && !strings.HasPrefix(strings.ToLower(llm.TextOf(said.Parts)), "error") {
		said.Parts = append([]llm.Part{&llm.Text{Text: "Error: "}}, said.Parts...)
	}
	said.IsError = false
	return said, shown
}

// named gives documents that are sent whole a name, which OpenAI demands.
func named(name string) func(llm.Part) llm.Part {
	return func(p llm.Part) llm.Part {
		m, ok := p.(*llm.Media)
		if !ok || m.Kind != llm.MediaDocument || m.Data == "" || m.Name != "" {
			return p
		}
		m = new(*m)
		m.Name = name
		return m
	}
}

// unnamed takes the names from media, which are for people.
func unnamed(p llm.Part) llm.Part {
	m, ok := p.(*llm.Media)
	if !ok {
		return p
	}
	m = new(*m)
	if m.Text != "" {
		m = documentAsData(m).(*llm.Media)
	}
	m.Name = ""
	return m
}

// errorInWords says that a tool failed where there is no other way to.
func errorInWords(p llm.Part) llm.Part {
	r, ok := p.(*llm.ToolResult)
	if !ok || !r.IsError {
		return p
	}
	r = new(*r)
	r.IsError = false
	if !strings.HasPrefix(strings.ToLower(llm.TextOf(r.Parts)), "error") {
		r.Parts = append([]llm.Part{&llm.Text{Text: "Error: "}}, r.Parts...)
	}
	return r
}

func documentAsData(p llm.Part) llm.Part {
	m, ok := p.(*llm.Media)
	if !ok || m.Text == "" {
		return p
	}
	m = new(*m)
	m.Data, m.Text = base64.StdEncoding.EncodeToString([]byte(m.Text)), ""
	if m.Name == "" {
		m.Name = "document.txt"
	}
	return m
}

func documentAsText(p llm.Part) llm.Part {
	m, ok := p.(*llm.Media)
	switch {
	case !ok || m.Text == "":
		return p
	case m.Name != "":
		return &llm.Text{Common: m.Common, Text: m.Name + "\n\n" + m.Text}
	}
	return &llm.Text{Common: m.Common, Text: m.Text}
}

func spokenByAnthropic(p llm.Part) llm.Part {
	switch p := refusalAsText(p).(type) {
	case *llm.Text:
		if strings.TrimSpace(p.Text) == "" {
			return nil // the API refuses them
		}
		return p
	case *llm.ToolCall:
		if p.Custom { // its tools take JSON
			p = new(*p)
			p.Custom, p.Arguments = false, string(obj("input", p.Arguments))
		}
		return p
	case *llm.ToolResult:
		p = new(*p)
		p.Custom = false
		p.Parts = mapParts(p.Parts, spokenByAnthropic)
		return p
	default:
		return p
	}
}
