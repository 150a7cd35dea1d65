package revocation

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/identity"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func TestRevoked(t *testing.T) {
	t.Parallel()
	later := noon.Add(100 * 365 * 24 * time.Hour)
	long := strings.Repeat("x", maxValue+1)
	r := New(Options{})
	require.NoError(t, r.Revoke(t.Context(),
		Entry{Kind: Token, Value: "t", ExpiresAt: later},
		Entry{Kind: Session, Value: "s", ExpiresAt: later},
		Entry{Kind: User, Value: "u", IssuedBefore: noon.Add(300 * time.Millisecond), ExpiresAt: later},
		Entry{Kind: User, Value: "at noon", IssuedBefore: noon, ExpiresAt: later},
		Entry{Kind: Token, Value: long, ExpiresAt: later},
		Entry{Kind: Token, Value: "nul\x00", ExpiresAt: later},
	))
	for name, c := range map[string]struct {
		p    identity.Principal
		want bool
	}{
		"the token":                               {identity.Principal{TokenID: "t", IssuedAt: noon}, true},
		"the token, issued in the future":         {identity.Principal{TokenID: "t", IssuedAt: later}, true},
		"the token, without issued at":            {identity.Principal{TokenID: "t"}, true},
		"another token":                           {identity.Principal{TokenID: "T", IssuedAt: noon}, false},
		"nothing at all":                          {identity.Principal{}, false},
		"the session":                             {identity.Principal{TokenID: "x", Session: "s", IssuedAt: noon}, true},
		"a token called like the session":         {identity.Principal{TokenID: "s", IssuedAt: noon}, false},
		"a session called like the token":         {identity.Principal{Session: "t", IssuedAt: noon}, false},
		"a user called like the token":            {identity.Principal{UserHash: "t", IssuedAt: noon}, false},
		"the user, issued before":                 {identity.Principal{UserHash: "u", IssuedAt: noon.Add(-time.Hour)}, true},
		"the user, issued within the same second": {identity.Principal{UserHash: "u", IssuedAt: noon}, true},
		"the user, issued a second later":         {identity.Principal{UserHash: "u", IssuedAt: noon.Add(time.Second)}, false},
		"a user, issued at that very time":        {identity.Principal{UserHash: "at noon", IssuedAt: noon}, true},
		"the user, without issued at":             {identity.Principal{UserHash: "u"}, true},
		"a long id":                               {identity.Principal{TokenID: long, IssuedAt: noon}, true},
		"another long id":                         {identity.Principal{TokenID: long + "x", IssuedAt: noon}, false},
		"an id no database takes":                 {identity.Principal{TokenID: "nul\x00", IssuedAt: noon}, true},
	} {
		require.Equal(t, c.want, r.Revoked(&c.p), name)
	}
}

func TestRevokeChecksItsEntries(t *testing.T) {
	t.Parallel()
	store := newMemoryStore()
	r := New(Options{Store: store})
	later := time.Now().Add(time.Hour)
	for name, e := range map[string]Entry{
		"no kind":       {Value: "x", ExpiresAt: later},
		"unknown kind":  {Kind: "tokens", Value: "x", ExpiresAt: later},
		"names nothing": {Kind: Token, ExpiresAt: later},
		"without end":   {Kind: Token, Value: "x"},
	} {
		require.Error(t, r.Revoke(t.Context(), tokenEntry("good"), e), name)
	}
	require.False(t, r.Revoked(holder("good")), "all or none")
	require.False(t, store.has(tokenEntry("good")))
	require.NoError(t, r.Revoke(t.Context()))
	require.ErrorContains(t, r.Revoke(t.Context(), Entry{Kind: Kind(strings.Repeat("k", 1000)), Value: "x", ExpiresAt: later}), "unknown kind")
}

