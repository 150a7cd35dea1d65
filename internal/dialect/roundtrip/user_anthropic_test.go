package roundtrip_test

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/financecommander/tollgate/internal/llm"
)

// anthropicUser speaks Anthropic's messages.
type anthropicUser struct{}

func (anthropicUser) history(messages []llm.Message) (all []js) {
	for i := 0; i < len(messages); i++ {
		m := messages[i]
		switch m.Role {
		case llm.RoleSystem, llm.RoleDeveloper: // stands beside the messages
			continue
		case llm.RoleAssistant:
			all = append(all, obj("role", "assistant", "content", anthropicContent(m.Parts)))
			continue
		default: // a row of the user's messages is one
		}
		parts := m.Parts
		for i+1 < len(messages) && messages[i+1].Role != llm.RoleAssistant {
			i++
			parts = append(slices.Clip(parts), messages[i].Parts...)
		}
		all = append(all, obj("role", "user", "content", anthropicContent(parts)))
	}
	return all
}

func anthropicContent(parts []llm.Part) js {
	if text, ok := parts[0].(*llm.Text); ok && len(parts) == 1 && text.Cache == nil {
		return quote(text.Text)
	}
	var all []js
	for _, p := range parts {
		all = append(all, anthropicBlock(p))
	}
	return arr(all)
}

func anthropicBlock(p llm.Part) js {
	mark := cacheControl(p.Base().Cache)
	switch p := p.(type) {
	case *llm.Text:
		return obj("type", "text", "text", p.Text, "cache_control", mark)
	case *llm.ToolCall:
		return obj("type", "tool_use", "id", p.ID, "name", p.Name, "input", js(p.Arguments))
	case *llm.ToolResult:
		var failed any
		if p.IsError {
			failed = true
		}
		return obj("type", "tool_result", "tool_use_id", p.CallID, "content", anthropicContent(p.Parts), "is_error", failed)
	case *llm.Media:
		source := obj("type", "base64", "media_type", p.MIME, "data", p.Data)
		switch {
		case p.URL != "":
			source = obj("type", "url", "url", p.URL)
		case p.Text != "":
			source = obj("type", "text", "media_type", "text/plain", "data", p.Text)
		}
		return obj("type", string(p.Kind), "source", source, "title", orNil(p.Name), "cache_control", mark)
	}
	panic(fmt.Sprintf("no block for %T", p))
}

func (anthropicUser) body(r *llm.Request, messages []js) js {
	var system any
	for _, m := range r.Messages {
		if m.Role == llm.RoleSystem {
			system = anthropicContent(m.Parts)
		}
	}
	var tools []js
	for _, t := range r.Tools {
		tools = append(tools, obj("name", t.Name, "description", orNil(t.Description), "input_schema", js(t.Schema), "strict", t.Strict, "cache_control", cacheControl(t.Cache)))
	}
	var thinking, config, metadata any
	var effort, format any
	if t := r.Reasoning; t != nil {
		switch {
		case t.Adaptive:
			thinking, effort = obj("type", "adaptive"), orNil(t.Effort)
		case *t.Budget == 0:
			thinking = obj("type", "disabled")
		default:
			thinking = obj("type", "enabled", "budget_tokens", *t.Budget)
		}
	}
	if r.Output != nil {
		format = obj("type", "json_schema", "schema", js(r.Output.Schema))
	}
	if effort != nil || format != nil {
		config = obj("effort", effort, "format", format)
	}
	if r.User != "" {
		metadata = obj("user_id", r.User)
	}
	return obj("model", r.Model, "max_tokens", r.MaxTokens, "messages", messages, "system", system, "stream", r.Stream,
		"tools", tools, "tool_choice", anthropicChoice(r), "thinking", thinking, "output_config", config, "temperature", r.Temperature,
		"top_p", r.TopP, "top_k", r.TopK, "stop_sequences", r.Stop, "metadata", metadata, "service_tier", orNil(r.ServiceTier))
}

func anthropicChoice(r *llm.Request) any {
	c := r.ToolChoice
	if c == nil {
		return nil
	}
	kind, name := map[llm.ToolMode]string{llm.ToolAuto: "auto", llm.ToolRequired: "any", llm.ToolNone: "none"}[c.Mode], any(nil)
	if len(c.Names) > 0 {
		kind, name = "tool", c.Names[0]
	}
	var single any
	if r.ParallelTools != nil {
		single = !*r.ParallelTools
	}
	return obj("type", kind, "name", name, "disable_parallel_tool_use", single)
}

