package gateway_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/pricing"
)

const hello = `{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}`

const anonymous = "" // an empty value takes the token away

// TestBadInput holds what a caller can get wrong against the one clear error it
// gives, and the row that a known caller's refused call leaves.
func TestBadInput(t *testing.T) {
	const chat, embed = "/v1/chat/completions", "/v1/embeddings"
	tests := map[string]struct {
		method, path, token, body string // default: POST, chat, callerKey
		status                    int
		typ, code, param          string
		cause                     llm.Cause // of the row; "": no row
	}{
		"empty body":          {body: "", status: 400, typ: "invalid_request_error", cause: llm.CauseInvalidRequest},
		"no JSON":             {body: "hello", status: 400, typ: "invalid_request_error", cause: llm.CauseInvalidRequest},
		"half of it":          {body: hello[:40], status: 400, typ: "invalid_request_error", cause: llm.CauseInvalidRequest},
		"trailing text":       {body: hello + "x", status: 400, typ: "invalid_request_error", cause: llm.CauseInvalidRequest},
		"an array":            {body: "[]", status: 400, typ: "invalid_request_error", cause: llm.CauseInvalidRequest},
		"two models":          {body: `{"model":"a","model":"b","messages":[]}`, status: 400, typ: "invalid_request_error", cause: llm.CauseInvalidRequest},
		"no model":            {body: `{"messages":[]}`, status: 400, typ: "invalid_request_error", param: "model", cause: llm.CauseInvalidRequest},
		"model is a number":   {body: `{"model":1,"messages":[]}`, status: 400, typ: "invalid_request_error", param: "model", cause: llm.CauseInvalidRequest},
		"no messages":         {body: `{"model":"gpt-4o-mini"}`, status: 400, typ: "invalid_request_error", param: "messages", cause: llm.CauseInvalidRequest},
		"messages is a text":  {body: `{"model":"gpt-4o-mini","messages":"hi"}`, status: 400, typ: "invalid_request_error", param: "messages", cause: llm.CauseInvalidRequest},
		"stream is a text":    {body: `{"model":"gpt-4o-mini","messages":[],"stream":"yes"}`, status: 400, typ: "invalid_request_error", param: "stream", cause: llm.CauseInvalidRequest},
		"temperature":         {body: `{"model":"gpt-4o-mini","messages":[],"temperature":"hot"}`, status: 400, typ: "invalid_request_error", param: "temperature", cause: llm.CauseInvalidRequest},
		"unknown model":       {body: `{"model":"gpt-17","messages":[]}`, status: 404, typ: "invalid_request_error", code: "model_not_found", param: "model", cause: llm.CauseModelNotFound},
		"unknown provider":    {body: `{"model":"acme/gpt-4o","messages":[]}`, status: 404, typ: "invalid_request_error", code: "model_not_found", param: "model", cause: llm.CauseModelNotFound},
		"provider alone":      {body: `{"model":"openai/","messages":[]}`, status: 404, typ: "invalid_request_error", code: "model_not_found", param: "model", cause: llm.CauseModelNotFound},
		"a very long model":   {body: `{"model":"` + strings.Repeat("m", 70_000) + `","messages":[]}`, status: 404, typ: "invalid_request_error", code: "model_not_found", param: "model", cause: llm.CauseModelNotFound},
		"nested too deep":     {body: `{"model":"gpt-4o-mini","messages":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, status: 400, typ: "invalid_request_error", cause: llm.CauseInvalidRequest},
		"no token":            {token: anonymous, body: hello, status: 401, typ: "authentication_error", code: "invalid_api_key"},
		"no token, bad body":  {token: anonymous, body: "x", status: 401, typ: "authentication_error", code: "invalid_api_key"},
		"token, not for this": {token: "only:openai/gpt-4o,helper", body: hello, status: 404, typ: "invalid_request_error", code: "model_not_found", param: "model", cause: llm.CauseModelNotFound},
		"specialist, not for": {token: "only:other", body: `{"model":"helper","messages":[]}`, status: 403, typ: "permission_error", code: "permission_denied", param: "model", cause: llm.CauseForbidden},
		"embeddings of a specialist": {
			path: embed, body: `{"model":"helper","input":"x"}`, status: 400, typ: "invalid_request_error", param: "model", cause: llm.CauseInvalidRequest,
		},
		"format not spoken": {
			path: "/v1/completions", body: `{"model":"anthropic/claude-haiku-4-5","prompt":"x"}`, status: 400, typ: "invalid_request_error", param: "model", cause: llm.CauseInvalidRequest,
		},
		"specialist of a provider that is off": {
			body: `{"model":"homeless","messages":[]}`, status: 503, typ: "server_error", code: "unavailable", param: "model", cause: llm.CauseUnavailable,
		},
		"wrong method":         {method: "GET", status: 405, typ: "invalid_request_error", code: "method_not_allowed"},
		"wrong method, models": {method: "POST", path: "/v1/models", status: 405, typ: "invalid_request_error", code: "method_not_allowed"},
		"wrong method, model":  {method: "DELETE", path: "/v1/models/openai/gpt-4o", status: 405, typ: "invalid_request_error", code: "method_not_allowed"},
		"unknown path":         {path: "/v1/audio/speech", body: "{}", status: 404, typ: "invalid_request_error", code: "not_found"},
		"model not there":      {method: "GET", path: "/v1/models/gpt-17", status: 404, typ: "invalid_request_error", code: "model_not_found", param: "model"},
		"models, no token":     {method: "GET", path: "/v1/models", token: anonymous, status: 401, typ: "authentication_error", code: "invalid_api_key"},
	}
	server := upstreamtest.New(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := setup(t, withSpecialists,
				provider(t, "openai", server.URL(), upstream.Timeouts{}), provider(t, "anthropic", server.URL(), upstream.Timeouts{}))
			method, path := tt.method, tt.path
			if method == "" {
				method = http.MethodPost
			}
			if path == "" {
				path = chat
			}
			token := "Bearer " + callerKey
			if name == "no token" || name == "no token, bad body" || name == "models, no token" {
				token = anonymous
			} else if tt.token != "" {
				token = "Bearer " + tt.token
			}
			a := f.do(method, path, tt.body, "Authorization", token)
			e := a.requireError(t, tt.status, tt.code)
			require.Equal(t, tt.typ, e.Type)
			require.Equal(t, tt.param, text(e.Param))
			require.Less(t, len(e.Message), 400)
			if tt.cause == llm.CauseNone {
				require.Empty(t, f.ledger.all())
				return
			}
			row := f.ledger.one(t)
			requireRow(t, row, 0, 0, tt.status, tt.cause)
			require.Equal(t, a.Header.Get("X-Request-Id"), row.RequestID)
			require.Zero(t, row.Cost)
			require.Zero(t, row.InputTokens+row.OutputTokens)
		})
	}
	require.Empty(t, server.Requests())
}

func withSpecialists(o *gateway.Options) {
	o.Specialists = specialists{
		{ID: "helper", Name: "Helper", Provider: "openai", Model: "gpt-4o-mini", SystemPrompt: "Help.", Aliases: []string{"old-helper"}},
		{ID: "homeless", Name: "Homeless", Provider: "xai", Model: "grok-3", SystemPrompt: "Wander."},
		{ID: "doubtful", Name: "Doubtful", Provider: "xai", Model: "grok-3", Fallbacks: []specialist.Target{{Provider: "openai", Model: "gpt-4o"}}},
	}
	o.Aliases = map[string]string{"fast": "openai/gpt-4o-mini", "assistant": "helper"}
}

// A body above the limit is refused, whether its length is said or not, and not
// read to its end.
func TestBodyTooLarge(t *testing.T) {
	server := upstreamtest.New(t)
	for name, length := range map[string]int64{"with Content-Length": 33 << 20, "without": -1} {
		t.Run(name, func(t *testing.T) {
			f := setup(t, nil, provider(t, "openai", server.URL(), upstream.Timeouts{}))
			body := &spaces{}
			body.left.Store(33 << 20)
			r := f.request(t.Context(), http.MethodPost, "/v1/chat/completions", io.MultiReader(strings.NewReader(hello), body))
			r.ContentLength = length
			if length > 0 {
				r.ContentLength += int64(len(hello))
			}
			resp, err := f.client.Do(r)
			if err != nil { // the connection may be closed before the client has read the answer
				require.NotErrorIs(t, err, io.ErrUnexpectedEOF)
			} else {
				defer resp.Body.Close()
				text, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode)
				e, _ := parseError(t, string(text))
				require.Equal(t, "request_too_large", *e.Code)
			}
			requireRow(t, f.ledger.one(t), 0, 0, http.StatusRequestEntityTooLarge, llm.CauseTooLarge)
			if length > 0 {
				require.Greater(t, body.left.Load(), int64(16<<20), "a body known to be too large is not read")
			}
		})
	}
	require.Empty(t, server.Requests())
}

// A body of 31 MiB goes through.
func TestLargeBody(t *testing.T) {
	server := upstreamtest.New(t)
	f := setup(t, nil, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	for _, filler := range []string{" ", `"`} { // before the end of the object, and as a text
		body := hello[:len(hello)-1] + strings.Repeat(" ", 31<<20) + "}"
		if filler == `"` {
			body = hello[:len(hello)-1] + `,"user":"` + strings.Repeat("u", 31<<20) + `"}`
		}
		a := f.chat(body)
		require.Equal(t, http.StatusOK, a.Status)
		want := strings.Replace(body, "openai/gpt-4o-mini", "gpt-4o-mini", 1)
		require.Empty(t, difference([]byte(want), server.Last().Body))
	}
}

// spaces is so many of them.
type spaces struct{ left atomic.Int64 }

func (s *spaces) Read(p []byte) (int, error) {
	n := min(int(s.left.Load()), len(p))
	if n == 0 {
		return 0, io.EOF
	}
	for i := range p[:n] {
		p[i] = ' '
	}
	s.left.Add(-int64(n))
	return n, nil
}

// Names that lead to an upstream, and who may use them.
func TestResolve(t *testing.T) {
	tests := map[string]struct {
		token, model  string
		status        int
		provider, got string // of the row
	}{
		"provider/model":                 {callerKey, "openai/gpt-4o", 200, "openai", "gpt-4o"},
		"a model one provider has":       {callerKey, "gpt-4o", 200, "openai", "gpt-4o"},
		"a new model of a provider":      {callerKey, "openai/gpt-99", 200, "openai", "gpt-99"},
		"alias of a model":               {callerKey, "fast", 200, "openai", "gpt-4o-mini"},
		"alias of a specialist":          {callerKey, "assistant", 200, "openai", "gpt-4o-mini"},
		"specialist":                     {callerKey, "helper", 200, "openai", "gpt-4o-mini"},
		"specialist's alias":             {callerKey, "old-helper", 200, "openai", "gpt-4o-mini"},
		"first choice off":               {callerKey, "doubtful", 200, "openai", "gpt-4o"},
		"token for the model":            {"only:gpt-4o", "openai/gpt-4o", 200, "openai", "gpt-4o"},
		"token for provider/model":       {"only:openai/gpt-4o", "gpt-4o", 200, "openai", "gpt-4o"},
		"token for the provider":         {"only:openai/*", "gpt-4o", 200, "openai", "gpt-4o"},
		"token for the alias":            {"only:fast", "fast", 200, "openai", "gpt-4o-mini"},
		"token for the specialist":       {"only:helper", "assistant", 200, "openai", "gpt-4o-mini"},
		"token for specialist's alias":   {"only:old-helper", "helper", 200, "openai", "gpt-4o-mini"},
		"token for alias of specialist":  {"only:assistant", "assistant", 200, "openai", "gpt-4o-mini"},
		"token for nothing":              {"only:", "helper", 403, "", ""},
		"a specialist opens no model":    {"only:helper", "openai/gpt-4o-mini", 404, "", ""},
		"a model opens no specialist":    {"only:openai/gpt-4o-mini", "helper", 403, "", ""},
		"an alias opens its model alone": {"only:fast", "openai/gpt-4o", 404, "", ""},
	}
	server := upstreamtest.New(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := setup(t, withSpecialists, provider(t, "openai", server.URL(), upstream.Timeouts{}))
			a := f.chat(`{"model":"`+tt.model+`","messages":[]}`, "Authorization", "Bearer "+tt.token)
			require.Equal(t, tt.status, a.Status, a.Body)
			row := f.ledger.one(t)
			require.Equal(t, tt.provider, row.Provider)
			require.Equal(t, tt.got, row.Model)
		})
	}
}

