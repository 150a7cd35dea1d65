package openairesponses_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openairesponses"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

var (
	signature = &llm.Opaque{Format: dialect.AnthropicMessages, Model: "claude", Value: "sig"}
	redacted  = &llm.Opaque{Format: dialect.AnthropicMessages, Model: "claude", Value: "red"}
	callState = &llm.Opaque{Format: dialect.Gemini, Model: "gemini", Value: "call"}
	textState = &llm.Opaque{Format: dialect.Gemini, Model: "gemini", Value: "text"}
)

// foreignAnswer has all that another format's answer may have.
func foreignAnswer() *llm.Answer {
	common := func(o *llm.Opaque) llm.Common { return llm.Common{Opaque: o} }
	return &llm.Answer{
		ID: "msg_bdrk_1", Model: "claude", Created: 99, Reported: true,
		Usage: llm.Usage{Input: 10, CacheRead: 5, CacheWrite5m: 3, CacheWrite1h: 1, Output: 7, Reasoning: 2, InputAudio: 4, OutputImage: 6},
		Choices: []llm.Choice{{
			Reason: llm.FinishToolCalls,
			Parts: []llm.Part{
				&llm.Thinking{Common: common(signature), Text: "let me\nthink"},
				&llm.Thinking{Common: common(redacted), Redacted: true},
				&llm.Thinking{Text: "unproven"},
				&llm.Text{Text: "Hello", Citations: []llm.Citation{{URL: "https://x", Title: "t", Start: 1, End: 2}, {Title: "a document"}}},
				&llm.Text{Common: common(textState), Text: " world"},
				&llm.Refusal{Text: "no"},
				&llm.ToolCall{Common: common(callState), ID: "call_1", Name: "f", Arguments: `{"a":"é"}`},
				&llm.ToolCall{ID: "call_2", Name: "g", Arguments: "free", Custom: true},
				&llm.Media{Kind: llm.MediaImage, MIME: "image/png", Data: "AAAA"},
				&llm.NativePart{Native: llm.Native{Format: dialect.AnthropicMessages, JSON: []byte(`{}`)}},
			},
			LogProbs: []llm.LogProb{{Token: "Hello", LogProb: -0.5, Bytes: []byte("Hello"), Top: []llm.LogProb{{Token: "Hi", LogProb: -1}}}},
		}},
	}
}

// State of other providers comes back as it was, in the conversation's order.
func TestSealedState(t *testing.T) {
	options := answerOptions()
	options.Seal = openSeal{}
	for _, streamed := range []bool{false, true} {
		e := codec.NewEncoder(options).(*openairesponses.Encoder)
		var response []byte
		if streamed {
			var out []byte
			for event := range foreignAnswer().Events {
				out = e.AppendEvent(out, event)
			}
			response = accumulate(t, out, false).response
			require.JSONEq(t, string(e.Final()), string(response))
		} else {
			response = e.AppendAnswer(nil, foreignAnswer())
		}
		var said struct{ Output []json.RawMessage }
		require.NoError(t, json.Unmarshal(response, &said))
		said.Output = append(said.Output[:len(said.Output)-1], // the image is the provider's item
			json.RawMessage(fmt.Sprintf(`{"type":"function_call_output","call_id":%q,"output":"1"}`, callID(t, said.Output, "f"))),
			json.RawMessage(fmt.Sprintf(`{"type":"custom_tool_call_output","call_id":%q,"output":"2"}`, callID(t, said.Output, "g"))))
		body, err := json.Marshal(map[string]any{"model": "m", "input": said.Output})
		require.NoError(t, err)
		require.True(t, dialect.Sealed(body, dialect.Gemini))

		r, err := codec.DecodeRequest(body, dialect.DecodeOptions{Seal: openSeal{}})
		require.NoError(t, err)
		require.Len(t, r.Messages, 2)
		parts := r.Messages[0].Parts
		require.Len(t, parts, 8)
		thinking := func(i int) *llm.Thinking { return parts[i].(*llm.Thinking) }
		require.Equal(t, "let me\nthink", thinking(0).Text)
		require.Equal(t, signature, thinking(0).Opaque)
		require.True(t, thinking(1).Redacted)
		require.Equal(t, redacted, thinking(1).Opaque)
		require.Equal(t, "unproven", thinking(2).Text)
		require.Nil(t, thinking(2).Opaque)
		require.Equal(t, " world", parts[4].(*llm.Text).Text)
		require.Equal(t, textState, parts[4].Base().Opaque)
		require.Equal(t, "no", parts[5].(*llm.Refusal).Text)
		call := parts[6].(*llm.ToolCall)
		require.Equal(t, "call_1", call.ID)
		require.Equal(t, callState, call.Opaque)
		require.Equal(t, `{"a":"é"}`, call.Arguments) //nolint:testifylint // byte for byte
		require.True(t, parts[7].(*llm.ToolCall).Custom)
		require.Equal(t, "call_1", r.Messages[1].Parts[0].(*llm.ToolResult).CallID)
		require.Equal(t, "call_2", r.Messages[1].Parts[1].(*llm.ToolResult).CallID)

		// A provider of this format is told nothing of it.
		out, err := codec.EncodeRequest(r, within())
		require.NoError(t, err)
		require.NotContains(t, string(out), `"reasoning"`)
		require.NotContains(t, string(out), dialect.SealPrefix)
	}
}

