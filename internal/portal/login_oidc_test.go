package portal

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/login"
)

// provider is an OpenID provider that lets everybody in, as whom the code names.
type provider struct {
	*httptest.Server
	key *ecdsa.PrivateKey
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	p := &provider{key: key}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	var answer any
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer = map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
			"jwks_uri": p.URL + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"},
		}
	case "/keys":
		point, err := p.key.PublicKey.Bytes() // 4, x, y
		if err != nil {
			panic(err)
		}
		b64 := base64.RawURLEncoding.EncodeToString
		answer = map[string]any{"keys": []any{map[string]any{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}}}
	case "/token":
		code, nonce, _ := strings.Cut(r.PostFormValue("code"), " ")
		token, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
			"iss": p.URL, "aud": "tollgate", "sub": "1", "exp": time.Now().Add(time.Minute).Unix(), "nonce": nonce,
			"email": code, "email_verified": true, "name": "Somebody",
		}).SignedString(p.key)
		if err != nil {
			panic(err)
		}
		answer = map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": token}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// byOIDC lets people sign in with the provider only, as "google".
func byOIDC(t *testing.T, p *provider, edit func(*Options)) (*Handler, *database.DB) {
	t.Helper()
	db := newDatabase(t)
	google, err := login.NewOIDC(login.OIDCOptions{
		Name: "google", Issuer: p.URL, ClientID: "tollgate", RedirectURL: "https://ai.example.com/portal/",
		Store: db, Secret: testSecret,
	})
	require.NoError(t, err)
	return newHandler(t, func(o *Options) {
		o.Auth.Trusted, o.Auth.Login.OIDC, o.Auth.Sessions = nil, []*login.OIDC{google}, newSessions(t, db, nil)
		if edit != nil {
			edit(o)
		}
	}), db
}

// visit begins a log-in and gives the body of the callback, and the cookie.
func visit(t *testing.T, h *Handler, email string) (body string, cookie *http.Cookie) {
	t.Helper()
	w := call(h, nil, "GET", "/auth/google/", "")
	u, err := url.Parse(object(t, w, 200)["auth_url"].(string))
	require.NoError(t, err)
	q := u.Query()
	encoded, err := json.Marshal(map[string]string{"code": email + " " + q.Get("nonce"), "state": q.Get("state")})
	require.NoError(t, err)
	require.Len(t, w.Result().Cookies(), 1)
	return string(encoded), w.Result().Cookies()[0]
}

func TestLoginWithOIDC(t *testing.T) {
	t.Parallel()
	h, db := byOIDC(t, newProvider(t), nil)
	body, cookie := visit(t, h, "Alice@Example.org")
	require.Regexp(t, `^__Host-tollgate-login=[A-Z2-7]{26}; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Strict$`, cookie.Raw)
	answer := object(t, call(h, nil, "POST", "/auth/google/callback", body), 200)
	require.Equal(t, "alice@example.org", answer["email"])
	require.NotEmpty(t, answer["refresh_token"])
	require.Contains(t, requireProblem(t, call(h, nil, "POST", "/auth/google/callback", body), 403)["error"], "finished already")

	problem := requireProblem(t, call(h, nil, "POST", "/auth/login", `{"email":"alice@example.org"}`), 403)
	require.Contains(t, problem["error"], "sign in with google")

	body, _ = visit(t, h, "alice@example.org")
	require.NoError(t, db.BlockUser(t.Context(), identity.HashEmail("alice@example.org"), time.Now(), database.AuditEntry{Action: "user.block"}))
	problem = requireProblem(t, call(h, nil, "POST", "/auth/google/callback", body), 403)
	require.Contains(t, problem["error"], "signing in did not work")
}

// A log-in that begins in one browser ends there. Who sends others a link with a
// code and a state of their own would sign them in as the sender.
func TestLoginIsBoundToItsBrowser(t *testing.T) {
	t.Parallel()
	h, _ := byOIDC(t, newProvider(t), nil)
	for name, tc := range map[string]struct {
		headers map[string]string
		cookie  string // "own", "other" or none
		ok      bool
	}{
		"own page":                      {map[string]string{"Sec-Fetch-Site": "same-origin"}, "own", true},
		"own page, another's link":      {map[string]string{"Sec-Fetch-Site": "same-origin"}, "", false},
		"own page, in another browser":  {map[string]string{"Sec-Fetch-Site": "same-origin"}, "other", false},
		"own page, an old browser":      {map[string]string{"Origin": "http://localhost:8080"}, "own", true},
		"own page, old, another's link": {map[string]string{"Origin": "http://LOCALHOST:8080"}, "", false},
		"a page of another origin":      {map[string]string{"Origin": "https://app.example.com", "Sec-Fetch-Site": "cross-site"}, "", true},
		"no browser":                    {nil, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, cookie := visit(t, h, "alice@example.org")
			r := httptest.NewRequest("POST", "/auth/google/callback", strings.NewReader(body))
			r.Host = "localhost:8080"
			for header, value := range tc.headers {
				r.Header.Set(header, value)
			}
			switch tc.cookie {
			case "own":
				r.AddCookie(cookie)
			case "other":
				_, other := visit(t, h, "bob@example.org")
				r.AddCookie(other)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if tc.ok {
				object(t, w, 200)
				return
			}
			require.Contains(t, requireProblem(t, w, 403)["error"], "another browser")
		})
	}

	// Tabs of one browser share its cookie.
	_, cookie := visit(t, h, "alice@example.org")
	for value, kept := range map[string]bool{cookie.Value: true, "short": false, strings.Repeat("A", 27): false} {
		r := httptest.NewRequest("GET", "/auth/google", nil)
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: value})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, kept, w.Result().Cookies()[0].Value == value)
	}
}

