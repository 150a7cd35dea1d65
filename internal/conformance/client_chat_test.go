package conformance

import "maps"

// chatClient speaks OpenAI's chat completions.
type chatClient struct{}

func (chatClient) name() string     { return "OpenAI Chat" }
func (chatClient) path(talk) string { return "/v1/chat/completions" }
func (chatClient) header() []string { return nil }

func (chatClient) body(t talk) object {
	var messages []any
	say := func(role string, content any) { messages = append(messages, object{"role": role, "content": content}) }
	if t.system != "" {
		content := any(t.system)
		if t.cache {
			content = []any{object{"type": "text", "text": t.system, "cache_control": object{"type": "ephemeral"}}}
		}
		say("system", content)
	}
	for _, turn := range t.turns {
		switch {
		case turn.answer != nil:
			messages = append(messages, turn.answer...)
		case turn.said != "":
			say("assistant", turn.said)
		case turn.results != nil:
			for _, r := range turn.results {
				messages = append(messages, object{"role": "tool", "tool_call_id": r.id, "content": r.text})
			}
		case turn.image:
			say("user", []any{
				object{"type": "text", "text": turn.user},
				object{"type": "image_url", "image_url": object{"url": "data:image/png;base64," + pixel}},
			})
		default:
			say("user", turn.user)
		}
	}
	b := object{"model": t.model, "messages": messages}
	if t.stream {
		b["stream"], b["stream_options"] = true, object{"include_usage": true}
	}
	if t.tools {
		b["tools"] = []any{object{"type": "function", "function": object{
			"name": "get_weather", "description": "tells the weather", "parameters": citySchema(),
		}}}
	}
	if t.parallel {
		b["parallel_tool_calls"] = true
	}
	if t.schema {
		b["response_format"] = object{"type": "json_schema", "json_schema": object{"name": "city", "schema": citySchema(), "strict": true}}
	}
	if t.think {
		b["reasoning_effort"] = "medium"
	}
	if t.max > 0 {
		b["max_completion_tokens"] = t.max
	}
	maps.Copy(b, t.extra)
	return b
}

func (c chatClient) read(t talk, o *outcome) {
	if o.status != 200 {
		o.failed(obj(parse(o.raw)["error"]))
		return
	}
	if !t.stream {
		b := parse(o.raw)
		choice := obj(first(b["choices"]))
		o.usage = chatTokens(obj(b["usage"]))
		c.message(obj(choice["message"]), str(choice["finish_reason"]), o)
		o.whole = o.stop != ""
		return
	}
	message, finish := object{"role": "assistant"}, ""
	var calls []any
	for _, e := range events(o.raw) {
		if e.data == "[DONE]" {
			o.whole = true
			continue
		}
		chunk := parse(e.data)
		if failure := obj(chunk["error"]); failure != nil {
			o.failed(failure)
		}
		if usage := obj(chunk["usage"]); usage != nil {
			o.usage = chatTokens(usage)
		}
		choice := obj(first(chunk["choices"]))
		if choice == nil {
			continue
		}
		if f := str(choice["finish_reason"]); f != "" {
			finish = f
		}
		delta := obj(choice["delta"])
		for _, name := range []string{"content", "reasoning_content", "refusal"} {
			if s := str(delta[name]); s != "" {
				message[name] = str(message[name]) + s
			}
		}
		if details := list(delta["reasoning_details"]); details != nil {
			message["reasoning_details"] = append(list(message["reasoning_details"]), details...)
		}
		for _, item := range list(delta["tool_calls"]) {
			call := obj(item)
			index := int(num(call["index"]))
			for len(calls) <= index {
				calls = append(calls, object{"type": "function", "function": object{"name": "", "arguments": ""}})
			}
			merged := obj(calls[index])
			if id := str(call["id"]); id != "" {
				merged["id"] = id
			}
			function, more := obj(merged["function"]), obj(call["function"])
			function["name"] = str(function["name"]) + str(more["name"])
			function["arguments"] = str(function["arguments"]) + str(more["arguments"])
		}
	}
	if calls != nil {
		message["tool_calls"] = calls
	}
	c.message(message, finish, o)
}

func (chatClient) message(m object, finish string, o *outcome) {
	o.text = str(m["content"]) + str(m["refusal"])
	o.thinking = str(m["reasoning_content"])
	for _, item := range list(m["tool_calls"]) {
		call := obj(item)
		o.calls = append(o.calls, called{str(call["id"]), str(at(call, "function", "name")), str(at(call, "function", "arguments"))})
	}
	o.stop = map[string]string{"stop": "stop", "length": "length", "tool_calls": "tools", "content_filter": "refusal"}[finish]
	if str(m["refusal"]) != "" {
		o.stop = "refusal"
	}
	delete(m, "annotations")
	o.answer = []any{m}
}

func chatTokens(u object) tokens {
	return tokens{num(u["prompt_tokens"]), num(u["completion_tokens"]), num(at(u, "prompt_tokens_details", "cached_tokens"))}
}

func (o *outcome) failed(e object) {
	o.errType, o.errText, o.param = str(e["type"]), str(e["message"]), str(e["param"])
}

func first(v any) any {
	if l := list(v); len(l) > 0 {
		return l[0]
	}
	return nil
}
