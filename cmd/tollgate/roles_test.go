package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/portal"
)

// openRoutes are those that nobody needs a token for.
var openRoutes = []string{
	"GET /health", "POST /auth/login", "POST /auth/refresh", "GET /auth/providers", "GET /auth/{provider}", "POST /auth/{provider}/callback",
	"GET /docs", "GET /openapi.json",
	"GET /chat/ws", "GET /api/v2/pipelines/ws/{id}", // the token is in its first message
	"GET /api/v2/pipelines/schema", // is the same everywhere, and for editors
}

// TestEveryRouteWantsAToken asks every route that the portal has, so that a new
// one is closed until somebody opens it on purpose.
func TestEveryRouteWantsAToken(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "JWT_SECRET="+testSecret, "LOGIN_TRUSTED=loopback")
	routes := portal.New(portal.Options{}).Routes()
	require.Greater(t, len(routes), 30)
	open := map[string]bool{}
	for _, route := range openRoutes {
		open[route] = true
	}
	for _, route := range routes {
		if open[route] {
			continue
		}
		method, path, _ := strings.Cut(route, " ")
		path = strings.NewReplacer("{id}", "legal-quick", "{uuid}", "018f4a2e-0000-7000-8000-000000000000", "{user}", strings.Repeat("a", 64),
			"{name}", "forge-intelligence").Replace(path)
		require.NotContains(t, path, "{", "a placeholder that this test does not know")
		body := ""
		if method != http.MethodGet {
			body = "{}"
		}
		for _, slash := range []string{"", "/"} {
			for _, token := range []string{"", "not.a.token"} {
				a := g.do(method, path+slash, token, body)
				require.Equal(t, 401, a.Status, "%s%s: %s", route, slash, a.Body)
				require.Equal(t, "Bearer", a.Header.Get("WWW-Authenticate"), route)
				requireErrorShape(t, path, a)
			}
		}
	}
}

// adminRoutes are calls that only admins may make. They would change or show
// something.
var adminRoutes = []struct{ method, path, body string }{
	{"POST", "/specialists/", `{"id":"x","name":"X","provider":"openai","model":"gpt-4o","system_prompt":"x"}`},
	{"PUT", "/specialists/legal-quick", `{"name":"Mine"}`},
	{"DELETE", "/specialists/legal-quick", ""},
	{"POST", "/specialists/legal-quick/duplicate", "{}"},
	{"POST", "/specialists/legal-quick/pin", `{"pinned":true}`},
	{"POST", "/specialists/legal-quick/revert", `{"version":1}`},
	{"GET", "/specialists/legal-quick/history", ""},
	{"GET", "/specialists/export", ""},
	{"POST", "/specialists/import", `{"specialists":[]}`},
	{"GET", "/auth/users", ""},
	{"PUT", "/auth/users/USER", `{"blocked":true}`},
	{"DELETE", "/auth/users/USER", ""},
	{"GET", "/auth/tokens?user_hash=USER", ""},
	{"GET", "/audit", ""},
	{"GET", "/api/v2/pipelines/definitions", ""},
	{"POST", "/api/v2/pipelines/definitions", `{"name":"x","steps":[{"name":"x","transform":"query"}]}`},
	{"GET", "/api/v2/pipelines/definitions/forge-intelligence", ""},
	{"PUT", "/api/v2/pipelines/definitions/forge-intelligence", `{"name":"x","steps":[{"name":"x","transform":"query"}]}`},
	{"DELETE", "/api/v2/pipelines/definitions/forge-intelligence", ""},
	{"GET", "/api/v2/pipelines/definitions/forge-intelligence/versions", ""},
	{"POST", "/api/v2/pipelines/definitions/forge-intelligence/revert", `{"version":1}`},
	{"POST", "/api/v2/pipelines/validate", "{}"},
}