func TestLoginsAreCounted(t *testing.T) {
	t.Parallel()
	var counts []string
	h, _ := byOIDC(t, newProvider(t), func(o *Options) {
		mail, _, _ := byMail(t, nil)
		o.Auth.Trusted, o.Auth.Domains, o.Auth.Login.Email = func() bool { return true }, domains(t, "example.org"), mail.o.Auth.Login.Email
		o.Auth.Login.Count = func(way string, ok bool) { counts = append(counts, fmt.Sprint(way, " ", ok)) }
	})
	good, _ := visit(t, h, "alice@example.org")
	elsewhere, _ := visit(t, h, "alice@example.net")
	for _, request := range []struct {
		path, body string
		status     int
		count      []string
	}{
		{"/auth/login", `{"email":"alice@example.org"}`, 200, []string{"trusted true"}},
		{"/auth/login", `{"email":"alice@example.net"}`, 403, []string{"trusted false"}},
		{"/auth/login", `{}`, 422, nil},
		{"/auth/google/callback", good, 200, []string{"google true"}},
		{"/auth/google/callback", good, 403, []string{"google false"}},
		{"/auth/google/callback", elsewhere, 403, []string{"google false"}},
		{"/auth/google/callback", `{"code":"x","state":"y"}`, 422, nil},
		{"/auth/github/callback", `{"code":"x","state":"y"}`, 404, nil},
		{"/auth/email/callback", `{"code":"x","state":"y"}`, 403, []string{"email false"}},
	} {
		counts = nil
		w := call(h, nil, "POST", request.path, request.body)
		require.Equal(t, request.status, w.Code, w.Body)
		require.Equal(t, request.count, counts, request.path)
	}
}

func TestLookAlikeDomainsWithOIDC(t *testing.T) {
	t.Parallel()
	h, _ := byOIDC(t, newProvider(t), func(o *Options) { o.Auth.Domains = domains(t, "example.com", "example.org") })
	for email, status := range lookAlikes {
		if strings.Contains(email, " ") || email == "" {
			continue // the test's provider takes no code with a space
		}
		body, _ := visit(t, h, email)
		w := call(h, nil, "POST", "/auth/google/callback", body)
		if status == 200 {
			require.Equal(t, strings.ToLower(email), object(t, w, 200)["email"])
			continue
		}
		problem := requireProblem(t, w, 403)
		if status == 403 {
			require.Contains(t, problem["error"], "allowed: example.com, example.org", email)
		} else {
			require.Contains(t, problem["error"], "does not say your e-mail address", email)
		}
	}
}

func TestWaysToSignIn(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	h, _ := byOIDC(t, p, func(o *Options) {
		mail, box, _ := byMail(t, nil)
		require.NotNil(t, box)
		o.Auth.Trusted, o.Auth.Login.Email = func() bool { return true }, mail.o.Auth.Login.Email
	})
	email, google := map[string]any{"name": "email", "type": "email"}, map[string]any{"name": "google", "type": "oidc"}
	trusted := map[string]any{"name": "trusted", "type": "trusted"}
	require.Equal(t, map[string]any{"providers": []any{trusted, email, google}}, object(t, call(h, nil, "GET", "/auth/providers/", ""), 200))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/auth/providers", nil))
	require.Equal(t, map[string]any{"providers": []any{email, google}}, object(t, w, 200), "seen from elsewhere")

	for target, status := range map[string]int{
		"GET /auth/github": 404, "GET /auth/trusted": 404, "GET /auth/Google": 404, "GET /auth/goog%6ce": 200,
		"POST /auth/github/callback": 404, "POST /auth/trusted/callback": 404, "POST /auth/google/other": 404,
		"GET /auth/google/callback": 405, "POST /auth/google": 405, "POST /auth/google/callback/x": 404,
	} {
		method, path, _ := strings.Cut(target, " ")
		w := call(h, nil, method, path, `{"code":"x","state":"y"}`)
		require.Equal(t, status, w.Code, "%s: %s", target, w.Body)
	}

	p.Close()
	down, _ := byOIDC(t, p, nil)
	problem := requireProblem(t, call(down, nil, "GET", "/auth/google", ""), 503)
	require.Contains(t, problem["error"], "google")
	require.NotContains(t, problem["error"], "127.0.0.1")
	_, err := down.o.Auth.Login.OIDC[0].Begin(context.Background(), "")
	require.ErrorContains(t, err, "127.0.0.1", "the log says more")
}

