package main

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/testenv"
)

// tokenOf is a token of some user of a gateway with testSecret.
func tokenOf(t *testing.T, user string) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(testSecret), claims("sub", user))
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "JWT_SECRET="+testSecret, "RATE_LIMIT=3/h")
	alice, bob := tokenOf(t, "alice"), tokenOf(t, "bob")
	portal := `{"specialist_id":"` + specialist + `","message":"Hello!"}`
	for range 5 {
		require.Equal(t, 401, g.ask("bad", specialist, false).Status)
		require.Equal(t, 200, g.do("GET", "/v1/models", alice, "").Status)
	}
	a := g.ask(alice, specialist, true)
	require.Equal(t, 200, a.Status)
	require.Equal(t, []string{"3", "2"}, []string{a.Header.Get("X-RateLimit-Limit"), a.Header.Get("X-RateLimit-Remaining")}, "streams say it, too")
	reset, err := strconv.Atoi(a.Header.Get("X-RateLimit-Reset"))
	require.NoError(t, err)
	require.InDelta(t, 1200, reset, 1, "seconds until the bucket is full")
	require.Equal(t, 200, g.do("POST", "/chat/send", alice, portal).Status)
	require.Equal(t, 200, g.do("POST", "/chat/stream/", alice, portal).Status, "one bucket for all that spends")

	for path, body := range map[string]string{
		"/v1/chat/completions": chat(specialist, true), "/v1/completions": `{"model":"x","prompt":"y"}`,
		"/v1/embeddings": `{"model":"x","input":"y"}`, "/v1/responses": `{"model":"x","input":"y"}`,
		"/chat/send": portal, "/chat/stream": portal, "/chat/stream/": portal,
	} {
		a := g.do("POST", path, alice, body)
		require.Equal(t, 429, a.Status, path)
		require.Equal(t, "3", a.Header.Get("X-RateLimit-Limit"))
		require.Equal(t, "0", a.Header.Get("X-RateLimit-Remaining"))
		wait, err := strconv.Atoi(a.Header.Get("Retry-After"))
		require.NoError(t, err)
		require.InDelta(t, 1195, wait, 10, "until the next token")
		requireErrorShape(t, path, a)
		require.Contains(t, a.Body, "try again in "+a.Header.Get("Retry-After")+" seconds")
		if strings.HasPrefix(path, "/v1") {
			require.Equal(t, "rate_limit_exceeded", a.get("error.code"))
		}
	}
	for path, shape := range map[string]string{
		"/v1/messages": `"type":"rate_limit_error"`, "/anthropic/v1/messages": `"type":"rate_limit_error"`, "/v1/v1/messages": `"type":"rate_limit_error"`,
		"/openai/chat/completions": `"code":"rate_limit_exceeded"`, "/openai/v1/responses": `"code":"rate_limit_exceeded"`,
		"/v1beta/models/x:generateContent": `"status":"RESOURCE_EXHAUSTED"`, "/v1beta/a/b:streamGenerateContent?alt=sse": `"status":"RESOURCE_EXHAUSTED"`,
		"/gemini/v1/models/x:embedContent": `"status":"RESOURCE_EXHAUSTED"`, "/v1/models/x%3AgenerateContent": `"status":"RESOURCE_EXHAUSTED"`,
	} {
		a := g.do("POST", path, alice, "{}")
		require.Equal(t, 429, a.Status, path)
		require.Contains(t, a.Body, shape, path)
		require.NotEmpty(t, a.Header.Get("Retry-After"), path)
	}
	require.Len(t, g.rows(alice, 3), 3, "refused calls cost nothing; reading is not charged")
	require.Equal(t, 200, g.ask(bob, specialist, false).Status, "everybody has a bucket")
}

