package main

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

func TestTokenVerb(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	mint := func(args ...string) string {
		t.Helper()
		out, _ := g.mustRun(append([]string{"token", "--config", g.config, "--adapter", "caddyfile"}, args...)...)
		return strings.TrimSuffix(out, "\n")
	}
	alice := mint("--email", "Alice@example.com", "--name", "Alice A.", "--role", "admin", "--role", "auditor", "--lifetime", "1h")
	me := g.do("GET", "/auth/me", alice, "")
	require.Equal(t, "Alice A.", me.get("name"), me.Body)
	require.Equal(t, "admin", me.get("role"))
	require.Equal(t, "alice@example.com", strings.ToLower(me.get("email")))
	parsed := jwt.MapClaims{}
	_, _, err := jwt.NewParser().ParseUnverified(alice, parsed)
	require.NoError(t, err)
	expires, err := parsed.GetExpirationTime()
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(time.Hour), expires.Time, time.Minute)
	require.Equal(t, []any{"admin", "auditor"}, parsed["roles"])

	bot := mint("--subject", "bot", "--specialist", specialist, "--specialist", "openai/*")
	require.Equal(t, "user", g.do("GET", "/auth/me", bot, "").get("role"))
	require.Equal(t, 200, g.ask(bot, specialist, false).Status)
	require.Equal(t, 200, g.ask(bot, "openai/gpt-4o", false).Status)
	require.Equal(t, 403, g.ask(bot, "code-reviewer", false).Status)
	require.Equal(t, 404, g.ask(bot, "anthropic/claude-opus-4-6", false).Status)
	models := g.do("GET", "/v1/models", bot, "").Body
	require.Contains(t, models, specialist)
	require.NotContains(t, models, "code-reviewer")

	require.Len(t, g.rows(bot, 2), 4, "the refused ones, too: somebody known asked")
	require.GreaterOrEqual(t, len(g.rows(alice, 2)), 2, "an admin sees everybody's")

	// Without a configuration the verb finds the folder's secret itself.
	out, _ := g.mustRun("token", "--subject", "carol")
	require.Equal(t, 200, g.do("GET", "/auth/me", strings.TrimSpace(out), "").Status)

	_, said, code := g.run("token")
	require.NotZero(t, code)
	require.Contains(t, said, "say whose token it is: --email ADDRESS or --subject NAME")
	_, said, code = g.run("token", "--subject", "x", "--lifetime", "-1h")
	require.NotZero(t, code)
	require.Contains(t, said, "cannot live for -1h")
}

func TestHelpVerb(t *testing.T) {
	t.Parallel()
	out, _ := newGateway(t).mustRun("help")
	require.True(t, strings.HasPrefix(out, "Tollgate is a gateway for language models"), out)
	require.Contains(t, out, "\n  tollgate [command]\n")
	for _, verb := range []string{"token", "revoke", "user", "migrate", "prices", "pipeline"} {
		require.Contains(t, out, "'tollgate "+verb)
		require.Regexp(t, "(?m)^  "+verb+" ", out)
	}
}

func TestPricesVerb(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	out, _ := g.mustRun("prices", "openai", "gpt-4o")
	require.Regexp(t, `(?m)^openai +gpt-4o +2\.5 +10$`, out)
	require.Regexp(t, `(?m)^openai +gpt-4o-mini +0\.15 +0\.6$`, out)
	require.Contains(t, out, "USD per million tokens")
	require.NotContains(t, out, "anthropic")
	out, _ = g.mustRun("prices")
	require.Regexp(t, `(?m)^anthropic +claude-opus-4-6 +5 +25$`, out)
	_, said, code := g.run("prices", "openai", "no-such-model")
	require.NotZero(t, code)
	require.Contains(t, said, "the table has no such model")
}

// TestCaddyfiles: every Caddyfile of the repository adapts, is valid and is
// formatted, and no secret of the environment is in what it becomes.
func TestCaddyfiles(t *testing.T) {
	t.Parallel()
	var files []string
	require.NoError(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".") && len(entry.Name()) > 2):
			return filepath.SkipDir
		case strings.HasPrefix(entry.Name(), "Caddyfile") || strings.HasSuffix(entry.Name(), ".caddyfile"):
			path, err = filepath.Abs(path)
			files = append(files, path)
		}
		return err
	}))
	require.NotEmpty(t, files)
	for _, file := range files {
		g := newGateway(t, "JWT_SECRET=canary-secret-0123456789-0123456789", "OPENAI_API_KEY=canary-key",
			"DATABASE_URL=sqlite:///canary.db", "REDIS_URL=redis://canary@127.0.0.1:1/")
		adapted, said := g.mustRun("adapt", "--config", file, "--adapter", "caddyfile")
		require.NotContains(t, adapted, "canary", file)
		require.NotContains(t, said, "warn", file)
		_, said = g.mustRun("validate", "--config", file, "--adapter", "caddyfile")
		require.NotContains(t, said, "canary", file)
		g.mustRun("fmt", file)
	}
}
