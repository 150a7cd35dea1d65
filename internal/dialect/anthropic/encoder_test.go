package anthropic_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/anthropic"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// openSeal seals without secrecy, for tests.
type openSeal struct{}

func (openSeal) Seal(plain []byte) string {
	var token strings.Builder
	token.WriteString(dialect.SealPrefix)
	for _, c := range plain {
		token.WriteByte("abcdefghijklmnop"[c>>4])
		token.WriteByte("abcdefghijklmnop"[c&15])
	}
	return token.String()
}

func (openSeal) Open(token string) ([]byte, bool) {
	hex := strings.TrimPrefix(token, dialect.SealPrefix)
	if len(hex)%2 != 0 || strings.Trim(hex, "abcdefghijklmnop") != "" {
		return nil, false
	}
	plain := make([]byte, len(hex)/2)
	for i := range plain {
		plain[i] = (hex[2*i]-'a')<<4 | (hex[2*i+1] - 'a')
	}
	return plain, true
}

func options(stream bool) dialect.AnswerOptions {
	return dialect.AnswerOptions{Stream: stream, Model: "asked", RequestID: "req_1", Now: func() int64 { return 1 }, Seal: openSeal{}}
}

func opaque(value string) *llm.Opaque {
	return &llm.Opaque{Format: dialect.Gemini, Model: "gemini-3", Value: value}
}

// foreign is what an upstream of another format may answer: all kinds of parts,
// calls that overlap, state of its own.
func foreign() []llm.Event {
	return []llm.Event{
		llm.Started{ID: "chatcmpl-1", Model: "gpt-5"},
		llm.PartStart{Part: 0, Begin: &llm.Thinking{}},
		llm.ThinkingDelta{Part: 0, Text: "Hm."},
		llm.PartEnd{Part: 0, Opaque: opaque("shown")},
		llm.PartStart{Part: 1, Begin: &llm.Thinking{}},
		llm.PartEnd{Part: 1, Opaque: opaque("hidden")},
		llm.PartStart{Part: 2, Begin: &llm.Text{}},
		llm.TextDelta{Part: 2, Text: "Let me \"see\"."},
		llm.CitationDelta{Part: 2, Citation: llm.Citation{URL: "https://example.com", Title: "Example", Quote: "see"}},
		llm.CitationDelta{Part: 2, Citation: llm.Citation{Title: "nowhere"}},
		llm.PartStart{Part: 3, Begin: &llm.ToolCall{Common: llm.Common{Opaque: opaque("call")}, ID: "call_1", Name: "read"}},
		llm.PartStart{Part: 4, Begin: &llm.ToolCall{ID: "call_2", Name: "now"}},
		llm.ArgumentsDelta{Part: 3, JSON: `{"a"`},
		llm.ArgumentsDelta{Part: 4, JSON: `{}`},
		llm.ArgumentsDelta{Part: 3, JSON: `:1}`},
		llm.PartEnd{Part: 2, Opaque: opaque("text")},
		llm.PartEnd{Part: 4},
		llm.PartEnd{Part: 3},
		llm.PartStart{Part: 5, Begin: &llm.Refusal{}},
		llm.TextDelta{Part: 5, Text: "No."},
		llm.PartEnd{Part: 5},
		llm.PartStart{Part: 6, Begin: &llm.NativePart{Native: llm.Native{Format: dialect.OpenAIResponses, Type: "x", JSON: []byte(`{"type":"x"}`)}}},
		llm.PartEnd{Part: 6},
		llm.PartStart{Part: 7, Begin: &llm.ToolCall{ID: "call_3", Name: "free", Custom: true}},
		llm.ArgumentsDelta{Part: 7, JSON: `ls "-l"`},
		llm.PartEnd{Part: 7},
		llm.PartStart{Part: 8, Begin: &llm.Thinking{}}, // nothing came of it
		llm.PartEnd{Part: 8},
		llm.ChoiceEnd{Reason: llm.FinishToolCalls},
		llm.Finished{
			Reason: llm.FinishToolCalls, Reported: true, Model: "gpt-5", ServiceTier: "default",
			Usage: llm.Usage{Input: 10, CacheRead: 3, CacheWrite5m: 2, CacheWrite1h: 1, InputAudio: 4, Output: 5, Reasoning: 6},
		},
	}
}

