package login

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity/session"
	"github.com/financecommander/tollgate/internal/secret"
)

func TestOIDC(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.claims["name"], i.claims["picture"] = "Alice A.", "https://img.example.org/a.png"
	i.claims["groups"] = []string{"staff", "ai-admins"}
	i.claims["realm"] = map[string]any{"level": 7, "kind": "x"}
	p, log := newOIDC(t, i, func(o *OIDCOptions) {
		o.Scopes = []string{"email", "groups"}
		o.Roles = []RoleRule{
			{"admin", "groups", "ai-admins"}, {"viewer", "groups", "ai"}, {"viewer", "realm.level", "7"}, {"admin", "realm.kind", "x"},
		}
	})
	authURL, err := p.Begin(t.Context(), "browser")
	require.NoError(t, err)
	require.Contains(t, authURL, "scope=openid+email+groups&")
	code, state := i.authorize(authURL)
	require.True(t, strings.HasPrefix(state, "google:"))
	require.Less(t, len(authURL), 1000)
	person, err := p.Finish(t.Context(), code, state, "browser", true)
	require.NoError(t, err)
	require.Equal(t, session.Person{
		Address: address(t, "alice@example.org"), Name: "Alice A.", Avatar: "https://img.example.org/a.png",
		Provider: "google", Roles: []string{"admin", "viewer"},
	}, person)
	require.Equal(t, []string{"/.well-known/openid-configuration", "/token", "/keys"}, i.requests())
	require.True(t, i.basic)
	require.Empty(t, log.text.String())

	_, err = visit(t, p, i)
	require.NoError(t, err)
	require.Equal(t, []string{"/token"}, i.requests(), "metadata and keys are remembered")
}

