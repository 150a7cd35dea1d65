package conformance

import "encoding/json"

// geminiClient speaks Gemini's generateContent.
type geminiClient struct{}

func (geminiClient) name() string     { return "Gemini" }
func (geminiClient) header() []string { return nil }

func (geminiClient) path(t talk) string {
	if t.stream {
		return "/v1beta/models/" + t.model + ":streamGenerateContent?alt=sse"
	}
	return "/v1beta/models/" + t.model + ":generateContent"
}

func (geminiClient) body(t talk) object {
	var contents []any
	say := func(role string, parts ...any) { contents = append(contents, object{"role": role, "parts": parts}) }
	for _, turn := range t.turns {
		switch {
		case turn.answer != nil:
			contents = append(contents, turn.answer...)
		case turn.said != "":
			say("model", object{"text": turn.said})
		case turn.results != nil:
			var parts []any
			for _, r := range turn.results {
				response := object{"functionResponse": object{"name": r.name, "response": object{"output": r.text}}}
				if r.failed {
					response = object{"functionResponse": object{"name": r.name, "response": object{"error": r.text}}}
				}
				if r.id != "" {
					obj(response["functionResponse"])["id"] = r.id
				}
				parts = append(parts, response)
			}
			say("user", parts...)
		case turn.image:
			say("user", object{"text": turn.user}, object{"inlineData": object{"mimeType": "image/png", "data": pixel}})
		default:
			say("user", object{"text": turn.user})
		}
	}
	b := object{"contents": contents}
	if t.system != "" {
		b["systemInstruction"] = object{"parts": []any{object{"text": t.system}}}
	}
	config := object{}
	if t.tools {
		b["tools"] = []any{object{"functionDeclarations": []any{object{
			"name": "get_weather", "description": "tells the weather", "parametersJsonSchema": citySchema(),
		}}}}
	}
	if t.schema {
		config["responseMimeType"], config["responseJsonSchema"] = "application/json", citySchema()
	}
	if t.think {
		config["thinkingConfig"] = object{"includeThoughts": true, "thinkingBudget": 2048}
	}
	if t.max > 0 {
		config["maxOutputTokens"] = t.max
	}
	for name, value := range t.extra {
		if name == "tools" {
			b[name] = value
			continue
		}
		config[name] = value
	}
	if len(config) > 0 {
		b["generationConfig"] = config
	}
	return b
}

func (c geminiClient) read(t talk, o *outcome) {
	if o.status != 200 {
		e := obj(parse(o.raw)["error"])
		o.errType, o.errText = str(e["status"]), str(e["message"])
		return
	}
	var chunks []object
	if t.stream {
		for _, e := range events(o.raw) {
			chunks = append(chunks, parse(e.data))
		}
	} else {
		chunks = []object{parse(o.raw)}
	}
	var parts []any
	for _, chunk := range chunks {
		if e := obj(chunk["error"]); e != nil {
			o.errType, o.errText = str(e["status"]), str(e["message"])
			o.whole = false
			return
		}
		if u := obj(chunk["usageMetadata"]); u != nil {
			o.usage = tokens{
				num(u["promptTokenCount"]) + num(u["toolUsePromptTokenCount"]), num(u["candidatesTokenCount"]) + num(u["thoughtsTokenCount"]),
				num(u["cachedContentTokenCount"]),
			}
		}
		candidate := obj(first(chunk["candidates"]))
		parts = append(parts, list(at(candidate, "content", "parts"))...)
		if reason := str(candidate["finishReason"]); reason != "" {
			o.whole = true
			o.stop = map[string]string{"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "refusal"}[reason]
		}
	}
	for _, p := range parts {
		part := obj(p)
		switch call := obj(part["functionCall"]); {
		case call != nil:
			args, _ := json.Marshal(call["args"])
			o.calls = append(o.calls, called{str(call["id"]), str(call["name"]), string(args)})
			o.stop = "tools"
		case part["thought"] == true:
			o.thinking += str(part["text"])
		default:
			o.text += str(part["text"])
		}
	}
	o.answer = []any{object{"role": "model", "parts": parts}}
}
