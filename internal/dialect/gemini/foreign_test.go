package gemini_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/gemini"
	"github.com/financecommander/tollgate/internal/llm"
)

// foreign are options for a request of another format.
func foreign(drop bool) dialect.EncodeOptions {
	return dialect.EncodeOptions{Unsaid: &dialect.Unsaid{Target: dialect.Gemini, Drop: drop}}
}

func user(parts ...llm.Part) llm.Message { return llm.Message{Role: llm.RoleUser, Parts: parts} }

func text(s string) *llm.Text { return &llm.Text{Text: s} }

func encoded(t *testing.T, model string, r *llm.Request) string {
	t.Helper()
	body, err := gemini.Generate{Model: model}.EncodeRequest(r, foreign(false))
	require.NoError(t, err)
	return string(body)
}

func TestForeignConversation(t *testing.T) {
	r := &llm.Request{Messages: []llm.Message{
		llm.TextMessage(llm.RoleSystem, "Be brief."),
		user(text("weather?")),
		{Role: llm.RoleAssistant, Parts: []llm.Part{
			&llm.Thinking{Text: "hm", Common: llm.Common{Opaque: &llm.Opaque{Format: dialect.AnthropicMessages, Value: "s"}}},
			text("Let me see."),
			&llm.ToolCall{ID: "a", Name: "weather", Arguments: `{"city":"Rome"}`},
			&llm.ToolCall{ID: "b", Name: "weather", Arguments: ``},
			&llm.ToolCall{ID: "c", Name: "time", Arguments: `not JSON`},
		}},
		{Role: llm.RoleTool, Parts: []llm.Part{&llm.ToolResult{CallID: "b", Parts: []llm.Part{text(`{"t":1}`)}}}},
		{Role: llm.RoleTool, Parts: []llm.Part{&llm.ToolResult{CallID: "a", Parts: []llm.Part{text("sunny")}}}},
		{Role: llm.RoleTool, Parts: []llm.Part{&llm.ToolResult{CallID: "c", IsError: true, Parts: []llm.Part{text("no")}}}},
		llm.TextMessage(llm.RoleDeveloper, "Be kind."),
		{Role: llm.RoleAssistant},
	}}
	want := `{"contents":[{"role":"user","parts":[{"text":"weather?"}]},
		{"role":"model","parts":[{"text":"Let me see."},{"functionCall":{"id":"a","name":"weather","args":{"city":"Rome"}}%s},
			{"functionCall":{"id":"b","name":"weather"}},{"functionCall":{"id":"c","name":"time","args":{"_unparsed_arguments":"not JSON"}}}]},
		{"role":"user","parts":[{"functionResponse":{"id":"a","name":"weather","response":{"output":"sunny"}}},
			{"functionResponse":{"id":"b","name":"weather","response":{"t":1}}},
			{"functionResponse":{"id":"c","name":"time","response":{"error":"no"}}}]}],
		"systemInstruction":{"parts":[{"text":"Be brief."},{"text":"Be kind."}]}}`
	require.JSONEq(t, fmt.Sprintf(want, ""), encoded(t, "gemini-2.5-flash", r))
	require.JSONEq(t, fmt.Sprintf(want, `,"thoughtSignature":"skip_thought_signature_validator"`), encoded(t, "gemini-3-flash-preview", r))

	// A turn that is over needs no signature, nor does a call with its own.
	r.Messages = append(r.Messages, user(text("thanks")),
		llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{&llm.ToolCall{
			ID: "d", Name: "time", Common: llm.Common{Opaque: &llm.Opaque{Format: dialect.Gemini, Model: "gemini-3", Value: "c2ln"}},
		}}},
		llm.Message{Role: llm.RoleTool, Parts: []llm.Part{&llm.ToolResult{CallID: "d"}}})
	body := encoded(t, "gemini-3-pro", r)
	require.NotContains(t, body, "skip_thought")
	require.Contains(t, body, `"thoughtSignature":"c2ln"`)
	require.Contains(t, body, `{"functionResponse":{"id":"d","name":"time","response":{"output":""}}}`)
}

// Vertex AI is sent no ids that it did not make.
func TestVertex(t *testing.T) {
	r := &llm.Request{Metadata: map[string]string{"team": "a-b_1"}, ServiceTier: "flex", Messages: []llm.Message{
		user(text("x")),
		{Role: llm.RoleAssistant, Parts: []llm.Part{&llm.ToolCall{ID: "a", Name: "f"}}},
		user(&llm.ToolResult{CallID: "a", Parts: []llm.Part{text("y")}}),
	}}
	o := foreign(false)
	o.Vertex = true
	body, err := gemini.Generate{Model: "gemini-2.5-pro"}.EncodeRequest(r, o)
	require.NoError(t, err)
	require.JSONEq(t, `{"contents":[{"role":"user","parts":[{"text":"x"}]},{"role":"model","parts":[{"functionCall":{"name":"f"}}]},
		{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"output":"y"}}}]}],"labels":{"team":"a-b_1"}}`, string(body))
	require.Equal(t, []string{"service_tier"}, o.Unsaid.Dropped)
}

