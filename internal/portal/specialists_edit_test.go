package portal

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/specialist"
)

// newEditing makes a portal whose specialists are the shipped ones, in a
// database, and one of the configuration, "house".
func newEditing(t *testing.T) (*Handler, *database.DB) {
	t.Helper()
	db, err := database.Open("sqlite:///"+filepath.Join(t.TempDir(), "test.db"), database.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	house := specialist.Specialist{ID: "house", Name: "House", Provider: "openai", Model: "gpt-4o"}
	store := specialist.NewDatabaseStore(db)
	registry, err := specialist.NewRegistry(specialist.Options{Store: store, Configured: []specialist.Specialist{house}})
	require.NoError(t, err)
	require.NoError(t, registry.Seed(t.Context()))
	require.NoError(t, registry.Refresh(t.Context()))
	return newHandler(t, func(o *Options) {
		o.Specialists = registry
		o.Editor = specialist.NewEditor(specialist.EditorOptions{
			Store: store, Registry: registry, Providers: map[string]string{"openai": "https://api.openai.com"},
		})
	}), db
}

// edits are all routes for admins, with bodies that are good.
var edits = []struct{ method, path, body string }{
	{"GET", "/specialists/export", ""},
	{"POST", "/specialists/import", `{"specialists":[],"mode":"skip"}`},
	{"POST", "/specialists", `{"name":"New","provider":"openai","model":"m","system_prompt":"p"}`},
	{"PUT", "/specialists/legal-quick", `{"description":"d"}`},
	{"POST", "/specialists/legal-quick/pin", `{"pinned":true}`},
	{"GET", "/specialists/legal-quick/history", ""},
	{"POST", "/specialists/legal-quick/revert", `{"version":1}`},
	{"POST", "/specialists/legal-quick/duplicate", ""},
	{"DELETE", "/specialists/legal-quick", ""},
}

func TestOnlyAdminsEdit(t *testing.T) {
	t.Parallel()
	h, db := newEditing(t)
	before := call(h, admin, "GET", "/specialists", "").Body.String()
	off := newHandler(t, nil)
	for _, e := range edits {
		name := e.method + " " + e.path
		for status, callers := range map[int][]*identity.Principal{
			401: {nil},
			403: {
				alice,
				{UserHash: bobHash, Roles: []string{"viewer"}},
				{UserHash: bobHash, Roles: []string{"admin"}, Kind: identity.KindAPI},
				{UserHash: bobHash, Roles: []string{"Admin"}},
			},
		} {
			for _, p := range callers {
				requireProblem(t, call(h, p, e.method, e.path, e.body), status)
			}
		}
		limited := &identity.Principal{UserHash: bobHash, Roles: []string{"admin"}, Specialists: []string{"legal-quick"}}
		if !strings.HasSuffix(e.path, "/history") {
			requireProblem(t, call(h, limited, e.method, e.path, e.body), 403)
			require.Contains(t, requireProblem(t, call(off, admin, e.method, e.path, e.body), 404)["error"], "turned off", name)
		}
	}
	require.Equal(t, before, call(h, admin, "GET", "/specialists", "").Body.String())
	entries, err := db.ListAudit(t.Context(), "", 10)
	require.NoError(t, err)
	require.Empty(t, entries)

	for _, e := range edits {
		for _, slash := range []string{"", "/"} {
			if slash != "" && e.method != "GET" && !strings.HasSuffix(e.path, "/revert") {
				continue // it can be done once
			}
			object(t, call(h, admin, e.method, e.path+slash, e.body), 200)
		}
	}
	viewer := &identity.Principal{UserHash: bobHash, Roles: []string{"viewer"}}
	requireProblem(t, call(h, viewer, "GET", "/specialists", ""), 403)
}

// The life of a specialist as the frontend leads it.
func TestEditing(t *testing.T) {
	t.Parallel()
	h, db := newEditing(t)
	made := object(t, call(h, admin, "POST", "/specialists/", `{"name":"Tax Helper","provider":"groq","model":"m","system_prompt":"One.",
		"temperature":0.7,"max_tokens":4096,"pricing":{"input_per_1m":2.50,"output_per_1m":10}}`), 200)
	require.Equal(t, "tax-helper", made["id"])
	require.EqualValues(t, 1, made["version"])
	require.Equal(t, "One.", made["system_prompt"])
	require.Equal(t, []any{}, made["prompt_history"])
	require.Equal(t, []any{`the provider "groq" is not configured on this gateway`}, made["warnings"])
	require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`, made["created_at"])

	w := call(h, admin, "GET", "/specialists/tax-helper", "")
	got := object(t, w, 200)
	delete(made, "warnings")
	require.Equal(t, made, got, "what is written is read")
	require.NotContains(t, call(h, alice, "GET", "/specialists/tax-helper", "").Body.String(), "One.")

	got["system_prompt"], got["description"] = "Two.", "Changed."
	whole, err := json.Marshal(got)
	require.NoError(t, err)
	changed := object(t, call(h, admin, "PUT", "/specialists/tax-helper/", string(whole)), 200)
	require.EqualValues(t, 2, changed["version"])
	require.Equal(t, "Two.", changed["system_prompt"])

	conflict := requireProblem(t, call(h, admin, "PUT", "/specialists/tax-helper", string(whole)), 409)
	require.EqualValues(t, 2, conflict["details"].(map[string]any)["version"])
	require.Contains(t, conflict["error"], "version 2")

	history := object(t, call(h, admin, "GET", "/specialists/tax-helper/history", ""), 200)["history"].([]any)
	require.Len(t, history, 1)
	require.Equal(t, "One.", history[0].(map[string]any)["prompt"])
	reverted := object(t, call(h, admin, "POST", "/specialists/tax-helper/revert", `{"version":1}`), 200)
	require.Equal(t, []any{"One.", 3.0}, []any{reverted["system_prompt"], reverted["version"]})

	copied := object(t, call(h, admin, "POST", "/specialists/tax-helper/duplicate", ""), 200)
	require.Equal(t, []any{"tax-helper-copy", "Tax Helper (Copy)", 1.0}, []any{copied["id"], copied["name"], copied["version"]})
	pinned := object(t, call(h, admin, "POST", "/specialists/tax-helper-copy/pin", `{"pinned":true}`), 200)
	require.Equal(t, true, pinned["pinned"])
	require.JSONEq(t, `{"deleted":true}`, call(h, admin, "DELETE", "/specialists/tax-helper/", "").Body.String())
	requireProblem(t, call(h, admin, "GET", "/specialists/tax-helper", ""), 404)

	entries, err := db.ListAudit(t.Context(), "", 10)
	require.NoError(t, err)
	var actions []string
	for _, e := range entries {
		actions = append(actions, e.Action)
		require.Equal(t, bobHash, e.ActorHash)
		require.NotEmpty(t, e.RequestID)
	}
	require.Equal(t, []string{
		"specialist.delete", "specialist.pin", "specialist.duplicate", "specialist.revert", "specialist.update", "specialist.create",
	}, actions)
}

func TestEditingRefuses(t *testing.T) {
	t.Parallel()
	h, _ := newEditing(t)
	const good = `"name":"N","provider":"openai","model":"m","system_prompt":"p"`
	for _, tc := range []struct {
		method, path, body string
		status             int
		field              string
	}{
		{"POST", "/specialists", ``, 400, ""},
		{"POST", "/specialists", `null`, 400, ""},
		{"POST", "/specialists", `[]`, 400, ""},
		{"POST", "/specialists", `{"name":`, 400, ""},
		{"POST", "/specialists", `{"name":"a","name":"b"}`, 400, ""},
		{"POST", "/specialists", `{}`, 422, "name"},
		{"POST", "/specialists", `{` + good + `,"temperature":"hot"}`, 422, "temperature"},
		{"POST", "/specialists", `{` + good + `,"max_tokens":1.5}`, 422, "max_tokens"},
		{"POST", "/specialists", `{` + good + `,"fallbacks":[{"provider":"openai","model":1}]}`, 422, "fallbacks[0].model"},
		{"POST", "/specialists", `{` + good + `,"system_prompt_":"","pricing":7}`, 422, "pricing"},
		{"POST", "/specialists", `{` + good + `,"id":"legal-quick"}`, 409, "id"},
		{"POST", "/specialists", `{"name":"legal quick CHECK","provider":"openai","model":"m","system_prompt":"p"}`, 409, "name"},
		{"POST", "/specialists", `{` + good + `,"base_url":"https://169.254.169.254/"}`, 422, "base_url"},
		{"POST", "/specialists", `{` + good + `,"description":"` + strings.Repeat("x", maxBody) + `"}`, 413, ""},
		{"PUT", "/specialists/legal-quick", `{"version":"1"}`, 422, "version"},
		{"PUT", "/specialists/legal-quick", `{"pinned":"yes"}`, 422, "pinned"},
		{"PUT", "/specialists/legal-quick", `{"system_prompt":""}`, 422, "system_prompt"},
		{"PUT", "/specialists/legal-quick", `{"name":"Code Reviewer"}`, 409, "name"},
		{"PUT", "/specialists/house", `{"name":"Mine"}`, 409, ""},
		{"PUT", "/specialists/nobody", `{}`, 404, ""},
		{"DELETE", "/specialists/nobody", ``, 404, ""},
		{"DELETE", "/specialists/house", ``, 409, ""},
		{"POST", "/specialists/nobody/duplicate", ``, 404, ""},
		{"POST", "/specialists/legal-quick/pin", `{}`, 422, "pinned"},
		{"POST", "/specialists/house/pin", `{"pinned":true}`, 409, ""},
		{"POST", "/specialists/legal-quick/revert", `{}`, 422, "version"},
		{"POST", "/specialists/legal-quick/revert", `{"version":9}`, 422, "version"},
		{"GET", "/specialists/nobody/history", ``, 404, ""},
		{"POST", "/specialists/import", `{}`, 422, "specialists"},
		{"POST", "/specialists/import", `{"specialists":{}}`, 422, "specialists"},
		{"POST", "/specialists/import", `{"specialists":[],"mode":"merge"}`, 422, "mode"},
		{"POST", "/specialists/import", `{"specialists":[{` + good + `},{"id":"x"}]}`, 422, "specialists[1].name"},
		{"POST", "/specialists/import", `{"specialists":[{` + good + `,"id":"house"}]}`, 409, "specialists[0].id"},
	} {
		w := call(h, admin, tc.method, tc.path, tc.body)
		problem := requireProblem(t, w, tc.status)
		if tc.field != "" {
			require.Contains(t, problem["details"], tc.field, "%s %s %.100s", tc.method, tc.path, tc.body)
		}
	}
	require.Len(t, object(t, call(h, admin, "GET", "/specialists", ""), 200)["specialists"], 5)
}

func TestExportAndImport(t *testing.T) {
	t.Parallel()
	h, _ := newEditing(t)
	for _, prompt := range []string{"A.", "B."} {
		object(t, call(h, admin, "PUT", "/specialists/legal-quick", `{"system_prompt":"`+prompt+`","pricing":{"input_per_1m":0.10,"output_per_1m":1}}`), 200)
	}
	text := call(h, admin, "GET", "/specialists/export/", "").Body.String()
	require.Contains(t, text, `"prompt":"A."`)
	require.Contains(t, text, `"input_per_1m":0.10`)

	other, _ := newEditing(t)
	for _, id := range []string{"financial-analyst", "research-assistant", "code-reviewer", "legal-quick"} {
		object(t, call(other, admin, "DELETE", "/specialists/"+id, ""), 200)
	}
	dry := strings.TrimSpace(text)
	dry = dry[:len(dry)-1] + `,"dry_run":true}`
	answer := object(t, call(other, admin, "POST", "/specialists/import", dry), 200)
	require.Equal(t, []any{4.0, 0.0, 0.0, true}, []any{answer["created"], answer["updated"], answer["skipped"], answer["dry_run"]})
	require.Equal(t, []any{`the provider "anthropic" is not configured on this gateway`}, answer["warnings"])
	require.JSONEq(t, `{"specialists":[]}`, call(other, admin, "GET", "/specialists/export", "").Body.String())

	answer = object(t, call(other, admin, "POST", "/specialists/import/", text), 200)
	require.NotContains(t, answer, "dry_run")
	require.Equal(t, text, call(other, admin, "GET", "/specialists/export", "").Body.String())
	requireProblem(t, call(other, admin, "POST", "/specialists/import", text), 409)

	// What a body of other routes may not have, an import may.
	large := make([]string, 0, 200)
	for n := range 200 {
		large = append(large, fmt.Sprintf(`{"name":"S%d","provider":"openai","model":"m","system_prompt":%q}`, n, strings.Repeat("p", 10_000)))
	}
	answer = object(t, call(other, admin, "POST", "/specialists/import", `{"specialists":[`+strings.Join(large, ",")+`]}`), 200)
	require.EqualValues(t, 200, answer["created"])
}
