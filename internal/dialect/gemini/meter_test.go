package gemini_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/gemini"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// read gives a recorded answer to a meter, cut into packets.
func read(m dialect.Meter, c upstreamtest.Case, split upstreamtest.Split) (dialect.Reading, []dialect.Mark, []llm.Event) {
	var all []llm.Event
	decoder, _ := m.(dialect.Decoder)
	keep := func() {
		if decoder != nil {
			all = append(all, decoder.Events()...)
		}
	}
	if !c.Stream {
		m.Body(c.Body)
		keep()
		return m.Reading(), nil, all
	}
	var s sse.Scanner
	var marks []dialect.Mark
	for _, piece := range split.Pieces(c.Body) {
		_, _ = s.Write(piece)
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			marks = append(marks, m.Event(e))
			keep()
		}
	}
	return m.Reading(), marks, all
}

// The decoder reads the same as the meter, and neither knows of packets.
func TestRecordedReadings(t *testing.T) {
	for _, c := range recorded(t) {
		if c.Status != 200 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			g := codecOf(c)
			got, marks, _ := read(g.NewMeter(), c, upstreamtest.Whole)
			_, _, events := read(g.NewDecoder(dialect.UpstreamOptions{}), c, upstreamtest.Whole)
			for _, split := range upstreamtest.Splits {
				reading, splitMarks, _ := read(g.NewMeter(), c, split)
				require.Equal(t, got, reading, split.Name)
				require.Equal(t, marks, splitMarks, split.Name)
				reading, splitMarks, splitEvents := read(g.NewDecoder(dialect.UpstreamOptions{}), c, split)
				want := got
				if !c.Stream { // a meter collects its text only where there is no usage
					want.Text, want.TextBytes = reading.Text, reading.TextBytes
				}
				require.Equal(t, want, reading, split.Name)
				require.Equal(t, marks, splitMarks, split.Name)
				require.Equal(t, events, splitEvents, split.Name)
			}
			requireUsage(t, c, got)
			requireFinish(t, c, got)
			broken := strings.Contains(c.Name, "mid-stream")
			require.Equal(t, broken, got.Err != nil, "%v", got.Err)
			require.Equal(t, !broken, got.Complete)
			require.Equal(t, c.ResponseModel, got.Model)
		})
	}
}

func requireUsage(t *testing.T, c upstreamtest.Case, r dialect.Reading) {
	t.Helper()
	require.Equal(t, c.Usage != nil, r.Reported)
	u, want := r.Usage, *c.Usage
	require.Equal(t, want.Input, u.InputTotal(), "input")
	require.Equal(t, want.Output, u.OutputTotal(), "output")
	part := func(name string, want *int64, got int64) {
		t.Helper()
		if want != nil {
			require.Equal(t, *want, got, name)
		}
	}
	part("cached", want.Cached, u.Cached())
	part("reasoning", want.Reasoning, u.Reasoning)
	part("audio in", want.InputAudio, u.InputAudio+u.CachedAudio)
	part("audio out", want.OutputAudio, u.OutputAudio)
	part("images in", want.InputImage, u.InputImage+u.CachedImage)
	part("images out", want.OutputImage, u.OutputImage)
	if want.Total != nil {
		require.Equal(t, *want.Total, u.InputTotal()+u.OutputTotal(), "total")
	}
}

func requireFinish(t *testing.T, c upstreamtest.Case, r dialect.Reading) {
	t.Helper()
	if len(c.Finish) == 0 {
		return
	}
	want := finishReasons[c.Finish[len(c.Finish)-1]]
	if want == llm.FinishStop && strings.Contains(string(c.Body), `"functionCall"`) {
		want = llm.FinishToolCalls
	}
	require.Equal(t, want, r.Finish)
}

