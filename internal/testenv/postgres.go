package testenv

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// sharedPostgres is the one cluster of this test process: making one takes a
// second, making a database in it some 20 ms. Its janitor ends it with us.
var sharedPostgres = sync.OnceValues(func() (*Server, error) {
	return StartPostgres(context.Background())
})

// Postgres returns the URL of a fresh, empty database of the test's own, which
// is dropped when the test ends.
func Postgres(t testing.TB) string {
	t.Helper()
	base := os.Getenv(EnvDatabaseURL)
	if base == "" {
		server, err := sharedPostgres()
		require(t, err)
		base = PostgresURL(server)
	}
	fresh, err := CreateDatabase(t.Context(), base)
	require(t, err)
	t.Cleanup(func() { require(t, DropDatabase(context.WithoutCancel(t.Context()), base, fresh)) })
	return fresh
}

// PostgresServer starts a cluster of the test's own that can be stopped and
// started again; its URL names the database "postgres".
func PostgresServer(t testing.TB) *TestServer {
	t.Helper()
	server, err := StartPostgres(t.Context())
	require(t, err)
	t.Cleanup(func() { require(t, server.Close()) })
	return &TestServer{t: t, server: server, url: PostgresURL(server)}
}

// PostgresURL is the URL of a started cluster's database "postgres".
func PostgresURL(s *Server) string {
	return "postgres://postgres@" + s.Addr + "/postgres?sslmode=disable"
}

// CreateDatabase makes an empty database with a random name on the server that
// base names and returns its URL.
func CreateDatabase(ctx context.Context, base string) (string, error) {
	name := "test_" + strings.ToLower(rand.Text())
	if err := execPostgres(ctx, base, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("create database: %w", err)
	}
	return withPath(base, name), nil
}

// DropDatabase drops what CreateDatabase made, connections or not.
func DropDatabase(ctx context.Context, base, database string) error {
	u, err := url.Parse(database)
	if err != nil {
		return err
	}
	return execPostgres(ctx, base, "DROP DATABASE IF EXISTS "+strings.TrimPrefix(u.Path, "/")+" WITH (FORCE)")
}

func execPostgres(ctx context.Context, url, statement string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, statement)
	return err
}

// withPath replaces the path of a URL, which for both servers names a database.
func withPath(raw, path string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	u.Path = "/" + path
	return u.String()
}

// StartPostgres makes a cluster in a temporary directory and starts it on a free
// loopback port, with everything off that only serves to survive a power cut.
// The caller closes it.
func StartPostgres(ctx context.Context) (*Server, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	attr, owner, err := postgresOwner()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tollgate-postgres-")
	if err != nil {
		return nil, err
	}
	server, err := newPostgres(bin, dir, attr, owner)
	if err == nil {
		err = server.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return server, nil
}

func newPostgres(bin, dir string, attr *syscall.SysProcAttr, owner int) (*Server, error) {
	if err := os.Chown(dir, owner, -1); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "--pgdata", data, "--username", "postgres",
		"--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	server := &Server{
		Addr: addr,
		dir:  dir,
		stop: syscall.SIGQUIT, // "immediate shutdown": ends the children too
		command: func() *exec.Cmd {
			cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", portOf(addr),
				"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
				"-c", "fsync=off", "-c", "full_page_writes=off",
				"-c", "max_connections=200", "-c", "shared_buffers=64MB", "-c", "jit=off")
			cmd.SysProcAttr = attr
			return cmd
		},
	}
	server.ready = func(ctx context.Context) error { return execPostgres(ctx, PostgresURL(server), "SELECT 1") }
	return server, nil
}

// postgresBin finds the directory of initdb and postgres; Debian keeps both off
// the PATH, one directory per major version.
func postgresBin() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	var found []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/initdb", "/usr/pgsql-*/bin/initdb", "/opt/homebrew/opt/postgresql*/bin/initdb"} {
		matches, _ := filepath.Glob(pattern)
		found = append(found, matches...)
	}
	if len(found) == 0 {
		return "", &MissingError{Binary: "initdb", Install: "apt-get install postgresql, or set " + EnvDatabaseURL}
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return cmp.Compare(majorVersion(a), majorVersion(b)) })
	return filepath.Dir(newest), nil
}

// majorVersion is the first number in a path such as /usr/lib/postgresql/15/bin.
func majorVersion(path string) int {
	digits := strings.FieldsFunc(path, func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(digits[0])
	return n
}

// postgresOwner says as whom to run the server: ourselves, but PostgreSQL
// refuses to be root.
func postgresOwner() (*syscall.SysProcAttr, int, error) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() != 0 {
		return attr, os.Getuid(), nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		if account, err = user.Lookup("nobody"); err != nil {
			return nil, 0, fmt.Errorf("no account to run postgres as: %w", err)
		}
	}
	uid, err1 := strconv.ParseUint(account.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(account.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, 0, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, int(uid), nil
}
