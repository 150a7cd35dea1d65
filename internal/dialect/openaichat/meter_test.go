package openaichat_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

func event(data string) sse.Event {
	return sse.Event{Raw: []byte("data: " + data + "\n\n"), Data: []byte(data)}
}

func TestMarks(t *testing.T) {
	for name, tc := range map[string]struct {
		data string
		want dialect.Mark
	}{
		"role":               {`{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}`, dialect.Mark{}},
		"text":               {`{"choices":[{"index":0,"delta":{"content":"a"}}]}`, dialect.Mark{Content: true}},
		"reasoning":          {`{"choices":[{"delta":{"reasoning_content":"a","content":null}}]}`, dialect.Mark{Content: true}},
		"tool call":          {`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}}]}`, dialect.Mark{Content: true}},
		"refusal":            {`{"choices":[{"delta":{"refusal":"no"}}]}`, dialect.Mark{Content: true}},
		"audio":              {`{"choices":[{"delta":{"audio":{"data":"AAAA"}}}]}`, dialect.Mark{Content: true}},
		"completion":         {`{"choices":[{"index":0,"text":"a","finish_reason":null}]}`, dialect.Mark{Content: true}},
		"finish":             {`{"choices":[{"delta":{},"finish_reason":"stop"}]}`, dialect.Mark{}},
		"usage":              {`{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`, dialect.Mark{UsageOnly: true}},
		"usage with content": {`{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`, dialect.Mark{Content: true}},
		"filter results":     {`{"choices":[],"prompt_filter_results":[{"prompt_index":0}],"usage":null}`, dialect.Mark{}},
		"done":               {`[DONE]`, dialect.Mark{Terminal: true}},
		"error":              {`{"error":{"message":"x"}}`, dialect.Mark{Failed: true}},
		"no error":           {`{"error":null,"choices":[{"delta":{"content":"a"}}]}`, dialect.Mark{Content: true}},
		"not JSON":           {`oops`, dialect.Mark{}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, openaichat.Chat.NewMeter().Event(event(tc.data)))
		})
	}
	require.Zero(t, openaichat.Chat.NewMeter().Event(sse.Event{Raw: []byte(": ping\n\n")}))
}

func TestWhole(t *testing.T) {
	const (
		first  = `{"choices":[{"index":0,"delta":{"content":"a"}}]}`
		second = `{"choices":[{"index":1,"delta":{"content":"b"}}]}`
		stop0  = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
		stop1  = `{"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}`
		failed = `{"error":{"message":"x"}}`
	)
	for name, tc := range map[string]struct {
		events   string
		complete bool
		finish   llm.FinishReason
	}{
		"nothing":              {"", false, ""},
		"cut":                  {first, false, ""},
		"done":                 {first + "|[DONE]", true, ""},
		"finished, no done":    {first + "|" + stop0, true, "stop"},
		"one of two":           {first + "|" + second + "|" + stop0, false, "stop"},
		"both":                 {first + "|" + second + "|" + stop1 + "|" + stop0, true, "stop"},
		"error":                {first + "|" + failed, false, ""},
		"error, done all same": {first + "|" + stop0 + "|" + failed + "|[DONE]", false, "stop"},
	} {
		t.Run(name, func(t *testing.T) {
			m := openaichat.Chat.NewMeter()
			for data := range strings.SplitSeq(tc.events, "|") {
				m.Event(event(data))
			}
			r := m.Reading()
			require.Equal(t, tc.complete, r.Complete)
			require.Equal(t, tc.finish, r.Finish)
		})
	}
}

