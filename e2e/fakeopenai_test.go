package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeOpenAI plays the part of OpenAI's API that the clients use, strictly: it
// refuses a wrong key, an unknown model and fields of the wrong type with
// OpenAI's own error shapes. What it answers depends on the last message:
//
//	"weather …" with tools      a call of the first tool with {"city":"Paris"}
//	a tool's result             "The tool said: …"
//	"stall"                     streams one word, then nothing until the caller leaves
//	"refuse"                    status 400, param "temperature"
//	"busy"                      status 429
//	with a JSON schema          {"city":"Paris","population":2100000}
//	anything else               "Hello from MODEL"
//
// Every answer costs 1000 input and 500 output tokens.
type fakeOpenAI struct {
	*httptest.Server

	left chan time.Time // when the caller of a stalled answer left

	mu   sync.Mutex // guards last
	last chatRequest
}

type chatRequest struct {
	Model         string `json:"model"`
	Stream        bool   `json:"stream"`
	StreamOptions *struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	Messages []struct {
		Role    string `json:"role"`
		Content any    `json:"content"`
	} `json:"messages"`
	Tools []struct {
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	} `json:"tools"`
	ResponseFormat *struct {
		Type string `json:"type"`
	} `json:"response_format"`
	Temperature *float64 `json:"temperature"`
}

const (
	promptTokens     = 1000
	completionTokens = 500
)

var fakeModels = []string{"gpt-4o", "gpt-4o-mini", "text-embedding-3-small"}

