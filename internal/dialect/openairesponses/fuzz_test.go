package openairesponses_test

import (
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// What decodes can be written again, and what was written means the same.
func FuzzDecodeRequest(f *testing.F) {
	for _, c := range recorded(f) {
		if len(c.Request) < 4000 {
			f.Add(c.Request)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := codec.DecodeRequest(body, dialect.DecodeOptions{Seal: openSeal{}})
		if err != nil {
			var e *llm.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, llm.CauseInvalidRequest, e.Cause)
			return
		}
		first, err := codec.EncodeRequest(r, within())
		require.NoError(t, err)
		require.True(t, jsontext.Value(first).IsValid(jsontext.AllowInvalidUTF8(true)), string(first))
		again, err := codec.DecodeRequest(first, dialect.DecodeOptions{Seal: dialect.NoSeal{}})
		require.NoError(t, err, string(first))
		second, err := codec.EncodeRequest(again, within())
		require.NoError(t, err)
		require.Equal(t, string(first), string(second))
		_, _ = codec.EncodeRequest(r, foreign(true))
	})
}

// Whatever an upstream sends, a client gets a stream in good order.
func FuzzStream(f *testing.F) {
	for _, c := range recorded(f) {
		if c.Stream && len(c.Body) < 16000 {
			f.Add(c.Body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d, e := codec.NewDecoder(upstreamOptions), codec.NewEncoder(answerOptions())
		meter := codec.NewMeter()
		var s sse.Scanner
		_, _ = s.Write(body)
		var out []byte
		for event, ok := s.Next(); ok; event, ok = s.Next() {
			require.Equal(t, meter.Event(event), d.Event(event))
			for _, step := range d.Events() {
				out = e.AppendEvent(out, step)
			}
		}
		require.Equal(t, meter.Reading(), d.Reading())
		for _, step := range d.End(nil) {
			out = e.AppendEvent(out, step)
		}
		got := accumulate(t, out, false)
		require.Equal(t, !d.Reading().Complete, got.failed)
	})
}

// A whole answer written for a client reads as it did before.
func FuzzDecodeAnswer(f *testing.F) {
	for _, c := range recorded(f) {
		if !c.Stream && len(c.Body) < 8000 {
			f.Add(c.Body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, failed := codec.DecodeAnswer(body, upstreamOptions)
		if failed != nil {
			return
		}
		first := codec.NewEncoder(answerOptions()).AppendAnswer(nil, a)
		// Names that come twice in what a provider says are its own affair.
		twice := jsontext.AllowDuplicateNames(!jsontext.Value(body).IsValid(jsontext.AllowInvalidUTF8(true)))
		require.True(t, jsontext.Value(first).IsValid(jsontext.AllowInvalidUTF8(true), twice), string(first))
		again, failed := codec.DecodeAnswer(first, upstreamOptions)
		require.Nil(t, failed, string(first))
		require.Equal(t, kinds(a), kinds(again))
	})
}

// kinds is what an answer says, short of ids that may have been made up.
func kinds(a *llm.Answer) (list []string) {
	for _, p := range a.Choices[0].Parts {
		switch p := p.(type) {
		case *llm.Text:
			if p.Text != "" {
				list = append(list, "text "+p.Text)
			}
		case *llm.Refusal:
			list = append(list, "refusal "+p.Text)
		case *llm.ToolCall:
			list = append(list, "call "+p.Name+p.Arguments)
		case *llm.NativePart:
			list = append(list, "native "+p.Type)
		}
	}
	return list
}
