package openaichat_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/llm"
)

// seal is a Sealer whose tokens are the state itself.
type seal struct{}

func (seal) Seal(plain []byte) string {
	return dialect.SealPrefix + base64.RawURLEncoding.EncodeToString(plain)
}

func (seal) Open(token string) ([]byte, bool) {
	plain, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, dialect.SealPrefix))
	return plain, err == nil
}

func decode(t testing.TB, body string) *llm.Request {
	t.Helper()
	r, err := openaichat.Chat.DecodeRequest([]byte(body), dialect.DecodeOptions{Seal: seal{}})
	require.NoError(t, err)
	return r
}

// TestRequestFeatures sends what the recordings do not have through the
// vocabulary and back.
func TestRequestFeatures(t *testing.T) {
	const user = `{"role":"user","content":"hi"}`
	const call = `{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"c2","type":"custom","custom":{"name":"g","input":"x"}}]}`
	for name, members := range map[string]string{
		"roles":          `"messages":[{"role":"system","content":"a"},{"role":"developer","content":"b","name":"n"},` + user + `]`,
		"parts":          `"messages":[{"role":"user","name":"bob","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://x/y.png","detail":"low"}},{"type":"image_url","image_url":{"url":"data:image/png;base64,YQ=="}},{"type":"input_audio","input_audio":{"data":"YQ==","format":"mp3"}},{"type":"file","file":{"file_data":"data:application/pdf;base64,YQ==","filename":"a.pdf"}},{"type":"file","file":{"file_id":"file-1"}}]}]`,
		"unknown parts":  `"messages":[{"role":"user","content":[{"type":"hologram","x":{"y":1}},{"type":"text","text":"a","weight":2},{"type":"image_url","image_url":{"url":"https://x","z":1},"w":true}],"m":[1]}]`,
		"refusals":       `"messages":[` + user + `,{"role":"assistant","content":null,"refusal":"no"},` + user + `,{"role":"assistant","content":[{"type":"refusal","refusal":"no"},{"type":"text","text":"a"}]}]`,
		"tools":          `"messages":[` + user + `,` + call + `,{"role":"tool","tool_call_id":"c1","content":"r"},{"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":true,"x":1},"y":2},{"type":"custom","custom":{"name":"g","description":"d","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"s: x"}}}},{"type":"web_search","z":{}}],"tool_choice":"required","parallel_tool_calls":false`,
		"named":          `"messages":[` + user + `],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"f"}}`,
		"named custom":   `"messages":[` + user + `],"tools":[{"type":"custom","custom":{"name":"g"}}],"tool_choice":{"type":"custom","custom":{"name":"g"}}`,
		"allowed":        `"messages":[` + user + `],"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}},{"type":"function","function":{"name":"h"}}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"h"}}]}}`,
		"own choice":     `"messages":[` + user + `],"tools":[{"type":"web_search"}],"tool_choice":{"type":"web_search"}`,
		"functions":      `"messages":[` + user + `,{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"r"}],"functions":[{"name":"f","description":"d","parameters":{"type":"object"}}],"function_call":{"name":"f"}`,
		"functions none": `"messages":[` + user + `],"functions":[{"name":"f"}],"function_call":"none"`,
		"settings":       `"messages":[` + user + `],"temperature":0.7,"top_p":0.9,"frequency_penalty":-1.5,"presence_penalty":1e-7,"seed":-7,"stop":["a","b"],"n":3,"logprobs":true,"top_logprobs":5,"max_completion_tokens":9,"reasoning_effort":"minimal","verbosity":"low","stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}`,
		"hints":          `"messages":[` + user + `],"user":"u","safety_identifier":"s","prompt_cache_key":"k","service_tier":"flex","store":true,"metadata":{"a":"b","c\"d":"e"}`,
		"unknown":        `"messages":[` + user + `],"web_search_options":{},"modalities":["text","audio"],"audio":{"voice":"x"},"prediction":{"type":"content","content":"x"},"logit_bias":{"50256":-100}`,
		"object":         `"messages":[` + user + `],"response_format":{"type":"json_object"}`,
		"schema":         `"messages":[` + user + `],"response_format":{"type":"json_schema","json_schema":{"name":"a","description":"d","schema":{"type":"object"},"strict":true,"x":1},"y":2}`,
		"grammar":        `"messages":[` + user + `],"response_format":{"type":"grammar","grammar":"x"}`,
		"reasoning":      `"messages":[` + user + `],"reasoning":{"effort":"high","max_tokens":100,"exclude":true,"enabled":true}`,
		"thinking":       `"messages":[` + user + `,{"role":"assistant","content":"a","reasoning_content":"t"},` + user + `,{"role":"assistant","content":"b","reasoning":"u","reasoning_content":"v"}]`,
		"details":        `"messages":[` + user + `,{"role":"assistant","content":"a","reasoning":"tu","reasoning_details":[{"type":"reasoning.text","text":"t","signature":"s","index":0},{"type":"reasoning.summary","summary":"u","index":1},{"type":"reasoning.encrypted","data":"d","index":2}]}]`,
		"mistral":        `"messages":[` + user + `,{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}],"closed":true},{"type":"text","text":"a"}]}]`,
		"citations":      `"messages":[` + user + `,{"role":"assistant","content":"a","annotations":[{"type":"url_citation","url_citation":{"url":"https://x","title":"t","start_index":0,"end_index":1}},{"type":"file_citation","file_citation":{"file_id":"f"}}]}]`,
		"audio":          `"messages":[` + user + `,{"role":"assistant","audio":{"id":"audio_1"}}]`,
		"signature":      `"messages":[` + user + `,{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"s"}}}]}]`,
		"breakpoint":     `"messages":[{"role":"user","content":[{"type":"text","text":"a","prompt_cache_breakpoint":{"mode":"explicit"}}]}]`,
		"escapes":        `"messages":[{"role":"user","content":"\"\\\/\b\f\n\r\t\u0001é\ud83d\ude00\u2028"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"model":"m",` + members + `}`
			o := encodeOptions()
			o.StrictChat = !strings.Contains("thinking details mistral signature", name) // which OpenAI does not know
			got, err := openaichat.Chat.EncodeRequest(decode(t, body), o)
			require.NoError(t, err)
			require.Empty(t, o.Unsaid.Dropped)
			require.Equal(t, sameRequest(object(t, []byte(body))), sameRequest(object(t, got)))
		})
	}
}

