package identity

import (
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/secret"
)

// revokedThings are what a registry would know.
type revokedThings map[string]bool

func (r revokedThings) Revoked(p *Principal) bool {
	return r[p.TokenID] || r[p.Session] || r[p.UserHash]
}

// portalVictim is a gateway with log-ins: it signs tokens of its own, takes those
// of an older backend that have no "iss", and those of another issuer.
func portalVictim(t testing.TB) victim {
	t.Helper()
	own := secretIssuer()
	own.Own, own.Audience = true, nil
	own.Domains = must(ParseDomains([]string{"example.com"}))
	own.People = map[string]string{"ada@example.com": RoleAdmin}
	bare := Issuer{Name: "secret", Secret: secret.New(testSecret)}
	idp := keyIssuer("idp", keyring().ed)
	idp.Require = map[string]string{"tenant": "acme"}
	v, err := New([]Issuer{own, bare, idp}, Options{Revocations: revokedThings{
		"gone-token": true, "gone-session": true, HashEmail("gone@example.com"): true, IDOf(withoutID()): true,
		Hasher{}.hashSubject("https://idp", "gone"): true,
	}})
	require.NoError(t, err)
	t.Cleanup(v.Close)
	return victim{
		Verifier: v,
		genuine: map[string]string{
			"log-in":                    ours(map[string]any{"sid": "s-1", "email": "ada@example.com", "jti": "t-1"}),
			"API token":                 ours(map[string]any{"kind": "api", "email": "bob@example.com", "jti": "t-2", "rate": "10/h", "roles": "admin"}),
			"operator's":                ours(map[string]any{"jti": "t-3", "email": "batch@elsewhere.example"}),
			"older backend's":           olds(map[string]any{"email": "eve@elsewhere.example", "sid": "s-9", "type": "access"}),
			"another issuer's":          theirs(map[string]any{"kind": "login", "sid": 7, "rate": []int{1}, "jti": "t-4"}),
			"another's, not verified":   theirs(map[string]any{"email": "gone@example.com", "email_verified": false}),
			"another's, of any domain":  theirs(map[string]any{"email": "x@elsewhere.example", "sid": "s-6"}),
			"another's, called refresh": theirs(map[string]any{"sub": "refresh", "scope": "refresh offline"}),
		},
		attacks: portalAttacks(),
	}
}

// withoutID is a token that can only be revoked by what it says.
var withoutID = sync.OnceValue(func() string { return ours(map[string]any{"sid": "s-5", "email": "ada@example.com"}) })

// ours, olds and theirs are tokens of the gateway, of the older backend, and of
// the other issuer, correctly signed.
func ours(claims map[string]any) string {
	return signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("https://own", claims))
}

func olds(claims map[string]any) string {
	bare := goodClaims("", claims)
	delete(bare, "iss")
	return signed(jwt.SigningMethodHS256, []byte(testSecret), nil, bare)
}

func theirs(claims map[string]any) string {
	good := goodClaims("https://idp", map[string]any{"tenant": "acme"})
	maps.Copy(good, claims)
	return signed(jwt.SigningMethodEdDSA, keyring().ed, nil, good)
}