func TestRoles(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "ADMINS=root@example.com", "VIEWERS=viewer@example.com other@example.com", "RATE_LIMIT=1000/s")
	admin, viewer, user := g.login("root@example.com"), g.login("viewer@example.com"), g.login("alice@example.com")
	_, program := g.mintAPIToken(admin, "an admin's program")
	for want, token := range map[string]string{"admin": admin, "viewer": viewer, "user": user} {
		require.Equal(t, want, g.do("GET", "/auth/me", token, "").get("role"))
	}
	alice := g.do("GET", "/auth/me", user, "").get("id")
	victim := g.login("victim@example.com")
	hash := g.do("GET", "/auth/me", victim, "").get("id")
	before := g.do("GET", "/specialists/", admin, "")
	require.Contains(t, before.Body, `"system_prompt"`)

	t.Run("who is no admin administers nothing", func(t *testing.T) {
		for name, token := range map[string]string{"user": user, "viewer": viewer, "an admin's API token": program} {
			for _, route := range adminRoutes {
				a := g.do(route.method, strings.Replace(route.path, "USER", hash, 1), token, route.body)
				require.Equal(t, 403, a.Status, "%s: %s %s: %s", name, route.method, route.path, a.Body)
				requireErrorShape(t, route.path, a)
			}
		}
		require.Equal(t, before.Body, g.do("GET", "/specialists/", admin, "").Body)
		require.Equal(t, 200, g.do("GET", "/auth/me", victim, "").Status, "neither blocked nor deleted")
		for _, path := range []string{"/specialists/", "/specialists/legal-quick"} {
			require.NotContains(t, g.do("GET", path, program, "").Body, "system_prompt")
			require.NotContains(t, g.do("GET", path, user, "").Body, "system_prompt")
		}
	})
	t.Run("an API token gives out nothing", func(t *testing.T) {
		require.Equal(t, 403, g.do("POST", "/auth/tokens", program, `{"name":"another"}`).Status)
		require.Equal(t, 403, g.do("POST", "/auth/logout", program, "{}").Status)
		require.Equal(t, 200, g.do("GET", "/auth/me", admin, "").Status)
		require.Equal(t, "user", g.do("GET", "/auth/me", program, "").get("role"))
		require.Equal(t, 200, g.ask(program, specialist, false).Status, "it is for calls")
	})
	t.Run("a viewer sees usage and nothing else", func(t *testing.T) {
		require.Equal(t, 200, g.ask(user, specialist, false).Status)
		g.rows(user, 1)
		require.Contains(t, g.do("GET", "/usage/logs", viewer, "").Body, alice)
		require.Contains(t, g.do("GET", "/usage/summary?group_by=user", viewer, "").Body, alice)
		for _, call := range []struct{ method, path, body string }{
			{"POST", "/v1/chat/completions", chat(specialist, false)},
			{"POST", "/chat/send", `{"specialist_id":"` + specialist + `","message":"Hello!"}`},
			{"GET", "/specialists/", ""},
			{"GET", "/conversations/", ""},
			{"POST", "/conversations/", "{}"},
		} {
			a := g.do(call.method, call.path, viewer, call.body)
			require.Equal(t, 403, a.Status, "%s %s: %s", call.method, call.path, a.Body)
		}
	})
	t.Run("others' rows are not there", func(t *testing.T) {
		bob := g.login("bob@example.com")
		for _, path := range []string{"/usage/logs", "/usage/logs?user_hash=" + alice, "/usage/summary", "/usage/summary?user_hash=" + alice, "/usage/summary?group_by=user"} {
			a := g.do("GET", path, bob, "")
			require.NotContains(t, a.Body, alice, path)
			require.NotContains(t, a.Body, specialist, path)
		}
	})
	t.Run("others' conversations are not there", func(t *testing.T) {
		bob := g.login("bob@example.com")
		a := g.do("POST", "/conversations/", user, `{"provider":"openai","model":"gpt-4o","mode":"specialist","specialist_id":"legal-quick"}`)
		require.Equal(t, 200, a.Status, a.Body)
		path := "/conversations/" + a.get("uuid")
		require.Equal(t, 200, g.do("POST", path+"/messages", user, `{"role":"user","content":"my own words"}`).Status)
		mine := g.do("GET", path, user, "")
		require.Contains(t, mine.Body, "my own words")
		for name, token := range map[string]string{"another user": bob, "an admin": admin} {
			for _, call := range []struct{ method, path, body string }{
				{"GET", path, ""}, {"PUT", path, `{"title":"theirs"}`}, {"DELETE", path, ""}, {"POST", path + "/messages", `{"role":"user","content":"theirs"}`},
			} {
				a := g.do(call.method, call.path, token, call.body)
				require.Equal(t, 404, a.Status, "%s: %s: %s", name, call.method, a.Body)
			}
			require.Equal(t, "0", g.do("GET", "/conversations/", token, "").get("total"), name)
		}
		require.Equal(t, mine.Body, g.do("GET", path, user, "").Body)
	})
}
