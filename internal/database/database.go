// Package database opens the gateway's database, PostgreSQL or SQLite, brings
// its schema up to date, and holds every query. Nothing outside of it knows SQL
// or gorm: other packages get small typed methods on [DB].
package database

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// Dialect is a kind of database.
type Dialect string

// The supported kinds.
const (
	Postgres Dialect = "postgres"
	SQLite   Dialect = "sqlite"
)

// ErrNotFound says that there is no such row.
var ErrNotFound = errors.New("not found")

// Options tune the pool of connections; the zero value is right for most.
type Options struct {
	// MaxOpenConns bounds the connections to the database; 0: DefaultMaxOpenConns,
	// at least 2, since migrations hold a lock on one while they run on another.
	MaxOpenConns int
}

// DefaultMaxOpenConns is enough for the ledger, the portal and a background task
// each; many replicas times this must stay below PostgreSQL's max_connections,
// which is 100 by default.
const DefaultMaxOpenConns = 8

// connLifetime makes connections move to another server after a failover.
const connLifetime = 30 * time.Minute

// DB is a pool of connections. It is safe for concurrent use.
type DB struct {
	gorm    *gorm.DB
	pool    *sql.DB
	dialect Dialect
}

// Open prepares a pool for the URL; it does not dial, [DB.Ping] does. The forms
// are SQLAlchemy's, as users have them today:
//
//	postgresql://user:password@host:5432/name?sslmode=require   (or postgres://, postgresql+asyncpg://, …)
//	sqlite:///./relative.db    (three slashes; or sqlite+aiosqlite://)
//	sqlite:////absolute.db     (four)
//	sqlite://:memory:          (gone with the pool)
//
// Parameters of a PostgreSQL URL are pgx's; behind a PgBouncer in transaction
// mode add default_query_exec_mode=exec. Errors never hold the URL, which may
// have a password in it.
func Open(rawURL string, opts Options) (*DB, error) {
	target, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	dialector, pool, err := target.dialector()
	if err != nil {
		return nil, err
	}
	maxOpen := max(2, cmp.Or(opts.MaxOpenConns, DefaultMaxOpenConns))
	if target.inMemory() {
		maxOpen = 1 // every connection to :memory: would be a database of its own
	} else {
		pool.SetConnMaxLifetime(connLifetime)
	}
	pool.SetMaxOpenConns(maxOpen)
	pool.SetMaxIdleConns(maxOpen)

	db, err := gorm.Open(dialector, &gorm.Config{
		DisableAutomaticPing:   true,
		SkipDefaultTransaction: true,
		TranslateError:         true,
		Logger:                 logger.Discard, // errors are returned, and logged once by who handles them
		NowFunc:                func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) },
	})
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("open %s database: %w", target.dialect, err)
	}
	return &DB{gorm: db, pool: pool, dialect: target.dialect}, nil
}

// Dialect says which kind of database it is.
func (db *DB) Dialect() Dialect { return db.dialect }

// Ping dials if need be and says whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.pool.PingContext(ctx); err != nil {
		return fmt.Errorf("reach %s database: %w", db.dialect, err)
	}
	return nil
}

// Close closes the pool once running queries have ended.
func (db *DB) Close() error { return db.pool.Close() }
