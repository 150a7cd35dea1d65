package fakes

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	png = base64.StdEncoding.EncodeToString([]byte("\x89PNG\r\n\x1a\nrest"))
	pdf = base64.StdEncoding.EncodeToString([]byte("%PDF-1.4 rest"))
)

// face is a way to ask: a fake and one of its calls.
type face struct {
	model, path, streamPath string
	kind                    Kind
	header                  map[string]string
	text                    func(body string) string // of an answer, whole or streamed
}

var (
	bearer = map[string]string{"Authorization": "Bearer " + Key}
	faces  = map[string]face{
		"chat": {
			model: "gpt-4o", kind: OpenAI, path: "/v1/chat/completions", header: bearer,
			text: joined("choices.0.message.content", "choices.0.delta.content"),
		},
		"compatible": {
			model: "grok-4", kind: OpenAIChat, path: "/v1/chat/completions", header: bearer,
			text: joined("choices.0.message.content", "choices.0.delta.content"),
		},
		"responses": {
			model: "gpt-5", kind: OpenAI, path: "/v1/responses", header: bearer,
			text: joined("output.-1.content.0.text", "delta"),
		},
		"anthropic": {
			model: "claude-sonnet-4-5", kind: Anthropic, path: "/v1/messages",
			header: map[string]string{"X-Api-Key": Key, "Anthropic-Version": "2023-06-01"},
			text:   joined("content.-1.text", "delta.text"),
		},
		"gemini": {
			model: "gemini-3-pro-preview", kind: Gemini, path: "/v1beta/models/gemini-3-pro-preview:generateContent",
			streamPath: "/v1beta/models/gemini-3-pro-preview:streamGenerateContent?alt=sse",
			header:     map[string]string{"X-Goog-Api-Key": Key},
			text:       joined("candidates.0.content.parts.0.text", "candidates.0.content.parts.0.text"),
		},
	}
)

// joined finds a text in a whole answer, or in each event of a streamed one.
func joined(whole, delta string) func(string) string {
	return func(body string) string {
		if strings.HasPrefix(body, "{") {
			s, _ := at(body, whole).(string)
			return s
		}
		var all string
		for line := range strings.Lines(body) {
			if event, ok := strings.CutPrefix(line, "data: "); ok {
				s, _ := at(event, delta).(string)
				all += s
			}
		}
		return all
	}
}

// at follows a path such as "choices.0.text" into JSON; -1 is a list's last.
func at(text, path string) any {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return nil
	}
	for step := range strings.SplitSeq(path, ".") {
		switch o := v.(type) {
		case map[string]any:
			v = o[step]
		case []any:
			switch {
			case len(o) == 0:
				return nil
			case step == "-1":
				v = o[len(o)-1]
			default:
				v = o[step[0]-'0']
			}
		default:
			return nil
		}
	}
	return v
}

