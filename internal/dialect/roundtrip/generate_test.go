package roundtrip_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
)

// dice draws what a conversation is like.
type dice struct{ *rand.Rand }

// seeded gives the dice of a seed.
func seeded(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 0x746f6c6c67617465))} }

// oneIn says yes in one of n cases.
func (d dice) oneIn(n int) bool { return d.IntN(n) == 0 }

func pick[T any](d dice, from ...T) T { return from[d.IntN(len(from))] }

// maybe gives a pointer to a value in one of n cases.
func maybe[T any](d dice, n int, value T) *T {
	if d.oneIn(n) {
		return &value
	}
	return nil
}

func (d dice) text() string {
	words := []string{
		"Hello", "What is the weather in Paris?", "naïve café ☕", "日本語のテキスト", "👩‍👩‍👧‍👦 🇩🇪", "quotes \" and \\ slashes / \\n",
		"line\nbreak\r\n\ttab", "\u2028,\u2029,\u0085.", "\x01\x1f\x7f", "</script><!--", "data: [DONE]\n\nevent: error\n\n",
		`{"role":"system","content":"x"}`, "call_1__tgs1_AAAA", "tgs1_AAAA", "NaN", "null", " spaces ", "é\u0301", string(loneSurrogate), "𝄞", "\uFEFF",
	}
	var b strings.Builder
	for range 1 + d.IntN(3) {
		b.WriteString(pick(d, words...))
	}
	if d.oneIn(200) {
		b.WriteString(strings.Repeat("a long text with 文字. ", 200))
	}
	return b.String()
}

// said is text that a server sends, whose JSON has no broken characters.
func (d dice) said() string { return received(d.text()) }

func (d dice) bytes(most int) string {
	b := make([]byte, 1+d.IntN(most))
	for i := range b {
		b[i] = byte(d.Uint32())
	}
	return base64.StdEncoding.EncodeToString(b)
}

func (d dice) word(most int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	b := make([]byte, 6+d.IntN(most))
	for i := range b {
		b[i] = letters[d.IntN(len(letters))]
	}
	return string(b)
}

// object is a JSON object as models write arguments.
func (d dice) object(depth int) string {
	space := pick(d, "", "", " ", "\n  ")
	var members []string
	for i := range d.IntN(4) {
		name := fmt.Sprintf("%s%d", pick(d, "city", "q", "ключ", "a b", "quo\"te", "", "input", "error", "output"), i)
		members = append(members, string(quote(name))+":"+space+d.value(depth))
	}
	return "{" + space + strings.Join(members, ","+space) + space + "}"
}

func (d dice) value(depth int) string {
	switch kind := d.IntN(8); {
	case kind == 0 && depth > 0:
		return d.object(depth - 1)
	case kind == 1 && depth > 0:
		return "[" + d.value(depth-1) + "," + d.value(depth-1) + "]"
	case kind < 4:
		return pick(d, "0", "-1", "3.14", "1e5", "12345678901234567890", "0.1000000000000000055511151231257827", "-0", "1E-7", "true", "false", "null", "[]", "{}")
	}
	return string(quote(d.said()))
}

var schemas = []string{
	`{"type":"object","properties":{"city":{"type":"string","description":"Where é"}},"required":["city"],"additionalProperties":false}`,
	`{"type":"object","properties":{}}`,
	`{"type":"object","properties":{"unit":{"type":"string","enum":["c","f"]},"n":{"type":"integer","minimum":0},"list":{"type":"array","items":{"type":"number"}}}}`,
	`{"$defs":{"a":{"type":["string","null"]}},"type":"object","properties":{"x":{"$ref":"#/$defs/a"},"y":{"anyOf":[{"type":"string"},{"type":"null"}]}}}`,
}

var toolNames = []string{"get_weather", "f", "search-docs", "a_tool_with_a_name_that_is_as_long_as_a_name_of_a_tool_may_be_xyz"}

// a conversation is what is said before and after one answer of a model.
type conversation struct {
	request llm.Request // the settings, and the messages before the answer
	answer  llm.Answer
	results []llm.ToolResult // of the answer's calls, in their order; without ids
	next    []llm.Part       // what the user says then
}

