package specialist

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/testenv"
)

var root = Actor{UserHash: "7007", RequestID: "req_1"}

// desk is an editor with what it works on.
type desk struct {
	*Editor
	t  *testing.T
	db *database.DB
}

// configured is a specialist of the configuration's in every test.
func configured() Specialist {
	s := named("house", "House")
	s.Aliases, s.BaseURL = []string{"gpt-house"}, "http://10.0.0.9/v1"
	s.SystemPrompt, s.MaxTokens = "", 0
	return s
}

func newDesk(t *testing.T, url string) *desk {
	t.Helper()
	db, err := database.Open(url, database.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	return deskOn(t, db)
}

// deskOn is another replica.
func deskOn(t *testing.T, db *database.DB) *desk {
	t.Helper()
	store := NewDatabaseStore(db)
	r := newRegistry(t, Options{Store: store, Configured: []Specialist{configured()}})
	return &desk{
		Editor: NewEditor(EditorOptions{
			Store: store, Registry: r,
			Providers: map[string]string{"openai": "https://api.openai.com", "anthropic": "", "local": "http://localhost:11434"},
		}),
		t: t, db: db,
	}
}

func sqliteURL(t *testing.T) string { return "sqlite:///" + filepath.Join(t.TempDir(), "test.db") }

// onBoth runs a test on a desk at each kind of database.
func onBoth(t *testing.T, test func(t *testing.T, d *desk)) {
	t.Helper()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newDesk(t, testenv.Postgres(t)))
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newDesk(t, sqliteURL(t)))
	})
}

func patch(t testing.TB, text string) *Patch {
	t.Helper()
	var p Patch
	require.NoError(t, jsonv2.Unmarshal([]byte(text), &p))
	return &p
}

// body is a patch that makes a specialist, with more members or other values.
func body(t testing.TB, more string) *Patch {
	t.Helper()
	members := make(map[string]json.RawMessage)
	require.NoError(t, json.Unmarshal([]byte(`{"name":"Reader","provider":"openai","model":"gpt-4o","system_prompt":"Read."}`), &members))
	require.NoError(t, json.Unmarshal([]byte(more), &members))
	text, err := json.Marshal(members)
	require.NoError(t, err)
	return patch(t, string(text))
}

func (d *desk) create(more string) *Edited {
	d.t.Helper()
	s, err := d.Create(d.t.Context(), root, body(d.t, more))
	require.NoError(d.t, err)
	return s
}

func (d *desk) update(id, text string) *Edited {
	d.t.Helper()
	s, err := d.Update(d.t.Context(), root, id, patch(d.t, text))
	require.NoError(d.t, err)
	return s
}

// audit is the newest entries of the audit log, newest first.
func (d *desk) audit(limit int) []database.AuditEntry {
	d.t.Helper()
	entries, err := d.db.ListAudit(d.t.Context(), "", limit)
	require.NoError(d.t, err)
	return entries
}

// requireRefusal checks an error's status and the field that it names.
func requireRefusal(t *testing.T, err error, status int, field string) {
	t.Helper()
	e, ok := errors.AsType[*llm.Error](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, status, e.Status(), e.Message)
	require.Equal(t, field, e.Param, e.Message)
}

// details are the further facts of a refusal.
func details(t *testing.T, err error) map[string]any {
	t.Helper()
	e, ok := errors.AsType[*llm.Error](err)
	require.True(t, ok, "%v", err)
	return e.Details
}