// OpenAI gets no thinking and no state of others back: it refuses what it does not
// know.
func TestStrictUpstreamGetsNoThinking(t *testing.T) {
	r := decode(t, `{"model":"m","messages":[{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}]},{"type":"text","text":"a"}],"reasoning_content":"t","reasoning_details":[{"type":"reasoning.encrypted","data":"d"}],"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"s"}}}]}]}`)
	o := encodeOptions()
	o.StrictChat = true
	got, err := openaichat.Chat.EncodeRequest(r, o)
	require.NoError(t, err)
	require.JSONEq(t, `{"model":"m","messages":[{"role":"assistant","content":"a","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}]}`, string(got))
}

func TestCacheMarks(t *testing.T) {
	body := `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral","ttl":"1h"}}]}],"tools":[{"type":"function","function":{"name":"f"},"cache_control":{"type":"ephemeral"}}]}`
	r := decode(t, body)
	require.Equal(t, &llm.CacheMark{TTL: "1h"}, r.Messages[0].Parts[0].Base().Cache)
	require.Equal(t, &llm.CacheMark{}, r.Tools[0].Cache)

	o := encodeOptions()
	got, err := openaichat.Chat.EncodeRequest(r, o)
	require.NoError(t, err)
	require.JSONEq(t, body, string(got))

	o = encodeOptions()
	o.StrictChat = true
	got, err = openaichat.Chat.EncodeRequest(r, o)
	require.NoError(t, err)
	require.JSONEq(t, `{"model":"m","messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"f"}}]}`, string(got))
	require.Equal(t, []string{"cache_control"}, o.Unsaid.Dropped)

	whole := decode(t, `{"model":"m","messages":[{"role":"user","content":"a","cache_control":{"type":"ephemeral"}}]}`)
	require.NotNil(t, whole.Messages[0].Parts[0].Base().Cache)
}

