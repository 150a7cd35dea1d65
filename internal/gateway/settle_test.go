package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/usage"
)

// BenchmarkBegin is what a call pays to leave a row even if the process dies.
func BenchmarkBegin(b *testing.B) {
	ledger := usage.New(usage.Config{Dir: b.TempDir()}, nil) // nothing is appended
	require.NoError(b, ledger.Start())
	defer func() { _ = ledger.Stop(context.WithoutCancel(b.Context())) }()
	g := gatewayFor(b, "http://127.0.0.1:1", ledger, slog.New(slog.DiscardHandler))
	call, err := openaichat.Chat.Read([]byte(`{"model":"gpt-4o","messages":[]}`))
	require.NoError(b, err)
	ex := &exchange{
		g: g, face: newClient(openaichat.Chat), call: call, requestID: newRequestID(), tried: 1,
		r:         httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/chat/completions", http.NoBody),
		principal: &identity.Principal{UserHash: newRequestID() + newRequestID(), EmailHash: newRequestID() + newRequestID(), TokenID: newRequestID()},
	}
	to, refused := ex.target(g.providers["openai"], "gpt-4o", nil)
	require.Nil(b, refused)
	a := &attempt{target: &to, record: usage.NewRecord(time.Now())}
	body := &upstreamBody{content: make([]byte, 1000)}
	b.ReportAllocs()
	for b.Loop() {
		ex.begin(a, body)
		ledger.End(a.mark)
	}
	require.Zero(b, ledger.Stats().Unjournaled)
}
