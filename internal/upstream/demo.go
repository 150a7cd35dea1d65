package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/sse"
)

// DemoName is the built-in provider's name.
const DemoName = "demo"

// demoPace is the pause between the words of a streamed demo answer: slow
// enough to be seen streaming, fast enough not to annoy.
const demoPace = 15 * time.Millisecond

// NewDemo makes the built-in provider: it answers chat, completion and
// embedding calls by itself, in OpenAI's formats, and costs nothing.
func NewDemo() *Provider {
	base, _ := baseURL("http://demo.invalid/v1", Preset{})
	p := &Provider{
		Name:           DemoName,
		Timeouts:       Timeouts{}.withDefaults(),
		MaxTokensField: "max_tokens",
		AskUsage:       true,
		Transport:      demo{},
		base:           base,
		preset: Preset{
			Auth: AuthNone, KeyOptional: true,
			Formats:   []dialect.Name{dialect.OpenAIChat},
			Endpoints: usual(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings),
		},
		prices: DemoName,
	}
	p.setEndpoints()
	return p
}

// demo plays an OpenAI-compatible server behind http.RoundTripper.
type demo struct{}

type demoRequest struct {
	Model    string `json:"model"`
	Stream   bool   `json:"stream"`
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Prompt        json.RawMessage `json:"prompt"`
	Input         json.RawMessage `json:"input"`
	MaxTokens     int             `json:"max_tokens"`
	MaxCompletion int             `json:"max_completion_tokens"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	ResponseFormat struct {
		Type       string `json:"type"`
		JSONSchema struct {
			Schema json.RawMessage `json:"schema"`
		} `json:"json_schema"`
	} `json:"response_format"`
}

// RoundTrip implements http.RoundTripper.
func (demo) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		return nil, err
	}
	var req demoRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return demoJSON(r, http.StatusBadRequest, map[string]any{ //nolint:nilerr // it is the caller's error, and the answer
			"error": map[string]any{"message": "the request does not fit the demo provider", "type": "invalid_request_error"},
		}), nil
	}
	a := demoAnswer{req: req, id: "demo-" + strconv.FormatUint(rand.Uint64(), 36), created: time.Now().Unix()}
	switch {
	case strings.HasSuffix(r.URL.Path, "/embeddings"):
		return demoJSON(r, http.StatusOK, a.embeddings()), nil
	case strings.HasSuffix(r.URL.Path, "/chat/completions"):
		a.chat = true
	}
	a.compose()
	if req.Stream {
		return a.stream(r), nil
	}
	return demoJSON(r, http.StatusOK, a.whole()), nil
}

func demoJSON(r *http.Request, status int, v any) *http.Response {
	body, _ := json.Marshal(v)
	return demoResponse(r, status, "application/json", io.NopCloser(bytes.NewReader(body)), int64(len(body)))
}

func demoResponse(r *http.Request, status int, contentType string, body io.ReadCloser, length int64) *http.Response {
	return &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {contentType}}, Body: body, ContentLength: length, Request: r,
	}
}

// demoAnswer is one answer being given.
type demoAnswer struct {
	req           demoRequest
	chat          bool
	id            string
	created       int64
	words         []string
	finish        string
	input, output int
}

func (a *demoAnswer) compose() {
	a.words = a.text()
	a.finish = "stop"
	if limit := max(a.req.MaxTokens, a.req.MaxCompletion); limit > 0 && limit < len(a.words) {
		a.words, a.finish = a.words[:limit], "length"
	}
	a.output = len(a.words)
	for _, m := range a.req.Messages {
		a.input += len(strings.Fields(demoText(m.Content))) + 3
	}
	a.input += len(strings.Fields(demoText(a.req.Prompt)))
}

// text is the answer's, in the pieces that it is streamed in.
func (a *demoAnswer) text() []string {
	question := a.question()
	if schema, ok := a.wantsJSON(question); ok {
		return jsonWords.FindAllString(demoValue(schema, question), -1)
	}
	text := fmt.Sprintf("This is Tollgate's built-in demo model, standing in for %s: no provider has a key yet. "+
		"You asked: “%s”. Set OPENAI_API_KEY (or another provider's) and ask again for a real answer.",
		clip(a.req.Model, 60), clip(question, 200))
	return strings.SplitAfter(text, " ")
}

// wantsJSON says whether the answer is to be JSON, and of what schema (nil: any):
// by the request's format, or by words that a real model would understand as well,
// those of the JSON steps of pipelines.
func (a *demoAnswer) wantsJSON(question string) (schema json.RawMessage, ok bool) {
	if format := a.req.ResponseFormat; a.chat && strings.HasPrefix(format.Type, "json_") {
		return format.JSONSchema.Schema, true
	}
	const order, lead = "Answer with JSON alone", "JSON Schema:\n"
	at := strings.LastIndex(question, order)
	if at < 0 {
		return nil, false
	}
	if _, text, found := strings.Cut(question[at:], lead); found && json.Valid([]byte(text)) {
		schema = json.RawMessage(text)
	}
	return schema, true
}

// jsonWords are the pieces that JSON is said in.
var jsonWords = regexp.MustCompile(`[^ ,]+[ ,]?|[ ,]`)

func (a *demoAnswer) question() string {
	for _, m := range slices.Backward(a.req.Messages) {
		if m.Role == "user" {
			return demoText(m.Content)
		}
	}
	return demoText(a.req.Prompt)
}

// demoText is the text of a content member: a string, or parts with text.
func demoText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var parts []struct {
		Text string `json:"text"`
	}
	_ = json.Unmarshal(raw, &parts)
	texts := make([]string, 0, len(parts))
	for _, p := range parts {
		texts = append(texts, p.Text)
	}
	return strings.Join(texts, " ")
}

func clip(s string, n int) string {
	runes := []rune(strings.Join(strings.Fields(s), " "))
	if len(runes) <= n {
		return string(runes)
	}
	return string(runes[:n]) + "…"
}

func (a *demoAnswer) usage() map[string]any {
	return map[string]any{
		"prompt_tokens": a.input, "completion_tokens": a.output, "total_tokens": a.input + a.output,
	}
}

func (a *demoAnswer) object(suffix string) map[string]any {
	object := "text_completion"
	if a.chat {
		object = "chat.completion" + suffix
	}
	return map[string]any{"id": a.id, "object": object, "created": a.created, "model": a.req.Model}
}

func (a *demoAnswer) whole() map[string]any {
	choice := map[string]any{"index": 0, "finish_reason": a.finish, "logprobs": nil}
	if a.chat {
		choice["message"] = map[string]any{"role": "assistant", "content": strings.Join(a.words, ""), "refusal": nil}
	} else {
		choice["text"] = strings.Join(a.words, "")
	}
	answer := a.object("")
	answer["choices"] = []any{choice}
	answer["usage"] = a.usage()
	return answer
}

func (a *demoAnswer) chunk(delta map[string]any, finish any) []byte {
	choice := map[string]any{"index": 0, "finish_reason": finish}
	if a.chat {
		choice["delta"] = delta
	} else {
		choice["text"], _ = delta["content"].(string)
	}
	chunk := a.object(".chunk")
	chunk["choices"] = []any{choice}
	return encode(chunk)
}

func encode(v any) []byte {
	data, _ := json.Marshal(v)
	return sse.AppendEvent(nil, "", data)
}

func (a *demoAnswer) stream(r *http.Request) *http.Response {
	body, out := io.Pipe()
	ctx := r.Context()
	// The goroutine ends when the answer is said, the reader closes the body or
	// the request is cancelled, as a real connection's would.
	stop := context.AfterFunc(ctx, func() { _ = out.CloseWithError(ctx.Err()) })
	go func() {
		defer stop()
		_ = out.CloseWithError(a.say(ctx, out))
	}()
	return demoResponse(r, http.StatusOK, "text/event-stream", body, -1)
}

func (a *demoAnswer) say(ctx context.Context, out io.Writer) error {
	pace := time.NewTicker(demoPace)
	defer pace.Stop()
	for i, word := range a.words {
		delta := map[string]any{"content": word}
		if i == 0 {
			delta["role"] = "assistant"
		}
		if _, err := out.Write(a.chunk(delta, nil)); err != nil {
			return err
		}
		select {
		case <-pace.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	events := a.chunk(map[string]any{}, a.finish)
	if a.req.StreamOptions.IncludeUsage {
		last := a.object(".chunk")
		last["choices"] = []any{}
		last["usage"] = a.usage()
		events = append(events, encode(last)...)
	}
	events = append(events, "data: [DONE]\n\n"...)
	if _, err := out.Write(events); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	return nil
}

// embeddings gives each input a unit vector of its own, the same every time.
func (a *demoAnswer) embeddings() map[string]any {
	const dimensions = 256
	var inputs []string
	if json.Unmarshal(a.req.Input, &inputs) != nil {
		inputs = []string{demoText(a.req.Input)}
	}
	data := make([]any, len(inputs))
	for i, input := range inputs {
		a.input += len(strings.Fields(input))
		seed := fnv.New64a()
		_, _ = io.WriteString(seed, input)
		source := rand.New(rand.NewPCG(seed.Sum64(), 0)) // a toy vector, no secret
		vector, norm := make([]float64, dimensions), 0.0
		for j := range vector {
			vector[j] = source.NormFloat64()
			norm += vector[j] * vector[j]
		}
		for j := range vector {
			vector[j] /= math.Sqrt(norm)
		}
		data[i] = map[string]any{"object": "embedding", "index": i, "embedding": vector}
	}
	return map[string]any{
		"object": "list", "model": a.req.Model, "data": data,
		"usage": map[string]any{"prompt_tokens": a.input, "total_tokens": a.input},
	}
}
