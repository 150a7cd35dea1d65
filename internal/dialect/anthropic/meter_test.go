package anthropic_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/anthropic"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// stream reads events given as their data.
func stream(data ...string) (dialect.Reading, []llm.Event, []dialect.Mark) {
	d := anthropic.Messages.NewDecoder(dialect.UpstreamOptions{Model: "up"})
	m := anthropic.Messages.NewMeter()
	var all []llm.Event
	var marks []dialect.Mark
	for _, text := range data {
		e := sse.Event{Data: []byte(text)}
		marks = append(marks, m.Event(e))
		if mark := d.Event(e); mark != marks[len(marks)-1] {
			panic("decoder and meter differ")
		}
		all = append(all, d.Events()...)
	}
	return m.Reading(), append(all, d.End(nil)...), marks
}

const (
	messageStart = `{"type":"message_start","message":{"id":"msg_1","model":"claude","usage":{"input_tokens":10,"output_tokens":1}}}`
	messageDelta = `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}`
	messageStop  = `{"type":"message_stop"}`
)

func TestMarks(t *testing.T) {
	for data, want := range map[string]dialect.Mark{
		messageStart: {}, messageDelta: {}, `{"type":"ping"}`: {}, `{"type":"new"}`: {}, `{`: {}, `[]`: {}, `7`: {}, ``: {},
		messageStop: {Terminal: true},
		`{"type":"error","error":{"type":"overloaded_error"}}`:                                           {Failed: true},
		`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`:             {},
		`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}`:     {},
		`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"x"}}`:            {Content: true},
		`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":"n"}}`:        {Content: true},
		`{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking"}}`:          {Content: true},
		`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}`:              {Content: true},
		`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}`: {},
		`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"x"}}`:    {Content: true},
		`{"type":"content_block_stop","index":0}`:                                                        {},
	} {
		_, _, marks := stream(data)
		require.Equal(t, want, marks[0], data)
	}
}

// Numbers of several events are cumulative, the last of each counts, and null is
// none.
func TestUsage(t *testing.T) {
	start := func(usage string) string {
		return `{"type":"message_start","message":{"usage":` + usage + `}}`
	}
	delta := func(usage string) string { return `{"type":"message_delta","delta":{},"usage":` + usage + `}` }
	for name, test := range map[string]struct {
		events []string
		want   llm.Usage
		none   bool
	}{
		"none":       {[]string{start(`null`), delta(`{}`), delta(`{"input_tokens":null}`), delta(`{"input_tokens":"5"}`)}, llm.Usage{}, true},
		"last":       {[]string{start(`{"input_tokens":1,"output_tokens":1}`), delta(`{"output_tokens":5}`), delta(`{"input_tokens":3,"output_tokens":null}`)}, llm.Usage{Input: 3, Output: 5}, false},
		"cache":      {[]string{start(`{"input_tokens":1,"cache_read_input_tokens":2,"cache_creation_input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4}}`)}, llm.Usage{Input: 1, CacheRead: 2, CacheWrite5m: 3, CacheWrite1h: 4}, false},
		"total only": {[]string{start(`{"input_tokens":1,"cache_creation_input_tokens":7}`)}, llm.Usage{Input: 1, CacheWrite5m: 7}, false},
		"split only": {[]string{start(`{"input_tokens":1,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4}}`)}, llm.Usage{Input: 1, CacheWrite5m: 3, CacheWrite1h: 4}, false},
		"total moves": {
			[]string{start(`{"input_tokens":1,"cache_creation_input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4}}`), delta(`{"output_tokens":1,"cache_creation_input_tokens":9}`)},
			llm.Usage{Input: 1, CacheWrite5m: 5, CacheWrite1h: 4, Output: 1},
			false,
		},
		"thinking": {[]string{delta(`{"output_tokens":5,"output_tokens_details":{"thinking_tokens":3}}`)}, llm.Usage{Output: 2, Reasoning: 3}, false},
		"too much": {[]string{delta(`{"output_tokens":5,"output_tokens_details":{"thinking_tokens":30}}`)}, llm.Usage{Reasoning: 5}, false},
		"negative": {[]string{delta(`{"output_tokens":-5,"input_tokens":1e300}`)}, llm.Usage{}, false},
		"twice":    {[]string{start(`{"input_tokens":4,"output_tokens":1}`), start(`{"input_tokens":4,"output_tokens":1}`), delta(`{"output_tokens":2}`)}, llm.Usage{Input: 4, Output: 2}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, _ := stream(test.events...)
			require.Equal(t, test.want, r.Usage)
			require.Equal(t, !test.none, r.Reported)
		})
	}
}

