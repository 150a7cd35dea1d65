package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/revocation"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/testenv"
)

func TestOpenAndRefresh(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *replica) {
		first := r.open("alice@example.com", "admin")
		require.Equal(t, 8*time.Hour, first.ExpiresIn)
		require.Equal(t, "alice@example.com", first.Address.Reveal())

		second := r.refreshed(first)
		require.NotEqual(t, first.RefreshToken, second.RefreshToken)
		require.Equal(t, first.Address, second.Address)
		for _, pair := range []Pair{first, second} {
			p := r.principal(pair.AccessToken)
			require.Equal(t, identity.HashEmail("alice@example.com"), p.UserHash)
			require.Equal(t, p.UserHash, p.Subject)
			require.Equal(t, "alice@example.com", p.Email())
			require.Equal(t, "Alice A.", p.Name)
			require.Equal(t, identity.RoleAdmin, p.Role())
			require.Equal(t, r.session(first.RefreshToken).ID, p.Session)
			require.Equal(t, identity.KindAccess, p.Kind)
		}
		require.NotEqual(t, r.principal(first.AccessToken).TokenID, r.principal(second.AccessToken).TokenID)

		users, err := r.Users(t.Context(), "", 10)
		require.NoError(t, err)
		require.Len(t, users, 1)
		require.Equal(t, "email", users[0].Provider)
		require.WithinDuration(t, time.Now(), *users[0].LastLoginAt, time.Minute)
	})
}

func TestTwoTabsRefreshAtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *replica) {
		woken := r.open("alice@example.com")
		one := r.refreshed(woken)
		r.clock.advance(59 * time.Second)
		two := r.refreshed(woken)
		require.Equal(t, one.RefreshToken, two.RefreshToken, "both tabs store the same token")
		require.NotEqual(t, one.AccessToken, two.AccessToken)
		r.principal(one.AccessToken)
		r.principal(two.AccessToken)
		require.Zero(t, r.reuses.Load())

		next := r.refreshed(two)
		require.NotEqual(t, two.RefreshToken, next.RefreshToken)
		require.EqualValues(t, 3, r.session(next.RefreshToken).Generation)
	})
}

func TestReuseEndsTheFamily(t *testing.T) {
	t.Parallel()
	for name, steal := range map[string]func(r *replica, stolen Pair) []Pair{
		"grace is over": func(r *replica, stolen Pair) []Pair {
			next := r.refreshed(stolen)
			r.clock.advance(61 * time.Second)
			return []Pair{next}
		},
		"two generations within the grace": func(r *replica, stolen Pair) []Pair {
			next := r.refreshed(stolen)
			return []Pair{next, r.refreshed(next)}
		},
		"long ago": func(r *replica, stolen Pair) []Pair {
			pairs := []Pair{stolen}
			for range 5 {
				r.clock.advance(7 * time.Hour)
				pairs = append(pairs, r.refreshed(pairs[len(pairs)-1]))
			}
			return pairs[1:]
		},
	} {
		// Whoever comes second has the old token: the person, if the thief was
		// quicker, or the thief. The gateway sees the same, and both are out.
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, r *replica) {
				stolen := r.open("alice@example.com")
				another := r.open("alice@example.com") // on another machine
				others := r.open("bob@example.com")
				later := steal(r, stolen)

				_, err := r.Refresh(t.Context(), stolen.RefreshToken)
				requireCause(t, llm.CauseUnauthenticated, err)
				require.ErrorContains(t, err, "sign in again")
				require.EqualValues(t, 1, r.reuses.Load())
				r.requireOut(append(later, stolen)...)
				require.EqualValues(t, 1, r.reuses.Load(), "a family dies once")
				require.Equal(t, reasonReuse, r.session(stolen.RefreshToken).RevokedReason)

				r.principal(another.AccessToken)
				r.refreshed(another)
				r.refreshed(others)
				require.Contains(t, r.log.String(), "old refresh token")
				require.Contains(t, r.log.String(), identity.HashEmail("alice@example.com"))
				require.NotContains(t, r.log.String(), "alice@")
				require.NotContains(t, r.log.String(), refreshPrefix)
			})
		})
	}
}

