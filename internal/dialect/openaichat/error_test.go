package openaichat_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

func TestUpstreamErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		want   llm.Error
	}{
		"openai": {
			400, `{"error":{"message":"bad","type":"invalid_request_error","param":"messages[0]","code":"context_length_exceeded"}}`,
			llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 400, Message: "bad", Type: "invalid_request_error", Param: "messages[0]", Code: "context_length_exceeded"},
		},
		"422, FastAPI": {
			422, `{"detail":[{"type":"missing","loc":["body","messages",0,"content"],"msg":"Field required","input":{"role":"user"}},{"msg":"second"}]}`,
			llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 422, Message: "Field required", Param: "messages.0.content"},
		},
		"mistral": {
			422, `{"object":"error","message":"Invalid model: x","type":"invalid_model","param":null,"code":"1500"}`,
			llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 422, Message: "Invalid model: x", Type: "invalid_model", Code: "1500"},
		},
		"gemini": {
			400, `[{"error":{"code":400,"message":"Invalid value","status":"INVALID_ARGUMENT"}}]`,
			llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 400, Message: "Invalid value", Code: "INVALID_ARGUMENT"},
		},
		"gemini, key": {
			400, `[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]`,
			llm.Error{Cause: llm.CauseUpstreamAuth},
		},
		"ollama": {
			404, `{"error":"model 'x' not found"}`,
			llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 404, Message: "model 'x' not found"},
		},
		"openrouter, inner": {
			400, `{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"inner reason\"}}","provider_name":"X"}}}`,
			llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 400, Message: "inner reason"},
		},
		"openrouter, text": {
			400, `{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"plain reason"}}}`,
			llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 400, Message: "plain reason"},
		},
		"openrouter, html": {
			400, `{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"<html>host-17</html>"}}}`,
			llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 400, Message: "Provider returned error"},
		},
		"xai, key":  {400, `{"code":"invalid-argument","error":"Incorrect API key provided."}`, llm.Error{Cause: llm.CauseUpstreamAuth}},
		"html":      {413, "<html>host-17</html>", llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 413, Message: "the upstream provider rejected the request with status 413 and did not say why"}},
		"empty":     {409, "", llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 409, Message: "the upstream provider rejected the request with status 409 and did not say why"}},
		"moved":     {302, "", llm.Error{Cause: llm.CauseUpstreamError}},
		"500":       {500, `{"error":{"message":"pod host-17 died"}}`, llm.Error{Cause: llm.CauseUpstreamError}},
		"529":       {529, `{"error":{"message":"host-17"}}`, llm.Error{Cause: llm.CauseUpstreamOverloaded}},
		"504":       {504, "host-17", llm.Error{Cause: llm.CauseUpstreamTimeout}},
		"401":       {401, `{"error":{"message":"key sk-abcdef host-17"}}`, llm.Error{Cause: llm.CauseUpstreamAuth}},
		"odd type":  {400, `{"error":{"message":"x","type":"<script>","code":"a b"}}`, llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 400, Message: "x", Code: "a b"}},
		"all wrong": {400, `{"error":{"message":5,"type":[],"code":{},"param":true}}`, llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 400, Message: "the upstream provider rejected the request with status 400 and did not say why"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := *openaichat.Chat.Error(tc.status, http.Header{}, []byte(tc.body))
			require.Error(t, got.Err, "the log gets the status")
			require.NotContains(t, got.Error(), "host-17")
			got.Err = nil
			if tc.want.Message == "" { // one of ours
				require.NotEmpty(t, got.Message)
				tc.want.Message = got.Message
			}
			require.Equal(t, tc.want, got)
		})
	}
}

