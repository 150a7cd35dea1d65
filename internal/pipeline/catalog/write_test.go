package catalog

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/pipeline"
)

// The life of a pipeline as an admin leads it.
func TestEditing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		c, _ := newCatalog(t, Options{DB: db})
		require.NoError(t, c.Refresh(ctx))
		made, err := c.Create(ctx, root, []byte("# mine\n"+definition("p", "one")))
		require.NoError(t, err)
		require.Equal(t, FromDatabase, made.Source)
		require.EqualValues(t, 1, made.Version)
		require.WithinDuration(t, time.Now(), made.UpdatedAt, time.Minute)
		got, ok := c.Get("p")
		require.True(t, ok)
		require.Same(t, got, made, "it is in force on return")
		_, err = c.Create(ctx, root, []byte(definition("p", "again")))
		requireRefusal(t, err, 409, `"p" already`)

		changed, err := c.Update(ctx, root, "p", 1, []byte(definition("p", "two")))
		require.NoError(t, err)
		require.EqualValues(t, 2, changed.Version)
		require.Equal(t, "two", prompt(t, c, "p"))
		require.Equal(t, "one", made.Plan.Definition.Steps[0].Prompt, "a run keeps what it began with")
		same, err := c.Update(ctx, root, "p", 0, []byte(definition("p", "two")))
		require.NoError(t, err)
		require.Same(t, changed, same, "what changes nothing is no version")
		err = second(c.Update(ctx, root, "p", 1, []byte(definition("p", "three"))))
		requireRefusal(t, err, 409, "version 2 now")
		require.Equal(t, map[string]any{"version": int64(2)}, refusal(t, err).Details)
		err = second(c.Update(ctx, root, "p", 0, []byte(definition("q", "three"))))
		requireRefusal(t, err, 422, `name must stay "p"`)
		require.Equal(t, "name", refusal(t, err).Param)
		requireRefusal(t, second(c.Update(ctx, root, "q", 0, []byte(definition("q", "three")))), 404, "no pipeline of this name")

		reverted, err := c.Revert(ctx, root, "p", 1)
		require.NoError(t, err)
		require.EqualValues(t, 3, reverted.Version)
		require.Equal(t, "one", prompt(t, c, "p"))

		require.NoError(t, c.Delete(ctx, root, "p"))
		_, ok = c.Get("p")
		require.False(t, ok)
		requireRefusal(t, c.Delete(ctx, root, "p"), 404, "no pipeline of this name")
		for _, version := range []int64{4, 5, 0, -1} {
			err := second(c.Revert(ctx, root, "p", version))
			requireRefusal(t, err, 422, "version must be one that is kept")
			require.Equal(t, "version", refusal(t, err).Param)
		}
		requireRefusal(t, second(c.Revert(ctx, root, "q", 1)), 404, "no pipeline of this name")

		again, err := c.Create(ctx, root, []byte(definition("p", "anew")))
		require.NoError(t, err)
		require.EqualValues(t, 5, again.Version, "numbers go on, so that each means one definition")
		require.NoError(t, c.Delete(ctx, root, "p"))
		back, err := c.Revert(ctx, root, "p", 2)
		require.NoError(t, err)
		require.EqualValues(t, 7, back.Version)
		require.Equal(t, "two", prompt(t, c, "p"), "what was deleted can be brought back")

		versions, err := c.Versions(ctx, "p")
		require.NoError(t, err)
		var told []string
		for _, v := range versions {
			var d pipeline.Definition
			if v.Definition != nil {
				require.NoError(t, json.Unmarshal(v.Definition, &d))
				told = append(told, fmt.Sprint(v.Version, d.Steps[0].Prompt))
			} else {
				told = append(told, fmt.Sprint(v.Version))
			}
			require.Equal(t, "7007", v.ActorHash)
			require.WithinDuration(t, time.Now(), v.CreatedAt, time.Minute)
		}
		require.Equal(t, []string{"7two", "6", "5anew", "4", "3one", "2two", "1one"}, told)
		_, err = c.Versions(ctx, "q")
		requireRefusal(t, err, 404, "no pipeline of this name")
		requireAudit(t, db, versions)
	})
}

