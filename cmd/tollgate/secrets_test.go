package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// TestSecretsStayInside makes calls of every kind, with everything logged that
// can be, and looks for what must not be in whatever left the process.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	const (
		upstreamKey = "sk-canary-upstream-0123456789"
		prompt      = "canary-prompt-zebra"
		email       = "canary-person@example.com"
		password    = "canary-database-password"
		badToken    = "canary-bad-token"
	)
	upstream := upstreamtest.New(t,
		upstreamtest.Chat("Hello"),
		upstreamtest.JSON(401, `{"error":{"message":"Incorrect API key provided: `+upstreamKey+`","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`),
		upstreamtest.JSON(400, `{"error":{"message":"max_tokens is too large","type":"invalid_request_error","param":null,"code":null}}`),
		upstreamtest.HTML(502),
		upstreamtest.Stream(upstreamtest.ErrorEvent),
		upstreamtest.Drip(20*time.Millisecond, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n", ": cut\n\n"),
		upstreamtest.Chat("Bye"),
	)
	g := newGateway(t, "JWT_SECRET="+testSecret, "OPENAI_API_KEY="+upstreamKey, "OPENAI_BASE_URL="+upstream.URL()+"/v1",
		"REDIS_URL=redis://user:"+password+"@127.0.0.1:1/", "RATE_LIMIT=12/h")
	// The default configuration with an access log and debug messages.
	content, err := os.ReadFile(g.config)
	require.NoError(t, err)
	loud := strings.Replace(string(content), "{\n", "{\n\tdebug\n", 1)
	g.configure(strings.Replace(loud, "\tllm_gateway {", "\tlog\n\tllm_gateway {", 1))
	g.start()

	a := g.do("POST", "/auth/login", "", `{"email":"`+email+`"}`)
	require.Equal(t, 200, a.Status)
	token := a.get("access_token")
	other := sign(t, jwt.SigningMethodHS256, []byte(testSecret), claims("email", email))
	ask := `{"model":"openai/gpt-4o","stream":STREAM,"messages":[{"role":"user","content":"` + prompt + `"}]}`
	var answers strings.Builder
	call := func(status int, method, path, token, body string, headers ...string) {
		t.Helper()
		a := g.do(method, path, token, body, headers...)
		require.Equal(t, status, a.Status, a.Body)
		answers.WriteString(a.Body)
		for name, values := range a.Header {
			answers.WriteString(name + ": " + strings.Join(values, ", ") + "\n")
		}
	}
	whole, stream := strings.Replace(ask, "STREAM", "false", 1), strings.Replace(ask, "STREAM", "true", 1)
	call(200, "POST", "/v1/chat/completions?key="+other, "", whole)
	require.Equal(t, "Bearer "+upstreamKey, upstream.Last().Header.Get("Authorization"))
	call(502, "POST", "/v1/chat/completions", "", whole, "x-api-key", other)
	call(400, "POST", "/v1/chat/completions", "", whole, "x-goog-api-key", other)
	call(502, "POST", "/v1/chat/completions", other, stream)
	call(502, "POST", "/v1/chat/completions", other, stream)
	call(200, "POST", "/v1/chat/completions", other, stream)
	call(200, "POST", "/v1/chat/completions", other, stream)
	call(404, "POST", "/v1/chat/completions", other, strings.Replace(whole, "openai/gpt-4o", "no-such-model", 1))
	call(400, "POST", "/v1/chat/completions", other, `{"model":"`+prompt)
	for _, path := range []string{"/v1/models", "/usage/logs", "/auth/me", "/v1/unknown"} {
		call(401, "GET", path+"?key="+badToken, "", "")
		call(401, "GET", path+"?a=b;k%65y="+badToken+"&c", "", "")
		call(401, "GET", path, badToken, "")
		call(401, "GET", path, "", "", "x-api-key", badToken)
		call(401, "GET", path, "", "", "x-goog-api-key", badToken)
	}
	call(200, "GET", "/usage/logs?limit=5&key="+other, "", "")
	for range 3 {
		call(200, "POST", "/v1/chat/completions?key="+other, "", whole)
	}
	call(429, "POST", "/v1/chat/completions?key="+other, "", whole)
	call(200, "GET", g.Admin+"/config/", "", "")
	call(200, "GET", g.Admin+"/metrics", "", "")
	call(200, "GET", g.Admin+"/llm/status", "", "")
	call(200, "GET", "/health", "", "")
	require.Len(t, g.rows(other, 12), 12, "every call that was let through has its row")
	g.stop()

	log := g.log.String()
	require.Contains(t, log, `"uri":"/v1/chat/completions"`, "the access log is on")
	require.Contains(t, log, `"level":"debug"`, "debug messages are on")
	said := log + answers.String()
	for name, text := range map[string]string{
		"token": token, "its signature": token[strings.LastIndexByte(token, '.')+1:],
		"other token": other, "its signature, too": other[strings.LastIndexByte(other, '.')+1:],
		"refused token": badToken, "signing secret": testSecret, "upstream's key": upstreamKey, "password": password,
		"upstream's organisation": "org-secret123", "upstream's host": "internal-host-17", "prompt": prompt,
		"address": email,
	} {
		if at := strings.Index(said, text); at >= 0 {
			t.Errorf("%s came out: …%s…", name, strings.ReplaceAll(said[max(at-300, 0):min(at+80, len(said))], "\n", "⏎"))
		}
	}
}
