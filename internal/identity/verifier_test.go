package identity

import (
	"crypto"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
)

func TestVerifyAcceptsEveryAlgorithm(t *testing.T) {
	t.Parallel()
	keys := keyring()
	cases := []struct {
		method jwt.SigningMethod
		key    crypto.Signer // nil: the secret
	}{
		{jwt.SigningMethodHS256, nil},
		{jwt.SigningMethodHS384, nil},
		{jwt.SigningMethodHS512, nil},
		{jwt.SigningMethodRS256, keys.rsa},
		{jwt.SigningMethodRS384, keys.rsa},
		{jwt.SigningMethodRS512, keys.rsa},
		{jwt.SigningMethodPS256, keys.rsa},
		{jwt.SigningMethodPS384, keys.rsa},
		{jwt.SigningMethodPS512, keys.rsa},
		{jwt.SigningMethodES256, keys.p256},
		{jwt.SigningMethodES384, keys.p384},
		{jwt.SigningMethodES512, keys.p521},
		{jwt.SigningMethodEdDSA, keys.ed},
	}
	for _, c := range cases {
		t.Run(c.method.Alg(), func(t *testing.T) {
			t.Parallel()
			issuer, key := secretIssuer(), any([]byte(testSecret))
			if c.key != nil {
				issuer, key = keyIssuer("idp", c.key), c.key
			}
			issuer.Algorithms = []string{c.method.Alg()}
			v := newVerifier(t, issuer)
			token := signed(c.method, key, nil, goodClaims(issuer.Issuer, nil))
			for range 2 { // the second time out of the cache
				p, err := v.Verify(t.Context(), token)
				require.NoError(t, err)
				require.Equal(t, "user-1", p.Subject)
			}
		})
	}
}

func TestVerifyReadsTheCaller(t *testing.T) {
	t.Parallel()
	issuer := secretIssuer()
	issuer.Claims = ClaimMap{Subject: "uid", Roles: "realm_access.roles", Specialists: "https://example.com/use", Name: "profile.full.name"}
	issuer.Require = map[string]string{"tenant": "acme", "groups": "staff", "level": "3", "active": "true"}
	v := newVerifier(t, issuer)
	now := time.Now().Truncate(time.Second).UTC()
	token := signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims(issuer.Issuer, map[string]any{
		"uid": "42", "email": " Ada@Example.COM ", "email_verified": true, "jti": "t-1",
		"iat": now.Unix(), "exp": now.Unix() + 60,
		"aud":                     []string{"other", "tollgate"},
		"realm_access":            map[string]any{"roles": []string{"admin", "staff"}},
		"https://example.com/use": "code-reviewer openai/*",
		"profile":                 map[string]any{"full.name": "Ada L."},
		"tenant":                  "acme", "groups": []any{"staff", "x"}, "level": 3, "active": true,
		"big": 9007199254740993,
	}))
	p, err := v.Verify(t.Context(), token)
	require.NoError(t, err)
	want := Principal{
		Subject: "42", Name: "Ada L.", Roles: []string{"admin", "staff"}, Issuer: "own", TokenID: "t-1",
		IssuedAt: now, ExpiresAt: now.Add(time.Minute), Specialists: []string{"code-reviewer", "openai/*"},
		UserHash: HashEmail("ada@example.com"), EmailHash: HashEmail("ada@example.com"), private: p.private,
	}
	require.Same(t, want.private, p.private)
	got := *p
	require.Equal(t, want.UserHash, got.UserHash)
	require.Equal(t, want, got)
	require.Equal(t, "ada@example.com", p.Email())
	require.EqualValues(t, "9007199254740993", p.Claims()["big"])
}