func TestOpenPaths(t *testing.T) {
	t.Parallel()
	type kind int
	const (
		closed kind = iota
		open
		signsIn
	)
	h := newHandler(t, nil)
	for target, want := range map[string]kind{
		"POST /auth/login": signsIn, "POST /auth/login/": signsIn, "POST /auth/log%69n": signsIn, "POST /auth/login?x=/auth/me": signsIn,
		"GET /auth/google": signsIn, "HEAD /auth/google/": signsIn, "GET /auth/providers": open, "HEAD /auth/providers/": open,
		"POST /auth/google/callback": signsIn, "POST /auth/email/callback/": signsIn, "GET /auth/email": signsIn,
		"POST /auth/refresh": open, "POST /auth/refresh/": open, "POST /auth/logout": open, "GET /health": open, "GET /health/": open,
		"HEAD /health": open, "GET /docs": open, "GET /docs/": open, "GET /docs/swagger-ui.css": open, "GET /openapi.json": open,
		"GET /chat/ws": open, "GET /chat/ws/": open, "GET /api/v2/pipelines/ws/x": open, "GET /api/v2/pipelines/ws/x/": open,
		"GET /api/v2/pipelines/schema": open, "HEAD /api/v2/pipelines/schema/": open,

		"GET /auth/me": closed, "GET /auth/me/": closed, "GET /auth/m%65": closed, "GET /auth/verify": closed, "GET /auth/tokens": closed,
		"GET /auth/users": closed, "GET /auth/login": closed, "GET /auth/refresh": closed, "GET /auth/logout": closed,
		"POST /auth/tokens": closed, "POST /auth/tokens/callback": closed, "POST /auth/users/callback": closed,
		"POST /auth/me/callback": closed, "POST /auth/us%65rs/callback": closed, "POST /auth/google": closed,
		"POST /auth/google/other": closed, "POST /auth/google/callback/x": closed, "GET /auth/google/callback": closed,
		"DELETE /auth/google": closed, "POST /auth/providers": closed, "PUT /auth/login": closed, "POST /chat/ws": closed,
		"POST /auth//login": closed, "POST //auth/login": closed, "POST /auth/./login": closed, "POST /auth/x/../login": closed,
		"POST /auth%2flogin": closed, "GET /auth/a%2fb": closed, "GET /auth": closed, "GET /auth/": closed, "GET /": closed,
		"GET /docsx": closed, "GET /healthx": closed, "GET /health/x": closed, "GET /specialists": closed, "POST /chat/send": closed,
		"POST /api/v2/pipelines/schema": closed, "GET /api/v2/pipelines/schema/x": closed, "POST /api/v2/pipelines/validate": closed,
		"GET /api/v2/pipelines/definitions": closed, "GET /api/v2/pipelines/definitions/schema": closed, "GET /pipelines/schema": closed,
		"POST /api/v2/pipelines/ws/x": closed, "GET /api/v2/pipelines/ws": closed, "GET /api/v2/pipelines/ws/x/y": closed,
		"GET /api/v2/pipelines/ws/%2f": closed, "GET /api/v2/pipelines/runs/x": closed, "GET /api/v2/pipelines/list": closed,
		"GET /usage/logs": closed, "GET /AUTH/google": closed, "POST /x/auth/login": closed,
	} {
		method, path, _ := strings.Cut(target, " ")
		r := httptest.NewRequest(method, "http://localhost"+path, nil)
		require.Equal(t, want == signsIn, SignsIn(r), target)
		require.Equal(t, want != closed, Open(r), target)
	}
	require.False(t, Open(httptest.NewRequest("OPTIONS", "*", nil)))

	// What is called open takes no token; all the rest asks for one.
	for _, route := range h.Routes() {
		method, path, _ := strings.Cut(route, " ")
		path = strings.NewReplacer("{provider}", "google").Replace(path)
		w := call(h, nil, method, path, "{}")
		switch {
		case !Open(httptest.NewRequest(method, path, nil)):
			require.Equal(t, http.StatusUnauthorized, w.Code, route)
		case path != "/auth/refresh" && path != "/auth/logout": // whose token is in the body
			require.NotEqual(t, http.StatusUnauthorized, w.Code, route)
		}
	}
}
