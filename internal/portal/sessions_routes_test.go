package portal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/session"
)

func refreshBody(token string) string { return `{"refresh_token":"` + token + `"}` }

func TestRefresh(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	pair := s.open("alice@example.com")
	answer := s.call("", "POST", "/auth/refresh/", refreshBody(pair.RefreshToken), 200)
	require.NotEqual(t, pair.RefreshToken, answer["refresh_token"])
	require.Equal(t, identity.HashEmail("alice@example.com"), s.principal(answer["access_token"].(string)).UserHash)
	tabs := s.call("", "POST", "/auth/refresh", refreshBody(pair.RefreshToken), 200)
	require.Equal(t, answer["refresh_token"], tabs["refresh_token"])
	delete(answer, "access_token")
	delete(answer, "refresh_token")
	require.Equal(t, map[string]any{"token_type": "bearer", "expires_in": 28800.0, "email": "alice@example.com"}, answer)

	for _, body := range []string{`{}`, refreshBody(""), refreshBody("tgr_x"), refreshBody(pair.AccessToken)} {
		problem := s.call("", "POST", "/auth/refresh", body, 401)
		require.Contains(t, problem["error"], "sign in")
	}
	s.call("", "POST", "/auth/refresh", `{"refresh_token":7}`, 422)
	s.call("", "POST", "/auth/refresh", ``, 400)
}

func TestLogout(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	for name, out := range map[string]func(session.Pair) (token, body string){
		"both":                   func(p session.Pair) (string, string) { return p.AccessToken, refreshBody(p.RefreshToken) },
		"the access token":       func(p session.Pair) (string, string) { return p.AccessToken, `` },
		"an empty object":        func(p session.Pair) (string, string) { return p.AccessToken, `{}` },
		"an empty refresh token": func(p session.Pair) (string, string) { return p.AccessToken, refreshBody("") },
		"the refresh token":      func(p session.Pair) (string, string) { return "expired", refreshBody(p.RefreshToken) },
	} {
		pair := s.open("alice@example.com")
		token, body := out(pair)
		require.Equal(t, map[string]any{"logged_out": true}, s.call(token, "POST", "/auth/logout", body, 200), name)
		require.Nil(t, s.principal(pair.AccessToken), name)
		s.call("", "POST", "/auth/refresh", refreshBody(pair.RefreshToken), 401)
	}
	s.call("", "POST", "/auth/logout", ``, 401)
	s.call("", "POST", "/auth/logout", refreshBody("tgr_x"), 401)
	pair := s.open("alice@example.com")
	s.call(pair.AccessToken, "POST", "/auth/logout", `not JSON`, 400)

	r := httptest.NewRequest("POST", "/auth/logout", io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)))
	w := httptest.NewRecorder()
	s.portal.ServeHTTP(w, r)
	requireProblem(t, w, 400)
	require.NotNil(t, s.principal(pair.AccessToken))
}

func TestMeShowsThePicture(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	address, _ := identity.ParseAddress("alice@example.com")
	pair, err := s.portal.o.Auth.Sessions.Open(t.Context(), session.Person{
		Address: address, Name: "Alice", Avatar: "https://pictures.example/a.png", Provider: "google", Roles: []string{"viewer"},
	})
	require.NoError(t, err)
	require.Equal(t, map[string]any{
		"id": identity.HashEmail("alice@example.com"), "email": "alice@example.com", "name": "Alice",
		"avatar_url": "https://pictures.example/a.png", "provider": "google", "role": "viewer",
	}, s.call(pair.AccessToken, "GET", "/auth/me", "", 200))
}

