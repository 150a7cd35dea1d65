package roundtrip_test

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/financecommander/tollgate/internal/llm"
)

// chatUser speaks OpenAI's chat completions.
type chatUser struct{}

func (chatUser) history(messages []llm.Message) (all []js) {
	for _, m := range messages {
		if m.Role == llm.RoleAssistant {
			var content any
			var calls []js
			for _, p := range m.Parts {
				switch p := p.(type) {
				case *llm.Text:
					content = p.Text
				case *llm.ToolCall:
					calls = append(calls, chatCall(p))
				}
			}
			if content == nil {
				content = js("null")
			}
			all = append(all, obj("role", "assistant", "content", content, "tool_calls", calls))
			continue
		}
		var parts []llm.Part
		for _, p := range m.Parts {
			if result, ok := p.(*llm.ToolResult); ok {
				all = append(all, obj("role", "tool", "tool_call_id", result.CallID, "content", chatContent(result.Parts)))
			} else {
				parts = append(parts, p)
			}
		}
		if len(parts) > 0 {
			all = append(all, obj("role", string(m.Role), "name", orNil(m.Name), "content", chatContent(parts)))
		}
	}
	return all
}

func chatCall(c *llm.ToolCall) js {
	if c.Custom {
		return obj("id", c.ID, "type", "custom", "custom", obj("name", c.Name, "input", c.Arguments))
	}
	return obj("id", c.ID, "type", "function", "function", obj("name", c.Name, "arguments", c.Arguments))
}

func chatContent(parts []llm.Part) js {
	if text, ok := parts[0].(*llm.Text); ok && len(parts) == 1 && text.Cache == nil {
		return quote(text.Text)
	}
	var all []js
	for _, p := range parts {
		mark := cacheControl(p.Base().Cache)
		switch p := p.(type) {
		case *llm.Text:
			all = append(all, obj("type", "text", "text", p.Text, "cache_control", mark))
		case *llm.Media:
			all = append(all, chatMedia(p, mark))
		}
	}
	return arr(all)
}

func chatMedia(m *llm.Media, mark any) js {
	switch m.Kind {
	case llm.MediaImage:
		url := m.URL
		if url == "" {
			url = dataURL(m)
		}
		return obj("type", "image_url", "image_url", obj("url", url, "detail", orNil(m.Detail)), "cache_control", mark)
	case llm.MediaAudio:
		return obj("type", "input_audio", "input_audio", obj("data", m.Data, "format", audioFormat(m.MIME)), "cache_control", mark)
	default:
		return obj("type", "file", "file", obj("filename", m.Name, "file_data", dataURL(m)), "cache_control", mark)
	}
}

func dataURL(m *llm.Media) string { return "data:" + m.MIME + ";base64," + m.Data }

func audioFormat(mime string) string {
	if mime == "audio/mpeg" {
		return "mp3"
	}
	return strings.TrimPrefix(mime, "audio/")
}

func cacheControl(mark *llm.CacheMark) any {
	if mark == nil {
		return nil
	}
	return obj("type", "ephemeral", "ttl", orNil(mark.TTL))
}