func TestEntriesForOneThingAreMerged(t *testing.T) {
	t.Parallel()
	entries, err := normalizeAll([]Entry{
		{Kind: User, Value: "u", IssuedBefore: noon, ExpiresAt: noon.Add(2 * time.Hour)},
		{Kind: Token, Value: "u", IssuedBefore: noon, ExpiresAt: noon},
		{Kind: User, Value: "u", IssuedBefore: noon.Add(time.Nanosecond), ExpiresAt: noon.Add(time.Hour), Reason: "b\x00lock" + strings.Repeat("é", maxReason)},
		{Kind: Token, Value: "u", ExpiresAt: noon.AddDate(9000, 0, 0)},
	})
	require.NoError(t, err)
	require.Equal(t, []Entry{
		{Kind: Token, Value: "u", ExpiresAt: forever},
		{Kind: User, Value: "u", IssuedBefore: noon.Add(time.Microsecond), ExpiresAt: noon.Add(2 * time.Hour), Reason: "block" + strings.Repeat("é", 97)},
	}, entries)
}

// TestSnapshotAgreesWithAMap adds entries in every order of magnitude, and finds
// in both maps of the snapshot what one map would have.
func TestSnapshotAgreesWithAMap(t *testing.T) {
	t.Parallel()
	s, want := &snapshot{}, make(map[key]mark)
	for i := range 3000 {
		e := Entry{Kind: []Kind{Token, Session, User}[i%3], Value: fmt.Sprint(i % 1100), ExpiresAt: noon.Add(time.Duration(i%7) * time.Hour)}
		if i%2 == 0 {
			e.IssuedBefore = noon.Add(time.Duration(i) * time.Second)
		}
		want[e.key()] = e.mark().merge(want[e.key()])
		s = s.with([]Entry{e}, noon)
		require.Same(t, s, s.with([]Entry{e}, noon), "nothing new")
		require.LessOrEqual(t, len(s.recent), foldAt(len(s.settled)))
	}
	got := make(map[key]mark)
	for k, m := range s.all() {
		_, twice := got[k]
		require.False(t, twice)
		got[k] = m
		found, ok := s.find(k)
		require.True(t, ok)
		require.Equal(t, m, found)
	}
	require.Equal(t, want, got)
	require.NotEmpty(t, s.settled)

	kept := s.without(noon.Add(3 * time.Hour))
	require.Less(t, len(kept.settled), len(want))
	for k, m := range want {
		_, ok := kept.find(k)
		require.Equal(t, m.expires >= noon.Add(3*time.Hour).UnixMicro(), ok)
	}
	require.Same(t, kept, kept.without(noon))
}

func TestRevokedAllocatesNothing(t *testing.T) {
	r, p := crowded(t)
	allocs := testing.AllocsPerRun(1000, func() {
		if r.Revoked(p) {
			panic("not revoked")
		}
	})
	require.Zero(t, allocs)
}

func BenchmarkRevoked(b *testing.B) {
	r, p := crowded(b)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(loop *testing.PB) {
		for loop.Next() {
			if r.Revoked(p) {
				b.Fail()
			}
		}
	})
}

func BenchmarkRevokeAmongMany(b *testing.B) {
	r, _ := crowded(b)
	entry := tokenEntry("")
	for i := 0; b.Loop(); i++ {
		entry.Value = fmt.Sprint("fresh-", i)
		if err := r.Revoke(b.Context(), entry); err != nil {
			b.Fatal(err)
		}
	}
}

// crowded is a registry with 100,000 revocations, and a usual caller.
func crowded(tb testing.TB) (*Registry, *identity.Principal) {
	tb.Helper()
	r := New(Options{})
	entries := make([]Entry, 100_000)
	for i := range entries {
		entries[i] = tokenEntry(fmt.Sprintf("%026d", i))
	}
	require.NoError(tb, r.Revoke(tb.Context(), entries...))
	require.NoError(tb, r.Revoke(tb.Context(), tokenEntry("recent")))
	return r, &identity.Principal{
		TokenID: "JZ3YQ3XH5N6UCFJ7YFQ2CPTJ4A", Session: "GZ3YQ3XH5N6UCFJ7YFQ2CPTJ4B",
		UserHash: identity.HashEmail("ada@example.com"), IssuedAt: time.Now(),
	}
}
