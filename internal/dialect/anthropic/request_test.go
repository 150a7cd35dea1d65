package anthropic_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/anthropic"
	"github.com/financecommander/tollgate/internal/llm"
)

func TestRead(t *testing.T) {
	type facts struct {
		Model     string
		Stream    bool
		MaxTokens int64
	}
	for body, want := range map[string]facts{
		`{"model":"m","max_tokens":5,"messages":[]}`:                                                           {"m", false, 5},
		`{"model":"m","max_tokens":5,"messages":[],"stream":true}`:                                             {"m", true, 5},
		`{"model":"m","max_tokens":0,"messages":[{}],"stream":null,"temperature":null,"thinking":null}`:        {"m", false, 0},
		`{"mod\u0065l":"\u006d","max_tokens":1e2,"messages":[],"MODEL":5,"system":[{"type":"text","text":1}]}`: {"m", false, 100},
	} {
		call, err := anthropic.Messages.Read([]byte(body))
		require.NoError(t, err, body)
		require.Equal(t, want, facts{call.Model(), call.Stream(), call.MaxTokens()}, body)
		require.True(t, call.UsageWanted())
	}
	call, err := anthropic.Count.Read([]byte(`{"model":"m","messages":[]}`))
	require.NoError(t, err)
	require.Equal(t, "m", call.Model())
}

func TestReadRefuses(t *testing.T) {
	for body, want := range map[string]struct{ param, message string }{
		``:   {"", "the request body must be one JSON object: unexpected end at byte 0"},
		`[]`: {"", "the request body must be one JSON object: expected an object at byte 0"},
		`{"model":"a","messages":[],"max_tokens":1,"model":"b"}`:                 {"", "the request body must be one JSON object: a member comes twice, its second value begins at byte 50"},
		`{"messages":[],"max_tokens":1}`:                                         {"model", "model: is required"},
		`{"model":5,"messages":[],"max_tokens":1}`:                               {"model", "model: must be a string"},
		`{"model":"m","max_tokens":1}`:                                           {"messages", "messages: is required"},
		`{"model":"m","messages":"hi","max_tokens":1}`:                           {"messages", "messages: must be an array"},
		`{"model":"m","messages":[]}`:                                            {"max_tokens", "max_tokens: is required"},
		`{"model":"m","messages":[],"max_tokens":"5"}`:                           {"max_tokens", "max_tokens: must be an integer"},
		`{"model":"m","messages":[],"max_tokens":-5}`:                            {"max_tokens", "max_tokens: must not be negative"},
		`{"model":"m","messages":[],"max_tokens":1,"stream":1}`:                  {"stream", "stream: must be a boolean"},
		`{"model":"m","messages":[],"max_tokens":1,"system":{}}`:                 {"system", "system: must be a string or an array"},
		`{"model":"m","messages":[],"max_tokens":1,"thinking":1}`:                {"thinking", "thinking: must be an object"},
		`{"model":"m","messages":[],"max_tokens":1,"temperature":"hot"}`:         {"temperature", "temperature: must be a number"},
		`{"model":"m","messages":[],"max_tokens":1,"top_p":[]}`:                  {"top_p", "top_p: must be a number"},
		`{"model":"m","max_tokens":1,"messages":` + strings.Repeat("[", 100_000): {"", ""},
	} {
		_, err := anthropic.Messages.Read([]byte(body))
		var e *llm.Error
		require.ErrorAs(t, err, &e, body)
		require.Equal(t, llm.CauseInvalidRequest, e.Cause)
		require.Equal(t, want.param, e.Param)
		if want.message != "" {
			require.Equal(t, want.message, e.Message)
		}
	}
}

