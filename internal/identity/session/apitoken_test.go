package session

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/testenv"
)

// minted makes an API token, which must succeed.
func (r *replica) minted(p *identity.Principal, req TokenRequest) (APIToken, string) {
	r.t.Helper()
	if req.Lifetime == 0 {
		req.Lifetime = time.Hour
	}
	t, token, err := r.MintToken(context.Background(), p, req)
	require.NoError(r.t, err)
	return t, token
}

func TestAPITokens(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *replica) {
		ctx := t.Context()
		alice := r.principal(r.open("alice@example.com", "admin").AccessToken)
		made, token := r.minted(alice, TokenRequest{
			Name: "ci", Specialists: []string{"legal-quick", "openai/*"}, Rate: "100/h", Lifetime: 365 * 24 * time.Hour,
		})
		require.Equal(t, made.CreatedAt.Add(365*24*time.Hour), made.ExpiresAt)

		p := r.principal(token)
		require.Equal(t, alice.UserHash, p.UserHash)
		require.Equal(t, alice.EmailHash, p.EmailHash)
		require.Equal(t, made.ID, p.TokenID)
		require.Equal(t, identity.KindAPI, p.Kind)
		require.Equal(t, identity.RoleUser, p.Role())
		require.Empty(t, p.Roles)
		require.Empty(t, p.Session)
		require.Equal(t, "100/h", p.Rate)
		require.Equal(t, []string{"legal-quick", "openai/*"}, p.Specialists)
		require.WithinDuration(t, made.ExpiresAt, p.ExpiresAt, time.Second)

		_, all := r.minted(alice, TokenRequest{Name: "all"})
		require.Nil(t, r.principal(all).Specialists)

		tokens, err := r.Tokens(ctx, alice.UserHash)
		require.NoError(t, err)
		require.Len(t, tokens, 2)
		require.Contains(t, tokens, made)
		none, err := r.Tokens(ctx, "nobody")
		require.NoError(t, err)
		require.Empty(t, none)

		require.ErrorIs(t, r.RevokeToken(ctx, made.ID, "somebody else", nil), ErrNotFound)
		require.ErrorIs(t, r.RevokeToken(ctx, "no such", alice.UserHash, nil), ErrNotFound)
		r.principal(token)
		require.NoError(t, r.RevokeToken(ctx, made.ID, alice.UserHash, nil))
		_, err = r.verifier.Verify(ctx, token)
		requireCause(t, llm.CauseUnauthenticated, err)
		require.NoError(t, r.RevokeToken(ctx, made.ID, alice.UserHash, nil), "twice is no error")
		r.principal(all)

		entries, err := r.db.ListAudit(ctx, "", 10)
		require.NoError(t, err)
		require.Empty(t, entries, "what people do with what is theirs is not in the log of admins")
		boss := Actor{UserHash: "boss", RequestID: "req_1"}
		require.NoError(t, r.RevokeToken(ctx, r.principal(all).TokenID, boss.UserHash, &boss))
		entries, err = r.db.ListAudit(ctx, "", 10)
		require.NoError(t, err)
		require.Len(t, entries, 1)
		require.Equal(t, "token.revoke", entries[0].Action)
		require.Equal(t, "boss", entries[0].ActorHash)
		require.JSONEq(t, `{"revoked":false}`, entries[0].Before)
		require.JSONEq(t, `{"revoked":true}`, entries[0].After)
		_, err = r.verifier.Verify(ctx, all)
		requireCause(t, llm.CauseUnauthenticated, err)
	})
}

// Whom another issuer's rule allows little gets no more by a token of ours.
func TestAPITokensKeepTheirUsersLimit(t *testing.T) {
	t.Parallel()
	r := newReplica(t, onSQLite(t), nil)
	_, token := r.minted(&identity.Principal{UserHash: "dora", Issuer: "company", UserRate: "2/h"}, TokenRequest{Name: "n", Rate: "100/h"})
	p := r.principal(token)
	require.Equal(t, "2/h", p.UserRate)
	require.Equal(t, "100/h", p.Rate)
}

