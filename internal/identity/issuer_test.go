package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/secret"
)

func TestNewRefusesBadConfiguration(t *testing.T) {
	t.Parallel()
	keys := keyring()
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(keys.p256))}))
	own := func(change func(*Issuer)) []Issuer { i := secretIssuer(); change(&i); return []Issuer{i} }
	public := func(change func(*Issuer)) []Issuer {
		i := keyIssuer("idp", keys.rsa)
		change(&i)
		return []Issuer{i}
	}
	jwks := func(address string) []Issuer { return []Issuer{jwksIssuer(address)} }
	for name, c := range map[string]struct {
		issuers []Issuer
		want    string
	}{
		"none":                       {nil, "no issuer"},
		"no name":                    {own(func(i *Issuer) { i.Name = "" }), "needs a name"},
		"no key":                     {own(func(i *Issuer) { i.Secret = secret.Secret{} }), "exactly one"},
		"two kinds of key":           {own(func(i *Issuer) { i.PublicKeys = publicPEM(keys.rsa) }), "exactly one"},
		"short secret":               {own(func(i *Issuer) { i.Secret = secret.New(testSecret[:31]) }), "openssl rand -base64 48"},
		"leeway too long":            {own(func(i *Issuer) { i.Leeway = MaxLeeway + 1 }), "leeway"},
		"empty audience":             {own(func(i *Issuer) { i.Audience = []string{""} }), "audience"},
		"audience and any":           {own(func(i *Issuer) { i.AnyAudience = true }), "not both"},
		"unknown algorithm":          {own(func(i *Issuer) { i.Algorithms = []string{"HS257"} }), "HS257"},
		"none as algorithm":          {own(func(i *Issuer) { i.Algorithms = []string{"none"} }), "none"},
		"algorithm in another case":  {own(func(i *Issuer) { i.Algorithms = []string{"hs256"} }), "hs256"},
		"rsa algorithm for a secret": {own(func(i *Issuer) { i.Algorithms = []string{"HS256", "RS256"} }), "RS256"},
		"secret algorithm for rsa":   {public(func(i *Issuer) { i.Algorithms = []string{"HS256"} }), "suits"},
		"no algorithm for a key":     {public(func(i *Issuer) { i.Algorithms, i.PublicKeys = []string{"ES256"}, i.PublicKeys+publicPEM(keys.p256) }), "suits"},
		"public keys, no iss":        {public(func(i *Issuer) { i.Issuer = "" }), "iss"},
		"public keys, no audience":   {public(func(i *Issuer) { i.Audience = nil }), "audience"},
		"private key":                {public(func(i *Issuer) { i.PublicKeys = private }), "private key"},
		"not pem":                    {public(func(i *Issuer) { i.PublicKeys = "secret" }), "not PEM"},
		"pem and more":               {public(func(i *Issuer) { i.PublicKeys += "-----BEGIN" }), "not PEM"},
		"key on a weak curve":        {public(func(i *Issuer) { i.PublicKeys = publicPEM(must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))) }), "cannot verify"},
		"pem of something else":      {public(func(i *Issuer) { i.PublicKeys = "-----BEGIN X-----\nAAAA\n-----END X-----\n" }), "not a public key"},
		"pem with a broken key":      {public(func(i *Issuer) { i.PublicKeys = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n" }), "public key 1"},
		"two with one iss":           {[]Issuer{secretIssuer(), {Name: "b", Issuer: "https://own", Secret: secret.New(anotherSecret)}}, "same \"iss\""},
		"two without iss":            {[]Issuer{{Name: "a", Secret: secret.New(testSecret)}, {Name: "b", Secret: secret.New(anotherSecret)}}, "same \"iss\""},
		"two with one name":          {[]Issuer{secretIssuer(), {Name: "own", Issuer: "https://b", Secret: secret.New(anotherSecret)}}, "name"},
		"jwks over http":             {jwks("http://idp.example/keys"), "https"},
		"jwks, host like loopback":   {jwks("http://localhost.example/keys"), "https"},
		"jwks in a file":             {jwks("file:///etc/keys"), "https"},
		"jwks without host":          {jwks("https:///keys"), "https"},
		"jwks with a password":       {jwks("https://u:hunter2@idp.example/keys"), "password"},
		"jwks not a url":             {jwks("https://idp.example/%zz"), "not a URL"},
		"jwks and hmac": {func() []Issuer {
			i := jwksIssuer("https://idp.example")
			i.Algorithms = []string{"RS256", "HS256"}
			return []Issuer{i}
		}(), "HS256"},
		"jwks keys too short": {func() []Issuer {
			i := jwksIssuer("https://idp.example")
			i.MaxKeyAge = DefaultRefreshInterval - time.Second
			return []Issuer{i}
		}(), "run out"},
		"jwks keys negative": {func() []Issuer {
			i := jwksIssuer("https://idp.example")
			i.MaxKeyAge = -time.Hour
			return []Issuer{i}
		}(), "run out"},
		"jwks too often": {func() []Issuer {
			i := jwksIssuer("https://idp.example")
			i.RefreshInterval = time.Millisecond
			return []Issuer{i}
		}(), "1s"},
	} {
		_, err := New(c.issuers, Options{})
		require.Error(t, err, name)
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), testSecret[:31])
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestNewAcceptsLoopbackJWKS(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"http://127.0.0.1:8180/keys", "http://localhost/keys", "http://[::1]:9/keys", "https://idp.example/keys?v=2"} {
		v, err := New([]Issuer{jwksIssuer(address)}, Options{})
		require.NoError(t, err, address)
		v.Close()
	}
}

func TestLeewayCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	issuer := secretIssuer()
	issuer.Leeway = -1
	v := newVerifier(t, issuer)
	_, err := v.Verify(t.Context(), rawHS256(`{"alg":"HS256"}`, payload(goodClaims("https://own", map[string]any{"exp": time.Now().Unix() - 1}))))
	require.Error(t, err)
}
