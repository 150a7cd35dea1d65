package anthropic_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/anthropic"
	"github.com/financecommander/tollgate/internal/llm"
)

// fromElsewhere encodes a request that came in another format.
func fromElsewhere(t *testing.T, r *llm.Request, drop bool) (body map[string]any, dropped []string, failed *llm.Error) {
	t.Helper()
	u := &dialect.Unsaid{Drop: drop, Target: anthropic.Format}
	raw, err := anthropic.Messages.EncodeRequest(r, dialect.EncodeOptions{Unsaid: u})
	if err != nil {
		require.ErrorAs(t, err, &failed)
		return nil, u.Dropped, failed
	}
	require.NoError(t, json.Unmarshal(raw, &body), "%s", raw)
	return body, u.Dropped, nil
}

func user(text string) llm.Message { return llm.TextMessage(llm.RoleUser, text) }

// members are what a request becomes beside its model and messages.
func TestEncodeMembers(t *testing.T) {
	tool := llm.Tool{Name: "a", Description: "d", Schema: []byte(`{"type":"object"}`)}
	other := llm.Tool{Name: "b", Schema: []byte(`{"properties":{}}`)}
	encodedTool := `{"name":"a","description":"d","input_schema":{"type":"object"}}`
	for name, test := range map[string]struct {
		request llm.Request
		want    string // JSON of the members
		dropped []string
	}{
		"least":                {llm.Request{}, `{"max_tokens":16384}`, nil},
		"limit, stream":        {llm.Request{MaxTokens: 7, Stream: true}, `{"max_tokens":7,"stream":true}`, nil},
		"old model":            {llm.Request{Model: "claude-3-haiku-20240307"}, `{"max_tokens":4096}`, nil},
		"less old model":       {llm.Request{Model: "claude-3-5-sonnet-20241022"}, `{"max_tokens":8192}`, nil},
		"sampling":             {llm.Request{MaxTokens: 7, Temperature: new(0.2), TopK: new(40.0)}, `{"max_tokens":7,"temperature":0.2,"top_k":40}`, nil},
		"usual sampling":       {llm.Request{MaxTokens: 7, Temperature: new(1.0), TopP: new(1.0), FrequencyPenalty: new(0.0), PresencePenalty: new(0.0), N: 1, TopLogProbs: new(int64(0)), Verbosity: "medium"}, `{"max_tokens":7}`, nil},
		"usual sampling, new":  {llm.Request{Model: "claude-opus-4-7", MaxTokens: 7, Temperature: new(1.0), TopP: new(1.0)}, `{"max_tokens":7}`, nil},
		"stop":                 {llm.Request{MaxTokens: 7, Stop: []string{"END"}}, `{"max_tokens":7,"stop_sequences":["END"]}`, nil},
		"user":                 {llm.Request{MaxTokens: 7, User: "u", SafetyID: "s"}, `{"max_tokens":7,"metadata":{"user_id":"u"}}`, []string{"safety_identifier"}},
		"safety":               {llm.Request{MaxTokens: 7, SafetyID: "s"}, `{"max_tokens":7,"metadata":{"user_id":"s"}}`, nil},
		"hints":                {llm.Request{MaxTokens: 7, Metadata: map[string]string{"a": "b"}, CacheKey: "k", Store: new(true), ServiceTier: "flex"}, `{"max_tokens":7}`, []string{"service_tier", "metadata", "prompt_cache_key", "store"}},
		"tier":                 {llm.Request{MaxTokens: 7, ServiceTier: "default", Store: new(false)}, `{"max_tokens":7,"service_tier":"standard_only"}`, nil},
		"tools":                {llm.Request{MaxTokens: 7, Tools: []llm.Tool{tool, other, {Name: "c"}}}, `{"max_tokens":7,"tools":[` + encodedTool + `,{"name":"b","input_schema":{"type":"object","properties":{}}},{"name":"c","input_schema":{"type":"object","properties":{}}}]}`, nil},
		"strict":               {llm.Request{MaxTokens: 7, Tools: []llm.Tool{{Name: "a", Schema: []byte(`{"type":"object"}`), Strict: new(true), Cache: &llm.CacheMark{TTL: "24h"}}}}, `{"max_tokens":7,"tools":[{"name":"a","input_schema":{"type":"object"},"strict":true,"cache_control":{"type":"ephemeral"}}]}`, nil},
		"choice, auto":         {llm.Request{MaxTokens: 7, Tools: []llm.Tool{tool}, ToolChoice: &llm.ToolChoice{Mode: llm.ToolAuto}, ParallelTools: new(true)}, `{"max_tokens":7,"tools":[` + encodedTool + `],"tool_choice":{"type":"auto"}}`, nil},
		"choice, none":         {llm.Request{MaxTokens: 7, Tools: []llm.Tool{tool}, ToolChoice: &llm.ToolChoice{Mode: llm.ToolNone}, ParallelTools: new(false)}, `{"max_tokens":7,"tools":[` + encodedTool + `],"tool_choice":{"type":"none"}}`, nil},
		"choice, required":     {llm.Request{MaxTokens: 7, Tools: []llm.Tool{tool}, ToolChoice: &llm.ToolChoice{Mode: llm.ToolRequired}}, `{"max_tokens":7,"tools":[` + encodedTool + `],"tool_choice":{"type":"any"}}`, nil},
		"choice, named":        {llm.Request{MaxTokens: 7, Tools: []llm.Tool{tool}, ToolChoice: &llm.ToolChoice{Mode: llm.ToolRequired, Names: []string{"a"}}, ParallelTools: new(false)}, `{"max_tokens":7,"tools":[` + encodedTool + `],"tool_choice":{"type":"tool","name":"a","disable_parallel_tool_use":true}}`, nil},
		"choice, set":          {llm.Request{MaxTokens: 7, Tools: []llm.Tool{tool, other}, ToolChoice: &llm.ToolChoice{Mode: llm.ToolAuto, Names: []string{"a"}}}, `{"max_tokens":7,"tools":[` + encodedTool + `],"tool_choice":{"type":"auto"}}`, nil},
		"choice, required set": {llm.Request{MaxTokens: 7, Tools: []llm.Tool{tool, other, {Name: "c"}}, ToolChoice: &llm.ToolChoice{Mode: llm.ToolRequired, Names: []string{"a", "b"}}}, `{"max_tokens":7,"tools":[` + encodedTool + `,{"name":"b","input_schema":{"type":"object","properties":{}}}],"tool_choice":{"type":"any"}}`, nil},
		"one at a time":        {llm.Request{MaxTokens: 7, Tools: []llm.Tool{tool}, ParallelTools: new(false)}, `{"max_tokens":7,"tools":[` + encodedTool + `],"tool_choice":{"type":"auto","disable_parallel_tool_use":true}}`, nil},
		"choice without tools": {llm.Request{MaxTokens: 7, ToolChoice: &llm.ToolChoice{Mode: llm.ToolAuto}, ParallelTools: new(false)}, `{"max_tokens":7}`, nil},
		"schema":               {llm.Request{MaxTokens: 7, Output: &llm.OutputFormat{Kind: llm.OutputJSONSchema, Name: "n", Strict: new(true), Schema: []byte(`{"type":"object"}`)}}, `{"max_tokens":7,"output_config":{"format":{"type":"json_schema","schema":{"type":"object","additionalProperties":false}}}}`, nil},
		"text":                 {llm.Request{MaxTokens: 7, Output: &llm.OutputFormat{Kind: llm.OutputText}}, `{"max_tokens":7}`, nil},
		"empty extra":          {llm.Request{MaxTokens: 7, Extra: llm.Extra{Format: dialect.OpenAIChat, JSON: []byte(`{"logit_bias":{},"web_search_options":null}`)}}, `{"max_tokens":7}`, nil},
		"foreign wire":         {llm.Request{MaxTokens: 7, Wire: llm.Extra{Format: dialect.OpenAIResponses, JSON: []byte(`{"include":["x"]}`)}}, `{"max_tokens":7}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			test.request.Messages = []llm.Message{user("hi")}
			if test.request.Model == "" {
				test.request.Model = "claude-sonnet-4-5"
			}
			body, dropped, failed := fromElsewhere(t, &test.request, false)
			require.Nil(t, failed)
			require.Equal(t, test.request.Model, body["model"])
			require.Equal(t, []any{map[string]any{"role": "user", "content": "hi"}}, body["messages"])
			delete(body, "model")
			delete(body, "messages")
			require.Equal(t, value(t, []byte(test.want)), any(body))
			require.Equal(t, test.dropped, dropped)
		})
	}
}

func TestEncodeThinking(t *testing.T) {
	effort := func(e string) *llm.Reasoning { return &llm.Reasoning{Effort: e} }
	budget := func(n int64) *llm.Reasoning { return &llm.Reasoning{Budget: &n} }
	const old, middle, recent, always = "claude-haiku-4-5", "claude-sonnet-4-6", "claude-opus-4-7", "claude-fable-5"
	enabled := func(n string) string { return `{"thinking":{"type":"enabled","budget_tokens":` + n + `}}` }
	adaptive := func(e string) string {
		return `{"thinking":{"type":"adaptive"},"output_config":{"effort":"` + e + `"}}`
	}
	for _, test := range []struct {
		model string
		want  *llm.Reasoning
		limit int64
		body  string
		// refused is why there can be none, left that it is left out all the same.
		refused string
		left    bool
	}{
		{model: old, want: nil, body: `{}`},
		{model: old, want: &llm.Reasoning{}, body: `{}`},
		{model: old, want: &llm.Reasoning{Show: new(true)}, body: `{}`},
		{model: old, want: effort("none"), body: `{"thinking":{"type":"disabled"}}`},
		{model: old, want: budget(0), body: `{"thinking":{"type":"disabled"}}`},
		{model: old, want: effort("minimal"), body: enabled("1024")},
		{model: old, want: effort("low"), body: enabled("2048")},
		{model: old, want: effort("medium"), body: enabled("8192")},
		{model: old, want: effort("high"), body: enabled("16384")},
		{model: old, want: effort("xhigh"), body: enabled("32000")},
		{model: old, want: effort("max"), body: enabled("32000")},
		{model: old, want: budget(5000), body: enabled("5000")},
		{model: old, want: budget(5), body: enabled("1024")},
		{model: old, want: budget(-1), body: enabled("8192")},
		{model: old, want: &llm.Reasoning{Adaptive: true}, body: enabled("8192")},
		{model: old, want: effort("high"), limit: 5000, body: enabled("4999")},
		{model: old, want: effort("high"), limit: 1000, body: `{}`, left: true},
		{model: "deepseek-chat", want: effort("low"), body: enabled("2048")},
		{model: "claude-3-5-haiku-latest", want: effort("low"), refused: "it cannot think"},
		{model: "claude-3-5-haiku-latest", want: effort("none"), body: `{}`},
		{model: middle, want: effort("minimal"), body: adaptive("low")},
		{model: middle, want: effort("max"), body: adaptive("high")},
		{model: "claude-opus-4-6", want: effort("max"), body: adaptive("max")},
		{model: "claude-opus-4-6", want: effort("xhigh"), body: adaptive("high")},
		{model: middle, want: budget(5000), body: enabled("5000")},
		{model: middle, want: budget(-1), body: `{"thinking":{"type":"adaptive"}}`},
		{model: recent, want: effort("none"), body: `{"thinking":{"type":"disabled"}}`},
		{model: recent, want: effort("xhigh"), body: adaptive("xhigh")},
		{model: recent, want: effort("max"), body: adaptive("max")},
		{model: recent, want: budget(1024), body: adaptive("low")},
		{model: recent, want: budget(8000), body: adaptive("medium")},
		{model: recent, want: budget(16000), body: adaptive("high")},
		{model: recent, want: budget(60000), body: adaptive("xhigh")},
		{model: recent, want: &llm.Reasoning{Effort: "low", Show: new(true)}, body: `{"thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"low"}}`},
		{model: recent, want: &llm.Reasoning{Adaptive: true, Show: new(false)}, body: `{"thinking":{"type":"adaptive","display":"omitted"}}`},
		{model: recent, want: &llm.Reasoning{Show: new(true)}, body: `{"thinking":{"type":"adaptive","display":"summarized"}}`},
		{model: recent, want: &llm.Reasoning{Show: new(false)}, body: `{}`},
		{model: recent, want: &llm.Reasoning{}, body: `{}`},
		{model: always, want: effort("none"), refused: "it always thinks"},
		{model: always, want: effort("low"), body: adaptive("low")},
		{model: "claude-opus-5-5", want: effort("none"), refused: "it always thinks"},
	} {
		r := &llm.Request{Model: test.model, MaxTokens: test.limit, Reasoning: test.want, Messages: []llm.Message{user("hi")}}
		body, dropped, failed := fromElsewhere(t, r, false)
		if test.refused != "" {
			require.NotNil(t, failed)
			require.Equal(t, "reasoning_effort", failed.Param)
			require.Contains(t, failed.Message, test.refused)
			body, dropped, failed = fromElsewhere(t, r, true)
			test.body, test.left = `{}`, true
		}
		require.Nil(t, failed)
		if thinking, ok := body["thinking"].(map[string]any); ok && thinking["budget_tokens"] != nil {
			require.Greater(t, body["max_tokens"], thinking["budget_tokens"])
		}
		for _, name := range []string{"model", "messages", "max_tokens"} {
			delete(body, name)
		}
		require.Equal(t, value(t, []byte(test.body)), any(body), "%s %+v", test.model, test.want)
		require.Equal(t, test.left, len(dropped) == 1, "%v", dropped)
	}
}

// What thinking does not go with is refused, or thinking itself is left out.
func TestThinkingHasConditions(t *testing.T) {
	think := &llm.Reasoning{Effort: "low"}
	tool := []llm.Tool{{Name: "a"}}
	call := llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{&llm.ToolCall{ID: "1", Name: "a"}}}
	proved := llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{
		&llm.Thinking{Common: llm.Common{Opaque: &llm.Opaque{Format: anthropic.Format, Value: "sig"}}}, &llm.ToolCall{ID: "1", Name: "a"},
	}}
	result := llm.Message{Role: llm.RoleTool, Parts: []llm.Part{&llm.ToolResult{CallID: "1"}}}
	for name, test := range map[string]struct {
		request llm.Request
		param   string // of what is refused
		thinks  bool
		left    bool
	}{
		"temperature":               {llm.Request{Temperature: new(0.5), Reasoning: think}, "temperature", true, false},
		"temperature of 1":          {llm.Request{Temperature: new(1.0), Reasoning: think}, "", true, false},
		"top_p":                     {llm.Request{TopP: new(0.5), Reasoning: think}, "top_p", true, false},
		"high top_p":                {llm.Request{TopP: new(0.95), Reasoning: think}, "", true, false},
		"top_k":                     {llm.Request{TopK: new(5.0), Reasoning: think}, "top_k", true, false},
		"forced tool":               {llm.Request{Tools: tool, ToolChoice: &llm.ToolChoice{Mode: llm.ToolRequired}, Reasoning: think}, "reasoning_effort", false, true},
		"lost thinking":             {llm.Request{Messages: []llm.Message{user("hi"), call, result}, Reasoning: think}, "", false, true},
		"lost thinking, adaptive":   {llm.Request{Model: "claude-opus-4-7", Messages: []llm.Message{user("hi"), call, result}, Reasoning: think}, "", true, false},
		"kept thinking":             {llm.Request{Messages: []llm.Message{user("hi"), proved, result}, Reasoning: think}, "", true, false},
		"lost thinking, long since": {llm.Request{Messages: []llm.Message{user("hi"), call, result, llm.TextMessage(llm.RoleAssistant, "ok"), user("go on")}, Reasoning: think}, "", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := test.request
			if r.Model == "" {
				r.Model = "claude-haiku-4-5"
			}
			if r.Messages == nil {
				r.Messages = []llm.Message{user("hi")}
			}
			body, dropped, failed := fromElsewhere(t, &r, false)
			if test.param != "" {
				require.NotNil(t, failed)
				require.Equal(t, test.param, failed.Param)
				body, dropped, failed = fromElsewhere(t, &r, true)
				require.Equal(t, []string{test.param}, dropped)
				require.NotContains(t, body, test.param)
			} else if test.left {
				require.Equal(t, []string{"reasoning_effort"}, dropped)
			} else {
				require.Empty(t, dropped)
			}
			require.Nil(t, failed)
			require.Equal(t, test.thinks, body["thinking"] != nil)
		})
	}
}

