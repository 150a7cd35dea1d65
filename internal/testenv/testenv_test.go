package testenv

import (
	"context"
	"errors"
	"net/smtp"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	assert "github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("TESTENV_CHILD") != "" {
		runChild()
	}
	goleak.VerifyTestMain(m) // servers must cost the tests that use them no goroutine
}

func TestPostgresDatabasesAreFreshAndSeparate(t *testing.T) {
	t.Parallel()
	first, second := Postgres(t), Postgres(t)
	assert.NotEqual(t, first, second)
	assert.NoError(t, execPostgres(t.Context(), first, "CREATE TABLE x (a int)"))
	assert.NoError(t, execPostgres(t.Context(), second, "CREATE TABLE x (a int)"))
}

func TestPostgresDatabaseIsDroppedAfterItsTest(t *testing.T) {
	t.Parallel()
	var gone string
	t.Run("inner", func(t *testing.T) {
		gone = Postgres(t)
		conn, err := pgx.Connect(t.Context(), gone)
		assert.NoError(t, err)
		t.Cleanup(func() { conn.Close(context.Background()) }) // still open at the drop
	})
	assert.ErrorContains(t, execPostgres(t.Context(), gone, "SELECT 1"), "does not exist")
}

func TestPostgresServerKeepsItsDataOverARestart(t *testing.T) {
	t.Parallel()
	server := PostgresServer(t)
	assert.NoError(t, execPostgres(t.Context(), server.URL(), "CREATE TABLE kept (a int)"))
	server.Stop()
	assert.Error(t, execPostgres(t.Context(), server.URL(), "SELECT 1"))
	server.Start()
	assert.NoError(t, execPostgres(t.Context(), server.URL(), "SELECT * FROM kept"))
}

func TestRedisOutages(t *testing.T) {
	t.Parallel()
	server := RedisServer(t)
	ping := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		return pingRedis(ctx, server.Addr())
	}
	assert.NoError(t, ping())
	server.Pause()
	assert.ErrorIs(t, ping(), os.ErrDeadlineExceeded)
	server.Resume()
	assert.NoError(t, ping())
	server.Stop()
	assert.ErrorContains(t, ping(), "refused")
	server.Start()
	assert.NoError(t, ping())
}

func TestRedisFromTheEnvironmentHandsOutEmptyDatabases(t *testing.T) {
	t.Setenv(EnvRedisURL, RedisServer(t).URL())
	first, second := Redis(t), Redis(t)
	assert.NotEqual(t, first, second)
	options, err := redis.ParseURL(second)
	assert.NoError(t, err)
	assert.Equal(t, 2, options.DB)
}

func TestPostgresFromTheEnvironment(t *testing.T) {
	own, err := sharedPostgres()
	require(t, err)
	t.Setenv(EnvDatabaseURL, PostgresURL(own))
	assert.NoError(t, execPostgres(t.Context(), Postgres(t), "SELECT 1"))
}

func TestMail(t *testing.T) {
	t.Parallel()
	box := Mail(t, "portal", "p@ss/word")
	address, err := url.Parse(box.URL())
	assert.NoError(t, err)
	send := func(password, text string) error {
		auth := smtp.PlainAuth("", "portal", password, address.Hostname())
		return smtp.SendMail(address.Host, auth, "portal@example.com", []string{"alice@example.com"}, []byte(strings.ReplaceAll(text, "\n", "\r\n")))
	}
	const plain = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\na=3Db\n"
	assert.NoError(t, send("p@ss/word", plain))
	assert.NoError(t, send("p@ss/word", "Content-Type: multipart/alternative; boundary=x\n\n--x\nContent-Type: text/html\n\n<p>\n--x\n"+plain+"--x--\n"))
	assert.Equal(t, "a=b\r\n", box.WaitTo(t, "alice@example.com", 1))
	assert.Equal(t, "a=b", strings.TrimSpace(box.WaitTo(t, "alice@example.com", 2)))
	assert.Empty(t, box.To("bob@example.com"))
	box.Refuse("nobody here")
	assert.ErrorContains(t, send("p@ss/word", plain), "nobody here")
	assert.ErrorContains(t, send("wrong", plain), "Authentication failed")
}

func TestServerThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	_, err := StartRedis(t.Context(), "--no-such-option", "1")
	if _, missing := errors.AsType[*MissingError](err); missing {
		t.Skip(err)
	}
	assert.ErrorContains(t, err, "no-such-option")
}

// runChild starts both servers, says where, and waits to be killed.
func runChild() {
	for _, start := range []func(context.Context) (*Server, error){
		StartPostgres,
		func(ctx context.Context) (*Server, error) { return StartRedis(ctx) },
	} {
		server, err := start(context.Background())
		if err != nil {
			os.Stdout.WriteString("error " + err.Error() + "\n")
			os.Exit(1)
		}
		os.Stdout.WriteString(server.dir + "\n")
	}
	os.Stdout.WriteString("ready\n")
	select {}
}

func TestServersDieWithAKilledProcess(t *testing.T) {
	t.Parallel()
	_, err := postgresBin()
	require(t, err) // skips where there is none
	_, err = redisBinary()
	require(t, err)
	dirs := startAndKillChild(t)
	deadline := time.Now().Add(10 * time.Second)
	for _, dir := range dirs {
		for {
			_, err := os.Stat(dir)
			if os.IsNotExist(err) && !runsIn(dir) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is still there", dir)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func startAndKillChild(t *testing.T) (dirs []string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=none")
	child.Env = append(os.Environ(), "TESTENV_CHILD=1")
	out, err := child.StdoutPipe()
	assert.NoError(t, err)
	assert.NoError(t, child.Start())
	var text []byte
	buffer := make([]byte, 4096)
	for !strings.Contains(string(text), "ready\n") {
		n, err := out.Read(buffer)
		text = append(text, buffer[:n]...)
		assert.NoError(t, err, "child said: %s", text)
	}
	assert.NoError(t, child.Process.Signal(syscall.SIGKILL))
	_ = child.Wait()
	lines := strings.Fields(string(text))
	assert.Len(t, lines, 3)
	return lines[:2]
}

// runsIn says whether any process has its working directory in dir.
func runsIn(dir string) bool {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, dir) {
			return true
		}
	}
	return false
}

func TestMajorVersion(t *testing.T) {
	t.Parallel()
	assert.Equal(t, 15, majorVersion("/usr/lib/postgresql/15/bin/initdb"))
	assert.Equal(t, 9, majorVersion("/usr/lib/postgresql/9.6/bin/initdb"))
	assert.Equal(t, 0, majorVersion("/usr/bin/initdb"))
}
