package openairesponses_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/dialect/openairesponses"
	"github.com/financecommander/tollgate/internal/llm"
)

// openSeal seals without a secret, so that tests see what is in a token.
type openSeal struct{}

func (openSeal) Seal(plain []byte) string {
	return dialect.SealPrefix + base64.RawURLEncoding.EncodeToString(plain)
}

func (openSeal) Open(token string) ([]byte, bool) {
	plain, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, dialect.SealPrefix))
	return plain, err == nil
}

// foreign are the options of a request that came in the chat format.
func foreign(drop bool) dialect.EncodeOptions {
	return dialect.EncodeOptions{Unsaid: &dialect.Unsaid{Drop: drop, Source: openaichat.Chat, Target: dialect.OpenAIResponses}}
}

// What is wrong with a request is told with its path.
func TestBadRequests(t *testing.T) {
	item := func(item string) string { return `{"model":"m","input":[{"role":"user","content":"hi"},` + item + `]}` }
	part := func(part string) string { return item(`{"role":"user","content":[` + part + `]}`) }
	with := func(members string) string { return `{"model":"m","input":"hi",` + members + `}` }
	for body, param := range map[string]string{
		``:                                    "",
		`[]`:                                  "",
		`{"model":"m","input":"hi"}}`:         "",
		`{"model":"m","input":"hi`:            "",
		`{"input":"hi"}`:                      "model",
		`{"model":7,"input":"hi"}`:            "model",
		`{"model":"m"}`:                       "input",
		`{"model":"m","input":7}`:             "input",
		`{"model":"m","input":["hi"]}`:        "input[0]",
		`{"model":"m","model":"m"}`:           "model",
		with(`"stream":"yes"`):                "stream",
		with(`"temperature":"hot"`):           "temperature",
		with(`"max_output_tokens":1.5`):       "max_output_tokens",
		with(`"top_logprobs":"many"`):         "top_logprobs",
		with(`"metadata":[]`):                 "metadata",
		with(`"metadata":{"a":1}`):            "metadata.a",
		with(`"store":1`):                     "store",
		with(`"include":{}`):                  "include",
		with(`"include":[1]`):                 "include[0]",
		with(`"reasoning":"high"`):            "reasoning",
		with(`"reasoning":{"effort":1}`):      "reasoning.effort",
		with(`"text":"json"`):                 "text",
		with(`"text":{"format":"json"}`):      "text.format",
		with(`"text":{"format":{}}`):          "text.format.type",
		with(`"instructions":["a"]`):          "instructions",
		with(`"previous_response_id":{}`):     "previous_response_id",
		with(`"unknown":{"a":{"b":1,"b":2}}`): "unknown",
		with(`"text":{"format":{"type":"json_schema","schema":{}}}`):            "text.format.name",
		with(`"text":{"format":{"type":"json_schema","name":"a"}}`):             "text.format.schema",
		with(`"text":{"format":{"type":"json_schema","name":"a","schema":[]}}`): "text.format.schema",
		with(`"tools":{}`):                    "tools",
		with(`"tools":[7]`):                   "tools[0]",
		with(`"tools":[{}]`):                  "tools[0].type",
		with(`"tools":[{"type":"function"}]`): "tools[0].name",
		with(`"tools":[{"type":"function","name":"f","parameters":[]}]`):            "tools[0].parameters",
		with(`"tools":[{"type":"function","name":"f","parameters":{"a":1,"a":2}}]`): "tools[0].parameters",
		with(`"tools":[{"type":"function","name":"f","strict":"no"}]`):              "tools[0].strict",
		with(`"tools":[{"type":"custom","name":"f","format":"x"}]`):                 "tools[0].format",
		with(`"tool_choice":"some"`):                                                "tool_choice",
		with(`"tool_choice":7`):                                                     "tool_choice",
		with(`"tool_choice":{"type":"function"}`):                                   "tool_choice.name",
		with(`"tool_choice":{"type":"allowed_tools","mode":"no"}`):                  "tool_choice.mode",
		with(`"tool_choice":{"type":"allowed_tools","mode":"auto","tools":["f"]}`):  "tool_choice.tools[0]",
		item(`7`):                                      "input[1]",
		item(`{}`):                                     "input[1].type",
		item(`{"type":7}`):                             "input[1].type",
		item(`{"role":"tool","content":"x"}`):          "input[1].role",
		item(`{"role":"user"}`):                        "input[1].content",
		item(`{"role":"user","content":7}`):            "input[1].content",
		item(`{"role":"user","content":"a","role":1}`): "input[1].role",
		item(`{"type":"function_call","name":"f","arguments":"{}"}`):             "input[1].call_id",
		item(`{"type":"function_call","call_id":"c","arguments":"{}"}`):          "input[1].name",
		item(`{"type":"function_call","call_id":"c","name":"f","arguments":{}}`): "input[1].arguments",
		item(`{"type":"custom_tool_call","call_id":"c","name":"f","input":{}}`):  "input[1].input",
		item(`{"type":"function_call_output","output":"x"}`):                     "input[1].call_id",
		item(`{"type":"function_call_output","call_id":"gone","output":"x"}`):    "input[1].call_id",
		item(`{"type":"reasoning","summary":"x"}`):                               "input[1].summary",
		item(`{"type":"reasoning","summary":["x"]}`):                             "input[1].summary[0]",
		item(`{"type":"reasoning","summary":[],"encrypted_content":7}`):          "input[1].encrypted_content",
		item(`{"type":"web_search_call","a":{"b":1,"b":1}}`):                     "input[1]",
		part(`7`):                              "input[1].content[0]",
		part(`{}`):                             "input[1].content[0].type",
		part(`{"type":"input_text"}`):          "input[1].content[0].text",
		part(`{"type":"input_text","text":7}`): "input[1].content[0].text",
		part(`{"type":"input_image"}`):         "input[1].content[0].image_url",
		part(`{"type":"input_image","image_url":{"url":"x"}}`):                                                                   "input[1].content[0].image_url",
		part(`{"type":"input_image","image_url":"data:a/b;base64,!"}`):                                                           "input[1].content[0].image_url",
		part(`{"type":"input_file"}`):                                                                                            "input[1].content[0].file_data",
		part(`{"type":"input_file","file_data":"no base64"}`):                                                                    "input[1].content[0].file_data",
		part(`{"type":"input_audio"}`):                                                                                           "input[1].content[0].input_audio",
		part(`{"type":"input_audio","input_audio":{"format":"wav"}}`):                                                            "input[1].content[0].input_audio.data",
		part(`{"type":"input_audio","input_audio":{"format":"wav","data":"a"}}`):                                                 "input[1].content[0].input_audio.data",
		part(`{"type":"output_text","text":"a","annotations":[7]}`):                                                              "input[1].content[0].annotations[0]",
		item(`{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c"}`): "input[2].output",
		item(`{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":[{"type":1}]}`): "input[2].output[0].type",
		item(`{"role":"user","content":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`):                                                  "",
	} {
		_, err := codec.DecodeRequest([]byte(body), decodeOptions)
		var e *llm.Error
		require.ErrorAs(t, err, &e, body)
		require.Equal(t, llm.CauseInvalidRequest, e.Cause, body)
		require.Equal(t, param, e.Param, body)
		require.True(t, strings.HasPrefix(e.Message, param), e.Message)
	}
}

