package anthropic_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/anthropic"
	"github.com/financecommander/tollgate/internal/llm"
)

func decode(t *testing.T, body string) (*llm.Request, *llm.Error) {
	t.Helper()
	r, err := anthropic.Messages.DecodeRequest([]byte(body), dialect.DecodeOptions{Seal: dialect.NoSeal{}})
	if err == nil {
		return r, nil
	}
	var e *llm.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, llm.CauseInvalidRequest, e.Cause)
	require.Nil(t, r)
	return nil, e
}

const hello = `{"role":"user","content":"hi"}`

func TestBadRequests(t *testing.T) {
	for i, test := range []struct {
		members        string // beside model and max_tokens
		param, message string // message after the path
	}{
		{``, "messages", "is required"},
		{`"messages":[]`, "messages", "is required"},
		{`"messages":{}`, "messages", "must be an array"},
		{`"messages":[1]`, "messages[0]", "must be an object"},
		{`"messages":[` + hello + `,{"content":"x"}]`, "messages[1].role", "is required"},
		{`"messages":[{"role":"tool","content":"x"}]`, "messages[0].role", "must be one of user, assistant, system"},
		{`"messages":[{"role":7,"content":"x"}]`, "messages[0].role", "must be a string"},
		{`"messages":[{"role":"user"}]`, "messages[0].content", "is required"},
		{`"messages":[{"role":"user","content":null}]`, "messages[0].content", "is required"},
		{`"messages":[{"role":"user","content":7}]`, "messages[0].content", "must be a string or an array of blocks"},
		{`"messages":[{"role":"user","content":["x"]}]`, "messages[0].content[0].type", "is required"},
		{`"messages":[{"role":"user","content":[{}]}]`, "messages[0].content[0].type", "is required"},
		{`"messages":[{"role":"user","content":[{"type":"text"}]}]`, "messages[0].content[0].text", "is required"},
		{`"messages":[{"role":"user","content":[{"type":"text","text":[]}]}]`, "messages[0].content[0].text", "must be a string"},
		{`"messages":[{"role":"user","content":"a","role":"assistant"}]`, "messages[0].role", "comes twice"},
		{`"messages":[{"role":"user","content":[{"type":"x","a":{"b":1,"b":2}}]}]`, "messages[0].content[0].a.b", "comes twice"},
		{`"messages":[{"role":"user","content":[{"type":"image"}]}]`, "messages[0].content[0].source", "is required"},
		{`"messages":[{"role":"user","content":[{"type":"image","source":null}]}]`, "messages[0].content[0].source", "is required"},
		{`"messages":[{"role":"user","content":[{"type":"image","source":"x"}]}]`, "messages[0].content[0].source", "must be an object"},
		{`"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png"}}]}]`, "messages[0].content[0].source.data", "is required"},
		{`"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"a!=="}}]}]`, "messages[0].content[0].source.data", "must be standard base64"},
		{`"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"abc"}}]}]`, "messages[0].content[0].source.data", "must be standard base64"},
		{`"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","data":"abcd"}}]}]`, "messages[0].content[0].source.media_type", "is required"},
		{`"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url"}}]}]`, "messages[0].content[0].source.url", "is required"},
		{`"messages":[{"role":"user","content":[{"type":"document","source":{"type":"file"}}]}]`, "messages[0].content[0].source.file_id", "is required"},
		{`"messages":[{"role":"user","content":[{"type":"document","source":{"url":"x"}}]}]`, "messages[0].content[0].source.type", "is required"},
		{`"messages":[{"role":"user","content":[{"type":"tool_use","id":"a","name":"b","input":{}}]}]`, "messages[0].content[0].type", "can be tool_use in messages of the assistant only"},
		{`"messages":[{"role":"assistant","content":[{"type":"tool_use","name":"b","input":{}}]}]`, "messages[0].content[0].id", "is required"},
		{`"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","input":{}}]}]`, "messages[0].content[0].name", "is required"},
		{`"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"b"}]}]`, "messages[0].content[0].input", "is required"},
		{`"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"b","input":"{}"}]}]`, "messages[0].content[0].input", "must be an object"},
		{`"messages":[` + hello + `,{"role":"user","content":[{"type":"tool_result","tool_use_id":"nope","content":"x"}]}]`, "messages[1].content[0].tool_use_id", "is the id of no tool_use block before"},
		{`"messages":[{"role":"user","content":[{"type":"tool_result","content":"x"}]}]`, "messages[0].content[0].tool_use_id", "is required"},
		{`"messages":[{"role":"assistant","content":[{"type":"tool_result","tool_use_id":"x"}]}]`, "messages[0].content[0].type", "can be tool_result in messages of the user only"},
		{`"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"b","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":1}]}]}]`, "messages[1].content[0].content[0].text", "must be a string"},
		{`"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"b","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","is_error":"no"}]}]`, "messages[1].content[0].is_error", "must be a boolean"},
		{`"messages":[{"role":"assistant","content":[{"type":"redacted_thinking"}]}]`, "messages[0].content[0].data", "is required"},
		{`"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":1}]}]`, "messages[0].content[0].thinking", "must be a string"},
		{`"messages":[{"role":"user","content":[{"type":"text","text":"x","cache_control":"yes"}]}]`, "messages[0].content[0].cache_control", "must be an object"},
		{`"system":7,"messages":[` + hello + `]`, "system", "must be a string or an array of blocks"},
		{`"system":[{"type":"image"}],"messages":[` + hello + `]`, "system[0].type", "must be text"},
		{`"stream":"yes","messages":[` + hello + `]`, "stream", "must be a boolean"},
		{`"temperature":"hot","messages":[` + hello + `]`, "temperature", "must be a number"},
		{`"stop_sequences":"x","messages":[` + hello + `]`, "stop_sequences", "must be an array"},
		{`"stop_sequences":["x",1],"messages":[` + hello + `]`, "stop_sequences[1]", "must be a string"},
		{`"metadata":{"user_id":7},"messages":[` + hello + `]`, "metadata.user_id", "must be a string"},
		{`"thinking":{},"messages":[` + hello + `]`, "thinking.type", "is required"},
		{`"thinking":{"type":"enabled"},"messages":[` + hello + `]`, "thinking.budget_tokens", "is required"},
		{`"thinking":{"type":"enabled","budget_tokens":-1},"messages":[` + hello + `]`, "thinking.budget_tokens", "must not be negative"},
		{`"tools":[{"input_schema":{}}],"messages":[` + hello + `]`, "tools[0].name", "is required"},
		{`"tools":[{"name":"a"}],"messages":[` + hello + `]`, "tools[0].input_schema", "is required"},
		{`"tools":[{"name":"a","input_schema":[]}],"messages":[` + hello + `]`, "tools[0].input_schema", "must be an object"},
		{`"tool_choice":"auto","messages":[` + hello + `]`, "tool_choice.type", "is required"},
		{`"tool_choice":{"type":"tool"},"messages":[` + hello + `]`, "tool_choice.name", "is required"},
		{`"tool_choice":{"type":"any","name":"x"},"messages":[` + hello + `]`, "tool_choice.name", "goes with the type tool only"},
		{`"output_config":{"format":{"type":"json_schema"}},"messages":[` + hello + `]`, "output_config.format.schema", "is required"},
		{`"output_config":{"effort":1},"messages":[` + hello + `]`, "output_config.effort", "must be a string"},
	} {
		t.Run(fmt.Sprint(i, " ", test.param), func(t *testing.T) {
			body := `{"model":"m","max_tokens":5,` + test.members + `}`
			if test.members == "" {
				body = `{"model":"m","max_tokens":5}`
			}
			_, e := decode(t, body)
			require.NotNil(t, e, body)
			require.Equal(t, test.param, e.Param)
			dotted := strings.NewReplacer("[", ".", "]", "").Replace(test.param)
			require.Equal(t, dotted+": "+test.message, e.Message)
		})
	}
	for body, param := range map[string]string{
		``: "", `[]`: "", `{`: "", `null`: "", `{"model":"m","max_tokens":5,"messages":[` + hello + `]}x`: "",
		`{"max_tokens":5,"messages":[` + hello + `]}`:                                "model",
		`{"model":"m","messages":[` + hello + `]}`:                                   "max_tokens",
		`{"model":"m","max_tokens":1.5,"messages":[` + hello + `]}`:                  "max_tokens",
		`{"model":"m","max_tokens":1,"model":"n","messages":[` + hello + `]}`:        "model",
		`{"model":"m","max_tokens":1,"messages":` + strings.Repeat("[", 100_000):     "messages[0]",
		`{"model":"m","max_tokens":1,"x":` + strings.Repeat(`{"a":`, 100_000):        "",
		`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":`: "messages[0].content[0].type",
	} {
		_, e := decode(t, body)
		require.NotNil(t, e, "%.100s", body)
		if param != "messages[0].content[0].type" { // what ends too early is told as such, or by what is missing
			require.Equal(t, param, e.Param, "%.100s", body)
		}
	}
}

