package fakes

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

func (s *Server) geminiRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1beta/models/{call}", s.gemini(func(w http.ResponseWriter, r *http.Request, body []byte) *refusal {
		model, method, _ := strings.Cut(r.PathValue("call"), ":")
		switch method {
		case "generateContent":
			return s.generate(w, r, model, body, false)
		case "streamGenerateContent":
			return s.generate(w, r, model, body, true)
		case "countTokens":
			return s.geminiCount(w, model, body)
		case "embedContent":
			return s.geminiEmbed(w, model, body)
		case "batchEmbedContents":
			return s.geminiBatchEmbed(w, model, body)
		}
		return &refusal{status: http.StatusNotFound, kind: "NOT_FOUND", message: "Method not found."}
	}))
	mux.HandleFunc("GET /v1beta/models", s.gemini(func(w http.ResponseWriter, _ *http.Request, _ []byte) *refusal {
		write(w, http.StatusOK, object{"models": each(s.models(), geminiModel)})
		return nil
	}))
	mux.HandleFunc("GET /v1beta/models/{model}", s.gemini(func(w http.ResponseWriter, r *http.Request, _ []byte) *refusal {
		m := r.PathValue("model")
		if !s.known(m) {
			return &refusal{status: http.StatusNotFound, kind: "NOT_FOUND", message: "models/" + m + " is not found for API version v1beta"}
		}
		write(w, http.StatusOK, geminiModel(m))
		return nil
	}))
	mux.HandleFunc("/", s.gemini(func(http.ResponseWriter, *http.Request, []byte) *refusal {
		return &refusal{status: http.StatusNotFound, kind: "NOT_FOUND", message: "Not found."}
	}))
}

func geminiModel(name string) object {
	return object{
		"name": "models/" + name, "version": "001", "displayName": name, "inputTokenLimit": 1048576, "outputTokenLimit": 65536,
		"supportedGenerationMethods": []string{"generateContent", "countTokens"},
	}
}

// gemini checks what all of Gemini's calls share, and says errors as it does.
func (s *Server) gemini(next func(http.ResponseWriter, *http.Request, []byte) *refusal) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		problem := geminiHeaders(r)
		if problem == nil {
			problem = next(w, r, body)
		}
		if problem != nil {
			s.note(nil, problem)
			write(w, problem.status, geminiError(problem))
		}
	}
}

func geminiHeaders(r *http.Request) *refusal {
	switch {
	case r.Header.Get("X-Goog-Api-Key") == "":
		return &refusal{
			status: http.StatusForbidden, kind: "PERMISSION_DENIED",
			message: "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API.",
		}
	case r.Header.Get("X-Goog-Api-Key") != Key:
		return &refusal{status: http.StatusBadRequest, kind: "INVALID_ARGUMENT", code: "API_KEY_INVALID", message: "API key not valid. Please pass a valid API key."}
	case r.Header.Get("Authorization") != "" || r.Header.Get("X-Api-Key") != "" || r.Header.Get("Anthropic-Version") != "" || r.Header.Get("Cookie") != "":
		return invalid("The request carries headers of another API.")
	case r.URL.Query().Get("key") != "":
		return invalid("The request carries two keys.")
	case r.Method == http.MethodPost && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		return invalid("Invalid content type.")
	}
	return nil
}

func geminiError(problem *refusal) object {
	e := object{"code": problem.status, "message": problem.message, "status": problem.kind}
	switch {
	case problem.code != "":
		e["details"] = []object{{
			"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": problem.code, "domain": "googleapis.com",
			"metadata": object{"service": "generativelanguage.googleapis.com"},
		}}
	case problem.status == http.StatusTooManyRequests:
		e["details"] = []object{{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}}
	}
	return object{"error": e}
}

func scriptedGemini(status int) *refusal {
	problem := &refusal{status: status, kind: "INTERNAL", message: "An internal error has occurred. (project-secret123)"}
	switch status {
	case http.StatusTooManyRequests:
		problem.kind, problem.message = "RESOURCE_EXHAUSTED", "You exceeded your current quota, project-secret123. Please retry in 6.9s."
	case http.StatusBadRequest:
		problem.kind, problem.message = "INVALID_ARGUMENT", "temperature must be in the range [0.0, 2.0]."
	case http.StatusForbidden:
		problem.kind, problem.message = "PERMISSION_DENIED", "Your API key was reported as leaked."
	case http.StatusServiceUnavailable, 529:
		problem.status, problem.kind, problem.message = http.StatusServiceUnavailable, "UNAVAILABLE", "The model is overloaded. Please try again later."
	}
	return problem
}

