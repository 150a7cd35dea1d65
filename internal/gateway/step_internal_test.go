package gateway

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// An answer without end is broken off, and is none.
func TestStepAnswerTooLong(t *testing.T) {
	events := upstreamtest.ChatEvents(true, strings.Repeat("word ", 10), strings.Repeat("word ", 10))
	for name, behaviour := range map[string]upstreamtest.Behaviour{
		"and goes on": upstreamtest.Hang(events[:3]...),
		"and ends":    upstreamtest.Stream(events...),
	} {
		t.Run(name, func(t *testing.T) {
			ledger := &brokenLedger{}
			server := upstreamtest.New(t, behaviour)
			g := gatewayFor(t, server.URL(), ledger, slog.New(slog.DiscardHandler))
			said := ""
			s := newStep(Call{
				Caller: &identity.Principal{UserHash: "u"}, Provider: "openai", Model: "gpt-4o-mini",
				Messages: []llm.Message{llm.TextMessage(llm.RoleUser, "hi")},
				Text:     func(piece string) { said += piece },
			})
			s.limit = 60
			r := (&http.Request{URL: &url.URL{}, Header: http.Header{}, Body: http.NoBody}).WithContext(t.Context())
			g.serveStep(r, s)
			_, err := s.outcome(r)
			require.Equal(t, llm.CauseUpstreamInvalid, err.Cause)
			require.Contains(t, err.Message, "too large")
			require.Equal(t, strings.Repeat("word ", 10), said)
			require.Len(t, ledger.records, 1)
			require.Equal(t, llm.CauseUpstreamInvalid, ledger.records[0].ErrorCause)
			require.Positive(t, ledger.records[0].OutputTokens)
		})
	}
}
