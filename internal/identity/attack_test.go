package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
)

// target is a verifier with an issuer of each kind of key, and one genuine
// token of each, which an attacker may hold.
type target struct {
	*Verifier
	hs, rs, es, ed string
}

func newTarget(t testing.TB) target {
	t.Helper()
	keys := keyring()
	v := newVerifier(t, secretIssuer(), keyIssuer("rsa", keys.rsa), keyIssuer("ec", keys.p256), keyIssuer("ed", keys.ed))
	return target{
		Verifier: v,
		hs:       signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("https://own", nil)),
		rs:       signed(jwt.SigningMethodRS256, keys.rsa, nil, goodClaims("https://rsa", nil)),
		es:       signed(jwt.SigningMethodES256, keys.p256, nil, goodClaims("https://ec", nil)),
		ed:       signed(jwt.SigningMethodEdDSA, keys.ed, nil, goodClaims("https://ed", nil)),
	}
}

// attack is a token that must not pass.
type attack struct{ name, token string }

// victim is a verifier that is attacked, and the genuine tokens that it accepts:
// an attacker may hold some of them, and without them nothing would show that the
// attacks fail for what is bent in them.
type victim struct {
	*Verifier
	genuine map[string]string
	attacks []attack
}

func keyVictim(t testing.TB) victim {
	v := newTarget(t)
	return victim{
		Verifier: v.Verifier,
		genuine:  map[string]string{"hs256": v.hs, "rs256": v.rs, "es256": v.es, "eddsa": v.ed},
		attacks:  slices.Concat(forgedSignatures(v), confusedAlgorithms(v), bentHeaders(), bentClaims(), bentEncodings(v)),
	}
}

// TestAttacks sends forged, bent and misused tokens. None may pass, neither on a
// fresh verifier nor on one that has just accepted and cached the genuine ones.
func TestAttacks(t *testing.T) {
	t.Parallel()
	sent, accepted := 0, 0
	for family, build := range map[string]func(testing.TB) victim{"keys": keyVictim, "portal": portalVictim, "key sets": remoteVictim} {
		fresh, warm := build(t), build(t)
		requireGenuine(t, warm)
		require.GreaterOrEqual(t, len(warm.attacks), 15)
		names := make(map[string]bool)
		for _, attack := range warm.attacks {
			require.False(t, names[attack.name], "two attacks are called %q", attack.name)
			names[attack.name] = true
			sent++
			t.Run(family+": "+attack.name, func(t *testing.T) {
				for range 2 {
					accepted += tryAttack(t, fresh.Verifier, attack.token)
					accepted += tryAttack(t, warm.Verifier, attack.token)
				}
			})
		}
		requireGenuine(t, warm)
		requireGenuine(t, fresh)
	}
	t.Logf("%d attacks", sent)
	require.GreaterOrEqual(t, sent, 60)
	require.Zero(t, accepted)
}

func tryAttack(t *testing.T, v *Verifier, token string) (accepted int) {
	t.Helper()
	p, err := v.Verify(t.Context(), token)
	if err == nil {
		t.Errorf("accepted as %v", p)
		return 1
	}
	require.Nil(t, p)
	requireCause(t, llm.CauseUnauthenticated, err)
	require.Equal(t, http.StatusUnauthorized, llm.CauseUnauthenticated.Status())
	return 0
}

func requireGenuine(t *testing.T, v victim) {
	t.Helper()
	for name, token := range v.genuine {
		for range 2 { // the second time out of the cache
			_, err := v.Verify(t.Context(), token)
			require.NoError(t, err, name)
		}
	}
}