// A result's call may be with the provider.
func TestResultWithoutCall(t *testing.T) {
	const output = `{"type":"function_call_output","call_id":"c","output":"x"}`
	for _, body := range []string{
		`{"model":"m","previous_response_id":"resp_1","input":[` + output + `]}`,
		`{"model":"m","conversation":"conv_1","input":[` + output + `]}`,
		`{"model":"m","input":[{"type":"item_reference","id":"fc_1"},` + output + `]}`,
	} {
		_, err := codec.DecodeRequest([]byte(body), decodeOptions)
		require.NoError(t, err, body)
	}
}

// What the recordings do not have comes out as it came in as well.
func TestRequestsUnchanged(t *testing.T) {
	for _, body := range []string{
		`{"model":"m","input":"hi"}`,
		`{"model":"m","input":"hi","instructions":""}`,
		`{"model":"m","prompt":{"id":"p","version":"1"}}`,
		`{"model":"m","input":"hi","stream":true,"stream_options":{"include_obfuscation":false},"truncation":"auto","background":true,"conversation":{"id":"c"}}`,
		`{"model":"m","input":"hi","truncation":"disabled","max_tool_calls":3,"context_management":[{"type":"compaction"}],"prompt_cache_retention":"24h"}`,
		`{"model":"m","input":"hi","include":["reasoning.encrypted_content","message.output_text.logprobs"],"top_logprobs":2}`,
		`{"model":"m","input":"hi","include":["web_search_call.action.sources","message.output_text.logprobs"]}`,
		`{"model":"m","input":"hi","text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"},"strict":true,"description":"d"},"verbosity":"low"}}`,
		`{"model":"m","input":"hi","text":{"format":{"type":"text"}}}`, `{"model":"m","input":"hi","text":{}}`,
		`{"model":"m","input":"hi","text":{"format":{"type":"grammar","syntax":"lark"},"verbosity":"low","new":1}}`,
		`{"model":"m","input":"hi","reasoning":{"effort":"high","summary":"detailed","context":"all_turns"}}`, `{"model":"m","input":"hi","reasoning":{}}`,
		`{"model":"m","input":"hi","metadata":{"b":"2","a":"1"},"user":"u","safety_identifier":"s","prompt_cache_key":"k","service_tier":"flex","store":true,"temperature":0,"top_p":0.5}`,
		`{"model":"m","input":"hi","metadata":{},"tools":[]}`,
		`{"model":"m","input":"hi","tools":[{"type":"function","name":"f"},{"type":"custom","name":"c","format":{"type":"grammar","syntax":"lark","definition":"x"}},{"type":"mcp","server_label":"s","server_url":"https://x"}],"tool_choice":{"type":"custom","name":"c"},"parallel_tool_calls":false}`,
		`{"model":"m","input":"hi","tools":[{"type":"function","name":"f","strict":null,"parameters":{"type":"object"},"defer_loading":true}],"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"f"}]}}`,
		`{"model":"m","input":"hi","tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"mcp","server_label":"s"}]}}`,
		`{"model":"m","input":"hi","tool_choice":{"type":"web_search_preview"}}`, `{"model":"m","input":"hi","tool_choice":"none"}`,
		`{"model":"m","input":[{"type":"message","role":"developer","content":[{"type":"input_text","text":"be kind"},{"type":"input_text","text":"é😀\n"}],"id":"msg_1","status":"completed"},{"role":"system","content":"x"}]}`,
		`{"model":"m","input":[{"role":"user","content":[{"type":"input_image","image_url":"https://x/y.png","detail":"high"},{"type":"input_image","file_id":"file_1","detail":"auto"},{"type":"input_image","image_url":"data:image/png;base64,AAAA"},{"type":"input_image","image_url":"data:image/svg+xml,<svg/>"}]}]}`,
		`{"model":"m","input":[{"role":"user","content":[{"type":"input_file","file_id":"file_1"},{"type":"input_file","file_url":"https://x/y.pdf"},{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,AAAA"},{"type":"input_file","filename":"a.pdf","file_data":"AAAA"},{"type":"input_audio","input_audio":{"data":"AAAA","format":"mp3"}}]}]}`,
		`{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"x","prompt_cache_breakpoint":{"mode":"explicit"}},{"type":"new_part","x":1}]}]}`,
		`{"model":"m","input":[{"type":"message","id":"msg_1","role":"assistant","status":"completed","phase":"commentary","content":[{"type":"output_text","text":"a","annotations":[{"type":"url_citation","url":"https://x","title":"t","start_index":0,"end_index":1},{"type":"file_citation","file_id":"f","filename":"n","index":3}],"logprobs":[]},{"type":"refusal","refusal":"no"}]},{"type":"message","id":"msg_2","role":"assistant","content":[{"type":"output_text","text":"b","annotations":[]}]},{"role":"assistant","content":"c"},{"role":"assistant","content":[{"type":"input_text","text":"d"},{"type":"input_text","text":"e"}]}]}`,
		`{"model":"m","input":[{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"a"},{"type":"summary_text","text":"b"}],"encrypted_content":"AA","status":"completed"},{"type":"reasoning","summary":[{"type":"summary_text","text":"a"}],"encrypted_content":"AA"},{"type":"reasoning","id":"rs_2","summary":[]},{"type":"reasoning","id":"rs_3","summary":[],"content":[{"type":"reasoning_text","text":"raw"}]},{"type":"reasoning","id":"rs_4","summary":[{"type":"summary_text","text":"s"}],"content":[{"type":"reasoning_text","text":"raw"},{"type":"reasoning_text","text":"more"}],"encrypted_content":"BB"}]}`,
		`{"model":"m","input":[{"type":"function_call","id":"fc_1","call_id":"c1","name":"f","arguments":"{\"a\":1}","status":"completed","namespace":"n"},{"type":"custom_tool_call","id":"ctc_1","call_id":"c2","name":"g","input":"free text"},{"type":"function_call_output","call_id":"c1","output":"x","id":"fco_1","status":"completed"},{"type":"custom_tool_call_output","call_id":"c2","output":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"data:image/png;base64,AAAA"}]}]}`,
		`{"model":"m","input":[{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"q"}},{"type":"computer_call_output","call_id":"c","output":{"type":"computer_screenshot","image_url":"https://x"}},{"type":"item_reference","id":"msg_1"},{"type":"compaction","encrypted_content":"x"},{"type":"additional_tools","role":"developer","tools":[]}]}`,
		`{"model":"m","input":"hi","a":{"b":[1,2,{"c":null}]}}`,
	} {
		r, err := codec.DecodeRequest([]byte(body), decodeOptions)
		require.NoError(t, err, body)
		out, err := codec.EncodeRequest(r, within())
		require.NoError(t, err, body)
		requireSame(t, []byte(body), out)
	}
}