func (s *Server) generate(w http.ResponseWriter, r *http.Request, model string, body []byte, stream bool) *refusal {
	p, _, problem := s.geminiPrompt(model, body, stream)
	if problem != nil {
		return problem
	}
	s.note(p, nil)
	reply := p.answer()
	if reply.status != 0 {
		problem := scriptedGemini(reply.status)
		write(w, problem.status, geminiError(problem))
		return nil
	}
	g := &geminiAnswer{p: p, a: reply}
	overloaded := scriptedGemini(http.StatusServiceUnavailable)
	switch {
	case stream && r.URL.Query().Get("alt") == "sse":
		play(w, r, reply, g.frames(), always(crlf(geminiError(overloaded))))
	case stream:
		return invalid("This fake streams with alt=sse only.")
	case reply.midstream:
		write(w, overloaded.status, geminiError(overloaded))
	default:
		whole(w, r, reply, g.body())
	}
	return nil
}

// geminiAnswer writes a reply as a GenerateContentResponse.
type geminiAnswer struct {
	p *prompt
	a *reply
}

func crlf(v any) frame { return frame{text: "data: " + canonical(v) + "\r\n\r\n"} }

func (g *geminiAnswer) finish() string {
	switch g.a.end {
	case endLength:
		return "MAX_TOKENS"
	case endRefusal:
		return "SAFETY"
	default:
		return "STOP"
	}
}

// usage is what is known so far: early chunks of a stream lack what was written.
func (g *geminiAnswer) usage(all bool) object {
	u := g.a.usage()
	o := object{
		"promptTokenCount": u.inputTotal(), "totalTokenCount": u.inputTotal(),
		"promptTokensDetails": []object{{"modality": "TEXT", "tokenCount": u.inputTotal()}},
	}
	if u.cacheRead > 0 {
		o["cachedContentTokenCount"] = u.cacheRead
		o["cacheTokensDetails"] = []object{{"modality": "TEXT", "tokenCount": u.cacheRead}}
	}
	if all {
		o["candidatesTokenCount"], o["totalTokenCount"] = u.output, u.inputTotal()+u.outputTotal()
		if u.reasoning > 0 {
			o["thoughtsTokenCount"] = u.reasoning
		}
	}
	return o
}

func (g *geminiAnswer) head(all bool) object {
	return object{"usageMetadata": g.usage(all), "modelVersion": g.p.model, "responseId": "fake"}
}

// parts are the pieces of one candidate; in a stream text comes word by word.
func (g *geminiAnswer) parts(choice int, stream bool) []object {
	var all []object
	calls := 0
	for i, part := range g.a.parts {
		switch part.kind {
		case kindThinking:
			if g.p.showsIt {
				for _, text := range g.cut(part.text, stream) {
					all = append(all, object{"text": text, "thought": true})
				}
			}
		case kindText:
			for _, text := range g.cut(textOf(part.text, choice), stream) {
				all = append(all, object{"text": text})
			}
			if last := len(all) - 1; g.p.mayThink && stream {
				all = append(all, object{"text": "", "thoughtSignature": sign(Gemini, g.p.model, "text", "")})
			} else if g.p.mayThink {
				all[last]["thoughtSignature"] = sign(Gemini, g.p.model, "text", "")
			}
		case kindCall:
			call := object{"functionCall": object{
				"name": part.name, "args": json.RawMessage(part.args), "id": fmt.Sprintf("fake%04d%04d", len(g.p.items), i),
			}}
			if calls == 0 && g.p.mayThink {
				call["thoughtSignature"] = sign(Gemini, g.p.model, "call", part.name+canonical(anyOf(raw(part.args))))
			}
			calls++
			all = append(all, call)
		}
	}
	return all
}

func (g *geminiAnswer) cut(text string, stream bool) []string {
	if stream {
		return words(text)
	}
	return []string{text}
}

// last is what a candidate says beside its content when it ends.
func (g *geminiAnswer) last(choice int) object {
	c := object{"finishReason": g.finish(), "index": choice}
	if g.a.end == endRefusal {
		c["safetyRatings"] = []object{{"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": true}}
	}
	for _, part := range g.a.parts {
		if part.cite {
			c["groundingMetadata"] = object{
				"webSearchQueries": []string{"paris"},
				"groundingChunks":  []object{{"web": object{"uri": citedURL, "title": citedTitle}}},
				"groundingSupports": []object{{
					"segment": object{"startIndex": 0, "endIndex": len(part.text), "text": part.text}, "groundingChunkIndices": []int{0},
				}},
			}
		}
	}
	if g.p.logprobs {
		c["avgLogprobs"], c["logprobsResult"] = -0.1, g.logprobs(choice)
	}
	return c
}

func (g *geminiAnswer) logprobs(choice int) object {
	chosen, top := []object{}, []object{}
	for _, part := range g.a.parts {
		if part.kind != kindText {
			continue
		}
		for _, w := range words(textOf(part.text, choice)) {
			chosen = append(chosen, object{"token": w, "logProbability": -0.1, "tokenId": 1})
			candidates := make([]object, 0, g.p.topLogprobs)
			for i := range g.p.topLogprobs {
				candidates = append(candidates, object{"token": w + strings.Repeat("'", i), "logProbability": -0.1 * float64(i+1), "tokenId": i + 1})
			}
			top = append(top, object{"candidates": candidates})
		}
	}
	return object{"chosenCandidates": chosen, "topCandidates": top}
}

