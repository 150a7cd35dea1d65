package openaichat_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

func TestRead(t *testing.T) {
	type facts struct {
		Model       string
		Stream      bool
		UsageWanted bool
		MaxTokens   int64
	}
	for name, tc := range map[string]struct {
		codec dialect.Codec
		body  string
		want  facts
	}{
		"least":                               {openaichat.Chat, `{"model":"m","messages":[]}`, facts{Model: "m"}},
		"stream with usage":                   {openaichat.Chat, `{"model":"m","messages":[{}],"stream":true,"stream_options":{"include_usage":true}}`, facts{"m", true, true, 0}},
		"nulls":                               {openaichat.Chat, `{"model":"m","messages":[{}],"stream":null,"stream_options":null,"max_tokens":null,"temperature":null}`, facts{Model: "m"}},
		"escaped":                             {openaichat.Chat, `{"mod\u0065l":"\u006d","messages":[]}`, facts{Model: "m"}},
		"other case is other":                 {openaichat.Chat, `{"Model":"x","model":"m","MODEL":5,"messages":[]}`, facts{Model: "m"}},
		"both limits":                         {openaichat.Chat, `{"model":"m","messages":[],"max_tokens":5,"max_completion_tokens":7}`, facts{Model: "m", MaxTokens: 7}},
		"no limit by -1":                      {openaichat.Chat, `{"model":"m","messages":[],"max_tokens":-1}`, facts{Model: "m"}},
		"broken text is content's own affair": {openaichat.Chat, `{"model":"m","messages":[{"role":"user","content":"\ud800 ` + "\xff" + `"}]}`, facts{Model: "m"}},
		"completions":                         {openaichat.Completions, `{"model":"m","prompt":"x","max_tokens":16}`, facts{Model: "m", MaxTokens: 16}},
		"prompt of several":                   {openaichat.Completions, `{"model":"m","prompt":["x","y"]}`, facts{Model: "m"}},
		"embeddings":                          {openaichat.Embeddings, `{"model":"m","input":[1,2,3]}`, facts{Model: "m"}},
	} {
		t.Run(name, func(t *testing.T) {
			call, err := tc.codec.Read([]byte(tc.body))
			require.NoError(t, err)
			require.Equal(t, tc.want, facts{call.Model(), call.Stream(), call.UsageWanted(), call.MaxTokens()})
		})
	}
}

