package gemini_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/gemini"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

func recorded(t testing.TB) []upstreamtest.Case {
	return upstreamtest.Cases(t, upstreamtest.OfAPI("google.generate"))
}

func codecOf(c upstreamtest.Case) gemini.Generate {
	return gemini.Generate{Model: c.Model, Streaming: c.Stream}
}

// encodeOptions are for a request that came in this format.
func encodeOptions() dialect.EncodeOptions {
	return dialect.EncodeOptions{Unsaid: &dialect.Unsaid{Source: gemini.Generate{}, Target: dialect.Gemini}}
}

func answerOptions() dialect.AnswerOptions {
	return dialect.AnswerOptions{Seal: dialect.NoSeal{}, Now: func() int64 { return 0 }}
}

// What a client sent is what is sent on.
func TestRecordedRequests(t *testing.T) {
	for _, c := range recorded(t) {
		if c.Request == nil {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			g := codecOf(c)
			r, err := g.DecodeRequest(c.Request, dialect.DecodeOptions{Seal: dialect.NoSeal{}})
			require.NoError(t, err)
			require.Equal(t, c.Model, r.Model)
			require.Equal(t, c.Stream, r.Stream)
			o := encodeOptions()
			out, err := g.EncodeRequest(r, o)
			require.NoError(t, err)
			require.Empty(t, o.Unsaid.Dropped)
			require.Equal(t, plainRequest(t, c.Request), plainRequest(t, out))
		})
	}
}

// plainRequest is a body as Google reads it.
func plainRequest(t testing.TB, body []byte) any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal(body, &v))
	v = camel(v, requestNames).(map[string]any)
	// An empty object asks for nothing.
	if config, ok := v["generationConfig"].(map[string]any); ok && len(config) == 0 {
		delete(v, "generationConfig")
	}
	return v
}

// requestNames are the members that a recorded client wrote in snake case and
// this format has a word for; Google takes both.
var requestNames = map[string]string{
	"inline_data": "inlineData", "mime_type": "mimeType", "parameters_json_schema": "parametersJsonSchema",
}

func camel(v any, names map[string]string) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, value := range v {
			if other, ok := names[name]; ok {
				name = other
			}
			out[name] = camel(value, names)
		}
		return out
	case []any:
		for i := range v {
			v[i] = camel(v[i], names)
		}
	}
	return v
}

// What an upstream answered is what the client gets.
func TestRecordedAnswers(t *testing.T) {
	for _, c := range recorded(t) {
		if c.Status != 200 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			g := codecOf(c)
			a, failed := decodeAnswer(t, c)
			if strings.Contains(c.Name, "mid-stream") {
				require.Equal(t, llm.CauseUpstreamOverloaded, failed.Cause)
				require.Equal(t, "Hello, wor", llm.TextOf(a.Choices[0].Parts))
				return
			}
			require.Nil(t, failed)
			var out []byte
			encoder := g.NewEncoder(answerOptions())
			if !c.Stream {
				out = encoder.AppendAnswer(nil, a)
				require.Equal(t, plainAnswer(t, c.Body), plainAnswer(t, out))
				return
			}
			for e := range a.Events {
				out = encoder.AppendEvent(out, e)
			}
			require.Equal(t, accumulate(t, c.Body), accumulate(t, out))
		})
	}
}

func decodeAnswer(t testing.TB, c upstreamtest.Case) (*llm.Answer, *llm.Error) {
	t.Helper()
	o := dialect.UpstreamOptions{Model: c.Model}
	if !c.Stream {
		return codecOf(c).DecodeAnswer(c.Body, o)
	}
	return dialect.Collect(codecOf(c).NewDecoder(o), events(t, c.Body))
}

func events(t testing.TB, stream []byte) (all []sse.Event) {
	t.Helper()
	var s sse.Scanner
	_, err := s.Write(stream)
	require.NoError(t, err)
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		all = append(all, e)
	}
	return all
}

// plainAnswer is a whole answer with what means the same made the same.
func plainAnswer(t testing.TB, body []byte) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal(body, &v))
	if usage, ok := v["usageMetadata"].(map[string]any); ok {
		for name, n := range usage {
			if n == 0.0 { // a count of zero is as good as none
				delete(usage, name)
			}
		}
	}
	candidates, _ := v["candidates"].([]any)
	for _, c := range candidates {
		c := c.(map[string]any)
		if c["index"] == nil {
			c["index"] = 0.0
		}
		// A candidate without content has no parts, and its role is the model's.
		content, _ := c["content"].(map[string]any)
		if content == nil {
			content = map[string]any{}
		}
		content["role"] = "model"
		parts, _ := content["parts"].([]any)
		content["parts"] = joinParts(parts)
		c["content"] = content
	}
	return v
}