func (f face) ask(t *testing.T, s *Server, path, body string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	for name, value := range f.header {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	answer, _ := io.ReadAll(response.Body) // a cut answer ends in an error
	return response.StatusCode, response.Header, string(answer)
}

// say is a body whose one user message is text.
func (f face) say(name, text string, stream bool) string {
	quoted := canonical(text)
	streamed := ""
	if stream && f.streamPath == "" {
		streamed = `,"stream":true`
	}
	switch name {
	case "responses":
		return `{"model":"` + f.model + `","input":` + quoted + streamed + `}`
	case "gemini":
		return `{"contents":[{"role":"user","parts":[{"text":` + quoted + `}]}]}`
	case "anthropic":
		return `{"model":"` + f.model + `","max_tokens":100,"messages":[{"role":"user","content":` + quoted + `}]` + streamed + `}`
	default:
		return `{"model":"` + f.model + `","messages":[{"role":"user","content":` + quoted + `}]` + streamed + `}`
	}
}

func (f face) pathFor(stream bool) string {
	if stream && f.streamPath != "" {
		return f.streamPath
	}
	return f.path
}

func TestSay(t *testing.T) {
	t.Parallel()
	for name, f := range faces {
		s := New(t, f.kind)
		for _, stream := range []bool{false, true} {
			for text, want := range map[string]string{
				"hello":                  "Hello from " + f.model,
				"say: one two three":     "one two three",
				"#cite":                  "Paris is the capital of France.",
				"#slow 1ms\nsay: slowly": "slowly",
			} {
				status, _, body := f.ask(t, s, f.pathFor(stream), f.say(name, text, stream))
				require.Equal(t, http.StatusOK, status, "%s: %s", name, body)
				require.Equal(t, want, f.text(body), "%s stream=%v: %s", name, stream, body)
			}
		}
		require.Empty(t, s.Problems())
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	finish := map[string]string{
		"chat": "[DONE]", "compatible": "[DONE]", "responses": "response.completed", "anthropic": "message_stop", "gemini": "finishReason",
	}
	for name, f := range faces {
		s := New(t, f.kind)
		status, header, body := f.ask(t, s, f.path, f.say(name, "#error 429", false))
		require.Equal(t, http.StatusTooManyRequests, status)
		if f.kind != Gemini {
			require.Equal(t, "7", header.Get("Retry-After"))
		}
		require.Contains(t, body, "secret123")
		for command, want := range map[string]bool{"#midstream-error": true, "#cut": false, "#cut clean": false} {
			_, _, body := f.ask(t, s, f.pathFor(true), f.say(name, command+"\nsay: one two three four", true))
			require.Contains(t, body, "two", name)
			require.NotContains(t, body, "three", name)
			require.NotContains(t, body, finish[name], "%s %s", name, command)
			require.Equal(t, want, strings.Contains(body, `"error":{`), "%s %s: %s", name, command, body)
		}
	}
}

// TestDescribeAlike says one conversation in every format.
func TestDescribeAlike(t *testing.T) {
	t.Parallel()
	schema := `{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"additionalProperties":false}`
	bodies := map[string]string{
		"chat": `{"model":"gpt-4o","max_tokens":200,"temperature":0.5,"top_p":0.9,"stop":["END"],"tool_choice":"required","parallel_tool_calls":false,
			"messages":[{"role":"developer","content":"Be brief."},
			{"role":"user","content":[{"type":"text","text":"Look."},{"type":"image_url","image_url":{"url":"data:image/png;base64,` + png + `"}},
				{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,` + pdf + `"}}]},
			{"role":"assistant","content":"I look.","tool_calls":[{"id":"c1","type":"function","function":{"name":"see","arguments":"{\"city\":\"Paris\"}"}},
				{"id":"c2","type":"function","function":{"name":"see","arguments":"{\"city\":\"Rome\"}"}}]},
			{"role":"tool","tool_call_id":"c1","content":"sunny"},{"role":"tool","tool_call_id":"c2","content":"rain"},
			{"role":"user","content":"#describe"}],
			"tools":[{"type":"function","function":{"name":"see","description":"Sees.","parameters":` + schema + `}}],
			"response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":` + schema + `}}}`,
		"responses": `{"model":"gpt-4o","max_output_tokens":200,"temperature":0.5,"top_p":0.9,"tool_choice":"required","parallel_tool_calls":false,"instructions":"Be brief.",
			"input":[{"role":"user","content":[{"type":"input_text","text":"Look."},{"type":"input_image","image_url":"data:image/png;base64,` + png + `"},
				{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,` + pdf + `"}]},
			{"type":"message","role":"assistant","content":[{"type":"output_text","text":"I look.","annotations":[]}]},
			{"type":"function_call","call_id":"c1","name":"see","arguments":"{\"city\":\"Paris\"}"},{"type":"function_call","call_id":"c2","name":"see","arguments":"{\"city\":\"Rome\"}"},
			{"type":"function_call_output","call_id":"c1","output":"sunny"},{"type":"function_call_output","call_id":"c2","output":"rain"},
			{"role":"user","content":"#describe"}],
			"tools":[{"type":"function","name":"see","description":"Sees.","parameters":` + schema + `}],
			"text":{"format":{"type":"json_schema","name":"a","strict":true,"schema":` + schema + `}}}`,
		"anthropic": `{"model":"claude-sonnet-4-5","max_tokens":200,"temperature":0.5,"top_p":0.9,"stop_sequences":["END"],
			"tool_choice":{"type":"any","disable_parallel_tool_use":true},"system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}],
			"messages":[{"role":"user","content":[{"type":"text","text":"Look."},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + png + `"}},
				{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"` + pdf + `"}}]},
			{"role":"assistant","content":[{"type":"text","text":"I look."},{"type":"tool_use","id":"c1","name":"see","input":{"city":"Paris"}},
				{"type":"tool_use","id":"c2","name":"see","input":{"city":"Rome"}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"sunny"},
				{"type":"tool_result","tool_use_id":"c2","content":[{"type":"text","text":"rain"}]},{"type":"text","text":"#describe"}]}],
			"tools":[{"name":"see","description":"Sees.","input_schema":` + schema + `}],
			"output_config":{"format":{"type":"json_schema","schema":` + schema + `}}}`,
		"gemini": `{"systemInstruction":{"parts":[{"text":"Be brief."}]},
			"contents":[{"role":"user","parts":[{"text":"Look."},{"inlineData":{"mimeType":"image/png","data":"` + png + `"}},
				{"inlineData":{"mimeType":"application/pdf","data":"` + pdf + `"}}]},
			{"role":"model","parts":[{"text":"I look."},{"functionCall":{"name":"see","args":{"city":"Paris"}},"thoughtSignature":"skip_thought_signature_validator"},
				{"functionCall":{"name":"see","args":{"city":"Rome"}}}]},
			{"role":"user","parts":[{"functionResponse":{"name":"see","response":{"output":"sunny"}}},{"functionResponse":{"name":"see","response":{"result":"rain"}}}]},
			{"role":"user","parts":[{"text":"#describe"}]}],
			"tools":[{"functionDeclarations":[{"name":"see","description":"Sees.","parametersJsonSchema":` + schema + `}]}],
			"toolConfig":{"functionCallingConfig":{"mode":"ANY"}},
			"generationConfig":{"maxOutputTokens":200,"temperature":0.5,"topP":0.9,"stopSequences":["END"],
				"responseMimeType":"application/json","responseJsonSchema":` + schema + `}}`,
	}
	descriptions := map[string]*Description{}
	for name, body := range bodies {
		f := faces[name]
		s := New(t, f.kind)
		// After the tools have answered the choice asks for another call, so the
		// description is taken from the fake itself.
		status, _, answer := f.ask(t, s, f.path, body)
		require.Equal(t, http.StatusOK, status, "%s: %s", name, answer)
		descriptions[name] = s.LastDescription()
	}
	want := descriptions["chat"]
	require.Len(t, want.Items, 9)
	require.Equal(t, "Be brief.", want.System)
	require.Equal(t, "rain", want.Items[7].Text)
	require.Equal(t, 2, want.Items[7].Call)
	for name, got := range descriptions {
		switch name { // what a format has no word for
		case "responses":
			got.Stop = want.Stop
		case "gemini":
			got.OneTool = want.OneTool
		}
		require.JSONEq(t, want.JSON(), got.JSON(), name)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	const (
		chat      = `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]`
		responses = `{"model":"gpt-5","input":"hi"`
		message   = `{"model":"claude-sonnet-4-5","max_tokens":2000,"messages":[{"role":"user","content":"hi"}]`
		generate  = `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]`
		call      = `{"type":"function","function":{"name":"a","arguments":"{}"}`
		thinking  = `,"thinking":{"type":"enabled","budget_tokens":1024}`
	)
	use := func(id string) string { return `{"type":"tool_use","id":"` + id + `","name":"a","input":{}}` }
	claude := func(messages string) string {
		return `{"model":"claude-sonnet-4-5","max_tokens":2000` + `,"messages":[{"role":"user","content":"hi"},` + messages + `]`
	}
	gpt := func(messages string) string {
		return `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"},` + messages + `]`
	}
	rs := func(items string) string {
		return `{"model":"gpt-5","input":[{"role":"user","content":"hi"},` + items + `]`
	}
	gem := func(contents string) string {
		return `{"contents":[{"role":"user","parts":[{"text":"hi"}]},` + contents + `]`
	}
	cases := []struct{ face, body, want string }{
		{"chat", chat + `,"top_k":1}`, "Unknown or invalid parameter"},
		{"chat", chat + `,"temperature":2.5}`, "temperature"},
		{"chat", chat + `,"tool_choice":"auto"}`, "only allowed when 'tools'"},
		{"chat", chat + `,"reasoning_effort":"low"}`, "reasoning_effort"},
		{"chat", chat + `,"metadata":{"a":"b"}}`, "store"},
		{"chat", `{"model":"gpt-5","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`, "max_completion_tokens"},
		{"chat", `{"model":"gpt-4o","messages":[]}`, "empty array"},
		{"chat", gpt(`{"role":"robot","content":"a"}`) + `}`, "robot"},
		{"chat", gpt(`{"role":"assistant","tool_calls":[`+call+`,"id":"x"}]}`) + `}`, "did not have response messages: x"},
		{"chat", gpt(`{"role":"tool","tool_call_id":"x","content":"a"}`) + `}`, "preceding message"},
		{"chat", gpt(`{"role":"assistant","tool_calls":[`+call+`,"id":"`+strings.Repeat("x", 41)+`"}]},{"role":"tool","tool_call_id":"x","content":"a"}`) + `}`, "string too long"},
		{"chat", gpt(`{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}`) + `}`, "unsupported image"},
		{"chat", gpt(`{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]}`) + `}`, "cache_control"},
		{"chat", chat + `,"response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":{"type":"object"}}}}`, "additionalProperties"},
		{"chat", `{"model":"gemini-3","messages":[{"role":"user","content":"hi"}]}`, "does not exist"},
		{"responses", responses + `,"stop":"a"}`, "Unknown or invalid parameter"},
		{"responses", responses + `,"max_output_tokens":5}`, "max_output_tokens"},
		{"responses", responses + `,"temperature":0.5}`, "temperature"},
		{"responses", responses + `,"previous_response_id":"resp_x"}`, "resp_x"},
		{"responses", rs(`{"type":"function_call","call_id":"x","name":"a","arguments":"{}"}`) + `}`, "No tool output found for function call x"},
		{"responses", rs(`{"type":"function_call_output","call_id":"x","output":"a"}`) + `}`, "No tool call found"},
		{"responses", rs(`{"type":"function_call","id":"call_x","call_id":"x","name":"a","arguments":"{}"}`) + `}`, "begins with 'fc'"},
		{"responses", rs(`{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"Zm9v"},{"role":"assistant","content":"a"}`) + `}`, "could not be verified"},
		{"responses", rs(`{"type":"reasoning","id":"rs_1","summary":[]},{"role":"assistant","content":"a"}`) + `}`, "not found"},
		{"responses", rs(`{"type":"message","role":"user","content":"a","tool_call_id":"x"}`) + `}`, "nknown"},
		{"responses", rs(`{"type":"message","role":"assistant","content":[{"type":"input_text","text":"a"}]}`) + `}`, "output_text"},
		{"anthropic", message + `,"n":1}`, "Extra inputs"},
		{"anthropic", message + `,"temperature":1.5}`, "range: 0..1"},
		{"anthropic", `{"model":"claude-sonnet-4-5","messages":[{"role":"user","content":"hi"}]}`, "max_tokens: Field required"},
		{"anthropic", `{"model":"claude-sonnet-4-5","max_tokens":1000,"messages":[{"role":"user","content":"hi"}]` + thinking + `}`, "must be greater than"},
		{"anthropic", message + thinking + `,"temperature":0.5}`, "may only be set to 1"},
		{"anthropic", claude(`{"role":"user","content":[{"type":"text","text":""}]}`) + `}`, "must be non-empty"},
		{"anthropic", claude(`{"role":"user","content":[{"type":"text","text":"a","name":"b"}]}`) + `}`, "text.name: Extra inputs"},
		{"anthropic", claude(`{"role":"system","content":"a"}`) + `}`, "Input should be 'user' or 'assistant'"},
		{"anthropic", claude(`{"role":"assistant","content":[`+use("x")+`]}`) + `}`, "without `tool_result` blocks"},
		{"anthropic", claude(`{"role":"assistant","content":[`+use("x")+`,`+use("y")+`]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"x"}]}`) + `}`, "immediately after: y"},
		{"anthropic", claude(`{"role":"assistant","content":[`+use("x")+`]},{"role":"user","content":[{"type":"text","text":"a"},{"type":"tool_result","tool_use_id":"x"}]}`) + `}`, "must come first"},
		{"anthropic", claude(`{"role":"user","content":[{"type":"tool_result","tool_use_id":"x"}]}`) + `}`, "unexpected `tool_use_id`"},
		{"anthropic", claude(`{"role":"assistant","content":[`+use("a.b")+`]}`) + `}`, "should match pattern"},
		{"anthropic", claude(`{"role":"assistant","content":[`+use("x")+`]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"x"}]}`) + thinking + `}`, "Expected `thinking`"},
		{"anthropic", claude(`{"role":"assistant","content":[{"type":"thinking","thinking":"a","signature":"Zm9v"},{"type":"text","text":"a"}]},{"role":"user","content":"a"}`) + `}`, "Invalid `signature`"},
		{"anthropic", claude(`{"role":"assistant","content":[{"type":"thinking","thinking":"a","signature":"`+sign(Anthropic, "claude-sonnet-4-5", "thinking", "b")+`"}]},{"role":"user","content":"a"}`) + `}`, "was altered"},
		{"anthropic", claude(`{"role":"assistant","content":[{"type":"thinking","thinking":"a","signature":"`+sign(Anthropic, "claude-opus-4", "thinking", "a")+`"}]},{"role":"user","content":"a"}`) + `}`, "of another model"},
		{"anthropic", claude(`{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"!"}}]}`) + `}`, "base64"},
		{"anthropic", message + `,"tools":[{"name":"a","input_schema":{}}]}`, "input_schema"},
		{"anthropic", message + `,"output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}}`, "additionalProperties"},
		{"anthropic", `{"model":"gpt-4o","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`, "model: gpt-4o"},
		{"gemini", generate + `,"stream":true}`, "unknown"},
		{"gemini", generate + `,"generationConfig":{"responseSchema":{"type":"OBJECT"}}}`, "only allowed when mime_type"},
		{"gemini", generate + `,"tools":[{"functionDeclarations":[{"name":"a","parameters":{"type":"OBJECT","additionalProperties":false}}]}]}`, "additionalProperties"},
		{"gemini", generate + `,"toolConfig":{"functionCallingConfig":{"mode":"ANY"}}}`, "without function_declarations"},
		{"gemini", gem(`{"role":"assistant","parts":[{"text":"a"}]}`) + `}`, "valid role"},
		{"gemini", gem(`{"role":"model","parts":[]}`) + `}`, "must not be empty"},
		{"gemini", gem(`{"role":"model","parts":[{"functionCall":{"name":"a","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"name":"a","response":{}}}]}`) + `}`, "missing a thought_signature"},
		{"gemini", gem(`{"role":"model","parts":[{"functionCall":{"name":"a","args":{}},"thoughtSignature":"Zm9v"}]},{"role":"user","parts":[{"functionResponse":{"name":"a","response":{}}}]}`) + `}`, "Corrupted thought signature"},
		{"gemini", gem(`{"role":"model","parts":[{"functionCall":{"name":"a","args":{}}}]},{"role":"user","parts":[{"text":"a"}]}`) + `}`, "number of function response parts"},
		{"gemini", gem(`{"role":"user","parts":[{"functionResponse":{"name":"a","response":{}}}]}`) + `}`, "number of function response parts"},
		{"gemini", gem(`{"role":"user","parts":[{"text":"a","inlineData":{"mimeType":"image/png","data":""}}]}`) + `}`, "oneof field 'data'"},
	}
	servers := map[Kind]*Server{}
	for _, k := range Kinds {
		servers[k] = New(t, k)
	}
	for _, c := range cases {
		f := faces[c.face]
		status, _, body := f.ask(t, servers[f.kind], f.path, c.body)
		require.GreaterOrEqual(t, status, 400, "%s: %s\n%s", c.face, c.body, body)
		require.Less(t, status, 500, body)
		message, _ := at(body, "error.message").(string)
		require.Contains(t, message, c.want, "%s: %s", c.face, c.body)
	}
	newer := faces["anthropic"]
	newer.header = map[string]string{"Authorization": "Bearer " + Key, "Anthropic-Version": latestVersion}
	status, _, body := newer.ask(t, servers[Anthropic], newer.path, message+`,"temperature":0.5}`)
	require.Equal(t, http.StatusBadRequest, status, body)
	for name, f := range faces {
		f.header = map[string]string{}
		status, _, body := f.ask(t, servers[f.kind], f.path, f.say(name, "hi", false))
		require.GreaterOrEqual(t, status, 400, body)
	}
}

// TestToolLoop answers a tool with the model's state returned as it came, which
// is the only way that is taken.
func TestToolLoop(t *testing.T) {
	t.Parallel()
	const ask = `{"role":"user","content":"#think\n#tool see {\"city\":\"Paris\"}"}`
	t.Run("anthropic", func(t *testing.T) {
		t.Parallel()
		f := faces["anthropic"]
		s := New(t, f.kind)
		head := `{"model":"claude-sonnet-4-5","max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":1024},"tools":[{"name":"see","input_schema":{"type":"object"}}],"messages":[` + ask
		_, _, body := f.ask(t, s, f.path, head+`]}`)
		require.Equal(t, "tool_use", at(body, "stop_reason"), body)
		_, _, body = f.ask(t, s, f.path, head+`,{"role":"assistant","content":`+canonical(at(body, "content"))+
			`},{"role":"user","content":[{"type":"tool_result","tool_use_id":`+canonical(at(body, "content.-1.id"))+`,"content":"sunny"}]}]}`)
		require.Equal(t, "see: sunny", at(body, "content.-1.text"), body)
		require.EqualValues(t, ReasoningTokens, at(body, "usage.output_tokens_details.thinking_tokens"))
		require.Equal(t, 1, s.LastStates())
	})
	t.Run("responses", func(t *testing.T) {
		t.Parallel()
		f := faces["responses"]
		s := New(t, f.kind)
		head := `{"model":"gpt-5","store":false,"include":["reasoning.encrypted_content"],"reasoning":{"summary":"auto"},"tools":[{"type":"function","name":"see"}],"input":[` + ask
		_, _, body := f.ask(t, s, f.path, head+`]}`)
		require.Equal(t, "reasoning", at(body, "output.0.type"), body)
		output, result := at(body, "output").([]any), `,{"type":"function_call_output","call_id":`+canonical(at(body, "output.-1.call_id"))+`,"output":"sunny"}]}`
		_, _, refused := f.ask(t, s, f.path, head+`,`+canonical(output[1])+result)
		require.Contains(t, refused, "without its required 'reasoning' item")
		_, _, body = f.ask(t, s, f.path, head+`,`+canonical(output[0])+`,`+canonical(output[1])+result)
		require.Equal(t, "see: sunny", f.text(body), body)
	})
	t.Run("responses, kept", func(t *testing.T) {
		t.Parallel()
		f := faces["responses"]
		s := New(t, f.kind)
		head := `{"model":"gpt-5","tools":[{"type":"function","name":"see"}]`
		_, _, body := f.ask(t, s, f.path, head+`,"input":[`+ask+`]}`)
		_, _, body = f.ask(t, s, f.path, head+`,"previous_response_id":`+canonical(at(body, "id"))+
			`,"input":[{"type":"function_call_output","call_id":`+canonical(at(body, "output.-1.call_id"))+`,"output":"sunny"}]}`)
		require.Equal(t, "see: sunny", f.text(body), body)
	})
	t.Run("gemini", func(t *testing.T) {
		t.Parallel()
		f := faces["gemini"]
		s := New(t, f.kind)
		head := `{"tools":[{"functionDeclarations":[{"name":"see"}]}],"contents":[{"role":"user","parts":[{"text":"#tools see {\"a\":1} | see {\"a\":2}"}]}`
		_, _, body := f.ask(t, s, f.path, head+`]}`)
		_, _, body = f.ask(t, s, f.path, head+`,`+canonical(at(body, "candidates.0.content"))+
			`,{"role":"user","parts":[{"functionResponse":{"name":"see","response":{"output":"sunny"}}},{"functionResponse":{"name":"see","response":{"error":"rain"}}}]}]}`)
		require.Equal(t, "see: sunny; see: error: rain", f.text(body), body)
		require.Equal(t, 1, s.LastStates())
	})
}