func TestUsageShapes(t *testing.T) {
	for name, tc := range map[string]struct {
		usage string
		want  llm.Usage
		cost  string
	}{
		"plain":                  {`{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}`, llm.Usage{Input: 10, Output: 5}, ""},
		"cached":                 {`{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":8}}`, llm.Usage{Input: 2, CacheRead: 8, Output: 5}, ""},
		"cached above prompt":    {`{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":80}}`, llm.Usage{CacheRead: 10, Output: 5}, ""},
		"cached, DeepSeek":       {`{"prompt_tokens":10,"completion_tokens":5,"prompt_cache_hit_tokens":8,"prompt_cache_miss_tokens":2}`, llm.Usage{Input: 2, CacheRead: 8, Output: 5}, ""},
		"cached, Moonshot":       {`{"prompt_tokens":10,"completion_tokens":5,"cached_tokens":8}`, llm.Usage{Input: 2, CacheRead: 8, Output: 5}, ""},
		"cache write":            {`{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":3,"cache_write_tokens":6}}`, llm.Usage{Input: 1, CacheRead: 3, CacheWrite5m: 6, Output: 5}, ""},
		"write and read one":     {`{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":8,"cache_write_tokens":8}}`, llm.Usage{Input: 2, CacheRead: 8, Output: 5}, ""},
		"reasoning inside":       {`{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"completion_tokens_details":{"reasoning_tokens":4}}`, llm.Usage{Input: 10, Output: 1, Reasoning: 4}, ""},
		"reasoning beside":       {`{"prompt_tokens":10,"completion_tokens":5,"total_tokens":19,"completion_tokens_details":{"reasoning_tokens":4}}`, llm.Usage{Input: 10, Output: 5, Reasoning: 4}, ""},
		"reasoning in the total": {`{"prompt_tokens":10,"completion_tokens":5,"total_tokens":19}`, llm.Usage{Input: 10, Output: 5, Reasoning: 4}, ""},
		"reasoning above all":    {`{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"completion_tokens_details":{"reasoning_tokens":9}}`, llm.Usage{Input: 10, Reasoning: 5}, ""},
		"audio and images":       {`{"prompt_tokens":10,"completion_tokens":9,"prompt_tokens_details":{"audio_tokens":3,"image_tokens":2,"video_tokens":1},"completion_tokens_details":{"audio_tokens":4,"image_tokens":3,"video_tokens":1}}`, llm.Usage{Input: 4, InputAudio: 3, InputImage: 2, InputVideo: 1, Output: 1, OutputAudio: 4, OutputImage: 3, OutputVideo: 1}, ""},
		"total only":             {`{"total_tokens":7}`, llm.Usage{Input: 7}, ""},
		"total too low":          {`{"prompt_tokens":10,"completion_tokens":5,"total_tokens":1}`, llm.Usage{Input: 10, Output: 5}, ""},
		"negative":               {`{"prompt_tokens":-10,"completion_tokens":-5,"total_tokens":-15,"prompt_tokens_details":{"cached_tokens":-1}}`, llm.Usage{}, ""},
		"absurd":                 {`{"prompt_tokens":9223372036854775807,"completion_tokens":9223372036854775807}`, llm.Usage{Input: 1 << 40, Output: 1 << 40}, ""},
		"as floats":              {`{"prompt_tokens":10.0,"completion_tokens":5e0}`, llm.Usage{Input: 10, Output: 5}, ""},
		"null details":           {`{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":null,"completion_tokens_details":[]}`, llm.Usage{Input: 10, Output: 5}, ""},
		"cost":                   {`{"prompt_tokens":1,"completion_tokens":1,"cost":1.13e-05}`, llm.Usage{Input: 1, Output: 1}, "0.0000113"},
		"cost, Perplexity":       {`{"prompt_tokens":1,"completion_tokens":1,"cost":{"request_cost":0.005,"total_cost":0.00501}}`, llm.Usage{Input: 1, Output: 1}, "0.00501"},
		"cost, xAI":              {`{"prompt_tokens":1,"completion_tokens":1,"cost_in_usd_ticks":161508500}`, llm.Usage{Input: 1, Output: 1}, "0.01615085"},
		"cost, xAI, ten dollars": {`{"prompt_tokens":1,"completion_tokens":1,"cost_in_usd_ticks":100000000000}`, llm.Usage{Input: 1, Output: 1}, "10"},
		"cost, none":             {`{"prompt_tokens":1,"completion_tokens":1,"cost":0}`, llm.Usage{Input: 1, Output: 1}, "0"},
		"cost, absurd":           {`{"prompt_tokens":1,"completion_tokens":1,"cost":-1}`, llm.Usage{Input: 1, Output: 1}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, data := range []string{
				`{"choices":[],"usage":` + tc.usage + `}`,
				`{"choices":[{"delta":{},"usage":` + tc.usage + `}]}`,
				`{"choices":[],"x_groq":{"id":"1","usage":` + tc.usage + `}}`,
			} {
				m := openaichat.Chat.NewMeter()
				m.Event(event(data))
				r := m.Reading()
				require.True(t, r.Reported)
				require.Equal(t, tc.want, r.Usage)
				require.Equal(t, tc.cost, r.CostUSD)
			}
		})
	}
	for _, none := range []string{`null`, `{}`, `[]`, `"x"`, `{"prompt_tokens":null}`, `{"queue_time":1.5}`} {
		m := openaichat.Chat.NewMeter()
		m.Event(event(`{"choices":[],"usage":` + none + `}`))
		require.False(t, m.Reading().Reported, none)
	}
}

func TestLastUsageCounts(t *testing.T) {
	m := openaichat.Chat.NewMeter()
	m.Event(event(`{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":1}}`))
	m.Event(event(`{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}`))
	m.Event(event(`{"choices":[],"usage":null}`))
	require.Equal(t, llm.Usage{Input: 10, Output: 5}, m.Reading().Usage)
}