func TestAPITokens(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	alice, bob := s.open("alice@example.com").AccessToken, s.open("bob@example.com").AccessToken
	boss := s.open("boss@example.com", "admin").AccessToken

	made := s.call(alice, "POST", "/auth/tokens", `{"name":" ci ","specialists":["legal-quick"],"rate":"100/h","expires_in_days":30}`, 200)
	token, id := made["token"].(string), made["id"].(string)
	created, err := time.Parse(time.RFC3339, made["created_at"].(string))
	require.NoError(t, err)
	require.Equal(t, map[string]any{
		"id": id, "name": "ci", "token": token, "specialists": []any{"legal-quick"}, "rate": "100/h",
		"created_at": made["created_at"], "expires_at": created.AddDate(0, 0, 30).Format(time.RFC3339), "last_used_at": nil,
	}, made)
	require.True(t, strings.HasSuffix(made["created_at"].(string), "Z"))
	require.Equal(t, identity.KindAPI, s.principal(token).Kind)

	list := s.call(alice, "GET", "/auth/tokens/", "", 200)["tokens"].([]any)
	delete(made, "token")
	require.Equal(t, []any{made}, list)
	require.Equal(t, map[string]any{"tokens": []any{}}, s.call(bob, "GET", "/auth/tokens", "", 200))
	hash := s.principal(alice).UserHash
	require.Equal(t, list, s.call(boss, "GET", "/auth/tokens?user_hash="+hash, "", 200)["tokens"])
	require.Equal(t, list, s.call(alice, "GET", "/auth/tokens?user_hash="+hash, "", 200)["tokens"])
	s.call(bob, "GET", "/auth/tokens?user_hash="+hash, "", 403)

	for _, call := range [][3]string{
		{"POST", "/auth/tokens", `{"name":"another"}`},
		{"GET", "/auth/tokens", ""},
		{"DELETE", "/auth/tokens/" + id, ""},
		{"GET", "/auth/users", ""},
		{"PUT", "/auth/users/" + hash, `{"blocked":true}`},
		{"DELETE", "/auth/users/" + hash, ""},
		{"GET", "/audit", ""},
		{"POST", "/auth/logout", ""},
	} {
		s.call(token, call[0], call[1], call[2], 403)
	}

	s.call(bob, "DELETE", "/auth/tokens/"+id, "", 404)
	s.call(bob, "DELETE", "/auth/tokens/nothing", "", 404)
	require.NotNil(t, s.principal(token))
	require.Equal(t, map[string]any{"revoked": true}, s.call(alice, "DELETE", "/auth/tokens/"+id, "", 200))
	require.Nil(t, s.principal(token))
	require.Contains(t, s.call(alice, "GET", "/auth/tokens", "", 200)["tokens"].([]any)[0], "revoked_at")

	theirs := s.call(bob, "POST", "/auth/tokens", `{"name":"bob's"}`, 200)
	require.Nil(t, theirs["specialists"])
	require.Empty(t, theirs["rate"])
	s.call(boss, "DELETE", "/auth/tokens/"+theirs["id"].(string), "", 200)
	require.Nil(t, s.principal(theirs["token"].(string)))
	entry := s.call(boss, "GET", "/audit", "", 200)["entries"].([]any)[0].(map[string]any)
	require.Equal(t, "token.revoke", entry["action"])
	require.Equal(t, s.principal(boss).UserHash, entry["actor_hash"])
}