// wantForeign is that answer as a client of this format sees it.
func wantForeign() map[string]any {
	sealed := func(s dialect.State) string { return dialect.SealState(openSeal{}, s) }
	hidden := dialect.State{Thinking: []dialect.ThinkingState{{Opaque: opaque("hidden")}}}
	block := func(kind string, members ...any) any {
		b := map[string]any{"type": kind}
		for i := 0; i < len(members); i += 2 {
			b[members[i].(string)] = members[i+1]
		}
		return b
	}
	citation := block("web_search_result_location", "url", "https://example.com", "title", "Example", "cited_text", "see", "encrypted_index", "")
	return map[string]any{
		"id": "msg_chatcmpl-1", "type": "message", "role": "assistant", "model": "gpt-5", "stop_reason": "tool_use",
		"content": []any{
			block("thinking", "thinking", "Hm.", "signature", sealed(dialect.State{Opaque: opaque("shown")})),
			block("redacted_thinking", "data", sealed(hidden)),
			block("text", "text", "Let me \"see\".", "citations", []any{citation}),
			block("redacted_thinking", "data", sealed(dialect.State{Opaque: opaque("text")})),
			block("tool_use", "id", "call_1__"+sealed(dialect.State{Opaque: opaque("call")}), "name", "read", "input", map[string]any{"a": 1.0}),
			block("tool_use", "id", "call_2", "name", "now", "input", map[string]any{}),
			block("text", "text", "No."),
			block("tool_use", "id", "call_3", "name", "free", "input", map[string]any{"input": `ls "-l"`}),
		},
		"usage": map[string]any{
			"input_tokens": 14.0, "cache_read_input_tokens": 3.0, "cache_creation_input_tokens": 3.0, "output_tokens": 11.0,
			"cache_creation":        map[string]any{"ephemeral_5m_input_tokens": 2.0, "ephemeral_1h_input_tokens": 1.0},
			"output_tokens_details": map[string]any{"thinking_tokens": 6.0}, "service_tier": "standard",
		},
	}
}

func TestForeignStream(t *testing.T) {
	e := anthropic.Messages.NewEncoder(options(true))
	var stream []byte
	for _, event := range foreign() {
		stream = e.AppendEvent(stream, event)
	}
	requireStrict(t, stream, true)
	require.Equal(t, any(wantForeign()), accumulate(t, stream))
}

func TestForeignAnswer(t *testing.T) {
	var c llm.Collector
	for _, e := range foreign() {
		c.Add(e)
	}
	a, failed := c.Answer()
	require.Nil(t, failed)
	body := anthropic.Messages.NewEncoder(options(false)).AppendAnswer([]byte("before"), a)
	require.Equal(t, any(wantForeign()), value(t, body[len("before"):]))

	// As a whole stream's events it is the same stream.
	e := anthropic.Messages.NewEncoder(options(true))
	var stream []byte
	for event := range a.Events {
		stream = e.AppendEvent(stream, event)
	}
	requireStrict(t, stream, true)
	require.Equal(t, any(wantForeign()), accumulate(t, stream))
}

// requireStrict checks a stream as the official SDKs read it: numbers of blocks
// without gaps, one block at a time, the first piece of a tool's input empty.
func requireStrict(t *testing.T, stream []byte, whole bool) {
	t.Helper()
	var s sse.Scanner
	_, _ = s.Write(stream)
	var kinds []string
	next, open, tool := 0, false, false
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		data := map[string]any{}
		require.NoError(t, json.Unmarshal(e.Data, &data), "%s", e.Data)
		require.Equal(t, string(e.Type), data["type"])
		kinds = append(kinds, string(e.Type))
		switch string(e.Type) {
		case "content_block_start":
			require.False(t, open)
			require.EqualValues(t, next, data["index"])
			open, tool = true, data["content_block"].(map[string]any)["type"] == "tool_use"
		case "content_block_delta":
			require.True(t, open)
			require.EqualValues(t, next, data["index"])
			if tool {
				require.Empty(t, data["delta"].(map[string]any)["partial_json"])
			}
			tool = false
		case "content_block_stop":
			require.True(t, open)
			require.EqualValues(t, next, data["index"])
			open, next = false, next+1
		}
	}
	require.Empty(t, s.Rest())
	require.Equal(t, "message_start", kinds[0])
	require.Equal(t, 1, strings.Count(strings.Join(kinds, " "), "message_start"))
	if whole {
		require.False(t, open)
		require.Equal(t, []string{"message_delta", "message_stop"}, kinds[len(kinds)-2:])
	} else {
		require.NotContains(t, kinds, "message_stop")
		require.NotContains(t, kinds, "message_delta")
		require.Equal(t, "error", kinds[len(kinds)-1])
	}
}

