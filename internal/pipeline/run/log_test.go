package run

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/pipeline"
)

// lines are the events of a log that followers see.
func lines(l *eventLog) []string {
	events, _, _ := l.from(l.forgot+1, 1000)
	var lines []string
	for _, e := range events {
		var data struct{ Agent, Content string }
		_ = json.Unmarshal(e.Data, &data)
		lines = append(lines, fmt.Sprintf("%d %s %s%s", e.Seq, e.Type, data.Agent, data.Content))
	}
	return lines
}

func token(agent, content string) pipeline.Event {
	return pipeline.Event{Type: pipeline.EventAgentToken, Time: time.Now(), Data: pipeline.AgentToken{Agent: agent, Content: content}}
}

// Pieces are gathered by agent; the first is told at once, and none after what comes
// behind it.
func TestPiecesAreGathered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog("r")
		l.add(pipeline.Event{Type: pipeline.EventStart, Data: pipeline.Started{}})
		l.add(pipeline.Event{Type: pipeline.EventAgentStart, Data: pipeline.AgentStarted{Agent: "a"}})
		for i := range 5 {
			l.add(token("a", fmt.Sprint(i)))
			l.add(token("b", fmt.Sprint(i)))
		}
		want := []string{"1 pipeline_start ", "2 agent_start a", "3 agent_token a0", "4 agent_token b0"}
		require.Equal(t, want, lines(l))
		_, changed, _ := l.from(5, 1)
		l.add(pipeline.Event{Type: pipeline.EventRetry, Data: pipeline.Retried{Agent: "a"}})
		<-changed
		want = append(want, "5 agent_token a1234", "6 retry a")
		require.Equal(t, want, lines(l))
		_, changed, _ = l.from(7, 1)
		began := time.Now()
		<-changed
		require.Equal(t, gather, time.Since(began))
		want = append(want, "7 agent_token b1234")
		require.Equal(t, want, lines(l))
		l.add(token("a", "x"))
		l.add(token("a", "y"))
		l.add(pipeline.Event{Type: pipeline.EventComplete, Data: pipeline.Completed{}})
		l.add(token("a", "too late"))
		l.add(pipeline.Event{Type: pipeline.EventError, Data: pipeline.Failed{}})
		want = append(want, "8 agent_token ax", "9 agent_token ay")
		require.Equal(t, want, lines(l), "the last one waits")
		require.Len(t, l.unstored(), 10)
		_, changed, _ = l.from(10, 1)
		<-changed
		require.Equal(t, append(want, "10 complete "), lines(l), "but not for ever")
		l.show()
	})
}

func TestAnEndedLogIsShort(t *testing.T) {
	t.Parallel()
	l := newLog("r")
	for range 50 {
		l.add(pipeline.Event{Type: pipeline.EventAgentStart, Data: pipeline.AgentStarted{Agent: "a"}})
	}
	require.Len(t, l.unstored(), 50)
	l.keptTo(50)
	l.forget()
	l.show()
	require.Empty(t, l.unstored())
	_, _, forgotten := l.from(50-tail, 5)
	require.True(t, forgotten)
	events, _, _ := l.from(50-tail+1, 5)
	require.Len(t, events, 5)
	require.EqualValues(t, 50-tail+1, events[0].Seq)
}

func TestChunks(t *testing.T) {
	t.Parallel()
	events := make([]pipeline.StoredEvent, 3000)
	for i := range events {
		events[i].Data = make([]byte, 10)
	}
	n, _ := chunk(events)
	require.Equal(t, chunkEvents, n)
	events[1].Data = make([]byte, 2*chunkBytes)
	n, _ = chunk(events)
	require.Equal(t, 1, n)
	n, _ = chunk(events[1:])
	require.Equal(t, 1, n, "an event that is too large has a row of its own")
}

// Of a run that puts out a lot not all stays in memory, but what is not stored does.
func TestALargeLogIsShort(t *testing.T) {
	t.Parallel()
	l := newLog("r")
	for range 8 {
		l.add(pipeline.Event{Type: pipeline.EventAgentComplete, Data: pipeline.AgentCompleted{Agent: "a", Output: strings.Repeat("x", maxKept/2)}})
	}
	require.Len(t, l.unstored(), 8)
	l.keptTo(2)
	require.Len(t, l.unstored(), 6)
	require.Len(t, l.events, 6)
	l.keptTo(8)
	require.Empty(t, l.unstored())
	require.Len(t, l.events, 1)
	l.add(pipeline.Event{Type: pipeline.EventAgentStart, Data: pipeline.AgentStarted{Agent: "b"}})
	require.EqualValues(t, 9, l.unstored()[0].Seq)
}
