package upstream_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
	"github.com/financecommander/tollgate/internal/upstream"
)

// ask asks the demo provider.
func ask(t *testing.T, ctx context.Context, format dialect.Name, body string) *http.Response {
	t.Helper()
	p := upstream.NewDemo()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Endpoint(format, "m-1", false).String(), strings.NewReader(body))
	require.NoError(t, err)
	resp, err := p.Transport.RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	return resp
}

func read(t *testing.T, resp *http.Response) []byte {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return body
}

const question = `"model":"gpt-4o","messages":[{"role":"system","content":"Be kind."},{"role":"user","content":[{"type":"text","text":"Why\n is it  so?"}]}]`

func TestDemoProvider(t *testing.T) {
	p := upstream.NewDemo()
	require.True(t, p.Demo())
	require.True(t, p.AskUsage)
	require.True(t, p.Serves("anything"))
	require.Nil(t, p.Endpoint(dialect.OpenAIResponses, "m-1", false))
	h := http.Header{}
	require.NoError(t, p.Authorize(t.Context(), h, true))
	require.Empty(t, h)
}

func TestDemoChat(t *testing.T) {
	resp := ask(t, t.Context(), chat, `{`+question+`}`)
	require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
	body := read(t, resp)
	require.Len(t, body, int(resp.ContentLength))
	m := openaichat.Chat.NewMeter()
	m.Body(body)
	reading := m.Reading()
	require.NoError(t, asError(reading.Err))
	require.True(t, reading.Complete)
	require.Equal(t, llm.FinishStop, reading.Finish)
	require.Equal(t, "gpt-4o", reading.Model)
	text := said(body)
	require.Contains(t, text, "“Why is it so?”")
	require.Contains(t, text, "OPENAI_API_KEY")
	require.True(t, reading.Reported)
	require.EqualValues(t, 2+4+2*3, reading.Usage.InputTotal(), "a token a word, three a message")
	require.EqualValues(t, strings.Count(text, " ")+1, reading.Usage.OutputTotal())
}

// said is the text of an unstreamed chat answer.
func said(body []byte) string {
	var answer struct {
		Choices []struct {
			Message struct{ Content string }
		}
	}
	if json.Unmarshal(body, &answer) != nil || len(answer.Choices) == 0 {
		return ""
	}
	return answer.Choices[0].Message.Content
}

func asError(e *llm.Error) error {
	if e == nil {
		return nil
	}
	return e
}

func TestDemoStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the words' pace costs no time here
		for name, options := range map[string]string{"with usage": `,"stream_options":{"include_usage":true}`, "without": ""} {
			resp := ask(t, t.Context(), chat, `{`+question+`,"stream":true`+options+`}`)
			require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
			body := read(t, resp)
			m := openaichat.Chat.NewMeter()
			var s sse.Scanner
			_, _ = s.Write(body)
			for e, ok := s.Next(); ok; e, ok = s.Next() {
				m.Event(e)
			}
			reading := m.Reading()
			require.True(t, reading.Complete, name)
			require.Contains(t, string(reading.Text), "Why is it so?")
			require.Equal(t, name == "with usage", reading.Reported)
			if reading.Reported {
				require.EqualValues(t, 12, reading.Usage.InputTotal())
			}
			require.True(t, bytes.HasSuffix(body, []byte("data: [DONE]\n\n")))
			require.Contains(t, string(body), `"role":"assistant"`)
		}
	})
}

func TestDemoMaxTokens(t *testing.T) {
	for _, limit := range []string{`"max_tokens":3`, `"max_completion_tokens":3`} {
		m := openaichat.Chat.NewMeter()
		m.Body(read(t, ask(t, t.Context(), chat, `{`+question+`,`+limit+`}`)))
		require.Equal(t, llm.FinishLength, m.Reading().Finish)
		require.EqualValues(t, 3, m.Reading().Usage.OutputTotal())
	}
}

func TestDemoCompletion(t *testing.T) {
	m := openaichat.Completions.NewMeter()
	body := read(t, ask(t, t.Context(), completions, `{"model":"m","prompt":"Say it"}`))
	m.Body(body)
	require.True(t, m.Reading().Complete)
	require.Contains(t, string(body), "“Say it”")
	require.EqualValues(t, 2, m.Reading().Usage.InputTotal())
}

// Equal texts have equal vectors of length one; others have others.
func TestDemoEmbeddings(t *testing.T) {
	embed := func(input string) (vectors [][]float64, tokens int64) {
		var body struct {
			Data []struct {
				Index     int
				Embedding []float64
			}
			Usage struct {
				Prompt int64 `json:"prompt_tokens"`
			}
		}
		require.NoError(t, json.Unmarshal(read(t, ask(t, t.Context(), embeddings, `{"model":"m","input":`+input+`}`)), &body))
		for i, d := range body.Data {
			require.Equal(t, i, d.Index)
			vectors = append(vectors, d.Embedding)
		}
		return vectors, body.Usage.Prompt
	}
	two, tokens := embed(`["a b","c"]`)
	require.Len(t, two, 2)
	require.EqualValues(t, 3, tokens)
	one, _ := embed(`"c"`)
	require.Equal(t, two[1], one[0])
	require.NotEqual(t, two[0], two[1])
	sum := 0.0
	for _, x := range one[0] {
		sum += x * x
	}
	require.InDelta(t, 1, math.Sqrt(sum), 1e-9)
}

// A caller who leaves ends the answer: by cancelling, or by closing the body.
// Neither leaves a goroutine behind.
func TestDemoCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	resp := ask(t, ctx, chat, `{`+question+`,"stream":true}`)
	_, err := resp.Body.Read(make([]byte, 1000))
	require.NoError(t, err)
	cancel()
	_, err = io.ReadAll(resp.Body)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, resp.Body.Close())

	resp = ask(t, t.Context(), chat, `{`+question+`,"stream":true}`)
	require.NoError(t, resp.Body.Close())
}

// A cancelled request whose body nobody reads or closes ends, too.
func TestDemoCancelUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_ = ask(t, ctx, chat, `{`+question+`,"stream":true}`) // left open: the point of it
		cancel()
		synctest.Wait() // a goroutine left would fail the test
	})
}

func TestDemoRefuses(t *testing.T) {
	p := upstream.NewDemo()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Endpoint(chat, "m-1", false).String(), strings.NewReader(`{"messages":7}`))
	require.NoError(t, err)
	resp, err := p.Transport.RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Equal(t, llm.CauseUpstreamRejected, openaichat.Chat.Error(resp.StatusCode, resp.Header, read(t, resp)).Cause)
}
