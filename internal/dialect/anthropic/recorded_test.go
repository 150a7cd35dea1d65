package anthropic_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/anthropic"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

func recorded(t testing.TB) []upstreamtest.Case {
	return upstreamtest.Cases(t, upstreamtest.OfAPI("anthropic.messages"))
}

// What a recorded request asks is asked again, member for member.
func TestRecordedRequests(t *testing.T) {
	for _, c := range recorded(t) {
		if c.Request == nil {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			r, err := anthropic.Messages.DecodeRequest(c.Request, dialect.DecodeOptions{Seal: dialect.NoSeal{}})
			require.NoError(t, err)
			again, err := anthropic.Messages.EncodeRequest(r, toItself())
			require.NoError(t, err)
			require.Equal(t, request(t, c.Request), request(t, again))
			requirePositions(t, r)
		})
	}
}

func TestRecordedCounts(t *testing.T) {
	for _, c := range upstreamtest.Cases(t, upstreamtest.OfAPI("anthropic.count_tokens")) {
		t.Run(c.Name, func(t *testing.T) {
			r, err := anthropic.Count.DecodeCount(c.Request, dialect.DecodeOptions{Seal: dialect.NoSeal{}})
			require.NoError(t, err)
			again, err := anthropic.Count.EncodeCount(r, toItself())
			require.NoError(t, err)
			require.Equal(t, request(t, c.Request), request(t, again))

			n, ok := anthropic.Count.DecodeCounted(c.Body)
			require.True(t, ok)
			require.Equal(t, value(t, c.Body), value(t, anthropic.Count.AppendCounted(nil, n)))
		})
	}
}

// toItself encodes what came in this format.
func toItself() dialect.EncodeOptions {
	return dialect.EncodeOptions{Unsaid: &dialect.Unsaid{Source: anthropic.Messages, Target: anthropic.Format}}
}

// requirePositions looks every part up by the path it names.
func requirePositions(t *testing.T, r *llm.Request) {
	t.Helper()
	for _, m := range r.Messages {
		for _, p := range m.Parts {
			require.Equal(t, m.Pos.Message, p.Base().Pos.Message)
		}
	}
}

// request is a body in a form in which two that say the same are equal: a text
// alone is as good as a block of text, and what is null, or false where that is
// the default, is as good as absent.
func request(t *testing.T, body []byte) map[string]any {
	t.Helper()
	r := value(t, body).(map[string]any)
	if r["stream"] == false {
		delete(r, "stream")
	}
	blocks(r, "system")
	for _, m := range list(r["messages"]) {
		blocks(m.(map[string]any), "content")
	}
	for _, tool := range list(r["tools"]) {
		if tool := tool.(map[string]any); tool["description"] == "" {
			delete(tool, "description")
		}
	}
	return r
}

func blocks(in map[string]any, name string) {
	if text, ok := in[name].(string); ok {
		in[name] = []any{map[string]any{"type": "text", "text": text}}
	}
	for _, b := range list(in[name]) {
		b := b.(map[string]any)
		if b["type"] == "tool_result" {
			blocks(b, "content")
			if b["is_error"] == false {
				delete(b, "is_error")
			}
		}
	}
}

func list(v any) []any { l, _ := v.([]any); return l }

// value reads JSON; members that are null count as absent.
func value(t testing.TB, text []byte) any {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(text, &v), "%s", text)
	return withoutNull(v)
}

func withoutNull(v any) any {
	switch v := v.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(_ string, member any) bool { return member == nil })
		for name := range v {
			v[name] = withoutNull(v[name])
		}
	case []any:
		for i := range v {
			v[i] = withoutNull(v[i])
		}
	}
	return v
}

// A recorded answer comes out as it went in, streamed or not, and costs what the
// provider says.
func TestRecordedAnswers(t *testing.T) {
	for _, c := range recorded(t) {
		if c.Status != 200 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			m := read(c, anthropic.Messages.NewMeter(), upstreamtest.Whole)
			d := anthropic.Messages.NewDecoder(dialect.UpstreamOptions{Model: c.Model})
			got := read(c, d, upstreamtest.Whole)
			requireUsage(t, c, m.Reading())
			requireFinish(t, c, m.Reading())
			require.Equal(t, c.ResponseModel, m.Reading().Model)
			broken := strings.Contains(c.Name, "documented-")
			require.Equal(t, !broken, m.Reading().Complete)
			require.Equal(t, broken && !strings.Contains(c.Name, "cut"), m.Reading().Err != nil)
			requireSameReading(t, m.Reading(), got.Reading())

			for _, split := range upstreamtest.Splits {
				again := read(c, anthropic.Messages.NewDecoder(dialect.UpstreamOptions{Model: c.Model}), split)
				require.Equal(t, got, again, split.Name)
			}
			requireSequence(t, got.events)
			if broken {
				require.IsType(t, llm.Failed{}, got.events[len(got.events)-1])
				return
			}
			if c.Stream {
				require.Equal(t, normal(accumulate(t, c.Body)), normal(accumulate(t, encode(t, got.events))))
			}
			requireWhole(t, c)
		})
	}
}