// What a client gives back of an answer has all the state that went out with it.
func TestSealedRoundTrip(t *testing.T) {
	var c llm.Collector
	for _, e := range foreign() {
		c.Add(e)
	}
	a, _ := c.Answer()
	body := anthropic.Messages.NewEncoder(options(false)).AppendAnswer(nil, a)
	var answer struct {
		Content []map[string]any `json:"content"`
	}
	require.NoError(t, json.Unmarshal(body, &answer))
	result := map[string]any{"type": "tool_result", "tool_use_id": answer.Content[4]["id"], "content": "1"}
	request, err := json.Marshal(map[string]any{
		"model": "x", "max_tokens": 1,
		"messages": []any{map[string]any{"role": "user", "content": "?"}, map[string]any{"role": "assistant", "content": answer.Content}, map[string]any{"role": "user", "content": []any{result}}},
	})
	require.NoError(t, err)

	r, err := anthropic.Messages.DecodeRequest(request, dialect.DecodeOptions{Seal: openSeal{}})
	require.NoError(t, err)
	parts := r.Messages[1].Parts
	require.Len(t, parts, 7)
	require.Equal(t, opaque("shown"), parts[0].Base().Opaque)
	require.Equal(t, "Hm.", parts[0].(*llm.Thinking).Text)
	require.Equal(t, opaque("hidden"), parts[1].Base().Opaque)
	require.Equal(t, opaque("text"), parts[2].Base().Opaque)
	require.Equal(t, opaque("call"), parts[3].Base().Opaque)
	require.Equal(t, "call_1", parts[3].(*llm.ToolCall).ID)
	require.Equal(t, "call_1", r.Messages[2].Parts[0].(*llm.ToolResult).CallID)

	// Tokens that do not open are no state, and no part of the conversation.
	r, err = anthropic.Messages.DecodeRequest(request, dialect.DecodeOptions{Seal: dialect.NoSeal{}})
	require.NoError(t, err)
	for _, p := range r.Messages[1].Parts {
		require.Nil(t, p.Base().Opaque)
	}
	require.Equal(t, "call_1", r.Messages[1].Parts[2].(*llm.ToolCall).ID)
}

func TestOwnStateGoesOutAsItIs(t *testing.T) {
	own := &llm.Opaque{Format: anthropic.Format, Model: "claude", Value: "sig"}
	a := &llm.Answer{Choices: []llm.Choice{{Parts: []llm.Part{
		&llm.Thinking{Common: llm.Common{Opaque: own}, Text: "Hm."},
		&llm.Thinking{Common: llm.Common{Opaque: own}},
		&llm.Thinking{Common: llm.Common{Opaque: own}, Redacted: true},
	}, Reason: llm.FinishStop}}}
	want := []any{
		map[string]any{"type": "thinking", "thinking": "Hm.", "signature": "sig"},
		map[string]any{"type": "thinking", "thinking": "", "signature": "sig"},
		map[string]any{"type": "redacted_thinking", "data": "sig"},
	}
	body := anthropic.Messages.NewEncoder(options(false)).AppendAnswer(nil, a)
	require.Equal(t, want, value(t, body).(map[string]any)["content"])
	e := anthropic.Messages.NewEncoder(options(true))
	var stream []byte
	for event := range a.Events {
		stream = e.AppendEvent(stream, event)
	}
	requireStrict(t, stream, true)
	require.Equal(t, want, accumulate(t, stream).(map[string]any)["content"])
}