func TestVerifyUnderstandsVariants(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, secretIssuer())
	now := time.Now()
	cases := map[string]struct {
		header, claims map[string]any
		check          func(t *testing.T, p *Principal)
	}{
		"expired within the leeway":    {claims: map[string]any{"exp": now.Unix() - 10}},
		"not before within the leeway": {claims: map[string]any{"nbf": now.Unix() + 10, "iat": now.Unix() + 10}},
		"dates with fractions":         {claims: map[string]any{"exp": float64(now.Unix()) + 100.5, "iat": float64(now.Unix()) - 0.25}},
		"not before zero":              {claims: map[string]any{"nbf": 0}},
		"no issued at":                 {claims: map[string]any{"iat": nil}, check: func(t *testing.T, p *Principal) { require.True(t, p.IssuedAt.IsZero()) }},
		"access token type":            {header: map[string]any{"typ": "AT+JWT"}},
		"full type":                    {header: map[string]any{"typ": "application/at+jwt"}},
		"foreign key material ignored": {header: map[string]any{"jku": "https://evil.example/keys", "jwk": map[string]any{"kty": "oct"}, "x5u": "https://evil.example", "x5c": []string{"AAAA"}, "kid": "../../etc/passwd"}},
		"one role as a text":           {claims: map[string]any{"roles": "admin"}, check: func(t *testing.T, p *Principal) { require.True(t, p.HasRole("admin")) }},
		"no specialists: all":          {check: func(t *testing.T, p *Principal) { require.True(t, p.MayUse("anything")) }},
		"empty specialists: none":      {claims: map[string]any{"specialists": []string{}}, check: func(t *testing.T, p *Principal) { require.False(t, p.MayUse("anything")) }},
		"address not verified": {
			claims: map[string]any{"email": "a@b.example", "email_verified": false},
			check:  func(t *testing.T, p *Principal) { require.Empty(t, p.Email()+p.EmailHash) },
		},
		"address that is none": {
			claims: map[string]any{"email": "not an address"},
			check: func(t *testing.T, p *Principal) {
				require.Empty(t, p.EmailHash)
				require.Equal(t, Hasher{}.hashSubject("https://own", "user-1"), p.UserHash)
			},
		},
		"unicode subject": {claims: map[string]any{"sub": "Zoë–ß–用户"}, check: func(t *testing.T, p *Principal) { require.Equal(t, "Zoë–ß–用户", p.Subject) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := v.Verify(t.Context(), signed(jwt.SigningMethodHS256, []byte(testSecret), c.header, goodClaims("https://own", c.claims)))
			require.NoError(t, err)
			if c.check != nil {
				c.check(t, p)
			}
		})
	}
}

func TestVerifyTakesNullForAbsent(t *testing.T) {
	t.Parallel()
	claims := strings.TrimSuffix(payload(goodClaims("https://own", nil)), "}") +
		`,"name":null,"roles":null,"specialists":null,"email":null,"email_verified":null,"jti":null}`
	p, err := newVerifier(t, secretIssuer()).Verify(t.Context(), rawHS256(`{"alg":"HS256"}`, claims))
	require.NoError(t, err)
	require.Empty(t, p.Name+p.EmailHash)
	require.True(t, p.MayUse("anything"))
}

// TestTokensWithoutIDGetOne: it does not change with the signature, of which an
// ECDSA key makes another one each time.
func TestTokensWithoutIDGetOne(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, keyIssuer("ec", keyring().p256))
	id := func(claims jwt.MapClaims) string {
		p, err := v.Verify(t.Context(), signed(jwt.SigningMethodES256, keyring().p256, nil, claims))
		require.NoError(t, err)
		return p.TokenID
	}
	claims := goodClaims("https://ec", nil)
	first, again := id(claims), id(claims)
	require.Regexp(t, "^sha256:[0-9a-f]{64}$", first)
	require.Equal(t, first, again)
	require.NotEqual(t, id(claims), id(goodClaims("https://ec", map[string]any{"sub": "user-2"})))
	require.Equal(t, "t-1", id(goodClaims("https://ec", map[string]any{"jti": "t-1"})))
}