func TestWhoHasNoAPITokens(t *testing.T) {
	t.Parallel()
	r := newReplica(t, onSQLite(t), nil)
	_, token := r.minted(r.principal(r.open("alice@example.com").AccessToken), TokenRequest{Name: "n"})
	for name, p := range map[string]*identity.Principal{
		"an API token": r.principal(token),
		"a viewer":     r.principal(r.open("v@example.com", "viewer").AccessToken),
	} {
		_, _, err := r.MintToken(t.Context(), p, TokenRequest{Name: "n", Lifetime: time.Hour})
		requireCause(t, llm.CauseForbidden, err)
		tokens, err := r.Tokens(t.Context(), p.UserHash)
		require.NoError(t, err)
		for _, made := range tokens {
			require.Equal(t, r.principal(token).TokenID, made.ID, name)
		}
	}
}

func TestSpecialistsAreOnlyNarrowed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		own, asked, want []string // want nil: all, or refused
		refused          bool
	}{
		{own: nil, asked: nil, want: nil},
		{own: nil, asked: []string{"a", "b*"}, want: []string{"a", "b*"}},
		{own: []string{"a", "b*"}, asked: nil, want: []string{"a", "b*"}},
		{own: []string{"a", "b*"}, asked: []string{"a"}, want: []string{"a"}},
		{own: []string{"a", "b*"}, asked: []string{"bc", "bc*", "b*"}, want: []string{"bc", "bc*", "b*"}},
		{own: []string{"*"}, asked: []string{"a*", "*"}, want: []string{"a*", "*"}},
		{own: []string{"a", "b*"}, asked: []string{"a", "c"}, refused: true},
		{own: []string{"a"}, asked: []string{"a*"}, refused: true},
		{own: []string{"a"}, asked: []string{"A"}, refused: true},
		{own: []string{"bc*"}, asked: []string{"b*"}, refused: true},
		{own: []string{"openai/*"}, asked: []string{"openai*"}, refused: true},
		{own: []string{"openai/*"}, asked: []string{"*"}, refused: true},
		{own: []string{"x**"}, asked: []string{"x*"}, refused: true},
		{own: []string{}, asked: nil, refused: true},
		{own: []string{}, asked: []string{"a"}, refused: true},
	} {
		p := &identity.Principal{UserHash: "u", Specialists: test.own}
		got, err := narrow(p, test.asked)
		if test.refused {
			requireCause(t, llm.CauseForbidden, err)
			continue
		}
		require.NoError(t, err, "%v of %v", test.asked, test.own)
		require.Equal(t, test.want, got, "%v of %v", test.asked, test.own)
	}
}

func FuzzCovers(f *testing.F) {
	f.Add("openai/*", "openai*", "openai2")
	f.Add("x**", "x*", "xy")
	f.Add("a", "a*", "ab")
	f.Fuzz(func(t *testing.T, own, asked, name string) {
		before := identity.Principal{Specialists: []string{own}}
		after := identity.Principal{Specialists: []string{asked}}
		if covers(own, asked) && after.MayUse(name) && !before.MayUse(name) {
			t.Errorf("%q covers %q, but only the latter is good for %q", own, asked, name)
		}
	})
}

