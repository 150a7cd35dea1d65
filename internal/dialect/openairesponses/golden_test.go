package openairesponses_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openairesponses"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

var (
	decodeOptions   = dialect.DecodeOptions{Seal: dialect.NoSeal{}}
	upstreamOptions = dialect.UpstreamOptions{Model: "up"}
)

// within are the options of a request that stays in the format.
func within() dialect.EncodeOptions {
	return dialect.EncodeOptions{Unsaid: &dialect.Unsaid{Source: codec, Target: dialect.OpenAIResponses}}
}

func answerOptions() dialect.AnswerOptions {
	return dialect.AnswerOptions{Stream: true, Model: "asked", RequestID: "req_1", Now: func() int64 { return 1234 }, Seal: dialect.NoSeal{}}
}

// Every recorded request comes out as it came in.
func TestGoldenRequests(t *testing.T) {
	n := 0
	for _, c := range upstreamtest.Cases(t, upstreamtest.OfAPI("openai.responses", "openai.input_tokens")) {
		if c.Request == nil {
			continue
		}
		n++
		t.Run(c.Name, func(t *testing.T) {
			r, err := codec.DecodeRequest(c.Request, decodeOptions)
			require.NoError(t, err)
			options := within()
			var body []byte
			if c.API == "openai.input_tokens" {
				r, err = openairesponses.Count.DecodeCount(c.Request, decodeOptions)
				require.NoError(t, err)
				body, err = openairesponses.Count.EncodeCount(r, options)
			} else {
				body, err = codec.EncodeRequest(r, options)
			}
			require.NoError(t, err)
			require.Empty(t, options.Unsaid.Dropped)
			requireSame(t, c.Request, body)
		})
	}
	require.Greater(t, n, 30)
}

// Every recorded answer comes out as it came in, and costs what its provider
// said.
func TestGoldenAnswers(t *testing.T) {
	n := 0
	for _, c := range recorded(t) {
		if c.Status != 200 || c.Stream {
			continue
		}
		n++
		t.Run(c.Name, func(t *testing.T) {
			a, e := codec.DecodeAnswer(c.Body, upstreamOptions)
			require.Nil(t, e)
			require.NotEqual(t, llm.FinishUnknown, a.Choices[0].Reason)
			encoder := codec.NewEncoder(answerOptions()).(*openairesponses.Encoder)
			require.Equal(t, "{", string(encoder.AppendAnswer([]byte("{"), a)[:1]))
			encoder = codec.NewEncoder(answerOptions()).(*openairesponses.Encoder)
			body := encoder.AppendAnswer(nil, a)
			requireSame(t, c.Body, body)
			require.Equal(t, a.ID, encoder.ResponseID())
			require.Equal(t, string(body), string(encoder.Final()))

			d := codec.NewDecoder(upstreamOptions)
			d.Body(c.Body)
			requireUsage(t, c, d.Reading())
			require.NotEmpty(t, d.Events())
		})
	}
	require.Greater(t, n, 10)
}

// Every recorded stream comes out saying what it said, at any packet border.
func TestGoldenStreams(t *testing.T) {
	n := 0
	for _, c := range recorded(t) {
		if c.Status != 200 || !c.Stream {
			continue
		}
		n++
		t.Run(c.Name, func(t *testing.T) {
			if strings.HasSuffix(c.Name, "/shell-container-stream") {
				// Someone shortened the recording: its deltas say less than the text
				// at their end.
				const said = `"delta":" successfully."`
				c.Body = bytes.Replace(c.Body, []byte(said), []byte(strings.TrimSuffix(said, `."`)+restOfShortened+`"`), 1)
			}
			want := accumulate(t, c.Body, true)
			var first []byte
			for _, split := range []upstreamtest.Split{upstreamtest.Whole, upstreamtest.PerEvent, upstreamtest.PerByte, upstreamtest.Random} {
				stream, reading := translated(c.Body, split)
				requireUsage(t, c, reading)
				if first == nil {
					first = stream
					continue
				}
				require.Len(t, stream, len(first), split.Name) // ids made up differ, their length does not
			}
			got := accumulate(t, first, false)
			require.Equal(t, want.last, got.last)
			if got.last == "response.failed" {
				require.True(t, got.failed)
				return
			}
			requireSame(t, want.final(t), got.final(t))
			require.Equal(t, want.deltas, got.deltas)
		})
	}
	require.Greater(t, n, 15)
}

const restOfShortened = ` in the container. Here's the output:\n\n- The echo command printed: \"Hello from container!\"\n- The system is running Linux (kernel 6.1.0) on an x86_64 architecture.`

// translated decodes a stream and encodes it again.
func translated(body []byte, split upstreamtest.Split) ([]byte, dialect.Reading) {
	d, e := codec.NewDecoder(upstreamOptions), codec.NewEncoder(answerOptions())
	var s sse.Scanner
	var out []byte
	for _, piece := range split.Pieces(body) {
		_, _ = s.Write(piece)
		for event, ok := s.Next(); ok; event, ok = s.Next() {
			d.Event(event)
			for _, step := range d.Events() {
				out = e.AppendEvent(out, step)
			}
		}
	}
	for _, step := range d.End(nil) {
		out = e.AppendEvent(out, step)
	}
	return out, d.Reading()
}

// stream is what a client of a stream knows at its end.
type stream struct {
	response json.RawMessage
	items    map[int]json.RawMessage // as they were when they were done
	deltas   map[string]string       // by output index and kind
	last     string
	failed   bool // an event `error` came
}