// Equal requests have equal bytes, lest a provider's cache take them for others.
func TestLabelsAreInOrder(t *testing.T) {
	r := &llm.Request{Messages: []llm.Message{user(text("x"))}, Metadata: map[string]string{"c": "3", "a": "1", "d": "4", "b": "2"}}
	o := foreign(false)
	o.Vertex = true
	for range 10 {
		body, err := gemini.Generate{Model: "gemini-2.5-pro"}.EncodeRequest(r, o)
		require.NoError(t, err)
		require.Contains(t, string(body), `"labels":{"a":"1","b":"2","c":"3","d":"4"}`)
	}
}

func TestForeignFields(t *testing.T) {
	yes, half, one, seed := true, 0.5, int64(1), int64(7)
	r := &llm.Request{
		Messages: []llm.Message{user(text("x"))}, MaxTokens: 10, Temperature: &half, TopP: &half, TopK: &half, Stop: []string{"END"}, N: 2,
		Seed: &seed, FrequencyPenalty: &half, PresencePenalty: &half, LogProbs: true, TopLogProbs: &one, ServiceTier: "default",
		Tools: []llm.Tool{
			{Name: "f", Description: "does", Schema: []byte(`{"type":"object","properties":{"a":{"type":["string","null"]}}}`), Strict: &yes},
			{Name: "g", Index: 1},
		},
		Output: &llm.OutputFormat{Kind: llm.OutputJSONSchema, Name: "n", Schema: []byte(`{"type":"object","additionalProperties":false}`)},
		User:   "u", SafetyID: "s", CacheKey: "k", Store: &yes, Metadata: map[string]string{"a": "b"}, ParallelTools: &yes, Verbosity: "medium",
	}
	o := foreign(false)
	body, err := gemini.Generate{Model: "gemini-2.5-flash"}.EncodeRequest(r, o)
	require.NoError(t, err)
	require.JSONEq(t, `{"contents":[{"role":"user","parts":[{"text":"x"}]}],
		"tools":[{"functionDeclarations":[{"name":"f","description":"does","parametersJsonSchema":{"type":"object","properties":{"a":{"type":["string","null"]}}}},{"name":"g"}]}],
		"toolConfig":{"functionCallingConfig":{"mode":"VALIDATED"}},"serviceTier":"standard",
		"generationConfig":{"maxOutputTokens":10,"temperature":0.5,"topP":0.5,"topK":0.5,"stopSequences":["END"],"candidateCount":2,"seed":7,
		"frequencyPenalty":0.5,"presencePenalty":0.5,"responseLogprobs":true,"logprobs":1,"responseMimeType":"application/json",
		"responseJsonSchema":{"type":"object","additionalProperties":false}}}`, string(body))
	require.ElementsMatch(t, []string{"user", "safety_identifier", "prompt_cache_key", "store", "metadata"}, o.Unsaid.Dropped)
}

func TestForeignToolChoice(t *testing.T) {
	for want, choice := range map[string]*llm.ToolChoice{
		`{"mode":"AUTO"}`: {Mode: llm.ToolAuto},
		`{"mode":"NONE"}`: {Mode: llm.ToolNone},
		`{"mode":"ANY"}`:  {Mode: llm.ToolRequired},
		`{"mode":"ANY","allowedFunctionNames":["f"]}`:           {Mode: llm.ToolRequired, Names: []string{"f"}},
		`{"mode":"VALIDATED","allowedFunctionNames":["f","g"]}`: {Mode: llm.ToolAuto, Names: []string{"f", "g"}},
	} {
		body := encoded(t, "gemini-2.5-flash", &llm.Request{Messages: []llm.Message{user(text("x"))}, ToolChoice: choice})
		require.Contains(t, body, `"toolConfig":{"functionCallingConfig":`+want+`}`)
	}
}