func portalAttacks() []attack {
	refresh := "tgr_" + base64.RawURLEncoding.EncodeToString(make([]byte, 56))
	attacks := []attack{
		{"revoked token", ours(map[string]any{"jti": "gone-token"})},
		{"revoked token of another issuer", theirs(map[string]any{"jti": "gone-token"})},
		{"revoked token without id", withoutID()},
		{"revoked session", ours(map[string]any{"jti": "t-9", "sid": "gone-session", "email": "bob@example.com"})},
		{"revoked user", ours(map[string]any{"jti": "t-10", "sid": "s-3", "email": "Gone@example.com"})},
		{"revoked user, API token", ours(map[string]any{"kind": "api", "email": "gone@example.com"})},
		{"revoked user, API token without address", ours(map[string]any{"kind": "api", "sub": HashEmail("gone@example.com")})},
		{"revoked user at another issuer", theirs(map[string]any{"email": "gone@example.com"})},
		{"revoked subject at another issuer", theirs(map[string]any{"sub": "gone"})},
		{"domain no longer allowed", ours(map[string]any{"sid": "s-2", "email": "ada@example.org"})},
		{"domain no longer allowed, API token", ours(map[string]any{"kind": "api", "email": "ada@example.org"})},
		{"domain below the allowed one", ours(map[string]any{"sid": "s-2", "email": "ada@eu.example.com"})},
		{"domain that ends like the allowed one", ours(map[string]any{"sid": "s-2", "email": "ada@evilexample.com"})},
		{"domain with a Cyrillic letter", ours(map[string]any{"sid": "s-2", "email": "ada@ex\u0430mple.com"})},
		{"domain with a trailing dot", ours(map[string]any{"sid": "s-2", "email": "ada@example.com."})},
		{"address with two domains", ours(map[string]any{"sid": "s-2", "email": "ada@example.org@example.com"})},
		{"log-in whose address is not verified", ours(map[string]any{"sid": "s-2", "email": "ada@example.com", "email_verified": false})},
		{"log-in without an address", ours(map[string]any{"sid": "s-2"})},
		{"session a number", ours(map[string]any{"sid": 1})},
		{"rate a number", ours(map[string]any{"rate": 1000})},
		{"API token whose iss was left out", olds(map[string]any{"kind": "api", "roles": "admin"})},
		{"kind without iss", olds(map[string]any{"kind": "session"})},
		{"refresh token of an older backend", olds(map[string]any{"type": "refresh"})},
		{"refresh token of an older backend, another name", olds(map[string]any{"token_type": "refresh_token"})},
		{"refresh token of another issuer", theirs(map[string]any{"typ": "Refresh"})},
		{"refresh token as we make them", refresh},
		{"log-in state by mail", "email:" + base64.RawURLEncoding.EncodeToString(make([]byte, 80))},
		{"log-in state by provider", base64.RawURLEncoding.EncodeToString(make([]byte, 120))},
		{"one-time code", "ABCD-EFGH"},
		{"another issuer's without its tenant", theirs(map[string]any{"tenant": "evil"})},
		{"another issuer's with our iss", signed(jwt.SigningMethodEdDSA, keyring().ed, nil, goodClaims("https://own", nil))},
		{"another issuer's without iss", signed(jwt.SigningMethodEdDSA, keyring().ed, nil, goodClaims("", map[string]any{"iss": nil}))},
		{"ours with the other issuer's iss", signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("https://idp", map[string]any{"tenant": "acme"}))},
		{"iss null, which is not absent to some", rawHS256(`{"alg":"HS256"}`, strings.Replace(payload(goodClaims("https://own", map[string]any{"kind": "api"})), `"https://own"`, `null`, 1))},
	}
	for _, kind := range []any{"refresh", "access", "API", "api ", "login", "state", "email", "session", "admin", 1, true, []string{"api"}, map[string]any{"api": 1}} {
		attacks = append(attacks, attack{fmt.Sprintf("kind %v (%T)", kind, kind), ours(map[string]any{"kind": kind})})
	}
	for _, typ := range []string{"refresh+jwt", "rt+jwt", "JWE", "id_token", "application/jose", "jwt+refresh"} {
		attacks = append(attacks, attack{"our key, type " + typ, signed(jwt.SigningMethodHS256, []byte(testSecret), map[string]any{"typ": typ}, goodClaims("https://own", nil))})
	}
	return attacks
}

// TestGenuinePortalTokensAreWhatTheySay looks at the controls of the attacks.
func TestGenuinePortalTokensAreWhatTheySay(t *testing.T) {
	t.Parallel()
	v := portalVictim(t)
	verify := func(name string) *Principal {
		p, err := v.Verify(t.Context(), v.genuine[name])
		require.NoError(t, err, name)
		return p
	}
	p := verify("log-in")
	require.Equal(t, []string{"s-1", RoleAdmin}, []string{p.Session, p.Role()})
	p = verify("API token")
	require.Equal(t, KindAPI, p.Kind)
	require.Equal(t, "10/h", p.Rate)
	require.Equal(t, RoleUser, p.Role(), "whatever it says")
	require.False(t, p.HasRole(RoleAdmin))
	for _, name := range []string{"older backend's", "another issuer's", "another's, of any domain"} {
		p = verify(name)
		require.Empty(t, string(p.Kind)+p.Session+p.Rate, name)
	}
	require.Empty(t, verify("another's, not verified").EmailHash)
}

// remoteVictim takes tokens by the keys of a JWKS that has more in it than good
// keys.
func remoteVictim(t testing.TB) victim {
	t.Helper()
	keys := keyring()
	server := &keyServer{}
	weak := map[string]any{"kty": "RSA", "kid": "weak", "e": "AQAB", "n": encode(string(new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 1024), big.NewInt(105)).Bytes()))}
	zero := map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": "zero", "x": encode(string(make([]byte, 32)))}
	server.serve(
		jwk("r", keys.rsa, map[string]any{"alg": "RS256", "use": "sig"}), jwk("e", keys.p256, nil), jwk("d", keys.ed, nil), weak, zero,
		jwk("enc", keys.otherRSA, map[string]any{"use": "enc"}), map[string]any{"kty": "oct", "kid": "o", "k": encode(testSecret)})
	v, err := New([]Issuer{jwksIssuer("https://idp.example/keys"), keyIssuer("other", keys.otherRSA)}, Options{Transport: server})
	require.NoError(t, err)
	t.Cleanup(v.Close)
	return victim{
		Verifier: v,
		genuine: map[string]string{
			"rs256": token(jwt.SigningMethodRS256, keys.rsa, "r"), "es256": token(jwt.SigningMethodES256, keys.p256, "e"),
			"eddsa": token(jwt.SigningMethodEdDSA, keys.ed, "d"), "without a kid": token(jwt.SigningMethodES256, keys.p256, ""),
			"other": signed(jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"kid": "r"}, goodClaims("https://other", nil)),
		},
		attacks: remoteAttacks(),
	}
}

