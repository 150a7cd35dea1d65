package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/pipeline"
)

// insert writes a row as another version of the gateway might.
func insert(t *testing.T, db *database.DB, name, text string) {
	t.Helper()
	require.NoError(t, db.ChangePipelines(t.Context(), func(rows *database.PipelinesTx) error {
		p := &database.Pipeline{Name: name, Version: 1, Definition: text, CreatedAt: now(), UpdatedAt: now()}
		return (&tx{rows}).apply(root, actionCreate, nil, p, database.PipelineVersion{Name: name, Version: 1, Definition: text, CreatedAt: now()})
	}))
}

// What one replica writes, all have within a second, at the cost of what changed.
func TestReplicasFollowWithinASecond(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		var replicas []*Catalog
		for range 3 {
			c, _ := newCatalog(t, Options{DB: db})
			require.NoError(t, c.Start(ctx))
			t.Cleanup(c.Stop)
			replicas = append(replicas, c)
		}
		var waits []time.Duration
		everywhere := func(known func(*Catalog) bool) {
			t.Helper()
			start := time.Now()
			for _, c := range replicas {
				for !known(c) {
					require.Less(t, time.Since(start), 30*time.Second)
					time.Sleep(5 * time.Millisecond)
				}
			}
			waits = append(waits, time.Since(start))
		}
		has := func(name, prompt string) func(*Catalog) bool {
			return func(c *Catalog) bool {
				e, ok := c.Get(name)
				return ok && e.Plan.Definition.Steps[0].Prompt == prompt
			}
		}
		_, err := replicas[0].Create(ctx, root, []byte(definition("still", "x")))
		require.NoError(t, err)
		everywhere(has("still", "x"))
		still, _ := replicas[1].Get("still")
		for n, writer := range replicas[:2] {
			_, err := writer.Create(ctx, root, []byte(definition("p", "one")))
			require.NoError(t, err)
			require.True(t, has("p", "one")(writer), "the replica that writes knows at once")
			everywhere(has("p", "one"))
			_, err = replicas[(n+1)%3].Update(ctx, root, "p", 0, []byte(definition("p", "two")))
			require.NoError(t, err)
			everywhere(has("p", "two"))
			require.NoError(t, replicas[(n+2)%3].Delete(ctx, root, "p"))
			everywhere(func(c *Catalog) bool { _, ok := c.Get("p"); return !ok })
		}
		same, _ := replicas[1].Get("still")
		require.Same(t, still, same, "what has not changed keeps its plan")
		// Not all of them: the machine that runs the tests may be busy.
		slices.Sort(waits)
		require.Less(t, waits[len(waits)/2], time.Second)
	})
}

// A row that cannot be read takes nothing down, and can be mended.
func TestBrokenRowsAreLeftOut(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		insert(t, db, "good", definition("good", "x"))
		insert(t, db, "later", `{"name":"later","steps":[{"name":"a","specialist":"s","telepathy":true}]}`)
		insert(t, db, "named", definition("other", "x"))
		insert(t, db, example, "{")
		c, log := newCatalog(t, Options{DB: db, Examples: true})
		_, ok := c.Get(example)
		require.True(t, ok)
		for n := range 3 {
			require.NoError(t, c.Refresh(ctx))
			name := fmt.Sprintf("x%d", n)
			insert(t, db, name, definition(name, "x")) // so that there is something new
		}
		_, ok = c.Get("good")
		require.True(t, ok)
		for _, name := range []string{"later", "named", "other", example} {
			_, ok := c.Get(name)
			require.False(t, ok, name)
		}
		require.Equal(t, 1, strings.Count(log.String(), "pipeline=later"), "said once: %s", log)
		require.Contains(t, log.String(), "telepathy")
		var broken []string
		for _, b := range c.Broken() {
			broken = append(broken, b.Name)
			require.NotEmpty(t, b.Faults.List)
			require.EqualValues(t, 1, b.Version)
		}
		require.Equal(t, []string{"later", example, "named"}, broken)
		requireRefusal(t, second(c.Create(ctx, root, []byte(definition("later", "x")))), 409, "already")
		_, err := c.Update(ctx, root, "later", 1, []byte(definition("later", "mended")))
		require.NoError(t, err)
		require.Equal(t, "mended", prompt(t, c, "later"))
		var faults *pipeline.Faults
		require.ErrorAs(t, second(c.Revert(ctx, root, "later", 1)), &faults)
		require.NoError(t, c.Delete(ctx, root, example))
		_, ok = c.Get(example)
		require.True(t, ok, "the example is back")
	})
}

