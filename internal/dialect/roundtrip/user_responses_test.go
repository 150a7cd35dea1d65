package roundtrip_test

import (
	"encoding/json"
	"fmt"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/responsestate"
)

// responsesUser speaks OpenAI's Responses. With stored set, the user refers to
// the answer by its id instead of sending it back, and the gateway has kept it.
type responsesUser struct {
	stored *responsestate.Entry
}

func (*responsesUser) history(messages []llm.Message) (all []js) {
	for _, m := range messages {
		var content []llm.Part
		flush := func() {
			if len(content) > 0 {
				all = append(all, responsesMessage(m.Role, content))
			}
			content = nil
		}
		for _, p := range m.Parts {
			switch p := p.(type) {
			case *llm.ToolCall:
				flush()
				all = append(all, responsesCall(p))
			case *llm.ToolResult:
				flush()
				kind := "function_call_output"
				if p.Custom {
					kind = "custom_tool_call_output"
				}
				all = append(all, obj("type", kind, "call_id", p.CallID, "output", responsesContent(llm.RoleUser, p.Parts)))
			default:
				content = append(content, p)
			}
		}
		flush()
	}
	return all
}

func responsesCall(c *llm.ToolCall) js {
	if c.Custom {
		return obj("type", "custom_tool_call", "call_id", c.ID, "name", c.Name, "input", c.Arguments)
	}
	return obj("type", "function_call", "call_id", c.ID, "name", c.Name, "arguments", c.Arguments)
}

func responsesMessage(role llm.Role, parts []llm.Part) js {
	if role == llm.RoleAssistant {
		return obj("type", "message", "role", "assistant", "content", responsesContent(role, parts))
	}
	return obj("role", string(role), "content", responsesContent(role, parts))
}

func responsesContent(role llm.Role, parts []llm.Part) js {
	if text, ok := parts[0].(*llm.Text); ok && len(parts) == 1 {
		return quote(text.Text)
	}
	kind := "input_text"
	if role == llm.RoleAssistant {
		kind = "output_text"
	}
	var all []js
	for _, p := range parts {
		switch p := p.(type) {
		case *llm.Text:
			all = append(all, obj("type", kind, "text", p.Text))
		case *llm.Media:
			all = append(all, responsesMedia(p))
		}
	}
	return arr(all)
}

func responsesMedia(m *llm.Media) js {
	switch {
	case m.Kind == llm.MediaImage && m.URL != "":
		return obj("type", "input_image", "image_url", m.URL, "detail", orNil(m.Detail))
	case m.Kind == llm.MediaImage:
		return obj("type", "input_image", "image_url", dataURL(m), "detail", orNil(m.Detail))
	case m.URL != "":
		return obj("type", "input_file", "file_url", m.URL)
	}
	return obj("type", "input_file", "filename", m.Name, "file_data", dataURL(m))
}

func (u *responsesUser) body(r *llm.Request, items []js) js {
	var tools []js
	for _, t := range r.Tools {
		if t.Custom {
			tools = append(tools, obj("type", "custom", "name", t.Name, "description", orNil(t.Description), "format", orNull(t.Grammar)))
			continue
		}
		tools = append(tools, obj("type", "function", "name", t.Name, "description", orNil(t.Description), "parameters", js(t.Schema), "strict", t.Strict))
	}
	var reasoning, include any
	if r.Reasoning != nil {
		reasoning = obj("effort", orNil(r.Reasoning.Effort), "summary", orNil(r.Reasoning.Summary))
	}
	if r.LogProbs {
		include = []string{"message.output_text.logprobs"}
	}
	var text any
	if o := r.Output; o != nil {
		format := obj("type", string(o.Kind))
		if o.Kind == llm.OutputJSONSchema {
			format = obj("type", string(o.Kind), "name", o.Name, "description", orNil(o.Description), "schema", js(o.Schema), "strict", o.Strict)
		}
		text = obj("format", format, "verbosity", orNil(r.Verbosity))
	} else if r.Verbosity != "" {
		text = obj("verbosity", r.Verbosity)
	}
	body := obj("model", r.Model, "input", items, "stream", r.Stream, "max_output_tokens", r.MaxTokens,
		"tools", tools, "tool_choice", responsesChoice(r), "parallel_tool_calls", r.ParallelTools, "text", text,
		"temperature", r.Temperature, "top_p", r.TopP, "include", include, "top_logprobs", r.TopLogProbs, "reasoning", reasoning,
		"user", orNil(r.User), "safety_identifier", orNil(r.SafetyID), "metadata", r.Metadata, "prompt_cache_key", orNil(r.CacheKey),
		"service_tier", orNil(r.ServiceTier), "store", r.Store, "previous_response_id", u.previous())
	if u.stored == nil {
		return body
	}
	expanded, err := responsestate.Expand(body, u.stored)
	if err != nil {
		panic(err)
	}
	return expanded
}

