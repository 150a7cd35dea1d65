package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/pricing"
)

// Viewers see the usage log, which is not here, and nothing else.
func TestViewersCallNothing(t *testing.T) {
	t.Parallel()
	viewer := &identity.Principal{UserHash: "hash", Roles: []string{identity.RoleViewer}}
	ledger := newLedger()
	g := gateway.New(gateway.Options{
		Prices: pricing.Embedded(), Ledger: ledger,
		Caller: func(*http.Request) (*identity.Principal, bool) { return viewer, true },
	})
	for _, route := range gateway.Routes {
		method, path, _ := strings.Cut(route, " ")
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, strings.NewReplacer("{", "", "}", "").Replace(path), strings.NewReader("{}")))
		require.Equal(t, http.StatusForbidden, w.Code, route)
		require.Contains(t, w.Body.String(), "viewer", route)
		require.NotEmpty(t, w.Header().Get("X-Request-Id"), route)
	}
	require.Empty(t, ledger.all())
}