func TestEncodeMessages(t *testing.T) {
	text := func(s string) *llm.Text { return &llm.Text{Text: s} }
	call := func(id string) *llm.ToolCall { return &llm.ToolCall{ID: id, Name: "a", Arguments: `{"x":1}`} }
	result := func(id string, parts ...llm.Part) *llm.ToolResult { return &llm.ToolResult{CallID: id, Parts: parts} }
	message := func(role llm.Role, parts ...llm.Part) llm.Message { return llm.Message{Role: role, Parts: parts} }
	marked := func(s string) *llm.Text {
		return &llm.Text{Common: llm.Common{Cache: &llm.CacheMark{TTL: "1h"}}, Text: s}
	}
	const block = `{"type":"tool_use","id":"1","name":"a","input":{"x":1}}`
	for name, test := range map[string]struct {
		messages []llm.Message
		want     string // system and messages
		dropped  []string
	}{
		"system anywhere": {
			[]llm.Message{message(llm.RoleSystem, text("a")), user("b"), message(llm.RoleDeveloper, text("c")), message(llm.RoleAssistant, text("d"))},
			`{"system":[{"type":"text","text":"a"},{"type":"text","text":"c"}],"messages":[{"role":"user","content":"b"},{"role":"assistant","content":"d"}]}`, nil,
		},
		"turns of one speaker": {
			[]llm.Message{user("a"), user("b"), message(llm.RoleAssistant, text("c")), message(llm.RoleAssistant, text("d"))},
			`{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"assistant","content":[{"type":"text","text":"c"},{"type":"text","text":"d"}]}]}`, nil,
		},
		"results first": {
			[]llm.Message{user("a"), message(llm.RoleAssistant, call("1"), call("2")), message(llm.RoleTool, result("1", text("x"))), user("b"), message(llm.RoleTool, result("2"))},
			`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[` + block + `,{"type":"tool_use","id":"2","name":"a","input":{"x":1}}]},
				{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"x"},{"type":"tool_result","tool_use_id":"2"},{"type":"text","text":"b"}]}]}`, nil,
		},
		"empty texts": {
			[]llm.Message{message(llm.RoleSystem, text("")), message(llm.RoleUser, text(""), text("a"), text("\n")), message(llm.RoleAssistant, text("")), user("b")},
			`{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}`, nil,
		},
		"prefill": {
			[]llm.Message{user("a"), message(llm.RoleAssistant, text("{ \n"))},
			`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"{"}]}`, nil,
		},
		"ids": {
			[]llm.Message{user("a"), message(llm.RoleAssistant, call("call.1|x")), message(llm.RoleTool, result("call.1|x"))},
			`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_4e413e2e76fdc333771b0f2f","name":"a","input":{"x":1}}]},
				{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_4e413e2e76fdc333771b0f2f"}]}]}`, nil,
		},
		"an id of several turns": {
			[]llm.Message{user("a"), message(llm.RoleAssistant, call("1")), message(llm.RoleTool, result("1", text("x"))), message(llm.RoleAssistant, call("1")), message(llm.RoleTool, result("1", text("y")))},
			`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[` + block + `]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"x"}]},
				{"role":"assistant","content":[{"type":"tool_use","id":"toolu_f71998fe363b9c29116c80b5","name":"a","input":{"x":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_f71998fe363b9c29116c80b5","content":"y"}]}]}`, nil,
		},
		"arguments": {
			[]llm.Message{user("a"), message(llm.RoleAssistant, &llm.ToolCall{ID: "1", Name: "a"}, &llm.ToolCall{ID: "2", Name: "a", Arguments: `{"x":`}, &llm.ToolCall{ID: "3", Name: "a", Arguments: "ls", Custom: true})},
			`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"a","input":{}},{"type":"tool_use","id":"2","name":"a","input":{"input":"{\"x\":"}},{"type":"tool_use","id":"3","name":"a","input":{"input":"ls"}}]}]}`, nil,
		},
		"results": {
			[]llm.Message{user("a"), message(llm.RoleAssistant, call("1")), message(llm.RoleUser, &llm.ToolResult{CallID: "1", IsError: true, Parts: []llm.Part{text(""), text("x"), &llm.Media{Kind: llm.MediaImage, MIME: "image/png", Data: "abcd"}}})},
			`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[` + block + `]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","is_error":true,"content":[{"type":"text","text":"x"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"abcd"}}]}]}]}`, nil,
		},
		"media": {
			[]llm.Message{message(llm.RoleUser,
				&llm.Media{Kind: llm.MediaImage, URL: "https://x/y", Detail: "auto"}, &llm.Media{Kind: llm.MediaImage, Data: "iVBORw0KGgoA"},
				&llm.Media{Common: llm.Common{Pos: llm.Pos{Message: 0, Part: 2}}, Kind: llm.MediaImage, MIME: "image/jpg", Data: "abcd", Detail: "low"},
				&llm.Media{Kind: llm.MediaDocument, MIME: "application/pdf", Data: "abcd", Name: "n"}, &llm.Media{Kind: llm.MediaDocument, MIME: "text/csv", Data: "YSxi"}, &llm.Media{Kind: llm.MediaDocument, Text: "plain"})},
			`{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://x/y"}},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgoA"}},
				{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"abcd"}},
				{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"abcd"},"title":"n"},{"type":"document","source":{"type":"text","media_type":"text/plain","data":"a,b"}},{"type":"document","source":{"type":"text","media_type":"text/plain","data":"plain"}}]}]}`,
			[]string{"messages[0].content[2].detail"},
		},
		"thinking": {
			[]llm.Message{user("a"), message(llm.RoleAssistant, &llm.Thinking{Text: "for people"},
				&llm.Thinking{Common: llm.Common{Opaque: &llm.Opaque{Format: anthropic.Format, Value: "sig"}}, Text: "hm"},
				&llm.Thinking{Common: llm.Common{Opaque: &llm.Opaque{Format: anthropic.Format, Value: "dat"}}, Redacted: true},
				&llm.Thinking{Common: llm.Common{Opaque: &llm.Opaque{Format: dialect.Gemini, Value: "no"}}, Text: "hm"}, &llm.Refusal{Text: "No."}), user("b")},
			`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"sig"},{"type":"redacted_thinking","data":"dat"},{"type":"text","text":"No."}]},{"role":"user","content":"b"}]}`, nil,
		},
		"citations": {
			[]llm.Message{user("a"), message(llm.RoleAssistant, &llm.Text{Text: "b", Citations: []llm.Citation{{URL: "https://x"}}}), user("c")},
			`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"text","text":"b"}]},{"role":"user","content":"c"}]}`, nil,
		},
		"breakpoints": {
			[]llm.Message{message(llm.RoleSystem, marked("1"), marked("2")), message(llm.RoleUser, marked("3"), marked("4"), marked("5"))},
			`{"system":[{"type":"text","text":"1"},{"type":"text","text":"2","cache_control":{"type":"ephemeral","ttl":"1h"}}],
				"messages":[{"role":"user","content":[{"type":"text","text":"3","cache_control":{"type":"ephemeral","ttl":"1h"}},{"type":"text","text":"4","cache_control":{"type":"ephemeral","ttl":"1h"}},{"type":"text","text":"5","cache_control":{"type":"ephemeral","ttl":"1h"}}]}]}`,
			[]string{"cache_control"},
		},
		"names": {
			[]llm.Message{{Role: llm.RoleUser, Name: "Ann", Pos: llm.Pos{Message: 0, Part: -1}, Parts: []llm.Part{text("a")}}},
			`{"messages":[{"role":"user","content":"a"}]}`,
			[]string{"messages[0].name"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			body, dropped, failed := fromElsewhere(t, &llm.Request{Model: "claude-sonnet-4-5", MaxTokens: 5, Messages: test.messages}, false)
			require.Nil(t, failed)
			delete(body, "model")
			delete(body, "max_tokens")
			require.Equal(t, value(t, []byte(test.want)), any(body))
			require.Equal(t, test.dropped, dropped)
		})
	}
}