// A row of the model's items is one message, a row of results another.
func TestTurns(t *testing.T) {
	r, err := codec.DecodeRequest([]byte(`{"model":"m","instructions":"Be brief.","input":[{"role":"user","content":"hi"},
		{"type":"reasoning","summary":[],"encrypted_content":"AA","id":"rs_1"},{"role":"assistant","content":"let me see"},
		{"type":"function_call","call_id":"a","name":"f","arguments":"{}"},{"type":"function_call","call_id":"b","name":"g","arguments":""},
		{"type":"function_call_output","call_id":"a","output":"1"},{"type":"function_call_output","call_id":"b","output":[{"type":"input_text","text":"2"}]},
		{"role":"assistant","content":"done"}]}`), decodeOptions)
	require.NoError(t, err)
	var roles []llm.Role
	for _, m := range r.Messages {
		roles = append(roles, m.Role)
	}
	require.Equal(t, []llm.Role{llm.RoleSystem, llm.RoleUser, llm.RoleAssistant, llm.RoleTool, llm.RoleAssistant}, roles)
	require.Len(t, r.Messages[2].Parts, 4)
	require.Len(t, r.Messages[3].Parts, 2)
	thinking := r.Messages[2].Parts[0].(*llm.Thinking)
	require.Equal(t, &llm.Opaque{Format: dialect.OpenAIResponses, Value: "AA", ItemID: "rs_1"}, thinking.Opaque)
	require.Equal(t, "instructions", codec.PartPath(r.Messages[0].Pos))
	require.Equal(t, "input[3]", codec.PartPath(r.Messages[2].Parts[2].Base().Pos))
	result := r.Messages[3].Parts[1].(*llm.ToolResult)
	require.Equal(t, "input[6]", codec.PartPath(result.Pos))
	require.Equal(t, "input[6].output[0]", codec.PartPath(result.Parts[0].Base().Pos))
}