// Replicas share the secret and the database only; another secret opens nothing.
func TestOIDCReplicas(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB) {
		i := newIssuer(t)
		first, _ := newOIDC(t, i, func(o *OIDCOptions) { o.Store = db })
		second, _ := newOIDC(t, i, func(o *OIDCOptions) { o.Store = db })
		stranger, _ := newOIDC(t, i, func(o *OIDCOptions) {
			o.Store, o.Secret = db, secret.New("another secret of thirty-two bytes, for tests")
		})
		authURL, err := first.Begin(t.Context(), "browser")
		require.NoError(t, err)
		code, state := i.authorize(authURL)
		_, err = stranger.Finish(t.Context(), code, state, "browser", true)
		requireStatus(t, err, 422, "state is not from a sign-in", "stranger")

		var in atomic.Int64
		var wg sync.WaitGroup
		for n := range 20 {
			p := []*OIDC{first, second}[n%2]
			wg.Go(func() {
				if _, err := p.Finish(context.Background(), code, state, "browser", true); err == nil {
					in.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, in.Load())
		_, err = second.Finish(t.Context(), code, state, "browser", true)
		requireStatus(t, err, 403, "finished already", "replay")
	})
}

func TestWhatTokensSay(t *testing.T) {
	t.Parallel()
	trust := func(o *OIDCOptions) { o.TrustEmail = true }
	entra := func(o *OIDCOptions) { o.TrustEmail, o.EmailClaim = true, "preferred_username" }
	future := time.Now().Add(time.Hour).Unix()
	type claims = map[string]any
	for name, tc := range map[string]struct {
		claims claims
		edit   func(*OIDCOptions)
		sign   func(jwt.MapClaims) string
		status int // 0: signed in
		says   string
	}{
		"as a text":                {claims{"email_verified": "true"}, nil, nil, 0, ""},
		"Google without scheme":    {claims{"iss": "accounts.google.com"}, nil, nil, 502, "could not be verified"},
		"another nonce":            {claims{"nonce": "other"}, nil, nil, 403, "another sign-in"},
		"no nonce":                 {claims{"nonce": nil}, nil, nil, 403, "another sign-in"},
		"another audience":         {claims{"aud": "other"}, nil, nil, 502, "could not be verified"},
		"no audience":              {claims{"aud": nil}, nil, nil, 502, "could not be verified"},
		"two audiences":            {claims{"aud": []string{"other", clientID}}, nil, nil, 502, "could not be verified"},
		"two audiences, ours":      {claims{"aud": []string{"other", clientID}, "azp": clientID}, nil, nil, 0, ""},
		"another authorized party": {claims{"azp": "other"}, nil, nil, 502, "could not be verified"},
		"another issuer":           {claims{"iss": "https://evil.example"}, nil, nil, 502, "could not be verified"},
		"no issuer":                {claims{"iss": nil}, nil, nil, 502, "could not be verified"},
		"expired":                  {claims{"exp": time.Now().Add(-time.Minute).Unix()}, nil, nil, 502, "could not be verified"},
		"no end":                   {claims{"exp": nil}, nil, nil, 502, "could not be verified"},
		"not yet":                  {claims{"nbf": future}, nil, nil, 502, "could not be verified"},
		"alg none": {nil, nil, func(c jwt.MapClaims) string {
			return signed(jwt.SigningMethodNone, c, jwt.UnsafeAllowNoneSignatureType)
		}, 502, "could not be verified"},
		"HMAC with the client secret": {nil, nil, func(c jwt.MapClaims) string { return signed(jwt.SigningMethodHS256, c, []byte(clientSecret)) }, 502, "could not be verified"},
		"another key":                 {nil, nil, func(c jwt.MapClaims) string { return signed(jwt.SigningMethodRS256, c, keys()[1]) }, 502, "could not be verified"},
		"an algorithm not announced":  {nil, nil, func(c jwt.MapClaims) string { return signed(jwt.SigningMethodRS384, c, keys()[0]) }, 502, "could not be verified"},
		"no token":                    {nil, nil, func(jwt.MapClaims) string { return "" }, 502, "could not be verified"},
		"no JWT":                      {nil, nil, func(jwt.MapClaims) string { return "a.b.c" }, 502, "could not be verified"},

		"unverified":                   {claims{"email_verified": false}, nil, nil, 403, "does not confirm"},
		"unverified, but trusted":      {claims{"email_verified": false}, trust, nil, 403, "does not confirm"},
		"unverified, as a text":        {claims{"email_verified": "false"}, trust, nil, 403, "does not confirm"},
		"verified is a number":         {claims{"email_verified": 1}, trust, nil, 403, "does not confirm"},
		"not said":                     {claims{"email_verified": nil}, nil, nil, 403, "does not confirm"},
		"not said, but trusted":        {claims{"email_verified": nil}, trust, nil, 0, ""},
		"another claim":                {claims{"email": "eve@example.org", "preferred_username": "Alice@Example.org"}, entra, nil, 0, ""},
		"another claim is missing":     {claims{}, entra, nil, 403, "does not say your e-mail address"},
		"another claim is no address":  {claims{"preferred_username": "alice"}, entra, nil, 403, "does not say your e-mail address"},
		"no address":                   {claims{"email": nil}, nil, nil, 403, "does not say your e-mail address"},
		"two addresses":                {claims{"email": []string{"alice@example.org"}}, nil, nil, 403, "does not say your e-mail address"},
		"an address with a name":       {claims{"email": "Alice <alice@example.org>"}, nil, nil, 403, "does not say your e-mail address"},
		"an address of two domains":    {claims{"email": "alice@example.org@evil.test"}, nil, nil, 403, "does not say your e-mail address"},
		"an address with a Cyrillic a": {claims{"email": "\u0430lice@example.org"}, nil, nil, 403, "does not say your e-mail address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			maps.Copy(i.claims, tc.claims)
			i.sign = tc.sign
			p, log := newOIDC(t, i, tc.edit)
			person, err := visit(t, p, i)
			require.NotContains(t, log.text.String(), "@", "no address in logs")
			if tc.status == 0 {
				require.NoError(t, err)
				require.Equal(t, address(t, "alice@example.org"), person.Address)
				require.Equal(t, "alice", person.Name, "of the address when there is no other")
				return
			}
			requireStatus(t, err, tc.status, tc.says, name)
			require.NotContains(t, err.Error(), "alice@")
			require.Zero(t, person)
		})
	}
}

func TestUserInfo(t *testing.T) {
	t.Parallel()
	type claims = map[string]any
	for name, tc := range map[string]struct {
		claims, info claims
		status       int
		says         string
		asked        bool
	}{
		"not needed":                        {claims{}, claims{"sub": "s-1", "email": "eve@example.org"}, 0, "", false},
		"the address":                       {claims{"email": nil, "email_verified": nil}, claims{"sub": "s-1", "email": "alice@example.org", "email_verified": true}, 0, "", true},
		"whether it is verified":            {claims{"email_verified": nil}, claims{"sub": "s-1", "email": "alice@example.org", "email_verified": true}, 0, "", true},
		"of another address":                {claims{"email_verified": nil}, claims{"sub": "s-1", "email": "eve@example.org", "email_verified": true}, 403, "does not confirm", true},
		"verified stays with its address":   {claims{"email": nil}, claims{"sub": "s-1", "email": "eve@example.org"}, 403, "does not confirm", true},
		"unverified stays with its address": {claims{"email": nil}, claims{"sub": "s-1", "email": "eve@example.org", "email_verified": false}, 403, "does not confirm", true},
		"another person":                    {claims{"email": nil}, claims{"sub": "s-2", "email": "alice@example.org", "email_verified": true}, 502, "could not be verified", true},
		"nobody":                            {claims{"email": nil}, claims{"email": "alice@example.org", "email_verified": true}, 502, "could not be verified", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			maps.Copy(i.claims, tc.claims)
			i.userInfo = tc.info
			p, log := newOIDC(t, i, nil)
			person, err := visit(t, p, i)
			require.NotContains(t, log.text.String(), "@")
			asked := i.requests()
			require.Equal(t, tc.asked, asked[len(asked)-1] == "/userinfo", asked)
			if tc.status != 0 {
				requireStatus(t, err, tc.status, tc.says, name)
				return
			}
			require.NoError(t, err)
			require.Equal(t, address(t, "alice@example.org"), person.Address)
		})
	}

	i := newIssuer(t)
	i.userInfo = map[string]any{"sub": "s-1", "groups": []string{"admins"}, "email": "eve@example.org"}
	p, _ := newOIDC(t, i, func(o *OIDCOptions) { o.Roles = []RoleRule{{"admin", "groups", "admins"}} })
	person, err := visit(t, p, i)
	require.NoError(t, err)
	require.Equal(t, []string{"admin"}, person.Roles)
	require.Equal(t, address(t, "alice@example.org"), person.Address)
}

