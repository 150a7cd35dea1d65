package fakes

import (
	"encoding/json"
	"strings"
)

// Description is a request in no particular format: the same conversation is
// described alike by all fakes. Things the request did not say are absent.
type Description struct {
	System     string  `json:"system,omitempty"` // all instructions, joined by blank lines
	Items      []Item  `json:"items"`            // all else that was said, in order
	Tools      []Tool  `json:"tools,omitempty"`
	ToolChoice string  `json:"tool_choice,omitempty"` // none, required; of allowed tools: "required: a, b"
	OneTool    bool    `json:"one_tool,omitempty"`    // parallel calls are off
	Output     *Output `json:"output,omitempty"`

	MaxTokens        int64    `json:"max_tokens,omitempty"`
	Temperature      *float64 `json:"temperature,omitempty"`
	TopP             *float64 `json:"top_p,omitempty"`
	TopK             *int64   `json:"top_k,omitempty"`
	FrequencyPenalty *float64 `json:"frequency_penalty,omitempty"`
	PresencePenalty  *float64 `json:"presence_penalty,omitempty"`
	Seed             *int64   `json:"seed,omitempty"`
	Stop             []string `json:"stop,omitempty"`
	N                int      `json:"n,omitempty"`        // if more than one
	Thinking         bool     `json:"thinking,omitempty"` // thinking was asked for
}

// Item is one thing said. Thoughts are no items: they are not conversation, and
// formats differ in what they carry of them.
type Item struct {
	Role      string `json:"role"` // system, user, assistant, tool
	Kind      string `json:"kind"` // text, image, document, audio, tool_call, tool_result
	Text      string `json:"text,omitempty"`
	MIME      string `json:"mime,omitempty"`
	Bytes     int    `json:"bytes,omitempty"` // of the media, decoded
	URL       string `json:"url,omitempty"`
	Tool      string `json:"tool,omitempty"`
	Call      int    `json:"call,omitempty"` // the number of the call, from 1, in the place of its id
	Arguments any    `json:"arguments,omitempty"`
	IsError   bool   `json:"is_error,omitempty"`
	Content   []Item `json:"content,omitempty"` // of a tool's result, if more than text

	id string
}

// Tool is a tool offered.
type Tool struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Parameters  any    `json:"parameters,omitempty"` // its schema
}

// Output is the form asked for.
type Output struct {
	Kind   string `json:"kind"` // json, schema
	Schema any    `json:"schema,omitempty"`
}

func (p *prompt) describe() *Description {
	d := &Description{
		Items: []Item{}, Tools: p.tools, Output: p.output, OneTool: p.parallel != nil && !*p.parallel,
		MaxTokens: p.maxTokens, Temperature: p.temperature, TopP: p.topP, TopK: p.topK, Seed: p.seed, Stop: p.stop,
		FrequencyPenalty: p.frequencyPenalty, PresencePenalty: p.presencePenalty, Thinking: p.asked,
	}
	if p.n > 1 {
		d.N = p.n
	}
	if p.mode != "auto" {
		d.ToolChoice = p.mode
	}
	if len(p.allowed) > 0 {
		d.ToolChoice = p.mode + ": " + strings.Join(p.allowed, ", ")
	}
	var system []string
	calls := map[string]int{}
	for _, it := range p.items {
		switch {
		case it.Role == "system":
			system = append(system, it.Text)
			continue
		case it.Kind == kindCall:
			calls[it.id] = len(calls) + 1
		}
		it.Call = calls[it.id]
		d.Items = append(d.Items, it)
	}
	d.System = strings.Join(system, "\n\n")
	return d
}

// JSON is the description as text.
func (d *Description) JSON() string {
	text, _ := json.Marshal(d)
	return string(text)
}