// What the API cannot be told is refused by name, or left out if the client
// says so.
func TestRefuseOrDrop(t *testing.T) {
	part := func(p llm.Part) llm.Request {
		return llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{&llm.Text{Text: "a"}, p}}}}
	}
	at := llm.Common{Pos: llm.Pos{Message: 0, Part: 1}}
	foreign := llm.Native{Format: dialect.OpenAIResponses, Type: "web_search", JSON: []byte(`{"type":"web_search"}`)}
	for param, r := range map[string]llm.Request{
		"temperature":                   {Temperature: new(1.5)},
		"top_p":                         {Temperature: new(0.5), TopP: new(0.5)},
		"frequency_penalty":             {FrequencyPenalty: new(0.5)},
		"presence_penalty":              {PresencePenalty: new(-0.5)},
		"seed":                          {Seed: new(int64(0))},
		"n":                             {N: 2},
		"logprobs":                      {LogProbs: true},
		"top_logprobs":                  {TopLogProbs: new(int64(3))},
		"verbosity":                     {Verbosity: "low"},
		"stop":                          {Stop: []string{"\n"}},
		"response_format":               {Output: &llm.OutputFormat{Kind: llm.OutputJSONObject}},
		"previous_response_id":          {PreviousID: "resp_1"},
		"tools[3]":                      {Tools: []llm.Tool{{Name: "x", Custom: true, Index: 3}}},
		"tools[2]":                      {Tools: []llm.Tool{{Native: &foreign, Index: 2}}},
		"tools[1].more":                 {Tools: []llm.Tool{{Name: "x", Index: 1, Extra: llm.Extra{Format: dialect.Gemini, JSON: []byte(`{"more":1}`)}}}},
		"tool_choice":                   {Tools: []llm.Tool{{Name: "x"}}, ToolChoice: &llm.ToolChoice{Native: &foreign}},
		"logit_bias":                    {Extra: llm.Extra{Format: dialect.OpenAIChat, JSON: []byte(`{"logit_bias":{"1":1}}`)}},
		"messages[0].content[1]":        part(&llm.Media{Common: at, Kind: llm.MediaAudio, MIME: "audio/wav", Data: "abcd"}),
		"messages[0].content[1].more":   part(&llm.Text{Common: llm.Common{Pos: at.Pos, Extra: llm.Extra{Format: dialect.Gemini, JSON: []byte(`{"more":1}`)}}, Text: "b"}),
		"messages[0].more":              {Messages: []llm.Message{{Role: llm.RoleUser, Pos: llm.Pos{Part: -1}, Parts: []llm.Part{&llm.Text{Text: "a"}}, Extra: llm.Extra{Format: dialect.Gemini, JSON: []byte(`{"more":1}`)}}}},
		"messages[0].content[1] ":       part(&llm.NativePart{Common: at, Native: foreign}),
		"messages[0].content[1]  ":      part(&llm.Media{Common: at, Kind: llm.MediaImage, FileID: "file"}),
		"messages[0].content[1]   ":     part(&llm.Media{Common: at, Kind: llm.MediaImage, MIME: "image/bmp", Data: "abcd"}),
		"messages[0].content[1]    ":    part(&llm.Media{Common: at, Kind: llm.MediaDocument, MIME: "application/zip", Data: "abcd"}),
		"messages[0].content[1]     ":   part(&llm.Media{Common: at, Kind: llm.MediaImage, URL: "gs://bucket/x"}),
		"messages[0].content[1]      ":  {Messages: []llm.Message{user("a"), {Role: llm.RoleAssistant, Parts: []llm.Part{&llm.Text{Text: "a"}, &llm.Media{Common: at, Kind: llm.MediaImage, MIME: "image/png", Data: "abcd"}}}}},
		"messages[0].content[1]       ": {Messages: []llm.Message{user("a"), {Role: llm.RoleSystem, Parts: []llm.Part{&llm.Text{Text: "a"}, &llm.Media{Common: at, Kind: llm.MediaImage, MIME: "image/png", Data: "abcd"}}}}},
		"messages":                      {Messages: []llm.Message{llm.TextMessage(llm.RoleSystem, "x")}},
	} {
		t.Run(param, func(t *testing.T) {
			if r.Messages == nil {
				r.Messages = []llm.Message{user("hi")}
			}
			r.Model = "claude-sonnet-4-5"
			_, _, failed := fromElsewhere(t, &r, false)
			require.NotNil(t, failed)
			path := trim(param)
			require.Equal(t, path, failed.Param)
			body, dropped, failed := fromElsewhere(t, &r, true)
			require.Nil(t, failed)
			require.Equal(t, []string{path}, dropped)
			if path != "messages" { // none is left, which the API refuses itself
				require.NotContains(t, body, path)
			}
			require.NotEmpty(t, body["max_tokens"])
		})
	}
}