func TestForgedTokensDoNothing(t *testing.T) {
	t.Parallel()
	r := newReplica(t, onSQLite(t), nil)
	alice, bob := r.open("alice@example.com"), r.open("bob@example.com")
	before := r.session(alice.RefreshToken)
	stranger, _ := newKeys(t, "another secret").refreshToken(before.ID, 1)
	for _, token := range []string{
		"", "tgr_", stranger, alice.RefreshToken[:60], alice.RefreshToken[:40] + bob.RefreshToken[40:], alice.AccessToken,
	} {
		_, err := r.Refresh(t.Context(), token)
		requireCause(t, llm.CauseUnauthenticated, err)
	}
	gone, _ := r.refreshToken(newSessionID(), 1)
	_, err := r.Refresh(t.Context(), gone)
	requireCause(t, llm.CauseUnauthenticated, err)
	require.Equal(t, before, r.session(alice.RefreshToken))
	require.Zero(t, r.reuses.Load())
	r.refreshed(alice)
	r.refreshed(bob)

	// A generation that never was, of a genuine key: the database went back in time.
	ahead, _ := r.refreshToken(before.ID, 9)
	_, err = r.Refresh(t.Context(), ahead)
	requireCause(t, llm.CauseUnauthenticated, err)
	r.requireOut(alice)
}

func TestReplicasRotateOnce(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	var replicas []*replica
	for range 3 {
		replicas = append(replicas, newReplica(t, openDatabase(t, url), nil))
	}
	first := replicas[0].open("alice@example.com")
	pairs := make([]Pair, 50)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range pairs {
		wg.Go(func() {
			<-start
			pair, err := replicas[i%3].Refresh(t.Context(), first.RefreshToken)
			if err != nil {
				t.Errorf("refresh %d: %v", i, err)
			}
			pairs[i] = pair
		})
	}
	close(start)
	wg.Wait()
	require.EqualValues(t, 2, replicas[0].session(first.RefreshToken).Generation, "exactly one rotation")
	for _, pair := range pairs {
		require.Equal(t, pairs[0].RefreshToken, pair.RefreshToken)
		replicas[1].principal(pair.AccessToken)
	}
	replicas[2].refreshed(pairs[0])
}

func TestLifetimes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *replica) {
		idle := r.open("alice@example.com")
		r.clock.advance(30*24*time.Hour - time.Minute)
		used := r.refreshed(idle)
		for range 2 { // each use gives it 30 days more, up to 90
			r.clock.advance(29 * 24 * time.Hour)
			used = r.refreshed(used)
		}
		require.WithinDuration(t, r.session(used.RefreshToken).CreatedAt.Add(90*24*time.Hour), r.session(used.RefreshToken).ExpiresAt, time.Millisecond)
		r.clock.advance(2*24*time.Hour + 2*time.Minute)
		_, err := r.Refresh(t.Context(), used.RefreshToken)
		requireCause(t, llm.CauseUnauthenticated, err)

		unused := r.open("alice@example.com")
		r.clock.advance(30 * 24 * time.Hour)
		_, err = r.Refresh(t.Context(), unused.RefreshToken)
		requireCause(t, llm.CauseUnauthenticated, err)
		require.Zero(t, r.reuses.Load(), "what is late was not stolen")
	})
}

func TestDomainsAreAskedAgain(t *testing.T) {
	t.Parallel()
	db := onSQLite(t)
	before := newReplica(t, db, nil)
	alice, bob := before.open("alice@example.com"), before.open("bob@example.org")
	after := newReplica(t, db, func(o *Options) {
		var err error
		o.Domains, err = identity.ParseDomains([]string{"example.com"})
		require.NoError(t, err)
	})
	after.refreshed(alice)
	after.requireOut(bob)
	require.Equal(t, reasonDomain, after.session(bob.RefreshToken).RevokedReason)
}

func TestRolesAreAskedAgain(t *testing.T) {
	t.Parallel()
	db := onSQLite(t)
	pair := newReplica(t, db, nil).open("alice@example.com", "admin")
	after := newReplica(t, db, func(o *Options) { o.Roles = func(Person) []string { return nil } })
	next := after.refreshed(pair)
	require.Equal(t, identity.RoleUser, after.principal(next.AccessToken).Role())
}