func TestReadRefuses(t *testing.T) {
	secret := strings.Repeat("secret", 100)
	for name, tc := range map[string]struct {
		codec          dialect.Codec
		body           string
		param, message string
	}{
		"empty":               {openaichat.Chat, ``, "", "the request body must be one JSON object: unexpected end at byte 0"},
		"array":               {openaichat.Chat, `[]`, "", "the request body must be one JSON object: expected an object at byte 0"},
		"bad JSON":            {openaichat.Chat, `{"model":"` + secret + `","messages":[}`, "", ""},
		"trailing garbage":    {openaichat.Chat, `{"model":"m","messages":[]}{}`, "", "the request body must be one JSON object: unexpected data after the value at byte 27"},
		"two models":          {openaichat.Chat, `{"model":"a","messages":[],"model":"b"}`, "", ""},
		"two models, escaped": {openaichat.Chat, `{"model":"a","messages":[],"mod\u0065l":"b"}`, "", ""},
		"bomb":                {openaichat.Chat, `{"model":"m","messages":` + strings.Repeat("[", 100_000), "", ""},
		"no model":            {openaichat.Chat, `{"messages":[]}`, "model", "model is required"},
		"model in other case": {openaichat.Chat, `{"Model":"m","messages":[]}`, "model", "model is required"},
		"null model":          {openaichat.Chat, `{"model":null,"messages":[]}`, "model", "model is required"},
		"number as model":     {openaichat.Chat, `{"model":5,"messages":[]}`, "model", "model must be a string"},
		"broken model":        {openaichat.Chat, `{"model":"\ud800","messages":[]}`, "model", "model must be a string"},
		"stream":              {openaichat.Chat, `{"model":"m","messages":[],"stream":"` + secret + `"}`, "stream", "stream must be a boolean"},
		"stream as number":    {openaichat.Chat, `{"model":"m","messages":[],"stream":1}`, "stream", "stream must be a boolean"},
		"temperature":         {openaichat.Chat, `{"model":"m","messages":[],"temperature":"hot"}`, "temperature", "temperature must be a number"},
		"max_tokens":          {openaichat.Chat, `{"model":"m","messages":[],"max_tokens":"5"}`, "max_tokens", "max_tokens must be an integer"},
		"fraction":            {openaichat.Chat, `{"model":"m","messages":[],"max_completion_tokens":1.5}`, "max_completion_tokens", "max_completion_tokens must be an integer"},
		"stream_options":      {openaichat.Chat, `{"model":"m","messages":[],"stream_options":[]}`, "stream_options", "stream_options must be an object"},
		"include_usage":       {openaichat.Chat, `{"model":"m","messages":[],"stream_options":{"include_usage":1}}`, "stream_options.include_usage", "stream_options.include_usage must be a boolean"},
		"include_usage twice": {openaichat.Chat, `{"model":"m","messages":[],"stream_options":{"include_usage":true,"include_usage":false}}`, "", ""},
		"no messages":         {openaichat.Chat, `{"model":"m"}`, "messages", "messages is required"},
		"null messages":       {openaichat.Chat, `{"model":"m","messages":null}`, "messages", "messages is required"},
		"messages as text":    {openaichat.Chat, `{"model":"m","messages":"hi"}`, "messages", "messages must be an array"},
		"no prompt":           {openaichat.Completions, `{"model":"m"}`, "prompt", "prompt is required"},
		"no input":            {openaichat.Embeddings, `{"model":"m"}`, "input", "input is required"},
		"input as object":     {openaichat.Embeddings, `{"model":"m","input":{}}`, "input", "input must be a string or an array"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tc.codec.Read([]byte(tc.body))
			var e *llm.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, llm.CauseInvalidRequest, e.Cause)
			require.Equal(t, tc.param, e.Param)
			if tc.message != "" {
				require.Equal(t, tc.message, e.Message)
			}
			require.NotContains(t, e.Error(), "secret")
			require.Less(t, len(e.Message), 200)
		})
	}
}

