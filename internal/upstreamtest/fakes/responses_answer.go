package fakes

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
)

func (s *Server) responsesRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/responses", s.openAI(s.responses))
	mux.HandleFunc("POST /v1/responses/input_tokens", s.openAI(func(w http.ResponseWriter, _ *http.Request, body []byte) *refusal {
		r, problem := s.rsPrompt(body)
		if problem == nil {
			s.note(r.p, nil)
			write(w, http.StatusOK, object{"object": "response.input_tokens", "input_tokens": CountedTokens})
		}
		return problem
	}))
}

func (s *Server) responses(w http.ResponseWriter, req *http.Request, body []byte) *refusal {
	r, problem := s.rsPrompt(body)
	if problem != nil {
		return problem
	}
	number := s.note(r.p, nil)
	a := r.p.answer()
	if a.status != 0 {
		writeOpenAIError(w, scriptedOpenAI(a.status))
		return nil
	}
	rs := &rsAnswer{r: r, a: a, number: number}
	output := rs.output()
	s.keep(rs.id("resp"), r, output)
	switch {
	case r.p.stream:
		play(w, req, a, rs.frames(output), rs.failure)
	case a.midstream:
		writeOpenAIError(w, scriptedOpenAI(http.StatusInternalServerError))
	default:
		whole(w, req, a, rs.response(rs.status(), output))
	}
	return nil
}

// rsAnswer writes a reply as a response.
type rsAnswer struct {
	r      *rsReader
	a      *reply
	number int // of the answer, so that ids differ
	sent   int // events so far
}

func (rs *rsAnswer) id(prefix string) string { return fmt.Sprintf("%s_fake%08d", prefix, rs.number) }

func (rs *rsAnswer) status() string {
	if rs.a.end == endLength {
		return "incomplete"
	}
	return "completed"
}

// response is the response object in a state.
func (rs *rsAnswer) response(status string, output []object) object {
	q := rs.r.q
	o := object{
		"id": rs.id("resp"), "object": "response", "created_at": created, "status": status, "background": false,
		"error": nil, "incomplete_details": nil, "instructions": orNil(q.Instructions), "max_output_tokens": orNil(q.MaxOutputTokens),
		"max_tool_calls": nil, "model": q.Model, "output": output, "parallel_tool_calls": q.ParallelToolCalls == nil || *q.ParallelToolCalls,
		"previous_response_id": orNull(q.PreviousResponseID), "prompt_cache_key": orNull(q.PromptCacheKey),
		"reasoning": object{"effort": nil, "summary": nil}, "safety_identifier": orNull(q.SafetyIdentifier), "service_tier": "auto",
		"store": rs.r.stores(), "temperature": 1.0, "text": object{"format": object{"type": "text"}, "verbosity": "medium"},
		"tool_choice": "auto", "tools": []object{}, "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled",
		"usage": nil, "user": orNull(q.User), "metadata": object{},
	}
	if q.Temperature != nil {
		o["temperature"] = *q.Temperature
	}
	if q.Metadata != nil {
		o["metadata"] = q.Metadata
	}
	switch status {
	case "completed", "incomplete":
		u := rs.a.usage()
		o["service_tier"], o["completed_at"] = "default", created+1
		o["usage"] = object{
			"input_tokens": u.inputTotal(), "input_tokens_details": object{"cached_tokens": u.cacheRead, "cache_write_tokens": u.cacheWrite},
			"output_tokens": u.outputTotal(), "output_tokens_details": object{"reasoning_tokens": u.reasoning},
			"total_tokens": u.inputTotal() + u.outputTotal(),
		}
		if status == "incomplete" {
			o["incomplete_details"] = object{"reason": "max_output_tokens"}
		}
	}
	return o
}

func orNil[T any](v *T) any {
	if v == nil {
		return nil
	}
	return *v
}

// output are the items of the answer.
func (rs *rsAnswer) output() []object {
	all := []object{}
	for i, part := range rs.a.parts {
		switch part.kind {
		case kindThinking, kindRedacted:
			id := fmt.Sprintf("%s%02d", rs.id("rs"), i)
			it := object{"id": id, "type": "reasoning", "summary": []object{}}
			if rs.r.p.showsIt && part.kind == kindThinking {
				it["summary"] = []object{{"type": "summary_text", "text": part.text}}
			}
			if rs.r.includes("reasoning.encrypted_content") || !rs.r.stores() {
				it["encrypted_content"] = sign(OpenAI, rs.r.q.Model, "reasoning", id)
			}
			all = append(all, it)
		case kindText:
			annotations := []object{}
			if part.cite {
				annotations = append(annotations, object{"type": "url_citation", "url": citedURL, "title": citedTitle, "start_index": 0, "end_index": len(part.text)})
			}
			content := object{"type": "output_text", "text": part.text, "annotations": annotations, "logprobs": rs.logprobs(part.text)}
			all = append(all, rs.message(i, content))
		case kindRefusal:
			all = append(all, rs.message(i, object{"type": "refusal", "refusal": part.text}))
		case kindCall:
			all = append(all, object{
				"id": fmt.Sprintf("%s%02d", rs.id("fc"), i), "type": "function_call", "status": "completed",
				"call_id": fmt.Sprintf("call_Fake%04d%04d", len(rs.r.p.items), i), "name": part.name, "arguments": part.args,
			})
		}
	}
	return all
}

func (rs *rsAnswer) message(i int, content object) object {
	return object{
		"id": fmt.Sprintf("%s%02d", rs.id("msg"), i), "type": "message", "status": rs.status(), "role": "assistant", "content": []object{content},
	}
}

