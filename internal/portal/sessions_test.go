package portal

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/revocation"
	"github.com/financecommander/tollgate/internal/identity/session"
)

func newDatabase(t *testing.T) *database.DB {
	t.Helper()
	db, err := database.Open("sqlite://:memory:", database.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	return db
}

// newSessions keeps people signed in, changed by edit.
func newSessions(t *testing.T, db *database.DB, edit func(*session.Options)) *session.Manager {
	t.Helper()
	signer, err := identity.NewSigner(testSecret, "tollgate")
	require.NoError(t, err)
	o := session.Options{Store: db, Signer: signer, Secret: testSecret, Revocations: revocation.New(revocation.Options{})}
	if edit != nil {
		edit(&o)
	}
	sessions, err := session.New(o)
	require.NoError(t, err)
	return sessions
}

// site is a portal behind a verifier, as callers see it.
type site struct {
	t        *testing.T
	portal   *Handler
	verifier *identity.Verifier
	db       *database.DB
}

func newSite(t *testing.T, edit func(*session.Options)) *site {
	t.Helper()
	db, registry := newDatabase(t), revocation.New(revocation.Options{})
	sessions := newSessions(t, db, func(o *session.Options) {
		o.Revocations = registry
		if edit != nil {
			edit(o)
		}
	})
	verifier, err := identity.New([]identity.Issuer{{Name: "tollgate", Issuer: "tollgate", Own: true, Secret: testSecret}},
		identity.Options{Revocations: registry})
	require.NoError(t, err)
	t.Cleanup(verifier.Close)
	portal := newHandler(t, func(o *Options) { o.Auth.Sessions, o.Auth.Audit = sessions, db })
	return &site{t, portal, verifier, db}
}

// open signs somebody in.
func (s *site) open(address string, roles ...string) session.Pair {
	s.t.Helper()
	parsed, ok := identity.ParseAddress(address)
	require.True(s.t, ok)
	pair, err := s.portal.o.Auth.Sessions.Open(context.Background(), session.Person{Address: parsed, Name: "Somebody", Provider: "email", Roles: roles})
	require.NoError(s.t, err)
	return pair
}

// principal is whom a token names; nil when it is not good.
func (s *site) principal(token string) *identity.Principal {
	p, err := s.verifier.Verify(context.Background(), token)
	if err != nil {
		return nil
	}
	return p
}

// call sends a request with a token; a bad one is as none.
func (s *site) call(token, method, target, body string, status int) map[string]any {
	s.t.Helper()
	w := call(s.portal, s.principal(token), method, target, body)
	if status >= 400 {
		return requireProblem(s.t, w, status)
	}
	return object(s.t, w, status)
}

func newLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
