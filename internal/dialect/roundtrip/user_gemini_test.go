package roundtrip_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/llm"
)

// geminiUser speaks Google's generateContent.
type geminiUser struct{}

func (geminiUser) history(messages []llm.Message) (all []js) {
	for i := 0; i < len(messages); i++ {
		m := messages[i]
		switch m.Role {
		case llm.RoleSystem, llm.RoleDeveloper: // stands beside the contents
			continue
		case llm.RoleAssistant:
			all = append(all, obj("role", "model", "parts", geminiParts(m.Parts)))
			continue
		default: // a row of the user's messages is one
		}
		parts := m.Parts
		for i+1 < len(messages) && messages[i+1].Role != llm.RoleAssistant {
			i++
			parts = append(slices.Clip(parts), messages[i].Parts...)
		}
		all = append(all, obj("role", "user", "parts", geminiParts(parts)))
	}
	return all
}

func geminiParts(parts []llm.Part) (all []js) {
	for _, p := range parts {
		switch p := p.(type) {
		case *llm.Text:
			all = append(all, obj("text", p.Text))
		case *llm.ToolCall:
			all = append(all, obj("functionCall", obj("id", orNil(p.ID), "name", p.Name, "args", js(p.Arguments))))
		case *llm.ToolResult:
			var inner []js
			response := obj()
			for _, p := range p.Parts {
				switch p := p.(type) {
				case *llm.Text:
					response = obj("output", p.Text)
				case *llm.Media:
					inner = append(inner, geminiMedia(p))
				}
			}
			if p.IsError {
				response = obj("error", llm.TextOf(p.Parts))
			}
			all = append(all, obj("functionResponse", obj("id", orNil(p.CallID), "name", p.Name, "response", response, "parts", inner)))
		case *llm.Media:
			all = append(all, geminiMedia(p))
		}
	}
	return all
}

func geminiMedia(m *llm.Media) js {
	if m.URL != "" {
		return obj("fileData", obj("fileUri", m.URL))
	}
	return obj("inlineData", obj("mimeType", m.MIME, "data", m.Data))
}

func (geminiUser) body(r *llm.Request, contents []js) js {
	var system, declarations, config, choice, thinking any
	for _, m := range r.Messages {
		if m.Role == llm.RoleSystem {
			system = obj("parts", geminiParts(m.Parts))
		}
	}
	var functions []js
	for _, t := range r.Tools {
		functions = append(functions, obj("name", t.Name, "description", orNil(t.Description), "parametersJsonSchema", js(t.Schema)))
	}
	if functions != nil {
		declarations = []js{obj("functionDeclarations", functions)}
	}
	if c := r.ToolChoice; c != nil {
		mode := map[llm.ToolMode]string{llm.ToolAuto: "AUTO", llm.ToolRequired: "ANY", llm.ToolNone: "NONE"}[c.Mode]
		if c.Mode == llm.ToolAuto && len(c.Names) > 0 {
			mode = "VALIDATED"
		}
		choice = obj("functionCallingConfig", obj("mode", mode, "allowedFunctionNames", c.Names))
	}
	if t := r.Reasoning; t != nil {
		thinking = obj("includeThoughts", t.Show, "thinkingBudget", t.Budget, "thinkingLevel", orNil(strings.ToUpper(t.Effort)))
	}
	var mime, schema, logprobs any
	if o := r.Output; o != nil {
		switch o.Kind {
		case llm.OutputText:
			mime = "text/plain"
		case llm.OutputJSONObject:
			mime = "application/json"
		case llm.OutputJSONSchema:
			mime, schema = "application/json", js(o.Schema)
		}
	}
	if r.LogProbs {
		logprobs = true
	}
	config = obj("stopSequences", r.Stop, "candidateCount", r.N, "maxOutputTokens", r.MaxTokens, "temperature", r.Temperature,
		"topP", r.TopP, "topK", r.TopK, "seed", r.Seed, "presencePenalty", r.PresencePenalty, "frequencyPenalty", r.FrequencyPenalty,
		"responseLogprobs", logprobs, "logprobs", r.TopLogProbs, "responseMimeType", mime, "responseJsonSchema", schema, "thinkingConfig", thinking)
	return obj("contents", contents, "systemInstruction", system, "tools", declarations, "toolConfig", choice, "generationConfig", config, "labels", r.Metadata)
}

// geminiContent is a candidate's content, of an answer or of a chunk of one.
type geminiContent struct {
	Candidates []struct {
		Index   int             `json:"index"`
		Content json.RawMessage `json:"content"`
	} `json:"candidates"`
}

// read takes an answer. SDKs keep a stream's chunks in their history as contents
// of their own; some users put them together.
func (geminiUser) read(d dice, body []byte, stream bool) (turn, error) {
	var contents []json.RawMessage
	take := func(data []byte) error {
		var answer geminiContent
		if err := read(data, &answer); err != nil {
			return err
		}
		for _, c := range answer.Candidates {
			if c.Index == 0 {
				contents = append(contents, c.Content)
			}
		}
		return nil
	}
	if !stream {
		if err := take(body); err != nil {
			return turn{}, err
		}
	} else {
		all, err := events(d, body)
		if err != nil {
			return turn{}, err
		}
		for _, e := range all {
			if err := take(e.Data); err != nil {
				return turn{}, err
			}
		}
	}
	var t turn
	var parts []js
	for _, content := range contents {
		var c struct {
			Role  string            `json:"role"`
			Parts []json.RawMessage `json:"parts"`
		}
		if err := read(content, &c); err != nil {
			return turn{}, err
		}
		if c.Role != "model" {
			return turn{}, fmt.Errorf("a content of the role %q", c.Role)
		}
		for _, raw := range c.Parts {
			var p struct {
				FunctionCall *struct{ ID, Name string } `json:"functionCall"`
			}
			if err := read(raw, &p); err != nil {
				return turn{}, err
			}
			if p.FunctionCall != nil {
				t.calls = append(t.calls, call{id: p.FunctionCall.ID, name: p.FunctionCall.Name})
			}
			parts = append(parts, js(raw))
		}
	}
	if d.oneIn(2) {
		t.messages = []js{obj("role", "model", "parts", parts)}
	} else {
		t.messages = jsAll(contents)
	}
	return t, nil
}
