package openaichat_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// maxSeed bounds what recordings seed a fuzz target: long ones slow it down.
const maxSeed = 8 << 10

// FuzzDecodeRequest checks that whatever decodes can be encoded, for a lenient
// and for a strict upstream, and that the encoding says the same when it is
// decoded again.
func FuzzDecodeRequest(f *testing.F) {
	for _, c := range recordedChats(f) {
		if len(c.Request) > 0 && len(c.Request) < maxSeed {
			f.Add(c.Request)
		}
	}
	f.Add([]byte(`{"model":"m","messages":[{"role":"assistant","reasoning":"t","reasoning_details":[{"type":"reasoning.text","text":"t","signature":"tgs1_e30"}],"tool_calls":[{"id":"a__tgs1_e30","type":"function","function":{"name":"f","arguments":""}}]},{"role":"tool","tool_call_id":"a","content":[{"type":"image_url","image_url":{"url":"data:;base64,YQ=="}}]}],"functions":[{"name":"f"}],"function_call":{"name":"f"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := openaichat.Chat.DecodeRequest(body, dialect.DecodeOptions{Seal: seal{}})
		if err != nil {
			e, ok := errors.AsType[*llm.Error](err)
			require.True(t, ok)
			require.Equal(t, llm.CauseInvalidRequest, e.Cause)
			return
		}
		require.True(t, json.Valid(body))
		for _, strict := range []bool{false, true} {
			first := encodeAgain(t, r, strict)
			again, err := openaichat.Chat.DecodeRequest(first, dialect.DecodeOptions{Seal: seal{}})
			require.NoError(t, err, "%s", first)
			require.Equal(t, string(first), string(encodeAgain(t, again, strict)))
		}
	})
}

func encodeAgain(t *testing.T, r *llm.Request, strict bool) []byte {
	o := dialect.EncodeOptions{StrictChat: strict, Unsaid: &dialect.Unsaid{Target: dialect.OpenAIChat, Source: openaichat.Chat, Drop: true}}
	body, err := openaichat.Chat.EncodeRequest(r, o)
	require.NoError(t, err)
	require.True(t, json.Valid(body), "%s", body)
	return body
}

// FuzzDecodeStream checks that any stream gives events in order, the same at any
// packet border, that its decoder reads as the meter does, and that a client can
// be told of it.
func FuzzDecodeStream(f *testing.F) {
	for _, c := range recordedChats(f) {
		if c.Stream && len(c.Body) < maxSeed {
			f.Add(c.Body)
		}
	}
	f.Add([]byte("data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}}]}\n\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":\"}\"}}]}}]}\n\ndata: {\"choices\":[{\"delta\":{\"annotations\":[{}],\"images\":[{\"image_url\":{\"url\":\"data:;base64,YQ==\"}}],\"audio\":{\"data\":\"YQ==\"}},\"finish_reason\":\"x\"}]}\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		events, reading := decodeStream(stream, upstreamtest.Whole, "m")
		requireOrder(t, events)
		c := upstreamtest.Case{API: "openai.chat", Stream: true, Body: stream}
		plain, _ := meter(c, upstreamtest.Whole)
		require.Equal(t, plain, reading)
		if len(stream) < 2<<10 {
			again, _ := decodeStream(stream, upstreamtest.PerByte, "m")
			require.Len(t, again, len(events))
		}
		e := openaichat.Chat.NewEncoder(answerOptions())
		var out []byte
		for _, event := range events {
			out = e.AppendEvent(out, event)
		}
		if _, failed := events[len(events)-1].(llm.Failed); failed {
			require.NotContains(t, string(out), "\ndata: [DONE]\n")
			return
		}
		accumulate(t, out) // is JSON throughout
	})
}

// FuzzDecodeAnswer checks that any body is read without a panic, and that what is
// understood can be told to a client and means the same to it.
func FuzzDecodeAnswer(f *testing.F) {
	for _, c := range recordedChats(f) {
		if !c.Stream && len(c.Body) < maxSeed {
			f.Add(c.Body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, failed := openaichat.Chat.DecodeAnswer(body, dialect.UpstreamOptions{Model: "m"})
		if failed != nil {
			require.Nil(t, a)
			require.NotEmpty(t, failed.Cause)
			return
		}
		first := openaichat.Chat.NewEncoder(answerOptions()).AppendAnswer(nil, a)
		require.True(t, json.Valid(first), "%s", first)
		again, failed := openaichat.Chat.DecodeAnswer(first, dialect.UpstreamOptions{Model: "m"})
		require.Nil(t, failed, "%s", first)
		require.Equal(t, a.Usage, again.Usage)
		require.Len(t, again.Choices, len(a.Choices))
		for i, c := range a.Choices {
			if c.Reason != llm.FinishUnknown { // clients must be told one
				require.Equal(t, c.Reason, again.Choices[i].Reason)
			}
			require.Equal(t, llm.TextOf(c.Parts), llm.TextOf(again.Choices[i].Parts))
		}
	})
}

// FuzzEmbeddings checks both directions of embeddings.
func FuzzEmbeddings(f *testing.F) {
	for _, c := range upstreamtest.Cases(f, upstreamtest.OfAPI("openai.embeddings")) {
		f.Add(c.Request, c.Body)
	}
	f.Fuzz(func(t *testing.T, request, answer []byte) {
		u := &dialect.Unsaid{Target: dialect.OpenAIEmbeddings}
		r, err := openaichat.Embeddings.DecodeEmbed(request)
		if err != nil {
			r = &llm.EmbedRequest{}
		} else {
			body, err := openaichat.Embeddings.EncodeEmbed(r, u)
			require.NoError(t, err)
			again, err := openaichat.Embeddings.DecodeEmbed(body)
			require.NoError(t, err, "%s", body)
			require.Len(t, again.Inputs, len(r.Inputs))
		}
		a, failed := openaichat.Embeddings.DecodeEmbedded(answer)
		if failed != nil {
			return
		}
		require.True(t, json.Valid(openaichat.Embeddings.AppendEmbedded(nil, a, r)))
	})
}