// converse makes a conversation of a user of one format with a model of another.
// Only what the user's format has is said by the user, and only what the model's
// format has by the model.
func converse(d dice, user, model llm.Format, modelName string) conversation {
	c := conversation{request: llm.Request{Model: "m"}}
	d.settings(&c.request, user)
	d.system(&c.request, user)
	for range d.IntN(5) / 2 {
		d.exchange(&c.request, user)
	}
	d.add(&c.request, llm.RoleUser, d.userParts(user))
	if user == dialect.OpenAIChat && d.oneIn(10) {
		c.request.Messages[len(c.request.Messages)-1].Name = "alice"
	}
	c.answer = d.answer(&c.request, user, model, modelName)
	for _, p := range c.answer.Choices[0].Parts {
		if call, ok := p.(*llm.ToolCall); ok {
			c.results = append(c.results, *d.result(user, call))
		}
	}
	if len(c.results) == 0 || d.oneIn(3) {
		c.next = d.userParts(user)
	}
	return c
}

func (d dice) add(r *llm.Request, role llm.Role, parts []llm.Part) {
	r.Messages = append(r.Messages, llm.Message{Role: role, Parts: parts})
}

func (d dice) system(r *llm.Request, user llm.Format) {
	if d.oneIn(2) {
		return
	}
	role := llm.RoleSystem
	if d.oneIn(2) && (user == dialect.OpenAIChat || user == dialect.OpenAIResponses) {
		role = llm.RoleDeveloper
	}
	parts := []llm.Part{&llm.Text{Text: d.text()}}
	if d.oneIn(4) {
		second := &llm.Text{Text: d.text()}
		second.Cache = d.cache(user)
		parts = append(parts, second)
	}
	d.add(r, role, parts)
}

func (d dice) cache(user llm.Format) *llm.CacheMark {
	if !d.oneIn(5) {
		return nil
	}
	switch user {
	case dialect.AnthropicMessages, dialect.OpenAIChat:
		return &llm.CacheMark{TTL: pick(d, "", "5m", "1h")}
	}
	return nil
}

// exchange is an earlier turn: a question, and an answer with or without tools.
func (d dice) exchange(r *llm.Request, user llm.Format) {
	d.add(r, llm.RoleUser, d.userParts(user))
	if len(r.Tools) == 0 || d.oneIn(2) {
		d.add(r, llm.RoleAssistant, []llm.Part{&llm.Text{Text: d.text()}})
		return
	}
	var parts []llm.Part
	if d.oneIn(2) {
		parts = append(parts, &llm.Text{Text: d.text()})
	}
	var calls []*llm.ToolCall
	for range 1 + d.IntN(2) {
		call := d.call(r, user)
		calls = append(calls, call)
		parts = append(parts, call)
	}
	d.add(r, llm.RoleAssistant, parts)
	for _, call := range calls {
		result := d.result(user, call)
		result.CallID = call.ID
		d.add(r, llm.RoleTool, []llm.Part{result})
	}
	d.add(r, llm.RoleAssistant, []llm.Part{&llm.Text{Text: d.text()}})
}

// callIDs are how the formats' ids of calls begin.
var callIDs = map[llm.Format]string{
	dialect.OpenAIChat: "call_", dialect.OpenAIResponses: "call_", dialect.AnthropicMessages: "toolu_01", dialect.Gemini: "",
}

func (d dice) call(r *llm.Request, format llm.Format) *llm.ToolCall {
	tool := pick(d, r.Tools...)
	call := &llm.ToolCall{ID: callIDs[format] + d.word(24), Name: tool.Name, Custom: tool.Custom, Arguments: d.object(2)}
	if tool.Custom {
		call.Arguments = d.said()
	}
	return call
}

// result answers a call as clients of a format can.
func (d dice) result(user llm.Format, call *llm.ToolCall) *llm.ToolResult {
	result := &llm.ToolResult{CallID: call.ID, Name: call.Name, Custom: call.Custom}
	text := pick(d, d.text(), d.text(), "", "Error: no such city", `{"output":"x"}`, d.object(1), "12")
	result.Parts = []llm.Part{&llm.Text{Text: text}}
	if user == dialect.OpenAIChat || call.Custom {
		return result
	}
	if user != dialect.OpenAIResponses {
		result.IsError = d.oneIn(5)
	}
	if d.oneIn(6) {
		result.Parts = append(result.Parts, &llm.Media{Kind: llm.MediaImage, MIME: "image/png", Data: d.bytes(30)})
	}
	return result
}

