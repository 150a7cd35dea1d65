package specialist

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a Store in memory that can be made to fail.
type memory struct {
	mu     sync.Mutex
	rows   []Specialist
	edits  int
	down   error
	seeded bool
	lists  int // calls of List
	looks  int // calls of Revision
}

func (m *memory) set(rows ...Specialist) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = rows
	m.edits++
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

func (m *memory) List(context.Context) ([]Specialist, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lists++
	return append([]Specialist(nil), m.rows...), m.down
}

func (m *memory) Revision(context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looks++
	return "r" + strconv.Itoa(m.edits), m.down
}

func (m *memory) Seed(_ context.Context, defaults []Specialist) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.seeded {
		m.rows, m.seeded = defaults, true
		m.edits++
	}
	return m.down
}

func (m *memory) counts() (lists, looks int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lists, m.looks
}

func named(id, name string) Specialist {
	s := valid()
	s.ID, s.Name = id, name
	return s
}

func ids(list []*Specialist) []string {
	var out []string
	for _, s := range list {
		out = append(out, s.ID)
	}
	return out
}

func newRegistry(t *testing.T, o Options) *Registry {
	t.Helper()
	r, err := NewRegistry(o)
	require.NoError(t, err)
	return r
}

func TestListIsPinnedFirstThenByName(t *testing.T) {
	t.Parallel()
	pinned := named("z", "Zebra")
	pinned.Pinned = true
	store := &memory{}
	store.set(named("c", "Cat"), named("a", "ape"), pinned)
	r := newRegistry(t, Options{Store: store, Configured: []Specialist{named("b", "Bear")}})
	require.Equal(t, []string{"b"}, ids(r.List()))
	require.NoError(t, r.Refresh(t.Context()))
	require.Equal(t, []string{"z", "a", "b", "c"}, ids(r.List()))

	list := r.List()
	list[0] = nil
	require.NotNil(t, r.List()[0], "a caller's slice is its own")
}

func TestNamesResolveInOrderOfPrecedence(t *testing.T) {
	t.Parallel()
	configured := named("both", "Configured")
	configured.Aliases = []string{"gpt-4", "stored"}
	stored := named("both", "Stored")
	other := named("stored", "Other")
	other.Aliases = []string{"gpt-4", "o", "both"}
	broken := named("broken", "Broken")
	broken.MaxTokens = -1
	store := &memory{}
	store.set(stored, other, broken)

	var log bytes.Buffer
	r := newRegistry(t, Options{Store: store, Configured: []Specialist{configured}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, r.Refresh(t.Context()))

	for name, want := range map[string]string{
		"both":   "Configured", // configuration wins over a row of the same id
		"stored": "Other",      // an id beats an alias
		"gpt-4":  "Configured", // a configured alias beats a stored one
		"o":      "Other",
	} {
		got, ok := r.Get(name)
		require.True(t, ok, name)
		require.Equal(t, want, got.Name, name)
	}
	for _, name := range []string{"broken", "", "BOTH", "nobody"} {
		_, ok := r.Get(name)
		require.False(t, ok, name)
	}
	s, _ := r.Get("both")
	require.True(t, s.ReadOnly)
	require.Equal(t, 1, s.Version)
	require.False(t, s.CreatedAt.IsZero())
	s, _ = r.Get("stored")
	require.False(t, s.ReadOnly)
	require.Contains(t, log.String(), "id=broken")
	require.Contains(t, log.String(), "alias=gpt-4")
}

func TestConfiguredSpecialistsAreChecked(t *testing.T) {
	t.Parallel()
	invalid := named("x", "")
	_, err := NewRegistry(Options{Configured: []Specialist{invalid}})
	require.ErrorContains(t, err, `specialist "x": invalid_request: name must be`)

	again := named("b", "B")
	again.Aliases = []string{"a"}
	_, err = NewRegistry(Options{Configured: []Specialist{named("a", "A"), again}})
	require.ErrorContains(t, err, `specialist "b": name "a" is used twice`)
}

func TestRefreshListsOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	store := &memory{}
	store.set(named("a", "A"))
	r := newRegistry(t, Options{Store: store})
	for range 5 {
		require.NoError(t, r.Refresh(t.Context()))
	}
	lists, looks := store.counts()
	require.Equal(t, 1, lists)
	require.Equal(t, 5, looks)
	store.set(named("b", "B"))
	require.NoError(t, r.Refresh(t.Context()))
	require.Equal(t, []string{"b"}, ids(r.List()))
}