func (u anthropicUser) read(d dice, body []byte, stream bool) (turn, error) {
	var message struct {
		Content []json.RawMessage `json:"content"`
	}
	if stream {
		blocks, err := u.accumulate(d, body)
		if err != nil {
			return turn{}, err
		}
		message.Content = blocks
	} else if err := read(body, &message); err != nil {
		return turn{}, err
	}
	var t turn
	for _, block := range message.Content {
		if member(block, "type") == "tool_use" {
			t.calls = append(t.calls, call{id: member(block, "id"), name: member(block, "name")})
		}
	}
	if len(message.Content) > 0 {
		t.messages = []js{obj("role", "assistant", "content", jsAll(message.Content))}
	}
	return t, nil
}

// anthropicDelta is an event of a stream.
type anthropicDelta struct {
	Type  string `json:"type"`
	Index int    `json:"index"`
	Block struct {
		Type     string          `json:"type"`
		ID       string          `json:"id"`
		Name     string          `json:"name"`
		Text     string          `json:"text"`
		Thinking string          `json:"thinking"`
		Data     string          `json:"data"`
		Input    json.RawMessage `json:"input"`
	} `json:"content_block"`
	Delta struct {
		Type      string          `json:"type"`
		Text      string          `json:"text"`
		Thinking  string          `json:"thinking"`
		Signature string          `json:"signature"`
		JSON      string          `json:"partial_json"`
		Citation  json.RawMessage `json:"citation"`
	} `json:"delta"`
}

// accumulate adds up a stream's blocks, strictly in the order that Anthropic's
// SDK wants: one at a time, numbered without gaps, between one message_start and
// one message_stop.
func (anthropicUser) accumulate(d dice, body []byte) (blocks []json.RawMessage, err error) {
	all, err := events(d, body)
	if err != nil {
		return nil, err
	}
	open, input, signature := false, "", ""
	var citations []js
	var now anthropicDelta
	state := "message_start"
	for _, e := range all {
		var event anthropicDelta
		if err := read(e.Data, &event); err != nil {
			return nil, err
		}
		if event.Type != string(e.Type) {
			return nil, fmt.Errorf("event %s of type %s", e.Type, event.Type)
		}
		wrong := fmt.Errorf("%s out of order in %s", e.Data, body)
		switch event.Type {
		case "ping":
		case "message_start":
			if state != "message_start" {
				return nil, wrong
			}
			state = "content"
		case "content_block_start":
			if state != "content" || open || event.Index != len(blocks) {
				return nil, wrong
			}
			open, now, input, signature, citations = true, event, "", "", nil
		case "content_block_delta":
			if state != "content" || !open || event.Index != len(blocks) {
				return nil, wrong
			}
			now.Block.Text += event.Delta.Text
			now.Block.Thinking += event.Delta.Thinking
			signature += event.Delta.Signature
			input += event.Delta.JSON
			if event.Delta.Citation != nil {
				citations = append(citations, js(event.Delta.Citation))
			}
		case "content_block_stop":
			if state != "content" || !open || event.Index != len(blocks) {
				return nil, wrong
			}
			open = false
			blocks = append(blocks, json.RawMessage(now.block(input, signature, citations)))
		case "message_delta":
			if state != "content" || open {
				return nil, wrong
			}
			state = "message_stop"
		case "message_stop":
			if state != "message_stop" {
				return nil, wrong
			}
			state = "over"
		default:
			return nil, wrong
		}
	}
	if state != "over" {
		return nil, fmt.Errorf("the stream ends before message_stop: %s", body)
	}
	return blocks, nil
}

func (e *anthropicDelta) block(input, signature string, citations []js) js {
	b := &e.Block
	switch b.Type {
	case "text":
		return obj("type", "text", "text", b.Text, "citations", citations)
	case "thinking":
		return obj("type", "thinking", "thinking", b.Thinking, "signature", signature)
	case "redacted_thinking":
		return obj("type", "redacted_thinking", "data", b.Data)
	case "tool_use":
		if input == "" {
			input = "{}"
		}
		return obj("type", "tool_use", "id", b.ID, "name", b.Name, "input", js(input))
	}
	panic("a block of type " + b.Type)
}
