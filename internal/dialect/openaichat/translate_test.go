package openaichat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

func recordedChats(t testing.TB) []upstreamtest.Case {
	return upstreamtest.Cases(t, upstreamtest.OfAPI("openai.chat"))
}

func decodeOptions() dialect.DecodeOptions { return dialect.DecodeOptions{Seal: dialect.NoSeal{}} }

func encodeOptions() dialect.EncodeOptions {
	return dialect.EncodeOptions{Unsaid: &dialect.Unsaid{Target: dialect.OpenAIChat, Source: openaichat.Chat}}
}

func answerOptions() dialect.AnswerOptions {
	return dialect.AnswerOptions{
		Stream: true, StreamUsage: true, Model: "asked", RequestID: "req", Seal: dialect.NoSeal{},
		Now: func() int64 { return 1_700_000_000 },
	}
}

func object(t testing.TB, data []byte) map[string]any {
	t.Helper()
	var value map[string]any
	require.NoError(t, json.Unmarshal(data, &value), "%s", data)
	return value
}

// TestTranslatedRequests decodes each recorded request and encodes it again: nothing
// is lost.
func TestTranslatedRequests(t *testing.T) {
	n := 0
	for _, c := range recordedChats(t) {
		if c.Request == nil {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			r, err := openaichat.Chat.DecodeRequest(c.Request, decodeOptions())
			if c.Name == "openai/openai.chat/error-400-bad-request" { // a user's message with content null
				require.ErrorContains(t, err, "messages[0].content is required")
				return
			}
			require.NoError(t, err)
			want := object(t, c.Request)
			o := encodeOptions()
			o.StrictChat = c.Provider == "openai"
			if want["max_tokens"] != nil {
				o.MaxTokensField = "max_tokens"
			}
			got, err := openaichat.Chat.EncodeRequest(r, o)
			require.NoError(t, err)
			require.Empty(t, o.Unsaid.Dropped)
			require.Equal(t, sameRequest(want), sameRequest(object(t, got)))
			n++
		})
	}
	require.Greater(t, n, 50)
}

// sameRequest writes different ways to say the same in one way.
func sameRequest(r map[string]any) map[string]any {
	r = withoutNulls(r).(map[string]any)
	if r["stream"] == false { // the default
		delete(r, "stream")
	}
	tools, _ := r["tools"].([]any)
	for _, tool := range tools {
		if f, ok := tool.(map[string]any)["function"].(map[string]any); ok && f["description"] == "" {
			delete(f, "description") // describes nothing
		}
	}
	messages, _ := r["messages"].([]any)
	for _, m := range messages {
		m := m.(map[string]any)
		// One plain text is a content by itself.
		if parts, ok := m["content"].([]any); ok && len(parts) == 1 {
			if part := parts[0].(map[string]any); part["type"] == "text" && len(part) == 2 {
				m["content"] = part["text"]
			}
		}
		// Beside tool calls no content and an empty one are the same: nothing was
		// said.
		if m["tool_calls"] != nil && m["content"] == "" {
			delete(m, "content")
		}
	}
	return r
}

// withoutNulls takes out members that are null: absent ones mean the same.
func withoutNulls(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for name, member := range value {
			if member == nil {
				delete(value, name)
			} else {
				value[name] = withoutNulls(member)
			}
		}
	case []any:
		for i := range value {
			value[i] = withoutNulls(value[i])
		}
	}
	return value
}

// TestTranslatedBodies decodes each recorded whole answer and encodes it again.
func TestTranslatedBodies(t *testing.T) {
	n := 0
	for _, c := range recordedChats(t) {
		if c.Stream || c.Status != 200 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			a, failed := openaichat.Chat.DecodeAnswer(c.Body, dialect.UpstreamOptions{Model: c.Model})
			require.Nil(t, failed)
			requireUsage(t, c, dialect.Reading{Usage: a.Usage, Reported: a.Reported, CostUSD: costOf(c)})
			got := openaichat.Chat.NewEncoder(answerOptions()).AppendAnswer(nil, a)
			require.Equal(t, sameBody(object(t, c.Body)), sameBody(object(t, got)))
			n++
		})
	}
	require.Greater(t, n, 20)
}

// costOf is the cost as the meter gives it, which is tested with the meter.
func costOf(c upstreamtest.Case) string {
	m := openaichat.Chat.NewMeter()
	m.Body(c.Body)
	return m.Reading().CostUSD
}

