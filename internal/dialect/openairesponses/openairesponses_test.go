package openairesponses_test

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openairesponses"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

var codec = openairesponses.Responses

func recorded(t testing.TB) []upstreamtest.Case {
	return upstreamtest.Cases(t, upstreamtest.OfAPI("openai.responses"))
}

func meter(c upstreamtest.Case, split upstreamtest.Split) (dialect.Reading, []dialect.Mark) {
	m := codec.NewMeter()
	if !c.Stream {
		m.Body(c.Body)
		return m.Reading(), nil
	}
	var s sse.Scanner
	var marks []dialect.Mark
	for _, piece := range split.Pieces(c.Body) {
		_, _ = s.Write(piece)
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			marks = append(marks, m.Event(e))
		}
	}
	return m.Reading(), marks
}

func TestRecordedAnswers(t *testing.T) {
	for _, c := range recorded(t) {
		if c.Status != 200 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			got, marks := meter(c, upstreamtest.Whole)
			for _, split := range []upstreamtest.Split{upstreamtest.PerEvent, upstreamtest.PerByte, upstreamtest.Random} {
				splitGot, splitMarks := meter(c, split)
				require.Equal(t, got, splitGot, split.Name)
				require.Equal(t, marks, splitMarks, split.Name)
			}
			broken := strings.Contains(c.Name, "error-mid-stream")
			require.Equal(t, broken, got.Err != nil)
			require.Equal(t, !broken, got.Complete)
			requireUsage(t, c, got)
			require.Equal(t, c.ResponseModel, got.Model)
			require.NotEqual(t, llm.FinishUnknown, got.Finish)
			if c.Stream {
				terminal := 0
				for _, mark := range marks {
					if mark.Terminal {
						terminal++
					}
				}
				require.Positive(t, terminal)
			}
			if !broken && c.Usage.Output > 50 && !c.Is("image_out") {
				require.Positive(t, got.TextBytes)
			}
		})
	}
}

func requireUsage(t *testing.T, c upstreamtest.Case, r dialect.Reading) {
	t.Helper()
	require.Equal(t, c.Usage != nil, r.Reported)
	if c.Usage == nil {
		return
	}
	want := *c.Usage
	require.Equal(t, want.Input, r.Usage.InputTotal())
	require.Equal(t, want.Output, r.Usage.OutputTotal())
	if want.Cached != nil {
		require.Equal(t, *want.Cached, r.Usage.Cached())
	}
	if want.CacheCreation != nil {
		require.Equal(t, *want.CacheCreation, r.Usage.CacheWrite())
	}
	if want.Reasoning != nil {
		require.Equal(t, *want.Reasoning, r.Usage.Reasoning)
	}
	if want.CostUSD == nil {
		require.Empty(t, r.CostUSD)
		return
	}
	cost, err := strconv.ParseFloat(r.CostUSD, 64)
	require.NoError(t, err)
	require.InDelta(t, *want.CostUSD, cost, math.Abs(*want.CostUSD)*1e-12)
}

func TestRecordedErrors(t *testing.T) {
	want := map[string]llm.Cause{
		"openai/openai.responses/error-400-context-length": llm.CauseUpstreamRejected,
		"openai/openai.responses/error-400-model":          llm.CauseUpstreamRejected,
		"openai/openai.responses/error-401":                llm.CauseUpstreamAuth,
		"xai/openai.responses/error-400-key":               llm.CauseUpstreamAuth,
	}
	for _, c := range recorded(t) {
		if c.Status == 200 {
			continue
		}
		e := codec.Error(c.Status, c.Header, c.Body)
		require.Equal(t, want[c.Name], e.Cause, c.Name)
		require.NotContains(t, e.Message, "console.x.ai")
		require.NotContains(t, e.Message, "invalid-key")
	}
}

// Cut after any event but the last ones, no stream looks whole.
func TestCutStreams(t *testing.T) {
	for _, c := range recorded(t) {
		if !c.Stream || c.Status != 200 {
			continue
		}
		var s sse.Scanner
		_, _ = s.Write(c.Body)
		m := codec.NewMeter()
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			mark := m.Event(e)
			require.False(t, !mark.Terminal && m.Reading().Complete && string(e.Data) != "[DONE]", c.Name)
			if mark.Terminal {
				break
			}
		}
	}
}