func TestVerifyChoosesOneIssuer(t *testing.T) {
	t.Parallel()
	keys := keyring()
	v := newVerifier(t,
		Issuer{Name: "portal", Secret: secret.New(testSecret)},
		keyIssuer("one", keys.rsa), keyIssuer("two", keys.p256))
	accept := func(want string, token string) {
		t.Helper()
		p, err := v.Verify(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, want, p.Issuer)
	}
	accept("portal", signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("", map[string]any{"iss": nil, "aud": "whatever"})))
	accept("one", signed(jwt.SigningMethodRS256, keys.rsa, nil, goodClaims("https://one", nil)))
	accept("two", signed(jwt.SigningMethodES256, keys.p256, nil, goodClaims("https://two", nil)))
	for name, token := range map[string]string{
		"secret for a token of one":   signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("https://one", nil)),
		"one's key for two's token":   signed(jwt.SigningMethodRS256, keys.rsa, nil, goodClaims("https://two", nil)),
		"one's key without issuer":    signed(jwt.SigningMethodRS256, keys.rsa, nil, goodClaims("", map[string]any{"iss": nil})),
		"issuer with a slash more":    signed(jwt.SigningMethodRS256, keys.rsa, nil, goodClaims("https://one/", nil)),
		"issuer in another case":      signed(jwt.SigningMethodRS256, keys.rsa, nil, goodClaims("https://ONE", nil)),
		"secret with a made-up name":  signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("https://three", nil)),
		"configured name, not issuer": signed(jwt.SigningMethodRS256, keys.rsa, nil, goodClaims("one", nil)),
	} {
		_, err := v.Verify(t.Context(), token)
		require.Error(t, err, name)
		requireCause(t, llm.CauseUnauthenticated, err)
	}
}

func TestVerifySeveralPublicKeys(t *testing.T) {
	t.Parallel()
	keys := keyring()
	issuer := keyIssuer("idp", keys.rsa)
	issuer.PublicKeys += publicPEM(keys.otherRSA) + publicPEM(keys.p256)
	v := newVerifier(t, issuer)
	for _, key := range []crypto.Signer{keys.rsa, keys.otherRSA} {
		_, err := v.Verify(t.Context(), signed(jwt.SigningMethodRS256, key, nil, goodClaims("https://idp", nil)))
		require.NoError(t, err)
	}
	_, err := v.Verify(t.Context(), signed(jwt.SigningMethodES256, keys.p256, nil, goodClaims("https://idp", nil)))
	require.NoError(t, err)
}

func TestCacheNeverOutlivesTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t, secretIssuer())
		token := signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("https://own", map[string]any{"exp": time.Now().Unix() + 60}))
		key := v.cacheKey(token)
		verify := func() error { _, err := v.Verify(t.Context(), token); return err }

		require.NoError(t, verify())
		_, cached := v.cached(key)
		require.True(t, cached)
		time.Sleep(60*time.Second - time.Nanosecond)
		_, cached = v.cached(key)
		require.True(t, cached)

		time.Sleep(time.Nanosecond) // exp: the leeway still lets it in, the cache does not
		_, cached = v.cached(key)
		require.False(t, cached)
		require.NoError(t, verify())
		_, cached = v.cached(key)
		require.False(t, cached)

		time.Sleep(DefaultLeeway)
		requireCause(t, llm.CauseUnauthenticated, verify())
	})
}

func TestCacheKeepsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t, secretIssuer())
		token := signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("https://own", map[string]any{"nbf": time.Now().Unix() + 100}))
		_, err := v.Verify(t.Context(), token)
		requireCause(t, llm.CauseUnauthenticated, err)
		time.Sleep(80 * time.Second)
		_, err = v.Verify(t.Context(), token)
		require.NoError(t, err)
	})
}

func TestCacheKeyHoldsTheConfiguration(t *testing.T) {
	t.Parallel()
	other := secretIssuer()
	other.Require = map[string]string{"tenant": "acme"}
	a, b := newVerifier(t, secretIssuer()), newVerifier(t, other)
	require.NotEqual(t, a.cacheKey("token"), b.cacheKey("token"))
	require.NotEqual(t, a.cacheKey("token"), a.cacheKey("tokeN"))
	require.Equal(t, a.cacheKey("token"), newVerifier(t, secretIssuer()).cacheKey("token"))
}