// What looks like usage inside generated text is no usage.
func TestTextIsNoUsage(t *testing.T) {
	m := openaichat.Chat.NewMeter()
	m.Event(event(`{"choices":[{"delta":{"content":"\"usage\":{\"prompt_tokens\":99}, \"error\":{}"}}]}`))
	r := m.Reading()
	require.False(t, r.Reported)
	require.Nil(t, r.Err)
	require.Equal(t, `"usage":{"prompt_tokens":99}, "error":{}`, string(r.Text))
}

func TestText(t *testing.T) {
	m := openaichat.Chat.NewMeter()
	for _, delta := range []string{
		`{"role":"assistant","content":""}`,
		`{"reasoning_content":"think ","reasoning":"think "}`,
		`{"content":[{"type":"thinking","thinking":[{"type":"text","text":"more "}]},{"type":"text","text":"say "}]}`,
		`{"content":"caf\u00e9\n"}`,
		`{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\""}}]}`,
		`{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}`,
		`{"refusal":"no","audio":{"transcript":" heard","data":"AAAA"}}`,
	} {
		m.Event(event(`{"choices":[{"index":0,"delta":` + delta + `}]}`))
	}
	require.Equal(t, "think more say café\nf{\"a\":1}no heard", string(m.Reading().Text))
}

func TestTextIsBounded(t *testing.T) {
	m := openaichat.Chat.NewMeter()
	text := strings.Repeat("x", 1000)
	for range 1000 {
		m.Event(event(`{"choices":[{"delta":{"content":"` + text + `"}}]}`))
	}
	r := m.Reading()
	require.EqualValues(t, 1_000_000, r.TextBytes)
	require.LessOrEqual(t, len(r.Text), 256<<10+1)
}

func TestBodies(t *testing.T) {
	for name, tc := range map[string]struct {
		body  string
		cause llm.Cause
	}{
		"good":        {upstreamtest.ChatBody("a", "b"), ""},
		"no usage":    {`{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}`, ""},
		"no choices":  {`{"choices":[],"usage":{"prompt_tokens":5}}`, ""},
		"html":        {"<html></html>", llm.CauseUpstreamInvalid},
		"empty":       {"", llm.CauseUpstreamInvalid},
		"cut":         {upstreamtest.ChatBody("a", "b")[:200], llm.CauseUpstreamInvalid},
		"other JSON":  {`{"hello":"world"}`, llm.CauseUpstreamInvalid},
		"array":       {`[]`, llm.CauseUpstreamInvalid},
		"error":       {`{"error":{"message":"x","type":"server_error"}}`, llm.CauseUpstreamError},
		"error, 429":  {`{"error":{"message":"x","code":429}}`, llm.CauseUpstreamRateLimited},
		"mistral":     {`{"object":"error","message":"x","type":"invalid_request_error"}`, llm.CauseUpstreamRejected},
		"error, text": {`{"error":"model crashed"}`, llm.CauseUpstreamError},
	} {
		t.Run(name, func(t *testing.T) {
			m := openaichat.Chat.NewMeter()
			m.Body([]byte(tc.body))
			r := m.Reading()
			require.Equal(t, tc.cause == "", r.Complete)
			if tc.cause != "" {
				require.Equal(t, tc.cause, r.Err.Cause)
				require.NotEmpty(t, r.Err.Message)
			}
		})
	}
}

func FuzzMeter(f *testing.F) {
	for _, c := range recordedSeeds(f) {
		if len(c.Body) < 4000 {
			f.Add(c.Body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, codec := range codecs {
			m := codec.NewMeter()
			var s sse.Scanner
			_, _ = s.Write(body)
			for e, ok := s.Next(); ok; e, ok = s.Next() {
				m.Event(e)
			}
			requireSane(t, m.Reading())
			m = codec.NewMeter()
			m.Body(body)
			requireSane(t, m.Reading())
		}
	})
}

func requireSane(t *testing.T, r dialect.Reading) {
	t.Helper()
	u := r.Usage
	for _, n := range []int64{
		u.Input, u.CacheRead, u.CacheWrite5m, u.CacheWrite1h, u.Output, u.Reasoning, u.InputAudio, u.CachedAudio,
		u.OutputAudio, u.InputImage, u.CachedImage, u.OutputImage, u.InputVideo, u.OutputVideo, r.TextBytes,
	} {
		require.GreaterOrEqual(t, n, int64(0))
	}
	require.False(t, r.Complete && r.Err != nil)
}

func TestMeterAllocations(t *testing.T) {
	m := openaichat.Chat.NewMeter()
	chunk := event(`{"id":"chatcmpl-1","model":"m","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"usage":null}`)
	for range 300_000 { // until the text kept has its full size
		m.Event(chunk)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { m.Event(chunk) }))
}