func (chatUser) body(r *llm.Request, messages []js) js {
	var tools []js
	for _, t := range r.Tools {
		if t.Custom {
			var format any
			if t.Grammar != nil {
				format = js(`{"type":"grammar","grammar":{"syntax":"regex","definition":"[a-z]+"}}`)
			}
			tools = append(tools, obj("type", "custom", "custom", obj("name", t.Name, "description", orNil(t.Description), "format", format)))
			continue
		}
		function := obj("name", t.Name, "description", orNil(t.Description), "parameters", js(t.Schema), "strict", t.Strict)
		tools = append(tools, obj("type", "function", "function", function, "cache_control", cacheControl(t.Cache)))
	}
	var format any
	if o := r.Output; o != nil {
		var schema any
		if o.Kind == llm.OutputJSONSchema {
			schema = obj("name", o.Name, "description", orNil(o.Description), "schema", js(o.Schema), "strict", o.Strict)
		}
		format = obj("type", string(o.Kind), "json_schema", schema)
	}
	var effort, logprobs, options any
	if r.Reasoning != nil {
		effort = r.Reasoning.Effort
	}
	if r.LogProbs {
		logprobs = true
	}
	if r.Stream && r.StreamUsage {
		options = obj("include_usage", true)
	}
	limit := "max_tokens"
	if r.MaxTokens > 1 {
		limit = "max_completion_tokens"
	}
	var stop any
	switch len(r.Stop) {
	case 0:
	case 1:
		stop = r.Stop[0]
	default:
		stop = r.Stop
	}
	return obj("model", r.Model, "messages", messages, "stream", r.Stream, "stream_options", options, limit, r.MaxTokens,
		"tools", tools, "tool_choice", chatChoice(r), "parallel_tool_calls", r.ParallelTools, "response_format", format,
		"temperature", r.Temperature, "top_p", r.TopP, "top_k", r.TopK, "frequency_penalty", r.FrequencyPenalty,
		"presence_penalty", r.PresencePenalty, "seed", r.Seed, "stop", stop, "n", r.N, "logprobs", logprobs,
		"top_logprobs", r.TopLogProbs, "reasoning_effort", effort, "verbosity", orNil(r.Verbosity), "user", orNil(r.User),
		"safety_identifier", orNil(r.SafetyID), "metadata", r.Metadata, "prompt_cache_key", orNil(r.CacheKey),
		"service_tier", orNil(r.ServiceTier), "store", r.Store)
}

func chatChoice(r *llm.Request) any {
	c := r.ToolChoice
	if c == nil {
		return nil
	}
	named := func(name string) js {
		kind := kindOf(r, name)
		return obj("type", kind, kind, obj("name", name))
	}
	switch {
	case len(c.Names) == 0:
		return string(c.Mode)
	case len(c.Names) == 1 && c.Mode == llm.ToolRequired:
		return named(c.Names[0])
	}
	var tools []js
	for _, name := range c.Names {
		tools = append(tools, named(name))
	}
	return obj("type", "allowed_tools", "allowed_tools", obj("mode", string(c.Mode), "tools", tools))
}

func kindOf(r *llm.Request, tool string) string {
	for _, t := range r.Tools {
		if t.Name == tool && t.Custom {
			return "custom"
		}
	}
	return "function"
}

// chatMessage is a message, or what the deltas of one add up to.
type chatMessage struct {
	Content          *string           `json:"content"`
	Refusal          *string           `json:"refusal"`
	Reasoning        *string           `json:"reasoning"`
	ReasoningContent *string           `json:"reasoning_content"`
	ReasoningDetails []json.RawMessage `json:"reasoning_details"`
	Annotations      []json.RawMessage `json:"annotations"`
	ToolCalls        []chatToolCall    `json:"tool_calls"`
}

type chatToolCall struct {
	Index    *int   `json:"index"`
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function *struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
	Custom *struct {
		Name  string `json:"name"`
		Input string `json:"input"`
	} `json:"custom"`
	ExtraContent json.RawMessage `json:"extra_content"`
}

func (u chatUser) read(d dice, body []byte, stream bool) (turn, error) {
	m := &chatMessage{}
	plain := d.oneIn(3)
	if stream {
		if err := u.accumulate(d, m, body); err != nil {
			return turn{}, err
		}
		t := m.turn(plain)
		t.thinking = new("")
		for _, text := range []*string{m.Reasoning, m.ReasoningContent} {
			if text != nil {
				*t.thinking += *text
			}
		}
		return t, nil
	}
	var whole struct {
		Choices []struct {
			Message json.RawMessage `json:"message"`
		} `json:"choices"`
	}
	if err := read(body, &whole); err != nil {
		return turn{}, err
	}
	if len(whole.Choices) == 0 {
		return turn{}, fmt.Errorf("no choice in %s", body)
	}
	if err := read(whole.Choices[0].Message, m); err != nil {
		return turn{}, err
	}
	t := m.turn(plain)
	if !plain {
		t.messages = []js{js(whole.Choices[0].Message)} // the very message
	}
	return t, nil
}