func TestComplete(t *testing.T) {
	block := `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`
	for name, test := range map[string]struct {
		events []string
		want   bool
		last   llm.Event
	}{
		"whole":        {[]string{messageStart, messageDelta, messageStop}, true, llm.Finished{}},
		"without stop": {[]string{messageStart, messageDelta}, false, llm.Failed{}},
		"nothing":      {nil, false, llm.Failed{}},
		"error":        {[]string{messageStart, `{"type":"error","error":{"type":"api_error"}}`, messageStop}, false, llm.Failed{}},
		"open block":   {[]string{messageStart, block, messageDelta, messageStop}, true, llm.Finished{}},
	} {
		r, got, _ := stream(test.events...)
		require.Equal(t, test.want, r.Complete, name)
		require.IsType(t, test.last, got[len(got)-1], name)
		requireSequence(t, got)
	}
	d := anthropic.Messages.NewDecoder(dialect.UpstreamOptions{})
	for _, data := range []string{messageStart, messageStop} {
		d.Event(sse.Event{Data: []byte(data)})
	}
	broke := &llm.Error{Cause: llm.CauseUpstreamCut}
	require.Equal(t, []llm.Event{llm.Failed{Err: broke}}, d.End(broke))
}

// Deltas fit the ordinary event only if they mean what it meant.
func TestOrdinaryEvents(t *testing.T) {
	delta := func(index, kind, member, text string) string {
		return `{"type":"content_block_delta","index":` + index + `,"delta":{"type":"` + kind + `","` + member + `":"` + text + `"}}`
	}
	start := func(index, block string) string {
		return `{"type":"content_block_start","index":` + index + `,"content_block":` + block + `}`
	}
	_, got, _ := stream(messageStart,
		start("0", `{"type":"thinking","thinking":""}`), delta("0", "thinking_delta", "thinking", "a"), delta("0", "thinking_delta", "thinking", "b"),
		start("1", `{"type":"text","text":"c"}`), delta("1", "text_delta", "text", "d"), delta("0", "thinking_delta", "thinking", "e"), // interleaved
		delta("1", "text_delta", "text", `f\n`), delta("1", "text_delta", "text", "g"), delta("1", "text_delta", "text", ""), delta("0", "signature_delta", "signature", "s"), delta("0", "signature_delta", "signature", "t"),
		start("2", `{"type":"tool_use","id":"i","name":"n","input":{}}`), delta("2", "input_json_delta", "partial_json", "{"), delta("2", "input_json_delta", "partial_json", "}"),
		start("3", `{"type":"tool_use","id":"j","name":"m","input":{"a":1}}`), delta("3", "input_json_delta", "partial_json", ""),
		delta("9", "text_delta", "text", "nowhere"),
		messageDelta, messageStop)
	requireSequence(t, got)
	var c llm.Collector
	for _, e := range got {
		c.Add(e)
	}
	a, failed := c.Answer()
	require.Nil(t, failed)
	require.Equal(t, []llm.Part{
		&llm.Thinking{Common: llm.Common{Opaque: &llm.Opaque{Format: anthropic.Format, Model: "up", Value: "st"}}, Text: "abe"},
		&llm.Text{Text: "cdf\ng"},
		&llm.ToolCall{ID: "i", Name: "n", Arguments: "{}"},
		&llm.ToolCall{ID: "j", Name: "m", Arguments: `{"a":1}`},
	}, a.Choices[0].Parts)
	require.Equal(t, llm.FinishStop, a.Choices[0].Reason)
}