// sameBody writes different ways to say the same in one way.
func sameBody(body map[string]any) map[string]any {
	body = withoutNulls(body).(map[string]any)
	delete(body, "object") // Perplexity's own word
	for _, c := range body["choices"].([]any) {
		c := c.(map[string]any)
		delete(c, "delta") // Perplexity repeats the message
		m, _ := c["message"].(map[string]any)
		if m == nil { // Azure, where its filter stopped the answer before its first word
			m = map[string]any{"content": ""}
			c["message"] = m
		}
		delete(m, "role") // always the assistant's; one recording lacks it
		if annotations, ok := m["annotations"].([]any); ok && len(annotations) == 0 {
			delete(m, "annotations") // an empty list says nothing
		}
		calls, _ := m["tool_calls"].([]any)
		if len(calls) > 0 && m["content"] == "" {
			delete(m, "content") // as in requests
		}
		for _, call := range calls {
			call := call.(map[string]any)
			delete(call, "index") // its place
			if id := call["id"].(string); id == "" || strings.HasPrefix(id, "call_") && len(id) == len("call_")+24 {
				delete(call, "id") // made where a provider sent none
			}
		}
	}
	return body
}

// TestTranslatedStreams decodes each recorded stream and encodes it again. What
// clients collect of both must be the same.
func TestTranslatedStreams(t *testing.T) {
	n := 0
	for _, c := range recordedChats(t) {
		if !c.Stream || c.Status != 200 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			events, reading := decodeStream(c.Body, upstreamtest.Whole, c.Model)
			requireOrder(t, events)
			plain, _ := meter(c, upstreamtest.Whole)
			require.Equal(t, plain, reading, "a decoder reads as the meter does")
			for _, split := range upstreamtest.Splits {
				splitEvents, splitReading := decodeStream(c.Body, split, c.Model)
				require.Equal(t, events, splitEvents, split.Name)
				require.Equal(t, reading, splitReading, split.Name)
			}
			e := openaichat.Chat.NewEncoder(answerOptions())
			var stream []byte
			for _, event := range events {
				stream = e.AppendEvent(stream, event)
			}
			if failed, ok := events[len(events)-1].(llm.Failed); ok {
				require.NotContains(t, string(stream), "[DONE]")
				require.NotContains(t, string(stream), `"finish_reason":"`)
				require.Contains(t, string(stream), `{"error":{`)
				require.NotEmpty(t, failed.Err.Message)
				return
			}
			requireChunks(t, stream)
			want, got := accumulate(t, c.Body), accumulate(t, stream)
			moveUsage(want)
			if want["created"] == 0.0 { // Anthropic's compatible endpoint does not know when
				want["created"] = 1_700_000_000.0
			}
			require.Equal(t, want, got)
			n++
		})
	}
	require.Greater(t, n, 30)
}

func decodeStream(body []byte, split upstreamtest.Split, model string) ([]llm.Event, dialect.Reading) {
	d := openaichat.Chat.NewDecoder(dialect.UpstreamOptions{Model: model})
	var s sse.Scanner
	var events []llm.Event
	for _, piece := range split.Pieces(body) {
		_, _ = s.Write(piece)
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			d.Event(e)
			events = append(events, d.Events()...)
		}
	}
	return append(events, d.End(nil)...), d.Reading()
}

// requireOrder checks what package llm says of an answer's events.
func requireOrder(t *testing.T, events []llm.Event) {
	t.Helper()
	open := map[int]bool{}
	next := 0
	for i, e := range events {
		switch e := e.(type) {
		case llm.Started:
			require.Zero(t, i)
		case llm.PartStart:
			require.Equal(t, next, e.Part)
			open[e.Part] = true
			next++
		case llm.TextDelta:
			require.True(t, open[e.Part])
		case llm.ThinkingDelta:
			require.True(t, open[e.Part])
		case llm.ArgumentsDelta:
			require.True(t, open[e.Part])
		case llm.CitationDelta:
			require.True(t, open[e.Part])
		case llm.PartEnd:
			require.True(t, open[e.Part])
			delete(open, e.Part)
		case llm.ChoiceEnd:
			require.Empty(t, open)
		case llm.Finished:
			require.Empty(t, open)
			require.Equal(t, len(events)-1, i)
		case llm.Failed:
			require.Equal(t, len(events)-1, i)
		}
	}
}

// requireChunks checks what strict clients need of every chunk.
func requireChunks(t *testing.T, stream []byte) {
	t.Helper()
	var s sse.Scanner
	_, _ = s.Write(stream)
	first, done, usage := map[float64]bool{}, false, 0
	var id, model, created any
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		require.False(t, done, "nothing follows [DONE]")
		if done = string(e.Data) == "[DONE]"; done {
			continue
		}
		chunk := object(t, e.Data)
		require.Equal(t, "chat.completion.chunk", chunk["object"])
		if id == nil {
			id, model, created = chunk["id"], chunk["model"], chunk["created"]
			require.NotEmpty(t, id)
			require.NotEmpty(t, model)
		}
		require.Equal(t, []any{id, model, created}, []any{chunk["id"], chunk["model"], chunk["created"]})
		choices := chunk["choices"].([]any)
		if len(choices) == 0 {
			require.NotNil(t, chunk["usage"])
			usage++
			continue
		}
		require.Contains(t, chunk, "usage")
		require.Nil(t, chunk["usage"])
		choice := choices[0].(map[string]any)
		delta := choice["delta"].(map[string]any)
		index := choice["index"].(float64)
		require.Equal(t, !first[index], delta["role"] == "assistant", "the first chunk says the role")
		first[index] = true
	}
	require.True(t, done)
	require.LessOrEqual(t, usage, 1)
}

