package llm

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryCauseHasAStatus(t *testing.T) {
	for _, cause := range Causes {
		require.GreaterOrEqual(t, cause.Status(), 400, cause)
		if cause != CauseInternal {
			require.NotEqual(t, http.StatusInternalServerError, cause.Status(), "%s has no status of its own", cause)
		}
	}
	require.Equal(t, http.StatusOK, CauseNone.Status())
	require.Equal(t, http.StatusBadGateway, CauseUpstreamAuth.Status(), "a 401 would log the caller's user out")
}

func TestCauseOfStatus(t *testing.T) {
	for status, want := range map[int]Cause{
		200: CauseNone, 201: CauseNone,
		301: CauseUpstreamError, 400: CauseUpstreamRejected, 401: CauseUpstreamAuth, 402: CauseUpstreamAuth,
		403: CauseUpstreamAuth, 404: CauseUpstreamRejected, 408: CauseUpstreamTimeout, 413: CauseUpstreamRejected,
		422: CauseUpstreamRejected, 429: CauseUpstreamRateLimited, 500: CauseUpstreamError, 502: CauseUpstreamError,
		503: CauseUpstreamOverloaded, 504: CauseUpstreamTimeout, 529: CauseUpstreamOverloaded,
	} {
		require.Equal(t, want, CauseOfStatus(status), status)
	}
}

// What a provider says of a request may quote the prompt.
func TestErrorsAreLoggedWithoutMessages(t *testing.T) {
	for _, err := range []*Error{
		{Cause: CauseUpstreamRejected, Message: "bad prompt: CANARY", Code: "invalid_prompt", Err: errors.New("CANARY")},
		{Cause: CauseInvalidRequest, Message: "CANARY is no role", Param: "messages[0].role", Err: errors.New("CANARY")},
		{Cause: CauseUpstreamUnreachable, Message: "CANARY", Err: errors.New("connection refused")},
	} {
		var out bytes.Buffer
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", slog.Any("error", err))
		require.NotContains(t, out.String(), "CANARY")
		require.Contains(t, out.String(), string(err.Cause))
	}
}
