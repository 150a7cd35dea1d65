package fakes

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

func (s *Server) anthropicRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/messages", s.anthropic(s.messages))
	mux.HandleFunc("POST /v1/messages/count_tokens", s.anthropic(func(w http.ResponseWriter, r *http.Request, body []byte) *refusal {
		p, _, problem := s.anthropicPrompt(body, r.Header.Get("Anthropic-Version"), true)
		if problem == nil {
			s.note(p, nil)
			write(w, http.StatusOK, object{"input_tokens": CountedTokens})
		}
		return problem
	}))
	mux.HandleFunc("GET /v1/models", s.anthropic(func(w http.ResponseWriter, _ *http.Request, _ []byte) *refusal {
		write(w, http.StatusOK, object{"data": each(s.models(), anthropicModel), "has_more": false, "first_id": s.models()[0], "last_id": s.models()[len(s.models())-1]})
		return nil
	}))
	mux.HandleFunc("GET /v1/models/{model}", s.anthropic(func(w http.ResponseWriter, r *http.Request, _ []byte) *refusal {
		m := r.PathValue("model")
		if !s.known(m) {
			return &refusal{status: http.StatusNotFound, kind: "not_found_error", message: "model: " + m}
		}
		write(w, http.StatusOK, anthropicModel(m))
		return nil
	}))
	mux.HandleFunc("/", s.anthropic(func(http.ResponseWriter, *http.Request, []byte) *refusal {
		return &refusal{status: http.StatusNotFound, kind: "not_found_error", message: "Not Found"}
	}))
}

func anthropicModel(name string) object {
	return object{"type": "model", "id": name, "display_name": name, "created_at": "2025-01-01T00:00:00Z"}
}

// anthropic checks what all of Anthropic's calls share, and says errors as it does.
func (s *Server) anthropic(next func(http.ResponseWriter, *http.Request, []byte) *refusal) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Request-Id", "req_fake")
		w.Header().Set("Anthropic-Ratelimit-Requests-Remaining", "49")
		problem := anthropicHeaders(r)
		if problem == nil {
			problem = next(w, r, body)
		}
		if problem != nil {
			s.note(nil, problem)
			writeAnthropicError(w, problem)
		}
	}
}

// latestVersion is the API version in which sampling parameters are gone.
// https://platform.claude.com/docs/en/api/versioning
const latestVersion = "2026-10-21"

// anthropicHeaders takes a key in either of the two headers that the API knows:
// the SDKs use both.
func anthropicHeaders(r *http.Request) *refusal {
	key, bearer := r.Header.Get("X-Api-Key"), r.Header.Get("Authorization")
	switch {
	case key == "" && bearer == "":
		return &refusal{status: http.StatusUnauthorized, kind: "authentication_error", message: "x-api-key header is required"}
	case key != "" && bearer != "":
		return wrong("the request carries two keys")
	case key != Key && bearer != "Bearer "+Key:
		return &refusal{status: http.StatusUnauthorized, kind: "authentication_error", message: "invalid x-api-key"}
	case r.Header.Get("X-Goog-Api-Key") != "" || r.Header.Get("Cookie") != "":
		return wrong("the request carries headers of another API")
	case r.Header.Get("Anthropic-Version") == "":
		return wrong("anthropic-version: header is required")
	case !slices.Contains([]string{"2023-01-01", "2023-06-01", latestVersion}, r.Header.Get("Anthropic-Version")):
		return wrong("anthropic-version: \"%s\" is not a valid version", r.Header.Get("Anthropic-Version"))
	case r.Method == http.MethodPost && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		return wrong("the content-type must be application/json")
	}
	return nil
}

func anthropicError(problem *refusal) object {
	e := object{"type": problem.kind, "message": problem.message}
	if problem.code != "" {
		e["details"] = object{"error_code": problem.code}
	}
	return object{"type": "error", "error": e, "request_id": "req_fake"}
}

func writeAnthropicError(w http.ResponseWriter, problem *refusal) {
	if problem.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "7")
	}
	write(w, problem.status, anthropicError(problem))
}

func scriptedAnthropic(status int) *refusal {
	problem := &refusal{status: status, kind: "api_error", message: "Internal server error (org-secret123)"}
	switch status {
	case http.StatusTooManyRequests:
		problem.kind, problem.message = "rate_limit_error", "This request would exceed the rate limit for organization org-secret123."
	case http.StatusBadRequest:
		problem.kind, problem.message = "invalid_request_error", "temperature: range: 0..1"
	case http.StatusForbidden:
		problem.kind, problem.message = "permission_error", "Your API key does not have permission to use the specified resource."
	case http.StatusServiceUnavailable, 529:
		problem.status, problem.kind, problem.message = 529, "overloaded_error", "Overloaded"
	}
	return problem
}

func (s *Server) messages(w http.ResponseWriter, r *http.Request, body []byte) *refusal {
	p, q, problem := s.anthropicPrompt(body, r.Header.Get("Anthropic-Version"), false)
	switch {
	case problem != nil:
		return problem
	case q.Thread != nil && !strings.Contains(r.Header.Get("Anthropic-Beta"), "message-threads"):
		return wrong("thread: Extra inputs are not permitted")
	}
	number := s.note(p, nil)
	reply := p.answer()
	if reply.status != 0 {
		writeAnthropicError(w, scriptedAnthropic(reply.status))
		return nil
	}
	a := &anthropicAnswer{p: p, a: reply, number: number}
	s.hold(q, a.body())
	overloaded := scriptedAnthropic(529)
	switch {
	case p.stream:
		play(w, r, reply, a.frames(), always(event("error", anthropicError(overloaded))))
	case reply.midstream:
		writeAnthropicError(w, overloaded)
	default:
		whole(w, r, reply, a.body())
	}
	return nil
}