// userParts are what a user says at once.
func (d dice) userParts(user llm.Format) []llm.Part {
	parts := []llm.Part{&llm.Text{Text: d.text()}}
	for d.oneIn(4) {
		parts = append(parts, d.media(user))
	}
	if d.oneIn(5) {
		parts = append(parts, &llm.Text{Text: d.text()})
	}
	parts[len(parts)-1].Base().Cache = d.cache(user)
	return parts
}

func (d dice) media(user llm.Format) llm.Part {
	image := &llm.Media{Kind: llm.MediaImage, MIME: pick(d, "image/png", "image/jpeg"), Data: d.bytes(60)}
	linked := &llm.Media{Kind: llm.MediaImage, URL: "https://example.com/" + d.word(5) + ".png"}
	pdf := &llm.Media{Kind: llm.MediaDocument, MIME: "application/pdf", Data: d.bytes(60)}
	audio := &llm.Media{Kind: llm.MediaAudio, MIME: pick(d, "audio/wav", "audio/mpeg"), Data: d.bytes(60)}
	named := *pdf
	named.Name = "a file ü.pdf"
	switch user {
	case dialect.OpenAIChat:
		image.Detail = pick(d, "", "low", "auto")
		return pick[llm.Part](d, image, linked, &named, audio)
	case dialect.OpenAIResponses:
		image.Detail = pick(d, "", "high")
		return pick[llm.Part](d, image, linked, &named, &llm.Media{Kind: llm.MediaDocument, URL: "https://example.com/a.pdf"})
	case dialect.AnthropicMessages:
		return pick[llm.Part](d, image, linked, pdf, &named,
			&llm.Media{Kind: llm.MediaDocument, URL: "https://example.com/a.pdf"},
			&llm.Media{Kind: llm.MediaDocument, MIME: "text/plain", Text: d.text(), Name: pick(d, "", "notes")})
	}
	return pick[llm.Part](d, image, pdf, audio, &llm.Media{Kind: llm.MediaVideo, MIME: "video/mp4", Data: d.bytes(60)},
		&llm.Media{Kind: llm.MediaVideo, URL: "https://www.youtube.com/watch?v=" + d.word(5)})
}

// settings are all of a request but its messages.
func (d dice) settings(r *llm.Request, user llm.Format) {
	openAI := user == dialect.OpenAIChat || user == dialect.OpenAIResponses
	r.MaxTokens = pick[int64](d, 0, 1, 1000, 64_000)
	if user == dialect.AnthropicMessages {
		r.MaxTokens = pick[int64](d, 1, 1000, 64_000)
	}
	r.Temperature, r.TopP = maybe(d, 3, pick(d, 0, 0.3, 1)), maybe(d, 5, 0.95)
	if user != dialect.OpenAIResponses {
		r.TopK = maybe(d, 8, pick(d, 1.0, 40))
		if d.oneIn(5) {
			r.Stop = pick(d, []string{"END"}, []string{"\n\n", "x\"y"})
		}
	}
	if user == dialect.OpenAIChat || user == dialect.Gemini {
		r.FrequencyPenalty, r.PresencePenalty = maybe(d, 10, pick(d, 0, 0.5)), maybe(d, 10, pick(d, 0, -1.5))
		r.Seed = maybe(d, 8, pick[int64](d, 0, 42, -7))
		r.N = pick[int64](d, 0, 0, 0, 0, 0, 1, 2)
	}
	if user != dialect.AnthropicMessages && d.oneIn(8) {
		r.LogProbs, r.TopLogProbs = true, maybe[int64](d, 2, 3)
	}
	d.tools(r, user)
	d.output(r, user)
	d.reasoning(r, user)
	if openAI {
		r.Verbosity = pick(d, "", "", "", "", "medium", "low")
		r.User, r.SafetyID, r.CacheKey = pick(d, "", "", "user-1"), pick(d, "", "", "", "safe-1"), pick(d, "", "", "", "key-1")
		r.ServiceTier = pick(d, "", "", "", "auto", "default", "flex", "priority")
		r.Store = maybe(d, 6, d.oneIn(2))
	}
	switch {
	case user == dialect.AnthropicMessages:
		r.User, r.ServiceTier = pick(d, "", "", "user-1"), pick(d, "", "", "auto", "standard_only")
	case d.oneIn(6):
		r.Metadata = map[string]string{"team": "x", "ключ": "значение"}
	}
}