func (u *responsesUser) previous() any {
	if u.stored == nil {
		return nil
	}
	return u.stored.ID
}

func orNull(text []byte) any {
	if text == nil {
		return nil
	}
	return js(text)
}

func responsesChoice(r *llm.Request) any {
	c := r.ToolChoice
	if c == nil {
		return nil
	}
	named := func(name string) js { return obj("type", kindOf(r, name), "name", name) }
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
	return obj("type", "allowed_tools", "mode", string(c.Mode), "tools", tools)
}

// responseObject is an answer, as far as its user looks at it.
type responseObject struct {
	ID     string            `json:"id"`
	Status string            `json:"status"`
	Output []json.RawMessage `json:"output"`
}

func (u *responsesUser) read(d dice, body []byte, stream bool) (turn, error) {
	var whole responseObject
	if stream {
		if err := u.accumulate(d, &whole, body); err != nil {
			return turn{}, err
		}
	} else if err := read(body, &whole); err != nil {
		return turn{}, err
	}
	t := turn{messages: jsAll(whole.Output)}
	for _, item := range whole.Output {
		var c struct{ Type, CallID, Name string }
		c.Type, c.CallID, c.Name = member(item, "type"), member(item, "call_id"), member(item, "name")
		if c.Type == "function_call" || c.Type == "custom_tool_call" {
			t.calls = append(t.calls, call{c.CallID, c.Name, c.Type == "custom_tool_call"})
		}
	}
	if d.oneIn(3) {
		u.stored = &responsestate.Entry{ID: whole.ID, Output: arr(t.messages)}
		t.messages = nil
	}
	return t, nil
}

// member is a member of an object if it is a string.
func member(object []byte, name string) string {
	var all map[string]json.RawMessage
	var text string
	if json.Unmarshal(object, &all) == nil {
		_ = json.Unmarshal(all[name], &text)
	}
	return text
}

// accumulate checks the events' numbers and takes the output from the last
// event, which must be what the items' own events said.
func (*responsesUser) accumulate(d dice, whole *responseObject, body []byte) error {
	all, err := events(d, body)
	if err != nil {
		return err
	}
	var items []json.RawMessage
	ended := false
	for i, e := range all {
		var event struct {
			Type     string          `json:"type"`
			Number   int             `json:"sequence_number"`
			Index    int             `json:"output_index"`
			Item     json.RawMessage `json:"item"`
			Response json.RawMessage `json:"response"`
		}
		if err := read(e.Data, &event); err != nil {
			return err
		}
		switch {
		case event.Number != i:
			return fmt.Errorf("event %d has the number %d", i, event.Number)
		case event.Type != string(e.Type):
			return fmt.Errorf("event %d is %s and %s", i, e.Type, event.Type)
		}
		switch event.Type {
		case "response.output_item.added":
			if event.Index != len(items) {
				return fmt.Errorf("item %d follows item %d", event.Index, len(items)-1)
			}
		case "response.output_item.done":
			items = append(items, clone(event.Item))
		case "error": // the SDKs raise an exception
			return fmt.Errorf("the stream failed: %s", e.Data)
		case "response.completed", "response.incomplete", "response.failed":
			ended = true
			if err := read(event.Response, whole); err != nil {
				return err
			}
		}
	}
	if !ended {
		return fmt.Errorf("the stream does not end: %s", body)
	}
	if got, want := string(arr(jsAll(whole.Output))), string(arr(jsAll(items))); canonical(got) != canonical(want) {
		return fmt.Errorf("the items were told as\n%s\nand in the end as\n%s", want, got)
	}
	return nil
}