func callID(t *testing.T, items []json.RawMessage, name string) string {
	t.Helper()
	for _, item := range items {
		var call struct {
			Name   string
			CallID string `json:"call_id"`
		}
		require.NoError(t, json.Unmarshal(item, &call))
		if call.Name == name {
			return call.CallID
		}
	}
	t.Fatal("no call of " + name)
	return ""
}

// A client of this format gets all members, those of its own request among them.
func TestForeignAnswer(t *testing.T) {
	request, err := codec.DecodeRequest([]byte(`{"model":"m","instructions":"Be brief.","input":"hi","tools":[{"type":"function","name":"f","parameters":{"type":"object"}}],
		"tool_choice":"required","temperature":0.5,"max_output_tokens":64,"metadata":{"a":"b"},"reasoning":{"effort":"low"},"text":{"verbosity":"low"},"store":true,"truncation":"auto","previous_response_id":"resp_0"}`), decodeOptions)
	require.NoError(t, err)
	options := answerOptions()
	options.Request, options.Store = request, true
	e := codec.NewEncoder(options).(*openairesponses.Encoder)
	got := parse(t, e.AppendAnswer(nil, foreignAnswer()))
	require.Regexp(t, `^resp_tg\w{20,}$`, got["id"])
	require.Equal(t, got["id"], e.ResponseID())
	delete(got, "id")
	output := got["output"].([]any)
	delete(got, "output")
	want := parse(t, []byte(`{"object":"response","created_at":99,"status":"completed","error":null,"incomplete_details":null,"model":"claude","background":false,
		"instructions":"Be brief.","max_output_tokens":64,"max_tool_calls":null,"metadata":{"a":"b"},"parallel_tool_calls":true,"previous_response_id":"resp_0","prompt_cache_key":null,
		"reasoning":{"effort":"low","summary":null},"safety_identifier":null,"store":true,"temperature":0.5,"text":{"format":{"type":"text"},"verbosity":"low"},"tool_choice":"required",
		"tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true}],"top_logprobs":0,"top_p":null,"truncation":"auto","user":null,"service_tier":"default",
		"usage":{"input_tokens":23,"input_tokens_details":{"cached_tokens":5,"cache_write_tokens":4,"audio_tokens":4},"output_tokens":15,"output_tokens_details":{"reasoning_tokens":2,"image_tokens":6},"total_tokens":38}}`))
	require.Equal(t, want, got)
	var types []string
	for _, item := range output {
		item := item.(map[string]any)
		types = append(types, item["type"].(string))
		require.NotEmpty(t, item["id"])
	}
	require.Equal(t, []string{"reasoning", "message", "function_call", "custom_tool_call", "image_generation_call"}, withoutRepeats(types))
	require.JSONEq(t, `{"type":"output_text","text":"Hello","annotations":[{"type":"url_citation","url":"https://x","title":"t","start_index":1,"end_index":2}],"logprobs":[{"token":"Hello","logprob":-0.5,"bytes":[72,101,108,108,111],"top_logprobs":[{"token":"Hi","logprob":-1,"top_logprobs":[]}]}]}`,
		text(t, content(output)[0]))
}

func withoutRepeats(words []string) (kept []string) {
	for _, w := range words {
		if len(kept) == 0 || kept[len(kept)-1] != w {
			kept = append(kept, w)
		}
	}
	return kept
}