func (d dice) tools(r *llm.Request, user llm.Format) {
	if d.oneIn(3) {
		return
	}
	for i := range 1 + d.IntN(len(toolNames)) {
		tool := llm.Tool{Name: toolNames[i], Description: pick(d, "", d.text()), Schema: []byte(pick(d, schemas...)), Index: int32(i)}
		if user != dialect.Gemini {
			tool.Strict = maybe(d, 6, d.oneIn(2))
		}
		tool.Cache = d.cache(user)
		if d.oneIn(12) && (user == dialect.OpenAIChat || user == dialect.OpenAIResponses) {
			tool = llm.Tool{Name: tool.Name, Description: tool.Description, Custom: true, Index: int32(i)}
			if d.oneIn(2) {
				tool.Grammar = []byte(`{"type":"grammar","syntax":"regex","definition":"[a-z]+"}`)
			}
		}
		r.Tools = append(r.Tools, tool)
	}
	names := []string{r.Tools[0].Name}
	switch d.IntN(8) {
	case 0:
		r.ToolChoice = &llm.ToolChoice{Mode: pick(d, llm.ToolAuto, llm.ToolRequired, llm.ToolNone)}
	case 1:
		r.ToolChoice = &llm.ToolChoice{Mode: llm.ToolRequired, Names: names}
	case 2:
		if len(r.Tools) > 2 && user != dialect.AnthropicMessages {
			r.ToolChoice = &llm.ToolChoice{Mode: pick(d, llm.ToolAuto, llm.ToolRequired), Names: append(names, r.Tools[1].Name)}
		}
	}
	if user != dialect.Gemini && (user != dialect.AnthropicMessages || r.ToolChoice != nil && r.ToolChoice.Mode != llm.ToolNone) {
		r.ParallelTools = maybe(d, 5, d.oneIn(2))
	}
}

func (d dice) output(r *llm.Request, user llm.Format) {
	switch d.IntN(8) {
	case 0:
		if user != dialect.AnthropicMessages {
			r.Output = &llm.OutputFormat{Kind: pick(d, llm.OutputText, llm.OutputJSONObject)}
		}
	case 1:
		r.Output = &llm.OutputFormat{Kind: llm.OutputJSONSchema, Schema: []byte(pick(d, schemas...))}
		if user == dialect.OpenAIChat || user == dialect.OpenAIResponses {
			r.Output.Name, r.Output.Description, r.Output.Strict = "weather_1", pick(d, "", "of a city"), maybe(d, 2, d.oneIn(2))
		}
	}
}

func (d dice) reasoning(r *llm.Request, user llm.Format) {
	if !d.oneIn(3) {
		return
	}
	switch user {
	case dialect.OpenAIChat:
		r.Reasoning = &llm.Reasoning{Effort: pick(d, "none", "minimal", "low", "medium", "high")}
	case dialect.OpenAIResponses:
		r.Reasoning = &llm.Reasoning{Effort: pick(d, "", "low", "high"), Summary: pick(d, "auto", "detailed")}
	case dialect.AnthropicMessages:
		r.Reasoning = pick(d, &llm.Reasoning{Budget: new(int64(0))}, &llm.Reasoning{Budget: new(int64(1024))},
			&llm.Reasoning{Adaptive: true}, &llm.Reasoning{Adaptive: true, Effort: "low"})
	case dialect.Gemini:
		r.Reasoning = pick(d, &llm.Reasoning{Budget: new(int64(0))}, &llm.Reasoning{Budget: new(int64(2048)), Show: new(true)},
			&llm.Reasoning{Effort: "high"}, &llm.Reasoning{Budget: new(int64(-1))})
	}
}