// TestForeignRequests encodes what other formats' clients say.
func TestForeignRequests(t *testing.T) {
	text := func(s string) llm.Part { return &llm.Text{Text: s} }
	call := &llm.ToolCall{ID: strings.Repeat("x", 60), Name: "f", Arguments: "{}"}
	for name, tc := range map[string]struct {
		request llm.Request
		strict  bool
		want    string
		dropped []string
	}{
		"results before the rest": {
			request: llm.Request{Messages: []llm.Message{
				{Role: llm.RoleAssistant, Parts: []llm.Part{text("a"), call}},
				{Role: llm.RoleUser, Parts: []llm.Part{
					&llm.ToolResult{CallID: call.ID, Parts: []llm.Part{text("r"), &llm.Media{Kind: llm.MediaImage, MIME: "image/png", Data: "YQ=="}}},
					text("go on"),
				}},
			}},
			want: `{"model":"m","messages":[
				{"role":"assistant","content":"a","tool_calls":[{"id":"ID","type":"function","function":{"name":"f","arguments":"{}"}}]},
				{"role":"tool","tool_call_id":"ID","content":"r"},
				{"role":"user","content":[{"type":"text","text":"Result of tool call ID:"},{"type":"image_url","image_url":{"url":"data:image/png;base64,YQ=="}}]},
				{"role":"user","content":"go on"}]}`,
		},
		"nothing but an image": {
			request: llm.Request{Messages: []llm.Message{
				{Role: llm.RoleAssistant, Parts: []llm.Part{call}},
				{Role: llm.RoleTool, Parts: []llm.Part{&llm.ToolResult{CallID: call.ID, Parts: []llm.Part{text(""), &llm.Media{Kind: llm.MediaImage, MIME: "image/png", Data: "YQ=="}}}}},
			}},
			want: `{"model":"m","messages":[
				{"role":"assistant","content":null,"tool_calls":[{"id":"ID","type":"function","function":{"name":"f","arguments":"{}"}}]},
				{"role":"tool","tool_call_id":"ID","content":"See the next user message."},
				{"role":"user","content":[{"type":"text","text":"Result of tool call ID:"},{"type":"image_url","image_url":{"url":"data:image/png;base64,YQ=="}}]}]}`,
		},
		"a failed tool": {
			request: llm.Request{Messages: []llm.Message{
				{Role: llm.RoleAssistant, Parts: []llm.Part{call}},
				{Role: llm.RoleTool, Parts: []llm.Part{&llm.ToolResult{CallID: call.ID, IsError: true, Parts: []llm.Part{text("no such file")}}}},
			}},
			want: `{"model":"m","messages":[
				{"role":"assistant","content":null,"tool_calls":[{"id":"ID","type":"function","function":{"name":"f","arguments":"{}"}}]},
				{"role":"tool","tool_call_id":"ID","content":[{"type":"text","text":"Error: "},{"type":"text","text":"no such file"}]}]}`,
		},
		"thinking without state": {
			request: llm.Request{Messages: []llm.Message{{Role: llm.RoleAssistant, Parts: []llm.Part{&llm.Thinking{Text: "t"}, text("a")}}}},
			want:    `{"model":"m","messages":[{"role":"assistant","content":"a"}]}`,
		},
		"instructions": {
			request: llm.Request{Messages: []llm.Message{llm.TextMessage(llm.RoleDeveloper, "a")}},
			want:    `{"model":"m","messages":[{"role":"system","content":"a"}]}`,
		},
		"allowed set": {
			request: llm.Request{Tools: []llm.Tool{{Name: "a"}, {Name: "b"}, {Name: "c"}}, ToolChoice: &llm.ToolChoice{Mode: llm.ToolRequired, Names: []string{"a", "c"}}},
			want:    `{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"c"}}],"tool_choice":"required"}`,
		},
		"top_k":     {request: llm.Request{TopK: new(40.0)}, want: `{"model":"m","messages":[],"top_k":40}`},
		"top_k, no": {request: llm.Request{TopK: new(40.0)}, strict: true, want: `{"model":"m","messages":[]}`, dropped: []string{"top_k"}},
		"schema":    {request: llm.Request{Output: &llm.OutputFormat{Kind: llm.OutputJSONSchema, Schema: []byte(`{}`)}}, want: `{"model":"m","messages":[],"response_format":{"type":"json_schema","json_schema":{"name":"answer","schema":{}}}}`},
		"text document": {
			request: llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{&llm.Media{Kind: llm.MediaDocument, Name: "notes", Text: "n"}, &llm.Media{Kind: llm.MediaDocument, MIME: "text/plain", Data: "aGk="}}}}},
			want:    `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"notes\n\nn"},{"type":"text","text":"hi"}]}]}`,
		},
		"pdf": {
			request: llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{&llm.Media{Kind: llm.MediaDocument, MIME: "application/pdf", Data: "YQ=="}}}}},
			want:    `{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"filename":"document.pdf","file_data":"data:application/pdf;base64,YQ=="}}]}]}`,
		},
		"what it cannot say": {
			request: llm.Request{
				PreviousID: "resp_1", Extra: llm.Extra{Format: dialect.Gemini, JSON: []byte(`{"safetySettings":[{}],"off":false}`)},
				Tools: []llm.Tool{{Name: "a"}, {Index: 1, Native: &llm.Native{Format: dialect.AnthropicMessages, Type: "bash_20250124", JSON: []byte(`{}`)}}},
				Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{
					&llm.Media{Common: llm.Common{Pos: llm.Pos{Part: 0}}, Kind: llm.MediaImage, FileID: "f"},
					&llm.Media{Common: llm.Common{Pos: llm.Pos{Part: 1}}, Kind: llm.MediaDocument, URL: "https://x"},
					&llm.NativePart{Common: llm.Common{Pos: llm.Pos{Part: 2}}, Native: llm.Native{Format: dialect.Gemini, JSON: []byte(`{}`)}},
					&llm.Media{Common: llm.Common{Pos: llm.Pos{Part: 3}}, Kind: llm.MediaVideo, URL: "gs://x"},
				}}},
			},
			strict:  true,
			want:    `{"model":"m","messages":[{"role":"user","content":""}],"tools":[{"type":"function","function":{"name":"a"}}]}`,
			dropped: []string{"messages[0].content[0]", "messages[0].content[1]", "messages[0].content[2]", "messages[0].content[3]", "tools[1]", "previous_response_id", "safetySettings"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.request.Model = "m"
			o := dialect.EncodeOptions{StrictChat: tc.strict, Unsaid: &dialect.Unsaid{Target: dialect.OpenAIChat, Drop: true}}
			got, err := openaichat.Chat.EncodeRequest(&tc.request, o)
			require.NoError(t, err)
			text := string(got)
			if at := strings.Index(text, `"call_`); at >= 0 {
				id, _, _ := strings.Cut(text[at+1:], `"`)
				require.Len(t, id, len("call_")+24)
				text = strings.ReplaceAll(text, id, "ID")
			}
			require.JSONEq(t, tc.want, text)
			require.Equal(t, tc.dropped, o.Unsaid.Dropped)

			o.Unsaid = &dialect.Unsaid{Target: dialect.OpenAIChat}
			_, err = openaichat.Chat.EncodeRequest(&tc.request, o)
			if tc.dropped == nil {
				require.NoError(t, err)
				return
			}
			e, ok := errors.AsType[*llm.Error](err)
			require.True(t, ok)
			require.Equal(t, tc.dropped[0], e.Param)
		})
	}
}

