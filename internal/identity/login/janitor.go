package login

import (
	"context"
	"log/slog"
	"time"

	"github.com/financecommander/tollgate/internal/janitor"
)

// sweepBatch is how many expired codes are deleted at a time.
const sweepBatch = 100

// NewJanitor makes what deletes codes that have expired. They let nobody in
// meanwhile.
func NewJanitor(store Store, logger *slog.Logger) *janitor.Janitor {
	return janitor.New(logger, janitor.Task{
		What: "expired log-in codes", Batch: sweepBatch,
		Delete: func(ctx context.Context, limit int) (int64, error) {
			return store.DeleteExpiredLoginCodes(ctx, time.Now(), limit)
		},
	})
}