// A conversation of another format, as a provider of this one gets it.
func TestForeignRequest(t *testing.T) {
	strict := true
	r := &llm.Request{
		Model: "gpt-5", Stream: true, StreamUsage: true, MaxTokens: 100, ParallelTools: new(false), LogProbs: true,
		Reasoning: &llm.Reasoning{Budget: new(int64(5000)), Show: new(true)},
		Messages: []llm.Message{
			llm.TextMessage(llm.RoleSystem, "Be brief."),
			{Role: llm.RoleUser, Parts: []llm.Part{&llm.Text{Text: "what is this?"}, &llm.Media{Kind: llm.MediaImage, MIME: "image/png", Data: "AAAA"}, &llm.Media{Kind: llm.MediaDocument, MIME: "application/pdf", Data: "BBBB"}, &llm.Media{Kind: llm.MediaDocument, Text: "plain"}}},
			{Role: llm.RoleAssistant, Parts: []llm.Part{
				&llm.Thinking{Text: "another's", Common: llm.Common{Opaque: &llm.Opaque{Format: dialect.AnthropicMessages, Value: "sig"}}},
				&llm.Thinking{Text: "own", Common: llm.Common{Opaque: &llm.Opaque{Format: dialect.OpenAIResponses, Model: "gpt-5", Value: "ENC", ItemID: "rs_9"}}},
				&llm.Text{Text: "Let me see."}, &llm.Text{Text: "Well.", Citations: []llm.Citation{{URL: "https://x", Title: "t"}, {Title: "no URL"}}},
				&llm.ToolCall{ID: strings.Repeat("x", 70), Name: "f", Arguments: ""},
				&llm.ToolCall{ID: "c2", Name: "g", Arguments: "free", Custom: true},
			}},
			{Role: llm.RoleUser, Parts: []llm.Part{
				&llm.ToolResult{CallID: strings.Repeat("x", 70), Parts: []llm.Part{&llm.Text{Text: "gone"}}, IsError: true},
				&llm.ToolResult{CallID: "c2", Parts: []llm.Part{&llm.Text{Text: "fine"}, &llm.Media{Kind: llm.MediaImage, MIME: "image/png", Data: "AAAA"}}},
				&llm.Text{Text: "go on"},
			}},
		},
		Tools:      []llm.Tool{{Name: "f"}, {Name: "g", Custom: true}, {Name: "h", Schema: []byte(`{"type":"object"}`), Strict: &strict}},
		ToolChoice: &llm.ToolChoice{Mode: llm.ToolRequired, Names: []string{"g"}},
		Output:     &llm.OutputFormat{Kind: llm.OutputJSONSchema, Schema: []byte(`{"type":"object"}`)},
		User:       "u", ServiceTier: "standard_only",
	}
	options := foreign(false)
	body, err := codec.EncodeRequest(r, options)
	require.NoError(t, err)
	require.Equal(t, []string{"messages[0].content[0].citations"}, options.Unsaid.Dropped)
	id := parse(t, body)["input"].([]any)[4].(map[string]any)["call_id"].(string)
	require.LessOrEqual(t, len(id), 64)
	require.JSONEq(t, `{"model":"gpt-5","input":[
		{"role":"system","content":"Be brief."},
		{"role":"user","content":[{"type":"input_text","text":"what is this?"},{"type":"input_image","image_url":"data:image/png;base64,AAAA"},{"type":"input_file","file_data":"data:application/pdf;base64,BBBB","filename":"document.pdf"},{"type":"input_file","file_data":"data:text/plain;base64,cGxhaW4=","filename":"document.txt"}]},
		{"type":"reasoning","id":"rs_9","summary":[{"type":"summary_text","text":"own"}],"encrypted_content":"ENC"},
		{"role":"assistant","content":[{"type":"output_text","text":"Let me see."},{"type":"output_text","text":"Well.","annotations":[{"type":"url_citation","url":"https://x","title":"t"}]}]},
		{"type":"function_call","call_id":"`+id+`","name":"f","arguments":"{}"},
		{"type":"custom_tool_call","call_id":"c2","name":"g","input":"free"},
		{"type":"function_call_output","call_id":"`+id+`","output":"Error: gone"},
		{"type":"custom_tool_call_output","call_id":"c2","output":[{"type":"input_text","text":"fine"},{"type":"input_image","image_url":"data:image/png;base64,AAAA"}]},
		{"role":"user","content":"go on"}],
		"tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{}},"strict":false},{"type":"custom","name":"g"},{"type":"function","name":"h","parameters":{"type":"object"},"strict":true}],
		"tool_choice":{"type":"custom","name":"g"},"parallel_tool_calls":false,"max_output_tokens":100,
		"text":{"format":{"type":"json_schema","name":"answer","schema":{"type":"object"}}},
		"reasoning":{"effort":"medium","summary":"auto"},"include":["reasoning.encrypted_content","message.output_text.logprobs"],
		"stream":true,"user":"u","service_tier":"default","store":false}`, string(body))
}

