package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	gormsqlite "gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"modernc.org/sqlite"
)

// sqlitePragmas configure each connection. WAL lets readers go on beside the one
// writer, and a transaction that will write says so at once (_txlock), since two
// that upgrade from reading would deadlock. synchronous is FULL because the
// ledger deletes its spool once the database has committed: with NORMAL a power
// cut would take back what was committed last.
var sqlitePragmas = url.Values{
	"_pragma":      {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"},
	"_txlock":      {"immediate"},
	"_time_format": {"sqlite"},
	"_timezone":    {"UTC"},
}

func sqliteDialector(path string) (gorm.Dialector, *sql.DB, error) {
	// A path is escaped as in any URI, lest a '?' in it begin the parameters.
	dsn := "file:" + strings.ReplaceAll(url.PathEscape(path), "%2F", "/") + "?" + sqlitePragmas.Encode()
	connector, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, nil, fmt.Errorf("open sqlite database: %w", err)
	}
	if path != memory {
		connector = privateFile{Connector: connector, path: path}
	}
	pool := sql.OpenDB(connector)
	return lazyDialector{pool: pool}, pool, nil
}

// privateFile makes the database's file, and its folder where that is missing,
// readable by the owner only. SQLite gives its WAL the same permissions.
type privateFile struct {
	driver.Connector
	path string
}

// Connect implements driver.Connector.
func (p privateFile) Connect(ctx context.Context) (driver.Conn, error) {
	if _, err := os.Stat(p.path); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(p.path), 0o700); err != nil {
			return nil, err
		}
		file, err := os.OpenFile(p.path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := file.Close(); err != nil {
			return nil, err
		}
	}
	return p.Connector.Connect(ctx)
}

// lazyDialector is gorm's SQLite dialect on a pool that is not dialled yet:
// gorm's own asks the library for its version at once, which would make the
// file. Ours answers that question from a database in memory.
type lazyDialector struct {
	gormsqlite.Dialector
	pool *sql.DB
}

// Initialize implements gorm.Dialector.
func (d lazyDialector) Initialize(db *gorm.DB) error {
	probe, err := sql.Open("sqlite", memory)
	if err != nil {
		return err
	}
	defer probe.Close()
	d.Conn = probe
	if err := d.Dialector.Initialize(db); err != nil {
		return err
	}
	db.ConnPool = d.pool
	return nil
}
