// Package testenv gives tests real servers: a throw-away PostgreSQL and Redis on
// free loopback ports, started from the binaries on the machine and gone with the
// test process, however that ends.
//
// With TOLLGATE_TEST_DATABASE_URL or TOLLGATE_TEST_REDIS_URL set, that server is
// used instead of an own one. Without either the URL or the binary a test is
// skipped with a word on what to install; with CI=true it fails.
package testenv

import (
	"errors"
	"os"
	"testing"
)

// The environment variables that name servers to use instead of own ones.
const (
	EnvDatabaseURL = "TOLLGATE_TEST_DATABASE_URL"
	EnvRedisURL    = "TOLLGATE_TEST_REDIS_URL"
)

// MissingError says that a server's binary is not on this machine.
type MissingError struct {
	Binary  string // what was looked for
	Install string // how to get it
}

// Error implements error.
func (e *MissingError) Error() string { return e.Binary + " not found: " + e.Install }

// require ends the test when err is not nil: a missing binary skips it on a
// developer's machine, anything else, and everything in CI, is a failure.
func require(t testing.TB, err error) {
	t.Helper()
	if _, missing := errors.AsType[*MissingError](err); missing && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}