// anthropicAnswer writes a reply as a message.
type anthropicAnswer struct {
	p      *prompt
	a      *reply
	number int // of the answer, so that ids differ
}

func (a *anthropicAnswer) stop() (reason string, sequence, details any) {
	switch a.a.end {
	case endLength:
		return "max_tokens", nil, nil
	case endTools:
		return "tool_use", nil, nil
	case endStopSeq:
		return "stop_sequence", a.a.stop, nil
	case endRefusal:
		return "refusal", nil, object{"type": "refusal", "category": nil, "explanation": nil}
	default:
		return "end_turn", nil, nil
	}
}

func (a *anthropicAnswer) usage() object {
	u := a.a.usage()
	return object{
		"input_tokens": u.input, "cache_creation_input_tokens": u.cacheWrite, "cache_read_input_tokens": u.cacheRead,
		"cache_creation": object{"ephemeral_5m_input_tokens": u.cacheWrite, "ephemeral_1h_input_tokens": 0},
		"output_tokens":  u.outputTotal(), "output_tokens_details": object{"thinking_tokens": u.reasoning},
		"service_tier": "standard", "inference_geo": "not_available",
	}
}

func (a *anthropicAnswer) head() object {
	return object{
		"id": fmt.Sprintf("msg_fake%08d", a.number), "type": "message", "role": "assistant", "model": a.p.model, "content": []object{},
		"stop_reason": nil, "stop_sequence": nil, "stop_details": nil,
	}
}

func (a *anthropicAnswer) toolUseID(i int) string {
	return fmt.Sprintf("toolu_Fake%04d%04d", len(a.p.items), i)
}

func (a *anthropicAnswer) cites() []object {
	return []object{{
		"type": "web_search_result_location", "url": citedURL, "title": citedTitle, "cited_text": "Paris is the capital",
		"encrypted_index": "Eo8BCioIAhgBIiQy",
	}}
}

func (a *anthropicAnswer) body() object {
	m := a.head()
	blocks := []object{}
	for i, part := range a.a.parts {
		switch part.kind {
		case kindThinking:
			shown := part.text
			if !a.p.showsIt {
				shown = ""
			}
			blocks = append(blocks, object{"type": "thinking", "thinking": shown, "signature": sign(Anthropic, a.p.model, "thinking", shown)})
		case kindRedacted:
			blocks = append(blocks, object{"type": "redacted_thinking", "data": sign(Anthropic, a.p.model, "redacted", "")})
		case kindText, kindRefusal:
			block := object{"type": "text", "text": part.text}
			if part.cite {
				block["citations"] = a.cites()
			}
			blocks = append(blocks, block)
		case kindCall:
			blocks = append(blocks, object{"type": "tool_use", "id": a.toolUseID(i), "name": part.name, "input": json.RawMessage(part.args)})
		}
	}
	m["content"], m["usage"] = blocks, a.usage()
	m["stop_reason"], m["stop_sequence"], m["stop_details"] = a.stop()
	return m
}

func (a *anthropicAnswer) frames() []frame {
	body := a.body()
	start := a.head()
	first := a.usage()
	first["output_tokens"] = 1
	start["usage"] = first
	all := []frame{event("message_start", object{"type": "message_start", "message": start})}
	for i, block := range body["content"].([]object) {
		all = append(all, a.block(i, block)...)
		if i == 0 {
			all = append(all[:2], append([]frame{event("ping", object{"type": "ping"})}, all[2:]...)...)
		}
	}
	delta := object{"stop_reason": body["stop_reason"], "stop_sequence": body["stop_sequence"], "stop_details": body["stop_details"]}
	u := a.usage()
	for _, name := range []string{"cache_creation", "service_tier", "inference_geo"} {
		delete(u, name)
	}
	return append(all,
		event("message_delta", object{"type": "message_delta", "delta": delta, "usage": u}),
		event("message_stop", object{"type": "message_stop"}))
}

// block streams one block.
func (a *anthropicAnswer) block(i int, block object) []frame {
	var deltas []object
	begin := maps.Clone(block)
	switch block["type"] {
	case "thinking":
		for _, w := range words(block["thinking"].(string)) {
			if w != "" {
				deltas = append(deltas, object{"type": "thinking_delta", "thinking": w})
			}
		}
		deltas = append(deltas, object{"type": "signature_delta", "signature": block["signature"]})
		begin["thinking"], begin["signature"] = "", ""
	case "text":
		if cites, ok := block["citations"].([]object); ok {
			for _, c := range cites {
				deltas = append(deltas, object{"type": "citations_delta", "citation": c})
			}
			begin["citations"] = []object{}
		}
		for _, w := range words(block["text"].(string)) {
			deltas = append(deltas, object{"type": "text_delta", "text": w})
		}
		begin["text"] = ""
	case "tool_use":
		deltas = append(deltas, object{"type": "input_json_delta", "partial_json": ""})
		for _, piece := range pieces(string(block["input"].(json.RawMessage)), 6) {
			deltas = append(deltas, object{"type": "input_json_delta", "partial_json": piece})
		}
		begin["input"] = object{}
	}
	all := []frame{event("content_block_start", object{"type": "content_block_start", "index": i, "content_block": begin})}
	for _, d := range deltas {
		all = append(all, event("content_block_delta", object{"type": "content_block_delta", "index": i, "delta": d}).asContent())
	}
	return append(all, event("content_block_stop", object{"type": "content_block_stop", "index": i}))
}