func TestPatch(t *testing.T) {
	half := new(0.5)
	for name, tc := range map[string]struct {
		edits dialect.Edits
		body  string // without what all have
		want  string
	}{
		"nothing":             {dialect.Edits{}, `"messages":[]`, `"messages":[]`},
		"asks usage anyway":   {dialect.Edits{AskUsage: true, MaxTokensField: "max_tokens"}, `"messages":[],"stream":true`, `"messages":[],"stream":true`},
		"prompt":              {dialect.Edits{SystemPrompt: "Be \"kind\"\n"}, `"messages":[]`, `"messages":[],"system":"Be \"kind\"\n"`},
		"prompt, null":        {dialect.Edits{SystemPrompt: "x"}, `"system":null,"messages":[]`, `"system":"x","messages":[]`},
		"prompt, empty":       {dialect.Edits{SystemPrompt: "x"}, `"system":"","messages":[]`, `"system":"x","messages":[]`},
		"prompt, text":        {dialect.Edits{SystemPrompt: "a\"b"}, `"system": "mine\u0041" ,"messages":[]`, `"system": "a\"b\n\nmine\u0041" ,"messages":[]`},
		"prompt, blocks":      {dialect.Edits{SystemPrompt: "x"}, `"system":[ {"type":"text","text":"mine","cache_control":{"type":"ephemeral"}}],"messages":[]`, `"system":[{"type":"text","text":"x"}, {"type":"text","text":"mine","cache_control":{"type":"ephemeral"}}],"messages":[]`},
		"prompt, no blocks":   {dialect.Edits{SystemPrompt: "x"}, `"system":[ ],"messages":[]`, `"system":[{"type":"text","text":"x"} ],"messages":[]`},
		"temperature":         {dialect.Edits{Temperature: half}, `"messages":[]`, `"messages":[],"temperature":0.5`},
		"temperature, high":   {dialect.Edits{Temperature: new(1.5)}, `"messages":[]`, `"messages":[],"temperature":1`},
		"client's stays":      {dialect.Edits{Temperature: half}, `"messages":[],"temperature":0`, `"messages":[],"temperature":0`},
		"top_p stays":         {dialect.Edits{Temperature: half}, `"messages":[],"top_p":0.9`, `"messages":[],"top_p":0.9`},
		"thinking":            {dialect.Edits{Temperature: half}, `"messages":[],"thinking":{"type":"adaptive"}`, `"messages":[],"thinking":{"type":"adaptive"}`},
		"no thinking":         {dialect.Edits{Temperature: half}, `"messages":[],"thinking":{"type":"disabled"}`, `"messages":[],"thinking":{"type":"disabled"},"temperature":0.5`},
		"cap":                 {dialect.Edits{MaxTokens: 2000}, `"messages":[],"max_tokens":3000`, `"messages":[],"max_tokens":2000`},
		"cap is above":        {dialect.Edits{MaxTokens: 4000}, `"messages":[],"max_tokens":3000`, `"messages":[],"max_tokens":3000`},
		"cap, thinking":       {dialect.Edits{MaxTokens: 2000}, `"messages":[],"max_tokens":3000,"thinking":{"type":"enabled", "budget_tokens":2500}`, `"messages":[],"max_tokens":2000,"thinking":{"type":"enabled", "budget_tokens":1999}`},
		"cap, small thinking": {dialect.Edits{MaxTokens: 2000}, `"messages":[],"max_tokens":3000,"thinking":{"type":"enabled","budget_tokens":1500}`, `"messages":[],"max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":1500}`},
	} {
		t.Run(name, func(t *testing.T) {
			around := func(members string) string {
				if !strings.Contains(members, "max_tokens\"") {
					members = `"max_tokens":9,` + members
				}
				return `{ "model" : "m",` + members + `}`
			}
			body := around(tc.body)
			call, err := anthropic.Messages.Read([]byte(body))
			require.NoError(t, err)
			got, err := call.Patch(tc.edits)
			require.NoError(t, err)
			require.Equal(t, around(tc.want), string(got))

			tc.edits.Model = "claude-x"
			got, err = call.Patch(tc.edits)
			require.NoError(t, err)
			if tc.edits.Temperature == nil { // a new model's sampling is its own
				require.Equal(t, strings.Replace(around(tc.want), `"m"`, `"claude-x"`, 1), string(got))
			}
			require.Equal(t, body, string(must(call.Patch(dialect.Edits{}))))
		})
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestPatchKnowsModels(t *testing.T) {
	for model, want := range map[string]bool{
		"claude-3-haiku-20240307": true, "claude-sonnet-4-5": true, "claude-opus-4-6": true, "deepseek-chat": true,
		"claude-opus-4-7": false, "claude-sonnet-5": false, "claude-fable-5": false, "claude-mythos-preview": false,
	} {
		call, err := anthropic.Messages.Read([]byte(`{"model":"specialist","max_tokens":5,"messages":[]}`))
		require.NoError(t, err)
		body, err := call.Patch(dialect.Edits{Model: model, Temperature: new(0.5)})
		require.NoError(t, err)
		require.Equal(t, want, strings.Contains(string(body), "temperature"), model)
	}
}

func TestPatchCount(t *testing.T) {
	call, err := anthropic.Count.Read([]byte(`{"model":"m","messages":[]}`))
	require.NoError(t, err)
	body, err := call.Patch(dialect.Edits{Model: "up", SystemPrompt: "x", Temperature: new(0.5), MaxTokens: 5})
	require.NoError(t, err)
	require.JSONEq(t, `{"model":"up","messages":[],"system":"x"}`, string(body))
}

func TestAppendText(t *testing.T) {
	call, err := anthropic.Messages.Read([]byte(`{"model":"m","max_tokens":5,"system":[{"type":"text","text":"S"}],"messages":[
		{"role":"user","content":"A"},
		{"role":"assistant","content":[{"type":"thinking","thinking":"T","signature":"xx"},{"type":"text","text":"B"},{"type":"tool_use","id":"1","name":"n","input":{"a":1}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"R"}]},
			{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},
			{"type":"document","title":"D","source":{"type":"text","media_type":"text/plain","data":"E"}},
			{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"AAAA"}}]}],
		"tools":[{"name":"n"}]}`))
	require.NoError(t, err)
	want := "S\nA\nT\nB\n{\"a\":1}\nR\nD\nE\n[{\"name\":\"n\"}]\n"
	require.Equal(t, want, string(call.AppendText(nil, 1000)))
	require.Equal(t, "x"+want[:7], string(call.AppendText([]byte("x"), 7)))
	require.Empty(t, call.AppendText(nil, 0))
}
