package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"path/filepath"
	"sync"

	"github.com/caddyserver/caddy/v2"

	"github.com/financecommander/tollgate/internal/metrics"
	"github.com/financecommander/tollgate/internal/usage"
)

// sharedLedger is a ledger that several configurations use one after another.
type sharedLedger struct {
	*usage.Ledger
	start func() error // starts it, once
}

// openLedger opens the ledger of the engine's database. Each database has a
// spool folder of its own, so that records reach the database of the
// configuration they were made under.
func (e *engine) openLedger(caddy.Context) error {
	url, err := e.databaseURL()
	if err != nil {
		return err
	}
	dir := filepath.Join(e.app.DataDir, "spool", spoolName(url))
	db, logger, maxBytes := e.db, e.logger, e.app.SpoolMaxBytes
	e.ledger, err = hold(e, "ledger "+url+" "+dir,
		func() (*sharedLedger, error) {
			l := usage.New(usage.Config{Dir: dir, MaxBytes: maxBytes, Logger: logger}, db)
			return &sharedLedger{l, sync.OnceValue(l.Start)}, nil
		},
		(*sharedLedger).close)
	if err != nil {
		return err
	}
	ledger := e.ledger
	metrics.WatchLedger(func() metrics.LedgerState {
		s := ledger.Stats()
		return metrics.LedgerState{
			QueuedRecords: s.Records, QueuedBytes: s.Bytes, OldestAgeSeconds: s.Oldest.Seconds(),
			Shipped: s.Shipped, Parked: s.Parked, Corrupt: s.Corrupt,
		}
	})
	return nil
}

func (l *sharedLedger) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	return l.Stop(ctx)
}

// flushLedgers ships what is left when the process ends: streams that were cut
// never let go of their ledger, so nothing else would.
func flushLedgers(ctx context.Context) {
	var all sync.WaitGroup
	pool.Range(func(_, value any) bool {
		if held, ok := value.(*pooled[*sharedLedger]); ok {
			all.Go(func() { _ = held.value.Stop(ctx) }) // what is left is on disk, and the ledger has logged it
		}
		return true
	})
	all.Wait()
}

// spoolName names a database's spool folder by where the database is, without
// its password and options, which may change while records wait.
func spoolName(raw string) string {
	place := raw
	if u, err := url.Parse(raw); err == nil {
		place = u.Host + u.Path
	}
	sum := sha256.Sum256([]byte(place))
	return hex.EncodeToString(sum[:6])
}

func (e *engine) spoolStatus() SpoolStatus {
	s := e.ledger.Stats()
	return SpoolStatus{
		QueuedRecords: s.Records, QueuedBytes: s.Bytes, OldestAge: s.Oldest,
		Shipped: s.Shipped, Parked: s.Parked, Corrupt: s.Corrupt, LastError: s.LastError,
	}
}
