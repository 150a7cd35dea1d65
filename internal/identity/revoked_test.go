package identity_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/revocation"
	"github.com/financecommander/tollgate/internal/secret"
)

// TestRevokedTokensAreRefusedAtOnce has a verifier ask a real registry, also for
// tokens that it has just accepted and remembers.
func TestRevokedTokensAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	key := secret.New("0123456789abcdef0123456789abcdef")
	signer, err := identity.NewSigner(key, "tollgate")
	require.NoError(t, err)
	registry := revocation.New(revocation.Options{})
	v, err := identity.New([]identity.Issuer{{Name: "tollgate", Issuer: "tollgate", Own: true, Secret: key}}, identity.Options{Revocations: registry})
	require.NoError(t, err)
	t.Cleanup(v.Close)

	user := identity.HashEmail("ada@example.com")
	mint := func(session string, kind identity.Kind) (string, *identity.Principal) {
		token, err := signer.Mint(identity.Claims{Subject: user, Email: "ada@example.com", Session: session, Kind: kind})
		require.NoError(t, err)
		p, err := v.Verify(t.Context(), token)
		require.NoError(t, err)
		return token, p
	}
	later := time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		kind  identity.Kind
		entry func(p *identity.Principal) revocation.Entry
	}{
		"token": {identity.KindAccess, func(p *identity.Principal) revocation.Entry {
			return revocation.Entry{Kind: revocation.Token, Value: p.TokenID}
		}},
		"api token": {identity.KindAPI, func(p *identity.Principal) revocation.Entry {
			return revocation.Entry{Kind: revocation.Token, Value: p.TokenID}
		}},
		"session": {identity.KindAccess, func(p *identity.Principal) revocation.Entry {
			return revocation.Entry{Kind: revocation.Session, Value: p.Session}
		}},
	} {
		token, p := mint("s-"+name, c.kind)
		other, _ := mint("other", identity.KindAccess)
		entry := c.entry(p)
		entry.ExpiresAt = later
		require.NoError(t, registry.Revoke(t.Context(), entry))
		_, err := v.Verify(t.Context(), token)
		require.ErrorContains(t, err, "withdrawn", name)
		_, err = v.Verify(t.Context(), other)
		require.NoError(t, err, name)
	}

	access, p := mint("s", identity.KindAccess)
	api, _ := mint("", identity.KindAPI)
	require.NoError(t, registry.Revoke(t.Context(), revocation.Entry{Kind: revocation.User, Value: p.UserHash, IssuedBefore: time.Now(), ExpiresAt: later}))
	for _, token := range []string{access, api} {
		_, err := v.Verify(t.Context(), token)
		require.ErrorContains(t, err, "withdrawn")
	}
}
