package conformance

import "maps"

// responsesClient speaks OpenAI's Responses.
type responsesClient struct{}

func (responsesClient) name() string     { return "OpenAI Responses" }
func (responsesClient) path(talk) string { return "/v1/responses" }
func (responsesClient) header() []string { return nil }

func (responsesClient) body(t talk) object {
	var input []any
	say := func(role string, content any) { input = append(input, object{"role": role, "content": content}) }
	for _, turn := range t.turns {
		switch {
		case turn.answer != nil:
			input = append(input, turn.answer...)
		case turn.said != "":
			say("assistant", turn.said)
		case turn.results != nil:
			for _, r := range turn.results {
				input = append(input, object{"type": "function_call_output", "call_id": r.id, "output": r.text})
			}
		case turn.image:
			say("user", []any{
				object{"type": "input_text", "text": turn.user},
				object{"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64," + pixel},
			})
		default:
			say("user", turn.user)
		}
	}
	b := object{"model": t.model, "input": input, "store": false, "include": []any{"reasoning.encrypted_content"}}
	if t.system != "" {
		b["instructions"] = t.system
	}
	if t.stream {
		b["stream"] = true
	}
	if t.tools {
		b["tools"] = []any{object{
			"type": "function", "name": "get_weather", "description": "tells the weather", "parameters": citySchema(), "strict": true,
		}}
	}
	if t.parallel {
		b["parallel_tool_calls"] = true
	}
	if t.schema {
		b["text"] = object{"format": object{"type": "json_schema", "name": "city", "schema": citySchema(), "strict": true}}
	}
	if t.think {
		b["reasoning"] = object{"effort": "medium", "summary": "auto"}
	}
	if t.max > 0 {
		b["max_output_tokens"] = t.max
	}
	maps.Copy(b, t.extra)
	return b
}

func (c responsesClient) read(t talk, o *outcome) {
	if o.status != 200 {
		o.failed(obj(parse(o.raw)["error"]))
		return
	}
	if !t.stream {
		c.response(parse(o.raw), o)
		return
	}
	next, deltas := int64(0), ""
	for _, e := range events(o.raw) {
		d := parse(e.data)
		if str(d["type"]) != e.typ {
			o.errText = "the event's type is not its data's"
		}
		if d["sequence_number"] != nil && num(d["sequence_number"]) != next {
			o.errText = "sequence numbers have a gap"
		}
		next++
		switch e.typ {
		case "response.output_text.delta", "response.refusal.delta":
			deltas += str(d["delta"])
		case "response.completed", "response.incomplete":
			c.response(obj(d["response"]), o)
		case "response.failed":
			o.failed(obj(at(d, "response", "error")))
			o.errType = str(at(d, "response", "error", "code"))
		case "error":
			if e := obj(d["error"]); e != nil {
				o.failed(e)
			} else {
				o.errType, o.errText = str(d["code"]), str(d["message"])
			}
		}
	}
	if o.whole && deltas != o.text {
		o.errText = "the deltas are not the text"
	}
	if !o.whole {
		o.text = deltas
	}
}

func (responsesClient) response(r object, o *outcome) {
	status := str(r["status"])
	o.whole = status == "completed" || status == "incomplete"
	o.stop = map[string]string{"completed": "stop", "incomplete": "length"}[status]
	if str(at(r, "incomplete_details", "reason")) == "content_filter" {
		o.stop = "refusal"
	}
	for _, i := range list(r["output"]) {
		item := obj(i)
		switch str(item["type"]) {
		case "message":
			for _, p := range list(item["content"]) {
				o.text += str(obj(p)["text"]) + str(obj(p)["refusal"])
				if str(obj(p)["type"]) == "refusal" {
					o.stop = "refusal"
				}
			}
		case "reasoning":
			for _, s := range list(item["summary"]) {
				o.thinking += str(obj(s)["text"])
			}
		case "function_call":
			o.calls = append(o.calls, called{str(item["call_id"]), str(item["name"]), str(item["arguments"])})
			o.stop = "tools"
		}
	}
	u := obj(r["usage"])
	o.usage = tokens{num(u["input_tokens"]), num(u["output_tokens"]), num(at(u, "input_tokens_details", "cached_tokens"))}
	o.answer = list(r["output"])
}