func TestRead(t *testing.T) {
	call, err := codec.Read([]byte(`{"model":"m","input":"hi","stream":true,"max_output_tokens":16}`))
	require.NoError(t, err)
	require.Equal(t, "m", call.Model())
	require.True(t, call.Stream())
	require.True(t, call.UsageWanted())
	require.EqualValues(t, 16, call.MaxTokens())
	for _, good := range []string{
		`{"model":"m","prompt":{"id":"p"}}`, `{"model":"m","previous_response_id":"r"}`, `{"model":"m","conversation":"c"}`,
		`{"model":"m","input":[],"instructions":null,"max_output_tokens":null,"temperature":null,"stream":null}`,
	} {
		_, err := codec.Read([]byte(good))
		require.NoError(t, err, good)
	}
	for body, param := range map[string]string{
		`{"input":"hi"}`:                                        "model",
		`{"model":"m"}`:                                         "input",
		`{"model":"m","input":5}`:                               "input",
		`{"model":"m","input":{}}`:                              "input",
		`{"model":5,"input":"hi"}`:                              "model",
		`{"model":"m","input":"hi","stream":"yes"}`:             "stream",
		`{"model":"m","input":"hi","instructions":["x"]}`:       "instructions",
		`{"model":"m","input":"hi","temperature":"x"}`:          "temperature",
		`{"model":"m","input":"hi","max_output_tokens":"many"}`: "max_output_tokens",
		`{"model":"m","input":"hi","model":"n"}`:                "",
		`{"model":"m","input":"hi"`:                             "",
	} {
		_, err := codec.Read([]byte(body))
		var e *llm.Error
		require.ErrorAs(t, err, &e, body)
		require.Equal(t, llm.CauseInvalidRequest, e.Cause)
		require.Equal(t, param, e.Param)
	}
}

func TestPatch(t *testing.T) {
	for name, tc := range map[string]struct {
		edits      dialect.Edits
		body, want string
	}{
		"nothing":           {dialect.Edits{AskUsage: true}, `{"model":"m","input":"x","stream":true}`, `{"model":"m","input":"x","stream":true}`},
		"model":             {dialect.Edits{Model: "up"}, `{"input":"x", "model":"m"}`, `{"input":"x", "model":"up"}`},
		"instructions":      {dialect.Edits{SystemPrompt: "Be kind."}, `{"model":"m","input":"x"}`, `{"model":"m","input":"x","instructions":"Be kind."}`},
		"null instructions": {dialect.Edits{SystemPrompt: "Be kind."}, `{"model":"m","instructions":null,"input":"x"}`, `{"model":"m","instructions":"Be kind.","input":"x"}`},
		"before client's":   {dialect.Edits{SystemPrompt: "Be kind."}, `{"model":"m","instructions":"Be \"brief\".","input":"x"}`, `{"model":"m","instructions":"Be kind.\n\nBe \"brief\".","input":"x"}`},
		"temperature":       {dialect.Edits{Temperature: new(0.5)}, `{"model":"m","input":"x"}`, `{"model":"m","input":"x","temperature":0.5}`},
		"client's stays":    {dialect.Edits{Temperature: new(0.5)}, `{"model":"m","input":"x","temperature":1}`, `{"model":"m","input":"x","temperature":1}`},
		"cap":               {dialect.Edits{MaxTokens: 9, MaxTokensField: "max_tokens"}, `{"model":"m","input":"x"}`, `{"model":"m","input":"x","max_output_tokens":9}`},
		"cap lowers":        {dialect.Edits{MaxTokens: 9}, `{"model":"m","input":"x","max_output_tokens":10}`, `{"model":"m","input":"x","max_output_tokens":9}`},
		"less stays":        {dialect.Edits{MaxTokens: 9}, `{"model":"m","input":"x","max_output_tokens":8}`, `{"model":"m","input":"x","max_output_tokens":8}`},
	} {
		t.Run(name, func(t *testing.T) {
			call, err := codec.Read([]byte(tc.body))
			require.NoError(t, err)
			got, err := call.Patch(tc.edits)
			require.NoError(t, err)
			require.Equal(t, tc.want, string(got))
		})
	}
}

