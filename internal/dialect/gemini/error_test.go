package gemini_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/gemini"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

func TestRecordedErrors(t *testing.T) {
	want := map[string]llm.Cause{
		"google/google.count_tokens/error-404":              llm.CauseUpstreamRejected,
		"google/google.generate/documented-403-permission":  llm.CauseUpstreamAuth,
		"google/google.generate/documented-500-internal":    llm.CauseUpstreamError,
		"google/google.generate/documented-503-unavailable": llm.CauseUpstreamOverloaded,
		"google/google.generate/error-400-key":              llm.CauseUpstreamAuth,
		"google/google.generate/error-404-model":            llm.CauseUpstreamRejected,
		"google/google.generate/error-429-quota":            llm.CauseUpstreamRateLimited,
	}
	seen := 0
	for _, c := range upstreamtest.Cases(t, upstreamtest.OfAPI("google.generate", "google.embed", "google.count_tokens")) {
		if c.Status == 200 {
			continue
		}
		seen++
		t.Run(c.Name, func(t *testing.T) {
			e := gemini.Generate{}.Error(c.Status, c.Header, c.Body)
			require.Equal(t, want[c.Name], e.Cause)
			require.NotEmpty(t, e.Message)
			for _, leak := range []string{"generativelanguage", "api_key:", "GOOGLE_CLOUD"} {
				require.NotContains(t, e.Message+e.Param+e.Err.Error(), leak)
			}
			if e.Cause == llm.CauseUpstreamRejected {
				require.Equal(t, c.Status, e.Status())
				require.Contains(t, string(c.Body), e.Message[:20])
			}
			if strings.HasSuffix(c.Name, "quota") {
				require.Equal(t, 48*time.Second, e.RetryAfter)
			}
			wrapped := gemini.Generate{}.Error(c.Status, c.Header, []byte("["+string(c.Body)+"]\n"))
			require.Equal(t, e, wrapped, "streams without events put errors in an array")
		})
	}
	require.Len(t, want, seen)
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		status     int
		want       llm.Cause
		code       string
	}{
		{"HTML", "<html>", 502, llm.CauseUpstreamError, ""},
		{"HTML for a bad request", "<html>", 400, llm.CauseUpstreamRejected, ""},
		{"a country", `{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}`, 400, llm.CauseUpstreamAuth, ""},
		{"an expired key", `{"error":{"code":400,"message":"API key expired. Please renew the API key.","status":"INVALID_ARGUMENT"}}`, 400, llm.CauseUpstreamAuth, ""},
		{
			"too long", `{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}`,
			400, llm.CauseUpstreamRejected, "context_length_exceeded",
		},
		{"a deadline", `{"error":{"code":504,"message":"Deadline expired","status":"DEADLINE_EXCEEDED"}}`, 504, llm.CauseUpstreamTimeout, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := gemini.Generate{}.Error(tc.status, nil, []byte(tc.body))
			require.Equal(t, tc.want, e.Cause)
			require.Equal(t, tc.code, e.Code)
			require.NotEmpty(t, e.Message)
		})
	}
	e := gemini.Generate{}.Error(400, nil, []byte(`{"error":{"message":"Bad.","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"contents[0].parts"}]}]}}`))
	require.Equal(t, "contents[0].parts", e.Param)
	e = gemini.Generate{}.Error(429, http.Header{"Retry-After": {"7"}}, nil)
	require.Equal(t, 7*time.Second, e.RetryAfter)
}

