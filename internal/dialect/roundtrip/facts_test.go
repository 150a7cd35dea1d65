package roundtrip_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
)

// A fact is one thing that a request says, in a form that is the same for two
// requests that say it alike.
type fact struct {
	what string
	pos  llm.Pos // of a part
}

func (f fact) String() string { return f.what }

// settings are what a request says beside its messages, by field.
func settings(r *llm.Request) map[dialect.Field]string {
	all := map[dialect.Field]string{}
	set := func(f dialect.Field, v any) {
		if text := received(fmt.Sprint(v)); text != "" {
			all[f] = text
		}
	}
	for _, t := range r.Tools {
		all[dialect.FieldTools] += fmt.Sprintf("%q %q %s custom=%v %s; ", t.Name, received(t.Description), canonical(string(t.Schema)), t.Custom, canonical(string(t.Grammar)))
		if t.Strict != nil && *t.Strict {
			all["strict"] += t.Name + " "
		}
		if t.Cache != nil {
			all[dialect.FieldCache] += t.Name + t.Cache.TTL + " "
		}
	}
	for _, m := range r.Messages {
		if m.Name != "" {
			all[fieldName] += m.Name + " "
		}
		for _, p := range m.Parts {
			if p.Base().Cache != nil {
				all[dialect.FieldCache] += fmt.Sprintf("%T%s ", p, p.Base().Cache.TTL)
			}
		}
	}
	if c := r.ToolChoice; c != nil {
		set(dialect.FieldToolChoice, strings.TrimSpace(fmt.Sprint(c.Mode, " ", strings.Join(c.Names, " "))))
	}
	if o := r.Output; o != nil && o.Kind != llm.OutputText {
		set(dialect.FieldOutput, string(o.Kind)+canonical(string(o.Schema)))
	}
	for f, v := range map[dialect.Field]*float64{
		dialect.FieldTemperature: r.Temperature, dialect.FieldTopP: r.TopP, dialect.FieldTopK: r.TopK,
		dialect.FieldFrequencyPenalty: r.FrequencyPenalty, dialect.FieldPresencePenalty: r.PresencePenalty,
	} {
		if v != nil {
			set(f, *v)
		}
	}
	if r.ParallelTools != nil {
		set(dialect.FieldParallelTools, *r.ParallelTools)
	}
	if r.MaxTokens != 0 {
		set(dialect.FieldMaxTokens, r.MaxTokens)
	}
	if r.Seed != nil {
		set(dialect.FieldSeed, *r.Seed)
	}
	if len(r.Stop) > 0 {
		set(dialect.FieldStop, strings.Join(r.Stop, "|"))
	}
	if r.N > 1 {
		set(dialect.FieldN, r.N)
	}
	if r.LogProbs {
		set(dialect.FieldLogProbs, true)
	}
	if r.TopLogProbs != nil {
		set(dialect.FieldTopLogProbs, *r.TopLogProbs)
	}
	if thinks := r.Reasoning; thinks != nil {
		set(dialect.FieldReasoning, reasoning(thinks))
	}
	set(dialect.FieldVerbosity, r.Verbosity)
	set(dialect.FieldUser, r.User)
	set(dialect.FieldSafetyID, r.SafetyID)
	set(dialect.FieldCacheKey, r.CacheKey)
	set(dialect.FieldServiceTier, r.ServiceTier)
	if r.Store != nil && *r.Store {
		set(dialect.FieldStore, true)
	}
	if len(r.Metadata) > 0 {
		set(dialect.FieldMetadata, r.Metadata)
	}
	return all
}

// fieldName stands for the names of those who speak.
const fieldName dialect.Field = "name"

// reasoning is whether a model is asked to think. How much is said in words and
// numbers that the formats do not share; the codecs' own tests have the tables.
func reasoning(r *llm.Reasoning) string {
	switch {
	case r.Effort == "none", r.Budget != nil && *r.Budget == 0:
		return "off"
	case r.Effort != "", r.Adaptive, r.Budget != nil:
		return "on"
	}
	return ""
}

// said are the parts of a request's messages in their order. Calls stand in for
// their ids, so that a result must be of the right call but ids may change.
func said(messages []llm.Message) []fact {
	var all []fact
	calls := map[string]string{}
	add := func(role llm.Role, p llm.Part, what ...string) {
		all = append(all, fact{what: string(role) + " " + strings.Join(what, " "), pos: p.Base().Pos})
	}
	for _, m := range joined(messages) {
		role := m.Role
		switch role {
		case llm.RoleDeveloper:
			role = llm.RoleSystem
		case llm.RoleTool:
			role = llm.RoleUser
		default: // is itself
		}
		for _, p := range whole(m) {
			switch p := p.(type) {
			case *llm.Text:
				if p.Text != "" || p.Opaque != nil {
					add(role, p, "text", received(p.Text), state(p.Opaque))
				}
			case *llm.Refusal:
				add(role, p, "refusal", received(p.Text))
			case *llm.Thinking:
				add(role, p, "thinking", p.Text, redacted(p), state(p.Opaque))
			case *llm.Media:
				add(role, p, media(p), state(p.Opaque))
			case *llm.ToolCall:
				calls[p.ID] = p.Name + "(" + canonical(orEmpty(p)) + ")" + custom(p.Custom)
				add(role, p, "call", calls[p.ID], state(p.Opaque))
			case *llm.ToolResult:
				text, files := "", []string(nil)
				for _, part := range p.Parts {
					switch part := part.(type) {
					case *llm.Text:
						text += received(part.Text)
					case *llm.Media:
						files = append(files, media(part))
					}
				}
				prefix := ""
				if rest, ok := strings.CutPrefix(text, "Error: "); ok {
					prefix, text = "Error: ", rest
				}
				if p.IsError {
					prefix = "failed: " + prefix
				}
				add(role, p, "result of", calls[p.CallID], prefix, unwrapped(text), strings.Join(files, " "))
			default:
				add(role, p, fmt.Sprintf("%T", p))
			}
		}
	}
	return all
}

