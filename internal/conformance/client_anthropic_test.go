package conformance

import "maps"

// anthropicClient speaks Anthropic's messages.
type anthropicClient struct{}

func (anthropicClient) name() string     { return "Anthropic" }
func (anthropicClient) path(talk) string { return "/v1/messages" }
func (anthropicClient) header() []string { return []string{"Anthropic-Version", "2023-06-01"} }

func (anthropicClient) body(t talk) object {
	var messages []any
	say := func(role string, content any) { messages = append(messages, object{"role": role, "content": content}) }
	for _, turn := range t.turns {
		switch {
		case turn.answer != nil:
			say("assistant", turn.answer)
		case turn.said != "":
			say("assistant", turn.said)
		case turn.results != nil:
			var blocks []any
			for _, r := range turn.results {
				blocks = append(blocks, object{"type": "tool_result", "tool_use_id": r.id, "content": r.text, "is_error": r.failed})
			}
			say("user", blocks)
		case turn.image:
			say("user", []any{
				object{"type": "text", "text": turn.user},
				object{"type": "image", "source": object{"type": "base64", "media_type": "image/png", "data": pixel}},
			})
		default:
			say("user", turn.user)
		}
	}
	b := object{"model": t.model, "messages": messages, "max_tokens": max(t.max, 0)}
	if t.max == 0 {
		b["max_tokens"] = int64(4000)
	}
	if t.system != "" {
		b["system"] = t.system
		if t.cache {
			b["system"] = []any{object{"type": "text", "text": t.system, "cache_control": object{"type": "ephemeral"}}}
		}
	}
	if t.stream {
		b["stream"] = true
	}
	if t.tools {
		b["tools"] = []any{object{"name": "get_weather", "description": "tells the weather", "input_schema": citySchema()}}
	}
	if t.parallel {
		b["tool_choice"] = object{"type": "auto", "disable_parallel_tool_use": false}
	}
	if t.schema {
		b["output_config"] = object{"format": object{"type": "json_schema", "schema": citySchema()}}
	}
	if t.think {
		b["thinking"] = object{"type": "enabled", "budget_tokens": int64(2048)}
	}
	maps.Copy(b, t.extra)
	return b
}

func (c anthropicClient) read(t talk, o *outcome) {
	if o.status != 200 {
		o.failed(obj(parse(o.raw)["error"]))
		return
	}
	if !t.stream {
		b := parse(o.raw)
		o.whole = b["stop_reason"] != nil
		c.message(list(b["content"]), str(b["stop_reason"]), obj(b["usage"]), o)
		return
	}
	var blocks []any
	usage, stop := object{}, ""
	open := -1
	for _, e := range events(o.raw) {
		d := parse(e.data)
		if str(d["type"]) != e.typ {
			o.errText = "the event's type is not its data's"
		}
		switch e.typ {
		case "message_start":
			merge(usage, obj(at(d, "message", "usage")))
		case "content_block_start":
			if open >= 0 || int(num(d["index"])) != len(blocks) {
				o.errText = "blocks overlap"
			}
			open = len(blocks)
			blocks = append(blocks, obj(d["content_block"]))
		case "content_block_delta":
			if int(num(d["index"])) != open {
				o.errText = "a delta for a block that is not open"
				continue
			}
			c.add(obj(blocks[open]), obj(d["delta"]))
		case "content_block_stop":
			open = -1
		case "message_delta":
			merge(usage, obj(d["usage"]))
			stop = str(at(d, "delta", "stop_reason"))
		case "message_stop":
			o.whole = true
		case "error":
			o.failed(obj(d["error"]))
		}
	}
	for _, b := range blocks {
		if partial, ok := obj(b)["partial"]; ok {
			delete(obj(b), "partial")
			if input := parse(str(partial)); input != nil {
				obj(b)["input"] = input
			}
		}
	}
	c.message(blocks, stop, usage, o)
}

func (anthropicClient) add(block, delta object) {
	switch str(delta["type"]) {
	case "text_delta":
		block["text"] = str(block["text"]) + str(delta["text"])
	case "thinking_delta":
		block["thinking"] = str(block["thinking"]) + str(delta["thinking"])
	case "signature_delta":
		block["signature"] = str(block["signature"]) + str(delta["signature"])
	case "input_json_delta":
		block["partial"] = str(block["partial"]) + str(delta["partial_json"])
	}
}

func (anthropicClient) message(blocks []any, stop string, usage object, o *outcome) {
	for _, b := range blocks {
		block := obj(b)
		switch str(block["type"]) {
		case "text":
			o.text += str(block["text"])
		case "thinking":
			o.thinking += str(block["thinking"])
		case "tool_use":
			o.calls = append(o.calls, called{str(block["id"]), str(block["name"]), text(block["input"])})
		}
	}
	o.stop = map[string]string{
		"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tools", "refusal": "refusal",
	}[stop]
	cached := num(usage["cache_read_input_tokens"])
	o.usage = tokens{num(usage["input_tokens"]) + cached + num(usage["cache_creation_input_tokens"]), num(usage["output_tokens"]), cached}
	o.answer = blocks
}

func merge(into, from object) {
	for name, value := range from {
		if value != nil {
			into[name] = value
		}
	}
}