func TestRefusedCallTakesFromNoZone(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "JWT_SECRET="+testSecret)
	g.caddyfile(g.app("a.db", ""), `llm_gateway {
		zone each 2/h
		zone all 4/h everybody
	}`)
	g.start()
	for range 5 {
		g.ask(tokenOf(t, "alice"), specialist, false)
	}
	bob := tokenOf(t, "bob")
	require.Equal(t, 200, g.ask(bob, specialist, false).Status)
	require.Equal(t, 200, g.ask(bob, specialist, false).Status)
	require.Equal(t, 429, g.ask(tokenOf(t, "carol"), specialist, false).Status, "the zone of all is empty")
}

func TestForgedForwardedFor(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{false, true} {
		t.Run("trusted="+strconv.FormatBool(trusted), func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			g.caddyfile(g.app("a.db", ""), "llm_gateway {\nrate_limit 2/h\nanonymous\n}")
			if trusted {
				g.configure(strings.Replace(g.text(), "{\n", "{\nservers {\ntrusted_proxies static 127.0.0.1/32\ntrusted_proxies_strict\n}\n", 1))
			}
			g.start()
			call := func(from string) int {
				return g.do("POST", "/v1/chat/completions", "", chat(specialist, false), "X-Forwarded-For", from).Status
			}
			require.Equal(t, 200, call("192.0.2.1"))
			require.Equal(t, 200, call("192.0.2.2"))
			if !trusted {
				require.Equal(t, 429, call("192.0.2.3"), "who is no proxy cannot say who asks")
				return
			}
			require.Equal(t, 200, call("192.0.2.3"))
			require.Equal(t, 200, call("192.0.2.1"))
			require.Equal(t, 429, call("192.0.2.1"))
			require.Equal(t, 429, call("203.0.113.7, 192.0.2.1"), "only the proxy's own word counts, by trusted_proxies_strict")
		})
	}
}

func TestLimitsSharedInRedis(t *testing.T) {
	t.Parallel()
	redis := testenv.RedisServer(t)
	var gateways [2]*gateway
	for i := range gateways {
		gateways[i] = startGateway(t, "JWT_SECRET="+testSecret, "RATE_LIMIT=4/h", "REDIS_URL="+redis.URL())
	}
	alice := tokenOf(t, "alice")
	for i := range 4 {
		a := gateways[i%2].ask(alice, specialist, false)
		require.Equal(t, 200, a.Status)
		require.Equal(t, strconv.Itoa(3-i), a.Header.Get("X-RateLimit-Remaining"))
	}
	for _, g := range gateways {
		require.Equal(t, 429, g.ask(alice, specialist, false).Status)
		require.Equal(t, "ok", g.do("GET", "/health", "", "").get("redis"))
	}

	redis.Pause()
	g := gateways[0]
	for i := range 8 { // the first few find out; nobody waits long
		start := time.Now()
		a := g.ask(tokenOf(t, "user"+strconv.Itoa(i)), specialist, false)
		require.Equal(t, 200, a.Status, a.Body)
		require.Less(t, time.Since(start), time.Second, "50 ms for Redis, the rest for a busy machine")
	}
	require.Equal(t, 429, g.ask(alice, specialist, false).Status, "an outage gives nothing back")
	g.printed("redis is unreachable, limits are in-process")
	redis.Resume()
	g.printed("redis is back")
	require.Equal(t, 429, g.ask(alice, specialist, false).Status)
}

func TestRedisFailurePolicies(t *testing.T) {
	t.Parallel()
	for policy, status := range map[string]int{"local": 429, "deny": 503, "allow": 200} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			g.caddyfile(g.app("a.db", "redis redis://127.0.0.1:1/\nredis_failure "+policy), "llm_gateway {\nrate_limit 1/h\n}")
			g.start()
			alice := tokenOf(t, "alice")
			g.ask(alice, specialist, false)
			a := g.ask(alice, specialist, false)
			require.Equal(t, status, a.Status, a.Body)
			if policy == "deny" {
				require.Equal(t, "1", a.Header.Get("Retry-After"))
				requireErrorShape(t, "/v1/", a)
			}
			require.Equal(t, "down", g.do("GET", "/health", "", "").get("redis"))
		})
	}
}
