package openaichat_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/llm"
)

func sealingOptions() dialect.AnswerOptions {
	o := answerOptions()
	o.Seal = seal{}
	return o
}

// encodeStream says an answer as a stream and gives the chunks.
func encodeStream(t *testing.T, a *llm.Answer, o dialect.AnswerOptions) []byte {
	t.Helper()
	e := openaichat.Chat.NewEncoder(o)
	var stream []byte
	for event := range a.Events {
		stream = e.AppendEvent(stream, event)
	}
	requireChunks(t, stream)
	return stream
}

func opaque(value string) *llm.Opaque {
	return &llm.Opaque{Format: dialect.AnthropicMessages, Model: "claude", Value: value}
}

// foreignAnswer is what another format's model may answer.
func foreignAnswer() *llm.Answer {
	return &llm.Answer{
		ID: "msg_1", Model: "claude", Created: 7,
		Choices: []llm.Choice{{
			Reason: llm.FinishToolCalls,
			Parts: []llm.Part{
				&llm.Thinking{Common: llm.Common{Opaque: opaque("sig")}, Text: "hm"},
				&llm.Thinking{Common: llm.Common{Opaque: opaque("redacted")}, Redacted: true},
				&llm.Text{Common: llm.Common{Opaque: opaque("text")}, Text: "Let me see."},
				&llm.ToolCall{Common: llm.Common{Opaque: opaque("call")}, ID: "call_1", Name: "f", Arguments: `{"a":1}`},
				&llm.ToolCall{ID: "call_2", Name: "g", Arguments: `{}`},
			},
		}},
		Usage: llm.Usage{Input: 1, CacheRead: 2, CacheWrite5m: 3, CacheWrite1h: 4, Output: 5, Reasoning: 6}, Reported: true,
	}
}

// assistantMessage is an answer's message as a client collects it.
func assistantMessage(t *testing.T, a *llm.Answer, streamed bool) map[string]any {
	t.Helper()
	if !streamed {
		body := object(t, openaichat.Chat.NewEncoder(sealingOptions()).AppendAnswer(nil, a))
		return body["choices"].([]any)[0].(map[string]any)["message"].(map[string]any)
	}
	delta := accumulate(t, encodeStream(t, a, sealingOptions()))["choice 0"].(map[string]any)["delta"].(map[string]any)
	message := map[string]any{"role": "assistant", "content": delta["content"], "reasoning_content": delta["reasoning_content"]}
	var calls, details []any
	for _, place := range []string{"call 0", "call 1"} {
		if call := delta[place]; call != nil {
			calls = append(calls, call)
		}
	}
	if list, ok := delta["details"].([]any); ok {
		details = list
	}
	message["tool_calls"], message["reasoning_details"] = calls, details
	return message
}

// TestSealedState sends an answer to a client and takes back what three kinds of
// clients return: state comes back as far as they do.
func TestSealedState(t *testing.T) {
	a := foreignAnswer()
	for _, streamed := range []bool{false, true} {
		whole := assistantMessage(t, a, streamed)
		if streamed { // clients collect details as a list
			whole["reasoning_details"] = streamedDetails(t, a)
		}
		require.Equal(t, "hm", whole["reasoning_content"])
		require.Equal(t, "Let me see.", whole["content"])
		back := returned(t, whole)
		want := a.Choices[0].Parts
		require.Equal(t, plainParts(want), plainParts(back), "a client that returns all")

		delete(whole, "reasoning_details")
		delete(whole, "reasoning_content")
		back = returned(t, whole)
		text := *want[2].(*llm.Text)
		text.Opaque = nil
		require.Equal(t, plainParts([]llm.Part{want[0], want[1], &text, want[3], want[4]}), plainParts(back), "a client that returns the calls' ids")

		// A token that is not ours opens nothing, and no provider sees it.
		forged := returned(t, map[string]any{"role": "assistant", "content": "a", "reasoning_details": []any{
			map[string]any{"type": "reasoning.text", "text": "x", "signature": dialect.SealPrefix + "???"},
		}})
		require.Equal(t, plainParts([]llm.Part{&llm.Text{Text: "a"}}), plainParts(forged))
	}
}

func streamedDetails(t *testing.T, a *llm.Answer) (details []any) {
	t.Helper()
	for _, delta := range deltas(t, encodeStream(t, a, sealingOptions())) {
		list, _ := delta["reasoning_details"].([]any)
		details = append(details, list...)
	}
	return details
}

// returned decodes a message that a client sends back, with the tools' results.
func returned(t *testing.T, message map[string]any) []llm.Part {
	t.Helper()
	messages := []any{message}
	calls, _ := message["tool_calls"].([]any)
	for _, call := range calls {
		messages = append(messages, map[string]any{"role": "tool", "tool_call_id": call.(map[string]any)["id"], "content": "r"})
	}
	r := decode(t, jsonText(map[string]any{"model": "m", "messages": messages}))
	for i, m := range r.Messages[1:] {
		result := m.Parts[0].(*llm.ToolResult)
		require.Equal(t, []string{"call_1", "call_2"}[i], result.CallID)
		require.Equal(t, []string{"f", "g"}[i], result.Name)
	}
	return r.Messages[0].Parts
}