func TestClose(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *replica) {
		ctx := t.Context()
		t.Log("both tokens")
		pair, elsewhere, bob := r.open("alice@example.com"), r.open("alice@example.com"), r.open("bob@example.com")
		later := r.refreshed(pair)
		require.NoError(t, r.Close(ctx, r.principal(later.AccessToken), later.RefreshToken))
		r.requireOut(pair, later)
		require.Zero(t, r.reuses.Load())
		r.principal(elsewhere.AccessToken)

		t.Log("the access token only")
		pair = r.open("alice@example.com")
		require.NoError(t, r.Close(ctx, r.principal(pair.AccessToken), ""))
		r.requireOut(pair)

		t.Log("the refresh token only, an old one even")
		pair = r.open("alice@example.com")
		later = r.refreshed(pair)
		require.NoError(t, r.Close(ctx, nil, pair.RefreshToken))
		r.requireOut(pair, later)
		require.NoError(t, r.Close(ctx, nil, pair.RefreshToken), "signing out twice is no error")

		t.Log("the refresh token of another of one's log-ins")
		pair, second := r.open("alice@example.com"), r.open("alice@example.com")
		require.NoError(t, r.Close(ctx, r.principal(pair.AccessToken), second.RefreshToken))
		r.requireOut(pair, second)

		t.Log("somebody else's refresh token")
		pair = r.open("alice@example.com")
		require.NoError(t, r.Close(ctx, r.principal(pair.AccessToken), bob.RefreshToken))
		r.requireOut(pair)
		r.principal(bob.AccessToken)
		r.refreshed(bob)

		t.Log("nothing good")
		requireCause(t, llm.CauseUnauthenticated, r.Close(ctx, nil, ""))
		requireCause(t, llm.CauseUnauthenticated, r.Close(ctx, nil, bob.RefreshToken[:50]))
		requireCause(t, llm.CauseForbidden, r.Close(ctx, &identity.Principal{Kind: identity.KindAPI, TokenID: "x"}, ""))
		requireCause(t, llm.CauseForbidden, r.Close(ctx, &identity.Principal{UserHash: "x"}, ""))
		r.refreshed(elsewhere)
	})
}

func TestPeopleOfOtherIssuersCanSignOut(t *testing.T) {
	t.Parallel()
	r := newReplica(t, onSQLite(t), nil)
	p := &identity.Principal{TokenID: "their-id", UserHash: "u", ExpiresAt: time.Now().Add(time.Hour)}
	require.NoError(t, r.Close(t.Context(), p, ""))
	require.True(t, r.o.Revocations.(*revocation.Registry).Revoked(p))
}

// brokenStore fails, as a database does that is away.
type brokenStore struct {
	Store
	broken, barred bool
}

func (s *brokenStore) Session(ctx context.Context, id string) (*database.LoginSession, bool, error) {
	if s.broken {
		return nil, false, errors.New("connection refused")
	}
	row, barred, err := s.Store.Session(ctx, id)
	return row, barred || s.barred, err
}

func (s *brokenStore) OpenSession(ctx context.Context, row database.LoginSession) error {
	if s.broken {
		return errors.New("connection refused")
	}
	return s.Store.OpenSession(ctx, row)
}

// A 401 would make the frontend sign its user out.
func TestOutagesAreNoVerdict(t *testing.T) {
	t.Parallel()
	store := new(brokenStore)
	r := newReplica(t, onSQLite(t), func(o *Options) {
		store.Store, o.Store = o.Store, store
	})
	pair := r.open("alice@example.com")
	p := r.principal(pair.AccessToken)
	store.broken = true
	_, err := r.Refresh(t.Context(), pair.RefreshToken)
	requireCause(t, llm.CauseUnavailable, err)
	_, err = r.Open(t.Context(), person(t, "alice@example.com"))
	requireCause(t, llm.CauseUnavailable, err)
	requireCause(t, llm.CauseUnavailable, r.Close(t.Context(), nil, pair.RefreshToken))
	_, ok := r.Person(t.Context(), p)
	require.False(t, ok)
	store.broken = false
	r.refreshed(pair)
}

// Blocking ends log-ins by itself. Should one be left all the same, it ends when
// it is used.
func TestLogInsOfBarredUsersEnd(t *testing.T) {
	t.Parallel()
	store := new(brokenStore)
	r := newReplica(t, onSQLite(t), func(o *Options) {
		store.Store, o.Store = o.Store, store
	})
	pair := r.open("alice@example.com")
	store.barred = true
	_, err := r.Refresh(t.Context(), pair.RefreshToken)
	requireCause(t, llm.CauseUnauthenticated, err)
	store.barred = false
	r.requireOut(pair)
	require.Equal(t, reasonBarred, r.session(pair.RefreshToken).RevokedReason)
}

type revokerFunc func() error

func (f revokerFunc) Revoke(context.Context, ...revocation.Entry) error { return f() }

func TestReuseIsPunishedAgainAfterAnOutage(t *testing.T) {
	t.Parallel()
	down := true
	var calls int
	r := newReplica(t, onSQLite(t), func(o *Options) {
		o.Revocations = revokerFunc(func() error {
			calls++
			if down {
				return errors.New("away")
			}
			return nil
		})
	})
	pair := r.open("alice@example.com")
	r.refreshed(pair)
	r.clock.advance(2 * time.Minute)
	_, err := r.Refresh(t.Context(), pair.RefreshToken)
	requireCause(t, llm.CauseUnavailable, err)
	down = false
	_, err = r.Refresh(t.Context(), pair.RefreshToken)
	requireCause(t, llm.CauseUnauthenticated, err)
	require.Equal(t, 2, calls)
	require.NotNil(t, r.session(pair.RefreshToken).RevokedAt)
}