func (rs *rsAnswer) logprobs(text string) []object {
	all := []object{}
	if rs.r.p.logprobs {
		for _, w := range words(text) {
			t := token(w, -0.1)
			top := make([]object, 0, rs.r.p.topLogprobs)
			for i := range rs.r.p.topLogprobs {
				top = append(top, token(w+strings.Repeat("'", i), -0.1*float64(i+1)))
			}
			t["top_logprobs"] = top
			all = append(all, t)
		}
	}
	return all
}

// event numbers an event.
func (rs *rsAnswer) event(name string, members object) frame {
	members["type"], members["sequence_number"] = name, rs.sent
	rs.sent++
	return event(name, members)
}

func (rs *rsAnswer) frames(output []object) []frame {
	all := []frame{
		rs.event("response.created", object{"response": rs.response("in_progress", []object{})}),
		rs.event("response.in_progress", object{"response": rs.response("in_progress", []object{})}),
	}
	for i, it := range output {
		switch it["type"] {
		case "reasoning":
			all = append(all, rs.reasoning(i, it)...)
		case "message":
			all = append(all, rs.text(i, it)...)
		case "function_call":
			all = append(all, rs.call(i, it)...)
		}
	}
	return append(all, rs.event("response."+rs.status(), object{"response": rs.response(rs.status(), output)}))
}

// failure is what OpenAI sends in mid-stream: an error, then the failed response.
func (rs *rsAnswer) failure(sent int) []frame {
	failed := rs.response("failed", []object{})
	message := scriptedOpenAI(http.StatusInternalServerError).message
	failed["error"] = object{"code": "server_error", "message": message}
	rs.sent = sent
	return []frame{
		rs.event("error", object{"error": object{"type": "server_error", "code": "server_error", "message": message, "param": nil}}),
		rs.event("response.failed", object{"response": failed}),
	}
}

func (rs *rsAnswer) reasoning(i int, it object) []frame {
	begin := maps.Clone(it)
	begin["summary"] = []object{}
	all := []frame{rs.event("response.output_item.added", object{"output_index": i, "item": begin})}
	for j, part := range it["summary"].([]object) {
		text := part["text"].(string)
		at := func(members object) object {
			members["item_id"], members["output_index"], members["summary_index"] = it["id"], i, j
			return members
		}
		all = append(all, rs.event("response.reasoning_summary_part.added", at(object{"part": object{"type": "summary_text", "text": ""}})))
		for _, w := range words(text) {
			all = append(all, rs.event("response.reasoning_summary_text.delta", at(object{"delta": w, "obfuscation": "fX3a"})).asContent())
		}
		all = append(all,
			rs.event("response.reasoning_summary_text.done", at(object{"text": text})),
			rs.event("response.reasoning_summary_part.done", at(object{"part": part})))
	}
	return append(all, rs.event("response.output_item.done", object{"output_index": i, "item": it}))
}

func (rs *rsAnswer) text(i int, it object) []frame {
	begin := maps.Clone(it)
	begin["status"], begin["content"] = "in_progress", []object{}
	content := it["content"].([]object)[0]
	at := func(members object) object {
		members["item_id"], members["output_index"], members["content_index"] = it["id"], i, 0
		return members
	}
	member, kind := "text", "output_text"
	if content["type"] == "refusal" {
		member, kind = "refusal", "refusal"
	}
	empty := maps.Clone(content)
	empty[member] = ""
	if kind == "output_text" {
		empty["annotations"], empty["logprobs"] = []object{}, []object{}
	}
	all := []frame{
		rs.event("response.output_item.added", object{"output_index": i, "item": begin}),
		rs.event("response.content_part.added", at(object{"part": empty})),
	}
	logprobs, _ := content["logprobs"].([]object)
	for n, w := range words(content[member].(string)) {
		delta := object{"delta": w, "obfuscation": "fX3a"}
		if kind == "output_text" {
			delta["logprobs"] = []object{}
			if n < len(logprobs) {
				delta["logprobs"] = logprobs[n : n+1]
			}
		}
		all = append(all, rs.event("response."+kind+".delta", at(delta)).asContent())
	}
	done := object{member: content[member]}
	if annotations, ok := content["annotations"].([]object); ok {
		for n, a := range annotations {
			all = append(all, rs.event("response.output_text.annotation.added", at(object{"annotation_index": n, "annotation": a})))
		}
		done["logprobs"] = content["logprobs"]
	}
	return append(all,
		rs.event("response."+kind+".done", at(done)),
		rs.event("response.content_part.done", at(object{"part": content})),
		rs.event("response.output_item.done", object{"output_index": i, "item": it}))
}

func (rs *rsAnswer) call(i int, it object) []frame {
	begin := maps.Clone(it)
	begin["status"], begin["arguments"] = "in_progress", ""
	args := it["arguments"].(string)
	all := []frame{rs.event("response.output_item.added", object{"output_index": i, "item": begin})}
	for _, piece := range pieces(args, 6) {
		all = append(all, rs.event("response.function_call_arguments.delta", object{
			"item_id": it["id"], "output_index": i, "delta": piece, "obfuscation": "fX3a",
		}).asContent())
	}
	return append(all,
		rs.event("response.function_call_arguments.done", object{"item_id": it["id"], "output_index": i, "arguments": args}),
		rs.event("response.output_item.done", object{"output_index": i, "item": it}))
}