// plainParts are parts without their places.
func plainParts(parts []llm.Part) (plain []llm.Part) {
	for _, p := range parts {
		switch p := p.(type) {
		case *llm.Text:
			plain = append(plain, &llm.Text{Common: llm.Common{Opaque: p.Opaque}, Text: p.Text})
		case *llm.Thinking:
			plain = append(plain, &llm.Thinking{Common: llm.Common{Opaque: p.Opaque}, Text: p.Text, Redacted: p.Redacted})
		case *llm.ToolCall:
			plain = append(plain, &llm.ToolCall{Common: llm.Common{Opaque: p.Opaque}, ID: p.ID, Name: p.Name, Arguments: p.Arguments})
		}
	}
	return plain
}

// TestEveryUsageBucket tells usage to a client and reads what it was told.
func TestEveryUsageBucket(t *testing.T) {
	a := foreignAnswer()
	a.Usage = llm.Usage{
		Input: 1, CacheRead: 2, CacheWrite5m: 4, CacheWrite1h: 8, Output: 16, Reasoning: 32,
		InputAudio: 64, CachedAudio: 128, OutputAudio: 256, InputImage: 512, CachedImage: 1024, OutputImage: 2048,
		InputVideo: 4096, OutputVideo: 8192,
	}
	m := openaichat.Chat.NewMeter()
	m.Body(openaichat.Chat.NewEncoder(answerOptions()).AppendAnswer(nil, a))
	require.Equal(t, a.Usage, m.Reading().Usage)

	usage := object(t, openaichat.Chat.NewEncoder(answerOptions()).AppendAnswer(nil, a))["usage"].(map[string]any)
	require.EqualValues(t, a.Usage.InputTotal(), usage["prompt_tokens"])
	require.EqualValues(t, a.Usage.OutputTotal(), usage["completion_tokens"])
	require.EqualValues(t, a.Usage.InputTotal()+a.Usage.OutputTotal(), usage["total_tokens"])
}

func TestFinishWords(t *testing.T) {
	for reason, want := range map[llm.FinishReason]string{
		llm.FinishUnknown: "stop", llm.FinishStop: "stop", llm.FinishLength: "length", llm.FinishToolCalls: "tool_calls",
		llm.FinishFilter: "content_filter", llm.FinishPause: "stop", llm.FinishError: "error", llm.FinishOther: "stop",
	} {
		a := &llm.Answer{Choices: []llm.Choice{{Reason: reason, Parts: []llm.Part{&llm.Text{Text: "a"}}}}}
		body := object(t, openaichat.Chat.NewEncoder(answerOptions()).AppendAnswer(nil, a))
		require.Equal(t, want, body["choices"].([]any)[0].(map[string]any)["finish_reason"])
		require.Equal(t, want, accumulate(t, encodeStream(t, a, answerOptions()))["choice 0"].(map[string]any)["finish_reason"])
	}
	for word, want := range map[string]llm.FinishReason{
		"stop": llm.FinishStop, "eos": llm.FinishStop, "eos_token": llm.FinishStop, "stop_sequence": llm.FinishStop, "end_turn": llm.FinishStop,
		"length": llm.FinishLength, "max_tokens": llm.FinishLength, "model_length": llm.FinishLength,
		"tool_calls": llm.FinishToolCalls, "function_call": llm.FinishToolCalls, "tool_use": llm.FinishToolCalls,
		"content_filter": llm.FinishFilter, "refusal": llm.FinishFilter, "sensitive": llm.FinishFilter,
		"error": llm.FinishError, "network_error": llm.FinishError, "insufficient_system_resource": llm.FinishError, "abort": llm.FinishOther,
	} {
		body := `{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"` + word + `"}]}`
		a, failed := openaichat.Chat.DecodeAnswer([]byte(body), dialect.UpstreamOptions{})
		require.Nil(t, failed)
		require.Equal(t, want, a.Choices[0].Reason, word)
		got := openaichat.Chat.NewEncoder(answerOptions()).AppendAnswer(nil, a)
		if word != "function_call" { // without a function called it means the same as tool_calls
			require.Contains(t, string(got), `"finish_reason":"`+word+`"`, "the provider's own word is kept")
		}
	}
}

// TestLegacyClient answers a client that speaks of functions.
func TestLegacyClient(t *testing.T) {
	o := sealingOptions()
	o.Request = decode(t, `{"model":"m","messages":[{"role":"user","content":"a"}],"functions":[{"name":"f"}]}`)
	a := foreignAnswer()
	a.Choices[0].Parts = a.Choices[0].Parts[3:4]
	body := object(t, openaichat.Chat.NewEncoder(o).AppendAnswer(nil, a))
	choice := body["choices"].([]any)[0].(map[string]any)
	require.Equal(t, "function_call", choice["finish_reason"])
	require.Equal(t, map[string]any{"name": "f", "arguments": `{"a":1}`}, choice["message"].(map[string]any)["function_call"])

	var arguments strings.Builder
	all := deltas(t, encodeStream(t, a, o))
	for _, delta := range all {
		if call, ok := delta["function_call"].(map[string]any); ok {
			arguments.WriteString(call["arguments"].(string))
		}
		require.NotContains(t, delta, "tool_calls")
	}
	require.Equal(t, `{"a":1}`, arguments.String())
}