func TestDecodeRequest(t *testing.T) {
	r, e := decode(t, `{
		"model":"m","max_tokens":5,"stream":true,"temperature":0.5,"top_p":0.9,"top_k":40,"stop_sequences":["END"],
		"metadata":{"user_id":"u"},"service_tier":"auto","inference_geo":"eu",
		"thinking":{"type":"enabled","budget_tokens":2000,"display":"omitted"},
		"output_config":{"effort":"low","format":{"type":"json_schema","schema":{"type":"object"}},"task_budget":5},
		"tool_choice":{"type":"tool","name":"a","disable_parallel_tool_use":true},
		"tools":[{"name":"a","description":"d","input_schema":{"type":"object"},"strict":true,"cache_control":{"type":"ephemeral","ttl":"1h"}},{"type":"web_search_20250305","name":"web_search"}],
		"messages":[
			{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}},{"type":"image","source":{"type":"url","url":"https://x/y"}},
				{"type":"document","title":"T","context":"C","source":{"type":"base64","media_type":"application/pdf","data":"abcd"}},{"type":"image","source":{"type":"file","file_id":"f"}}]},
			{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"sig"},{"type":"redacted_thinking","data":"dat"},{"type":"tool_use","id":"t1","name":"a","input":{"x":1},"caller":{"type":"direct"}},{"type":"server_tool_use","id":"s","name":"web_search","input":{}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","is_error":true,"content":[{"type":"text","text":"r"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"abcd"}}]}]},
			{"role":"system","content":"now"}],
		"system":[{"type":"text","text":"S"}]}`)
	require.Nil(t, e)
	at := func(message, part int32) llm.Common { return llm.Common{Pos: llm.Pos{Message: message, Part: part}} }
	own := func(json string) llm.Extra { return llm.Extra{Format: anthropic.Format, JSON: []byte(json)} }
	with := func(c llm.Common, set func(*llm.Common)) llm.Common { set(&c); return c }
	want := &llm.Request{
		Model: "m", MaxTokens: 5, Stream: true, StreamUsage: true, Temperature: new(0.5), TopP: new(0.9), TopK: new(40.0), Stop: []string{"END"},
		User: "u", ServiceTier: "auto", ParallelTools: new(false),
		ToolChoice: &llm.ToolChoice{Mode: llm.ToolRequired, Names: []string{"a"}},
		Reasoning:  &llm.Reasoning{Effort: "low", Budget: new(int64(2000)), Show: new(false)},
		Output:     &llm.OutputFormat{Kind: llm.OutputJSONSchema, Schema: []byte(`{"type":"object"}`)},
		Extra:      own(`{"inference_geo":"eu","output_config":{"task_budget":5}}`),
		Tools: []llm.Tool{
			{Name: "a", Description: "d", Schema: []byte(`{"type":"object"}`), Strict: new(true), Cache: &llm.CacheMark{TTL: "1h"}},
			{Name: "web_search", Index: 1, Native: &llm.Native{Format: anthropic.Format, Type: "web_search_20250305", JSON: []byte(`{"type":"web_search_20250305","name":"web_search"}`)}},
		},
		Messages: []llm.Message{
			{Role: llm.RoleSystem, Pos: llm.Pos{Message: -1, Part: -1}, Parts: []llm.Part{&llm.Text{Common: at(-1, 0), Text: "S"}}},
			{Role: llm.RoleUser, Pos: llm.Pos{Message: 0, Part: -1}, Parts: []llm.Part{
				&llm.Text{Common: with(at(0, 0), func(c *llm.Common) { c.Cache = &llm.CacheMark{} }), Text: "hi"},
				&llm.Media{Common: at(0, 1), Kind: llm.MediaImage, URL: "https://x/y"},
				&llm.Media{Common: with(at(0, 2), func(c *llm.Common) { c.Extra = own(`{"context":"C"}`) }), Kind: llm.MediaDocument, MIME: "application/pdf", Data: "abcd", Name: "T"},
				&llm.Media{Common: at(0, 3), Kind: llm.MediaImage, FileID: "f"},
			}},
			{Role: llm.RoleAssistant, Pos: llm.Pos{Message: 1, Part: -1}, Parts: []llm.Part{
				&llm.Thinking{Common: with(at(1, 0), func(c *llm.Common) { c.Opaque = &llm.Opaque{Format: anthropic.Format, Value: "sig"} }), Text: "hm"},
				&llm.Thinking{Common: with(at(1, 1), func(c *llm.Common) { c.Opaque = &llm.Opaque{Format: anthropic.Format, Value: "dat"} }), Redacted: true},
				&llm.ToolCall{Common: with(at(1, 2), func(c *llm.Common) { c.Wire = own(`{"caller":{"type":"direct"}}`) }), ID: "t1", Name: "a", Arguments: `{"x":1}`},
				&llm.NativePart{Common: at(1, 3), Native: llm.Native{Format: anthropic.Format, Type: "server_tool_use", JSON: []byte(`{"type":"server_tool_use","id":"s","name":"web_search","input":{}}`)}},
			}},
			{Role: llm.RoleUser, Pos: llm.Pos{Message: 2, Part: -1}, Parts: []llm.Part{
				&llm.ToolResult{Common: at(2, 0), CallID: "t1", IsError: true, Parts: []llm.Part{
					&llm.Text{Common: at(2, 0), Text: "r"},
					&llm.Media{Common: at(2, 0), Kind: llm.MediaImage, MIME: "image/png", Data: "abcd"},
				}},
			}},
			{Role: llm.RoleSystem, Pos: llm.Pos{Message: 3, Part: -1}, Wire: own(`{"role":"system"}`), Parts: []llm.Part{&llm.Text{Common: at(3, -1), Text: "now"}}},
		},
	}
	require.Equal(t, want, r)
}