// final is the response with its items as they were when they were done: the
// provider encrypts reasoning anew for the response at the end.
func (s stream) final(t *testing.T) []byte {
	t.Helper()
	var response map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(s.response, &response))
	var output []json.RawMessage
	require.NoError(t, json.Unmarshal(response["output"], &output))
	for i := range output {
		if item, ok := s.items[i]; ok {
			output[i] = item
		}
	}
	response["output"], _ = json.Marshal(output)
	body, err := json.Marshal(response)
	require.NoError(t, err)
	return body
}

// accumulate reads a stream as a strict client does: every event has the next
// number and is of an item and a part under way.
func accumulate(t *testing.T, body []byte, recorded bool) stream {
	t.Helper()
	got := stream{deltas: map[string]string{}, items: map[int]json.RawMessage{}}
	var s sse.Scanner
	_, _ = s.Write(body)
	var next int64
	open := map[string]bool{}
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		if len(e.Data) == 0 || e.Data[0] != '{' {
			continue
		}
		var event struct {
			Type     string
			Number   *int64 `json:"sequence_number"`
			Output   int    `json:"output_index"`
			Content  int    `json:"content_index"`
			Summary  int    `json:"summary_index"`
			ItemID   string `json:"item_id"`
			Item     json.RawMessage
			Delta    json.RawMessage
			Whole    string `json:"arguments"`
			Response json.RawMessage
			Error    json.RawMessage
		}
		require.NoError(t, json.Unmarshal(e.Data, &event), string(e.Data))
		if !recorded {
			require.Equal(t, event.Type, string(e.Type))
			require.NotNil(t, event.Number)
			require.Equal(t, next, *event.Number)
			require.NotContains(t, string(e.Data), "\n")
			require.NotEqual(t, "response.failed", got.last)
		}
		next++
		got.last = event.Type
		if event.Response != nil {
			got.response = event.Response
		}
		key := func(parts ...int) string {
			text, _ := json.Marshal(parts)
			return string(text)
		}
		switch event.Type {
		case "error":
			got.failed = event.Error != nil
		case "response.output_item.added":
			var item struct{ ID any }
			require.NoError(t, json.Unmarshal(event.Item, &item))
			open[key(event.Output)+fmt.Sprint(item.ID)] = true
		case "response.output_item.done":
			got.items[event.Output] = event.Item
		case "response.content_part.added":
			open[key(event.Output, event.Content)+event.ItemID] = true
		case "response.function_call_arguments.done":
			if at := key(event.Output, 0) + "response.function_call_arguments.delta"; recorded && got.deltas[at] == "" {
				got.deltas[at] = event.Whole // LM Studio sends them at once
			}
		case "response.output_text.delta", "response.refusal.delta", "response.function_call_arguments.delta",
			"response.custom_tool_call_input.delta", "response.reasoning_summary_text.delta", "response.reasoning_text.delta":
			var text string
			require.NoError(t, json.Unmarshal(event.Delta, &text))
			at := key(event.Output, event.Content) + event.Type
			if event.Summary > 0 && recorded && !strings.HasSuffix(got.deltas[at], "\n\n") && got.deltas[at+"#"] != key(event.Summary) {
				got.deltas[at] += "\n\n" // parts of a summary become paragraphs of it
			}
			got.deltas[at] += text
			if !recorded {
				require.True(t, open[key(event.Output)+event.ItemID], string(e.Data))
			}
		}
	}
	return got
}

// requireSame compares two bodies. These differences say nothing: a null for a
// member that is not there, a counter of zero for one that is not there, and a
// string for a list of one part with a text.
func requireSame(t *testing.T, want, got []byte) {
	t.Helper()
	if difference := differ("", normal(parse(t, want)), normal(parse(t, got))); difference != "" {
		t.Error(difference)
	}
}

// differ says where two values first differ; "" if they do not.
func differ(path string, want, got any) string {
	w, isObject := want.(map[string]any)
	g, gotObject := got.(map[string]any)
	if isObject && gotObject {
		names := slices.Collect(maps.Keys(w))
		names = slices.AppendSeq(names, maps.Keys(g))
		slices.Sort(names)
		for _, name := range names {
			if difference := differ(path+"."+name, w[name], g[name]); difference != "" {
				return difference
			}
		}
		return ""
	}
	wantList, isList := want.([]any)
	gotList, _ := got.([]any)
	if isList && len(wantList) == len(gotList) {
		for i := range wantList {
			if difference := differ(fmt.Sprintf("%s[%d]", path, i), wantList[i], gotList[i]); difference != "" {
				return difference
			}
		}
		return ""
	}
	if reflect.DeepEqual(want, got) {
		return ""
	}
	return fmt.Sprintf("%s: want %.300v, got %.300v", path, want, got)
}

func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			member = normal(member)
			v[name] = member
			if member == nil || strings.HasSuffix(name, "_tokens") && member == 0.0 {
				delete(v, name)
			}
			if list, ok := member.([]any); ok && (name == "content" || name == "output") && len(list) == 1 {
				part, _ := list[0].(map[string]any)
				names := slices.Sorted(maps.Keys(part))
				if slices.Equal(names, []string{"text", "type"}) && strings.HasSuffix(part["type"].(string), "put_text") {
					v[name] = part["text"]
				}
			}
		}
		return v
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
		return v
	case json.Number:
		f, _ := v.Float64()
		return f
	}
	return v
}