// finishReasons are all that are documented, and two that are not.
var finishReasons = map[string]llm.FinishReason{
	"FINISH_REASON_UNSPECIFIED": llm.FinishUnknown,
	"STOP":                      llm.FinishStop,
	"MAX_TOKENS":                llm.FinishLength,
	"SAFETY":                    llm.FinishFilter,
	"RECITATION":                llm.FinishFilter,
	"LANGUAGE":                  llm.FinishOther,
	"OTHER":                     llm.FinishOther,
	"BLOCKLIST":                 llm.FinishFilter,
	"PROHIBITED_CONTENT":        llm.FinishFilter,
	"SPII":                      llm.FinishFilter,
	"MODEL_ARMOR":               llm.FinishFilter,
	"MALFORMED_FUNCTION_CALL":   llm.FinishError,
	"UNEXPECTED_TOOL_CALL":      llm.FinishError,
	"TOO_MANY_TOOL_CALLS":       llm.FinishError,
	"MISSING_THOUGHT_SIGNATURE": llm.FinishError,
	"MALFORMED_RESPONSE":        llm.FinishError,
	"IMAGE_SAFETY":              llm.FinishFilter,
	"IMAGE_PROHIBITED_CONTENT":  llm.FinishFilter,
	"IMAGE_RECITATION":          llm.FinishFilter,
	"IMAGE_OTHER":               llm.FinishOther,
	"NO_IMAGE":                  llm.FinishOther,
	"CONTINUATION":              llm.FinishPause,
	"ANYTHING_NEW":              llm.FinishOther,
}

func chunkOf(members string) sse.Event {
	return sse.Event{Data: []byte(`{"candidates":[{"content":{"parts":[{"text":"x"}]},` + members + `}],"modelVersion":"gemini-9"}`)}
}

// Every word for why a candidate stopped means something, and comes back as it
// was.
func TestFinishReasons(t *testing.T) {
	for word, want := range finishReasons {
		t.Run(word, func(t *testing.T) {
			m := gemini.Generate{}.NewMeter()
			e := chunkOf(`"finishReason":"` + word + `"`)
			m.Event(e)
			require.Equal(t, want, m.Reading().Finish)
			require.Equal(t, want != llm.FinishUnknown, m.Reading().Complete)
			if want == llm.FinishUnknown {
				return
			}
			a, failed := dialect.Collect(gemini.Generate{}.NewDecoder(dialect.UpstreamOptions{}), []sse.Event{e})
			require.Nil(t, failed)
			require.Equal(t, want, a.Choices[0].Reason)
			body := gemini.Generate{}.NewEncoder(answerOptions()).AppendAnswer(nil, a)
			require.Contains(t, string(body), `"finishReason":"`+word+`"`)
		})
	}
	for _, reason := range []llm.FinishReason{
		llm.FinishUnknown, llm.FinishStop, llm.FinishLength, llm.FinishToolCalls, llm.FinishFilter,
		llm.FinishPause, llm.FinishError, llm.FinishOther,
	} {
		a := &llm.Answer{Choices: []llm.Choice{{Reason: reason}}}
		body := gemini.Generate{}.NewEncoder(answerOptions()).AppendAnswer(nil, a)
		require.Regexp(t, `"finishReason":"[A-Z_]+"`, string(body), reason)
	}
}

// STOP may be in every chunk, so that only the stream's end ends the answer; a
// stream is whole when all candidates that began have stopped.
func TestWholeStreams(t *testing.T) {
	stop := chunkOf(`"finishReason":"STOP","index":0`)
	for _, tc := range []struct {
		name   string
		events []sse.Event
		whole  bool
		text   string
	}{
		{"cut before a word of stopping", []sse.Event{chunkOf(`"index":0`)}, false, ""},
		{"stopped in the last chunk", []sse.Event{chunkOf(`"index":0`), stop}, true, "xx"},
		{"stopped in each chunk", []sse.Event{stop, stop, stop}, true, "xxx"},
		{"one of two candidates stopped", []sse.Event{stop, chunkOf(`"index":1`)}, false, ""},
		{"both stopped", []sse.Event{chunkOf(`"index":1,"finishReason":"STOP"`), stop}, true, "x"},
		{"nothing came", nil, false, ""},
		{"the prompt was blocked", []sse.Event{{Data: []byte(`{"promptFeedback":{"blockReason":"SAFETY"}}`)}}, true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := gemini.Generate{}.NewMeter()
			for _, e := range tc.events {
				require.False(t, m.Event(e).Terminal)
			}
			require.Equal(t, tc.whole, m.Reading().Complete)
			a, failed := dialect.Collect(gemini.Generate{}.NewDecoder(dialect.UpstreamOptions{}), tc.events)
			if !tc.whole {
				require.Equal(t, llm.CauseUpstreamCut, failed.Cause)
				return
			}
			require.Nil(t, failed)
			require.Equal(t, tc.text, llm.TextOf(a.Choices[0].Parts))
		})
	}
}