// An error inside a stream has the cause that its status would have.
func TestErrorsInside(t *testing.T) {
	for body, want := range map[string]llm.Cause{
		`{"error":{"code":503}}`:                    llm.CauseUpstreamOverloaded,
		`{"error":{"status":"RESOURCE_EXHAUSTED"}}`: llm.CauseUpstreamRateLimited,
		`{"error":{"status":"UNAUTHENTICATED"}}`:    llm.CauseUpstreamAuth,
		`{"error":{"status":"PERMISSION_DENIED"}}`:  llm.CauseUpstreamAuth,
		`{"error":{"status":"NOT_FOUND"}}`:          llm.CauseUpstreamRejected,
		`{"error":{"status":"INVALID_ARGUMENT"}}`:   llm.CauseUpstreamRejected,
		`{"error":{"status":"UNAVAILABLE"}}`:        llm.CauseUpstreamOverloaded,
		`{"error":{"status":"DEADLINE_EXCEEDED"}}`:  llm.CauseUpstreamTimeout,
		`{"error":{}}`:   llm.CauseUpstreamError,
		`{"error":"no"}`: llm.CauseUpstreamError,
		`<html>`:         llm.CauseUpstreamInvalid,
		`{}`:             llm.CauseUpstreamInvalid,
	} {
		m := gemini.Generate{}.NewMeter()
		m.Body([]byte(body))
		require.NotNil(t, m.Reading().Err, body)
		require.Equal(t, want, m.Reading().Err.Cause, body)
		require.False(t, m.Reading().Complete)
		_, failed := gemini.Generate{}.DecodeAnswer([]byte(body), dialect.UpstreamOptions{})
		require.Equal(t, want, failed.Cause, body)
	}
}

func TestWriteError(t *testing.T) {
	words := map[llm.Cause]string{
		llm.CauseInvalidRequest: "INVALID_ARGUMENT", llm.CauseUnauthenticated: "UNAUTHENTICATED", llm.CauseForbidden: "PERMISSION_DENIED",
		llm.CauseModelNotFound: "NOT_FOUND", llm.CauseNotFound: "NOT_FOUND", llm.CauseMethodNotAllowed: "UNIMPLEMENTED",
		llm.CauseTooLarge: "INVALID_ARGUMENT", llm.CauseRateLimited: "RESOURCE_EXHAUSTED", llm.CauseClientGone: "CANCELLED",
		llm.CauseUpstreamRejected: "INVALID_ARGUMENT", llm.CauseUpstreamAuth: "INTERNAL", llm.CauseUpstreamRateLimited: "RESOURCE_EXHAUSTED",
		llm.CauseUpstreamError: "UNAVAILABLE", llm.CauseUpstreamOverloaded: "UNAVAILABLE", llm.CauseUpstreamUnreachable: "UNAVAILABLE",
		llm.CauseUpstreamTimeout: "DEADLINE_EXCEEDED", llm.CauseUpstreamInvalid: "INTERNAL", llm.CauseUpstreamCut: "UNAVAILABLE",
		llm.CauseUnavailable: "UNAVAILABLE", llm.CauseInternal: "INTERNAL", llm.CauseInterrupted: "UNAVAILABLE",
	}
	for _, cause := range llm.Causes {
		t.Run(string(cause), func(t *testing.T) {
			require.Contains(t, words, cause)
			w := httptest.NewRecorder()
			gemini.Generate{}.WriteError(w, &llm.Error{Cause: cause, Message: "why", Err: errors.New("secret")}, "req-1")
			require.Equal(t, cause.Status(), w.Code)
			require.Equal(t, "req-1", w.Header().Get("X-Request-Id"))
			require.Contains(t, w.Body.String(), `"status":"`+words[cause]+`"`)
			require.NotContains(t, w.Body.String(), "secret")
		})
	}
	w := httptest.NewRecorder()
	err := &llm.Error{Cause: llm.CauseInvalidRequest, Message: "x is wrong", Param: "x", Code: "unsupported_parameter", RetryAfter: 1500 * time.Millisecond}
	gemini.Count{}.WriteError(w, err, "req-1")
	require.Equal(t, "2", w.Header().Get("Retry-After"))
	require.JSONEq(t, `{"error":{"code":400,"message":"x is wrong","status":"INVALID_ARGUMENT","details":[
		{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"UNSUPPORTED_PARAMETER"},
		{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"x","description":"x is wrong"}]},
		{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.5s"},
		{"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":"req-1"}]}}`, w.Body.String())
	event := gemini.Generate{}.AppendErrorEvent(nil, err, "")
	require.True(t, strings.HasPrefix(string(event), `data: {"error":{"code":400,`) && strings.HasSuffix(string(event), "\n\n"))
}
