package run

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
)

// Whoever follows a run that puts out a lot sees all of it, although little of it
// is in memory, and goes on with what comes.
func TestFollowersOfLargeRuns(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		s := p.replica(t)
		g, large := newGate(), strings.Repeat("x", 900<<10)
		m := &models{db: p.db, answer: func(ctx context.Context, step string, piece func(string)) *llm.Error {
			piece(large)
			if step == "report" && !g.pass(ctx, step) {
				return left
			}
			piece(" and ends")
			return nil
		}}
		v := begin(t, s, m, planOf(t, strings.ReplaceAll(chain, ".output }}", ".output | truncate 9 }}")), "q")
		<-g.arrived
		log := s.find(v.ID).log
		require.Eventually(t, func() bool {
			log.mu.Lock()
			defer log.mu.Unlock()
			return log.stored == log.last() && log.size <= maxKept
		}, patience, time.Millisecond)
		late, err := s.Follow(t.Context(), alice, v.ID)
		require.NoError(t, err)
		events, err := late.Next(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, events[0].Seq)
		close(g.open)
		more, err := rest(t.Context(), late)
		require.NoError(t, err)
		outputs := outputsOf(t, append(events, more...))
		for _, step := range []string{"left", "right", "report"} {
			require.Equal(t, large+" and ends", outputs[step])
		}
	})
}