// What this format cannot say is refused by the client's own name for it, or
// left out.
func TestUnsaid(t *testing.T) {
	for path, r := range map[string]*llm.Request{
		"stop":                   {Stop: []string{"x"}},
		"seed":                   {Seed: new(int64(1))},
		"n":                      {N: 2},
		"top_k":                  {TopK: new(1.0)},
		"frequency_penalty":      {FrequencyPenalty: new(0.5)},
		"presence_penalty":       {PresencePenalty: new(-0.5)},
		"logit_bias":             {Extra: llm.Extra{Format: dialect.OpenAIChat, JSON: []byte(`{"logit_bias":{"1":2}}`)}},
		"tools[0]":               {Tools: []llm.Tool{{Native: &llm.Native{Format: dialect.AnthropicMessages, Type: "web_search_20250305", JSON: []byte(`{}`)}}}},
		"tool_choice":            {ToolChoice: &llm.ToolChoice{Native: &llm.Native{Format: dialect.Gemini, JSON: []byte(`{}`)}}},
		"messages[0].content[0]": {Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{&llm.Media{Kind: llm.MediaVideo, Data: "AAAA"}}}}},
		"messages[0].content[1]": {Messages: []llm.Message{{Role: llm.RoleAssistant, Parts: []llm.Part{&llm.NativePart{Common: llm.Common{Pos: llm.Pos{Part: 1}}, Native: llm.Native{Format: dialect.Gemini}}}}}},
		"messages[0].content[2]": {Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{&llm.Media{Common: llm.Common{Pos: llm.Pos{Part: 2}}, Kind: llm.MediaImage, FileID: "file_1"}}}}},
	} {
		_, err := codec.EncodeRequest(r, foreign(false))
		var e *llm.Error
		require.ErrorAs(t, err, &e, path)
		require.Equal(t, path, e.Param)
		options := foreign(true)
		body, err := codec.EncodeRequest(r, options)
		require.NoError(t, err)
		require.Equal(t, []string{path}, options.Unsaid.Dropped)
		parse(t, body)
	}
	// What asks for nothing needs no word.
	options := foreign(false)
	_, err := codec.EncodeRequest(&llm.Request{N: 1, FrequencyPenalty: new(0.0), PresencePenalty: new(0.0)}, options)
	require.NoError(t, err)
	require.Empty(t, options.Unsaid.Dropped)
}