func TestReasoning(t *testing.T) {
	budget := func(n int64) *int64 { return &n }
	yes := true
	for _, tc := range []struct {
		model string
		r     llm.Reasoning
		want  string
	}{
		{"gemini-2.5-flash", llm.Reasoning{Effort: "none"}, `{"thinkingBudget":0}`},
		{"gemini-2.5-pro", llm.Reasoning{Effort: "none"}, `{"thinkingBudget":128}`},
		{"gemini-2.5-pro", llm.Reasoning{Budget: budget(0)}, `{"thinkingBudget":128}`},
		{"gemini-2.5-flash", llm.Reasoning{Budget: budget(0)}, `{"thinkingBudget":0}`},
		{"gemini-2.5-flash", llm.Reasoning{Effort: "minimal"}, `{"thinkingBudget":512}`},
		{"gemini-2.5-flash", llm.Reasoning{Effort: "low"}, `{"thinkingBudget":1024}`},
		{"gemini-2.5-flash", llm.Reasoning{Effort: "medium"}, `{"thinkingBudget":8192}`},
		{"gemini-2.5-flash", llm.Reasoning{Effort: "high", Show: &yes}, `{"includeThoughts":true,"thinkingBudget":24576}`},
		{"gemini-2.5-flash", llm.Reasoning{Effort: "max"}, `{"thinkingBudget":24576}`},
		{"gemini-2.5-flash", llm.Reasoning{Budget: budget(2000)}, `{"thinkingBudget":2000}`},
		{"gemini-2.5-flash", llm.Reasoning{Adaptive: true}, `{"thinkingBudget":-1}`},
		{"gemini-3-flash-preview", llm.Reasoning{Effort: "none"}, `{"thinkingLevel":"minimal"}`},
		{"gemini-3.1-pro-preview", llm.Reasoning{Effort: "none"}, `{"thinkingLevel":"low"}`},
		{"gemini-3.1-pro-preview", llm.Reasoning{Effort: "medium"}, `{"thinkingLevel":"medium"}`},
		{"gemini-3-pro-preview", llm.Reasoning{Effort: "medium"}, `{"thinkingLevel":"high"}`},
		{"gemini-3-flash-preview", llm.Reasoning{Effort: "xhigh", Summary: "auto"}, `{"includeThoughts":true,"thinkingLevel":"high"}`},
		{"gemini-3-flash-preview", llm.Reasoning{Budget: budget(2000)}, `{"thinkingBudget":2000}`},
		{"gemini-3-flash-preview", llm.Reasoning{Budget: budget(0)}, `{"thinkingLevel":"minimal"}`},
	} {
		body := encoded(t, tc.model, &llm.Request{Messages: []llm.Message{user(text("x"))}, Reasoning: &tc.r})
		require.Contains(t, body, `"thinkingConfig":`+tc.want+`}`, "%s %+v", tc.model, tc.r)
	}
	require.NotContains(t, encoded(t, "gemini-3-pro", &llm.Request{Messages: []llm.Message{user(text("x"))}, Reasoning: &llm.Reasoning{Adaptive: true}}), "thinking")
}

func TestForeignMedia(t *testing.T) {
	const png = "iVBORw0KGgo="
	fetched := 0
	o := foreign(false)
	o.Inline = func(m *llm.Media) (*llm.Media, error) {
		fetched++
		return &llm.Media{Kind: m.Kind, MIME: "image/png", Data: png}, nil
	}
	body, err := gemini.Generate{Model: "gemini-3-pro"}.EncodeRequest(&llm.Request{Messages: []llm.Message{
		user(
			&llm.Media{Kind: llm.MediaImage, Data: png},
			&llm.Media{Kind: llm.MediaImage, URL: "https://example.com/a.png"},
			&llm.Media{Kind: llm.MediaVideo, URL: "gs://bucket/a.mp4", MIME: "video/mp4"},
			&llm.Media{Kind: llm.MediaVideo, URL: "https://www.youtube.com/watch?v=1"},
			&llm.Media{Kind: llm.MediaDocument, FileID: "https://generativelanguage.googleapis.com/v1beta/files/x", MIME: "application/pdf"},
			&llm.Media{Kind: llm.MediaDocument, Text: "plain"},
		),
		{Role: llm.RoleAssistant, Parts: []llm.Part{&llm.ToolCall{ID: "a", Name: "look"}}},
		user(&llm.ToolResult{CallID: "a", Parts: []llm.Part{&llm.Media{Kind: llm.MediaImage, MIME: "image/png", Data: png}}}),
	}}, o)
	require.NoError(t, err)
	require.Equal(t, 1, fetched)
	require.JSONEq(t, `{"contents":[{"role":"user","parts":[{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}},
		{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}},{"fileData":{"mimeType":"video/mp4","fileUri":"gs://bucket/a.mp4"}},
		{"fileData":{"fileUri":"https://www.youtube.com/watch?v=1"}},
		{"fileData":{"mimeType":"application/pdf","fileUri":"https://generativelanguage.googleapis.com/v1beta/files/x"}},
		{"inlineData":{"mimeType":"text/plain","data":"cGxhaW4="}}]},
		{"role":"model","parts":[{"functionCall":{"id":"a","name":"look"},"thoughtSignature":"skip_thought_signature_validator"}]},
		{"role":"user","parts":[{"functionResponse":{"id":"a","name":"look","response":{"output":""},"parts":[{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}}]}}]}]}`, string(body))
}

