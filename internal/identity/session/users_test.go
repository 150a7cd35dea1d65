package session

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
)

var boss = Actor{UserHash: "boss", RequestID: "req_1"}

// requireAudit checks the newest entry of the audit log.
func (r *replica) requireAudit(action, object, before, after string) {
	r.t.Helper()
	entries, err := r.db.ListAudit(context.Background(), "", 1)
	require.NoError(r.t, err)
	require.Len(r.t, entries, 1)
	got := entries[0]
	got.ID, got.Timestamp = "", time.Time{}
	require.Equal(r.t, database.AuditEntry{
		ActorHash: "boss", RequestID: "req_1", Action: action, Object: object, Before: before, After: after,
	}, got)
}

func TestBlock(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *replica) {
		ctx := t.Context()
		alice := identity.HashEmail("alice@example.com")
		pair, elsewhere, bob := r.open("alice@example.com"), r.open("alice@example.com"), r.open("bob@example.com")
		later := r.refreshed(pair)
		p := r.principal(pair.AccessToken)
		made, token := r.minted(p, TokenRequest{Name: "n"})

		require.NoError(t, r.Block(ctx, alice, boss))
		r.requireAudit("user.block", alice, `{"blocked":false}`, `{"blocked":true}`)
		r.requireOut(pair, later, elsewhere)
		_, err := r.verifier.Verify(ctx, token)
		requireCause(t, llm.CauseUnauthenticated, err)
		_, err = r.Open(ctx, person(t, "alice@example.com"))
		require.ErrorIs(t, err, identity.ErrBlocked)
		_, _, err = r.MintToken(ctx, p, TokenRequest{Name: "n", Lifetime: time.Hour}) // by a call that was under way
		requireCause(t, llm.CauseForbidden, err)
		require.True(t, r.Revoked(&identity.Principal{UserHash: alice, Issuer: "other"}), "another issuer's token")
		require.False(t, r.Revoked(r.principal(bob.AccessToken)))
		r.refreshed(bob)
		tokens, err := r.Tokens(ctx, alice)
		require.NoError(t, err)
		require.Len(t, tokens, 1, "they stay listed")
		require.Equal(t, made.ID, tokens[0].ID)
		require.NotNil(t, tokens[0].RevokedAt)
		require.NoError(t, r.Block(ctx, alice, boss))
		r.requireAudit("user.block", alice, `{"blocked":true}`, `{"blocked":true}`)

		require.NoError(t, r.Unblock(ctx, alice, boss))
		r.requireAudit("user.unblock", alice, `{"blocked":true}`, `{"blocked":false}`)
		require.False(t, r.Revoked(&identity.Principal{UserHash: alice}))
		r.requireOut(pair, later, elsewhere)
		_, err = r.verifier.Verify(ctx, token)
		requireCause(t, llm.CauseUnauthenticated, err)
		again := r.open("alice@example.com")
		r.principal(again.AccessToken)
		r.principal(r.refreshed(again).AccessToken)
		require.ErrorIs(t, r.Unblock(ctx, "nobody", boss), ErrNotFound)
	})
}

func TestBlockOfWhoNeverSignedIn(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *replica) {
		alice := identity.HashEmail("alice@example.com")
		require.NoError(t, r.Block(t.Context(), alice, boss))
		_, err := r.Open(t.Context(), person(t, "alice@example.com"))
		require.ErrorIs(t, err, identity.ErrBlocked)
		users, err := r.Users(t.Context(), "", 10)
		require.NoError(t, err)
		require.Len(t, users, 1)
		require.Nil(t, users[0].LastLoginAt)
		require.True(t, users[0].Blocked)
	})
}

func TestDelete(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *replica) {
		ctx := t.Context()
		alice := identity.HashEmail("alice@example.com")
		var forgotten []string
		fail := errors.New("conversations cannot be deleted now")
		r.o.Forget = []func(context.Context, string) error{
			func(_ context.Context, user string) error { forgotten = append(forgotten, user); return nil },
			func(context.Context, string) error { return fail },
		}
		pair, bob := r.open("alice@example.com"), r.open("bob@example.com")
		_, token := r.minted(r.principal(pair.AccessToken), TokenRequest{Name: "n"})

		requireCause(t, llm.CauseUnavailable, r.Delete(ctx, alice, boss))
		users, err := r.Users(ctx, "", 10)
		require.NoError(t, err)
		require.Len(t, users, 2, "so that it is tried again")
		fail = nil
		require.NoError(t, r.Delete(ctx, alice, boss))
		require.Equal(t, []string{alice, alice}, forgotten)
		r.requireAudit("user.delete", alice, `{"blocked":false}`, "")

		r.requireOut(pair)
		_, err = r.verifier.Verify(ctx, token)
		requireCause(t, llm.CauseUnauthenticated, err)
		users, err = r.Users(ctx, "", 10)
		require.NoError(t, err)
		require.Len(t, users, 1)
		require.Equal(t, identity.HashEmail("bob@example.com"), users[0].UserHash)
		tokens, err := r.Tokens(ctx, alice)
		require.NoError(t, err)
		require.Empty(t, tokens)
		_, _, err = r.db.Session(ctx, r.session(bob.RefreshToken).ID)
		require.NoError(t, err)
		r.refreshed(bob)

		again := r.open("alice@example.com") // a fresh start
		r.principal(again.AccessToken)
		r.refreshed(again)
	})
}

func TestUsersInPages(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *replica) {
		var want, got []string
		for _, address := range []string{"a@x.org", "b@x.org", "c@x.org", "d@x.org", "e@x.org"} {
			r.open(address)
			want = append(want, identity.HashEmail(address))
		}
		slices.Sort(want)
		for after := ""; ; {
			page, err := r.Users(t.Context(), after, 2)
			require.NoError(t, err)
			for _, user := range page {
				got = append(got, user.UserHash)
			}
			if len(page) < 2 {
				break
			}
			after = page[1].UserHash
		}
		require.Equal(t, want, got)
	})
}

// A log-in that races with blocking is either refused or ended.
func TestBlockingRacesWithSigningIn(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *replica) {
		alice := identity.HashEmail("alice@example.com")
		who := person(t, "alice@example.com")
		pairs := make(chan Pair, 200)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range cap(pairs) {
				pair, err := r.Open(t.Context(), who)
				if errors.Is(err, identity.ErrBlocked) {
					return
				}
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				pairs <- pair
			}
		}()
		pairs <- <-pairs
		if err := r.Block(t.Context(), alice, boss); err != nil {
			t.Errorf("block: %v", err)
		}
		<-done
		close(pairs)
		for pair := range pairs {
			r.requireOut(pair)
		}
	})
}