// trim takes the spaces away that make a table's keys differ.
func trim(key string) string {
	for key[len(key)-1] == ' ' {
		key = key[:len(key)-1]
	}
	return key
}

func TestVertex(t *testing.T) {
	inline := func(m *llm.Media) (*llm.Media, error) {
		got := *m
		got.URL, got.Data, got.MIME = "", "abcd", "image/png"
		return &got, nil
	}
	r := &llm.Request{Model: "claude-sonnet-4-5@20250929", Stream: true, MaxTokens: 5, Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{&llm.Media{Kind: llm.MediaImage, URL: "https://x/y"}}}}}
	body, err := anthropic.Messages.EncodeRequest(r, dialect.EncodeOptions{Vertex: true, Inline: inline, Unsaid: &dialect.Unsaid{Target: anthropic.Format}})
	require.NoError(t, err)
	require.JSONEq(t, `{"anthropic_version":"vertex-2023-10-16","max_tokens":5,"stream":true,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"abcd"}}]}]}`, string(body))

	_, err = anthropic.Messages.EncodeRequest(r, dialect.EncodeOptions{Vertex: true, Unsaid: &dialect.Unsaid{Target: anthropic.Format}})
	require.ErrorContains(t, err, "fetching it is off")
}

func TestEncodeCount(t *testing.T) {
	r := &llm.Request{Model: "claude-haiku-4-5", Stream: true, MaxTokens: 5, User: "u", ServiceTier: "auto", Temperature: new(0.5), Stop: []string{"x"}, Messages: []llm.Message{user("hi")}, Tools: []llm.Tool{{Name: "a"}}}
	body, err := anthropic.Count.EncodeCount(r, dialect.EncodeOptions{Unsaid: &dialect.Unsaid{Target: dialect.AnthropicCount}})
	require.NoError(t, err)
	require.JSONEq(t, `{"model":"claude-haiku-4-5","messages":[{"role":"user","content":"hi"}],"tools":[{"name":"a","input_schema":{"type":"object","properties":{}}}]}`, string(body))
	for body, want := range map[string]bool{`{"input_tokens":5}`: true, `{"input_tokens":-5}`: false, `{"input_tokens":"5"}`: false, `{}`: false, `x`: false, `{"input_tokens":5}x`: false} {
		_, ok := anthropic.Count.DecodeCounted([]byte(body))
		require.Equal(t, want, ok, body)
	}
}

func TestPaths(t *testing.T) {
	for _, f := range []dialect.Field{dialect.FieldTools, dialect.FieldStop, dialect.FieldReasoning, dialect.FieldUser, dialect.FieldOutput, dialect.FieldParallelTools} {
		require.NotEmpty(t, anthropic.Messages.FieldPath(f))
	}
	require.Equal(t, "stop_sequences", anthropic.Messages.FieldPath(dialect.FieldStop))
	require.Empty(t, anthropic.Messages.FieldPath(dialect.FieldSeed))
	for pos, want := range map[llm.Pos]string{
		{Message: 3, Part: 0}: "messages[3].content[0]", {Message: 3, Part: -1}: "messages[3]", {Message: -1, Part: 2}: "system[2]", {Message: -1, Part: -1}: "system",
	} {
		require.Equal(t, want, anthropic.Messages.PartPath(pos))
	}
}