// A recorded stream cut after any event but the last never looks whole: each of
// the recordings says STOP in its last chunk only.
func TestCutStreams(t *testing.T) {
	for _, c := range recorded(t) {
		if !c.Stream || c.Status != 200 {
			continue
		}
		all := events(t, c.Body)
		m := codecOf(c).NewMeter()
		for i, e := range all {
			mark := m.Event(e)
			r := m.Reading()
			require.False(t, r.Complete && (r.Finish == llm.FinishUnknown || i < len(all)-1), "%s: event %d", c.Name, i)
			require.Equal(t, mark.Failed, r.Err != nil, c.Name)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, tc := range []struct {
		name, usage string
		want        llm.Usage
		tier        string
	}{
		{
			"thoughts are beside candidates",
			`{"promptTokenCount":10,"candidatesTokenCount":5,"thoughtsTokenCount":7,"totalTokenCount":22}`,
			llm.Usage{Input: 10, Output: 5, Reasoning: 7},
			"",
		},
		{
			"the prompt includes what was cached",
			`{"promptTokenCount":100,"cachedContentTokenCount":80,"candidatesTokenCount":1,"serviceTier":"flex"}`,
			llm.Usage{Input: 20, CacheRead: 80, Output: 1},
			"flex",
		},
		{
			"more cached than read",
			`{"promptTokenCount":100,"cachedContentTokenCount":180}`,
			llm.Usage{CacheRead: 100},
			"",
		},
		{
			"tools' prompts come on top",
			`{"promptTokenCount":10,"toolUsePromptTokenCount":30,"trafficType":"ON_DEMAND_PRIORITY"}`,
			llm.Usage{Input: 40},
			"priority",
		},
		{
			"modalities, some of them cached",
			`{"promptTokenCount":1000,"cachedContentTokenCount":500,"promptTokensDetails":[{"modality":"TEXT","tokenCount":100},
			{"modality":"AUDIO","tokenCount":300},{"modality":"IMAGE","tokenCount":200},{"modality":"VIDEO","tokenCount":150},{"modality":"DOCUMENT","tokenCount":250}],
			"cacheTokensDetails":[{"modality":"AUDIO","tokenCount":100},{"modality":"IMAGE","tokenCount":200},{"modality":"TEXT","tokenCount":200}],"trafficType":"ON_DEMAND"}`,
			llm.Usage{Input: 150, CacheRead: 200, CachedAudio: 100, CachedImage: 200, InputAudio: 200, InputVideo: 150},
			"",
		},
		{
			"modalities of what was generated",
			`{"promptTokenCount":1,"candidatesTokenCount":1400,"candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":1290},{"modality":"AUDIO","tokenCount":10}]}`,
			llm.Usage{Input: 1, Output: 100, OutputImage: 1290, OutputAudio: 10},
			"",
		},
		{"nonsense", `{"promptTokenCount":-5,"candidatesTokenCount":1e300,"thoughtsTokenCount":"x"}`, llm.Usage{}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := gemini.Generate{}.NewMeter()
			m.Body([]byte(`{"candidates":[{"finishReason":"STOP"}],"usageMetadata":` + tc.usage + `}`))
			r := m.Reading()
			require.True(t, r.Reported)
			require.Equal(t, tc.want, r.Usage)
			require.Equal(t, tc.tier, r.ServiceTier)
		})
	}
}

// Of many reports the last one counts; one without a count is none.
func TestLastUsageCounts(t *testing.T) {
	m := gemini.Generate{}.NewMeter()
	for _, usage := range []string{`{"trafficType":"ON_DEMAND"}`, `{"promptTokenCount":9,"candidatesTokenCount":50}`, `{"promptTokenCount":9,"candidatesTokenCount":4}`, `{"trafficType":"ON_DEMAND"}`} {
		m.Event(sse.Event{Data: []byte(`{"usageMetadata":` + usage + `}`)})
	}
	require.Equal(t, llm.Usage{Input: 9, Output: 4}, m.Reading().Usage)
}