func newFakeOpenAI(t *testing.T) *fakeOpenAI {
	t.Helper()
	f := &fakeOpenAI{left: make(chan time.Time, 16)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", f.authorized(f.chat))
	mux.HandleFunc("POST /v1/embeddings", f.authorized(f.embeddings))
	// The tests' own question: did a caller leave, and when (Unix milliseconds)?
	mux.HandleFunc("GET /left", func(w http.ResponseWriter, r *http.Request) {
		select {
		case at := <-f.left:
			reply(w, http.StatusOK, object{"left": true, "at": at.UnixMilli()})
		case <-time.After(5 * time.Second):
			reply(w, http.StatusOK, object{"left": false})
		}
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

// lastChat is the last chat request that was well formed.
func (f *fakeOpenAI) lastChat() chatRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

type object map[string]any

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, kind, code, param, message string) {
	reply(w, status, object{"error": object{"message": message, "type": kind, "code": code, "param": param}})
}

func (f *fakeOpenAI) authorized(next func(http.ResponseWriter, *http.Request, []byte)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		switch {
		case err != nil:
			return
		case !slices.Equal(r.Header["Authorization"], []string{"Bearer " + upstreamKey}):
			refuse(w, http.StatusUnauthorized, "invalid_request_error", "invalid_api_key", "", "Incorrect API key provided.")
		case r.Header.Get("X-Api-Key") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("X-Forwarded-For") != "":
			refuse(w, http.StatusBadRequest, "invalid_request_error", "", "", "The request carries headers of the gateway's caller.")
		case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
			refuse(w, http.StatusBadRequest, "invalid_request_error", "", "", "The body is not declared as JSON.")
		default:
			next(w, r, body)
		}
	}
}

func (f *fakeOpenAI) chat(w http.ResponseWriter, r *http.Request, body []byte) {
	var q chatRequest
	if err := json.Unmarshal(body, &q); err != nil || len(q.Messages) == 0 {
		refuse(w, http.StatusBadRequest, "invalid_request_error", "", "messages", "The body does not fit.")
		return
	}
	if !slices.Contains(fakeModels, q.Model) {
		refuse(w, http.StatusNotFound, "invalid_request_error", "model_not_found", "", "The model does not exist.")
		return
	}
	f.mu.Lock()
	f.last = q
	f.mu.Unlock()

	last := q.Messages[len(q.Messages)-1]
	text, _ := last.Content.(string)
	switch {
	case strings.HasPrefix(text, "refuse"):
		refuse(w, http.StatusBadRequest, "invalid_request_error", "unsupported_value", "temperature",
			"Unsupported value: 'temperature' does not support 0.2 with this model.")
	case strings.HasPrefix(text, "busy"):
		w.Header().Set("Retry-After", "7")
		refuse(w, http.StatusTooManyRequests, "requests", "rate_limit_exceeded", "", "Rate limit reached in organization org-secret.")
	case strings.HasPrefix(text, "stall"):
		f.stall(w, r, q)
	case len(q.Tools) > 0 && last.Role == "user":
		f.answer(w, q, object{"role": "assistant", "content": nil, "tool_calls": []object{{
			"id": "call_1", "type": "function",
			"function": object{"name": q.Tools[0].Function.Name, "arguments": `{"city":"Paris"}`},
		}}}, "tool_calls")
	case last.Role == "tool":
		f.say(w, q, "The tool said: "+text)
	case q.ResponseFormat != nil && q.ResponseFormat.Type == "json_schema":
		f.say(w, q, `{"city":"Paris","population":2100000}`)
	default:
		f.say(w, q, "Hello from "+q.Model)
	}
}

func (f *fakeOpenAI) say(w http.ResponseWriter, q chatRequest, text string) {
	f.answer(w, q, object{"role": "assistant", "content": text}, "stop")
}

func (f *fakeOpenAI) answer(w http.ResponseWriter, q chatRequest, message object, finish string) {
	usage := object{"prompt_tokens": promptTokens, "completion_tokens": completionTokens, "total_tokens": promptTokens + completionTokens}
	if !q.Stream {
		message["refusal"] = nil
		reply(w, http.StatusOK, object{
			"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": q.Model + "-2024-08-06",
			"choices": []object{{"index": 0, "message": message, "logprobs": nil, "finish_reason": finish}},
			"usage":   usage, "service_tier": "default",
		})
		return
	}
	s := newStream(w, q)
	for _, delta := range deltas(message) {
		s.send(delta, nil)
	}
	s.send(object{}, finish)
	if s.wantUsage {
		s.write(object{"choices": []object{}, "usage": usage})
	}
	_, _ = io.WriteString(w, "data: [DONE]\n\n")
}

// deltas cuts a message into the pieces of a stream.
func deltas(message object) []object {
	pieces := []object{{"role": "assistant", "content": ""}}
	if calls, ok := message["tool_calls"].([]object); ok {
		call := calls[0]
		function := call["function"].(object)
		pieces = append(pieces, object{"tool_calls": []object{{
			"index": 0, "id": call["id"], "type": "function", "function": object{"name": function["name"], "arguments": ""},
		}}})
		for part := range strings.SplitAfterSeq(function["arguments"].(string), ":") {
			pieces = append(pieces, object{"tool_calls": []object{{"index": 0, "function": object{"arguments": part}}}})
		}
		return pieces
	}
	for word := range strings.SplitAfterSeq(message["content"].(string), " ") {
		pieces = append(pieces, object{"content": word})
	}
	return pieces
}

// stall streams one word and waits for the caller to leave.
func (f *fakeOpenAI) stall(w http.ResponseWriter, r *http.Request, q chatRequest) {
	s := newStream(w, q)
	s.send(object{"role": "assistant", "content": "Wait"}, nil)
	<-r.Context().Done()
	f.left <- time.Now()
}

type stream struct {
	w         http.ResponseWriter
	model     string
	wantUsage bool
}

func newStream(w http.ResponseWriter, q chatRequest) *stream {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	return &stream{w, q.Model + "-2024-08-06", q.StreamOptions != nil && q.StreamOptions.IncludeUsage}
}

func (s *stream) send(delta object, finish any) {
	s.write(object{"choices": []object{{"index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish}}})
}

func (s *stream) write(chunk object) {
	chunk["id"], chunk["object"], chunk["created"], chunk["model"] = "chatcmpl-1", "chat.completion.chunk", 1700000000, s.model
	if _, ok := chunk["usage"]; s.wantUsage && !ok {
		chunk["usage"] = nil
	}
	data, _ := json.Marshal(chunk)
	_, _ = fmt.Fprintf(s.w, "data: %s\n\n", data)
	_ = http.NewResponseController(s.w).Flush()
}

// embeddings gives for each input the vector {length of the input, 0.5, -1}, as
// numbers or as base64, which the official clients ask for.
func (f *fakeOpenAI) embeddings(w http.ResponseWriter, _ *http.Request, body []byte) {
	var q struct {
		Model    string   `json:"model"`
		Input    []string `json:"input"`
		Encoding string   `json:"encoding_format"`
	}
	if err := json.Unmarshal(body, &q); err != nil || len(q.Input) == 0 {
		refuse(w, http.StatusBadRequest, "invalid_request_error", "", "input", "The body does not fit.")
		return
	}
	var data []object
	for i, text := range q.Input {
		vector := []float32{float32(len(text)), 0.5, -1}
		var embedding any = vector
		if q.Encoding == "base64" {
			var raw bytes.Buffer
			for _, x := range vector {
				_ = binary.Write(&raw, binary.LittleEndian, math.Float32bits(x))
			}
			embedding = base64.StdEncoding.EncodeToString(raw.Bytes())
		}
		data = append(data, object{"object": "embedding", "index": i, "embedding": embedding})
	}
	reply(w, http.StatusOK, object{
		"object": "list", "data": data, "model": q.Model, "usage": object{"prompt_tokens": 8, "total_tokens": 8},
	})
}