func TestStates(t *testing.T) {
	t.Parallel()
	i, store := newIssuer(t), newDatabase(t)
	p, _ := newOIDC(t, i, func(o *OIDCOptions) { o.Store = store })
	other, _ := newOIDC(t, i, func(o *OIDCOptions) { o.Name, o.Store = "entra", store })
	authURL, err := p.Begin(t.Context(), "browser")
	require.NoError(t, err)
	code, state := i.authorize(authURL)
	i.requests()

	_, err = other.Finish(t.Context(), code, state, "browser", true)
	requireStatus(t, err, 422, "entra", "mix-up of providers")
	_, err = other.Finish(t.Context(), code, "entra:"+strings.TrimPrefix(state, "google:"), "browser", true)
	requireStatus(t, err, 422, "entra", "mix-up of providers, renamed")
	for n := range state {
		changed := []byte(state)
		changed[n] ^= 1
		_, err = p.Finish(t.Context(), code, string(changed), "browser", true)
		requireStatus(t, err, 422, "start again", "changed")
	}
	for _, bad := range []string{"", "google:", "email:" + state, state + "A", state + "\n", state[:len(state)-1], strings.Repeat("A", 1<<16)} {
		_, err = p.Finish(t.Context(), code, bad, "browser", true)
		requireStatus(t, err, 422, "start again", bad)
	}
	for _, browser := range []string{"", "other"} {
		_, err = p.Finish(t.Context(), code, state, browser, true)
		requireStatus(t, err, 403, "another browser", browser)
	}
	mail, _ := newEmail(t, store, nil)
	_, err = mail.RedeemLink(t.Context(), "ABCDEFGH", strings.TrimPrefix(state, "google:"))
	requireFailed(t, err, "a state of another kind")
	require.Empty(t, i.requests(), "the provider is not bothered")

	_, err = p.Finish(t.Context(), code, state, "", false)
	require.NoError(t, err, "a client that is no browser")

	authURL, err = p.Begin(t.Context(), "browser")
	require.NoError(t, err)
	stolen, _ := i.authorize(authURL)
	authURL, err = p.Begin(t.Context(), "browser")
	require.NoError(t, err)
	_, state = i.authorize(authURL)
	_, err = p.Finish(t.Context(), stolen, state, "browser", true)
	requireStatus(t, err, 403, "start again", "the code of another visit fails at PKCE")
	_, err = visit(t, p, i)
	require.NoError(t, err)
}

func TestStatesExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, err := NewOIDC(OIDCOptions{
			Name: "google", Issuer: "https://issuer.test", ClientID: clientID, RedirectURL: redirectURL, Store: broken{},
			Secret: testSecret, Transport: static{},
		})
		require.NoError(t, err)
		authURL, err := p.Begin(t.Context(), "browser")
		require.NoError(t, err)
		_, after, _ := strings.Cut(authURL, "state=google%3A")
		state, _, _ := strings.Cut(after, "&")
		time.Sleep(Lifetime - time.Second)
		_, err = p.Finish(t.Context(), "code", state, "browser", true)
		requireStatus(t, err, 503, "not possible right now", "the store is asked")
		time.Sleep(time.Second)
		_, err = p.Finish(t.Context(), "code", state, "browser", true)
		requireStatus(t, err, 403, "longer than 10 minutes", "expired")
	})
}

// static is a provider that has metadata only.
type static struct{}

func (static) RoundTrip(*http.Request) (*http.Response, error) {
	w := newRecorder(200, `{"issuer":"https://issuer.test","authorization_endpoint":"https://issuer.test/a","token_endpoint":"https://issuer.test/t","jwks_uri":"https://issuer.test/k"}`)
	return w, nil
}