func second(_ *Entry, err error) error { return err }

// requireAudit checks the audit log's entries of a pipeline that was changed in
// every way: they tell what it was by the hash.
func requireAudit(t *testing.T, db *database.DB, versions []Version) {
	t.Helper()
	entries, err := db.ListAudit(t.Context(), "", 100)
	require.NoError(t, err)
	texts := []string{""}
	var actions []string
	for i, e := range slices.Backward(entries) {
		actions = append(actions, strings.TrimPrefix(e.Action, "pipeline."))
		require.Equal(t, []string{"7007", "p", "req_1"}, []string{e.ActorHash, e.Object, e.RequestID})
		v := versions[i]
		after := ""
		if v.Definition != nil {
			after = fmt.Sprintf(`{"name":"p","version":%d,"sha256":"%x"}`, v.Version, sha256.Sum256(v.Definition))
		}
		require.Equal(t, texts[len(texts)-1], e.Before)
		require.Equal(t, after, e.After)
		texts = append(texts, after)
	}
	require.Equal(t, []string{"create", "update", "revert", "delete", "create", "delete", "revert"}, actions)
}

func TestFaultyDefinitionsAreNotKept(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		c, _ := newCatalog(t, Options{DB: db, Known: pipeline.Known{Specialist: func(string) bool { return false }}})
		for _, text := range []string{"", "{", "[]", "name: p", definition("P", "x"), strings.Repeat(" ", pipeline.MaxText) + definition("p", "x")} {
			var faults *pipeline.Faults
			require.ErrorAs(t, second(c.Create(ctx, root, []byte(text))), &faults, "%.20s", text)
			require.NotEmpty(t, faults.List)
			require.ErrorAs(t, second(c.Update(ctx, root, "p", 0, []byte(text))), &faults, "%.20s", text)
		}
		entries, err := db.ListAudit(ctx, "", 1)
		require.NoError(t, err)
		require.Empty(t, entries)
		e, err := c.Create(ctx, root, []byte(definition("p", "x")))
		require.NoError(t, err, "what it refers to may come later")
		require.Contains(t, c.Faults(e).Error(), `there is no specialist "reader"`)
	})
}

// A file beats a row, and a row an example.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB) {
		ctx, dir := t.Context(), t.TempDir()
		c, _ := newCatalog(t, Options{DB: db, Examples: true, Dir: dir})
		source := func() Source {
			e, ok := c.Get(example)
			require.True(t, ok)
			return e.Source
		}
		require.Equal(t, FromExample, source())
		requireRefusal(t, c.Delete(ctx, root, example), 409, "shipped example; read-only")
		requireRefusal(t, second(c.Update(ctx, root, example, 0, []byte(definition(example, "x")))), 409, "shipped example; read-only")
		requireRefusal(t, second(c.Revert(ctx, root, example, 1)), 409, "shipped example; read-only")
		shown := len(c.List())

		_, err := c.Create(ctx, root, []byte(definition(example, "mine")))
		require.NoError(t, err)
		require.Equal(t, FromDatabase, source())
		require.Len(t, c.List(), shown)

		write(t, dir, "x.yaml", definition(example, "of a file"))
		require.NoError(t, c.Refresh(ctx))
		require.Equal(t, FromFile, source())
		require.Len(t, c.List(), shown)
		requireRefusal(t, c.Delete(ctx, root, example), 409, "is defined in a file; read-only")
		requireRefusal(t, second(c.Create(ctx, root, []byte(definition(example, "x")))), 409, "is defined in a file; read-only")
		requireRefusal(t, second(c.Update(ctx, root, example, 0, []byte(definition(example, "x")))), 409, "is defined in a file; read-only")
		requireRefusal(t, second(c.Revert(ctx, root, example, 1)), 409, "is defined in a file; read-only")

		require.NoError(t, os.Remove(filepath.Join(dir, "x.yaml")))
		require.NoError(t, c.Refresh(ctx))
		require.Equal(t, "mine", prompt(t, c, example))
		require.NoError(t, c.Delete(ctx, root, example))
		require.Equal(t, FromExample, source(), "the example is back")
	})
}