func TestPatch(t *testing.T) {
	half := new(0.5)
	for name, tc := range map[string]struct {
		codec dialect.Codec
		edits dialect.Edits
		body  string
		want  string
	}{
		"model":            {openaichat.Chat, dialect.Edits{Model: "up"}, `{"messages":[], "model" : "m" }`, `{"messages":[], "model" : "up" }`},
		"same model":       {openaichat.Chat, dialect.Edits{Model: "m"}, `{"model":"\u006d","messages":[]}`, `{"model":"\u006d","messages":[]}`},
		"escaped key":      {openaichat.Chat, dialect.Edits{Model: "up"}, `{"mod\u0065l":"m","messages":[]}`, `{"mod\u0065l":"up","messages":[]}`},
		"system prompt":    {openaichat.Chat, dialect.Edits{SystemPrompt: "Be \"kind\"\n"}, `{"model":"m","messages":[{"role":"system","content":"mine"}]}`, `{"model":"m","messages":[{"role":"system","content":"Be \"kind\"\n"},{"role":"system","content":"mine"}]}`},
		"no messages":      {openaichat.Chat, dialect.Edits{SystemPrompt: "x"}, `{"model":"m","messages":[ ]}`, `{"model":"m","messages":[{"role":"system","content":"x"} ]}`},
		"temperature":      {openaichat.Chat, dialect.Edits{Temperature: half}, `{"model":"m","messages":[]}`, `{"model":"m","messages":[],"temperature":0.5}`},
		"client's stays":   {openaichat.Chat, dialect.Edits{Temperature: half}, `{"model":"m","messages":[],"temperature":0}`, `{"model":"m","messages":[],"temperature":0}`},
		"null is none":     {openaichat.Chat, dialect.Edits{Temperature: half, MaxTokens: 9, MaxTokensField: "max_tokens"}, `{"model":"m","temperature":null,"messages":[],"max_tokens":null}`, `{"model":"m","temperature":0.5,"messages":[],"max_tokens":9}`},
		"cap added":        {openaichat.Chat, dialect.Edits{MaxTokens: 9}, `{"model":"m","messages":[]}`, `{"model":"m","messages":[],"max_completion_tokens":9}`},
		"cap by name":      {openaichat.Chat, dialect.Edits{MaxTokens: 9, MaxTokensField: "max_tokens"}, `{"model":"m","messages":[]}`, `{"model":"m","messages":[],"max_tokens":9}`},
		"cap lowers":       {openaichat.Chat, dialect.Edits{MaxTokens: 9, MaxTokensField: "max_completion_tokens"}, `{"model":"m","messages":[],"max_tokens":10}`, `{"model":"m","messages":[],"max_tokens":9}`},
		"cap lowers both":  {openaichat.Chat, dialect.Edits{MaxTokens: 9}, `{"max_tokens":10,"model":"m","messages":[],"max_completion_tokens":1e2}`, `{"max_tokens":9,"model":"m","messages":[],"max_completion_tokens":9}`},
		"less is kept":     {openaichat.Chat, dialect.Edits{MaxTokens: 9}, `{"model":"m","messages":[],"max_tokens":8}`, `{"model":"m","messages":[],"max_tokens":8}`},
		"no limit is more": {openaichat.Chat, dialect.Edits{MaxTokens: 9}, `{"model":"m","messages":[],"max_tokens":-1}`, `{"model":"m","messages":[],"max_tokens":9}`},
		"usage":            {openaichat.Chat, dialect.Edits{AskUsage: true}, `{"model":"m","messages":[],"stream":true}`, `{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}`},
		"usage, null":      {openaichat.Chat, dialect.Edits{AskUsage: true}, `{"model":"m","stream_options":null,"messages":[],"stream":true}`, `{"model":"m","stream_options":{"include_usage":true},"messages":[],"stream":true}`},
		"usage, empty":     {openaichat.Chat, dialect.Edits{AskUsage: true}, `{"model":"m","stream_options":{ },"messages":[],"stream":true}`, `{"model":"m","stream_options":{"include_usage":true },"messages":[],"stream":true}`},
		"usage, false":     {openaichat.Chat, dialect.Edits{AskUsage: true}, `{"model":"m","stream_options":{"a":[1],"include_usage":false},"messages":[],"stream":true}`, `{"model":"m","stream_options":{"a":[1],"include_usage":true},"messages":[],"stream":true}`},
		"usage, others":    {openaichat.Chat, dialect.Edits{AskUsage: true}, `{"model":"m","stream_options":{"include_obfuscation":false},"messages":[],"stream":true}`, `{"model":"m","stream_options":{"include_obfuscation":false,"include_usage":true},"messages":[],"stream":true}`},
		"usage, no stream": {openaichat.Chat, dialect.Edits{AskUsage: true}, `{"model":"m","messages":[],"stream":false}`, `{"model":"m","messages":[],"stream":false}`},
		"usage, was asked": {openaichat.Chat, dialect.Edits{AskUsage: true}, `{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}`, `{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}`},
		"numbers stay":     {openaichat.Chat, dialect.Edits{Model: "up"}, `{"model":"m","seed":12345678901234567890,"x":1e400,"messages":[]}`, `{"model":"up","seed":12345678901234567890,"x":1e400,"messages":[]}`},
		"completions":      {openaichat.Completions, dialect.Edits{Model: "up", MaxTokens: 9, Temperature: half}, `{"model":"m","prompt":"x"}`, `{"model":"up","prompt":"x","temperature":0.5,"max_tokens":9}`},
		"embeddings":       {openaichat.Embeddings, dialect.Edits{Model: "up", MaxTokens: 9, Temperature: half, AskUsage: true}, `{"model":"m","input":"x"}`, `{"model":"up","input":"x"}`},
		"all at once":      {openaichat.Chat, dialect.Edits{Model: "up", SystemPrompt: "s", Temperature: half, MaxTokens: 9, AskUsage: true}, `{"stream":true,"messages":[{"role":"user","content":"hi"}],"model":"m"}`, `{"stream":true,"messages":[{"role":"system","content":"s"},{"role":"user","content":"hi"}],"model":"up","temperature":0.5,"max_completion_tokens":9,"stream_options":{"include_usage":true}}`},
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(tc.body)
			call, err := tc.codec.Read(body)
			require.NoError(t, err)
			got, err := call.Patch(tc.edits)
			require.NoError(t, err)
			require.Equal(t, tc.want, string(got))
			require.Equal(t, tc.body, string(body), "the client's body stays")
			if tc.want == tc.body {
				require.Same(t, &body[0], &got[0], "no change, no copy")
			}
		})
	}
}