// Who can write to the database but has no key cannot give a log-in to somebody
// else, or more roles to the person.
func TestRowsOpenInTheirPlaceOnly(t *testing.T) {
	t.Parallel()
	db := onSQLite(t)
	r := newReplica(t, db, nil)
	boss, alice := r.session(r.open("boss@example.com", "admin").RefreshToken), r.open("alice@example.com", "admin")
	row := r.session(alice.RefreshToken)
	for _, changed := range []database.LoginSession{
		{ID: newSessionID(), UserHash: row.UserHash, Person: row.Person},
		{ID: newSessionID(), UserHash: row.UserHash, Person: boss.Person},
		{ID: newSessionID(), UserHash: row.UserHash, Person: []byte(`{"address":"boss@example.com"}`)},
	} {
		changed.Generation, changed.RotatedAt, changed.CreatedAt, changed.ExpiresAt = 1, row.RotatedAt, row.CreatedAt, row.ExpiresAt
		require.NoError(t, db.OpenSession(t.Context(), changed))
		token, _ := r.refreshToken(changed.ID, 1)
		_, err := r.Refresh(t.Context(), token)
		requireCause(t, llm.CauseUnauthenticated, err)
	}
	r.refreshed(alice)
}

func TestPersonIsShownToItself(t *testing.T) {
	t.Parallel()
	r := newReplica(t, onSQLite(t), nil)
	who := person(t, "alice@example.com")
	who.Avatar, who.Provider = "https://pictures.example/alice.png", "google"
	pair, err := r.Open(t.Context(), who)
	require.NoError(t, err)
	p := *r.principal(pair.AccessToken)
	got, ok := r.Person(t.Context(), &p)
	require.True(t, ok)
	require.Equal(t, who, got)

	p.UserHash = "somebody else"
	_, ok = r.Person(t.Context(), &p)
	require.False(t, ok)
	_, ok = r.Person(t.Context(), &identity.Principal{})
	require.False(t, ok)
}

func TestProvidersTextsAreBounded(t *testing.T) {
	t.Parallel()
	long := make([]rune, 500)
	for i := range long {
		long[i] = 'é'
	}
	for _, test := range []struct{ in, want Person }{
		{Person{Name: "A\x00\nB"}, Person{Name: "A B"}},
		{Person{Name: string(long)}, Person{Name: string(long[:maxName])}},
		{Person{Avatar: "javascript:alert(1)"}, Person{}},
		{Person{Avatar: "http://x/y.png"}, Person{}},
		{Person{Avatar: "https://x/" + string(long) + string(long) + string(long)}, Person{}},
		{Person{Avatar: "https://x/y.png"}, Person{Avatar: "https://x/y.png"}},
	} {
		require.Equal(t, test.want, test.in.tidy())
	}
}

func TestPairPrintsNoToken(t *testing.T) {
	t.Parallel()
	r := newReplica(t, onSQLite(t), nil)
	pair := r.open("alice@example.com")
	slog.New(slog.NewJSONHandler(r.log, nil)).Info("x", slog.Any("pair", pair), slog.Any("pointer", &pair))
	slog.New(slog.NewTextHandler(r.log, nil)).Info("x", slog.Any("pair", pair), slog.Any("in", struct{ P Pair }{pair}))
	require.NotContains(t, r.log.String(), pair.RefreshToken)
	require.NotContains(t, r.log.String(), pair.AccessToken)
	require.NotContains(t, r.log.String(), "alice@")
}

func TestNewChecksOptions(t *testing.T) {
	t.Parallel()
	good := newReplica(t, onSQLite(t), nil).o
	for name, edit := range map[string]func(*Options){
		"no store":       func(o *Options) { o.Store = nil },
		"no signer":      func(o *Options) { o.Signer = nil },
		"no revocations": func(o *Options) { o.Revocations = nil },
		"no secret":      func(o *Options) { o.Secret = secret.Secret{} },
		"short refresh":  func(o *Options) { o.RefreshLifetime = time.Hour },
		"short log-in":   func(o *Options) { o.MaxLifetime = 24 * time.Hour },
		"negative":       func(o *Options) { o.AccessLifetime = -1 },
	} {
		o := good
		edit(&o)
		_, err := New(o)
		require.Error(t, err, name)
	}
	o := good
	o.AccessLifetime, o.RefreshLifetime, o.MaxLifetime = 200*24*time.Hour, 0, 0
	m, err := New(o)
	require.NoError(t, err, "long ones alone are no contradiction")
	require.Equal(t, o.AccessLifetime, m.o.MaxLifetime)
}
