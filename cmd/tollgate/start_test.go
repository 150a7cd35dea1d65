package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

// specialist is one that every gateway is shipped with.
const specialist = "research-assistant"

func TestFirstStartInAnEmptyFolder(t *testing.T) {
	t.Parallel()
	g := startGateway(t)

	health := g.do("GET", "/health", "", "")
	require.Equal(t, 200, health.Status)
	g.eventually("everything is healthy", func() bool {
		return g.do("GET", "/health", "", "").get("status") == "healthy"
	})

	token := g.login("alice@example.com")
	a := g.ask(token, specialist, true)
	require.Equal(t, 200, a.Status, a.Body)
	require.Equal(t, "1", a.Header.Get("X-Tollgate-Demo"))
	require.Equal(t, "text/event-stream", a.Header.Get("Content-Type"))
	require.True(t, strings.HasSuffix(a.Body, "data: [DONE]\n\n"), a.Body)
	require.Contains(t, a.Body, "“Hello!”")

	rows := g.rows(token, 1)
	require.Len(t, rows, 1)
	require.Equal(t, "demo", rows[0].Provider)
	require.Equal(t, specialist, rows[0].SpecialistID)
	require.True(t, rows[0].Success)
	require.Positive(t, rows[0].OutputTokens)

	info, err := os.Stat(filepath.Join(g.dir, "data", "jwt.secret"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	require.Contains(t, g.log.String(), `"off":["openai","anthropic","gemini"`, "what is off is said")

	g.stop()
	g.start()
	require.Equal(t, 200, g.do("GET", "/auth/me", token, "").Status, "the second start keeps the secret")
	require.Len(t, g.rows(token, 1), 1, "and the rows")
	require.Equal(t, 1, strings.Count(g.log.String(), "made a secret for tokens"))
}

// TestPrintedLines runs the lines that a first start prints, as they stand.
func TestPrintedLines(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		skipOrFail(t, "curl is not installed (apt-get install curl)")
	}
	g := startGateway(t)
	g.printed("/v1/chat/completions")
	var script strings.Builder
	for line := range strings.Lines(g.log.String()) {
		if strings.HasPrefix(line, "  ") {
			script.WriteString(line)
		}
	}
	shell := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script.String())
	output, err := shell.Output()
	require.NoError(t, err, script.String())
	require.Equal(t, 2, strings.Count(script.String(), "curl"))
	require.Contains(t, string(output), "data: {")
	require.True(t, strings.HasSuffix(string(output), "data: [DONE]\n\n"), string(output))
}

// What would not sign in is not printed.
func TestPrintedLinesWithoutTrust(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "LOGIN_TRUSTED=off")
	g.printed("nobody can sign in to the portal")
	g.printed("Tollgate listens on " + g.URL + "\n")
	require.Equal(t, 403, g.do("POST", "/auth/login", "", `{"email":"alice@example.com"}`).Status)
	require.NotContains(t, g.log.String(), "curl")
}

func TestListenForms(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	for _, listen := range []string{"127.0.0.1:" + port, ":" + port, "0.0.0.0:" + port, "[::1]:" + port} {
		t.Run(listen, func(t *testing.T) {
			if strings.HasPrefix(listen, "[") && !hasIPv6() {
				t.Skip("no IPv6 on this machine")
			}
			g := newGateway(t, "LISTEN="+listen, "ADMIN_LISTEN=off")
			g.URL = "http://127.0.0.1:" + port
			if strings.HasPrefix(listen, "[") {
				g.URL = "http://" + listen
			}
			g.start()
			g.printed("Tollgate listens on " + g.URL + "\n")
			login := g.do("POST", "/auth/login", "", `{"email":"alice@example.com"}`)
			if strings.HasPrefix(listen, ":") || strings.HasPrefix(listen, "0") {
				require.Equal(t, 403, login.Status, "sign-in without proof is for loopback alone")
				require.NotContains(t, g.log.String(), "/auth/login")
				g.printed("nobody can sign in to the portal")
			} else {
				require.Equal(t, 200, login.Status, login.Body)
				g.printed("/auth/login")
			}
		})
	}
}

func hasIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err == nil {
		l.Close()
	}
	return err == nil
}

func TestListenOnUnixSocket(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "ADMIN_LISTEN=off")
	g.listenOnSocket()
	g.start()
	require.Equal(t, "Tollgate", g.do("GET", "/health", "", "").get("app"))
	require.Equal(t, 403, g.do("POST", "/auth/login", "", `{"email":"a@example.com"}`).Status, "nobody knows who is behind a socket")
}

func TestAdminOffAndMetricsListen(t *testing.T) {
	t.Parallel()
	metrics := freeAddress(t)
	g := newGateway(t, "METRICS_LISTEN="+metrics)
	admin := g.env["ADMIN_LISTEN"]
	g.setenv("ADMIN_LISTEN=off")
	g.start()
	_, err := net.DialTimeout("tcp", admin, time.Second)
	require.Error(t, err, "the admin endpoint is off")

	token := g.login("alice@example.com")
	require.Equal(t, 200, g.ask(token, specialist, false).Status)
	a := g.do("GET", "http://"+metrics+"/metrics", "", "")
	require.Equal(t, 200, a.Status)
	require.Contains(t, a.Body, `tollgate_requests_total{cause="",model="demo",provider="demo",specialist="research-assistant",status="2xx"} 1`)
	require.Equal(t, 404, g.do("GET", "http://"+metrics+"/config/", "", "").Status, "nothing else is there")
}

// Compose files and unit files pass on variables that are empty: they count as
// not set.
func TestEmptyVariablesAreUnset(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "DATABASE_URL=", "REDIS_URL=", "JWT_SECRET=", "ALLOWED_DOMAINS=", "RATE_LIMIT=", "DATA_DIR=",
		"METRICS_LISTEN=", "PORTAL_DIR=", "OPENAI_API_KEY=", "OPENAI_BASE_URL=", "OLLAMA_BASE_URL=", "GOOGLE_API_KEY=")
	g.start()
	a := g.ask(g.login("alice@example.com"), specialist, false)
	require.Equal(t, 200, a.Status, a.Body)
	require.Equal(t, "60", a.Header.Get("X-Ratelimit-Limit"))
	require.FileExists(t, filepath.Join(g.dir, "data", "tollgate.db"))
}

func TestShortSecretIsRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "JWT_SECRET=correct horse battery")
	said := g.fails()
	require.Contains(t, said, "jwt secret: the signing secret has 21 bytes and needs at least 32")
	require.Contains(t, said, "openssl rand")
	require.NotContains(t, said, "correct horse")
	_, said, code := g.run("token", "--subject", "alice")
	require.NotZero(t, code)
	require.Contains(t, said, "needs at least 32")
}

func TestTokensOfAnOlderBackend(t *testing.T) {
	t.Parallel()
	const secret = "a secret that another backend shares with us"
	g := startGateway(t, "JWT_SECRET="+secret)
	mint := func(claims jwt.MapClaims) string {
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
		require.NoError(t, err)
		return token
	}
	later := time.Now().Add(time.Hour).Unix()
	bare := mint(jwt.MapClaims{"sub": "alice@example.com", "email": "alice@example.com", "exp": later})
	require.Equal(t, 200, g.ask(bare, specialist, false).Status, "no iss")
	require.Equal(t, "alice@example.com", g.do("GET", "/auth/me", bare, "").get("email"))
	foreign := mint(jwt.MapClaims{"sub": "alice", "iss": "https://elsewhere.example", "exp": later})
	require.Equal(t, 401, g.ask(foreign, specialist, false).Status, "another's iss")
	endless := mint(jwt.MapClaims{"sub": "alice"})
	require.Equal(t, 401, g.ask(endless, specialist, false).Status, "no exp")
}

func TestAllowedDomains(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "ALLOWED_DOMAINS=example.com, example.org")
	g.login("alice@example.org")
	a := g.do("POST", "/auth/login", "", `{"email":"mallory@evil-example.com"}`)
	require.Equal(t, 403, a.Status)
	require.Contains(t, a.get("error"), "example.com, example.org")
}

// skipOrFail skips a test that lacks something, and fails it in CI.
func skipOrFail(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
