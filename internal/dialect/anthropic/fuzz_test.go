package anthropic_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/anthropic"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// seed adds what is recorded: the requests, or the answers that are streams or
// are not.
func seed(f *testing.F, take func(upstreamtest.Case) []byte) {
	f.Helper()
	for _, c := range recorded(f) {
		if text := take(c); text != nil && len(text) < 64<<10 {
			f.Add(text)
		}
	}
}

func requestsOf(c upstreamtest.Case) []byte { return c.Request }

func streamsOf(c upstreamtest.Case) []byte {
	if !c.Stream {
		return nil
	}
	return c.Body
}

func bodiesOf(c upstreamtest.Case) []byte {
	if c.Stream {
		return nil
	}
	return c.Body
}

// FuzzPatch: what is read can be edited, the edits are there, and the rest is as
// it was.
func FuzzPatch(f *testing.F) {
	seed(f, requestsOf)
	f.Fuzz(func(t *testing.T, body []byte) {
		call, err := anthropic.Messages.Read(body)
		if err != nil {
			return
		}
		same, err := call.Patch(dialect.Edits{})
		require.NoError(t, err)
		require.Equal(t, body, same)
		got, err := call.Patch(dialect.Edits{Model: "other", SystemPrompt: "prompt", MaxTokens: 1, Temperature: new(0.25)})
		require.NoError(t, err)
		again, err := anthropic.Messages.Read(got)
		require.NoError(t, err, "%s", got)
		require.Equal(t, "other", again.Model())
		require.LessOrEqual(t, again.MaxTokens(), int64(1))
		require.Equal(t, call.Stream(), again.Stream())
		require.Contains(t, string(again.AppendText(nil, 1<<20)), "prompt")
	})
}

// FuzzMeter: any bytes can be metered, and the decoder reads what the meter
// does.
func FuzzMeter(f *testing.F) {
	seed(f, streamsOf)
	f.Fuzz(func(t *testing.T, body []byte) {
		c := upstreamtest.Case{Stream: true, Body: body}
		m := read(c, anthropic.Messages.NewMeter(), upstreamtest.Whole)
		d := read(c, anthropic.Messages.NewDecoder(dialect.UpstreamOptions{}), upstreamtest.Whole)
		require.Equal(t, m.reading, d.reading)
		require.Equal(t, m.marks, d.marks)
		requireNotNegative(t, m.reading.Usage)
		requireNotNegative(t, m.reading.Beside)
	})
}

func requireNotNegative(t *testing.T, u llm.Usage) {
	t.Helper()
	for _, count := range reflect.ValueOf(u).Fields() {
		require.GreaterOrEqual(t, count.Int(), int64(0))
	}
}

// FuzzStream: whatever an upstream streams, events come in order, packets do not
// matter, a client gets a stream that strict readers take, and what it gets says
// the same when read again.
func FuzzStream(f *testing.F) {
	seed(f, streamsOf)
	f.Fuzz(func(t *testing.T, body []byte) {
		c := upstreamtest.Case{Stream: true, Body: body}
		got := read(c, anthropic.Messages.NewDecoder(dialect.UpstreamOptions{Model: "m"}), upstreamtest.Whole)
		require.Equal(t, got, read(c, anthropic.Messages.NewDecoder(dialect.UpstreamOptions{Model: "m"}), upstreamtest.PerByte))
		requireSequence(t, got.events)
		written := encode(t, got.events)
		_, failed := got.events[len(got.events)-1].(llm.Failed)
		if failed && len(got.events) == 1 {
			return
		}
		requireStrict(t, written, !failed)
		if failed {
			return
		}
		d := anthropic.Messages.NewDecoder(dialect.UpstreamOptions{Model: "m"})
		again := read(upstreamtest.Case{Stream: true, Body: written}, d, upstreamtest.Whole)
		require.Equal(t, got.reading.Usage, again.reading.Usage)
		if got.reading.Finish != llm.FinishUnknown { // a client must be told some reason
			require.Equal(t, got.reading.Finish, again.reading.Finish)
		}
		require.Equal(t, string(written), string(encode(t, again.events)))
	})
}

// FuzzRequest: what is decoded can be encoded, for this format and after a
// stranger's; and encoding what was encoded changes nothing.
func FuzzRequest(f *testing.F) {
	seed(f, requestsOf)
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := anthropic.Messages.DecodeRequest(body, dialect.DecodeOptions{Seal: openSeal{}})
		if err != nil {
			var e *llm.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, llm.CauseInvalidRequest, e.Cause)
			return
		}
		once, err := anthropic.Messages.EncodeRequest(r, toItself())
		require.NoError(t, err)
		require.True(t, jsontext.Value(once).IsValid(jsontext.AllowInvalidUTF8(true)), "%s", once) // no name twice, either
		r, err = anthropic.Messages.DecodeRequest(once, dialect.DecodeOptions{Seal: openSeal{}})
		require.NoError(t, err, "%s", once)
		twice, err := anthropic.Messages.EncodeRequest(r, toItself())
		require.NoError(t, err)
		require.Equal(t, string(once), string(twice))

		foreign, err := anthropic.Messages.EncodeRequest(r, dialect.EncodeOptions{Unsaid: &dialect.Unsaid{Drop: true, Target: anthropic.Format}})
		require.NoError(t, err)
		require.True(t, jsontext.Value(foreign).IsValid(jsontext.AllowInvalidUTF8(true)), "%s", foreign)
	})
}

// FuzzAnswer: any body decodes or is refused, and what was decoded comes out the
// same twice.
func FuzzAnswer(f *testing.F) {
	seed(f, bodiesOf)
	f.Fuzz(func(t *testing.T, body []byte) {
		a, failed := anthropic.Messages.DecodeAnswer(body, dialect.UpstreamOptions{Model: "m"})
		m := anthropic.Messages.NewMeter()
		m.Body(body)
		require.Equal(t, failed == nil, m.Reading().Complete)
		if failed != nil {
			return
		}
		once := anthropic.Messages.NewEncoder(options(false)).AppendAnswer(nil, a)
		require.True(t, json.Valid(once), "%s", once)
		a, failed = anthropic.Messages.DecodeAnswer(once, dialect.UpstreamOptions{Model: "m"})
		require.Nil(t, failed)
		twice := anthropic.Messages.NewEncoder(options(false)).AppendAnswer(nil, a)
		require.Equal(t, string(once), string(twice))

		e := anthropic.Messages.NewEncoder(options(true))
		var stream []byte
		for event := range a.Events {
			stream = e.AppendEvent(stream, event)
		}
		requireStrict(t, bytes.Clone(stream), true)
	})
}

// FuzzError: any error answer is read.
func FuzzError(f *testing.F) {
	seed(f, bodiesOf)
	f.Fuzz(func(t *testing.T, body []byte) {
		require.NotEmpty(t, anthropic.Messages.Error(400, nil, body).Message)
	})
}