// TestFingerprintHoldsEveryField changes one field after the other.
func TestFingerprintHoldsEveryField(t *testing.T) {
	t.Parallel()
	base := fingerprint([]Issuer{{}})
	kind := reflect.TypeFor[Issuer]()
	for i := range kind.NumField() {
		changed := Issuer{}
		field := reflect.ValueOf(&changed).Elem().Field(i)
		switch value := field.Addr().Interface().(type) {
		case *string:
			*value = "x"
		case *bool:
			*value = true
		case *time.Duration:
			*value = 1
		case *[]string:
			*value = []string{"x"}
		case *map[string]string:
			*value = map[string]string{"x": "y"}
		case *secret.Secret:
			*value = secret.New("x")
		case *ClaimMap:
			value.Roles = "x"
		case *[]Rule:
			*value = []Rule{{Specialists: []string{"x"}}}
		case *Domains:
			*value = must(ParseDomains([]string{"*.example.com"}))
		default:
			t.Fatalf("say how to change %s", kind.Field(i).Name)
		}
		require.NotEqual(t, base, fingerprint([]Issuer{changed}), kind.Field(i).Name)
	}
	require.NotEqual(t, fingerprint([]Issuer{{Secret: secret.New("x")}}), fingerprint([]Issuer{{Secret: secret.New("y")}}))
	require.NotEqual(t, base, fingerprint([]Issuer{{}, {}}))
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	v, err := New([]Issuer{secretIssuer()}, Options{CacheSize: 8})
	require.NoError(t, err)
	signer := must(NewSigner(secret.New(testSecret), "https://own", "tollgate"))
	for range 100 {
		_, err := v.Verify(t.Context(), must(signer.Mint(Claims{Subject: "x"})))
		require.NoError(t, err)
	}
	v.cache.CleanUp()
	require.LessOrEqual(t, v.cache.EstimatedSize(), 8)
}

type revokedIDs map[string]bool

func (r revokedIDs) Revoked(p *Principal) bool { return r[p.TokenID] }

func TestRevocationIsAskedOnEveryCall(t *testing.T) {
	t.Parallel()
	revoked := revokedIDs{}
	v, err := New([]Issuer{secretIssuer()}, Options{Revocations: revoked})
	require.NoError(t, err)
	token := signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("https://own", map[string]any{"jti": "t-1"}))
	_, err = v.Verify(t.Context(), token)
	require.NoError(t, err)
	revoked["t-1"] = true
	_, err = v.Verify(t.Context(), token) // a cache hit
	requireCause(t, llm.CauseUnauthenticated, err)
	delete(revoked, "t-1")
	_, err = v.Verify(t.Context(), token)
	require.NoError(t, err)
}

func BenchmarkVerifyHit(b *testing.B) {
	v, token := benchmarkToken(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyMiss(b *testing.B) {
	v, token := benchmarkToken(b)
	v.cache = nil
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkToken(b *testing.B) (*Verifier, string) {
	b.Helper()
	v := newVerifier(b, secretIssuer())
	token := must(must(NewSigner(secret.New(testSecret), "https://own", "tollgate")).Mint(Claims{
		Subject: "user-1", Email: "ada@example.com", Name: "Ada Lovelace", Roles: []string{"admin", "staff", "analyst"},
		Specialists: []string{"financial-analyst", "code-reviewer", "research-assistant", "openai/*", "anthropic/*"},
	}))
	b.Logf("token of %d bytes", len(token))
	return v, token
}

func TestVerifyHitIsCheap(t *testing.T) {
	v := newVerifier(t, secretIssuer())
	token := signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("https://own", nil))
	ctx := t.Context()
	allocs := testing.AllocsPerRun(100, func() { _, _ = v.Verify(ctx, token) })
	require.LessOrEqual(t, allocs, 1.0)
}