// TestFailedStream says an error in mid-stream so that nobody takes the stream for
// a whole one.
func TestFailedStream(t *testing.T) {
	e := openaichat.Chat.NewEncoder(answerOptions())
	var stream []byte
	for _, event := range []llm.Event{
		llm.PartStart{Begin: &llm.Text{}},
		llm.TextDelta{Text: "a"},
		llm.PartEnd{},
		llm.ChoiceEnd{Reason: llm.FinishStop},
		llm.Failed{Err: &llm.Error{Cause: llm.CauseUpstreamCut, Message: "broke off"}},
	} {
		stream = e.AppendEvent(stream, event)
	}
	require.Contains(t, string(stream), `"content":"a"`)
	require.Contains(t, string(stream), `data: {"error":{"message":"broke off"`)
	require.NotContains(t, string(stream), `"finish_reason":"`)
	require.NotContains(t, string(stream), "[DONE]")
}

// TestQuirksOfCalls reads the ways in which providers send tool calls.
func TestQuirksOfCalls(t *testing.T) {
	call := func(members string) string {
		return `{"id":"x","choices":[{"index":0,"delta":{"tool_calls":[` + members + `]}}]}`
	}
	const done = `{"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`
	for name, tc := range map[string]struct {
		chunks []string
		want   []string // id, name, arguments
	}{
		"usual":           {[]string{call(`{"index":0,"id":"a","function":{"name":"f","arguments":""}}`), call(`{"index":0,"function":{"arguments":"{\"x\""}}`), call(`{"index":0,"function":{"arguments":":1}"}}`)}, []string{"a", "f", `{"x":1}`}},
		"interleaved":     {[]string{call(`{"index":0,"id":"a","function":{"name":"f","arguments":"{"}},{"index":1,"id":"b","function":{"name":"g","arguments":"["}}`), call(`{"index":1,"function":{"arguments":"]"}},{"index":0,"function":{"arguments":"}"}}`)}, []string{"a", "f", "{}", "b", "g", "[]"}},
		"whole, no index": {[]string{call(`{"id":"a","function":{"name":"f","arguments":"{}"}},{"id":"b","function":{"name":"g","arguments":"[]"}}`)}, []string{"a", "f", "{}", "b", "g", "[]"}},
		"null index":      {[]string{call(`{"index":null,"id":"a","function":{"name":"f","arguments":"{}"}}`)}, []string{"a", "f", "{}"}},
		"one index":       {[]string{call(`{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}`), call(`{"index":0,"id":"b","function":{"name":"f","arguments":"[]"}}`)}, []string{"a", "f", "{}", "b", "f", "[]"}},
		"one index, no ids": {
			[]string{call(`{"index":0,"id":"","function":{"name":"f","arguments":"{}"}}`), call(`{"index":0,"id":"","function":{"name":"f","arguments":"[]"}}`)},
			[]string{"call_", "f", "{}", "call_", "f", "[]"},
		},
		"empty ids go on":  {[]string{call(`{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}`), call(`{"index":0,"id":"","function":{"arguments":"}"}}`)}, []string{"a", "f", "{}"}},
		"name later":       {[]string{call(`{"index":0,"id":"a","function":{"arguments":"{"}}`), call(`{"index":0,"function":{"name":"f","arguments":"}"}}`)}, []string{"a", "f", "{}"}},
		"arguments object": {[]string{call(`{"index":0,"id":"a","function":{"name":"f","arguments":{"x":1}}}`)}, []string{"a", "f", `{"x":1}`}},
		"name again":       {[]string{call(`{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}`), call(`{"index":0,"id":"a","function":{"name":"f","arguments":"}"}}`)}, []string{"a", "f", "{}"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := openaichat.Chat.NewDecoder(dialect.UpstreamOptions{})
			var all llm.Collector
			add := func(events []llm.Event) {
				for _, e := range events {
					all.Add(e)
				}
			}
			for _, chunk := range append(tc.chunks, done, "[DONE]") {
				d.Event(event(chunk))
				add(d.Events())
			}
			add(d.End(nil))
			a, failed := all.Answer()
			require.Nil(t, failed)
			var got []string
			ids := map[string]bool{}
			for _, p := range a.Choices[0].Parts {
				c := p.(*llm.ToolCall)
				require.False(t, ids[c.ID], "ids are unique")
				ids[c.ID] = true
				id := c.ID
				if strings.HasPrefix(id, "call_") {
					id = "call_"
				}
				got = append(got, id, c.Name, c.Arguments)
			}
			require.Equal(t, tc.want, got)
		})
	}
}

func deltas(t *testing.T, stream []byte) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(string(stream)) {
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		for _, c := range object(t, []byte(data))["choices"].([]any) {
			all = append(all, c.(map[string]any)["delta"].(map[string]any))
		}
	}
	return all
}