// reading is what a meter or decoder made of an answer.
type reading struct {
	reading dialect.Reading
	marks   []dialect.Mark
	events  []llm.Event
}

func (r reading) Reading() dialect.Reading { return r.reading }

func read(c upstreamtest.Case, m dialect.Meter, split upstreamtest.Split) (r reading) {
	d, decodes := m.(dialect.Decoder)
	take := func() {
		if decodes {
			r.events = append(r.events, d.Events()...)
		}
	}
	if c.Stream {
		var s sse.Scanner
		for _, piece := range split.Pieces(c.Body) {
			_, _ = s.Write(piece)
			for e, ok := s.Next(); ok; e, ok = s.Next() {
				r.marks = append(r.marks, m.Event(e))
				take()
			}
		}
	} else {
		m.Body(c.Body)
		take()
	}
	r.reading = m.Reading()
	if decodes {
		r.events = append(r.events, d.End(nil)...)
	}
	return r
}

func requireSameReading(t *testing.T, want, got dialect.Reading) {
	t.Helper()
	// A meter collects text from a whole answer only where there is no usage.
	want.Text, want.TextBytes, got.Text, got.TextBytes = nil, 0, nil, 0
	require.Equal(t, want, got)
}

func requireUsage(t *testing.T, c upstreamtest.Case, r dialect.Reading) {
	t.Helper()
	require.Equal(t, c.Usage != nil, r.Reported)
	if c.Usage == nil {
		require.Zero(t, r.Usage)
		return
	}
	require.Equal(t, c.Usage.Input, r.Usage.InputTotal(), "input")
	require.Equal(t, c.Usage.Output, r.Usage.OutputTotal(), "output")
	part := func(name string, want *int64, got int64) {
		t.Helper()
		if want != nil {
			require.Equal(t, *want, got, name)
		}
	}
	part("cached", c.Usage.Cached, r.Usage.Cached())
	part("cache creation", c.Usage.CacheCreation, r.Usage.CacheWrite())
	part("reasoning", c.Usage.Reasoning, r.Usage.Reasoning)

	beside := llm.Usage{}
	if strings.Contains(c.Name, "compaction") {
		beside = llm.Usage{Input: 100, CacheWrite5m: 55096, Output: 131}
	}
	require.Equal(t, beside, r.Beside)
	if strings.Contains(c.Name, "1h") {
		require.EqualValues(t, 2056, r.Usage.CacheWrite1h)
	}
}

func requireFinish(t *testing.T, c upstreamtest.Case, r dialect.Reading) {
	t.Helper()
	words := map[string]llm.FinishReason{
		"end_turn": llm.FinishStop, "stop_sequence": llm.FinishStop, "max_tokens": llm.FinishLength,
		"tool_use": llm.FinishToolCalls, "refusal": llm.FinishFilter, "pause_turn": llm.FinishPause,
	}
	for _, word := range c.Finish {
		require.Contains(t, words, word)
		require.Equal(t, words[word], r.Finish)
	}
}

// requireSequence checks that events come in the order that package llm says.
func requireSequence(t *testing.T, events []llm.Event) {
	t.Helper()
	open, next, last := map[int]bool{}, 0, false
	for i, e := range events {
		require.False(t, last, "%T after the end", e)
		number := -1
		switch e := e.(type) {
		case llm.Started:
			require.Zero(t, i)
		case llm.PartStart:
			require.Equal(t, next, e.Part)
			open[e.Part], next = true, next+1
		case llm.PartEnd:
			require.True(t, open[e.Part])
			delete(open, e.Part)
		case llm.TextDelta:
			number = e.Part
			require.NotEmpty(t, e.Text)
		case llm.ThinkingDelta:
			number = e.Part
		case llm.ArgumentsDelta:
			number = e.Part
		case llm.CitationDelta:
			number = e.Part
		case llm.Finished:
			require.Empty(t, open)
			last = true
		case llm.Failed:
			last = true
		}
		if number >= 0 {
			require.True(t, open[number])
		}
	}
	require.True(t, last)
}