func TestSeedHappensOnce(t *testing.T) {
	t.Parallel()
	store := &memory{}
	r := newRegistry(t, Options{Store: store})
	require.NoError(t, r.Seed(t.Context()))
	require.NoError(t, r.Refresh(t.Context()))
	require.Equal(t, []string{"financial-analyst", "research-assistant", "code-reviewer", "legal-quick"}, ids(r.List()))

	store.set() // an admin deletes them all
	require.NoError(t, r.Seed(t.Context()))
	require.NoError(t, r.Refresh(t.Context()))
	require.Empty(t, r.List())

	store.fail(errors.New("down"))
	require.ErrorContains(t, r.Seed(t.Context()), "seed specialists: down")
	require.NoError(t, newRegistry(t, Options{}).Seed(t.Context()), "no store, nothing to seed")
}

// TestFollowing lives through an edit by another replica, an outage and its end.
func TestFollowing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		store := &memory{}
		store.set(named("a", "A"))
		r := newRegistry(t, Options{Store: store, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, r.Start(t.Context()))
		require.Error(t, r.Start(t.Context()), "twice")
		require.Equal(t, []string{"a"}, ids(r.List()), "loaded by Start")

		store.set(named("b", "B"))
		wait(DefaultInterval)
		require.Equal(t, []string{"b"}, ids(r.List()))

		store.fail(errors.New("connection refused"))
		store.set(named("c", "C"))
		wait(10 * DefaultInterval)
		require.Equal(t, []string{"b"}, ids(r.List()), "the last good snapshot stays")
		require.Equal(t, 1, strings.Count(log.String(), "cannot be read"), "said once")

		store.fail(nil)
		wait(DefaultInterval)
		require.Equal(t, []string{"c"}, ids(r.List()))
		require.Equal(t, 1, strings.Count(log.String(), "can be read again"))

		r.Stop()
		r.Stop()
		store.set()
		wait(5 * DefaultInterval)
		require.Equal(t, []string{"c"}, ids(r.List()), "a stopped registry still answers")
	})
}

func TestStartSurvivesADeadStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		store.fail(errors.New("down"))
		r := newRegistry(t, Options{Store: store, Configured: []Specialist{named("a", "A")}})
		require.NoError(t, r.Start(t.Context()))
		defer r.Stop()
		require.Equal(t, []string{"a"}, ids(r.List()))
		store.fail(nil)
		store.set(named("b", "B"))
		wait(DefaultInterval)
		require.Equal(t, []string{"a", "b"}, ids(r.List()))
	})
}

// wait lets the bubble's time pass and its goroutines settle.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestGetAllocatesNothing(t *testing.T) {
	s := valid()
	s.Aliases = []string{"gpt-4"}
	r := newRegistry(t, Options{Configured: []Specialist{s}})
	name := strings.Clone("gpt-4")
	require.Zero(t, testing.AllocsPerRun(100, func() { r.Get(name) }))
}

func TestReadersSeeWholeSnapshots(t *testing.T) {
	t.Parallel()
	store := &memory{}
	store.set(named("a", "A"), named("b", "B"))
	r := newRegistry(t, Options{Store: store})
	require.NoError(t, r.Refresh(t.Context()))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				if list := r.List(); len(list) != 2 {
					t.Errorf("got %d specialists, want 2", len(list))
					return
				}
				r.Get("a")
			}
		})
	}
	for range 100 {
		store.set(named("a", "A"), named("b", "B"))
		require.NoError(t, r.Refresh(t.Context()))
	}
	wg.Wait()
}

func BenchmarkGet(b *testing.B) {
	r, err := NewRegistry(Options{Configured: Defaults()})
	require.NoError(b, err)
	for b.Loop() {
		r.Get("code-reviewer")
	}
}
