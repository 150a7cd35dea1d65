package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"path/filepath"
	"slices"
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
			shared := &sharedLedger{l, sync.OnceValue(l.Start)}
			ledgers.add(shared)
			return shared, nil
		},
		(*sharedLedger).close)
	return err
}

func (l *sharedLedger) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	err := l.Stop(ctx)
	ledgers.remove(l)
	return err
}

func init() { metrics.WatchLedger(ledgers.state) }

// ledgers are all that the process has open: a live stream may still need the
// one of an earlier configuration.
var ledgers ledgerSet

type ledgerSet struct {
	mu     sync.Mutex // guards what follows
	open   []*sharedLedger
	closed metrics.LedgerState // what those did that are gone, so that counters never go back
}

func (s *ledgerSet) add(l *sharedLedger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, l)
}

func (s *ledgerSet) remove(l *sharedLedger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = slices.DeleteFunc(s.open, func(other *sharedLedger) bool { return other == l })
	stats := l.Stats()
	s.closed.Shipped += stats.Shipped
	s.closed.Parked += stats.Parked
	s.closed.Corrupt += stats.Corrupt
	s.closed.Unjournaled += stats.Unjournaled
}

// state is that of all ledgers together.
func (s *ledgerSet) state() metrics.LedgerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.closed
	for _, l := range s.open {
		stats := l.Stats()
		all.QueuedRecords += stats.Records
		all.QueuedBytes += stats.Bytes
		all.OldestAgeSeconds = max(all.OldestAgeSeconds, stats.Oldest.Seconds())
		all.Shipped += stats.Shipped
		all.Parked += stats.Parked
		all.Corrupt += stats.Corrupt
		all.Unjournaled += stats.Unjournaled
	}
	return all
}

// flush ships what is left when the process ends: streams that were cut never
// let go of their ledger, so nothing else would.
func (s *ledgerSet) flush(ctx context.Context) {
	s.mu.Lock()
	open := slices.Clone(s.open)
	s.mu.Unlock()
	var all sync.WaitGroup
	for _, l := range open {
		all.Go(func() { _ = l.Stop(ctx) }) // what is left is on disk, and the ledger has logged it
	}
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
		Shipped: s.Shipped, Parked: s.Parked, Corrupt: s.Corrupt, Unjournaled: s.Unjournaled, LastError: s.LastError,
	}
}
