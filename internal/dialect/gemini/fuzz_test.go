package gemini_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/gemini"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// seeds adds the recordings, large ones cut.
func seeds(f *testing.F, requests, answers bool) {
	for _, c := range recorded(f) {
		if requests && c.Request != nil && len(c.Request) < 64<<10 {
			f.Add(c.Request)
		}
		if answers && len(c.Body) < 64<<10 {
			f.Add(c.Body)
		}
	}
}

func FuzzPatch(f *testing.F) {
	seeds(f, true, false)
	f.Add([]byte(`{"system_instruction":{"parts":{"text":"a"}},"generation_config":{"max_output_tokens":"5"},"contents":{"parts":{"text":"x"}}}`))
	temperature := 0.5
	f.Fuzz(func(t *testing.T, body []byte) {
		k, err := gemini.Generate{}.Read(body)
		if err != nil {
			requireInvalid(t, err)
			return
		}
		k.AppendText(nil, 1000)
		same, err := k.Patch(dialect.Edits{})
		require.NoError(t, err)
		require.Equal(t, body, same)
		patched, err := k.Patch(dialect.Edits{SystemPrompt: "prompt", Temperature: &temperature, MaxTokens: 5})
		require.NoError(t, err)
		again, err := gemini.Generate{}.Read(patched)
		require.NoError(t, err)
		require.Positive(t, again.MaxTokens())
		require.LessOrEqual(t, again.MaxTokens(), int64(5))
		require.True(t, bytes.HasPrefix(again.AppendText(nil, 1000), []byte("prompt")))
	})
}

func requireInvalid(t *testing.T, err error) {
	t.Helper()
	var e *llm.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, llm.CauseInvalidRequest, e.Cause)
	require.NotEmpty(t, e.Message)
}

