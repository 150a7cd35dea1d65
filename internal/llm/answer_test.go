package llm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
)

func extra(json string) llm.Extra { return llm.Extra{Format: "f", JSON: []byte(json)} }

// full is an answer with everything an answer can have.
func full() *llm.Answer {
	state := &llm.Opaque{Format: "f", Model: "m", Value: "v"}
	return &llm.Answer{
		ID: "id", Model: "m", Created: 7, ServiceTier: "flex", Reported: true,
		Usage: llm.Usage{Input: 1, Output: 2}, UsageExtra: extra(`{"a":1}`), Extra: extra(`{"b":1}`),
		Choices: []llm.Choice{
			{
				Reason: llm.FinishToolCalls, StopSequence: "\n", Extra: extra(`{"c":1}`),
				LogProbs: []llm.LogProb{{Token: "a", LogProb: -1}},
				Parts: []llm.Part{
					&llm.Thinking{Common: llm.Common{Opaque: state}, Text: "hm"},
					&llm.Thinking{Common: llm.Common{Opaque: state}, Redacted: true},
					&llm.Text{Common: llm.Common{Opaque: state, Extra: extra(`{"d":1}`)}, Text: "hello", Citations: []llm.Citation{{URL: "u"}, {URL: "v"}}},
					&llm.Text{},
					&llm.ToolCall{Common: llm.Common{Opaque: state}, ID: "c", Name: "f", Arguments: "{}"},
					&llm.ToolCall{ID: "d", Name: "g", Custom: true},
					&llm.Media{Kind: llm.MediaImage, MIME: "image/png", Data: "YQ=="},
					&llm.NativePart{Native: llm.Native{Format: "f", Type: "x", JSON: []byte(`{}`)}},
				},
			},
			{Index: 1, Reason: llm.FinishFilter, Parts: []llm.Part{&llm.Refusal{Text: "no"}}},
		},
	}
}

// TestAnswersBecomeEventsAndBack tells an answer as a stream's events and collects
// it from them.
func TestAnswersBecomeEventsAndBack(t *testing.T) {
	a := full()
	var c llm.Collector
	open := map[int]bool{}
	for e := range a.Events {
		switch e := e.(type) {
		case llm.PartStart:
			open[e.Part] = true
		case llm.PartEnd:
			require.True(t, open[e.Part])
			delete(open, e.Part)
		case llm.ChoiceEnd:
			require.Empty(t, open)
		}
		c.Add(e)
	}
	got, failed := c.Answer()
	require.Nil(t, failed)
	require.Equal(t, a, got)
	require.Equal(t, full(), a, "the answer itself stays as it was")

	again, _ := c.Answer()
	require.Equal(t, got, again, "an answer can be asked for twice")
}

func TestEventsCanBeLeft(t *testing.T) {
	n := 0
	for range full().Events {
		if n++; n == 3 {
			break
		}
	}
	require.Equal(t, 3, n)
}

func TestCollectorOfOverlappingParts(t *testing.T) {
	var c llm.Collector
	call := &llm.ToolCall{ID: "a", Name: "f"}
	state := &llm.Opaque{Value: "s"}
	for _, e := range []llm.Event{
		llm.Started{ID: "x", Model: "early", Usage: llm.Usage{Input: 3}},
		llm.PartStart{Part: 0, Choice: 1, Begin: call},
		llm.PartStart{Part: 1, Choice: 0, Begin: &llm.Text{Text: "A"}},
		llm.ArgumentsDelta{Part: 0, JSON: "{"},
		llm.TextDelta{Part: 1, Text: "b"},
		llm.ArgumentsDelta{Part: 0, JSON: "}"},
		llm.TextDelta{Part: 9, Text: "of no part"},
		llm.TextDelta{Part: -1, Text: "of no part"},
		llm.LogProbsDelta{Choice: 0, Tokens: []llm.LogProb{{Token: "x"}}},
		llm.LogProbsDelta{Choice: 0, Tokens: []llm.LogProb{{Token: "y"}}},
		llm.PartEnd{Part: 0, Opaque: state, Extra: extra(`{"e":1}`), Wire: extra(`{"w":1}`)},
		llm.PartEnd{Part: 1},
		llm.ChoiceEnd{Choice: 1, Reason: llm.FinishToolCalls},
	} {
		c.Add(e)
	}
	early, failed := c.Answer()
	require.Nil(t, failed)
	require.Equal(t, llm.Usage{Input: 3}, early.Usage, "what a cut stream had said")

	c.Add(llm.Finished{Model: "late", Usage: llm.Usage{Input: 3, Output: 1}, Reported: true})
	a, _ := c.Answer()
	require.Equal(t, "late", a.Model)
	require.Equal(t, []llm.Choice{
		{Index: 0, Parts: []llm.Part{&llm.Text{Text: "Ab"}}, LogProbs: []llm.LogProb{{Token: "x"}, {Token: "y"}}},
		{Index: 1, Reason: llm.FinishToolCalls, Parts: []llm.Part{
			&llm.ToolCall{Common: llm.Common{Opaque: state, Extra: extra(`{"e":1}`), Wire: extra(`{"w":1}`)}, ID: "a", Name: "f", Arguments: "{}"},
		}},
	}, a.Choices)
	require.Equal(t, &llm.ToolCall{ID: "a", Name: "f"}, call, "the event's part is not changed")
}

func TestCollectorOfFailure(t *testing.T) {
	var c llm.Collector
	failure := &llm.Error{Cause: llm.CauseUpstreamCut}
	c.Add(llm.PartStart{Begin: &llm.Text{}})
	c.Add(llm.TextDelta{Text: "half"})
	c.Add(llm.Failed{Err: failure})
	a, failed := c.Answer()
	require.Equal(t, failure, failed)
	require.Equal(t, "half", llm.TextOf(a.Choices[0].Parts))
}

func TestTextOf(t *testing.T) {
	require.Empty(t, llm.TextOf(nil))
	require.Equal(t, "a", llm.TextOf([]llm.Part{&llm.Text{Text: "a"}}))
	require.Equal(t, "ab", llm.TextOf([]llm.Part{&llm.Text{Text: "a"}, &llm.Thinking{Text: "x"}, &llm.Text{Text: "b"}}))
}

func TestClone(t *testing.T) {
	r := &llm.Request{Model: "a", Messages: []llm.Message{llm.TextMessage(llm.RoleUser, "x")}}
	clone := r.Clone()
	clone.Model, clone.Messages[0] = "b", llm.TextMessage(llm.RoleUser, "y")
	require.Equal(t, "a", r.Model)
	require.Equal(t, "x", llm.TextOf(r.Messages[0].Parts))
}

func TestOpaqueAndExtraBelongToAFormat(t *testing.T) {
	o := &llm.Opaque{Format: "f", Model: "m"}
	require.True(t, o.From("f", "m"))
	require.False(t, o.From("g", "m"))
	require.False(t, o.From("f", "n"))
	require.False(t, (*llm.Opaque)(nil).From("f", "m"))
	require.NotNil(t, extra(`{"a":1}`).In("f"))
	require.Nil(t, extra(`{"a":1}`).In("g"))
}
