package caddymodule

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/ratelimit"
)

// limited makes a limiter with a zone of calls that allows two.
func limited(t *testing.T) *RateLimit {
	t.Helper()
	limit, err := ratelimit.ParseLimit("2/h")
	require.NoError(t, err)
	return &RateLimit{zones: []zone{{name: defaultZone, limit: limit}}, limiter: ratelimit.NewMemory(0, nil)}
}

func fromAddress(t *testing.T, ip string) *http.Request {
	t.Helper()
	ctx := context.WithValue(t.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: ip})
	ctx = context.WithValue(ctx, caddy.ReplacerCtxKey, caddy.NewReplacer())
	return httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
}

// allowed counts how many of ten calls get through.
func allowed(t *testing.T, l *RateLimit, p *identity.Principal) (n int) {
	t.Helper()
	for range 10 {
		d, err := l.take(fromAddress(t, "192.0.2.1"), p)
		require.NoError(t, err)
		if d.Allowed {
			n++
		}
	}
	return n
}

func TestLimitsThatCallersBringAlong(t *testing.T) {
	t.Parallel()
	l := limited(t)
	require.Equal(t, 2, allowed(t, l, nil), "an address has the zone's limit")
	require.Equal(t, 2, allowed(t, l, &identity.Principal{UserHash: "a"}), "and so has a user")
	require.Equal(t, 5, allowed(t, l, &identity.Principal{UserHash: "a", UserRate: "5/h"}), "whom a rule may give more")
	require.Equal(t, 1, allowed(t, l, &identity.Principal{UserHash: "b", UserRate: "1/h"}), "or less")

	token := &identity.Principal{UserHash: "c", TokenID: "t1", Rate: "1/h"}
	require.Equal(t, 1, allowed(t, l, token), "a token's own limit is beside its user's")
	require.Equal(t, 1, allowed(t, l, &identity.Principal{UserHash: "c"}), "of which refused calls took nothing")
	require.Zero(t, allowed(t, l, &identity.Principal{UserHash: "c", TokenID: "t2", Rate: "100/h"}), "a token's own limit adds nothing to its user's")
}

// Whoever has one IPv6 address has 2^64 of them.
func TestAddressesOfOneClient(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string]string{
		"192.0.2.1":                "ip:192.0.2.1",
		"::ffff:192.0.2.1":         "ip:192.0.2.1",
		"2001:db8:1:2::1":          "ip:2001:db8:1:2::/64",
		"2001:db8:1:2:ffff:1:2:3":  "ip:2001:db8:1:2::/64",
		"2001:db8:1:3::1":          "ip:2001:db8:1:3::/64",
		"fe80::1%eth0":             "ip:fe80::/64",
		"no address, as of a pipe": "ip:no address, as of a pipe",
	} {
		require.Equal(t, want, callerOf(fromAddress(t, ip), nil))
	}
}

// A limit that stands beside calls over a WebSocket takes nothing for opening it.
func TestLimitPerCall(t *testing.T) {
	t.Parallel()
	l := limited(t)
	l.PerCall = true
	l.app = &App{engine: &engine{lease: newLease(func() {}), started: make(chan struct{})}}
	close(l.app.engine.started)
	for range 5 {
		r := fromAddress(t, "192.0.2.1")
		opened := false
		require.NoError(t, l.ServeHTTP(httptest.NewRecorder(), r, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			opened = true
			return nil
		})))
		require.True(t, opened)
	}
	var spend spender
	r := fromAddress(t, "192.0.2.1")
	require.NoError(t, l.ServeHTTP(httptest.NewRecorder(), r, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		spend = caddyhttp.GetVar(r.Context(), spendVar).(spender)
		return nil
	})))
	p := &identity.Principal{UserHash: "a"}
	header := make(http.Header)
	require.Nil(t, spend(r, p, header))
	require.Equal(t, "1", header.Get("X-Ratelimit-Remaining"))
	require.Nil(t, spend(r, p, header))
	err := spend(r, p, header)
	require.Equal(t, llm.CauseRateLimited, err.Cause)
	require.Contains(t, err.Message, "try again in 1800 seconds")
	require.NotEmpty(t, header.Get("Retry-After"))
}

// A call that triage makes is its caller's, but not bounded to the specialists of
// the caller's token: its context says so, and counts.
func TestCallsOfThePortalSayWhoseTheyAre(t *testing.T) {
	t.Parallel()
	r := fromAddress(t, "192.0.2.1")
	_, ok := callerVar(r)
	require.False(t, ok)
	limited, asking := &identity.Principal{UserHash: "a", Specialists: []string{"x"}}, &identity.Principal{UserHash: "a"}
	caddyhttp.SetVar(r.Context(), principalVar, limited)
	p, ok := callerVar(r)
	require.True(t, ok)
	require.Same(t, limited, p)
	p, _ = callerVar(r.WithContext(identity.NewContext(r.Context(), asking)))
	require.Same(t, asking, p)
}