func TestSystemPromptNeedsChat(t *testing.T) {
	for body, codec := range map[string]dialect.Codec{
		`{"model":"m","prompt":"x"}`: openaichat.Completions,
		`{"model":"m","input":"x"}`:  openaichat.Embeddings,
	} {
		call, err := codec.Read([]byte(body))
		require.NoError(t, err)
		_, err = call.Patch(dialect.Edits{SystemPrompt: "x"})
		var e *llm.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "model", e.Param)
		require.Equal(t, 400, e.Status())
	}
}

var allEdits = dialect.Edits{
	Model: "upstream/model-1", SystemPrompt: "Be brief.", Temperature: new(0.25), MaxTokens: 7,
	MaxTokensField: "max_completion_tokens", AskUsage: true,
}

// requirePatched checks that a body with all edits says what it said before but
// for the edits, and that its bytes outside of them are the same.
func requirePatched(t *testing.T, codec dialect.Codec, body []byte) {
	t.Helper()
	call, err := codec.Read(body)
	require.NoError(t, err)
	same, err := call.Patch(dialect.Edits{})
	require.NoError(t, err)
	require.Same(t, &body[0], &same[0])

	edits := allEdits
	if codec.Name() != dialect.OpenAIChat {
		edits.SystemPrompt = ""
	}
	got, err := call.Patch(edits)
	require.NoError(t, err)
	require.Equal(t, wantPatched(t, codec, call, body, edits), parse(t, got))

	again, err := codec.Read(got)
	require.NoError(t, err)
	require.Equal(t, edits.Model, again.Model())
	require.Equal(t, call.Stream(), again.Stream())

	// What is common at the front and at the back, and the client's messages,
	// which are in one piece, must be the very bytes.
	if codec.Name() == dialect.OpenAIChat {
		raw := func(b []byte) []byte {
			var v struct{ Messages json.RawMessage }
			require.NoError(t, json.Unmarshal(b, &v))
			return v.Messages[1:]
		}
		require.True(t, bytes.HasSuffix(raw(got), bytes.TrimLeft(raw(body), " ")))
	}
}

// wantPatched makes the edits the slow way.
func wantPatched(t *testing.T, codec dialect.Codec, call dialect.Call, body []byte, edits dialect.Edits) map[string]any {
	want := parse(t, body)
	want["model"] = edits.Model
	if edits.SystemPrompt != "" {
		want["messages"] = append([]any{map[string]any{"role": "system", "content": edits.SystemPrompt}}, want["messages"].([]any)...)
	}
	if codec.Name() == dialect.OpenAIEmbeddings {
		return want
	}
	if want["temperature"] == nil {
		want["temperature"] = json.Number("0.25")
	}
	limited := false
	for _, name := range []string{"max_tokens", "max_completion_tokens"} {
		if n, ok := want[name].(json.Number); ok {
			limited = true
			if f, err := n.Float64(); err == nil && (f < 0 || f > 7) {
				want[name] = json.Number("7")
			}
		}
	}
	if !limited {
		want["max_completion_tokens"] = json.Number("7")
	}
	if call.Stream() && !call.UsageWanted() {
		options, _ := want["stream_options"].(map[string]any)
		options = maps.Clone(options)
		if options == nil {
			options = map[string]any{}
		}
		options["include_usage"] = true
		want["stream_options"] = options
	}
	return want
}