// What no recording has comes back as it was all the same.
func TestRequestsComeBack(t *testing.T) {
	for _, members := range []string{
		`"thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"max"}`,
		`"thinking":{"type":"disabled"}`,
		`"thinking":{"type":"between_tools"}`,
		`"thinking":{"type":"enabled","budget_tokens":4000,"display":"new","more":1}`,
		`"tool_choice":{"type":"any","disable_parallel_tool_use":false}`,
		`"tool_choice":{"type":"none"}`,
		`"tool_choice":{"type":"new","x":1}`,
		`"tool_choice":{"type":"auto","x":1}`,
		`"metadata":{"user_id":"u","more":true}`,
		`"output_config":{"format":{"type":"new"},"task_budget":{"type":"tokens"}}`,
		`"mcp_servers":[{"url":"x"}],"container":"c","context_management":{"edits":[]},"speed":"fast","cache_control":{"type":"ephemeral"}`,
		`"service_tier":"standard_only","stop_sequences":[" "],"temperature":1,"top_k":5`,
		`"tools":[{"name":"a","input_schema":{"properties":{}},"strict":false,"defer_loading":true,"input_examples":[{}]}]`,
		`"system":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},{"type":"text","text":""}]`,
	} {
		body := `{"model":"claude-3-haiku","max_tokens":5000,"messages":[` + hello + `],` + members + `}`
		requireComesBack(t, body)
	}
	for _, blocks := range []string{
		`{"type":"text","text":"a","citations":[{"type":"char_location","cited_text":"x","document_index":0}],"more":1}`,
		`{"type":"text","text":" "},{"type":"text","text":"b"}`,
		`{"type":"search_result","source":"s","title":"t","content":[]}`,
		`{"type":"document","source":{"type":"content","content":"x"},"citations":{"enabled":true}}`,
		`{"type":"document","source":{"type":"text","media_type":"text/plain","data":"x"},"title":"t","context":"c"}`,
		`{"type":"document","source":{"type":"url","url":"https://x"},"cache_control":{"type":"ephemeral","ttl":"5m"}}`,
		`{"type":"image","source":{"type":"base64","media_type":"image/bmp","data":"abcd"},"transformations":{"x":1}}`,
		`{"type":"image","source":{"type":"new","x":1}}`,
		`{"type":"container_upload","file_id":"f"}`,
		`{"type":"text","text":"a","cache_control":{"type":"new","x":1}}`,
	} {
		requireComesBack(t, `{"model":"m","max_tokens":0,"messages":[{"role":"user","content":[`+blocks+`],"more":1},{"role":"assistant","content":"x "},{"role":"user","content":"b"},{"role":"user","content":"c"},{"role":"system","content":"d"}]}`)
	}
}