func TestAPITokenBodies(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	alice := s.open("alice@example.com").AccessToken
	many := func(n int, item string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(`"`+item+`",`, n), ",") + "]"
	}
	for _, tc := range []struct {
		body, field string // field "": good
	}{
		{`{"name":"a"}`, ""},
		{`{"name":"` + strings.Repeat("é", 100) + `","specialists":null,"expires_in_days":3650,"rate":"20/10m,5"}`, ""},
		{`{"name":"a","specialists":` + many(100, "s") + `,"expires_in_days":1}`, ""},
		{`{"name":"a","specialists":["openai/*","*","legal-quick"]}`, ""},
		{`{}`, "name"},
		{`{"name":""}`, "name"},
		{`{"name":"  "}`, "name"},
		{`{"name":"a\u0000b"}`, "name"},
		{`{"name":"` + strings.Repeat("é", 101) + `"}`, "name"},
		{`{"name":7}`, "name"},
		{`{"name":"a","rate":"lots"}`, "rate"},
		{`{"name":"a","rate":"0/h"}`, "rate"},
		{`{"name":"a","rate":"10/x"}`, "rate"},
		{`{"name":"a","expires_in_days":0}`, "expires_in_days"},
		{`{"name":"a","expires_in_days":3651}`, "expires_in_days"},
		{`{"name":"a","expires_in_days":-1}`, "expires_in_days"},
		{`{"name":"a","expires_in_days":1.5}`, "expires_in_days"},
		{`{"name":"a","specialists":[]}`, "specialists"},
		{`{"name":"a","specialists":` + many(101, "s") + `}`, "specialists"},
		{`{"name":"a","specialists":[""]}`, "specialists[0]"},
		{`{"name":"a","specialists":["a","b c"]}`, "specialists[1]"},
		{`{"name":"a","specialists":"a"}`, "specialists"},
	} {
		status := 200
		if tc.field != "" {
			status = 422
		}
		answer := s.call(alice, "POST", "/auth/tokens", tc.body, status)
		if tc.field != "" {
			require.Contains(t, answer["details"], tc.field, tc.body)
		}
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	var forgotten []string
	s := newSite(t, func(o *session.Options) {
		o.Forget = []func(context.Context, string) error{func(_ context.Context, user string) error {
			forgotten = append(forgotten, user)
			return nil
		}}
	})
	pair, boss := s.open("alice@example.com"), s.open("boss@example.com", "admin").AccessToken
	alice, self := s.principal(pair.AccessToken).UserHash, s.principal(boss).UserHash

	first := s.call(boss, "GET", "/auth/users?limit=1", "", 200)
	require.Len(t, first["users"], 1)
	second := s.call(boss, "GET", "/auth/users?limit=1&after="+first["next"].(string), "", 200)
	require.Nil(t, second["next"])
	var hashes []string
	for _, user := range append(first["users"].([]any), second["users"].([]any)...) {
		user := user.(map[string]any)
		hashes = append(hashes, user["user_hash"].(string))
		require.Equal(t, "email", user["provider"])
		require.Equal(t, false, user["blocked"])
		require.True(t, strings.HasSuffix(user["created_at"].(string), "Z"))
		require.Equal(t, user["created_at"], user["last_login_at"])
	}
	require.ElementsMatch(t, []string{alice, self}, hashes)

	s.call(pair.AccessToken, "GET", "/auth/users", "", 403)
	s.call(pair.AccessToken, "PUT", "/auth/users/"+self, `{"blocked":true}`, 403)
	s.call(pair.AccessToken, "DELETE", "/auth/users/"+alice, "", 403)
	s.call(boss, "PUT", "/auth/users/"+self, `{"blocked":true}`, 403)
	s.call(boss, "DELETE", "/auth/users/"+self, "", 403)
	s.call(boss, "PUT", "/auth/users/alice@example.com", `{"blocked":true}`, 404)
	s.call(boss, "DELETE", "/auth/users/"+alice[:63], "", 404)
	s.call(boss, "PUT", "/auth/users/"+strings.Repeat("0", 64), `{"blocked":false}`, 404)
	s.call(boss, "PUT", "/auth/users/"+alice, `{}`, 422)
	s.call(boss, "PUT", "/auth/users/"+alice, `{"blocked":"yes"}`, 422)
	s.call(boss, "GET", "/auth/users?limit=0", "", 422)
	s.call(boss, "GET", "/auth/users?after=x", "", 422)
	require.NotNil(t, s.principal(pair.AccessToken))

	require.Equal(t, map[string]any{"user_hash": alice, "blocked": true},
		s.call(boss, "PUT", "/auth/users/"+alice, `{"blocked":true}`, 200))
	require.Nil(t, s.principal(pair.AccessToken))
	s.call("", "POST", "/auth/refresh", refreshBody(pair.RefreshToken), 401)
	s.call("", "POST", "/auth/login", `{"email":"alice@example.com"}`, 403)
	s.call(boss, "PUT", "/auth/users/"+alice, `{"blocked":false}`, 200)
	s.call("", "POST", "/auth/login", `{"email":"alice@example.com"}`, 200)

	require.Equal(t, map[string]any{"deleted": true}, s.call(boss, "DELETE", "/auth/users/"+alice, "", 200))
	require.Equal(t, []string{alice}, forgotten)
	require.Len(t, s.call(boss, "GET", "/auth/users", "", 200)["users"], 1)
	s.call("", "POST", "/auth/login", `{"email":"alice@example.com"}`, 200)
}