func parse(t *testing.T, body []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v map[string]any
	require.NoError(t, d.Decode(&v))
	return v
}

func TestRecordedRequests(t *testing.T) {
	n := 0
	for _, c := range recorded(t) {
		if c.Request == nil {
			continue
		}
		n++
		t.Run(c.Name, func(t *testing.T) {
			call, err := codecs[c.API].Read(c.Request)
			require.NoError(t, err)
			require.Equal(t, c.Stream, call.Stream())
			if c.Status == 200 {
				require.NotEmpty(t, call.AppendText(nil, 1<<20))
			}
			requirePatched(t, codecs[c.API], c.Request)
		})
	}
	require.Greater(t, n, 50)
}

func TestAppendText(t *testing.T) {
	body := `{"model":"m","messages":[
		{"role":"system","content":"Be kind."},
		{"role":"user","name":"ann","content":[{"type":"text","text":"What is\nthis?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},
		{"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}}]},
		{"role":"tool","tool_call_id":"1","content":"caf\u00e9"}
	],"tools":[{"type":"function"}],"user":"u"}`
	call, err := openaichat.Chat.Read([]byte(body))
	require.NoError(t, err)
	want := `Be kind.
ann
What is
this?
[{"id":"1","function":{"name":"f","arguments":"{}"}}]
café
[{"type":"function"}]
`
	require.Empty(t, cmp.Diff(want, string(call.AppendText(nil, 1<<20))))
	for limit := range len(want) {
		require.Equal(t, "x"+want[:limit], string(call.AppendText([]byte("x"), limit)))
	}
	for body, want := range map[string]string{
		`{"model":"m","prompt":"one"}`:         "one\n",
		`{"model":"m","prompt":["one","two"]}`: "one\ntwo\n",
		`{"model":"m","prompt":[1,22]}`:        "1\n22\n",
		`{"model":"m","prompt":[[1],[22]]}`:    "[1]\n[22]\n",
	} {
		call, err := openaichat.Completions.Read([]byte(body))
		require.NoError(t, err)
		require.Equal(t, want, string(call.AppendText(nil, 100)))
	}
}

func FuzzReadAndPatch(f *testing.F) {
	for _, c := range recordedSeeds(f) {
		if len(c.Request) < 4000 {
			f.Add(c.Request)
		}
	}
	f.Add([]byte(`{"model":"m","messages":[],"stream":true,"stream_options":{"x":1}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, codec := range codecs {
			call, err := codec.Read(body)
			if err != nil {
				var e *llm.Error
				require.ErrorAs(t, err, &e)
				require.Less(t, len(e.Message), 200)
				continue
			}
			require.LessOrEqual(t, len(call.AppendText(nil, 50)), 50)
			if !nestedTwice(body) {
				requirePatched(t, codec, bytes.Clone(body))
			}
		}
	})
}

// nestedTwice says that the slow way above cannot do a body: names that come
// twice in a nested object, or that differ in case only, mean different things
// to encoding/json.
func nestedTwice(body []byte) bool {
	var v map[string]json.RawMessage
	if json.Unmarshal(body, &v) != nil {
		return true
	}
	names := slices.Collect(maps.Keys(v))
	for _, name := range names {
		if name != "messages" && strings.EqualFold(name, "messages") {
			return true
		}
	}
	return false
}

func recordedSeeds(f *testing.F) []upstreamtest.Case {
	return upstreamtest.Cases(f, upstreamtest.OfAPI("openai.chat", "openai.completions", "openai.embeddings"))
}