// A thread holds calls that the request does not show.
func TestThreads(t *testing.T) {
	requireComesBack(t, `{"model":"m","max_tokens":5,"thread":{"type":"continue","previous_message_id":"msg_1"},"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"x"}]}]}`)
}

func requireComesBack(t *testing.T, body string) {
	t.Helper()
	r, e := decode(t, body)
	require.Nil(t, e, "%v %s", e, body)
	o := toItself()
	again, err := anthropic.Messages.EncodeRequest(r, o)
	require.NoError(t, err)
	require.Equal(t, request(t, []byte(body)), request(t, again))
	require.Empty(t, o.Unsaid.Dropped)
}

// A hostile body costs no more than its length.
func TestHostileBodies(t *testing.T) {
	many := func(n int, piece string) string { return strings.TrimSuffix(strings.Repeat(piece+",", n), ",") }
	call := `{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"a","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"x"}]}`
	names := make([]string, 50_000)
	for i := range names {
		names[i] = fmt.Sprintf(`"m%d":%d`, i, i)
	}
	for name, members := range map[string]string{
		"the same call":   `"messages":[` + many(20_000, call) + `]`,
		"blocks":          `"messages":[{"role":"user","content":[` + many(100_000, `{"text":"x","type":"text"}`) + `]}]`,
		"late types":      `"messages":[{"content":[` + many(50_000, `{"content":[{"text":"x","type":"text"}],"tool_use_id":"1","type":"tool_result"}`) + `],"role":"user"}]`,
		"unknown members": strings.Join(names, ",") + `,"messages":[` + hello + `]`,
		"breakpoints":     `"messages":[{"role":"user","content":[` + many(100_000, `{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}`) + `]}]`,
		"one text":        `"messages":[{"role":"user","content":"` + strings.Repeat(`\u00e9`, 5<<20) + `"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			r, _ := decode(t, `{"model":"m","max_tokens":5,`+members+`}`)
			if r != nil {
				_, _, failed := fromElsewhere(t, r, true)
				require.Nil(t, failed)
			}
			require.Less(t, time.Since(began), 20*time.Second) // some 100 ms where nothing else runs
		})
	}
}
