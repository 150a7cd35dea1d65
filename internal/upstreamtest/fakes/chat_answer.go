package fakes

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
)

const created = 1750000000 // when every answer was made

func (s *Server) openAIRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/chat/completions", s.openAI(s.chat))
	mux.HandleFunc("POST /v1/embeddings", s.openAI(s.embeddings))
	mux.HandleFunc("GET /v1/models", s.openAI(func(w http.ResponseWriter, _ *http.Request, _ []byte) *refusal {
		write(w, http.StatusOK, object{"object": "list", "data": each(s.models(), openAIModel)})
		return nil
	}))
	mux.HandleFunc("GET /v1/models/{model...}", s.openAI(func(w http.ResponseWriter, r *http.Request, _ []byte) *refusal {
		m := r.PathValue("model")
		if !s.known(m) {
			return &refusal{status: http.StatusNotFound, code: "model_not_found", param: "model", message: "The model '" + m + "' does not exist"}
		}
		write(w, http.StatusOK, openAIModel(m))
		return nil
	}))
	mux.HandleFunc("/", s.openAI(func(w http.ResponseWriter, r *http.Request, _ []byte) *refusal {
		return &refusal{status: http.StatusNotFound, message: fmt.Sprintf("Invalid URL (%s %s)", r.Method, r.URL.Path)}
	}))
}

func openAIModel(name string) object {
	return object{"id": name, "object": "model", "created": created, "owned_by": "system"}
}

// openAI checks what all of OpenAI's calls share, and says errors as it does.
func (s *Server) openAI(next func(http.ResponseWriter, *http.Request, []byte) *refusal) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		h := w.Header()
		h.Set("X-Request-Id", "req_fake")
		h.Set("Openai-Version", "2020-10-01")
		h.Set("X-Ratelimit-Remaining-Requests", "4999")
		problem := openAIHeaders(r)
		if problem == nil {
			problem = next(w, r, body)
		}
		if problem != nil {
			s.note(nil, problem)
			writeOpenAIError(w, problem)
		}
	}
}

func openAIHeaders(r *http.Request) *refusal {
	switch {
	case !slices.Equal(r.Header["Authorization"], []string{"Bearer " + Key}):
		return &refusal{status: http.StatusUnauthorized, code: "invalid_api_key", message: "Incorrect API key provided: " + r.Header.Get("Authorization") + "."}
	case r.Header.Get("X-Api-Key") != "" || r.Header.Get("X-Goog-Api-Key") != "" || r.Header.Get("Anthropic-Version") != "" || r.Header.Get("Cookie") != "":
		return bad("", "The request carries headers of another API.")
	case r.Method == http.MethodPost && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		return bad("", "Unsupported content type: '%s'. This API method only accepts 'application/json' requests.", r.Header.Get("Content-Type"))
	}
	return nil
}

func openAIError(problem *refusal) object {
	kind := problem.kind
	if kind == "" {
		switch {
		case problem.status == http.StatusTooManyRequests:
			kind = "requests"
		case problem.status >= http.StatusInternalServerError:
			kind = "server_error"
		default:
			kind = "invalid_request_error"
		}
	}
	return object{"message": problem.message, "type": kind, "param": orNull(problem.param), "code": orNull(problem.code)}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func writeOpenAIError(w http.ResponseWriter, problem *refusal) {
	if problem.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "7")
		w.Header().Set("X-Ratelimit-Remaining-Requests", "0")
	}
	write(w, problem.status, object{"error": openAIError(problem)})
}

// scriptedOpenAI is the error that a script asked for, in OpenAI's words.
func scriptedOpenAI(status int) *refusal {
	problem := &refusal{status: status, message: "The server had an error while processing your request. (org-secret123)"}
	switch status {
	case http.StatusTooManyRequests:
		problem.code, problem.message = "rate_limit_exceeded", "Rate limit reached for organization org-secret123 on requests per min."
	case http.StatusBadRequest:
		problem.param, problem.code, problem.message = "temperature", "unsupported_value", "Unsupported value: 'temperature' does not support 0.2 with this model."
	case 529:
		problem.status, problem.message = http.StatusServiceUnavailable, "The engine is currently overloaded, please try again later."
	case http.StatusForbidden:
		problem.code, problem.message = "unsupported_country_region_territory", "Country, region, or territory not supported"
	}
	return problem
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request, body []byte) *refusal {
	p, q, problem := s.chatPrompt(body)
	if problem != nil {
		return problem
	}
	s.note(p, nil)
	a := p.answer()
	if a.status != 0 {
		writeOpenAIError(w, scriptedOpenAI(a.status))
		return nil
	}
	tier := "default"
	if q.ServiceTier != "" && q.ServiceTier != "auto" {
		tier = q.ServiceTier
	}
	c := &chatAnswer{p: p, a: a, compat: s.kind == OpenAIChat, tier: tier, usage: q.StreamOptions != nil && isTrue(q.StreamOptions.IncludeUsage)}
	switch {
	case p.stream:
		play(w, r, a, c.frames(), always(data(object{"error": openAIError(scriptedOpenAI(http.StatusInternalServerError))})))
	case a.midstream:
		writeOpenAIError(w, scriptedOpenAI(http.StatusInternalServerError))
	default:
		whole(w, r, a, c.body())
	}
	return nil
}

