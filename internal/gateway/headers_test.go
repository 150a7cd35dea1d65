package gateway_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// callersHeader is all that a caller, or a proxy before us, may send along.
var callersHeader = []string{
	"X-Api-Key", "secret-1", "X-Goog-Api-Key", "secret-2", "Cookie", "session=secret-3", "Proxy-Authorization", "Basic secret-4",
	"X-Forwarded-For", "10.1.2.3", "X-Forwarded-Host", "inside.example", "X-Forwarded-Proto", "https", "X-Real-Ip", "10.1.2.3",
	"Forwarded", "for=10.1.2.3", "Via", "1.1 inside", "User-Agent", "OpenAI/Python 1.2.3", "Origin", "https://portal.example",
	"Referer", "https://portal.example/x", "Openai-Organization", "org-theirs", "Openai-Project", "proj-theirs",
	"X-Stainless-Os", "Linux", "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X-Request-Id", "theirs",
	"Connection", "X-Hop", "X-Hop", "secret-5", "Te", "trailers", "Upgrade-Insecure-Requests", "1", "Accept-Encoding", "gzip, br",
	"Content-Type", "application/json; charset=utf-8", "Accept", "text/event-stream", "Idempotency-Key", "idem-1",
	"Openai-Beta", "assistants=v2", "X-Team", "blue", "Content-Encoding", "identity",
}

// The upstream gets its own key and what a call needs, and nothing that tells
// who or where the caller is.
func TestRequestHeader(t *testing.T) {
	server := upstreamtest.New(t)
	forward := func(o *gateway.Options) { o.ForwardHeaders = []string{"x-team"} }
	f := setup(t, forward, configured(t, upstream.Config{
		Name: "openai", BaseURL: server.URL(), Headers: http.Header{"Openai-Organization": {"org-ours"}},
	}))
	require.Equal(t, http.StatusOK, f.post("/v1/chat/completions?key=secret-6", hello, callersHeader...).Status)
	got := server.Last()
	require.Equal(t, http.Header{
		"Authorization":       {"Bearer " + upstreamKey},
		"Openai-Organization": {"org-ours"},
		"Content-Type":        {"application/json"},
		"Content-Length":      {"67"},
		"User-Agent":          {"Tollgate"},
		"Accept":              {"text/event-stream"},
		"Idempotency-Key":     {"idem-1"},
		"Openai-Beta":         {"assistants=v2"},
		"X-Team":              {"blue"},
	}, got.Header)
	require.Equal(t, "/v1/chat/completions", got.Path)
	require.Empty(t, got.Query)
}

// Of the upstream's header the caller gets what is about the answer.
func TestResponseHeader(t *testing.T) {
	theirs := []string{
		"Set-Cookie", "__cf_bm=secret", "Openai-Organization", "org-ours", "Openai-Project", "proj-ours", "X-Ratelimit-Remaining-Requests", "9",
		"Retry-After", "3", "Server", "cloudflare", "Cf-Ray", "8f", "X-Request-Id", "req-theirs", "Via", "1.1 envoy", "Connection", "X-Hop", "X-Hop", "1",
		"Strict-Transport-Security", "max-age=1", "Alt-Svc", "h3", "Access-Control-Allow-Origin", "*", "Location", "/x", "Content-Encoding", "",
		"Openai-Processing-Ms", "17", "Openai-Version", "2020-10-01", "X-Internal", "1", "Www-Authenticate", "Bearer",
	}
	ours := []string{"Cache-Control", "Content-Type", "Date", "Openai-Processing-Ms", "Openai-Version", "X-Request-Id"}
	tests := map[string]struct {
		behaviour upstreamtest.Behaviour
		names     []string
	}{
		"whole":  {upstreamtest.JSON(200, upstreamtest.ChatBody("a"), theirs...), append([]string{"Content-Length"}, ours...)},
		"stream": {upstreamtest.Answer(200, "text/event-stream", strings.Join(events, ""), theirs...), append([]string{"X-Accel-Buffering"}, ours...)},
		"error":  {upstreamtest.JSON(500, "{}", theirs...), []string{"Content-Length", "Content-Type", "Date", "Retry-After", "Retry-After-Ms", "X-Request-Id"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := upstreamtest.New(t, tt.behaviour)
			f := setup(t, nil, provider(t, "openai", server.URL(), upstream.Timeouts{}))
			a := f.chat(hello)
			slices.Sort(tt.names)
			require.Equal(t, tt.names, slices.Sorted(maps.Keys(a.Header)))
			require.Regexp(t, "^req_", a.Header.Get("X-Request-Id"))
			if name != "error" {
				require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
				require.Equal(t, "17", a.Header.Get("Openai-Processing-Ms"))
			}
		})
	}
}