// TestAttacksOnTheCache gives a verifier the memory of one with another
// configuration: what that one believed counts for nothing.
func TestAttacksOnTheCache(t *testing.T) {
	t.Parallel()
	token := signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("https://own", map[string]any{"email": "a@example.com", "sid": "s"}))
	own := secretIssuer()
	own.Own = true
	old := newVerifier(t, own)
	_, err := old.Verify(t.Context(), token)
	require.NoError(t, err)
	for name, change := range map[string]func(*Issuer){
		"another secret":   func(i *Issuer) { i.Secret = secret.New(anotherSecret) },
		"another audience": func(i *Issuer) { i.Audience = []string{"billing"} },
		"a required claim": func(i *Issuer) { i.Require = map[string]string{"tenant": "acme"} },
		"another iss":      func(i *Issuer) { i.Issuer = "https://elsewhere" },
		"other algorithms": func(i *Issuer) { i.Algorithms = []string{"HS512"} },
		"other domains":    func(i *Issuer) { i.Domains = must(ParseDomains([]string{"example.org"})) },
		"another subject":  func(i *Issuer) { i.Claims.Subject = "uid" },
	} {
		changed := own
		change(&changed)
		v := newVerifier(t, changed)
		v.cache = old.cache
		_, err := v.Verify(t.Context(), token)
		require.Error(t, err, name)
		requireCause(t, llm.CauseUnauthenticated, err)
	}
	same := newVerifier(t, own)
	same.cache = old.cache
	_, err = same.Verify(t.Context(), token)
	require.NoError(t, err)
}

func TestWeakKeysAreRefusedAtConfiguration(t *testing.T) {
	t.Parallel()
	// crypto/rsa makes no such key any more; its modulus is all that counts here.
	weak := &rsa.PublicKey{N: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 1024), big.NewInt(105)), E: 65537}
	der := must(x509.MarshalPKIXPublicKey(weak))
	issuer := keyIssuer("idp", keyring().rsa)
	issuer.PublicKeys = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	_, err := New([]Issuer{issuer}, Options{})
	require.ErrorContains(t, err, "1024 bits")

	for _, text := range []string{"", "secret", "changeme", strings.Repeat("x", MinSecretBytes-1)} {
		own := secretIssuer()
		own.Secret = secret.New(text)
		_, err := New([]Issuer{own}, Options{})
		require.Error(t, err, "%q", text)
	}

	// Under an Ed25519 key of small order everybody can sign something.
	for _, point := range smallOrderPoints() {
		der := must(x509.MarshalPKIXPublicKey(ed25519.PublicKey(point)))
		issuer.PublicKeys = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		_, err := New([]Issuer{issuer}, Options{})
		require.ErrorContains(t, err, "small order", "%x", point)
	}
}

// smallOrderPoints are the encodings of points whose order divides 8, with those
// that are not canonical.
func smallOrderPoints() (points [][]byte) {
	for _, text := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		point := must(hex.DecodeString(text))
		negative := bytes.Clone(point)
		negative[31] |= 0x80
		points = append(points, point, negative)
	}
	return points
}

// TestErrorsHoldNoToken makes sure that what is logged of a refused token is
// none of its contents.
func TestErrorsHoldNoToken(t *testing.T) {
	t.Parallel()
	v := newTarget(t)
	for _, claims := range []map[string]any{{"email": []string{"ada@example.com"}}, {"aud": "ada@example.com"}, {"iss": "ada@example.com"}, {"exp": "ada@example.com"}, {"sub": "ada@example.com\n"}} {
		token := rawHS256(`{"alg":"HS256"}`, payload(goodClaims("https://own", claims)))
		_, err := v.Verify(t.Context(), token)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "ada@")
		require.NotContains(t, err.Error(), token)
	}
}

func FuzzVerify(f *testing.F) {
	// Some of one victim's attacks are good at another: their keys are the same.
	// What the fuzzer makes of them is good nowhere.
	victims := []victim{keyVictim(f), portalVictim(f), remoteVictim(f)}
	seeds := make(map[string]bool)
	for _, v := range victims {
		for _, a := range v.attacks {
			seeds[a.token] = true
		}
		for _, token := range v.genuine {
			seeds[token] = true
		}
	}
	for token := range seeds {
		if len(token) < 4096 {
			f.Add(token)
		}
	}
	f.Fuzz(func(t *testing.T, token string) {
		for _, v := range victims {
			p, err := v.Verify(t.Context(), token)
			if err == nil && !seeds[token] {
				t.Fatalf("accepted %q as %v", token, p)
			}
			if err != nil {
				requireCause(t, llm.CauseUnauthenticated, err)
			}
		}
	})
}
