package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

const testSecret = "a secret of at least thirty-two bytes, for tests"

// claims are those of a token that testSecret's gateway accepts if it is signed
// right.
func claims(more ...any) jwt.MapClaims {
	c := jwt.MapClaims{"iss": "tollgate", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix()}
	for i := 0; i < len(more); i += 2 {
		c[more[i].(string)] = more[i+1]
	}
	return c
}

func sign(t *testing.T, method jwt.SigningMethod, key any, c jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, c).SignedString(key)
	require.NoError(t, err)
	return token
}

// apiPaths are paths that nobody may use without a token.
var apiPaths = []string{
	"POST /v1/chat/completions", "POST /v1/completions", "POST /v1/embeddings", "POST /v1/responses",
	"GET /v1/models", "GET /v1/models/" + specialist, "GET /v1/unknown",
	"POST /chat/send", "POST /chat/send/", "POST /chat/stream", "POST /chat/stream/",
	"GET /auth/me", "GET /auth/me/", "GET /auth/verify", "GET /specialists", "GET /specialists/",
	"GET /specialists/" + specialist, "GET /usage/logs", "GET /usage/logs/", "GET /usage/",
}

func TestBadTokensAreRefusedEverywhere(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})

	g := newGateway(t)
	require.NoError(t, os.WriteFile(filepath.Join(g.dir, "keys.pem"), public, 0o600))
	g.caddyfile(`jwt {
		secret "`+testSecret+`"
		issuer keys {
			iss keys
			audience any
			public_keys {file.keys.pem}
		}
	}`, "llm_gateway")
	g.start()

	fine := sign(t, jwt.SigningMethodHS256, []byte(testSecret), claims())
	byKey := sign(t, jwt.SigningMethodRS256, key, claims("iss", "keys"))
	require.Equal(t, 200, g.do("GET", "/auth/me", fine, "").Status)
	require.Equal(t, 200, g.do("GET", "/auth/me", byKey, "").Status)

	for name, token := range map[string]string{
		"none":           "",
		"garbage":        "garbage",
		"forged":         sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32)), claims()),
		"expired":        sign(t, jwt.SigningMethodHS256, []byte(testSecret), claims("exp", time.Now().Add(-time.Hour).Unix())),
		"without exp":    sign(t, jwt.SigningMethodHS256, []byte(testSecret), jwt.MapClaims{"iss": "tollgate", "sub": "alice"}),
		"alg none":       sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims()),
		"other alg":      sign(t, jwt.SigningMethodHS512, []byte(testSecret), claims()),
		"key confusion":  sign(t, jwt.SigningMethodHS256, public, claims("iss", "keys")),
		"issuer's mixed": sign(t, jwt.SigningMethodHS256, []byte(testSecret), claims("iss", "keys")),
		"cut":            fine[:len(fine)-4],
	} {
		for _, path := range apiPaths {
			method, path, _ := strings.Cut(path, " ")
			body := ""
			if method == "POST" {
				body = chat(specialist, false)
			}
			a := g.do(method, path, token, body)
			require.Equal(t, 401, a.Status, "%s: %s %s: %s", name, method, path, a.Body)
			require.Equal(t, "Bearer", a.Header.Get("WWW-Authenticate"), "%s: %s", name, path)
			requireErrorShape(t, path, a)
		}
	}
	require.Empty(t, g.rows(fine, 0), "nothing was spent")
}

// requireErrorShape checks that an error is in the dialect of its path.
func requireErrorShape(t *testing.T, path string, a answer) {
	t.Helper()
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	require.Equal(t, a.Header.Get("X-Request-Id"), a.get("request_id"), a.Body)
	require.NotEmpty(t, a.get("request_id"))
	if strings.HasPrefix(path, "/v1/") {
		require.NotEmpty(t, a.get("error.message"), a.Body)
		require.NotEmpty(t, a.get("error.type"), a.Body)
		return
	}
	require.NotEmpty(t, a.get("error"), a.Body)
	require.Equal(t, a.get("error"), a.get("detail"))
}

func TestTokenFromEachPlace(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "JWT_SECRET="+testSecret)
	alice := sign(t, jwt.SigningMethodHS256, []byte(testSecret), claims())
	bob := sign(t, jwt.SigningMethodHS256, []byte(testSecret), claims("sub", "bob"))
	for name, call := range map[string]struct {
		path    string
		headers []string
		status  int
	}{
		"bearer":             {"/v1/models", []string{"Authorization", "bearer " + alice}, 200},
		"x-api-key":          {"/v1/models", []string{"x-api-key", alice}, 200},
		"x-goog-api-key":     {"/v1/models", []string{"x-goog-api-key", alice}, 200},
		"key":                {"/v1/models?key=" + alice, nil, 200},
		"key among others":   {"/usage/logs?limit=5&key=" + alice, nil, 200},
		"the same twice":     {"/v1/models?key=" + alice, []string{"x-api-key", alice}, 200},
		"two that differ":    {"/v1/models?key=" + alice, []string{"x-api-key", bob}, 401},
		"another's scheme":   {"/v1/models", []string{"Authorization", "Basic " + alice}, 401},
		"some other header":  {"/v1/models", []string{"X-Token", alice}, 401},
		"some other paramer": {"/v1/models?token=" + alice, nil, 401},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, call.status, g.do("GET", call.path, "", "", call.headers...).Status)
		})
	}
}

// TestJWKSOutage: a token nobody can judge now is 503, since a 401 would log its
// user out.
func TestJWKSOutage(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	var up atomic.Bool
	encode := base64.RawURLEncoding.EncodeToString
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig", "n": encode(key.N.Bytes()), "e": encode([]byte{1, 0, 1}),
	}}})
	require.NoError(t, err)
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write(set)
	}))
	t.Cleanup(idp.Close)

	g := newGateway(t)
	g.caddyfile(`jwt {
		issuer company {
			iss https://id.example.com
			audience tollgate
			jwks `+idp.URL+`
			refresh 1s
		}
	}`, "llm_gateway")
	g.start()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims("iss", "https://id.example.com", "aud", "tollgate"))
	token.Header["kid"] = "one"
	signed, err := token.SignedString(key)
	require.NoError(t, err)

	for _, path := range []string{"/v1/models", "/usage/logs"} {
		a := g.do("GET", path, signed, "")
		require.Equal(t, 503, a.Status, a.Body)
		require.NotEmpty(t, a.Header.Get("Retry-After"))
		require.Empty(t, a.Header.Get("WWW-Authenticate"))
		requireErrorShape(t, path, a)
	}
	require.Equal(t, 200, g.do("GET", "/auth/me", g.login("bob@example.com"), "").Status, "other issuers work on")
	up.Store(true)
	g.eventually("the keys are there", func() bool { return g.do("GET", "/auth/me", signed, "").Status == 200 })
}