func TestAPITokensAreBounded(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *replica) {
		ctx := t.Context()
		alice := r.principal(r.open("alice@example.com").AccessToken)
		first, _ := r.minted(alice, TokenRequest{Name: "0"})
		for i := 1; i < MaxTokens-5; i++ {
			r.minted(alice, TokenRequest{Name: fmt.Sprint(i)})
		}
		var made atomic.Int64
		var wg sync.WaitGroup
		start := make(chan struct{})
		for range 20 {
			wg.Go(func() {
				for range 5 { // so that all connections are there when it matters
					if _, err := r.Tokens(ctx, alice.UserHash); err != nil {
						t.Errorf("list: %v", err)
					}
				}
				<-start
				_, _, err := r.MintToken(ctx, alice, TokenRequest{Name: "many at once", Lifetime: time.Hour})
				if err == nil {
					made.Add(1)
				}
			})
		}
		time.Sleep(200 * time.Millisecond)
		close(start)
		wg.Wait()
		require.EqualValues(t, 5, made.Load())
		_, _, err := r.MintToken(ctx, alice, TokenRequest{Name: "one more", Lifetime: time.Hour})
		requireCause(t, llm.CauseForbidden, err)
		require.ErrorContains(t, err, "revoke some")
		r.minted(r.principal(r.open("bob@example.com").AccessToken), TokenRequest{Name: "another's"})

		require.NoError(t, r.RevokeToken(ctx, first.ID, alice.UserHash, nil))
		r.minted(alice, TokenRequest{Name: "in its place"})

		r.clock.advance(2 * time.Hour)
		r.minted(alice, TokenRequest{Name: "after all have expired"})
	})
}

func TestUses(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *replica) {
		ctx := t.Context()
		alice := r.principal(r.open("alice@example.com").AccessToken)
		made, token := r.minted(alice, TokenRequest{Name: "n"})
		idle, _ := r.minted(alice, TokenRequest{Name: "never used"})
		lastUsed := func(id string) *time.Time {
			row, err := r.db.APIToken(ctx, id)
			require.NoError(t, err)
			return row.LastUsedAt
		}
		p := r.principal(token)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 1000 {
					r.Used(p)
				}
			})
		}
		wg.Wait()
		r.Used(alice) // no API token
		r.Used(nil)
		require.EqualValues(t, 1, r.uses.count.Load())
		require.Nil(t, lastUsed(made.ID))
		r.flushUses(ctx)
		require.WithinDuration(t, time.Now(), *lastUsed(made.ID), 20*time.Second)
		require.Nil(t, lastUsed(idle.ID))
		require.Zero(t, r.uses.count.Load())

		// A replica whose clock is behind does not turn it back.
		at := *lastUsed(made.ID)
		require.NoError(t, r.db.TouchAPITokens(ctx, []string{made.ID}, at.Add(-time.Minute)))
		require.Equal(t, at, *lastUsed(made.ID))

		r.clock.advance(time.Hour)
		r.Used(p)
		r.Stop()
		require.WithinDuration(t, at.Add(time.Hour), *lastUsed(made.ID), 20*time.Second)
	})
}

func TestUsesAreBounded(t *testing.T) {
	t.Parallel()
	var u uses
	for i := range maxUses + 100 {
		u.note(fmt.Sprint(i), 1)
	}
	require.EqualValues(t, maxUses, u.count.Load())
	u.note("0", 2)
	at, _ := u.last.Load("0")
	require.EqualValues(t, 2, at, "one that is noted is noted again")
}

func TestUsesOutliveAnOutage(t *testing.T) {
	t.Parallel()
	store := new(brokenTouch)
	r := newReplica(t, openDatabase(t, testenv.Postgres(t)), func(o *Options) { store.Store, o.Store = o.Store, store })
	made, token := r.minted(r.principal(r.open("alice@example.com").AccessToken), TokenRequest{Name: "n"})
	r.Used(r.principal(token))
	store.broken = true
	r.flushUses(t.Context())
	require.EqualValues(t, 1, r.uses.count.Load())
	store.broken = false
	r.flushUses(t.Context())
	row, err := r.db.APIToken(t.Context(), made.ID)
	require.NoError(t, err)
	require.NotNil(t, row.LastUsedAt)
}

type brokenTouch struct {
	Store
	broken bool
}

func (s *brokenTouch) TouchAPITokens(ctx context.Context, ids []string, used time.Time) error {
	if s.broken {
		return context.DeadlineExceeded
	}
	return s.Store.TouchAPITokens(ctx, ids, used)
}

func BenchmarkUsed(b *testing.B) {
	m := newKeys(b, "key")
	p := &identity.Principal{Kind: identity.KindAPI, TokenID: "token"}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Used(p)
		}
	})
}
