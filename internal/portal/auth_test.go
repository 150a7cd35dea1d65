package portal

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/session"
)

func TestLoginThenMe(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	answer := s.call("", "POST", "/auth/login", `{"email":" Alice@Example.COM ","remember":true}`, 200)
	token := answer["access_token"].(string)
	require.Regexp(t, `^tgr_[A-Za-z0-9_-]{75}$`, answer["refresh_token"])
	delete(answer, "access_token")
	delete(answer, "refresh_token")
	require.Equal(t, map[string]any{"token_type": "bearer", "email": "alice@example.com", "expires_in": 28800.0}, answer)
	require.NotContains(t, s.principal(token).Subject, "@")

	require.Equal(t, map[string]any{
		"id": identity.HashEmail("alice@example.com"), "email": "alice@example.com", "name": "alice",
		"avatar_url": "", "provider": "trusted", "role": "user",
	}, s.call(token, "GET", "/auth/me", "", 200))

	user := s.call(token, "GET", "/auth/verify", "", 200)["user"].(map[string]any)
	require.Equal(t, "alice@example.com", user["email"])
	require.Equal(t, "tollgate", user["iss"])
	require.IsType(t, 0.0, user["exp"])
}

func TestMeOfAnAdminWithoutAddress(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	require.Equal(t, map[string]any{
		"id": bobHash, "email": "", "name": "Root", "avatar_url": "", "provider": "tollgate", "role": "admin",
	}, object(t, call(h, admin, "GET", "/auth/me", ""), 200))
	require.Equal(t, map[string]any{"user": map[string]any{}}, object(t, call(h, admin, "GET", "/auth/verify", ""), 200))
}

func TestLoginBodies(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for name, tc := range map[string]struct {
		body   string
		status int
		field  string
	}{
		"empty body":      {``, 400, ""},
		"not JSON":        {`email=a@example.com`, 400, ""},
		"two objects":     {`{"email":"a@example.com"}{}`, 400, ""},
		"name twice":      {`{"email":"a@example.com","email":"b@example.com"}`, 400, ""},
		"invalid UTF-8":   {"{\"email\":\"\xff@example.com\"}", 400, ""},
		"an array":        {`["a@example.com"]`, 400, ""},
		"cut":             {`{"email":"a@exam`, 400, ""},
		"number":          {`{"email":7}`, 422, "email"},
		"object":          {`{"email":{"email":"a@example.com"}}`, 422, "email"},
		"null":            {`{"email":null}`, 422, "email"},
		"missing":         {`{}`, 422, "email"},
		"other case":      {`{"Email":"a@example.com"}`, 422, "email"},
		"no address":      {`{"email":"example.com"}`, 422, "email"},
		"too large":       {`{"email":"` + strings.Repeat("a", maxBody) + `"}`, 413, ""},
		"largest allowed": {`{"email":"a@example.com"}` + strings.Repeat(" ", maxBody-25), 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := call(h, nil, "POST", "/auth/login", tc.body)
			if tc.status == 200 {
				object(t, w, 200)
				return
			}
			details := requireProblem(t, w, tc.status)["details"].(map[string]any)
			if tc.field != "" {
				require.Contains(t, details, tc.field)
			}
			require.NotContains(t, w.Body.String(), "example.com", "input is not echoed")
		})
	}
}

func TestLoginWithoutProofIsForDevelopment(t *testing.T) {
	t.Parallel()
	off := newHandler(t, func(o *Options) { o.Auth.Trusted = func() bool { return false } })
	problem := requireProblem(t, call(off, nil, "POST", "/auth/login", `{"email":"a@example.com"}`), 403)
	require.Contains(t, problem["error"], "tollgate token")

	h := newHandler(t, nil)
	for name, tc := range map[string]struct {
		peer, host, header string
		ok                 bool
	}{
		"localhost":                 {"127.0.0.1:9", "localhost:8080", "", true},
		"IPv4":                      {"127.0.0.1:9", "127.0.0.1:8080", "", true},
		"IPv4 without port":         {"127.0.0.1:9", "127.0.0.1", "", true},
		"IPv6":                      {"[::1]:9", "[::1]:8080", "", true},
		"IPv6 without port":         {"[::1]:9", "[::1]", "", true},
		"IPv4 in IPv6":              {"[::ffff:127.0.0.1]:9", "LOCALHOST", "", true},
		"other machine":             {"192.0.2.7:9", "localhost:8080", "", false},
		"no peer":                   {"", "localhost:8080", "", false},
		"unix socket":               {"@", "localhost:8080", "", false},
		"rebound name":              {"127.0.0.1:9", "evil.example:8080", "", false},
		"name like loopback":        {"127.0.0.1:9", "127.0.0.1.evil.example", "", false},
		"name under localhost":      {"127.0.0.1:9", "localhost.evil.example", "", false},
		"no host":                   {"127.0.0.1:9", "", "", false},
		"proxy, X-Forwarded-For":    {"127.0.0.1:9", "localhost", "X-Forwarded-For", false},
		"proxy, Forwarded":          {"127.0.0.1:9", "localhost", "Forwarded", false},
		"proxy, X-Real-IP":          {"127.0.0.1:9", "localhost", "X-Real-Ip", false},
		"proxy with empty header":   {"127.0.0.1:9", "localhost", "Via", false},
		"zone and unspecified peer": {"0.0.0.0:9", "localhost", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("POST", "/auth/login", strings.NewReader(`{"email":"a@example.com"}`))
			r.RemoteAddr, r.Host = tc.peer, tc.host
			if tc.header != "" {
				r.Header[tc.header] = []string{""}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if tc.ok {
				object(t, w, 200)
				return
			}
			requireProblem(t, w, 403)
		})
	}
}