// Blocks that only this format has are put together from any deltas.
func TestNativeBlocks(t *testing.T) {
	delta := func(delta string) string { return `{"type":"content_block_delta","index":0,"delta":` + delta + `}` }
	for name, test := range map[string]struct{ start, deltas, want string }{
		"input":        {`{"type":"server_tool_use","id":"s","input":{}}`, delta(`{"type":"input_json_delta","partial_json":""}`) + "|" + delta(`{"type":"input_json_delta","partial_json":"{\"a\":"}`) + "|" + delta(`{"type":"input_json_delta","partial_json":"1}"}`), `{"type":"server_tool_use","id":"s","input":{"a":1}}`},
		"no input":     {`{"type":"server_tool_use","id":"s","input":{"b":2}}`, ``, `{"type":"server_tool_use","id":"s","input":{"b":2}}`},
		"broken input": {`{"type":"server_tool_use","id":"s","input":{}}`, delta(`{"type":"input_json_delta","partial_json":"{\"a"}`), `{"type":"server_tool_use","id":"s","input":"{\"a"}`},
		"compaction":   {`{"type":"compaction","content":""}`, delta(`{"type":"compaction_delta","content":"sum","encrypted_content":"e"}`), `{"type":"compaction","content":"sum","encrypted_content":"e"}`},
		"text":         {`{"type":"new","text":"-"}`, delta(`{"type":"text_delta","text":"a"}`) + "|" + delta(`{"type":"text_delta","text":"b\""}`) + "|" + delta(`{"type":"text_delta","text":"c"}`), `{"type":"new","text":"-ab\"c"}`},
	} {
		t.Run(name, func(t *testing.T) {
			all := []string{messageStart, `{"type":"content_block_start","index":0,"content_block":` + test.start + `}`}
			if test.deltas != "" {
				all = append(all, strings.Split(test.deltas, "|")...)
			}
			_, got, _ := stream(append(all, `{"type":"content_block_stop","index":0}`, messageDelta, messageStop)...)
			requireSequence(t, got)
			begin := got[1].(llm.PartStart).Begin.(*llm.NativePart)
			require.JSONEq(t, test.want, string(begin.JSON))
			require.Equal(t, value(t, []byte(test.want)).(map[string]any)["type"], begin.Type)
		})
	}
}

func TestBodies(t *testing.T) {
	for body, want := range map[string]llm.Cause{
		``: llm.CauseUpstreamInvalid, `<html>`: llm.CauseUpstreamInvalid, `{}`: llm.CauseUpstreamInvalid, `{"content":"x"}`: llm.CauseUpstreamInvalid, `{"content":[]}x`: llm.CauseUpstreamInvalid,
		`{"type":"error","error":{"type":"overloaded_error","message":"x"}}`: llm.CauseUpstreamOverloaded,
		`{"content":[]}`: llm.CauseNone,
	} {
		m := anthropic.Messages.NewMeter()
		m.Body([]byte(body))
		d := anthropic.Messages.NewDecoder(dialect.UpstreamOptions{})
		d.Body([]byte(body))
		end := d.End(nil)
		_, failed := anthropic.Messages.DecodeAnswer([]byte(body), dialect.UpstreamOptions{})
		requireSameReading(t, m.Reading(), d.Reading())
		if want == llm.CauseNone {
			require.Nil(t, failed)
			require.True(t, m.Reading().Complete)
			require.IsType(t, llm.Finished{}, end[len(end)-1])
			continue
		}
		require.Equal(t, want, failed.Cause, body)
		require.Equal(t, want, m.Reading().Err.Cause)
		require.False(t, m.Reading().Complete)
		require.Equal(t, []llm.Event{llm.Failed{Err: d.Reading().Err}}, end)
	}
}

func TestTextForEstimates(t *testing.T) {
	m := anthropic.Messages.NewMeter()
	m.Body([]byte(`{"content":[{"type":"thinking","thinking":"a"},{"type":"text","text":"b\n"},{"type":"tool_use","name":"c","input":{"d":1}}]}`))
	require.Equal(t, "ab\nc{\"d\":1}", string(m.Reading().Text))
	m = anthropic.Messages.NewMeter()
	m.Body([]byte(`{"content":[{"type":"text","text":"b"}],"usage":{"input_tokens":1,"output_tokens":1}}`))
	require.Empty(t, m.Reading().Text)
	m = anthropic.Count.NewMeter()
	m.Body([]byte(`{"input_tokens":5}`))
	require.True(t, m.Reading().Complete)
	require.False(t, m.Reading().Reported)
}
