package login

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/identity/session"
	"github.com/financecommander/tollgate/internal/secret"
)

var keys = sync.OnceValue(func() [2]*rsa.PrivateKey {
	var pair [2]*rsa.PrivateKey
	for i := range pair {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		pair[i] = key
	}
	return pair
})

const (
	clientID     = "tollgate"
	clientSecret = "client secret/with:signs"
)

// issuer is an OpenID provider on this machine that does what a test wants.
type issuer struct {
	*httptest.Server
	t *testing.T

	// What it answers; changed by tests before they use it.
	metadata  map[string]any
	claims    map[string]any                                // of the ID token, on top of the right ones; nil values are left out
	userInfo  map[string]any                                // nil: no such endpoint
	sign      func(claims jwt.MapClaims) string             // nil: RS256 with the key it publishes
	intercept func(http.ResponseWriter, *http.Request) bool // true: answered

	mu    sync.Mutex // guards what follows
	codes map[string]url.Values
	asked []string // paths
	basic bool     // how the client proved itself last
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t, codes: map[string]url.Values{}, claims: map[string]any{"email": "alice@example.org", "email_verified": true}}
	i.Server = httptest.NewServer(http.HandlerFunc(i.serve))
	t.Cleanup(i.Close)
	i.metadata = map[string]any{
		"issuer": i.URL, "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
		"jwks_uri": i.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256", "none", "HS256"},
	}
	return i
}

func (i *issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.asked = append(i.asked, r.URL.Path)
	i.mu.Unlock()
	if i.intercept != nil && i.intercept(w, r) {
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		metadata := maps.Clone(i.metadata)
		if i.userInfo != nil {
			metadata["userinfo_endpoint"] = i.URL + "/userinfo"
		}
		reply(w, 200, metadata)
	case "/keys":
		key := keys()[0].PublicKey
		reply(w, 200, map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "kid": "k", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
		}}})
	case "/token":
		i.token(w, r)
	case "/userinfo":
		if r.Header.Get("Authorization") != "Bearer access" {
			reply(w, 401, map[string]any{"error": "invalid_token"})
			return
		}
		reply(w, 200, i.userInfo)
	default:
		http.NotFound(w, r)
	}
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// token takes a code, as strictly as a provider should.
func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	user, password, basic := r.BasicAuth()
	if basic {
		user, _ = url.QueryUnescape(user)
		password, _ = url.QueryUnescape(password)
	} else {
		user, password = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	i.mu.Lock()
	i.basic = basic
	asked, known := i.codes[r.PostFormValue("code")]
	delete(i.codes, r.PostFormValue("code"))
	i.mu.Unlock()
	if user != clientID || password != clientSecret {
		reply(w, 401, map[string]any{"error": "invalid_client", "error_description": "no " + password})
		return
	}
	challenge := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !known || r.PostFormValue("grant_type") != "authorization_code" || r.PostFormValue("redirect_uri") != asked.Get("redirect_uri") ||
		base64.RawURLEncoding.EncodeToString(challenge[:]) != asked.Get("code_challenge") {
		reply(w, 400, map[string]any{"error": "invalid_grant", "error_description": "alice@example.org"})
		return
	}
	now := time.Now().Unix()
	claims := jwt.MapClaims{
		"iss": i.URL, "sub": "s-1", "aud": clientID, "iat": now, "exp": now + 60, "nonce": asked.Get("nonce"),
	}
	for name, value := range i.claims {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	sign := i.sign
	if sign == nil {
		sign = func(c jwt.MapClaims) string { return signed(jwt.SigningMethodRS256, c, keys()[0]) }
	}
	reply(w, 200, map[string]any{"access_token": "access", "token_type": "Bearer", "id_token": sign(claims)})
}

func signed(method jwt.SigningMethod, claims jwt.MapClaims, key any) string {
	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"] = "k"
	text, err := token.SignedString(key)
	if err != nil {
		panic(err)
	}
	return text
}

// requests lists the paths that were asked since the last call.
func (i *issuer) requests() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	asked := i.asked
	i.asked = nil
	return asked
}

// authorize is the user's consent: it gives the code and the state that go back to
// the browser.
func (i *issuer) authorize(authURL string) (code, state string) {
	i.t.Helper()
	u, err := url.Parse(authURL)
	require.NoError(i.t, err)
	require.Equal(i.t, i.URL+"/authorize", u.Scheme+"://"+u.Host+u.Path)
	q := u.Query()
	require.Equal(i.t, "code", q.Get("response_type"))
	require.Equal(i.t, clientID, q.Get("client_id"))
	require.Equal(i.t, "S256", q.Get("code_challenge_method"))
	require.Len(i.t, q.Get("code_challenge"), 43)
	require.NotEmpty(i.t, q.Get("nonce"))
	require.Equal(i.t, redirectURL, q.Get("redirect_uri"))
	code = rand.Text()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.codes[code] = q
	return code, q.Get("state")
}

const redirectURL = "https://ai.example.com/portal/"

// logText collects what is logged.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func newOIDC(t *testing.T, i *issuer, edit func(*OIDCOptions)) (*OIDC, *logText) {
	t.Helper()
	log := &logText{}
	o := OIDCOptions{
		Name: "google", Issuer: i.URL, ClientID: clientID, ClientSecret: secret.New(clientSecret),
		RedirectURL: redirectURL, Secret: testSecret, Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
	if edit != nil {
		edit(&o)
	}
	if o.Store == nil {
		o.Store = newDatabase(t)
	}
	p, err := NewOIDC(o)
	require.NoError(t, err)
	return p, log
}

// visit goes to the provider and back.
func visit(t *testing.T, p *OIDC, i *issuer) (session.Person, error) {
	t.Helper()
	authURL, err := p.Begin(context.Background(), "browser")
	require.NoError(t, err)
	code, state := i.authorize(authURL)
	return p.Finish(context.Background(), code, state, "browser", true)
}