// moveUsage moves usage to where OpenAI has it, from where Groq and Moonshot do.
func moveUsage(all map[string]any) {
	if groq, ok := all["x_groq"].(map[string]any); ok && all["usage"] == nil && groq["usage"] != nil {
		all["usage"] = groq["usage"]
	}
	for name, c := range all {
		if choice, ok := c.(map[string]any); ok && strings.HasPrefix(name, "choice ") && choice["usage"] != nil {
			if all["usage"] == nil {
				all["usage"] = choice["usage"]
			}
			delete(choice, "usage")
		}
	}
}

// accumulate collects a stream as a client would that keeps every member, without
// any code of ours but the scanner of events.
func accumulate(t *testing.T, stream []byte) map[string]any {
	t.Helper()
	all := map[string]any{}
	var s sse.Scanner
	_, _ = s.Write(stream)
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		if e.Data == nil || string(e.Data) == "[DONE]" {
			continue
		}
		chunk := object(t, e.Data)
		choices, _ := chunk["choices"].([]any)
		// Ids differ from chunk to chunk at Groq; padding is padding; Perplexity has
		// another object in its last chunk.
		for _, name := range []string{"id", "obfuscation", "p", "object", "choices"} {
			delete(chunk, name)
		}
		if all["created"] != nil { // the first counts; Groq's go on
			delete(chunk, "created")
		}
		latest(all, chunk)
		for _, c := range choices {
			addChoice(all, c.(map[string]any))
		}
	}
	for _, c := range all {
		if c, ok := c.(map[string]any); ok && c["delta"] != nil {
			delete(c["delta"].(map[string]any), "calls")
		}
	}
	return withoutNulls(all).(map[string]any)
}

// latest takes members whose last value counts.
func latest(all, members map[string]any) {
	for name, value := range members {
		if value != nil {
			all[name] = value
		}
	}
}

func addChoice(all map[string]any, c map[string]any) {
	name := fmt.Sprint("choice ", c["index"])
	choice, _ := all[name].(map[string]any)
	if choice == nil {
		// Some never say the role, which can be no other.
		choice = map[string]any{"delta": map[string]any{"role": "assistant"}}
		all[name] = choice
	}
	delta, _ := c["delta"].(map[string]any)
	logprobs, _ := c["logprobs"].(map[string]any)
	delete(c, "delta")
	delete(c, "logprobs")
	delete(c, "message") // Perplexity repeats the message so far
	latest(choice, c)
	if logprobs != nil {
		list, _ := choice["logprobs"].([]any)
		choice["logprobs"] = append(list, logprobs["content"].([]any)...)
	}
	into := choice["delta"].(map[string]any)
	for name, value := range delta {
		addDelta(into, name, value)
	}
}

func addDelta(into map[string]any, name string, value any) {
	switch value := value.(type) {
	case nil:
	case string:
		text, _ := into[name].(string)
		switch {
		case name == "role" || name == "channel": // said again and again by some
			into[name] = value
		case text+value != "":
			into[name] = text + value
		}
	case []any:
		for _, element := range value {
			element, _ := element.(map[string]any)
			switch name {
			case "content": // Mistral's
				addContent(into, element)
			case "tool_calls":
				addCall(into, element)
			case "reasoning_details":
				merge(into, fmt.Sprint("detail ", element["index"], element["type"]), element)
			default:
				list, _ := into[name].([]any)
				into[name] = append(list, element)
			}
		}
	default:
		into[name] = value
	}
}

func addContent(into map[string]any, part map[string]any) {
	if part["type"] == "text" {
		addDelta(into, "content", part["text"])
		return
	}
	for _, piece := range part["thinking"].([]any) {
		addDelta(into, "thinking", piece.(map[string]any)["text"])
	}
}

// addCall numbers calls by their order: Anthropic's compatible endpoint counts from
// 1 where text came first.
func addCall(into map[string]any, call map[string]any) {
	order, _ := into["calls"].([]any)
	place := slices.Index(order, call["index"])
	if place < 0 {
		place = len(order)
		into["calls"] = append(order, call["index"])
	}
	delete(call, "index")
	merge(into, fmt.Sprint("call ", place), call)
}

// merge adds a fragment to what is known of its call or detail.
func merge(into map[string]any, key string, fragment map[string]any) {
	known, _ := into[key].(map[string]any)
	if known == nil {
		known = map[string]any{}
		into[key] = known
	}
	for name, value := range fragment {
		switch value := value.(type) {
		case map[string]any:
			merge(known, name, value)
		case string:
			text, _ := known[name].(string)
			if name == "arguments" || name == "text" {
				known[name] = text + value
			} else if value != "" { // Alibaba: empty ids in the chunks that go on
				known[name] = value
			}
		case nil:
		default:
			known[name] = value
		}
	}
}