func TestAudit(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	boss := s.open("boss@example.com", "admin").AccessToken
	require.Equal(t, map[string]any{"entries": []any{}, "next": nil}, s.call(boss, "GET", "/audit", "", 200))
	user := strings.Repeat("a", 64)
	for _, body := range []string{`{"blocked":true}`, `{"blocked":false}`, `{"blocked":true}`} {
		s.call(boss, "PUT", "/auth/users/"+user, body, 200)
	}
	s.call(boss, "DELETE", "/auth/users/"+user, "", 200)

	var actions []string
	target := "/audit?limit=3"
	for range 3 {
		page := s.call(boss, "GET", target, "", 200)
		for _, entry := range page["entries"].([]any) {
			entry := entry.(map[string]any)
			actions = append(actions, fmt.Sprint(entry["action"], entry["before"], entry["after"]))
			require.Equal(t, user, entry["object"])
			require.Equal(t, s.principal(boss).UserHash, entry["actor_hash"])
			require.Regexp(t, "^req_", entry["request_id"])
			require.True(t, strings.HasSuffix(entry["timestamp"].(string), "Z"))
		}
		if page["next"] == nil {
			break
		}
		target = "/audit?limit=3&before=" + page["next"].(string)
	}
	require.Equal(t, []string{
		"user.delete" + fmt.Sprint(map[string]any{"blocked": true}, nil),
		"user.block" + fmt.Sprint(map[string]any{"blocked": false}, map[string]any{"blocked": true}),
		"user.unblock" + fmt.Sprint(map[string]any{"blocked": true}, map[string]any{"blocked": false}),
		"user.block" + fmt.Sprint(map[string]any{"blocked": false}, map[string]any{"blocked": true}),
	}, actions)

	s.call(s.open("alice@example.com").AccessToken, "GET", "/audit", "", 403)
	for _, query := range []string{"limit=0", "limit=x", "limit=1001", "before=x", "before=" + user, "a=%zz"} {
		s.call(boss, "GET", "/audit?"+query, "", 422)
	}
}

type brokenAudit struct{}

func (brokenAudit) ListAudit(context.Context, string, int) ([]database.AuditEntry, error) {
	return nil, errors.New("dial db.internal")
}

func TestAuditOutageIs503(t *testing.T) {
	t.Parallel()
	h := newHandler(t, func(o *Options) { o.Auth.Audit = brokenAudit{} })
	w := call(h, admin, "GET", "/audit", "")
	requireProblem(t, w, 503)
	require.NotContains(t, w.Body.String(), "db.internal")
}

func TestSessionsAreOff(t *testing.T) {
	t.Parallel()
	h := New(Options{})
	for _, route := range []string{
		"POST /auth/refresh", "POST /auth/logout", "POST /auth/tokens", "GET /auth/tokens", "DELETE /auth/tokens/x",
		"GET /auth/users", "PUT /auth/users/x", "DELETE /auth/users/x", "GET /audit",
	} {
		method, path, _ := strings.Cut(route, " ")
		problem := requireProblem(t, call(h, admin, method, path, `{}`), 404)
		require.Contains(t, problem["error"], "turned off", route)
	}
}

// Nothing that a portal logs names a person or holds a token.
func TestLogsHoldNoPerson(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := newSite(t, func(o *session.Options) { o.Logger = newLogger(&log) })
	pair := s.open("canary@secret-domain.example")
	second := s.call("", "POST", "/auth/refresh", refreshBody(pair.RefreshToken), 200)
	s.call("", "POST", "/auth/refresh", refreshBody(second["refresh_token"].(string)), 200)
	s.call("", "POST", "/auth/refresh", refreshBody(pair.RefreshToken), 401)
	require.Contains(t, log.String(), "old refresh token")
	for _, secret := range []string{"canary", "secret-domain", "tgr_", pair.AccessToken} {
		require.NotContains(t, log.String(), secret)
	}
}