// chatAnswer writes a reply as a chat completion.
type chatAnswer struct {
	p      *prompt
	a      *reply
	compat bool
	usage  bool
	tier   string
}

func (c *chatAnswer) finish() string {
	switch c.a.end {
	case endLength:
		return "length"
	case endTools:
		return "tool_calls"
	default:
		return "stop"
	}
}

func (c *chatAnswer) usageObject() object {
	u := c.a.usage()
	return object{
		"prompt_tokens": u.inputTotal(), "completion_tokens": u.outputTotal(), "total_tokens": u.inputTotal() + u.outputTotal(),
		"prompt_tokens_details": object{"cached_tokens": u.cacheRead, "cache_write_tokens": u.cacheWrite, "audio_tokens": 0},
		"completion_tokens_details": object{
			"reasoning_tokens": u.reasoning, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
		},
	}
}

func (c *chatAnswer) head(kind string) object {
	return object{
		"id": "chatcmpl-fake", "object": kind, "created": created, "model": c.p.model,
		"service_tier": c.tier, "system_fingerprint": "fp_fake",
	}
}

// textOf is what the choice of a number says: the others are told apart.
func textOf(text string, choice int) string {
	if choice == 0 {
		return text
	}
	return fmt.Sprintf("%s (%d)", text, choice+1)
}

// callID is unique in a conversation: it counts what was said before.
func (c *chatAnswer) callID(i, choice int) string {
	return fmt.Sprintf("call_Fake%04d%04d%04d", len(c.p.items), choice, i)
}

func annotation(text string) object {
	return object{"type": "url_citation", "url_citation": object{"url": citedURL, "title": citedTitle, "start_index": 0, "end_index": len(text)}}
}

func (c *chatAnswer) body() object {
	body := c.head("chat.completion")
	choices := make([]object, 0, c.p.n)
	for i := range c.p.n {
		choices = append(choices, object{
			"index": i, "message": c.message(i), "finish_reason": c.finish(), "logprobs": c.logprobs(i),
		})
	}
	body["choices"], body["usage"] = choices, c.usageObject()
	return body
}

func (c *chatAnswer) message(choice int) object {
	m := object{"role": "assistant", "content": nil, "refusal": nil, "annotations": []object{}}
	var calls []object
	for i, part := range c.a.parts {
		switch part.kind {
		case kindThinking:
			if c.compat {
				m["reasoning_content"] = part.text
			}
		case kindText:
			m["content"] = textOf(part.text, choice)
			if part.cite {
				m["annotations"] = []object{annotation(part.text)}
			}
		case kindRefusal:
			m["refusal"] = part.text
		case kindCall:
			calls = append(calls, object{
				"id": c.callID(i, choice), "type": "function", "function": object{"name": part.name, "arguments": part.args},
			})
		}
	}
	if calls != nil {
		m["tool_calls"] = calls
	}
	return m
}

// logprobs gives each word's probability, as if it were a token.
func (c *chatAnswer) logprobs(choice int) any {
	if !c.p.logprobs {
		return nil
	}
	tokens := []object{}
	for _, part := range c.a.parts {
		if part.kind == kindText {
			for _, w := range words(textOf(part.text, choice)) {
				tokens = append(tokens, c.logprob(w))
			}
		}
	}
	return object{"content": tokens, "refusal": nil}
}

func (c *chatAnswer) logprob(word string) object {
	top := make([]object, 0, c.p.topLogprobs)
	for i := range c.p.topLogprobs {
		alternative := word
		if i > 0 {
			alternative = fmt.Sprintf("other%d", i)
		}
		top = append(top, token(alternative, -0.1*float64(i+1)))
	}
	t := token(word, -0.1)
	t["top_logprobs"] = top
	return t
}

func token(text string, p float64) object {
	bytes := make([]int, 0, len(text))
	for i := range len(text) {
		bytes = append(bytes, int(text[i]))
	}
	return object{"token": text, "logprob": p, "bytes": bytes}
}

func (c *chatAnswer) frames() []frame {
	var all []frame
	if c.compat {
		all = append(all, frame{text: ": PROCESSING\n\n"})
	}
	for i := range c.p.n {
		all = append(all, c.chunk(i, object{"role": "assistant", "content": "", "refusal": nil}, nil, nil))
	}
	for i := range c.p.n {
		all = append(all, c.deltas(i)...)
	}
	for i := range c.p.n {
		last := c.chunk(i, object{}, nil, c.finish())
		if c.compat && !c.usage && i == c.p.n-1 { // as Mistral does, unasked
			last = data(c.lastChunk(i))
		}
		all = append(all, last)
	}
	if c.usage {
		last := c.head("chat.completion.chunk")
		last["choices"], last["usage"] = []object{}, c.usageObject()
		all = append(all, data(last))
	}
	return append(all, frame{text: "data: [DONE]\n\n"})
}

