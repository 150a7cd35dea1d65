package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// How long start waits for a database to answer, how long it lets migrations
// take, and how often it looks again for a database that was away then.
const (
	startTimeout   = 15 * time.Second
	migrateTimeout = 10 * time.Minute
	retryDatabase  = 2 * time.Second
)

// start brings the database up to date and begins the background work. A
// database that does not answer is no reason not to start: usage records wait
// in the spool, and what is missing is made up for as soon as it is back. One
// that answers and cannot be used is.
func (e *engine) start(ctx caddy.Context, migrate bool) error {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e.cancel = cancel
	e.verifier.Start(background)
	err := e.prepare(background, migrate)
	switch {
	case errors.Is(err, errUnreachable):
		e.logger.Error("the database does not answer; calls are served, their usage records wait in the spool", slog.Any("error", err))
		e.starting.Go(func() { e.prepareLater(background, migrate) })
	case err != nil:
		return err
	}
	e.startIdentity(background)
	e.conversations.Start(context.WithoutCancel(background)) // pooled, too
	if err := e.specialists.Start(background); err != nil {
		return err
	}
	if err := e.ledger.start(); err != nil {
		return err
	}
	if err := e.startPipelines(background); err != nil {
		return err
	}
	e.responses.Start(background)
	close(e.started)
	return nil
}

var errUnreachable = errors.New("database unreachable")

// prepare migrates and seeds.
func (e *engine) prepare(ctx context.Context, migrate bool) error {
	ping, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := e.db.Ping(ping); err != nil {
		return fmt.Errorf("%w: %w", errUnreachable, err)
	}
	ctx, cancel = context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	if !migrate {
		pending, err := e.db.Pending(ctx)
		if err != nil {
			return err
		}
		if len(pending) > 0 {
			return fmt.Errorf("the database lacks %s; run `tollgate migrate` with the same configuration, or set `auto_migrate on`", strings.Join(pending, ", "))
		}
	} else {
		applied, err := e.db.Migrate(ctx)
		if err != nil {
			return err
		}
		for _, m := range applied {
			e.logger.InfoContext(ctx, "migrated the database", slog.String("migration", m.Name), slog.Duration("took", m.Duration))
		}
	}
	return e.specialists.Seed(ctx)
}

func (e *engine) prepareLater(ctx context.Context, migrate bool) {
	ticker := time.NewTicker(retryDatabase)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := e.prepare(ctx, migrate)
		if err == nil {
			err = e.specialists.Refresh(ctx) // without waiting for its next turn
		}
		if err == nil {
			e.logger.InfoContext(ctx, "the database is back")
			return
		}
		if !errors.Is(err, errUnreachable) && ctx.Err() == nil {
			e.logger.ErrorContext(ctx, "the database is back but cannot be used yet", slog.Any("error", err))
		}
	}
}
