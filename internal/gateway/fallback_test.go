package gateway_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

const (
	ladder       = `{"model":"ladder","messages":[{"role":"user","content":"hi"}]}`
	ladderStream = `{"model":"ladder","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true}}`
)

// withLadder gives the specialist "ladder" three targets, each a provider.
func withLadder(o *gateway.Options) {
	o.Specialists = specialists{{
		ID: "ladder", Name: "Ladder", Provider: "openai", Model: "gpt-4o-mini",
		Fallbacks: []specialist.Target{{Provider: "groq", Model: "llama-3.3-70b-versatile"}, {Provider: "mistral", Model: "mistral-small-latest"}},
	}}
}

// threeProviders are the ladder's; those after the first behave as told, too.
func threeProviders(t *testing.T, timeouts upstream.Timeouts, behaviours ...upstreamtest.Behaviour) (servers []*upstreamtest.Upstream, providers []*upstream.Provider) {
	for i, name := range []string{"openai", "groq", "mistral"} {
		var script []upstreamtest.Behaviour
		if i < len(behaviours) {
			script = behaviours[i : i+1]
		}
		servers = append(servers, upstreamtest.New(t, script...))
		providers = append(providers, provider(t, name, servers[i].URL(), timeouts))
	}
	return servers, providers
}

// What one upstream does not answer, the next one does, and the caller sees
// nothing of the first.
func TestFallback(t *testing.T) {
	serverError := upstreamtest.JSON(500, `{"error":{"message":"boom"}}`)
	tests := map[string]struct {
		behaviours []upstreamtest.Behaviour // of the providers in turn; the last one answers well
		causes     []llm.Cause
	}{
		"500":             {[]upstreamtest.Behaviour{serverError}, []llm.Cause{llm.CauseUpstreamError}},
		"500 twice":       {[]upstreamtest.Behaviour{serverError, serverError}, []llm.Cause{llm.CauseUpstreamError, llm.CauseUpstreamError}},
		"reset":           {[]upstreamtest.Behaviour{upstreamtest.Reset()}, []llm.Cause{llm.CauseUpstreamUnreachable}},
		"key refused":     {[]upstreamtest.Behaviour{upstreamtest.JSON(401, "{}")}, []llm.Cause{llm.CauseUpstreamAuth}},
		"429":             {[]upstreamtest.Behaviour{upstreamtest.JSON(429, "{}", "Retry-After", "3")}, []llm.Cause{llm.CauseUpstreamRateLimited}},
		"no answer":       {[]upstreamtest.Behaviour{upstreamtest.Hang()}, []llm.Cause{llm.CauseUpstreamTimeout}},
		"HTML":            {[]upstreamtest.Behaviour{upstreamtest.HTML(200)}, []llm.Cause{llm.CauseUpstreamInvalid}},
		"an error in 200": {[]upstreamtest.Behaviour{upstreamtest.Stream(upstreamtest.ErrorEvent)}, []llm.Cause{llm.CauseUpstreamError}},
		"an empty stream": {[]upstreamtest.Behaviour{upstreamtest.Stream()}, []llm.Cause{llm.CauseUpstreamCut}},
	}
	for name, tt := range tests {
		for kind, body := range map[string]string{"whole": ladder, "stream": ladderStream} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				servers, providers := threeProviders(t, short(500*time.Millisecond, 0, 0), tt.behaviours...)
				f := setup(t, withLadder, providers...)
				a := f.chat(body)
				want := upstreamtest.ChatBody("Hello", ", ", "world")
				if kind == "stream" {
					want = strings.Join(upstreamtest.ChatEvents(true, "Hello", ", ", "world"), "")
				}
				require.Equal(t, http.StatusOK, a.Status)
				require.Equal(t, want, a.Body)
				require.Empty(t, a.Header.Get("Retry-After"))

				rows := f.ledger.wait(t, len(tt.causes)+1)
				for i, cause := range tt.causes {
					require.Equal(t, cause, rows[i].ErrorCause)
					require.False(t, rows[i].Success)
				}
				for i, row := range rows {
					require.Equal(t, i+1, row.Attempt)
					require.Equal(t, rows[0].RequestID, row.RequestID)
					require.Equal(t, "ladder", row.SpecialistID)
					require.Equal(t, providers[i].Name, row.Provider)
					require.Len(t, servers[i].Requests(), 1)
				}
				last := rows[len(rows)-1]
				requireRow(t, last, len(rows), 200, 200, llm.CauseNone)
				require.Equal(t, llm.UsageProvider, last.UsageSource)
				require.EqualValues(t, 3, last.OutputTokens)
				require.Len(t, servers[2].Requests(), max(0, len(rows)-2))
			})
		}
	}
}

// Where every target fails, the last one's error is the caller's.
func TestAllTargetsFail(t *testing.T) {
	_, providers := threeProviders(t, upstream.Timeouts{},
		upstreamtest.JSON(500, "{}"), upstreamtest.Reset(), upstreamtest.JSON(429, "{}", "Retry-After", "9"))
	f := setup(t, withLadder, providers...)
	a := f.chat(ladder)
	a.requireError(t, http.StatusTooManyRequests, "rate_limit_exceeded")
	require.Equal(t, "9", a.Header.Get("Retry-After"))
	for i, row := range f.ledger.wait(t, 3) {
		require.Equal(t, i+1, row.Attempt)
		require.Zero(t, row.Cost)
	}
}

// What another upstream would refuse too, or what the caller has begun to get,
// is not tried again.
func TestNoFallback(t *testing.T) {
	tests := map[string]struct {
		behaviour upstreamtest.Behaviour
		status    int
		cause     llm.Cause
	}{
		"400":                  {upstreamtest.JSON(400, `{"error":{"message":"messages: too many"}}`), 400, llm.CauseUpstreamRejected},
		"422":                  {upstreamtest.JSON(422, `{"detail":[{"loc":["body","messages"],"msg":"bad"}]}`), 422, llm.CauseUpstreamRejected},
		"after the first byte": {slowFirst(upstreamtest.Reset(begun...)), 200, llm.CauseUpstreamCut},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			servers, providers := threeProviders(t, upstream.Timeouts{}, tt.behaviour)
			f := setup(t, withLadder, providers...)
			a := f.chat(ladderStream)
			require.Equal(t, tt.status, a.Status)
			require.Equal(t, tt.cause, f.ledger.one(t).ErrorCause)
			require.Empty(t, servers[1].Requests())
		})
	}
	t.Run("the caller has left", func(t *testing.T) {
		servers, providers := threeProviders(t, upstream.Timeouts{}, upstreamtest.Hang())
		f := setup(t, withLadder, providers...)
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		go func() { servers[0].WaitRequests(t, 1); leave() }()
		resp, err := f.client.Do(f.request(ctx, http.MethodPost, "/v1/chat/completions", strings.NewReader(ladder)))
		require.ErrorIs(t, err, context.Canceled)
		require.Nil(t, resp)
		requireRow(t, f.ledger.one(t), 1, 0, 499, llm.CauseClientGone)
		require.Empty(t, servers[1].Requests())
	})
}