func TestInline(t *testing.T) {
	r := &llm.Request{Model: "m", Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{&llm.Media{Kind: llm.MediaDocument, URL: "https://x/a.pdf"}}}}}
	o := encodeOptions()
	o.Unsaid.Source = nil
	o.Inline = func(m *llm.Media) (*llm.Media, error) {
		return &llm.Media{Kind: m.Kind, MIME: "application/pdf", Data: "YQ==", Name: "a.pdf"}, nil
	}
	got, err := openaichat.Chat.EncodeRequest(r, o)
	require.NoError(t, err)
	require.Contains(t, string(got), `{"filename":"a.pdf","file_data":"data:application/pdf;base64,YQ=="}`)
	o.Inline = func(*llm.Media) (*llm.Media, error) { return nil, errors.New("unreachable") }
	_, err = openaichat.Chat.EncodeRequest(r, o)
	require.ErrorContains(t, err, "unreachable")
}

func TestEffortOfBudgets(t *testing.T) {
	for budget, want := range map[int64]string{-1: "", 0: "none", 1: "low", 2048: "low", 2049: "medium", 8192: "medium", 8193: "high", 1 << 40: "high"} {
		got, err := openaichat.Chat.EncodeRequest(&llm.Request{Reasoning: &llm.Reasoning{Budget: &budget}}, encodeOptions())
		require.NoError(t, err)
		effort, _ := object(t, got)["reasoning_effort"].(string)
		require.Equal(t, want, effort, budget)
	}
}