var allEdits = dialect.Edits{Model: "up", SystemPrompt: "Be brief.", Temperature: new(0.25), MaxTokens: 7, AskUsage: true}

// requirePatched checks that a body with all edits says what it said before but
// for the edits.
func requirePatched(t *testing.T, body []byte) {
	t.Helper()
	call, err := codec.Read(body)
	require.NoError(t, err)
	same, err := call.Patch(dialect.Edits{})
	require.NoError(t, err)
	require.Same(t, &body[0], &same[0])

	want := parse(t, body)
	want["model"] = "up"
	if own, _ := want["instructions"].(string); own != "" {
		want["instructions"] = "Be brief.\n\n" + own
	} else {
		want["instructions"] = "Be brief."
	}
	if want["temperature"] == nil {
		want["temperature"] = json.Number("0.25")
	}
	if n, ok := want["max_output_tokens"].(json.Number); ok {
		if f, _ := n.Float64(); f < 0 || f > 7 {
			want["max_output_tokens"] = json.Number("7")
		}
	} else {
		want["max_output_tokens"] = json.Number("7")
	}
	got, err := call.Patch(allEdits)
	require.NoError(t, err)
	require.Equal(t, want, parse(t, got))
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
			call, err := codec.Read(c.Request)
			require.NoError(t, err)
			require.Equal(t, c.Stream, call.Stream())
			require.NotEmpty(t, call.AppendText(nil, 1<<20))
			requirePatched(t, c.Request)
		})
	}
	require.Greater(t, n, 20)
}

func TestAppendText(t *testing.T) {
	call, err := codec.Read([]byte(`{"model":"m","instructions":"Be kind.","input":[
		{"role":"user","content":[{"type":"input_text","text":"hi"},{"type":"input_image","image_url":"data:x"}]},
		{"type":"function_call","name":"f","arguments":"{}"},{"type":"function_call_output","output":"42"},
		{"type":"reasoning","summary":[{"text":"hm"}],"encrypted_content":"AAAA"}],"tools":[]}`))
	require.NoError(t, err)
	want := "Be kind.\nhi\nf\n{}\n42\nhm\n[]\n"
	require.Equal(t, want, string(call.AppendText(nil, 1000)))
	require.Equal(t, want[:10], string(call.AppendText(nil, 10)))
}

func TestEvents(t *testing.T) {
	for name, tc := range map[string]struct {
		data string
		want dialect.Mark
	}{
		"created":   {`{"type":"response.created","response":{"model":"m","status":"in_progress","output":[],"usage":null,"error":null}}`, dialect.Mark{}},
		"text":      {`{"type":"response.output_text.delta","delta":"a"}`, dialect.Mark{Content: true}},
		"reasoning": {`{"type":"response.reasoning_summary_text.delta","delta":"a"}`, dialect.Mark{Content: true}},
		"tool":      {`{"delta":"{","type":"response.function_call_arguments.delta"}`, dialect.Mark{Content: true}},
		"empty":     {`{"type":"response.output_text.delta","delta":""}`, dialect.Mark{}},
		"done item": {`{"type":"response.output_text.done","text":"a"}`, dialect.Mark{}},
		"completed": {`{"type":"response.completed","response":{"status":"completed","output":[]}}`, dialect.Mark{Terminal: true}},
		"failed":    {`{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"x"}}}`, dialect.Mark{Terminal: true, Failed: true}},
		"error":     {`{"type":"error","code":"x","message":"y"}`, dialect.Mark{Failed: true}},
		"other's":   {`{"error":{"message":"y"}}`, dialect.Mark{Failed: true}},
		"done":      {`[DONE]`, dialect.Mark{}},
		"not JSON":  {`oops`, dialect.Mark{}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, codec.NewMeter().Event(sse.Event{Data: []byte(tc.data)}))
		})
	}
	require.Zero(t, codec.NewMeter().Event(sse.Event{Raw: []byte(":\n\n")}))
}