func domains(t *testing.T, list ...string) identity.Domains {
	t.Helper()
	d, err := identity.ParseDomains(list)
	require.NoError(t, err)
	return d
}

func TestLookAlikeDomains(t *testing.T) {
	t.Parallel()
	h := newHandler(t, func(o *Options) { o.Auth.Domains = domains(t, "example.com", " Example.ORG") })
	for email, status := range map[string]int{
		"alice@example.com":                              200,
		"alice@example.org":                              200,
		"ALICE@EXAMPLE.COM":                              200,
		"alice+tag@example.com":                          200,
		"a.b@example.com":                                200,
		"alice@sub.example.com":                          403,
		"alice@example.com.evil.test":                    403,
		"alice@evilexample.com":                          403,
		"alice@example.co":                               403,
		"alice@xn--exmple-4nf.com":                       403, // the punycode of a look-alike
		"alice@example.com.":                             422,
		"alice@.example.com":                             422,
		"alice@example..com":                             422,
		"alice@ex\u0430mple.com":                         422, // Cyrillic a
		"alice@example\u3002com":                         422, // ideographic full stop
		"alice@\uff45xample.com":                         422, // full-width e
		"alice@example.com\u200b":                        422, // zero-width space
		"alice@example.com\x00":                          422,
		"alice@example.com\n@evil.test":                  422,
		"alice@evil.test@example.com":                    422,
		"alice@example.com@evil.test":                    422,
		`"alice@evil.test"@example.com`:                  422,
		`"a"@example.com`:                                422,
		"alice@[127.0.0.1]":                              422,
		"alice@evil.test,bob@example.com":                422,
		"Alice <alice@example.com>":                      422,
		"alice@example.com (evil.test)":                  422,
		"al ice@example.com":                             422,
		"alice@ example.com":                             422,
		"@example.com":                                   422,
		"alice@":                                         422,
		"":                                               422,
		".alice@example.com":                             422,
		"al..ice@example.com":                            422,
		"alice@-example.com":                             422,
		"alice@example.com/evil":                         422,
		"alice@example.com?x":                            422,
		"alice%40evil.test@example.com":                  200, // a plain local part; nobody decodes it
		strings.Repeat("a", 65) + "@example.com":         422,
		"a@" + strings.Repeat("a.", 130) + "example.com": 422,
		"\u212Aate@example.com":                          422, // the Kelvin sign is no k
	} {
		body := `{"email":` + quote(t, email) + `}`
		w := call(h, nil, "POST", "/auth/login", body)
		require.Equal(t, status, w.Code, "%q: %s", email, w.Body)
		switch status {
		case 403:
			require.Contains(t, requireProblem(t, w, 403)["error"], "allowed: example.com, example.org")
		case 200:
			normal := strings.ToLower(email)
			require.Equal(t, normal, object(t, w, 200)["email"])
		default:
			requireProblem(t, w, 422)
		}
	}
}

type brokenMinter struct{}

func (brokenMinter) Mint(identity.Claims) (string, error) { return "", errors.New("secret detail") }

func TestInternalErrorsSayNothing(t *testing.T) {
	t.Parallel()
	h := newHandler(t, func(o *Options) {
		o.Auth.Sessions = newSessions(t, newDatabase(t), func(o *session.Options) { o.Signer = brokenMinter{} })
	})
	w := call(h, nil, "POST", "/auth/login", `{"email":"a@example.com"}`)
	requireProblem(t, w, 500)
	require.NotContains(t, w.Body.String(), "secret detail")
}
