package gateway_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/internal/usage"
)

// Before a request leaves, the ledger knows all that is known of it, so that the
// attempt leaves a row even if the process dies.
func TestAttemptsAreNotedBeforeTheyAreSent(t *testing.T) {
	const refused = `{"error":{"message":"boom"}}`
	servers, providers := threeProviders(t, upstream.Timeouts{})
	f := setup(t, withLadder, providers...)
	noted := make([]usage.Record, 2)
	for i, answer := range []upstreamtest.Behaviour{upstreamtest.JSON(500, refused), upstreamtest.Chat("Hi")} {
		servers[i].Script(func(w http.ResponseWriter, r *http.Request) {
			f.ledger.mu.Lock()
			if len(f.ledger.begun) == i+1 && len(f.ledger.open) == 1 && len(f.ledger.records) == i {
				noted[i] = f.ledger.begun[i]
			}
			f.ledger.mu.Unlock()
			answer(w, r)
		})
	}
	require.Equal(t, http.StatusOK, f.chat(ladderStream).Status)
	rows := f.ledger.wait(t, 2)
	for i, row := range rows {
		want := row // as it came to be, without what only the answer told
		want.ResponseModel, want.FinishReason, want.ErrorCause = "", "", llm.CauseNone
		want.Latency, want.TTFT, want.UpstreamStatus, want.Status, want.Success = 0, 0, 0, 0, false
		want.SetUsage(llm.Usage{Input: int64(len(servers[i].Requests()[0].Body) / 4)}, llm.UsageEstimated)
		want.Cost, want.Priced, want.ReportedCost = noted[i].Cost, true, nil
		require.Equal(t, want, noted[i])
		require.Positive(t, noted[i].InputTokens)
		require.Positive(t, noted[i].Cost)
		require.Equal(t, i+1, noted[i].Attempt)
		require.Equal(t, "ladder", noted[i].SpecialistID)
		require.Equal(t, "hash-u1", noted[i].UserHash)
		require.True(t, noted[i].Stream)
	}
	require.Equal(t, llm.CauseUpstreamError, rows[0].ErrorCause)
	require.True(t, rows[1].Success)
}
