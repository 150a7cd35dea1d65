package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// example is the name of a pipeline that is shipped.
const example = "lex-intelligence-ultimate"

var root = Change{Actor: &identity.Principal{UserHash: "7007"}, RequestID: "req_1"}

// definition is a pipeline of one step, whose prompt tells it from others.
func definition(name, prompt string) string {
	return fmt.Sprintf("{name: %s, steps: [{name: a, specialist: reader, prompt: %q}]}", name, prompt)
}

// prompt is that of a pipeline's only step.
func prompt(t testing.TB, c *Catalog, name string) string {
	t.Helper()
	e, ok := c.Get(name)
	require.True(t, ok, "there is no pipeline %s", name)
	return e.Plan.Definition.Steps[0].Prompt
}

func names(list []*Entry) []string {
	var out []string
	for _, e := range list {
		out = append(out, e.Plan.Definition.Name)
	}
	return out
}

// logged is a log that a test reads while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newCatalog(t testing.TB, o Options) (*Catalog, *logged) {
	t.Helper()
	log := &logged{}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	c, err := New(o)
	require.NoError(t, err)
	return c, log
}

// onBoth runs a test on a fresh database of each kind.
func onBoth(t *testing.T, test func(t *testing.T, db *database.DB)) {
	t.Helper()
	for kind, url := range map[string]func(t *testing.T) string{
		"postgres": func(t *testing.T) string { t.Helper(); return testenv.Postgres(t) },
		"sqlite":   sqliteURL,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, migrated(t, url(t)))
		})
	}
}

func sqliteURL(t *testing.T) string {
	t.Helper()
	return "sqlite:///" + filepath.Join(t.TempDir(), "test.db")
}

func migrated(t testing.TB, url string) *database.DB {
	t.Helper()
	db, err := database.Open(url, database.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	return db
}

// requireRefusal checks an error's status and part of its text.
func requireRefusal(t *testing.T, err error, status int, text string) {
	t.Helper()
	e := refusal(t, err)
	require.Equal(t, status, e.Status(), e.Message)
	require.Contains(t, e.Message, text)
}

// refusal is an error as a caller gets it.
func refusal(t *testing.T, err error) *llm.Error {
	t.Helper()
	e, ok := errors.AsType[*llm.Error](err)
	require.True(t, ok, "%v", err)
	return e
}
