package database

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// Applied is a migration that was run.
type Applied struct {
	Name     string // file name, "00001_usage_logs.sql"
	Duration time.Duration
}

// Migrate brings the schema up to date and makes the partitions of the coming
// months. Replicas that start together take turns; who waits longer than
// [LockWait] gives up with an error. Each migration is a transaction with
// bounded waits for the locks of tables, so that a forgotten session makes it
// fail instead of stopping all traffic behind it.
func (db *DB) Migrate(ctx context.Context) ([]Applied, error) {
	provider, err := db.migrator()
	if err != nil {
		return nil, err
	}
	if err := db.refuseForeignTables(ctx, provider); err != nil {
		return nil, err
	}
	results, err := provider.Up(ctx)
	if partial, ok := errors.AsType[*goose.PartialError](err); ok {
		results = partial.Applied
	}
	applied := make([]Applied, 0, len(results))
	for _, r := range results {
		applied = append(applied, Applied{Name: path.Base(r.Source.Path), Duration: r.Duration})
	}
	if err != nil {
		return applied, fmt.Errorf("migrate database: %w", err)
	}
	return applied, db.EnsurePartitions(ctx, time.Now())
}

// Pending lists the migrations that the database lacks, by file name. A gateway
// that does not migrate by itself must not serve while there are any. It writes
// nothing and takes no lock.
func (db *DB) Pending(ctx context.Context) ([]string, error) {
	provider, err := db.migrator()
	if err != nil {
		return nil, err
	}
	done, err := db.appliedVersions(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for pending migrations: %w", err)
	}
	var pending []string
	for _, source := range provider.ListSources() {
		if !slices.Contains(done, source.Version) {
			pending = append(pending, path.Base(source.Path))
		}
	}
	return pending, nil
}

// ErrForeignTable says that the database has a table of another program under a
// name that Tollgate needs.
var ErrForeignTable = errors.New("a table of another program is in the way")

// created finds the tables that a migration makes.
var created = regexp.MustCompile(`(?m)^CREATE TABLE (\w+)`)

// refuseForeignTables keeps a migration from failing half-way, or from taking
// over what is somebody else's, in a database that the portal's earlier backend
// used.
func (db *DB) refuseForeignTables(ctx context.Context, provider *goose.Provider) error {
	applied, err := db.appliedVersions(ctx)
	if err != nil {
		return err
	}
	for _, source := range provider.ListSources() {
		if slices.Contains(applied, source.Version) {
			continue
		}
		text, err := fs.ReadFile(migrations, "migrations/"+string(db.dialect)+"/"+path.Base(source.Path))
		if err != nil {
			return err
		}
		for _, match := range created.FindAllSubmatch(text, -1) {
			table := string(match[1])
			if !db.gorm.WithContext(ctx).Migrator().HasTable(table) {
				continue
			}
			// Asked after the table was seen: another replica may just have made it.
			if applied, err = db.appliedVersions(ctx); err != nil {
				return err
			}
			if slices.Contains(applied, source.Version) {
				break
			}
			return fmt.Errorf("%w: rename it (ALTER TABLE %s RENAME TO %s_before_tollgate) or name another database", ErrForeignTable, table, table)
		}
	}
	return nil
}

// appliedVersions reads goose's table. goose itself would make it when it is
// missing, for which the account of a running gateway may have no right.
func (db *DB) appliedVersions(ctx context.Context) ([]int64, error) {
	query := "SELECT count(*) FROM sqlite_master WHERE name = ?"
	if db.dialect == Postgres {
		query = "SELECT count(to_regclass(?))"
	}
	var exists int
	if err := db.gorm.WithContext(ctx).Raw(query, versionTable).Scan(&exists).Error; err != nil || exists == 0 {
		return nil, err
	}
	var versions []int64
	err := db.gorm.WithContext(ctx).Raw("SELECT version_id FROM " + versionTable + " WHERE is_applied").Scan(&versions).Error
	return versions, err
}

// versionTable is goose's table, under a name that another program in the same
// database does not use.
const versionTable = "tollgate_migrations"

func (db *DB) migrator() (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations/"+string(db.dialect))
	if err != nil {
		return nil, err
	}
	dialect := goose.DialectSQLite3
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithTableName(versionTable)}
	if db.dialect == Postgres {
		dialect = goose.DialectPostgres
		options = append(options, goose.WithLocker(&migrationLock{}))
	}
	provider, err := goose.NewProvider(dialect, db.pool, files, options...)
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return provider, nil
}

// LockWait is how long Migrate waits for another process that migrates.
const LockWait = time.Minute

// lockPoll is how often it looks whether the other has finished.
const lockPoll = 200 * time.Millisecond

// migrationLockID is the advisory lock all Tollgate processes agree on
// ("tollgate" in ASCII, as a positive bigint).
const migrationLockID int64 = 0x746f6c6c67617465

// migrationLock lets one process migrate at a time. The lock belongs to a
// transaction that stays open meanwhile, not to a session: behind a PgBouncer in
// transaction mode a session's lock would stay on a connection that is no longer
// ours, and block every later start. It ends with its connection, so that a
// process killed while migrating leaves nothing locked.
type migrationLock struct{ tx *sql.Tx }

// Lock implements goose's lock.Locker.
func (l *migrationLock) Lock(ctx context.Context, pool *sql.DB) error {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	l.tx = tx
	if err := waitForLock(ctx, tx); err != nil {
		return errors.Join(err, l.Unlock(ctx, pool))
	}
	return nil
}

func waitForLock(ctx context.Context, tx *sql.Tx) error {
	// The transaction idles while the migrations run on another connection.
	if _, err := tx.ExecContext(ctx, "SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, LockWait)
	defer cancel()
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for held := false; ; held = true {
		var locked bool
		err := tx.QueryRowContext(ctx, "SELECT pg_try_advisory_xact_lock($1)", migrationLockID).Scan(&locked)
		if locked || err != nil && (!held || ctx.Err() == nil) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("another process is migrating the database: %w", ctx.Err())
		}
	}
}

// Unlock implements goose's lock.Locker. The transaction changed nothing, and is
// gone already when the context of Lock has ended.
func (l *migrationLock) Unlock(context.Context, *sql.DB) error {
	if err := l.tx.Rollback(); !errors.Is(err, sql.ErrTxDone) {
		return err
	}
	return nil
}