// What the format cannot say is refused by the client's own name for it, or left
// out and told.
func TestUnsaid(t *testing.T) {
	no, big := false, int64(1)<<40
	at := llm.Common{Pos: llm.Pos{Message: 1, Part: 2}}
	tool := []llm.Tool{{Name: "f"}}
	result := func(p llm.Part) []llm.Message {
		return []llm.Message{user(text("x")), {Role: llm.RoleAssistant, Parts: []llm.Part{&llm.ToolCall{ID: "a", Name: "f"}}}, user(&llm.ToolResult{CallID: "a", Parts: []llm.Part{p}})}
	}
	for _, tc := range []struct {
		name, path string
		r          llm.Request
	}{
		{"one tool at a time", "parallel_tool_calls", llm.Request{Tools: tool, ParallelTools: &no}},
		{"a custom tool", "tools[3]", llm.Request{Tools: []llm.Tool{{Name: "f", Custom: true, Index: 3}}}},
		{"another's tool", "tools[0]", llm.Request{Tools: []llm.Tool{{Native: &llm.Native{Format: dialect.OpenAIResponses, Type: "web_search"}}}}},
		{"another's choice", "tool_choice", llm.Request{Tools: tool, ToolChoice: &llm.ToolChoice{Native: &llm.Native{Format: dialect.OpenAIResponses}}}},
		{"a long seed", "seed", llm.Request{Seed: &big}},
		{"verbosity", "verbosity", llm.Request{Verbosity: "low"}},
		{"an earlier answer", "previous_response_id", llm.Request{PreviousID: "resp_1"}},
		{"an unknown member", "prediction", llm.Request{Extra: llm.Extra{Format: dialect.OpenAIChat, JSON: []byte(`{"prediction":{"x":1}}`)}}},
		{"a URL", "messages[1].content[2]", llm.Request{Messages: []llm.Message{user(text("x"), &llm.Media{Common: at, URL: "https://example.com/a.png"})}}},
		{"another's file", "messages[1].content[2]", llm.Request{Messages: []llm.Message{user(text("x"), &llm.Media{Common: at, FileID: "file-1"})}}},
		{"another's part", "messages[1].content[2]", llm.Request{Messages: []llm.Message{user(text("x"), &llm.NativePart{Common: at, Native: llm.Native{Format: dialect.OpenAIResponses, Type: "x"}})}}},
		{"an image as result", "messages[1].content[2]", llm.Request{Messages: result(&llm.Media{Common: at, MIME: "image/png", Data: "AAAA"})}},
		{"a custom call", "messages[1].content[2]", llm.Request{Messages: []llm.Message{user(text("x")), {Role: llm.RoleAssistant, Parts: []llm.Part{&llm.ToolCall{Common: at, Custom: true}}}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.r.Messages == nil {
				tc.r.Messages = []llm.Message{user(text("x"))}
			}
			_, err := gemini.Generate{Model: "gemini-2.5-flash"}.EncodeRequest(&tc.r, foreign(false))
			var e *llm.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tc.path, e.Param)
			o := foreign(true)
			_, err = gemini.Generate{Model: "gemini-2.5-flash"}.EncodeRequest(&tc.r, o)
			require.NoError(t, err)
			require.Equal(t, []string{tc.path}, o.Unsaid.Dropped)
		})
	}
}

// What only this format has is named as its clients know it.
func TestOwnExtras(t *testing.T) {
	r, err := gemini.Generate{}.DecodeRequest([]byte(`{`+hello+`,"safetySettings":[{"category":"X"}],"generationConfig":{"speechConfig":{"a":1},
		"responseModalities":["TEXT"]},"toolConfig":{"retrievalConfig":{"b":1},"functionCallingConfig":{"mode":"VALIDATED"}}}`), dialect.DecodeOptions{Seal: dialect.NoSeal{}})
	require.NoError(t, err)
	u := &dialect.Unsaid{Target: dialect.OpenAIChat, Drop: true}
	require.NoError(t, u.Extra(r.Extra, ""))
	require.ElementsMatch(t, []string{"safetySettings", "generationConfig.speechConfig", "toolConfig.retrievalConfig", "toolConfig.functionCallingConfig.mode"}, u.Dropped)
}