// accumulate adds up a stream's deltas.
func (chatUser) accumulate(d dice, m *chatMessage, body []byte) error {
	all, err := events(d, body)
	if err != nil {
		return err
	}
	if n := len(all); n == 0 || string(all[n-1].Data) != "[DONE]" {
		return fmt.Errorf("the stream does not end with [DONE]: %s", body)
	}
	for _, e := range all[:len(all)-1] {
		var chunk struct {
			Choices []struct {
				Index int         `json:"index"`
				Delta chatMessage `json:"delta"`
			} `json:"choices"`
		}
		if err := read(e.Data, &chunk); err != nil {
			return err
		}
		for _, c := range chunk.Choices {
			if c.Index == 0 {
				if err := m.add(&c.Delta); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func join(a, b *string) *string {
	switch {
	case b == nil:
		return a
	case a == nil:
		return b
	}
	return new(*a + *b)
}

func (m *chatMessage) add(delta *chatMessage) error {
	m.Content, m.Refusal = join(m.Content, delta.Content), join(m.Refusal, delta.Refusal)
	m.Reasoning, m.ReasoningContent = join(m.Reasoning, delta.Reasoning), join(m.ReasoningContent, delta.ReasoningContent)
	m.ReasoningDetails = append(m.ReasoningDetails, delta.ReasoningDetails...)
	m.Annotations = append(m.Annotations, delta.Annotations...)
	for _, c := range delta.ToolCalls {
		switch {
		case c.Index == nil:
			return fmt.Errorf("a tool call without an index")
		case *c.Index == len(m.ToolCalls):
			m.ToolCalls = append(m.ToolCalls, c)
		case *c.Index > len(m.ToolCalls):
			return fmt.Errorf("tool call %d follows %d", *c.Index, len(m.ToolCalls)-1)
		default:
			whole := &m.ToolCalls[*c.Index]
			whole.ID += c.ID
			if c.Function != nil {
				whole.Function.Name += c.Function.Name
				whole.Function.Arguments += c.Function.Arguments
			}
			if c.Custom != nil {
				whole.Custom.Name += c.Custom.Name
				whole.Custom.Input += c.Custom.Input
			}
		}
	}
	return nil
}

// turn sends a message back: whole, or as SDKs do that know OpenAI's members
// only.
func (m *chatMessage) turn(plain bool) turn {
	t := turn{plain: plain}
	var calls []js
	for _, c := range m.ToolCalls {
		var extra any
		if !plain && c.ExtraContent != nil {
			extra = js(c.ExtraContent)
		}
		if c.Custom != nil {
			calls = append(calls, obj("id", c.ID, "type", c.Type, "custom", obj("name", c.Custom.Name, "input", c.Custom.Input), "extra_content", extra))
			t.calls = append(t.calls, call{c.ID, c.Custom.Name, true})
			continue
		}
		calls = append(calls, obj("id", c.ID, "type", c.Type, "function", obj("name", c.Function.Name, "arguments", c.Function.Arguments), "extra_content", extra))
		t.calls = append(t.calls, call{c.ID, c.Function.Name, false})
	}
	content := any(js("null"))
	if m.Content != nil {
		content = *m.Content
	}
	message := []any{"role", "assistant", "content", content, "tool_calls", calls}
	if m.Refusal != nil {
		message = append(message, "refusal", *m.Refusal)
	}
	if !plain {
		for name, text := range map[string]*string{"reasoning": m.Reasoning, "reasoning_content": m.ReasoningContent} {
			if text != nil {
				message = append(message, name, *text)
			}
		}
		if m.ReasoningDetails != nil {
			message = append(message, "reasoning_details", jsAll(m.ReasoningDetails))
		}
		if m.Annotations != nil {
			message = append(message, "annotations", jsAll(m.Annotations))
		}
	}
	t.messages = []js{obj(message...)}
	return t
}
