package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/testenv"
)

func TestPostgres(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "DATABASE_URL="+testenv.Postgres(t))
	token := g.login("alice@example.com")
	require.Equal(t, 200, g.ask(token, specialist, true).Status)
	require.Len(t, g.rows(token, 1), 1)
	g.stop()
	g.start()
	require.Equal(t, 200, g.ask(token, specialist, false).Status)
	require.Len(t, g.rows(token, 2), 2)
	require.NoFileExists(t, filepath.Join(g.dir, "data", "tollgate.db"))
}

// TestDatabaseDownAtStart: calls are served, and their rows arrive once the
// database is there.
func TestDatabaseDownAtStart(t *testing.T) {
	t.Parallel()
	const password = "canary-password"
	server := testenv.PostgresServer(t)
	server.Stop()
	g := startGateway(t, "DATABASE_URL="+strings.Replace(server.URL(), "postgres@", "postgres:"+password+"@", 1))
	g.printed("the database does not answer")
	require.Equal(t, 503, g.do("POST", "/auth/login", "", `{"email":"alice@example.com"}`).Status, "a log-in must be kept")
	out, _ := g.mustRun("token", "--config", g.config, "--adapter", "caddyfile", "--email", "alice@example.com")
	token := strings.TrimSpace(out)
	for range 3 {
		a := g.ask(token, "openai/gpt-4o", true)
		require.Equal(t, 200, a.Status, a.Body)
	}
	health := g.do("GET", "/health", "", "")
	require.Equal(t, []string{"degraded", "down"}, []string{health.get("status"), health.get("database")})
	status := g.do("GET", g.Admin+"/llm/status", "", "")
	require.Equal(t, "3", status.get("spool.queued_records"), status.Body)
	require.Equal(t, 503, g.do("GET", "/usage/logs", token, "").Status)

	server.Start()
	g.printed("the database is back")
	g.eventually("the rows arrive", func() bool { return g.do("GET", "/usage/logs", token, "").Status == 200 })
	require.Len(t, g.rows(token, 3), 3)
	g.eventually("everything is healthy", func() bool { return g.do("GET", "/health", "", "").get("status") == "healthy" })
	g.eventually("the shipped specialists are there", func() bool { return g.ask(token, specialist, false).Status == 200 })
	g.stop()
	require.NotContains(t, g.log.String(), password)
}

func TestMigrateByHand(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(*gateway) string{
		"sqlite":   func(g *gateway) string { return "sqlite:///" + filepath.Join(g.dir, "own.db") },
		"postgres": func(g *gateway) string { return testenv.Postgres(g.t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			g.caddyfile("auto_migrate off\ndatabase "+url(g), "llm_gateway")
			files, err := filepath.Glob("../../internal/database/migrations/" + name + "/*.sql")
			require.NoError(t, err)
			var lacks []string
			var pending, applied strings.Builder
			for _, file := range files {
				lacks = append(lacks, filepath.Base(file))
				fmt.Fprintf(&pending, "pending %s\n", filepath.Base(file))
				fmt.Fprintf(&applied, `applied %s in \S+\n`, filepath.Base(file))
			}
			require.Contains(t, g.fails(), "the database lacks "+strings.Join(lacks, ", ")+"; run `tollgate migrate`")

			out, _, code := g.run("migrate", "--status") // the Caddyfile of the folder
			require.Equal(t, 1, code)
			require.Equal(t, pending.String(), out)
			out, _ = g.mustRun("migrate", "--config", g.config)
			require.Regexp(t, "^"+applied.String()+"$", out)
			for _, args := range [][]string{{"migrate"}, {"migrate", "--status"}} {
				out, _ = g.mustRun(args...)
				require.Equal(t, "up to date\n", out)
			}
			g.start()
			require.Equal(t, 200, g.ask(g.login("alice@example.com"), specialist, false).Status)
		})
	}
}

func TestMigrateWithoutConfiguration(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "DATA_DIR=elsewhere")
	out, _ := g.mustRun("migrate")
	require.Contains(t, out, "applied 00001")
	require.FileExists(t, filepath.Join(g.dir, "elsewhere", "tollgate.db"))
	_, said, code := newGateway(t, "DATABASE_URL=postgres://user:canary-password@127.0.0.1:1/x").run("migrate", "--status")
	require.NotZero(t, code)
	require.Contains(t, said, "refused")
	require.NotContains(t, said, "canary-password")
	_, said, code = newGateway(t, "DATABASE_URL=mysql://user:canary-password@127.0.0.1/x").run("migrate")
	require.NotZero(t, code)
	require.NotContains(t, said, "canary-password")
}

// A folder that cannot be written is said at start, not at the first call.
func TestDataFolderThatCannotBe(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "DATA_DIR=file/data")
	require.NoError(t, os.WriteFile(filepath.Join(g.dir, "file"), nil, 0o600))
	require.Contains(t, g.fails(), "not a directory")
}
