package anthropic_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/anthropic"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

func TestUpstreamErrors(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		want   llm.Error
	}{
		"bad request": {
			400, `{"type":"error","error":{"type":"invalid_request_error","message":"messages.0: bad"},"request_id":"req_x"}`,
			llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 400, Type: "invalid_request_error", Message: "messages.0: bad"},
		},
		"too long": {
			400, `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 5 tokens > 4 maximum"}}`,
			llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 400, Type: "invalid_request_error", Code: "context_length_exceeded", Message: "prompt is too long: 5 tokens > 4 maximum"},
		},
		"model": {
			404, `{"type":"error","error":{"type":"not_found_error","message":"model: claude-x"}}`,
			llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 404, Type: "not_found_error", Message: "model: claude-x"},
		},
		"too large":   {413, `{"type":"error","error":{"type":"request_too_large","message":"big"}}`, llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 413, Type: "request_too_large", Message: "big"}},
		"secrets":     {400, `{"error":{"type":"invalid_request_error","message":"no sk-ant-api03-abcdefghijkl for you@example.com"}}`, llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 400, Type: "invalid_request_error", Message: "no [redacted] for [redacted]"}},
		"no reason":   {422, `<html>`, llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 422, Message: "the upstream provider rejected the request with status 422 and did not say why"}},
		"text":        {400, `{"error":"oh no"}`, llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 400, Message: "oh no"}},
		"google":      {400, `{"error":{"code":400,"message":"bad model","status":"INVALID_ARGUMENT"}}`, llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 400, Type: "INVALID_ARGUMENT", Message: "bad model"}},
		"key":         {401, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`, llm.Error{Cause: llm.CauseUpstreamAuth}},
		"key, as 400": {400, `{"error":{"type":"invalid_request_error","message":"x-api-key header is required"}}`, llm.Error{Cause: llm.CauseUpstreamAuth}},
		"credit":      {400, `{"error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}`, llm.Error{Cause: llm.CauseUpstreamAuth}},
		"spend":       {400, `{"error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits."}}`, llm.Error{Cause: llm.CauseUpstreamAuth}},
		"permission":  {403, `{"error":{"type":"permission_error","message":"no"}}`, llm.Error{Cause: llm.CauseUpstreamAuth}},
		"rate limit":  {429, `{"error":{"type":"rate_limit_error","message":"org-12345678 is over"}}`, llm.Error{Cause: llm.CauseUpstreamRateLimited}},
		"internal":    {500, `{"error":{"type":"api_error","message":"host-17"}}`, llm.Error{Cause: llm.CauseUpstreamError}},
		"timeout":     {504, `{"error":{"type":"timeout_error","message":"x"}}`, llm.Error{Cause: llm.CauseUpstreamTimeout}},
		"overloaded":  {529, `{"error":{"type":"overloaded_error","message":"Overloaded"}}`, llm.Error{Cause: llm.CauseUpstreamOverloaded}},
		"broken":      {500, `{"error":`, llm.Error{Cause: llm.CauseUpstreamError}},
	} {
		t.Run(name, func(t *testing.T) {
			got := anthropic.Messages.Error(test.status, http.Header{"Retry-After": {"7"}}, []byte(test.body))
			require.Equal(t, 7*time.Second, got.RetryAfter)
			require.Error(t, got.Err)
			got.Err, got.RetryAfter = nil, 0
			if test.want.Message == "" {
				require.NotEmpty(t, got.Message)
				require.NotContains(t, got.Message, "host-17")
				require.NotContains(t, got.Message, "org-")
				got.Message = ""
			}
			require.Equal(t, test.want, *got)
		})
	}
}

func TestRecordedErrors(t *testing.T) {
	causes := map[int]llm.Cause{
		400: llm.CauseUpstreamRejected, 401: llm.CauseUpstreamAuth, 404: llm.CauseUpstreamRejected, 413: llm.CauseUpstreamRejected,
		429: llm.CauseUpstreamRateLimited, 500: llm.CauseUpstreamError, 529: llm.CauseUpstreamOverloaded,
	}
	for _, c := range recorded(t) {
		if c.Status == 200 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			got := anthropic.Messages.Error(c.Status, c.Header, c.Body)
			require.Equal(t, causes[c.Status], got.Cause)
			if got.Cause != llm.CauseUpstreamRejected {
				return
			}
			// A client gets the provider's words and type.
			var said, told struct {
				Type  string `json:"type"`
				Error struct{ Type, Message string }
			}
			require.NoError(t, json.Unmarshal(c.Body, &said))
			w := httptest.NewRecorder()
			anthropic.Messages.WriteError(w, got, "req_1")
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &told))
			require.Equal(t, said, told)
			require.Equal(t, c.Status, w.Code)
		})
	}
}