func TestFinish(t *testing.T) {
	for body, want := range map[string]llm.FinishReason{
		`{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}]}`: llm.FinishStop,
		`{"status":"completed","output":[{"type":"reasoning"},{"type":"function_call","name":"f"}]}`:         llm.FinishToolCalls,
		`{"status":"completed","output":[{"type":"web_search_call"},{"type":"message"}]}`:                    llm.FinishStop,
		`{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[]}`:            llm.FinishLength,
		`{"status":"incomplete","incomplete_details":{"reason":"content_filter"},"output":[]}`:               llm.FinishFilter,
		`{"status":"incomplete","incomplete_details":null,"output":[]}`:                                      llm.FinishOther,
		`{"status":"cancelled","output":[]}`:                                                                 llm.FinishOther,
		`{"status":"queued","output":[]}`:                                                                    llm.FinishUnknown,
	} {
		m := codec.NewMeter()
		m.Body([]byte(body))
		r := m.Reading()
		require.True(t, r.Complete, body)
		require.Equal(t, want, r.Finish, body)
	}
	for body, cause := range map[string]llm.Cause{
		`{"status":"failed","output":[],"error":{"code":"rate_limit_exceeded","message":"x"}}`: llm.CauseUpstreamRateLimited,
		`{"status":"failed","output":[]}`: llm.CauseUpstreamError,
		`<html>`:                          llm.CauseUpstreamInvalid,
		`{}`:                              llm.CauseUpstreamInvalid,
		``:                                llm.CauseUpstreamInvalid,
	} {
		m := codec.NewMeter()
		m.Body([]byte(body))
		r := m.Reading()
		require.False(t, r.Complete, body)
		require.Equal(t, cause, r.Err.Cause, body)
	}
}

func TestErrorEvent(t *testing.T) {
	text := codec.AppendErrorEvent(nil, &llm.Error{Cause: llm.CauseUpstreamCut, Message: "broke off"}, "req_1")
	require.Equal(t, "event: error\n"+`data: {"type":"error","error":{"message":"broke off","type":"server_error","param":null,"code":"upstream_cut"},"request_id":"req_1"}`+"\n\n", string(text))
	m := codec.NewMeter()
	var s sse.Scanner
	_, _ = s.Write(text)
	e, ok := s.Next()
	require.True(t, ok)
	require.True(t, m.Event(e).Failed)
}

func FuzzReadAndPatch(f *testing.F) {
	for _, c := range recorded(f) {
		if len(c.Request) < 4000 {
			f.Add(c.Request)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		call, err := codec.Read(body)
		if err != nil {
			var e *llm.Error
			require.ErrorAs(t, err, &e)
			return
		}
		require.LessOrEqual(t, len(call.AppendText(nil, 50)), 50)
		requirePatched(t, body)
	})
}

func FuzzMeter(f *testing.F) {
	for _, c := range recorded(f) {
		if len(c.Body) < 4000 {
			f.Add(c.Body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m := codec.NewMeter()
		var s sse.Scanner
		_, _ = s.Write(body)
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			m.Event(e)
		}
		requireSane(t, m.Reading())
		m = codec.NewMeter()
		m.Body(body)
		requireSane(t, m.Reading())
		if e := codec.Error(400, http.Header{}, body); e.Message == "" {
			t.Fatal("an error without a message")
		}
	})
}

func requireSane(t *testing.T, r dialect.Reading) {
	t.Helper()
	u := r.Usage
	for _, n := range []int64{u.Input, u.CacheRead, u.CacheWrite5m, u.Output, u.Reasoning, u.OutputImage, u.OutputAudio} {
		require.GreaterOrEqual(t, n, int64(0))
	}
	require.False(t, r.Complete && r.Err != nil)
}

func BenchmarkMeter(b *testing.B) {
	e := sse.Event{Data: []byte(`{"type":"response.output_text.delta","sequence_number":12,"item_id":"msg_686eebaa2be8819c8f2d2d2f1d8e1f0a0b1c2d3e4f5a6b7c","output_index":0,"content_index":0,"delta":"Hello","logprobs":[],"obfuscation":"abcdefghijk"}`)}
	m := codec.NewMeter()
	b.ReportAllocs()
	for b.Loop() {
		m.Event(e)
	}
}