// content is that of the first message.
func content(output []any) []any {
	for _, item := range output {
		if item := item.(map[string]any); item["type"] == "message" {
			return item["content"].([]any)
		}
	}
	return nil
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

// Every way for an answer to end, as clients of this format see it.
func TestEndings(t *testing.T) {
	for reason, want := range map[llm.FinishReason][3]string{
		llm.FinishUnknown:   {"completed", "", "completed"},
		llm.FinishStop:      {"completed", "", "completed"},
		llm.FinishToolCalls: {"completed", "", "completed"},
		llm.FinishLength:    {"incomplete", "max_output_tokens", "incomplete"},
		llm.FinishFilter:    {"incomplete", "content_filter", "incomplete"},
		llm.FinishPause:     {"completed", "", "completed"},
		llm.FinishOther:     {"completed", "", "completed"},
		llm.FinishError:     {"failed", "", "incomplete"},
	} {
		a := &llm.Answer{Choices: []llm.Choice{{Reason: reason, Parts: []llm.Part{&llm.Text{Text: "a"}}}}}
		got := parse(t, codec.NewEncoder(answerOptions()).AppendAnswer(nil, a))
		require.Equal(t, want[0], got["status"], reason)
		details, _ := got["incomplete_details"].(map[string]any)
		if want[1] == "" {
			require.Nil(t, details)
		} else {
			require.Equal(t, want[1], details["reason"])
		}
		require.Equal(t, want[2], got["output"].([]any)[0].(map[string]any)["status"])
		require.Equal(t, want[0] == "failed", got["error"] != nil)
		require.Nil(t, got["usage"])
	}
}

// types are the events of a stream, in their order.
func types(t *testing.T, stream []byte) (list []string) {
	t.Helper()
	accumulate(t, stream, false)
	for line := range strings.Lines(string(stream)) {
		if typ, ok := strings.CutPrefix(line, "event: "); ok {
			list = append(list, strings.TrimPrefix(strings.TrimSpace(typ), "response."))
		}
	}
	return list
}

func TestEventOrder(t *testing.T) {
	e := codec.NewEncoder(answerOptions())
	var out []byte
	for _, event := range []llm.Event{
		llm.PartStart{Part: 0, Begin: &llm.Thinking{}},
		llm.ThinkingDelta{Part: 0, Text: "hm"},
		llm.PartEnd{Part: 0},
		llm.PartStart{Part: 1, Begin: &llm.Thinking{}},
		llm.PartEnd{Part: 1}, // says nothing
		llm.PartStart{Part: 2, Begin: &llm.Text{}},
		llm.LogProbsDelta{Part: 2, Tokens: []llm.LogProb{{Token: "a"}}},
		llm.TextDelta{Part: 2, Text: "a"},
		llm.TextDelta{Part: 2, Text: ""},
		llm.CitationDelta{Part: 2, Citation: llm.Citation{URL: "https://x"}},
		// Two calls at once, as chat upstreams stream them.
		llm.PartStart{Part: 3, Begin: &llm.ToolCall{ID: "a", Name: "f"}},
		llm.PartStart{Part: 4, Begin: &llm.ToolCall{ID: "b", Name: "g", Custom: true}},
		llm.ArgumentsDelta{Part: 4, JSON: "x"},
		llm.ArgumentsDelta{Part: 3, JSON: "{}"},
		llm.PartEnd{Part: 2},
		llm.PartEnd{Part: 3},
		llm.PartEnd{Part: 4},
		llm.PartStart{Part: 5, Begin: &llm.Refusal{}},
		llm.TextDelta{Part: 5, Text: "no"},
		llm.PartEnd{Part: 5},
		llm.ChoiceEnd{Reason: llm.FinishToolCalls},
		llm.Finished{Reason: llm.FinishToolCalls, Model: "m"},
	} {
		out = e.AppendEvent(out, event)
	}
	require.Equal(t, strings.Fields(`created in_progress
		output_item.added reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done reasoning_summary_part.done output_item.done
		output_item.added content_part.added output_text.delta output_text.annotation.added output_text.done content_part.done output_item.done
		output_item.added function_call_arguments.delta function_call_arguments.done output_item.done
		output_item.added custom_tool_call_input.delta custom_tool_call_input.done output_item.done
		output_item.added content_part.added refusal.delta refusal.done content_part.done output_item.done
		completed`), types(t, out))
	got := accumulate(t, out, false)
	require.Equal(t, "{}", got.deltas["[2,0]response.function_call_arguments.delta"])
	require.Equal(t, "x", got.deltas["[3,0]response.custom_tool_call_input.delta"])
	require.Contains(t, string(out), `"delta":"a","logprobs":[{"token":"a","logprob":0,"top_logprobs":[]}]}`)
}

// A stream that breaks off says so in both ways that clients look for, and
// nothing more.
func TestBrokenStream(t *testing.T) {
	for _, before := range [][]llm.Event{
		nil,
		{llm.Started{ID: "x"}},
		{llm.Started{ID: "x"}, llm.PartStart{Begin: &llm.Text{}}, llm.TextDelta{Text: "a"}},
		{llm.Started{ID: "x"}, llm.PartStart{Begin: &llm.ToolCall{ID: "a", Name: "f"}}, llm.ArgumentsDelta{JSON: "{"}},
	} {
		e := codec.NewEncoder(answerOptions()).(*openairesponses.Encoder)
		var out []byte
		for _, event := range before {
			out = e.AppendEvent(out, event)
		}
		out = e.AppendEvent(out, llm.Failed{Err: &llm.Error{Cause: llm.CauseUpstreamOverloaded, Message: "too much"}})
		list := types(t, out)
		require.Equal(t, []string{"error", "failed"}, list[len(list)-2:])
		require.NotContains(t, list, "completed")
		got := accumulate(t, out, false)
		require.True(t, got.failed)
		response := parse(t, got.response)
		require.Equal(t, "failed", response["status"])
		require.Equal(t, map[string]any{"code": "server_error", "message": "too much"}, response["error"])
		require.Nil(t, e.Final())

		// The same, read as an upstream's.
		d := codec.NewDecoder(upstreamOptions)
		answer, failed := dialect.Collect(d, events(out))
		require.NotNil(t, failed)
		require.NotNil(t, answer)
		require.False(t, d.Reading().Complete)
	}
}

func events(stream []byte) (list []sse.Event) {
	var s sse.Scanner
	_, _ = s.Write(stream)
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		list = append(list, sse.Event{Type: append([]byte(nil), e.Type...), Data: append([]byte(nil), e.Data...)})
	}
	return list
}