func TestEffort(t *testing.T) {
	for _, tc := range []struct {
		model   string
		r       *llm.Reasoning
		effort  any
		include bool
	}{
		{"gpt-5", nil, nil, true},
		{"openai/o3-mini", nil, nil, true},
		{"gpt-5-chat-latest", nil, nil, false},
		{"gpt-4o", nil, nil, false},
		{"gpt-4.1", nil, nil, false},
		{"grok-4-fast-non-reasoning", nil, nil, false},
		{"my-deployment", &llm.Reasoning{Effort: "high"}, "high", true},
		{"gpt-5.1", &llm.Reasoning{Effort: "none"}, "none", false},
		{"gpt-5.1", &llm.Reasoning{Budget: new(int64(0))}, "none", false},
		{"gpt-5-mini", &llm.Reasoning{Budget: new(int64(0))}, "minimal", false},
		{"o3", &llm.Reasoning{Budget: new(int64(0))}, "low", false},
		{"gpt-5", &llm.Reasoning{Budget: new(int64(1024))}, "low", true},
		{"gpt-5", &llm.Reasoning{Budget: new(int64(32000))}, "high", true},
		{"gpt-5", &llm.Reasoning{Budget: new(int64(-1))}, nil, true},
		{"gpt-5", &llm.Reasoning{Adaptive: true}, nil, true},
	} {
		body, err := codec.EncodeRequest(&llm.Request{Model: tc.model, Reasoning: tc.r}, foreign(false))
		require.NoError(t, err)
		got := parse(t, body)
		reasoning, _ := got["reasoning"].(map[string]any)
		require.Equal(t, tc.effort, reasoning["effort"], tc)
		require.Equal(t, tc.include, got["include"] != nil, tc)
		require.Equal(t, false, got["store"])
	}
}