// unloaded are specialists whose database has not answered yet.
type unloaded struct{ specialists }

func (unloaded) Loaded() bool { return false }

// A name that may be a specialist's is not called unknown before they are known.
func TestSpecialistsNotLoaded(t *testing.T) {
	server := upstreamtest.New(t)
	f := setup(t, func(o *gateway.Options) { o.Specialists = unloaded{} }, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	a := f.chat(`{"model":"helper","messages":[]}`)
	a.requireError(t, http.StatusServiceUnavailable, "unavailable")
	require.Equal(t, "2", a.Header.Get("Retry-After"))
	require.Equal(t, http.StatusOK, f.chat(hello).Status, "a model is no specialist's name")
}

// While records cannot be kept, no call is taken.
func TestLedgerFull(t *testing.T) {
	server := upstreamtest.New(t)
	f := setup(t, nil, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	f.ledger.AdmitFunc = func() error { return errors.New("spool is full") }
	a := f.chat(hello)
	a.requireError(t, http.StatusServiceUnavailable, "unavailable")
	require.Equal(t, "5", a.Header.Get("Retry-After"))
	require.NotContains(t, a.Body, "spool")
	require.Empty(t, server.Requests())
}

// The paths that are the gateway's; what it serves it answers itself, in a
// dialect of its own.
func TestServes(t *testing.T) {
	server := upstreamtest.New(t)
	g := gateway.New(gateway.Options{
		Logger: slog.New(slog.DiscardHandler), Prices: pricing.Embedded(), Ledger: newLedger(),
		Providers: []*upstream.Provider{provider(t, "openai", server.URL(), upstream.Timeouts{})},
	})
	for path, want := range map[string]bool{
		"/v1/chat/completions": true, "/v1/models": true, "/v1/anything": true, "/chat/send": true, "/chat/send/": true, "/chat/stream": true,
		"/chat/stream/": true, "/chat/sender": false, "/chat/stream/x": false, "/chat/triage": false, "/": false, "/v1": false, "/v1beta/x": true,
		"/anthropic/v1/messages": true, "/gemini/v1beta/models/m:generateContent": true,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, nil)
		require.Equal(t, want, g.Serves(r), path)
		if want {
			w := httptest.NewRecorder()
			g.ServeHTTP(w, r)
			require.Contains(t, w.Header().Get("Content-Type"), "application/json", path)
		}
	}
}