func (c *chatAnswer) lastChunk(choice int) object {
	chunk := c.head("chat.completion.chunk")
	chunk["choices"] = []object{{"index": choice, "delta": object{"content": ""}, "finish_reason": c.finish()}}
	chunk["usage"] = c.usageObject()
	return chunk
}

func (c *chatAnswer) chunk(choice int, delta object, logprobs, finish any) frame {
	chunk := c.head("chat.completion.chunk")
	chunk["choices"] = []object{{"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish}}
	if c.usage {
		chunk["usage"] = nil
	}
	if !c.compat {
		chunk["obfuscation"] = "fX3a"
	}
	return data(chunk)
}

func (c *chatAnswer) deltas(choice int) []frame {
	var all []frame
	say := func(member, text string) {
		for _, w := range words(text) {
			var logprobs any
			if member == "content" && c.p.logprobs {
				logprobs = object{"content": []object{c.logprob(w)}, "refusal": nil}
			}
			all = append(all, c.chunk(choice, object{member: w}, logprobs, nil).asContent())
		}
	}
	number := 0
	for i, part := range c.a.parts {
		switch part.kind {
		case kindThinking:
			if c.compat {
				say("reasoning_content", part.text)
			}
		case kindText:
			say("content", textOf(part.text, choice))
			if part.cite {
				all = append(all, c.chunk(choice, object{"annotations": []object{annotation(part.text)}}, nil, nil))
			}
		case kindRefusal:
			say("refusal", part.text)
		case kindCall:
			all = append(all, c.chunk(choice, object{"tool_calls": []object{{
				"index": number, "id": c.callID(i, choice), "type": "function", "function": object{"name": part.name, "arguments": ""},
			}}}, nil, nil).asContent())
			for _, piece := range pieces(part.args, 6) {
				all = append(all, c.chunk(choice, object{"tool_calls": []object{{"index": number, "function": object{"arguments": piece}}}}, nil, nil).asContent())
			}
			number++
		}
	}
	return all
}

// embedRequest is the body of OpenAI's call for embeddings.
// https://platform.openai.com/docs/api-reference/embeddings/create
type embedRequest struct {
	Model          string `json:"model"`
	Input          raw    `json:"input"`
	Dimensions     *int   `json:"dimensions"`
	EncodingFormat string `json:"encoding_format"`
	User           string `json:"user"`
}

// vector is the embedding of a text: its length in bytes, 0.5, -1, then zeros.
func vector(text string, dimensions *int) []float32 {
	n := 3
	if dimensions != nil {
		n = *dimensions
	}
	return append([]float32{float32(len(text)), 0.5, -1}, make([]float32, max(n, 3))...)[:n]
}

func (s *Server) embeddings(w http.ResponseWriter, _ *http.Request, body []byte) *refusal {
	var q embedRequest
	if path, err := strictly(body, &q); err != nil {
		return bad(openAIPath(path), "Unknown or invalid parameter: %v", err)
	}
	var inputs []string
	if one, ok := isText(q.Input); ok {
		inputs = []string{one}
	} else if _, err := strictly(q.Input, &inputs); err != nil {
		return bad("input", "Invalid 'input': %v", err)
	}
	switch {
	case !s.known(q.Model):
		return &refusal{status: http.StatusNotFound, code: "model_not_found", message: "The model `" + q.Model + "` does not exist or you do not have access to it."}
	case len(inputs) == 0 || slices.Contains(inputs, ""):
		return bad("input", "Invalid 'input': input cannot be an empty string.")
	case q.Dimensions != nil && *q.Dimensions < 1:
		return bad("", "%d is less than the minimum of 1 - 'dimensions'", *q.Dimensions)
	case q.EncodingFormat != "" && q.EncodingFormat != "float" && q.EncodingFormat != "base64":
		return bad("encoding_format", "Invalid 'encoding_format'.")
	}
	list := []object{}
	for i, text := range inputs {
		v := vector(text, q.Dimensions)
		var embedding any = v
		if q.EncodingFormat == "base64" {
			var bytes []byte
			for _, x := range v {
				bytes = binary.LittleEndian.AppendUint32(bytes, math.Float32bits(x))
			}
			embedding = base64.StdEncoding.EncodeToString(bytes)
		}
		list = append(list, object{"object": "embedding", "index": i, "embedding": embedding})
	}
	write(w, http.StatusOK, object{
		"object": "list", "data": list, "model": q.Model, "usage": object{"prompt_tokens": 8, "total_tokens": 8},
	})
	return nil
}