// encode writes events for a client that streams.
func encode(t testing.TB, events []llm.Event) []byte {
	t.Helper()
	e := anthropic.Messages.NewEncoder(dialect.AnswerOptions{Stream: true, Model: "asked", RequestID: "req", Now: func() int64 { return 1 }, Seal: dialect.NoSeal{}})
	var stream []byte
	for _, event := range events {
		stream = e.AppendEvent(stream, event)
	}
	return stream
}

// requireWhole checks the answer as one that is no stream: a stream's put
// together, or a recorded one, decoded and encoded.
func requireWhole(t *testing.T, c upstreamtest.Case) {
	t.Helper()
	var a *llm.Answer
	var want any
	if c.Stream {
		d := anthropic.Messages.NewDecoder(dialect.UpstreamOptions{Model: c.Model})
		got := read(c, d, upstreamtest.Whole)
		var collected llm.Collector
		for _, e := range got.events {
			collected.Add(e)
		}
		answer, err := collected.Answer()
		require.Nil(t, err)
		a, want = answer, accumulate(t, c.Body)
	} else {
		answer, err := anthropic.Messages.DecodeAnswer(c.Body, dialect.UpstreamOptions{Model: c.Model})
		require.Nil(t, err)
		a, want = answer, value(t, c.Body)
	}
	e := anthropic.Messages.NewEncoder(dialect.AnswerOptions{Now: func() int64 { return 1 }, Seal: dialect.NoSeal{}})
	require.Equal(t, normal(want), normal(value(t, e.AppendAnswer(nil, a))))
}

// accumulate puts a stream together, every member of every event included, as a
// client would that knows nothing but the rules: deltas add to strings, other
// members replace what was there. It insists on their order.
func accumulate(t testing.TB, stream []byte) any {
	t.Helper()
	var s sse.Scanner
	_, _ = s.Write(stream)
	var message map[string]any
	var content []any
	index := map[float64]int{}
	inputs := map[int]string{}
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		if e.Data == nil {
			continue
		}
		data := value(t, e.Data).(map[string]any)
		require.Equal(t, string(e.Type), data["type"])
		switch data["type"] {
		case "message_start":
			message = data["message"].(map[string]any)
		case "content_block_start":
			index[data["index"].(float64)] = len(content)
			content = append(content, data["content_block"])
		case "content_block_delta":
			at := index[data["index"].(float64)]
			addDelta(t, content[at].(map[string]any), data["delta"].(map[string]any), inputs, at)
		case "message_delta":
			maps.Copy(message, data["delta"].(map[string]any))
			maps.Copy(message["usage"].(map[string]any), data["usage"].(map[string]any))
			delete(data, "delta")
			delete(data, "usage")
			delete(data, "type")
			maps.Copy(message, data)
		}
	}
	for at, input := range inputs {
		if input != "" {
			content[at].(map[string]any)["input"] = value(t, []byte(input))
		}
	}
	message["content"] = content
	return message
}

func addDelta(t testing.TB, block, delta map[string]any, inputs map[int]string, at int) {
	t.Helper()
	for name, member := range delta {
		switch name {
		case "type":
		case "partial_json":
			inputs[at] += member.(string)
		case "citation":
			block["citations"] = append(list(block["citations"]), member)
		case "text", "thinking", "signature":
			text, _ := block[name].(string)
			block[name] = text + member.(string)
		default:
			block[name] = member
		}
	}
}

// normal makes answers that say the same equal. What it evens out:
//   - counters of 0 are as good as absent,
//   - the tokens written to a cache may be told apart or not, if they are all of
//     the usual five minutes,
//   - no blocks may be null or an empty list.
func normal(v any) any {
	m := maps.Clone(v.(map[string]any))
	if len(list(m["content"])) == 0 {
		delete(m, "content")
	}
	if usage, ok := m["usage"].(map[string]any); ok {
		usage = withoutZero(usage)
		if split, ok := usage["cache_creation"].(map[string]any); ok && split["ephemeral_1h_input_tokens"] == nil {
			delete(usage, "cache_creation")
		}
		m["usage"] = usage
	}
	return m
}

func withoutZero(m map[string]any) map[string]any {
	m = maps.Clone(m)
	for _, name := range slices.Collect(maps.Keys(m)) {
		switch v := m[name].(type) {
		case float64:
			if v == 0 {
				delete(m, name)
			}
		case map[string]any:
			if m[name] = withoutZero(v); len(withoutZero(v)) == 0 {
				delete(m, name)
			}
		}
	}
	return m
}
