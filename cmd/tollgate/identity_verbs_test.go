package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Operators withdraw tokens and block people without a running gateway's help,
// and a running one follows.
func TestIdentityVerbs(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	with := func(args ...string) []string {
		return append(args, "--config", g.config, "--adapter", "caddyfile")
	}
	out, _ := g.mustRun(with("token", "--subject", "bot")...)
	bot := strings.TrimSpace(out)
	refused := func(token string) func() bool {
		return func() bool { return g.do("GET", "/auth/verify", token, "").Status == 401 }
	}
	require.Equal(t, 200, g.do("GET", "/auth/verify", bot, "").Status)
	out, _ = g.mustRun(with("revoke", bot, "--reason", "lost")...)
	require.Contains(t, out, "withdrawn ")
	g.eventually("the token is refused", refused(bot))

	login := g.do("POST", "/auth/login", "", `{"email":"alice@example.com"}`)
	alice := login.get("access_token")
	made := g.do("POST", "/auth/tokens", alice, `{"name":"ci"}`)
	require.Equal(t, 200, made.Status, made.Body)
	require.Equal(t, 200, g.do("GET", "/auth/verify", made.get("token"), "").Status)
	g.mustRun(with("revoke", made.get("id"))...)
	g.eventually("the API token is refused", refused(made.get("token")))
	require.Contains(t, g.do("GET", "/auth/tokens", alice, "").Body, `"revoked_at":"`)

	g.mustRun(with("user", "block", "--email", "Alice@Example.com")...)
	g.eventually("a blocked user is refused", refused(alice))
	require.Equal(t, 403, g.do("POST", "/auth/login", "", `{"email":"alice@example.com"}`).Status)
	g.mustRun(with("user", "unblock", "--email", "alice@example.com")...)
	require.Equal(t, 200, g.do("POST", "/auth/login", "", `{"email":"alice@example.com"}`).Status)
	g.mustRun(with("user", "forget", "--email", "alice@example.com")...)

	out, _ = g.mustRun(with("revoke", "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl")...)
	require.Contains(t, out, "withdrawn sha256:", "a token without an id of its own")

	for said, args := range map[string][]string{
		"say who":                {"user", "block"},
		"is not block, unblock":  {"user", "ban", "--email", "carol@example.com"},
		"is not an e-mail":       {"user", "block", "--email", "carol"},
		"is not a user's hash":   {"user", "block", "--user", "ca3704aa"},
		"or --user HASH":         {"user", "block", "--email", "carol@example.com", "--user", strings.Repeat("a", 64)},
		"part of a token":        {"revoke", bot[:40]},
		"nobody of that address": {"user", "unblock", "--email", "carol@example.com"},
	} {
		_, stderr, code := g.run(with(args...)...)
		require.NotZero(t, code, args)
		require.Contains(t, stderr, said)
	}
}
