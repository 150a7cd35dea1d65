package database

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
)

// target is what a database URL says.
type target struct {
	dialect Dialect
	dsn     string // postgres: the URL as pgx takes it; sqlite: the file's path
}

const memory = ":memory:"

func (t target) inMemory() bool { return t.dialect == SQLite && t.dsn == memory }

// parseURL understands SQLAlchemy's URLs. A driver after a plus sign
// ("postgresql+asyncpg") names a Python library and is ignored.
func parseURL(raw string) (target, error) {
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		return target{}, errors.New("database URL: want postgresql://… or sqlite:///…")
	}
	kind, _, _ := strings.Cut(scheme, "+")
	switch kind {
	case "postgres", "postgresql":
		return target{dialect: Postgres, dsn: "postgres://" + rest}, nil
	case "sqlite":
		path, err := sqlitePath(rest)
		return target{dialect: SQLite, dsn: path}, err
	default:
		return target{}, fmt.Errorf("database URL: unknown scheme %q: want postgresql:// or sqlite://", kind)
	}
}

// sqlitePath reads what follows sqlite://, where the first slash ends an empty
// host: "/x.db" is the relative path x.db, "//x.db" the absolute one /x.db.
func sqlitePath(rest string) (string, error) {
	rest, query, _ := strings.Cut(rest, "?")
	if query != "" {
		return "", errors.New("database URL: sqlite takes no parameters")
	}
	if rest == "" || rest == "/" || strings.TrimPrefix(rest, "/") == memory {
		return memory, nil
	}
	path, ok := strings.CutPrefix(rest, "/")
	if !ok {
		return "", errors.New("database URL: sqlite wants three slashes before a relative path and four before an absolute one")
	}
	path, err := url.PathUnescape(path)
	if err != nil || strings.ContainsRune(path, 0) {
		return "", errors.New("database URL: bad escape in the path")
	}
	return path, nil
}

// dialector is gorm's driver for the target, on a pool that has not dialled.
func (t target) dialector() (gorm.Dialector, *sql.DB, error) {
	if t.dialect == SQLite {
		return sqliteDialector(t.dsn)
	}
	config, err := pgx.ParseConfig(t.dsn)
	if err != nil {
		// pgx's error quotes the URL with its password masked, which it cannot
		// do when the URL is too broken to find the password in.
		return nil, nil, errors.New("database URL: not a valid postgresql URL (are special characters in the password percent-encoded?)")
	}
	pool := stdlib.OpenDB(*config)
	return postgres.New(postgres.Config{Conn: pool}), pool, nil
}
