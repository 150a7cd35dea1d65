package database

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// pipelineChange makes a pipeline's next version; an empty definition deletes it.
func pipelineChange(was *Pipeline, name string, version int64, definition string) PipelineChange {
	c := PipelineChange{
		Was:     was,
		Version: PipelineVersion{Name: name, Version: version, Definition: definition, ActorHash: "a11ce", CreatedAt: day},
		Audit:   AuditEntry{Action: "pipeline.update", Object: name},
	}
	if definition != "" {
		c.Is = &Pipeline{Name: name, Version: version, Definition: definition, CreatedAt: day, UpdatedAt: day}
	}
	return c
}

func applyPipeline(ctx context.Context, db *DB, c PipelineChange) error {
	return db.ChangePipelines(ctx, func(t *PipelinesTx) error { return t.Apply(c) })
}

func pipelinesRevision(t *testing.T, db *DB) string {
	t.Helper()
	text, err := db.PipelinesRevision(t.Context())
	require.NoError(t, err)
	return text
}

func TestPipelines(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		all, err := db.ListPipelines(ctx)
		require.NoError(t, err)
		require.Empty(t, all)
		seen := map[string]bool{pipelinesRevision(t, db): true}
		a := Pipeline{Name: "a", Version: 1, Definition: "{}", CreatedAt: day, UpdatedAt: day}
		for i, c := range []PipelineChange{
			pipelineChange(nil, "a", 1, "{}"),
			pipelineChange(&a, "a", 2, ""),
			pipelineChange(nil, "b", 1, `{"b":1}`), // counts, dates and adds up as a did
			pipelineChange(nil, "c", 1, `{"c":1}`),
		} {
			require.NoError(t, applyPipeline(ctx, db, c))
			now := pipelinesRevision(t, db)
			require.False(t, seen[now], "write %d: %s", i, now)
			require.Equal(t, now, pipelinesRevision(t, db))
			seen[now] = true
		}
		all, err = db.ListPipelines(ctx)
		require.NoError(t, err)
		require.Equal(t, []Pipeline{
			{Name: "b", Version: 1, CreatedAt: day, UpdatedAt: day}, {Name: "c", Version: 1, CreatedAt: day, UpdatedAt: day},
		}, all)
		all, err = db.ReadPipelines(ctx, []string{"a", "c"})
		require.NoError(t, err)
		require.Equal(t, []Pipeline{{Name: "c", Version: 1, Definition: `{"c":1}`, CreatedAt: day, UpdatedAt: day}}, all)

		versions, err := db.PipelineVersions(ctx, "a")
		require.NoError(t, err)
		require.Equal(t, []PipelineVersion{
			{Name: "a", Version: 2, ActorHash: "a11ce", CreatedAt: day},
			{Name: "a", Version: 1, Definition: "{}", ActorHash: "a11ce", CreatedAt: day},
		}, versions)
		require.NoError(t, db.ChangePipelines(ctx, func(tx *PipelinesTx) error {
			for name, want := range map[string]int64{"a": 2, "b": 1, "x": 0} {
				latest, err := tx.Latest(name)
				require.NoError(t, err)
				require.Equal(t, want, latest, name)
			}
			count, err := tx.Count()
			require.NoError(t, err)
			require.EqualValues(t, 2, count)
			b, err := tx.Get("b")
			require.NoError(t, err)
			require.Equal(t, &Pipeline{Name: "b", Version: 1, Definition: `{"b":1}`, CreatedAt: day, UpdatedAt: day}, b)
			_, err = tx.Get("a")
			require.ErrorIs(t, err, ErrNotFound)
			v, err := tx.Version("a", 1)
			require.NoError(t, err)
			require.Equal(t, "{}", v.Definition)
			_, err = tx.Version("a", 3)
			require.ErrorIs(t, err, ErrNotFound)
			return nil
		}))
	})
}

func TestAPipelinesChangeIsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		require.NoError(t, applyPipeline(ctx, db, pipelineChange(nil, "a", 1, "{}")))
		entries, err := db.ListAudit(ctx, "", 1)
		require.NoError(t, err)
		before := pipelinesRevision(t, db)
		refused := errors.New("refused")
		for name, change := range map[string]func(*PipelinesTx) error{
			"an error of the caller's": func(t *PipelinesTx) error {
				return errors.Join(t.Apply(pipelineChange(nil, "b", 1, "{}")), refused)
			},
			"a name that is taken": func(t *PipelinesTx) error { return t.Apply(pipelineChange(nil, "a", 2, "{}")) },
			"a version that was used": func(t *PipelinesTx) error {
				return t.Apply(pipelineChange(&Pipeline{Name: "a", Version: 1}, "a", 1, "{}"))
			},
			"a row that has changed": func(t *PipelinesTx) error {
				return t.Apply(pipelineChange(&Pipeline{Name: "a", Version: 7}, "a", 8, "{}"))
			},
			"an audit entry that cannot be written": func(t *PipelinesTx) error {
				c := pipelineChange(nil, "b", 1, "{}")
				c.Audit.ID = entries[0].ID
				return t.Apply(c)
			},
			"nothing": func(t *PipelinesTx) error {
				_, err := t.Count()
				return errors.Join(err, refused)
			},
		} {
			require.Error(t, db.ChangePipelines(ctx, change), name)
			require.Equal(t, before, pipelinesRevision(t, db), name)
			require.Equal(t, []string{"a1"}, column(t, db, "SELECT name || CAST(version AS text) FROM pipelines"), name)
			require.Equal(t, []string{"a1"}, column(t, db, "SELECT name || CAST(version AS text) FROM pipeline_versions"), name)
			require.Equal(t, []string{"a"}, column(t, db, "SELECT object FROM audit_log"), name)
		}
		require.NoError(t, db.ChangePipelines(ctx, func(t *PipelinesTx) error { return nil }))
		require.Equal(t, before, pipelinesRevision(t, db), "who only looks changes nothing")
	})
}

// Who reads in a change reads what the change before it wrote, and the oldest
// versions go.
func TestPipelinesTakeTurnsAndForget(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		require.NoError(t, applyPipeline(ctx, db, pipelineChange(nil, "a", 1, "{}")))
		require.NoError(t, applyPipeline(ctx, db, pipelineChange(nil, "b", 1, "{}")))
		const writes = 104
		next := func(definition string) error {
			return db.ChangePipelines(ctx, func(t *PipelinesTx) error {
				was, err := t.Get("a")
				if err != nil {
					return err
				}
				return t.Apply(pipelineChange(was, "a", was.Version+1, definition))
			})
		}
		var wg sync.WaitGroup
		places := make(chan struct{}, 8)
		for range writes {
			places <- struct{}{}
			wg.Go(func() {
				defer func() { <-places }()
				if err := next(`{"x":1}`); err != nil {
					t.Errorf("change: %v", err)
				}
			})
		}
		wg.Wait()
		versions, err := db.PipelineVersions(ctx, "a")
		require.NoError(t, err)
		require.Len(t, versions, maxPipelineVersions)
		for i, v := range versions {
			require.EqualValues(t, writes+1-i, v.Version)
		}

		for range 9 {
			require.NoError(t, next(strings.Repeat("x", 1<<20)))
		}
		require.Len(t, column(t, db, "SELECT CAST(version AS text) FROM pipeline_versions WHERE name = 'a'"), 8, "of a mebibyte each")
		require.Equal(t, []string{"1"}, column(t, db, "SELECT CAST(version AS text) FROM pipeline_versions WHERE name = 'b'"))
	})
}

func TestManyPipelinesAreRead(t *testing.T) {
	t.Parallel()
	db := migrated(t, "sqlite://:memory:")
	var names []string
	for n := range 2*pipelineBatch + 1 {
		names = append(names, fmt.Sprintf("p%03d", n))
		require.NoError(t, applyPipeline(t.Context(), db, pipelineChange(nil, names[n], 1, fmt.Sprintf(`{"n":%d}`, n))))
	}
	all, err := db.ReadPipelines(t.Context(), names)
	require.NoError(t, err)
	require.Len(t, all, len(names))
	all, err = db.ReadPipelines(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, all)
}