// TestNoThreads: Anthropic's SDKs go on without a thread when told by this code.
func TestNoThreads(t *testing.T) {
	refused := dialect.Unsaid{Source: anthropic.Messages, Target: dialect.OpenAIChat}
	err, ok := errors.AsType[*llm.Error](refused.Path("thread", ""))
	require.True(t, ok)
	w := httptest.NewRecorder()
	anthropic.Messages.WriteError(w, err, "req_1")
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), `"details":{"error_code":"thread_unsupported_request","unsupported":["thread"]}},"request_id"`)
	require.True(t, json.Valid(w.Body.Bytes()))
}

func TestWriteError(t *testing.T) {
	for _, test := range []struct {
		err    llm.Error
		status int
		typ    string
		hopes  bool // a retry may help
	}{
		{llm.Error{Cause: llm.CauseInvalidRequest, Param: "messages[0].role", Message: "messages.0.role: is required"}, 400, "invalid_request_error", true},
		{llm.Error{Cause: llm.CauseMethodNotAllowed}, 405, "invalid_request_error", true},
		{llm.Error{Cause: llm.CauseUnauthenticated}, 401, "authentication_error", true},
		{llm.Error{Cause: llm.CauseForbidden}, 403, "permission_error", true},
		{llm.Error{Cause: llm.CauseModelNotFound}, 404, "not_found_error", true},
		{llm.Error{Cause: llm.CauseNotFound}, 404, "not_found_error", true},
		{llm.Error{Cause: llm.CauseTooLarge}, 413, "request_too_large", true},
		{llm.Error{Cause: llm.CauseRateLimited, RetryAfter: 1500 * time.Millisecond}, 429, "rate_limit_error", true},
		{llm.Error{Cause: llm.CauseRateLimited, RetryAfter: time.Hour}, 429, "rate_limit_error", false},
		{llm.Error{Cause: llm.CauseUpstreamRateLimited}, 429, "rate_limit_error", true},
		{llm.Error{Cause: llm.CauseUpstreamRejected}, 400, "invalid_request_error", true},
		{llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 404, Type: "model_not_found"}, 404, "not_found_error", true},
		{llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 413}, 413, "request_too_large", true},
		{llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 422, Type: "billing_error"}, 422, "billing_error", true},
		{llm.Error{Cause: llm.CauseUpstreamAuth}, 502, "api_error", false},
		{llm.Error{Cause: llm.CauseUpstreamError}, 502, "api_error", true},
		{llm.Error{Cause: llm.CauseUpstreamCut}, 502, "api_error", true},
		{llm.Error{Cause: llm.CauseUpstreamOverloaded}, 529, "overloaded_error", true},
		{llm.Error{Cause: llm.CauseUnavailable}, 503, "overloaded_error", true},
		{llm.Error{Cause: llm.CauseUpstreamTimeout}, 504, "timeout_error", true},
		{llm.Error{Cause: llm.CauseInternal}, 500, "api_error", true},
	} {
		if test.err.Message == "" {
			test.err.Message = "why \"so\" \xff"
		}
		w := httptest.NewRecorder()
		anthropic.Messages.WriteError(w, &test.err, "req_1")
		require.Equal(t, test.status, w.Code, "%s", test.err.Cause)
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		require.Equal(t, "req_1", w.Header().Get("Request-Id"))
		require.Equal(t, "req_1", w.Header().Get("X-Request-Id"))
		require.Equal(t, !test.hopes, w.Header().Get("X-Should-Retry") == "false")
		if test.err.RetryAfter == 1500*time.Millisecond {
			require.Equal(t, "2", w.Header().Get("Retry-After"))
			require.Equal(t, "1500", w.Header().Get("Retry-After-Ms"))
		}
		var body map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
		inner := body["error"].(map[string]any)
		require.Equal(t, "error", body["type"])
		require.Equal(t, "req_1", body["request_id"])
		require.Equal(t, test.typ, inner["type"])
		require.NotEmpty(t, inner["message"])

		var s sse.Scanner
		_, _ = s.Write(anthropic.Messages.AppendErrorEvent(nil, &test.err, "req_1"))
		e, ok := s.Next()
		require.True(t, ok)
		require.Equal(t, "error", string(e.Type))
		require.JSONEq(t, w.Body.String(), string(e.Data))
	}
	for _, cause := range llm.Causes {
		w := httptest.NewRecorder()
		if cause != llm.CauseClientGone {
			anthropic.Messages.WriteError(w, &llm.Error{Cause: cause, Message: "x"}, "")
			require.NotContains(t, w.Body.String(), `"request_id"`)
		}
	}
}