// A database that goes away leaves what was known, and says so once.
func TestTheDatabaseGoesAway(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := migrated(t, sqliteURL(t))
	insert(t, db, "p", definition("p", "x"))
	c, log := newCatalog(t, Options{DB: db, Interval: 10 * time.Millisecond})
	require.NoError(t, c.Start(ctx))
	defer c.Stop()
	require.Equal(t, "x", prompt(t, c, "p"), "loaded by Start")
	require.NoError(t, db.Close())
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "cannot be read") }, 10*time.Second, 5*time.Millisecond)
	for range 5 {
		require.Error(t, c.Refresh(ctx))
	}
	require.Equal(t, "x", prompt(t, c, "p"))
	err := second(c.Create(ctx, root, []byte(definition("q", "x"))))
	requireRefusal(t, err, 503, "try again")
	require.NotZero(t, refusal(t, err).RetryAfter)
	_, err = c.Versions(ctx, "p")
	requireRefusal(t, err, 503, "try again")
	c.Stop()
	require.Equal(t, 1, strings.Count(log.String(), "cannot be read"), "said once: %s", log)

	cold, log := newCatalog(t, Options{DB: db, Examples: true, Interval: time.Hour})
	require.NoError(t, cold.Start(ctx), "the gateway starts all the same")
	defer cold.Stop()
	require.NotEmpty(t, cold.List())
	require.Contains(t, log.String(), "cannot be read")
}

// What a pipeline refers to is looked up when it is asked for.
func TestFaultsAreThoseOfNow(t *testing.T) {
	t.Parallel()
	var specialists []string
	c, _ := newCatalog(t, Options{DB: migrated(t, sqliteURL(t)), Known: pipeline.Known{
		Specialist: func(name string) bool { return slices.Contains(specialists, name) },
	}})
	e, err := c.Create(t.Context(), root, []byte(definition("p", "x")))
	require.NoError(t, err)
	faults := c.Faults(e)
	require.Len(t, faults.List, 1)
	require.Equal(t, "steps[0].specialist", faults.List[0].Path)
	specialists = append(specialists, "reader")
	require.Nil(t, c.Faults(e))

	e, faults = c.Validate([]byte(definition("q", "x")))
	require.Nil(t, faults)
	require.Equal(t, "q", e.Plan.Definition.Name)
	_, ok := c.Get("q")
	require.False(t, ok)
	specialists = nil
	e, faults = c.Validate([]byte(definition("q", "x")))
	require.NotNil(t, e)
	require.Len(t, faults.List, 1)
	e, faults = c.Validate([]byte("name: q"))
	require.Nil(t, e)
	require.NotEmpty(t, faults.List)
}

// Whoever has left before the change was made changes nothing.
func TestALeaverChangesNothing(t *testing.T) {
	t.Parallel()
	c, _ := newCatalog(t, Options{DB: migrated(t, sqliteURL(t))})
	ctx, leave := context.WithCancel(t.Context())
	leave()
	require.Error(t, second(c.Create(ctx, root, []byte(definition("p", "x")))))
	_, ok := c.Get("p")
	require.False(t, ok)
}

func TestGetAllocatesNothing(t *testing.T) {
	c, _ := newCatalog(t, Options{Examples: true})
	name := strings.Clone(example)
	require.Zero(t, testing.AllocsPerRun(100, func() { c.Get(name) }))
}
