package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testSecret    = "0123456789abcdef0123456789abcdef"
	anotherSecret = "fedcba9876543210fedcba9876543210"
)

// ring is one private key of every kind, made once.
type ring struct {
	rsa, otherRSA    *rsa.PrivateKey
	p256, p384, p521 *ecdsa.PrivateKey
	ed               ed25519.PrivateKey
}

var keyring = sync.OnceValue(func() ring {
	newRSA := func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) }
	newEC := func(c elliptic.Curve) *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(c, rand.Reader)) }
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(ed, err)
	return ring{newRSA(), newRSA(), newEC(elliptic.P256()), newEC(elliptic.P384()), newEC(elliptic.P521()), ed}
})

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func publicPEM(key crypto.Signer) string {
	der := must(x509.MarshalPKIXPublicKey(key.Public()))
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func newVerifier(t testing.TB, issuers ...Issuer) *Verifier {
	t.Helper()
	v, err := New(issuers, Options{})
	require.NoError(t, err)
	t.Cleanup(v.Close)
	return v
}

// goodClaims are what every issuer of these tests accepts, with changes; a nil
// change takes the claim out.
func goodClaims(issuer string, changes map[string]any) jwt.MapClaims {
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": issuer, "sub": "user-1", "aud": "tollgate",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

func signed(method jwt.SigningMethod, key any, header map[string]any, claims jwt.MapClaims) string {
	token := jwt.NewWithClaims(method, claims)
	maps.Copy(token.Header, header)
	return must(token.SignedString(key))
}

// rawHS256 signs header and payload as they are written, with testSecret.
func rawHS256(header, payload string) string { return rawSigned(header, payload, []byte(testSecret)) }

func rawSigned(header, payload string, key []byte) string {
	text := encode(header) + "." + encode(payload)
	return text + "." + encode(string(must(jwt.SigningMethodHS256.Sign(text, key))))
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func payload(claims jwt.MapClaims) string { return string(must(json.Marshal(claims))) }

// parts cuts a token at its dots.
func parts(token string) (header, claims, signature string) {
	p := strings.Split(token, ".")
	return p[0], p[1], p[2]
}

func requireCause(t testing.TB, want llm.Cause, err error) {
	t.Helper()
	judged, ok := errors.AsType[*llm.Error](err)
	require.True(t, ok, "got %v, want an *llm.Error", err)
	require.Equal(t, want, judged.Cause, "%v", err)
	require.NotEmpty(t, judged.Message)
}

func secretIssuer() Issuer {
	return Issuer{Name: "own", Issuer: "https://own", Audience: []string{"tollgate"}, Secret: secret.New(testSecret)}
}

func keyIssuer(name string, key crypto.Signer, algorithms ...string) Issuer {
	return Issuer{
		Name: name, Issuer: "https://" + name, Audience: []string{"tollgate"},
		PublicKeys: publicPEM(key), Algorithms: algorithms,
	}
}
