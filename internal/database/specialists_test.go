package database

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func row(id, name string) Specialist {
	return Specialist{
		ID: id, Name: name, Provider: "openai", Model: "gpt-4o", SystemPrompt: "p",
		Fallbacks: "[]", Aliases: "[]", PromptHistory: "[]", Version: 1, CreatedAt: day, UpdatedAt: day,
	}
}

// apply is one transaction of these changes.
func apply(ctx context.Context, db *DB, changes ...SpecialistChange) error {
	return db.ChangeSpecialists(ctx, func(t *SpecialistsTx) error { return t.Apply(changes...) })
}

func revision(t *testing.T, db *DB) string {
	t.Helper()
	text, err := db.SpecialistsRevision(t.Context())
	require.NoError(t, err)
	return text
}

// The rows may count, date and add up alike: what was written is still a change.
func TestEveryWriteHasItsRevision(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		_, err := db.Migrate(t.Context())
		require.NoError(t, err)
		a, b := row("a", "A"), row("b", "B")
		seen := map[string]bool{revision(t, db): true}
		for what, changes := range [][]SpecialistChange{
			{{Is: &a}},
			{{Was: &a}, {Is: &b}}, // same number, same dates, same versions
			{{Was: &b}, {Is: &a}},
			{{Was: &a, Is: new(row("a", "A again"))}}, // not even a new version
			{{Was: &a}},
		} {
			require.NoError(t, apply(t.Context(), db, changes...))
			now := revision(t, db)
			require.False(t, seen[now], "write %d: %s", what, now)
			require.Equal(t, now, revision(t, db))
			seen[now] = true
		}
		_, err = db.SeedSpecialists(t.Context(), []Specialist{a})
		require.NoError(t, err)
		require.False(t, seen[revision(t, db)])
	})
}

func TestAChangeIsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		_, err := db.Migrate(t.Context())
		require.NoError(t, err)
		a, b := row("a", "A"), row("b", "B")
		require.NoError(t, apply(t.Context(), db, SpecialistChange{Is: &a, Audit: AuditEntry{Action: "x", Object: "a", After: "{}"}}))
		before := revision(t, db)

		refused := errors.New("refused")
		for name, change := range map[string]func(*SpecialistsTx) error{
			"an error of the caller's": func(t *SpecialistsTx) error {
				return errors.Join(t.Apply(SpecialistChange{Is: &b}), refused)
			},
			"a name that is taken": func(t *SpecialistsTx) error {
				return t.Apply(SpecialistChange{Was: &a}, SpecialistChange{Is: &b}, SpecialistChange{Is: new(row("c", "B"))})
			},
			"a row that has changed": func(t *SpecialistsTx) error {
				old := a
				old.Version = 7
				return t.Apply(SpecialistChange{Was: &old, Is: &b})
			},
			"an audit entry that cannot be written": func(t *SpecialistsTx) error {
				entries, err := db.ListAudit(context.Background(), "", 1)
				return errors.Join(err, t.Apply(SpecialistChange{Is: &b, Audit: AuditEntry{ID: entries[0].ID}}))
			},
		} {
			require.Error(t, db.ChangeSpecialists(t.Context(), change), name)
			require.Equal(t, before, revision(t, db), name)
			require.Equal(t, []string{"a"}, column(t, db, "SELECT id FROM specialists"), name)
			require.Equal(t, []string{"a"}, column(t, db, "SELECT object FROM audit_log"), name)
		}
		require.NoError(t, db.ChangeSpecialists(t.Context(), func(t *SpecialistsTx) error {
			_, err := t.All()
			return err
		}))
		require.Equal(t, before, revision(t, db), "who only looks changes nothing")
	})
}

func TestSpecialistsExchangeNames(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		_, err := db.Migrate(t.Context())
		require.NoError(t, err)
		a, b := row("a", "A"), row("b", "B")
		require.NoError(t, apply(t.Context(), db, SpecialistChange{Is: &a}, SpecialistChange{Is: &b}))
		require.NoError(t, apply(t.Context(), db,
			SpecialistChange{Was: &a, Is: new(row("a", "B"))}, SpecialistChange{Was: &b, Is: new(row("b", "A"))}))
		require.NoError(t, db.ChangeSpecialists(t.Context(), func(tx *SpecialistsTx) error {
			names, err := tx.Names()
			require.NoError(t, err)
			require.Equal(t, []Specialist{{ID: "a", Name: "B", Aliases: "[]"}, {ID: "b", Name: "A", Aliases: "[]"}}, names)
			_, err = tx.Get("c")
			require.ErrorIs(t, err, ErrNotFound)
			return nil
		}))
	})
}

// Who reads in a change reads what the change before it wrote.
func TestChangesTakeTurns(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		_, err := db.Migrate(t.Context())
		require.NoError(t, err)
		a := row("a", "A")
		require.NoError(t, apply(t.Context(), db, SpecialistChange{Is: &a}))
		const writers = 20
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				err := db.ChangeSpecialists(t.Context(), func(t *SpecialistsTx) error {
					was, err := t.Get("a")
					if err != nil {
						return err
					}
					is := *was
					is.Version++
					return t.Apply(SpecialistChange{Was: was, Is: &is})
				})
				if err != nil {
					t.Errorf("change: %v", err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, []string{fmt.Sprint(writers + 1)}, column(t, db, "SELECT version FROM specialists"))
	})
}