func (g *geminiAnswer) body() object {
	body := g.head(true)
	candidates := make([]object, 0, g.p.n)
	for i := range g.p.n {
		c := g.last(i)
		if g.a.end == endRefusal {
			c["content"] = object{}
		} else {
			c["content"] = object{"role": "model", "parts": g.parts(i, false)}
		}
		candidates = append(candidates, c)
	}
	body["candidates"] = candidates
	return body
}

// frames gives a chunk for each word and each call; of several candidates a chunk
// has one.
func (g *geminiAnswer) frames() []frame {
	var all []frame
	for i := range g.p.n {
		parts := g.parts(i, true)
		if g.a.end == endRefusal {
			parts = nil
		}
		for _, part := range parts {
			chunk := g.head(false)
			chunk["candidates"] = []object{{"content": object{"role": "model", "parts": []object{part}}, "index": i}}
			all = append(all, crlf(chunk).asContent())
		}
	}
	for i := range g.p.n {
		chunk := g.head(true)
		last := g.last(i)
		if g.a.end != endRefusal {
			last["content"] = object{"role": "model", "parts": []object{{"text": ""}}}
		}
		chunk["candidates"] = []object{last}
		all = append(all, crlf(chunk))
	}
	return all
}

func (s *Server) geminiCount(w http.ResponseWriter, model string, body []byte) *refusal {
	var q struct {
		Contents               raw `json:"contents"`
		GenerateContentRequest raw `json:"generateContentRequest"`
	}
	if path, err := strictly(body, &q); err != nil {
		return invalid("Invalid JSON payload received at '%s': %v", dotted(path), err)
	}
	request := []byte(q.GenerateContentRequest)
	if absent(q.GenerateContentRequest) {
		request = []byte(`{"contents":` + string(q.Contents) + `}`)
	}
	p, inner, problem := s.geminiPrompt(model, request, false)
	if problem != nil {
		return problem
	}
	if !absent(q.GenerateContentRequest) && inner.Model != "models/"+model {
		return invalid("* CountTokensRequest.generate_content_request.model: unexpected model name format")
	}
	s.note(p, nil)
	write(w, http.StatusOK, object{"totalTokens": CountedTokens, "promptTokensDetails": []object{{"modality": "TEXT", "tokenCount": CountedTokens}}})
	return nil
}

// geminiEmbedRequest is the body of embedContent.
// https://ai.google.dev/api/embeddings
type geminiEmbedRequest struct {
	Model                string         `json:"model"`
	Content              *geminiContent `json:"content"`
	TaskType             string         `json:"taskType"`
	Title                string         `json:"title"`
	OutputDimensionality *int           `json:"outputDimensionality"`
}

func (s *Server) embedOne(model string, q *geminiEmbedRequest) (object, *refusal) {
	switch {
	case !s.known(model):
		return nil, &refusal{status: http.StatusNotFound, kind: "NOT_FOUND", message: "models/" + model + " is not found for API version v1beta"}
	case q.Model != "" && q.Model != "models/"+model:
		return nil, invalid("* EmbedContentRequest.model: unexpected model name format")
	case q.Content == nil || len(q.Content.Parts) == 0:
		return nil, invalid("* EmbedContentRequest.content: contents is not specified")
	}
	var text strings.Builder
	for _, part := range q.Content.Parts {
		if part.Text == nil || *part.Text == "" {
			return nil, invalid("* EmbedContentRequest.content: content is empty")
		}
		text.WriteString(*part.Text)
	}
	return object{"values": vector(text.String(), q.OutputDimensionality)}, nil
}

func (s *Server) geminiEmbed(w http.ResponseWriter, model string, body []byte) *refusal {
	var q geminiEmbedRequest
	if path, err := strictly(body, &q); err != nil {
		return invalid("Invalid JSON payload received at '%s': %v", dotted(path), err)
	}
	embedding, problem := s.embedOne(model, &q)
	if problem == nil {
		write(w, http.StatusOK, object{"embedding": embedding})
	}
	return problem
}

func (s *Server) geminiBatchEmbed(w http.ResponseWriter, model string, body []byte) *refusal {
	var q struct {
		Requests []geminiEmbedRequest `json:"requests"`
	}
	if path, err := strictly(body, &q); err != nil {
		return invalid("Invalid JSON payload received at '%s': %v", dotted(path), err)
	}
	list := []object{}
	for i := range q.Requests {
		if q.Requests[i].Model == "" {
			return invalid("* BatchEmbedContentsRequest.requests[%d].model: model is required", i)
		}
		embedding, problem := s.embedOne(model, &q.Requests[i])
		if problem != nil {
			return problem
		}
		list = append(list, embedding)
	}
	if len(list) == 0 {
		return invalid("* BatchEmbedContentsRequest.requests: at least one request is required")
	}
	write(w, http.StatusOK, object{"embeddings": list})
	return nil
}