// Several replicas write at once: one of each race wins, and no version is lost.
func TestWritersTakeTurns(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB) {
		var replicas []*Catalog
		for range 3 {
			c, _ := newCatalog(t, Options{DB: db})
			replicas = append(replicas, c)
		}
		race := func(write func(c *Catalog, n int) error) (won int) {
			var wg sync.WaitGroup
			failures := make(chan error, 9)
			for n := range cap(failures) {
				wg.Go(func() { failures <- write(replicas[n%3], n) })
			}
			wg.Wait()
			close(failures)
			for err := range failures {
				if err == nil {
					won++
					continue
				}
				requireRefusal(t, err, 409, "")
			}
			return won
		}
		text := func(n int) []byte { return []byte(definition("p", fmt.Sprintf("p%d", n))) }
		require.Equal(t, 1, race(func(c *Catalog, n int) error { return second(c.Create(t.Context(), root, text(n))) }))
		require.Equal(t, 1, race(func(c *Catalog, n int) error { return second(c.Update(t.Context(), root, "p", 1, text(n+100))) }))
		require.Equal(t, 9, race(func(c *Catalog, n int) error { return second(c.Update(t.Context(), root, "p", 0, text(n+200))) }))
		versions, err := replicas[0].Versions(t.Context(), "p")
		require.NoError(t, err)
		require.Len(t, versions, 11)
		for i, v := range versions {
			require.EqualValues(t, 11-i, v.Version)
		}
	})
}

func TestTheDatabaseIsBounded(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		require.NoError(t, db.ChangePipelines(ctx, func(rows *database.PipelinesTx) error {
			for n := range maxStored {
				name := fmt.Sprintf("p%d", n)
				p := database.Pipeline{Name: name, Version: 1, Definition: definition(name, "x"), CreatedAt: now(), UpdatedAt: now()}
				if err := (&tx{rows}).apply(root, actionCreate, nil, &p, database.PipelineVersion{Name: name, Version: 1, CreatedAt: now()}); err != nil {
					return err
				}
			}
			return nil
		}))
		c, log := newCatalog(t, Options{DB: db})
		require.NoError(t, c.Refresh(ctx))
		require.Len(t, c.List(), maxStored, log)
		requireRefusal(t, second(c.Create(ctx, root, []byte(definition("more", "x")))), 409, "500 pipelines")
		_, err := c.Update(ctx, root, "p7", 1, []byte(definition("p7", "y")))
		require.NoError(t, err)
		require.NoError(t, c.Delete(ctx, root, "p7"))
		_, err = c.Create(ctx, root, []byte(definition("more", "x")))
		require.NoError(t, err)
	})
}

func TestWithoutADatabase(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, _ := newCatalog(t, Options{Examples: true})
	require.NoError(t, c.Start(ctx))
	defer c.Stop()
	require.NoError(t, c.Refresh(ctx))
	requireRefusal(t, second(c.Create(ctx, root, []byte(definition("p", "x")))), 404, "turned off")
	requireRefusal(t, second(c.Update(ctx, root, "p", 0, []byte(definition("p", "x")))), 404, "turned off")
	requireRefusal(t, second(c.Revert(ctx, root, "p", 1)), 404, "turned off")
	requireRefusal(t, c.Delete(ctx, root, "p"), 404, "turned off")
	_, err := c.Versions(ctx, "p")
	requireRefusal(t, err, 404, "turned off")
}