func redacted(t *llm.Thinking) string {
	if t.Redacted {
		return "redacted"
	}
	return ""
}

func custom(is bool) string {
	if is {
		return " custom"
	}
	return ""
}

// orEmpty are a call's arguments; none are an empty object.
func orEmpty(c *llm.ToolCall) string {
	if c.Arguments == "" && !c.Custom {
		return "{}"
	}
	return c.Arguments
}

// whole puts together what a model said in one piece and a stream in several:
// users keep the pieces as they came. Only the last one has the state.
func whole(m llm.Message) []llm.Part {
	if m.Role != llm.RoleAssistant {
		return m.Parts
	}
	var parts []llm.Part
	for _, p := range m.Parts {
		if len(parts) > 0 {
			if one := together(parts[len(parts)-1], p); one != nil {
				parts[len(parts)-1] = one
				continue
			}
		}
		parts = append(parts, p)
	}
	return parts
}

func together(a, b llm.Part) llm.Part {
	if a.Base().Opaque != nil || a.Base().Cache != nil {
		return nil
	}
	switch a := a.(type) {
	case *llm.Text:
		if b, ok := b.(*llm.Text); ok {
			one := *b
			one.Text, one.Pos = a.Text+b.Text, a.Pos
			return &one
		}
	case *llm.Thinking:
		if b, ok := b.(*llm.Thinking); ok && !a.Redacted && !b.Redacted {
			one := *b
			one.Text, one.Pos = a.Text+b.Text, a.Pos
			return &one
		}
	}
	return nil
}

// joined makes one message of a row of the same speaker's.
func joined(messages []llm.Message) []llm.Message {
	var all []llm.Message
	for _, m := range messages {
		if len(m.Parts) == 0 {
			continue
		}
		if n := len(all); n > 0 && all[n-1].Role == m.Role {
			all[n-1].Parts = slices.Concat(all[n-1].Parts, m.Parts)
			continue
		}
		all = append(all, m)
	}
	return all
}

// unwrapped is a result without the {"output": …} that Gemini has around texts,
// since its results must be objects.
func unwrapped(text string) string {
	var object map[string]json.RawMessage
	var inner string
	if json.Unmarshal([]byte(text), &object) == nil && len(object) == 1 && json.Unmarshal(object["output"], &inner) == nil {
		return unwrapped(inner)
	}
	return canonical(text)
}

func media(m *llm.Media) string {
	mime, detail := m.MIME, m.Detail
	if mime == "audio/mp3" { // as some formats call it
		mime = "audio/mpeg"
	}
	if detail == "auto" { // the default
		detail = ""
	}
	return strings.Join([]string{string(m.Kind), mime, m.Data + m.URL + m.FileID, received(m.Text), m.Name, detail}, " ")
}

// state is a provider's state, but for the model: one that came in the format's
// own field has none.
func state(o *llm.Opaque) string {
	if o == nil || o.Value == "skip_thought_signature_validator" { // Gemini's word for none
		return ""
	}
	return "state=" + string(o.Format) + ":" + o.Value + ":" + o.ItemID
}

// results are what an answer says, for comparison within its format.
func results(a *llm.Answer) []string {
	var all []string
	for _, c := range a.Choices {
		for _, f := range said([]llm.Message{{Role: llm.RoleAssistant, Parts: c.Parts}}) {
			all = append(all, strconv.Itoa(c.Index)+": "+f.what)
		}
		for _, p := range c.Parts {
			if t, ok := p.(*llm.Text); ok {
				for _, cite := range t.Citations {
					all = append(all, fmt.Sprintf("cited %s %q %q %d-%d", cite.URL, cite.Title, cite.Quote, cite.Start, cite.End))
				}
			}
			if call, ok := p.(*llm.ToolCall); ok && call.Opaque != nil {
				all = append(all, "model "+call.Opaque.Model)
			}
		}
		all = append(all, fmt.Sprintf("choice %d stopped: %s %q, %v", c.Index, c.Reason, c.StopSequence, tokens(c.LogProbs)))
	}
	return append(all, fmt.Sprintf("%+v reported=%v tier=%s model=%s", a.Usage, a.Reported, a.ServiceTier, a.Model))
}

func tokens(all []llm.LogProb) string {
	var b strings.Builder
	for _, t := range all {
		fmt.Fprintf(&b, "%q %v [%s] ", t.Token, t.LogProb, tokens(t.Top))
	}
	return b.String()
}