func TestInstructions(t *testing.T) {
	r, err := codec.DecodeRequest([]byte(`{"model":"m","instructions":"Be brief.","input":"hi"}`), decodeOptions)
	require.NoError(t, err)
	prompt := llm.TextMessage(llm.RoleSystem, "Be kind.")
	prompt.Pos = llm.Pos{Message: -1, Part: -1} // as the gateway puts a specialist's prompt
	r.Messages = append([]llm.Message{prompt}, r.Messages...)
	body, err := codec.EncodeRequest(r, within())
	require.NoError(t, err)
	require.JSONEq(t, `{"model":"m","instructions":"Be kind.\n\nBe brief.","input":"hi"}`, string(body))
}

func TestCount(t *testing.T) {
	n, ok := openairesponses.Count.DecodeCounted([]byte(`{"object":"response.input_tokens","input_tokens":51}`))
	require.True(t, ok)
	require.EqualValues(t, 51, n)
	for _, bad := range []string{``, `{}`, `[]`, `{"input_tokens":"many"}`, `{"input_tokens":5`} {
		_, ok = openairesponses.Count.DecodeCounted([]byte(bad))
		require.False(t, ok, bad)
	}
	body := openairesponses.Count.AppendCounted(nil, 51)
	require.JSONEq(t, `{"object":"response.input_tokens","input_tokens":51}`, string(body))
	m := openairesponses.Count.NewMeter()
	m.Body(body)
	require.True(t, m.Reading().Complete)
	require.Equal(t, dialect.OpenAICount, openairesponses.Count.Name())
	// Settings that cost no input are not for the endpoint.
	text, err := openairesponses.Count.EncodeCount(&llm.Request{Model: "m", MaxTokens: 5, Temperature: new(1.0), Stream: true, Messages: []llm.Message{llm.TextMessage(llm.RoleUser, "hi")}}, foreign(false))
	require.NoError(t, err)
	require.JSONEq(t, `{"model":"m","input":[{"role":"user","content":"hi"}]}`, string(text))
}

// TestParsed: what OpenAI's SDK notes in items that it parsed is nothing that
// another provider must be told.
func TestParsed(t *testing.T) {
	t.Parallel()
	body := []byte(`{"model":"m","input":[{"role":"user","content":"hi"},` +
		`{"type":"message","role":"assistant","content":[{"type":"output_text","text":"{\"a\":1}","annotations":[],"parsed":{"a":1}}]},` +
		`{"type":"function_call","call_id":"c","name":"f","arguments":"{}","parsed_arguments":{"b":2}},{"type":"function_call_output","call_id":"c","output":"r"}]}`)
	r, err := codec.DecodeRequest(body, decodeOptions)
	require.NoError(t, err)
	unsaid := &dialect.Unsaid{Source: codec, Target: dialect.OpenAIChat}
	_, err = openaichat.Chat.EncodeRequest(r, dialect.EncodeOptions{Unsaid: unsaid})
	require.NoError(t, err)
	require.Empty(t, unsaid.Dropped)
	again, err := codec.EncodeRequest(r, within())
	require.NoError(t, err)
	requireSame(t, body, again)
}
