package janitor_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/janitor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// heap is what a test's janitor works on.
type heap struct {
	mu     sync.Mutex // guards all below
	left   int64
	fails  int
	sweeps []time.Time
}

// seen gives what happened so far.
func (h *heap) seen() (left int64, sweeps []time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.left, slices.Clone(h.sweeps)
}

func (h *heap) task(what string) janitor.Task {
	return janitor.Task{What: what, Batch: 100, Delete: func(ctx context.Context, limit int) (int64, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.sweeps = append(h.sweeps, time.Now())
		if h.fails > 0 {
			h.fails--
			return 0, errors.New("no database")
		}
		deleted := min(h.left, int64(limit))
		h.left -= deleted
		return deleted, ctx.Err()
	}}
}

func TestSweepsNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		broken, good := &heap{left: 1, fails: 1}, &heap{left: 250}
		j := janitor.New(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), broken.task("old rows"), good.task("older rows"))
		j.Start(t.Context())
		j.Start(t.Context())
		time.Sleep(janitor.Interval * 4 / 5)
		synctest.Wait()
		_, sweeps := good.seen()
		require.Empty(t, sweeps)
		time.Sleep(janitor.Interval * 2 / 5)
		synctest.Wait()
		_, sweeps = good.seen()
		require.Len(t, sweeps, 3, "100, 100 and 50")
		_, sweeps = broken.seen()
		require.Len(t, sweeps, 1, "an error ends the task, and not the others")

		time.Sleep(janitor.Interval * 6 / 5)
		synctest.Wait()
		left, _ := broken.seen()
		require.Zero(t, left, "it is tried again")
		j.Stop()
		j.Stop()
		_, sweeps = good.seen()
		require.GreaterOrEqual(t, sweeps[3].Sub(sweeps[2]), janitor.Interval*4/5)
		require.Contains(t, log.String(), "old rows could not be deleted; trying again in some minutes")
		require.Contains(t, log.String(), `msg="deleted older rows" count=250`)
		time.Sleep(time.Hour)
		_, after := good.seen()
		require.Equal(t, sweeps, after, "nothing after the end")
	})
}

// Stopping ends a sweep that hangs.
func TestStopsInASweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := janitor.New(nil, janitor.Task{What: "rows", Batch: 1, Delete: func(ctx context.Context, _ int) (int64, error) {
			<-ctx.Done()
			return 1, ctx.Err()
		}})
		j.Start(t.Context())
		time.Sleep(janitor.Interval*6/5 + time.Second)
		j.Stop()
		janitor.New(nil).Stop()
	})
}