func remoteAttacks() []attack {
	keys := keyring()
	claims := goodClaims("https://idp", map[string]any{"exp": time.Now().Unix() + 600})
	with := func(method jwt.SigningMethod, key any, header map[string]any) string {
		return signed(method, key, header, claims)
	}
	pemText := publicPEM(keys.rsa)
	der := must(x509.MarshalPKIXPublicKey(keys.rsa.Public()))
	certificate := base64.StdEncoding.EncodeToString(der)
	header, body, _ := parts(with(jwt.SigningMethodEdDSA, keys.ed, map[string]any{"kid": "zero"}))
	attacks := []attack{
		{"published hmac secret", with(jwt.SigningMethodHS256, []byte(testSecret), map[string]any{"kid": "o"})},
		{"hs256 with the pem of r", with(jwt.SigningMethodHS256, []byte(pemText), map[string]any{"kid": "r"})},
		{"hs256 with the der of r", with(jwt.SigningMethodHS256, der, map[string]any{"kid": "r"})},
		{"hs256 with the x of d", with(jwt.SigningMethodHS256, []byte(keys.ed.Public().(ed25519.PublicKey)), map[string]any{"kid": "d"})},
		{"rs512 with the rs256 key", with(jwt.SigningMethodRS512, keys.rsa, map[string]any{"kid": "r"})},
		{"ps256 with the rs256 key", with(jwt.SigningMethodPS256, keys.rsa, map[string]any{"kid": "r"})},
		{"key for encryption", with(jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"kid": "enc"})},
		{"key of the other issuer under our id", with(jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"kid": "r"})},
		{"our key at the other issuer", signed(jwt.SigningMethodRS256, keys.rsa, map[string]any{"kid": "r"}, goodClaims("https://other", nil))},
		{"rsa key of 1024 bits", with(jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"kid": "weak"})},
		{"ed25519 key of zeros, signature of zeros", header + "." + body + "." + encode(string(make([]byte, 64)))},
		{"ed25519 key of zeros, identity point", header + "." + body + "." + encode(string(append([]byte{1}, make([]byte, 63)...)))},
		{"ec signature under the rsa id", with(jwt.SigningMethodES256, keys.p256, map[string]any{"kid": "r"})},
		{"kid huge", with(jwt.SigningMethodRS256, keys.rsa, map[string]any{"kid": strings.Repeat("k", 10_000)})},
		{"jku of the attacker", with(jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"kid": "evil", "jku": "https://evil.example/keys"})},
		{"jku beside a known kid", with(jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"kid": "r", "jku": "https://idp.example/keys"})},
		{"x5u of the attacker", with(jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"kid": "r", "x5u": "https://evil.example/c.pem"})},
		{"jwk of the attacker", with(jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"kid": "r", "jwk": jwkOf(&keys.otherRSA.PublicKey)})},
		{"jwk of the attacker, no kid", with(jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"jwk": jwkOf(&keys.otherRSA.PublicKey)})},
		{"jwk in place of the kid", with(jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"kid": jwkOf(&keys.otherRSA.PublicKey)})},
		{"x5c of the attacker", with(jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"kid": "r", "x5c": []string{certificate}})},
		{"x5t of r", with(jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"x5t": "r", "x5t#S256": "r"})},
		{"none with a known kid", encode(`{"alg":"none","kid":"r"}`) + "." + body + "."},
		{"no kid, several rsa keys or not", with(jwt.SigningMethodRS256, keys.otherRSA, nil)},
	}
	for _, kid := range []string{"../r", "r\x00", "r ", "R", "/dev/null", "https://idp.example/keys#r", "r' OR '1'='1", "${r}", "r\n", "ｒ", "*", ".", "%72"} {
		attacks = append(attacks, attack{fmt.Sprintf("kid %q", kid), with(jwt.SigningMethodRS256, keys.rsa, map[string]any{"kid": kid})})
	}
	for name, kid := range map[string]any{"a number": 0, "a list": []string{"r"}, "true": true, "an object": map[string]any{"kid": "r"}} {
		attacks = append(attacks, attack{"kid " + name, with(jwt.SigningMethodRS256, keys.rsa, map[string]any{"kid": kid})})
	}
	return attacks
}

func jwkOf(key *rsa.PublicKey) map[string]any {
	return map[string]any{"kty": "RSA", "n": encode(string(key.N.Bytes())), "e": "AQAB", "alg": "RS256"}
}