// A specialist's base URL on another host gets neither key nor the provider's
// own headers; one on the provider's host does.
func TestKeyStaysAtItsHost(t *testing.T) {
	server, elsewhere := upstreamtest.New(t), upstreamtest.New(t)
	for name, tt := range map[string]struct {
		baseURL string
		at      *upstreamtest.Upstream
		path    string
		withKey bool
	}{
		"another host": {elsewhere.URL() + "/v1", elsewhere, "/v1/chat/completions", false},
		"same host":    {server.URL() + "/other/", server, "/other/chat/completions", true},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t, func(o *gateway.Options) {
				o.Specialists = specialists{{ID: "own", Name: "Own", Provider: "openai", Model: "m", BaseURL: tt.baseURL}}
			}, configured(t, upstream.Config{Name: "openai", BaseURL: server.URL(), Headers: http.Header{"Api-Key": {"also-secret"}}}))
			require.Equal(t, http.StatusOK, f.chat(`{"model":"own","messages":[]}`).Status)
			got := tt.at.Last()
			require.Equal(t, tt.path, got.Path)
			require.Equal(t, tt.withKey, got.Header.Get("Authorization") == "Bearer "+upstreamKey)
			require.Equal(t, tt.withKey, got.Header.Get("Api-Key") != "")
			if !tt.withKey {
				require.Empty(t, got.Header.Get("Authorization"))
			}
		})
	}
}

// Keys are used in turn.
func TestKeysInTurn(t *testing.T) {
	server := upstreamtest.New(t)
	f := setup(t, nil, configured(t, upstream.Config{
		Name: "openai", BaseURL: server.URL(), Keys: []secret.Secret{secret.New("k1"), secret.New("k2"), secret.New("k3")},
	}))
	counts := map[string]int{}
	for range 9 {
		require.Equal(t, http.StatusOK, f.chat(hello).Status)
		counts[server.Last().Header.Get("Authorization")]++
	}
	require.Equal(t, map[string]int{"Bearer k1": 3, "Bearer k2": 3, "Bearer k3": 3}, counts)
}

// What a specialist changes of a body, and that it changes nothing else.
func TestSpecialistRewrite(t *testing.T) {
	half := 0.5
	of := func(o *gateway.Options) {
		o.Specialists = specialists{
			{ID: "full", Name: "Full", Provider: "openai", Model: "gpt-4o", SystemPrompt: "Be \"kind\".\nAlways.", Temperature: &half, MaxTokens: 100},
			{ID: "bare", Name: "Bare", Provider: "openai", Model: "gpt-4o"},
			{ID: "classic", Name: "Classic", Provider: "mistral", Model: "mistral-small-latest", MaxTokens: 100, Pricing: &specialist.Pricing{InputPer1M: "1", OutputPer1M: "2"}},
		}
	}
	const system = `{"role":"system","content":"Be \"kind\".\nAlways."}`
	tests := map[string]struct{ body, want string }{
		"plain model":             {`{"model":"openai/gpt-4o","messages":[],"x":1.0e+2}`, `{"model":"gpt-4o","messages":[],"x":1.0e+2}`},
		"model alone, as it is":   {`{ "messages" : [ ], "model":"gpt-4o" , "x":[1,  2]}`, `{ "messages" : [ ], "model":"gpt-4o" , "x":[1,  2]}`},
		"bare":                    {`{"model":"bare","messages":[{"role":"user","content":"\u00fc\/"}]}`, `{"model":"gpt-4o","messages":[{"role":"user","content":"\u00fc\/"}]}`},
		"full":                    {`{"model":"full","messages":[]}`, `{"model":"gpt-4o","messages":[` + system + `],"temperature":0.5,"max_completion_tokens":100}`},
		"before the caller's own": {`{"model":"full","messages":[{"role":"system","content":"Mine."}],"temperature":0,"max_tokens":50}`, `{"model":"gpt-4o","messages":[` + system + `,{"role":"system","content":"Mine."}],"temperature":0,"max_tokens":50}`},
		"capped":                  {`{"model":"full","max_tokens":5000,"messages":[],"temperature":1.5}`, `{"model":"gpt-4o","max_tokens":100,"messages":[` + system + `],"temperature":1.5}`},
		"stream":                  {`{"model":"bare","messages":[],"stream":true}`, `{"model":"gpt-4o","messages":[],"stream":true,"stream_options":{"include_usage":true}}`},
		"stream, usage wanted":    {`{"model":"bare","messages":[],"stream":true,"stream_options":{"include_usage":true,"x":1}}`, `{"model":"gpt-4o","messages":[],"stream":true,"stream_options":{"include_usage":true,"x":1}}`},
		"another field":           {`{"model":"classic","messages":[]}`, `{"model":"mistral-small-latest","messages":[],"max_tokens":100}`},
		"no stream options":       {`{"model":"classic","messages":[],"stream":true,"max_tokens":1}`, `{"model":"mistral-small-latest","messages":[],"stream":true,"max_tokens":1}`},
	}
	server := upstreamtest.New(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := setup(t, of, provider(t, "openai", server.URL(), upstream.Timeouts{}), provider(t, "mistral", server.URL(), upstream.Timeouts{}))
			require.Equal(t, http.StatusOK, f.chat(tt.body).Status)
			require.Equal(t, tt.want, string(server.Last().Body))
			if name == "another field" { // 10 tokens at 1 and 3 at 2 dollars a million
				require.Equal(t, "0.000016", f.ledger.one(t).Cost.String())
			}
		})
	}
}