func TestScrub(t *testing.T) {
	for text, want := range map[string]string{
		"key sk-proj-abc123_DEF is bad":                             "key [redacted] is bad",
		"gsk_abcdefgh123 and xai-abcdefgh":                          "[redacted] and [redacted]",
		"AIzaSyA-1234567890abcdef":                                  "[redacted]",
		"Authorization: Bearer abc.def-ghi":                         "Authorization: [redacted]",
		"token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x-y_z":          "token [redacted]",
		"in organization org-AbC123 on project proj_x9":             "in organization [redacted] on project [redacted]",
		"ask ann.lee+x@mail.example.com about it":                   "ask [redacted] about it",
		"see https://host.example/a/b?key=secret#frag now":          "see https://host.example/a/b now",
		"at https://user:pass@host.example/x":                       "at https://host.example/x",
		"bad-key-**********test":                                    "[redacted]",
		"hex 0123456789abcdef0123456789abcdef":                      "hex [redacted]",
		"model meta-llama-3-1-70b-instruct-turbo-128k is not there": "model meta-llama-3-1-70b-instruct-turbo-128k is not there",
		"call_abcDEF123456789012345678 has no answer":               "call_abcDEF123456789012345678 has no answer",
		"a user-friendly, organised text":                           "a user-friendly, organised text",
		"tab\tnew\nline\x00\x1b[31m":                                "tab\tnew\nline[31m",
		strings.Repeat("ä ", 1000):                                  strings.TrimSpace(strings.Repeat("ä ", 333)),
	} {
		body, err := json.Marshal(map[string]any{"error": map[string]any{"message": text}})
		require.NoError(t, err)
		e := openaichat.Chat.Error(400, http.Header{}, body)
		require.Equal(t, want, e.Message)
		require.LessOrEqual(t, len(e.Message), 1000)
	}
}

func TestRetryAfter(t *testing.T) {
	for name, tc := range map[string]struct {
		name, value string
		least, most time.Duration
	}{
		"milliseconds": {"Retry-After-Ms", "174", 174 * time.Millisecond, 174 * time.Millisecond},
		"seconds":      {"Retry-After", "7", 7 * time.Second, 7 * time.Second},
		"fraction":     {"Retry-After", "0.5", 500 * time.Millisecond, 500 * time.Millisecond},
		"date":         {"Retry-After", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat), 50 * time.Second, time.Minute},
		"past":         {"Retry-After", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), 0, 0},
		"negative":     {"Retry-After", "-5", 0, 0},
		"absurd":       {"Retry-After", "1e300", 24 * time.Hour, 24 * time.Hour},
		"not a number": {"Retry-After", "NaN", 0, 0},
		"nonsense":     {"Retry-After", "soon", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			e := openaichat.Chat.Error(429, http.Header{tc.name: {tc.value}}, nil)
			require.Equal(t, llm.CauseUpstreamRateLimited, e.Cause)
			require.GreaterOrEqual(t, e.RetryAfter, tc.least)
			require.LessOrEqual(t, e.RetryAfter, tc.most)
		})
	}
}

