package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPortal walks the web frontend's way through a fresh gateway: sign in, look
// around, chat, see the usage. No provider has a key, so the demo answers.
func TestPortal(t *testing.T) {
	t.Parallel()
	g := startGateway(t, map[string]string{"ALLOWED_DOMAINS": "example.com"})

	status, _, body := g.do(t, "POST", "/auth/login", "", `{"email":"alice@sub.example.com"}`)
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, body, "allowed: example.com")
	status, _, body = g.do(t, "POST", "/auth/login/", "", `{"email":"Alice@example.com"}`)
	require.Equal(t, http.StatusOK, status, body)
	var login struct {
		Token   string  `json:"access_token"`
		Refresh *string `json:"refresh_token"`
		Type    string  `json:"token_type"`
		Email   string
	}
	require.NoError(t, json.Unmarshal([]byte(body), &login))
	require.NotNil(t, login.Refresh)
	require.Equal(t, "bearer", login.Type)
	require.Equal(t, userEmail, login.Email)
	g.Token = login.Token

	t.Run("reads", func(t *testing.T) {
		for path, want := range map[string]string{
			"/health":                        `"status":"healthy"`,
			"/auth/me":                       `"email":"alice@example.com"`,
			"/auth/verify":                   `"user":{`,
			"/specialists":                   `"id":"code-reviewer"`,
			"/specialists/financial-analyst": `"name":"Financial Analyst"`,
			"/usage/logs":                    `"logs":[`,
		} {
			for _, slash := range []string{"", "/"} {
				status, header, body := g.do(t, "GET", path+slash, g.Token, "")
				require.Equal(t, http.StatusOK, status, "%s%s: %s", path, slash, body)
				require.Contains(t, body, want)
				require.NotContains(t, body, "system_prompt")
				require.Equal(t, "no-store", header.Get("Cache-Control"))

				status, _, body = g.do(t, "HEAD", path+slash, g.Token, "")
				require.Equal(t, http.StatusOK, status)
				require.Empty(t, body)
			}
		}
	})
	t.Run("chat", func(t *testing.T) {
		question := `{"specialist_id":"code-reviewer","message":"hello ` + promptMarker + `","conversation_history":[]}`
		for _, path := range []string{"/chat/send", "/chat/send/"} {
			status, header, body := g.do(t, "POST", path, g.Token, question)
			require.Equal(t, http.StatusOK, status, body)
			require.Equal(t, "1", header.Get("X-Tollgate-Demo"))
			require.NotEmpty(t, header.Get("X-RateLimit-Remaining"))
			require.Contains(t, body, `"specialist_id":"code-reviewer"`)
		}
		for _, path := range []string{"/chat/stream", "/chat/stream/"} {
			status, header, body := g.do(t, "POST", path, g.Token, question)
			require.Equal(t, http.StatusOK, status, body)
			require.True(t, strings.HasPrefix(header.Get("Content-Type"), "text/event-stream"))
			require.Equal(t, 1, strings.Count(body, `"is_final":true`))
			require.Contains(t, body, promptMarker, "the demo repeats the question")
		}
		for _, row := range g.waitRows(t, 4) {
			require.Equal(t, "code-reviewer", row.SpecialistID)
			require.Equal(t, "demo", row.Provider)
			require.Equal(t, json.Number("0"), row.CostUSD)
			require.True(t, row.Success)
		}
	})
	t.Run("refusals are JSON", func(t *testing.T) {
		for _, tc := range []struct {
			method, path, token string
			status              int
		}{
			{"GET", "/auth/me", "", http.StatusUnauthorized},
			{"GET", "/usage/logs/", "not.a.token", http.StatusUnauthorized},
			{"POST", "/chat/stream", "", http.StatusUnauthorized},
			{"POST", "/chat/send/", g.Token + "x", http.StatusUnauthorized},
			{"GET", "/specialists/nobody", g.Token, http.StatusNotFound},
			{"GET", "/nowhere", g.Token, http.StatusNotFound},
			{"DELETE", "/health", g.Token, http.StatusMethodNotAllowed},
			{"PUT", "/usage/logs", g.Token, http.StatusMethodNotAllowed},
			{"GET", "/auth/login", g.Token, http.StatusMethodNotAllowed},
			{"GET", "/usage/logs?limit=0", g.Token, http.StatusUnprocessableEntity},
			{"POST", "/chat/send", g.Token, http.StatusUnprocessableEntity},
		} {
			status, header, body := g.do(t, tc.method, tc.path, tc.token, "{}")
			require.Equal(t, tc.status, status, "%s %s: %s", tc.method, tc.path, body)
			var problem struct {
				Error, Detail string
				Details       map[string]any
				RequestID     string `json:"request_id"`
			}
			require.NoError(t, json.Unmarshal([]byte(body), &problem), "%s %s: %s", tc.method, tc.path, body)
			require.NotEmpty(t, problem.Error)
			require.Equal(t, problem.Error, problem.Detail)
			require.NotEmpty(t, problem.RequestID, tc.path)
			require.Equal(t, tc.status == http.StatusUnauthorized, header.Get("WWW-Authenticate") == "Bearer", tc.path)
		}
	})
	t.Run("an admin sees more", func(t *testing.T) {
		bob, admin := g.mint(t, "--email", "bob@example.com"), g.mint(t, "--subject", "root", "--role", "admin")
		_, _, body := g.do(t, "GET", "/usage/logs", bob, "")
		require.JSONEq(t, `{"logs":[],"next":null}`, body)
		_, _, body = g.do(t, "GET", "/usage/logs?specialist_id=code-reviewer", admin, "")
		require.Equal(t, 4, strings.Count(body, `"code-reviewer"`))
		_, _, body = g.do(t, "GET", "/usage/logs?model=no-such-model", admin, "")
		require.JSONEq(t, `{"logs":[],"next":null}`, body)
		_, _, body = g.do(t, "GET", "/specialists/code-reviewer", admin, "")
		require.Contains(t, body, `"system_prompt":"You are an experienced`)
	})
	g.requireQuietLog(t)
}
