package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/testenv"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// spread is how long a replica may take to learn what another one was told.
const spread = time.Second

// replicas starts three gateways that share a database, a Redis ("": none), the
// secret and an upstream.
func replicas(t *testing.T, database, redis string, upstream *upstreamtest.Upstream) []*gateway {
	t.Helper()
	var all []*gateway
	for range 3 {
		all = append(all, startGateway(t, "JWT_SECRET="+testSecret, "DATABASE_URL="+database, "REDIS_URL="+redis,
			"OPENAI_API_KEY=sk-test", "OPENAI_BASE_URL="+upstream.URL()+"/v1", "RATE_LIMIT=1000/s"))
	}
	for _, g := range all {
		g.eventually("everything is healthy", func() bool { return g.do("GET", "/health", "", "").get("status") == "healthy" })
	}
	return all
}

// adminToken is an admin's of a gateway with testSecret.
func adminToken(t *testing.T) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(testSecret), claims("sub", "root", "roles", []string{"admin"}))
}

// pair is what a log-in gives.
type pair struct{ access, refresh string }

// signIn signs in by e-mail.
func (g *gateway) signIn(email string) pair {
	g.t.Helper()
	a := g.do("POST", "/auth/login", "", `{"email":"`+email+`"}`)
	require.Equal(g.t, 200, a.Status, a.Body)
	return pair{a.get("access_token"), a.get("refresh_token")}
}

// mintAPIToken makes an API token and gives its id and itself.
func (g *gateway) mintAPIToken(token, name string) (id, minted string) {
	g.t.Helper()
	a := g.do("POST", "/auth/tokens", token, fmt.Sprintf(`{"name":%q}`, name))
	require.Equal(g.t, 200, a.Status, a.Body)
	return a.get("id"), a.get("token")
}

// within waits until something is so, which it must be a moment after since.
func (g *gateway) within(what string, since time.Time, so func() bool) {
	g.t.Helper()
	g.eventually(what, so)
	require.Less(g.t, time.Since(since), spread, what)
}

// refuses tells whether the gateway takes a token for none.
func (g *gateway) refuses(token string) bool {
	g.t.Helper()
	a := g.do("GET", "/auth/me", token, "")
	require.Contains(g.t, []int{200, 401}, a.Status, a.Body)
	return a.Status == 401
}

// TestReplicas: what one replica is told, the others follow within a second, and
// none forgets.
func TestReplicas(t *testing.T) {
	t.Parallel()
	for name, redis := range map[string]func(testing.TB) string{
		"with Redis": testenv.Redis, "without Redis": func(testing.TB) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testenv.PostgresServer(t)
			upstream := upstreamtest.New(t)
			all := replicas(t, server.URL(), redis(t), upstream)
			withdrawn, stays := withdraw(t, all)

			t.Run("and a specialist is changed under a live stream", func(t *testing.T) { changeSpecialist(t, all, upstream, stays) })

			check := func(g *gateway, when string) {
				t.Helper()
				for what, token := range withdrawn {
					require.True(t, g.refuses(token), "%s, %s", what, when)
				}
				require.False(t, g.refuses(stays), when)
			}
			all[1].stop()
			all[1].start()
			check(all[1], "after a restart")
			all[2].kill()
			server.Stop()
			all[2].start()
			check(all[2], "after a restart while the database is down")
			check(all[0], "while the database is down")
			a := all[2].ask(stays, "openai/gpt-4o", false)
			require.Equal(t, 200, a.Status, a.Body)
			server.Start()
			all[2].eventually("it is healthy again", func() bool { return all[2].do("GET", "/health", "", "").get("status") == "healthy" })
			check(all[2], "once the database is back")
		})
	}
}

// withdraw takes several tokens away, each on another replica, and gives them
// with one that is still good.
func withdraw(t *testing.T, all []*gateway) (withdrawn map[string]string, stays string) {
	t.Helper()
	admin := adminToken(t)
	stays = all[0].signIn("stays@example.com").access
	out, elsewhere := all[0].signIn("out@example.com"), all[1].signIn("out@example.com")
	blocked, deleted := all[1].signIn("blocked@example.com"), all[2].signIn("deleted@example.com")
	id, program := all[1].mintAPIToken(stays, "program")
	_, blockedProgram := all[2].mintAPIToken(blocked.access, "blocked's program")
	user := func(p pair) string { return all[0].do("GET", "/auth/me", p.access, "").get("id") }
	blockedID, deletedID := user(blocked), user(deleted)

	withdrawn = map[string]string{}
	for _, step := range []struct {
		what, method, path, token, body string
		tokens                          []string
	}{
		{"log-out", "POST", "/auth/logout", out.access, `{"refresh_token":"` + out.refresh + `"}`, []string{out.access}},
		{"revoked API token", "DELETE", "/auth/tokens/" + id, stays, "", []string{program}},
		{"blocked user", "PUT", "/auth/users/" + blockedID, admin, `{"blocked":true}`, []string{blocked.access, blockedProgram}},
		{"deleted user", "DELETE", "/auth/users/" + deletedID, admin, "", []string{deleted.access}},
	} {
		for i, token := range step.tokens {
			for _, g := range all {
				require.False(t, g.refuses(token), "%s: before it", step.what)
			}
			withdrawn[fmt.Sprintf("%s %d", step.what, i)] = token
		}
		first := len(withdrawn) % len(all)
		a := all[first].do(step.method, step.path, step.token, step.body)
		require.Equal(t, 200, a.Status, "%s: %s", step.what, a.Body)
		since := time.Now()
		for _, token := range step.tokens {
			require.True(t, all[first].refuses(token), "%s: at once where it was said", step.what)
			for _, g := range all {
				g.within(step.what, since, func() bool { return g.refuses(token) })
				require.Equal(t, 401, g.ask(token, "openai/gpt-4o", false).Status, step.what)
			}
		}
	}
	require.False(t, all[2].refuses(elsewhere.access), "another log-in of who logged out goes on")
	for what, refresh := range map[string]string{"logged out": out.refresh, "blocked": blocked.refresh, "deleted": deleted.refresh} {
		for _, g := range all {
			a := g.do("POST", "/auth/refresh", "", `{"refresh_token":"`+refresh+`"}`)
			require.Equal(t, 401, a.Status, "%s: %s", what, a.Body)
		}
	}
	a := all[2].do("POST", "/auth/login", "", `{"email":"blocked@example.com"}`)
	require.Equal(t, 403, a.Status, a.Body)
	return withdrawn, stays
}

// changeSpecialist changes a specialist on one replica while another answers with
// it.
func changeSpecialist(t *testing.T, all []*gateway, upstream *upstreamtest.Upstream, token string) {
	t.Helper()
	behaviour, release := held()
	upstream.Script(behaviour, upstreamtest.Chat("Hello"))
	live := all[1].stream(token, "legal-quick")
	require.Contains(t, string(upstream.Last().Body), `"gpt-4o-mini"`)

	a := all[0].do("PUT", "/specialists/legal-quick", adminToken(t), `{"model":"gpt-4.1","description":"Changed."}`)
	require.Equal(t, 200, a.Status, a.Body)
	since := time.Now()
	for _, g := range all {
		g.within("the change is seen", since, func() bool {
			return g.do("GET", "/specialists/legal-quick", token, "").get("description") == "Changed."
		})
		require.Equal(t, 200, g.ask(token, "legal-quick", false).Status)
		require.Contains(t, string(upstream.Last().Body), `"gpt-4.1"`)
	}
	release()
	live.rest()
}