func TestWriteError(t *testing.T) {
	for name, tc := range map[string]struct {
		err    llm.Error
		status int
		body   string
		header map[string]string
	}{
		"invalid": {
			llm.Error{Cause: llm.CauseInvalidRequest, Message: "stream must be a boolean", Param: "stream"},
			400,
			`{"error":{"message":"stream must be a boolean","type":"invalid_request_error","param":"stream","code":null},"request_id":"req_1"}`, nil,
		},
		"token": {
			llm.Error{Cause: llm.CauseUnauthenticated, Message: "m"},
			401,
			`{"error":{"message":"m","type":"authentication_error","param":null,"code":"invalid_api_key"},"request_id":"req_1"}`, nil,
		},
		"forbidden": {
			llm.Error{Cause: llm.CauseForbidden, Message: "m"},
			403,
			`{"error":{"message":"m","type":"permission_error","param":null,"code":"permission_denied"},"request_id":"req_1"}`, nil,
		},
		"model": {
			llm.Error{Cause: llm.CauseModelNotFound, Message: "m", Param: "model"},
			404,
			`{"error":{"message":"m","type":"invalid_request_error","param":"model","code":"model_not_found"},"request_id":"req_1"}`, nil,
		},
		"limit": {
			llm.Error{Cause: llm.CauseRateLimited, Message: "m", RetryAfter: 1500 * time.Millisecond},
			429,
			`{"error":{"message":"m","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"},"request_id":"req_1"}`,
			map[string]string{"Retry-After": "2", "Retry-After-Ms": "1500", "X-Should-Retry": ""},
		},
		"long limit": {
			llm.Error{Cause: llm.CauseRateLimited, Message: "m", RetryAfter: time.Hour},
			429,
			`{"error":{"message":"m","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"},"request_id":"req_1"}`,
			map[string]string{"Retry-After": "3600", "X-Should-Retry": "false"},
		},
		"rejected": {
			llm.Error{Cause: llm.CauseUpstreamRejected, HTTPStatus: 422, Message: "m", Type: "t", Code: "c"},
			422,
			`{"error":{"message":"m","type":"t","param":null,"code":"c"},"request_id":"req_1"}`, nil,
		},
		"upstream's key": {
			llm.Error{Cause: llm.CauseUpstreamAuth, Message: "m"},
			502,
			`{"error":{"message":"m","type":"server_error","param":null,"code":"upstream_auth"},"request_id":"req_1"}`,
			map[string]string{"X-Should-Retry": "false", "Retry-After": ""},
		},
		"broken text": {
			llm.Error{Cause: llm.CauseInvalidRequest, Message: "m", Param: "a\xff<>&"},
			400,
			`{"error":{"message":"m","type":"invalid_request_error","param":"a` + "\uFFFD" + `<>&","code":null},"request_id":"req_1"}`, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			openaichat.Chat.WriteError(w, &tc.err, "req_1")
			require.Equal(t, tc.status, w.Code)
			require.Equal(t, tc.body, w.Body.String())
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			require.Equal(t, "req_1", w.Header().Get("X-Request-Id"))
			for name, value := range tc.header {
				require.Equal(t, value, w.Header().Get(name), name)
			}
		})
	}
}

// Every cause has words, and every error of ours survives our own reading.
func TestEveryCause(t *testing.T) {
	for _, cause := range llm.Causes {
		b := openaichat.NewErrorBody(&llm.Error{Cause: cause, Message: "m"}, "")
		require.NotEmpty(t, b.Error.Type)
		require.NotContains(t, string(b.Append(nil)), "request_id")
	}
}

func TestErrorEvent(t *testing.T) {
	text := openaichat.Chat.AppendErrorEvent([]byte("data: x\n\n"), &llm.Error{Cause: llm.CauseUpstreamCut, Message: "broke\noff"}, "req_1")
	require.Equal(t, "data: x\n\n"+`data: {"error":{"message":"broke\noff","type":"server_error","param":null,"code":"upstream_cut"},"request_id":"req_1"}`+"\n\n", string(text))
	var s sse.Scanner
	_, _ = s.Write(text)
	m := openaichat.Chat.NewMeter()
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		m.Event(e)
	}
	require.False(t, m.Reading().Complete)
	require.Equal(t, llm.CauseUpstreamError, m.Reading().Err.Cause)
}

func FuzzError(f *testing.F) {
	for _, c := range recordedSeeds(f) {
		if c.Status != 200 {
			f.Add(c.Status, c.Body, "1")
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte, retry string) {
		if status >= 200 && status < 300 {
			return
		}
		e := openaichat.Chat.Error(status, http.Header{"Retry-After": {retry}}, body)
		require.NotEmpty(t, e.Message)
		require.LessOrEqual(t, len(e.Message), 1000)
		require.GreaterOrEqual(t, e.RetryAfter, time.Duration(0))
		require.NotEqual(t, llm.CauseNone, e.Cause)
		require.True(t, json.Valid(openaichat.NewErrorBody(e, "r").Append(nil)))
	})
}