func TestMaxTokensAndUsage(t *testing.T) {
	r := decode(t, `{"model":"m","messages":[{"role":"user","content":"a"}],"max_tokens":5,"max_completion_tokens":7,"stream":true}`)
	require.EqualValues(t, 7, r.MaxTokens)
	o := encodeOptions()
	o.MaxTokensField, o.AskUsage = "max_tokens", true
	got, err := openaichat.Chat.EncodeRequest(r, o)
	require.NoError(t, err)
	require.JSONEq(t, `{"model":"m","messages":[{"role":"user","content":"a"}],"max_tokens":7,"stream":true,"stream_options":{"include_usage":true}}`, string(got))
}

func TestPaths(t *testing.T) {
	require.Equal(t, "messages[3].content[2]", openaichat.Chat.PartPath(llm.Pos{Message: 3, Part: 2}))
	require.Equal(t, "messages[3]", openaichat.Chat.PartPath(llm.Pos{Message: 3, Part: -1}))
	r := decode(t, `{"model":"m","messages":[{"role":"assistant","content":"a","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":""}},{"id":"b","type":"function","function":{"name":"f","arguments":""}}]}]}`)
	require.Equal(t, "messages[0].tool_calls[1]", openaichat.Chat.PartPath(r.Messages[0].Parts[2].Base().Pos))
	require.Equal(t, "top_k", openaichat.Chat.FieldPath(dialect.FieldTopK))
	require.Empty(t, openaichat.Chat.FieldPath(dialect.FieldPreviousID))
}

// TestParsed: what OpenAI's SDK notes in messages that it parsed is nothing that
// any provider must be told.
func TestParsed(t *testing.T) {
	r := decode(t, `{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"{}","parsed":{"a":1},`+
		`"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}","parsed_arguments":{"b":2}}}]},{"role":"tool","tool_call_id":"c","content":"r"}]}`)
	require.Empty(t, r.Messages[1].Extra.JSON)
	require.Empty(t, r.Messages[1].Parts[1].Base().Extra.JSON)
}