// What was decoded, encoded and decoded again is what was decoded.
func FuzzDecodeRequest(f *testing.F) {
	seeds(f, true, false)
	f.Add([]byte(`{"contents":[{"parts":[{"text":"x"}]},{"role":"model","parts":[{"functionCall":{"id":"1","name":"f","args":{"a":[1]}}},{"thought":true,"text":"h"}]},{"role":"function","parts":[{"functionResponse":{"name":"f","response":{"error":"no"}}}]}],
		"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"OBJECT","nullable":true}}],"googleSearch":{}}],"labels":{"a":"b"},"generationConfig":{"responseMimeType":"text/x.enum","responseSchema":{"type":"STRING","enum":["a"]},"thinkingConfig":{"thinkingBudget":5}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		g := gemini.Generate{Model: "gemini-3-flash"}
		seal := dialect.DecodeOptions{Seal: plainSeal{}}
		r, err := g.DecodeRequest(body, seal)
		if err != nil {
			requireInvalid(t, err)
			return
		}
		o := encodeOptions()
		out, err := g.EncodeRequest(r, o)
		if err != nil {
			requireInvalid(t, err) // a seed too long, say
			return
		}
		require.True(t, json.Valid(out), "%s", out)
		again, err := g.DecodeRequest(out, seal)
		require.NoError(t, err, "%s", out)
		if len(o.Unsaid.Dropped) > 0 || bytes.Contains(out, []byte("skip_thought_signature_validator")) {
			return
		}
		more, err := g.EncodeRequest(again, encodeOptions())
		require.NoError(t, err)
		require.Equal(t, string(out), string(more))
	})
}

func FuzzStream(f *testing.F) {
	seeds(f, false, true)
	f.Fuzz(func(t *testing.T, stream []byte) {
		m, d := gemini.Generate{}.NewMeter(), gemini.Generate{}.NewDecoder(dialect.UpstreamOptions{Model: "m"})
		e := gemini.Generate{}.NewEncoder(answerOptions())
		var s sse.Scanner
		_, _ = s.Write(stream)
		open := map[int]bool{}
		say := func(events []llm.Event) (out []byte) {
			for _, event := range events {
				requireOrder(t, open, event)
				out = e.AppendEvent(out, event)
			}
			return out
		}
		for event, ok := s.Next(); ok; event, ok = s.Next() {
			require.Equal(t, m.Event(event), d.Event(event))
			requireStream(t, say(d.Events()))
		}
		want, got := m.Reading(), d.Reading()
		require.True(t, reflect.DeepEqual(want, got), "%+v\n%+v", want, got)
		requireBuckets(t, got.Usage)
		end := d.End(nil)
		requireStream(t, say(end))
		require.Empty(t, open)
		_, finished := end[len(end)-1].(llm.Finished)
		require.Equal(t, got.Complete, finished)
	})
}

// requireOrder checks that parts begin before they go on and end once.
func requireOrder(t *testing.T, open map[int]bool, e llm.Event) {
	t.Helper()
	switch e := e.(type) {
	case llm.PartStart:
		require.False(t, open[e.Part])
		open[e.Part] = true
	case llm.TextDelta:
		require.True(t, open[e.Part])
	case llm.ThinkingDelta:
		require.True(t, open[e.Part])
	case llm.ArgumentsDelta:
		require.True(t, open[e.Part])
		require.True(t, json.Valid([]byte(e.JSON)))
	case llm.PartEnd:
		require.True(t, open[e.Part])
		delete(open, e.Part)
	}
}

func requireStream(t *testing.T, out []byte) {
	t.Helper()
	var s sse.Scanner
	_, _ = s.Write(out)
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		require.True(t, json.Valid(e.Data), "%s", e.Data)
	}
	require.Empty(t, s.Rest())
}

func requireBuckets(t *testing.T, u llm.Usage) {
	t.Helper()
	for _, count := range reflect.ValueOf(u).Fields() {
		require.GreaterOrEqual(t, count.Int(), int64(0))
	}
}

// An answer decoded, encoded and decoded again is the same answer.
func FuzzDecodeAnswer(f *testing.F) {
	seeds(f, false, true)
	f.Fuzz(func(t *testing.T, body []byte) {
		m := gemini.Generate{}.NewMeter()
		m.Body(body)
		a, failed := gemini.Generate{}.DecodeAnswer(body, dialect.UpstreamOptions{Model: "m"})
		require.Equal(t, m.Reading().Complete, failed == nil)
		if failed != nil {
			require.NotEmpty(t, failed.Message)
			return
		}
		requireBuckets(t, a.Usage)
		out := gemini.Generate{}.NewEncoder(answerOptions()).AppendAnswer(nil, a)
		require.True(t, json.Valid(out), "%s", out)
		again, failed := gemini.Generate{}.DecodeAnswer(out, dialect.UpstreamOptions{Model: "m"})
		require.Nil(t, failed, "%s", out)
		more := gemini.Generate{}.NewEncoder(answerOptions()).AppendAnswer(nil, again)
		require.Equal(t, string(out), string(more))
	})
}

func FuzzArrayFramer(f *testing.F) {
	seeds(f, false, true)
	f.Fuzz(func(t *testing.T, stream []byte) {
		var whole, pieces gemini.ArrayFramer
		want, err := whole.Append(nil, stream)
		require.NoError(t, err)
		var got []byte
		for i := range stream {
			got, err = pieces.Append(got, stream[i:i+1])
			require.NoError(t, err)
		}
		want, got = whole.Close(want), pieces.Close(got)
		require.Equal(t, string(want), string(got))
		require.True(t, json.Valid(want), "%s", want)
	})
}

func FuzzEmbed(f *testing.F) {
	f.Add([]byte(`{"content":{"parts":[{"text":"a"}]},"taskType":"X","outputDimensionality":5}`))
	f.Add([]byte(`{"requests":[{"model":"models/x","content":{"parts":[{"text":"a"},{"inline_data":{"mime_type":"image/png","data":"AAAA"}}]}},{"content":{"parts":{"text":"b"}}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, codec := range []gemini.Embed{{Model: "x"}, {Model: "x", Batch: true}} {
			if k, err := codec.Read(body); err == nil {
				_, _ = k.Patch(dialect.Edits{Model: "y"})
				k.AppendText(nil, 100)
			}
			r, err := codec.DecodeEmbed(body)
			if err != nil {
				requireInvalid(t, err)
				continue
			}
			out, err := codec.EncodeEmbed(r, &dialect.Unsaid{Target: dialect.Gemini})
			require.NoError(t, err)
			again, err := codec.DecodeEmbed(out)
			require.NoError(t, err)
			more, err := codec.EncodeEmbed(again, &dialect.Unsaid{Target: dialect.Gemini})
			require.NoError(t, err)
			require.Equal(t, string(out), string(more))
		}
		if a, failed := (gemini.Embed{}).DecodeEmbedded(body); failed == nil {
			require.True(t, json.Valid(gemini.Embed{}.AppendEmbedded(nil, a, &llm.EmbedRequest{})))
		}
	})
}

func FuzzCount(f *testing.F) {
	f.Add([]byte(`{"contents":[{"parts":[{"text":"x"}]}]}`))
	f.Add([]byte(`{"generateContentRequest":{"model":"models/x","contents":[{"parts":[{"text":"x"}]}],"tools":[{"googleSearch":{}}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		codec := gemini.Count{Model: "m"}
		if k, err := codec.Read(body); err == nil {
			patched, err := k.Patch(dialect.Edits{Model: "n", SystemPrompt: "prompt"})
			require.NoError(t, err)
			again, err := codec.Read(patched)
			require.NoError(t, err, "%s", patched)
			require.True(t, bytes.HasPrefix(again.AppendText(nil, 1000), []byte("prompt")))
		} else {
			requireInvalid(t, err)
		}
		r, err := codec.DecodeCount(body, dialect.DecodeOptions{Seal: dialect.NoSeal{}})
		if err != nil {
			requireInvalid(t, err)
			return
		}
		out, err := codec.EncodeCount(r, dialect.EncodeOptions{Unsaid: &dialect.Unsaid{Source: codec, Target: dialect.Gemini}})
		if err == nil {
			require.True(t, json.Valid(out), "%s", out)
		}
		codec.DecodeCounted(body)
	})
}