// A stream that breaks off never looks like a whole one, wherever it breaks.
func TestFailedStream(t *testing.T) {
	all := foreign()
	for n := range len(all) - 1 {
		e := anthropic.Messages.NewEncoder(options(true))
		var stream []byte
		for _, event := range all[:n] {
			stream = e.AppendEvent(stream, event)
		}
		stream = e.AppendEvent(stream, llm.Failed{Err: &llm.Error{Cause: llm.CauseUpstreamOverloaded, Message: "busy"}})
		if n > 0 {
			requireStrict(t, stream, false)
		}
		require.Contains(t, string(stream), `event: error`+"\n"+`data: {"type":"error","error":{"type":"overloaded_error","message":"busy"},"request_id":"req_1"}`+"\n\n")
		require.NotContains(t, string(stream), "message_delta")
		require.NotContains(t, string(stream), "message_stop")
	}
}

func TestStreamWithoutABeginning(t *testing.T) {
	e := anthropic.Messages.NewEncoder(options(true))
	var stream []byte
	for _, event := range []llm.Event{
		llm.PartStart{Part: 0, Begin: &llm.Text{}}, llm.TextDelta{Part: 0, Text: "Hi"}, // no end either
		llm.Finished{Reason: llm.FinishLength},
	} {
		stream = e.AppendEvent(stream, event)
	}
	requireStrict(t, stream, true)
	answer := accumulate(t, stream).(map[string]any)
	require.Equal(t, "msg_req_1", answer["id"])
	require.Equal(t, "asked", answer["model"])
	require.Equal(t, "max_tokens", answer["stop_reason"])
	require.Equal(t, []any{map[string]any{"type": "text", "text": "Hi"}}, answer["content"])
}

func TestPing(t *testing.T) {
	require.Equal(t, "event: ping\ndata: {\"type\": \"ping\"}\n\n", string(anthropic.Messages.NewEncoder(options(true)).Ping()))
}

func TestStopReasons(t *testing.T) {
	for _, test := range []struct {
		word, sequence string
		reason         llm.FinishReason
		plain          string // the word for an answer of another format
	}{
		{"end_turn", "", llm.FinishStop, "end_turn"},
		{"stop_sequence", "###", llm.FinishStop, "stop_sequence"},
		{"max_tokens", "", llm.FinishLength, "max_tokens"},
		{"model_context_window_exceeded", "", llm.FinishLength, "max_tokens"},
		{"tool_use", "", llm.FinishToolCalls, "tool_use"},
		{"refusal", "", llm.FinishFilter, "refusal"},
		{"pause_turn", "", llm.FinishPause, "pause_turn"},
		{"compaction", "", llm.FinishPause, "pause_turn"},
		{"something_new", "", llm.FinishOther, "end_turn"},
	} {
		body := `{"id":"msg_1","content":[],"stop_reason":"` + test.word + `","stop_sequence":"` + test.sequence + `","usage":{"input_tokens":1,"output_tokens":1}}`
		a, failed := anthropic.Messages.DecodeAnswer([]byte(body), dialect.UpstreamOptions{})
		require.Nil(t, failed)
		require.Equal(t, test.reason, a.Choices[0].Reason, test.word)
		require.Equal(t, test.sequence, a.Choices[0].StopSequence)
		again := value(t, anthropic.Messages.NewEncoder(options(false)).AppendAnswer(nil, a)).(map[string]any)
		require.Equal(t, test.word, again["stop_reason"])

		other := &llm.Answer{Choices: []llm.Choice{{Reason: test.reason, StopSequence: test.sequence}}}
		again = value(t, anthropic.Messages.NewEncoder(options(false)).AppendAnswer(nil, other)).(map[string]any)
		require.Equal(t, test.plain, again["stop_reason"])
	}
	called := &llm.Answer{Choices: []llm.Choice{{Reason: llm.FinishStop, Parts: []llm.Part{&llm.ToolCall{ID: "1", Name: "a"}}}}}
	got := value(t, anthropic.Messages.NewEncoder(options(false)).AppendAnswer(nil, called)).(map[string]any)
	require.Equal(t, "tool_use", got["stop_reason"])
	for _, reason := range []llm.FinishReason{
		llm.FinishUnknown, llm.FinishStop, llm.FinishLength, llm.FinishToolCalls, llm.FinishFilter, llm.FinishPause, llm.FinishError, llm.FinishOther,
	} {
		answer := &llm.Answer{Choices: []llm.Choice{{Reason: reason}}}
		got := value(t, anthropic.Messages.NewEncoder(options(false)).AppendAnswer(nil, answer)).(map[string]any)
		require.NotEmpty(t, got["stop_reason"], "SDKs take null for an answer under way")
	}
}