// Providers that leave events out lose nothing.
func TestSparseStreams(t *testing.T) {
	const completed = `{"type":"response.completed","response":{"id":"resp_1","model":"m","status":"completed","output":[
		{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"ENC"},
		{"type":"message","role":"assistant","id":"msg_1","status":"completed","content":[{"type":"output_text","text":"Hi","annotations":[{"type":"url_citation","url":"https://x","start_index":0,"end_index":2,"title":"t"}]}]},
		{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{\"a\":1}","status":"completed"},
		{"type":"web_search_call","id":"ws_1","status":"completed"}],"usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}}}`
	for name, before := range map[string][]string{
		"only the end": nil,
		"created":      {`{"type":"response.created","response":{"id":"resp_1","model":"m","status":"in_progress","output":[]}}`},
		"bare deltas": {
			`{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":0,"delta":"hm"}`,
			`{"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"H"}`,
			`{"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"i"}`,
			`{"type":"response.function_call_arguments.delta","output_index":2,"delta":"{\"a\":1}"}`,
		},
		"items without parts": {
			`{"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[]}}`,
			`{"type":"response.output_item.added","output_index":1,"item":{"type":"message","id":"msg_1","role":"assistant","content":[]}}`,
			`{"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"Hi"}`,
			`{"type":"response.output_item.added","output_index":2,"item":{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":""}}`,
			`{"type":"response.output_item.added","output_index":3,"item":{"type":"web_search_call","id":"ws_1"}}`,
		},
		"whole items": {
			`{"type":"response.output_item.done","output_index":3,"item":{"type":"web_search_call","id":"ws_1","status":"completed"}}`,
			`{"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"ENC"}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var list []sse.Event
			for _, data := range append(before, completed) {
				list = append(list, sse.Event{Data: []byte(data)})
			}
			a, failed := dialect.Collect(codec.NewDecoder(upstreamOptions), list)
			require.Nil(t, failed)
			if len(before) == 0 || name == "created" {
				require.Equal(t, "resp_1", a.ID)
			}
			require.EqualValues(t, 3, a.Usage.InputTotal()+a.Usage.OutputTotal())
			require.Len(t, a.Choices, 1)
			require.Equal(t, llm.FinishToolCalls, a.Choices[0].Reason)
			found := map[string]int{}
			for _, p := range a.Choices[0].Parts {
				switch p := p.(type) {
				case *llm.Thinking:
					require.Equal(t, "hm", p.Text)
					require.Equal(t, &llm.Opaque{Format: dialect.OpenAIResponses, Model: "up", Value: "ENC", ItemID: "rs_1"}, p.Opaque)
					found["thinking"]++
				case *llm.Text:
					require.Equal(t, "Hi", p.Text)
					require.Len(t, p.Citations, 1)
					found["text"]++
				case *llm.ToolCall:
					require.Equal(t, "c", p.ID)
					require.Equal(t, "f", p.Name)
					require.Equal(t, `{"a":1}`, p.Arguments)
					found["call"]++
				case *llm.NativePart:
					require.Equal(t, "web_search_call", p.Type)
					found["native"]++
				}
			}
			require.Equal(t, map[string]int{"thinking": 1, "text": 1, "call": 1, "native": 1}, found)
		})
	}
}

// A stream that ends without its last event is not whole; an error in it is why.
func TestUnfinishedStreams(t *testing.T) {
	end := func(err *llm.Error, data ...string) llm.Event {
		d := codec.NewDecoder(upstreamOptions)
		for _, text := range data {
			d.Event(sse.Event{Data: []byte(text)})
		}
		last := d.End(err)
		return last[len(last)-1]
	}
	const delta = `{"type":"response.output_text.delta","delta":"a"}`
	require.Equal(t, llm.CauseUpstreamCut, end(nil, delta).(llm.Failed).Err.Cause)
	gone := &llm.Error{Cause: llm.CauseUpstreamTimeout}
	require.Same(t, gone, end(gone, delta).(llm.Failed).Err)
	require.Equal(t, llm.CauseUpstreamRateLimited, end(nil, delta, `{"type":"error","code":"rate_limit_exceeded","message":"x"}`).(llm.Failed).Err.Cause)
	require.Equal(t, llm.CauseUpstreamRejected, end(nil, `{"type":"response.failed","response":{"status":"failed","error":{"code":"context_length_exceeded","message":"too long"}}}`).(llm.Failed).Err.Cause)
	require.IsType(t, llm.Finished{}, end(nil, delta, `{"type":"response.completed","response":{"status":"completed","output":[]}}`))
}

// A message may have several texts, of which each part's end says what the deltas
// did not.
func TestSeveralTextsInAMessage(t *testing.T) {
	d := codec.NewDecoder(upstreamOptions)
	answer, failed := dialect.Collect(d, events([]byte(`data: {"type":"response.output_item.added","output_index":0,"item":{"id":"msg_1","type":"message","role":"assistant","content":[]}}

data: {"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"a"}

data: {"type":"response.content_part.done","output_index":0,"content_index":0,"part":{"type":"output_text","text":"a","annotations":[{"type":"url_citation","url":"https://x"}],"logprobs":[{"token":"a","logprob":-1,"top_logprobs":[]}]}}

data: {"type":"response.output_text.delta","output_index":0,"content_index":1,"delta":"b"}

data: {"type":"response.output_item.done","output_index":0,"item":{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"output_text","text":"a","annotations":[{"type":"url_citation","url":"https://x"}],"logprobs":[{"token":"a","logprob":-1,"top_logprobs":[]}]},{"type":"output_text","text":"b","annotations":[{"type":"url_citation","url":"https://y"}],"logprobs":[{"token":"b","logprob":-2,"top_logprobs":[]}]}]}}

data: {"type":"response.completed","response":{"status":"completed","output":[]}}

`)))
	require.Nil(t, failed)
	choice := answer.Choices[0]
	require.Len(t, choice.Parts, 2)
	require.Equal(t, []llm.Citation{{URL: "https://x"}}, choice.Parts[0].(*llm.Text).Citations)
	require.Equal(t, []llm.Citation{{URL: "https://y"}}, choice.Parts[1].(*llm.Text).Citations)
	require.Equal(t, []llm.LogProb{{Token: "a", LogProb: -1}, {Token: "b", LogProb: -2}}, choice.LogProbs)
}

// A stream tells a reasoning item's id when it begins and when it ends; it is
// written once.
func TestReasoningHasOneID(t *testing.T) {
	d := codec.NewDecoder(upstreamOptions)
	answer, failed := dialect.Collect(d, events([]byte(`data: {"type":"response.output_item.added","output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[]}}

data: {"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":0,"delta":"hm"}

data: {"type":"response.output_item.done","output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"x"}}

data: {"type":"response.completed","response":{"status":"completed","output":[]}}

`)))
	require.Nil(t, failed)
	out := codec.NewEncoder(answerOptions()).AppendAnswer(nil, answer)
	require.Equal(t, 1, strings.Count(string(out), `"id":"rs_1"`), "%s", out)
}

func TestPing(t *testing.T) {
	e := codec.NewEncoder(answerOptions())
	require.Equal(t, sse.Ping, string(e.Ping()))
}