// Google's Schema becomes JSON Schema, and itself again.
func TestSchemas(t *testing.T) {
	const google = `{"type":"OBJECT","properties":{"a":{"type":"STRING","nullable":true,"enum":["x","y"]},"b":{"type":"ARRAY","items":{"type":"INTEGER"},"minItems":1},
		"c":{"anyOf":[{"type":"STRING"},{"type":"NUMBER"}],"nullable":true},"type":{"type":"BOOLEAN"}},"required":["a"],"propertyOrdering":["a","b"]}`
	const plain = `{"type":"object","properties":{"a":{"type":["string","null"],"enum":["x","y",null]},"b":{"type":"array","items":{"type":"integer"},"minItems":1},
		"c":{"anyOf":[{"type":"string"},{"type":"number"},{"type":"null"}]},"type":{"type":"boolean"}},"required":["a"],"propertyOrdering":["a","b"]}`
	body := `{` + hello + `,"tools":[{"functionDeclarations":[{"name":"f","description":"","parameters":` + google + `}]}],
		"generationConfig":{"responseMimeType":"application/json","responseSchema":` + google + `}}`
	g := gemini.Generate{Model: "gemini-2.5-flash"}
	r, err := g.DecodeRequest([]byte(body), dialect.DecodeOptions{Seal: dialect.NoSeal{}})
	require.NoError(t, err)
	require.JSONEq(t, plain, string(r.Tools[0].Schema))
	require.JSONEq(t, plain, string(r.Output.Schema))
	again, err := g.EncodeRequest(r, encodeOptions())
	require.NoError(t, err)
	require.JSONEq(t, body, string(again))
	u := &dialect.Unsaid{Target: dialect.OpenAIChat}
	require.NoError(t, u.Extra(r.Tools[0].Extra, "tools[0]"), "the mark of where the schema was asks for nothing")
	require.NoError(t, u.Extra(r.Output.Extra, "x"))
}

// Clients may leave ids out; responses then belong to the calls of their name in
// the calls' order.
func TestCallsWithoutIDs(t *testing.T) {
	r, err := gemini.Generate{}.DecodeRequest([]byte(`{"contents":[{"parts":[{"text":"x"}]},
		{"role":"model","parts":[{"functionCall":{"name":"f"}},{"functionCall":{"name":"g","id":"own"}},{"functionCall":{"name":"f"}}]},
		{"role":"function","parts":[{"functionResponse":{"name":"f"}},{"functionResponse":{"name":"f"}},{"functionResponse":{"name":"g","id":"own"}},{"functionResponse":{"name":"f"}}]}]}`),
		dialect.DecodeOptions{Seal: dialect.NoSeal{}})
	require.NoError(t, err)
	var calls, results []string
	for _, p := range r.Messages[1].Parts {
		calls = append(calls, p.(*llm.ToolCall).ID)
	}
	for _, p := range r.Messages[2].Parts {
		results = append(results, p.(*llm.ToolResult).CallID)
	}
	require.Equal(t, llm.RoleTool, r.Messages[2].Role)
	require.Equal(t, []string{calls[0], calls[2], "own", calls[2]}, results)
	require.NotEqual(t, calls[0], calls[2])
}

// A chat of Google's SDKs sends a streamed answer back as one content a chunk;
// it is one message, whose text is one, however many there are.
func TestChunksAsContents(t *testing.T) {
	const n = 50_000
	body := `{"contents":[{"parts":[{"text":"x"}]}` + strings.Repeat(`,{"role":"model","parts":[{"text":"ab"}]}`, n) +
		`,{"role":"model","parts":[{"functionCall":{"name":"f"}}]},{"role":"model","parts":[{"text":""}]}]}`
	r, err := gemini.Generate{}.DecodeRequest([]byte(body), dialect.DecodeOptions{Seal: dialect.NoSeal{}})
	require.NoError(t, err)
	require.Len(t, r.Messages, 2)
	require.Len(t, r.Messages[1].Parts, 2)
	require.Equal(t, strings.Repeat("ab", n), r.Messages[1].Parts[0].(*llm.Text).Text)
}

// Instructions alone are asked, since the format refuses a request of nothing
// else.
func TestInstructionsAlone(t *testing.T) {
	require.JSONEq(t, `{"contents":[{"role":"user","parts":[{"text":"Say hi."}]}]}`,
		encoded(t, "gemini-3-pro", &llm.Request{Messages: []llm.Message{llm.TextMessage(llm.RoleSystem, "Say hi.")}}))
}
