package portal

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/catalog"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
)

const definitionsPath = "/api/v2/pipelines/definitions"

// newDefinitions makes a portal whose pipelines are the shipped ones, one in a
// folder, "house", and those of a database. There is one specialist, "reader".
func newDefinitions(t *testing.T) (*Handler, *database.DB) {
	t.Helper()
	db, dir := newDatabase(t), t.TempDir()
	house := "name: house\nsteps:\n  - {name: a, specialist: reader}\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "house.yaml"), []byte(house), 0o600))
	c, err := catalog.New(catalog.Options{
		DB: db, Examples: true, Dir: dir, Known: pipeline.Known{Specialist: func(name string) bool { return name == "reader" }},
	})
	require.NoError(t, err)
	require.NoError(t, c.Refresh(t.Context()))
	executor := execute.New(execute.Options{Models: &models{}})
	return newHandler(t, func(o *Options) { o.Pipelines.Catalog, o.Pipelines.Executor, o.Auth.Audit = c, executor, db }), db
}

// review is a definition that is good, of two steps.
const review = `{"name":"review","display_name":"Review","category":"law","steps":[` +
	`{"name":"read","specialist":"reader","prompt":"Read {{ .query }} & tell"},{"name":"sum_up","specialist":"reader","depends_on":["read"]}]}`

// pipelineEdits are all routes for admins, with bodies that are good, in an order
// in which all of them work.
var pipelineEdits = []struct {
	method, path, body string
	status             int
}{
	{"GET", definitionsPath, "", 200},
	{"POST", "/api/v2/pipelines/validate", review, 200},
	{"POST", definitionsPath, review, 201},
	{"GET", definitionsPath + "/review", "", 200},
	{"PUT", definitionsPath + "/review?version=1", strings.Replace(review, "law", "laws", 1), 200},
	{"GET", definitionsPath + "/review/versions", "", 200},
	{"POST", definitionsPath + "/review/revert", `{"version":1}`, 200},
	{"DELETE", definitionsPath + "/review", "", 200},
}

func TestOnlyAdminsEditPipelines(t *testing.T) {
	t.Parallel()
	h, db := newDefinitions(t)
	off := newHandler(t, nil)
	viewer := &identity.Principal{UserHash: bobHash, Roles: []string{"viewer"}}
	for _, e := range pipelineEdits {
		requireProblem(t, call(h, nil, e.method, e.path, e.body), 401)
		for _, p := range []*identity.Principal{
			alice, viewer,
			{UserHash: bobHash, Roles: []string{"admin"}, Kind: identity.KindAPI},
			{UserHash: bobHash, Roles: []string{"Admin"}},
			{UserHash: bobHash, Roles: []string{"admin"}, Specialists: []string{"reader"}},
		} {
			requireProblem(t, call(h, p, e.method, e.path, e.body), 403)
		}
		require.Contains(t, requireProblem(t, call(off, admin, e.method, e.path, e.body), 404)["error"], "turned off")
	}
	entries, err := db.ListAudit(t.Context(), "", 10)
	require.NoError(t, err)
	require.Empty(t, entries)
	for _, e := range pipelineEdits {
		path, query, _ := strings.Cut(e.path, "?")
		object(t, call(h, admin, e.method, path+"/?"+query, e.body), e.status)
	}

	graph := definitionsPath + "/house/graph"
	require.NotContains(t, object(t, call(h, alice, "GET", graph, ""), 200)["mermaid"], "reader", "its makers alone see what it is made of")
	require.Contains(t, object(t, call(h, admin, "GET", graph, ""), 200)["mermaid"], "reader")
	object(t, call(h, admin, "POST", definitionsPath, `{"name":"closed","steps":[{"name":"a","provider":"openai","model":"secret"}]}`), 201)
	requireProblem(t, call(h, alice, "GET", definitionsPath+"/closed/graph", ""), 404) // she may not run it
	require.Contains(t, object(t, call(h, admin, "GET", definitionsPath+"/closed/graph", ""), 200)["mermaid"], "secret")
	requireProblem(t, call(h, nil, "GET", graph, ""), 401)
	requireProblem(t, call(h, viewer, "GET", graph, ""), 403)
	requireProblem(t, call(h, alice, "GET", definitionsPath+"/nobody/graph", ""), 404)
	require.Contains(t, requireProblem(t, call(off, alice, "GET", graph, ""), 404)["error"], "turned off")
}

// The life of a pipeline as an admin leads it.
func TestEditingPipelines(t *testing.T) {
	t.Parallel()
	h, db := newDefinitions(t)
	w := call(h, admin, "POST", definitionsPath, review)
	made := object(t, w, 201)
	require.Equal(t, definitionsPath+"/review", w.Header().Get("Location"))
	require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`, made["updated_at"])
	require.Equal(t, []any{"review", "Review", "law", "database", 1.0, false, []any{}}, []any{
		made["name"], made["display_name"], made["category"], made["source"], made["version"], made["read_only"], made["faults"],
	})
	w = call(h, admin, "GET", definitionsPath+"/review", "")
	require.Equal(t, made, object(t, w, 200), "what is written is read")
	var whole struct{ Definition json.RawMessage }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &whole))
	require.JSONEq(t, review, string(whole.Definition), "as it was put")
	require.Equal(t, made["version"], object(t, call(h, admin, "PUT", definitionsPath+"/review", review), 200)["version"], "nothing new")

	changed := object(t, call(h, admin, "PUT", definitionsPath+"/review?version=1", strings.Replace(review, "law", "laws", 1)), 200)
	require.EqualValues(t, 2, changed["version"])
	conflict := requireProblem(t, call(h, admin, "PUT", definitionsPath+"/review?version=1", review), 409)
	require.EqualValues(t, 2, conflict["details"].(map[string]any)["version"])
	for _, version := range []string{"0", "-1", "x", "99999999999999999999"} {
		problem := requireProblem(t, call(h, admin, "PUT", definitionsPath+"/review?version="+version, review), 422)
		require.Contains(t, problem["details"], "version")
	}
	requireProblem(t, call(h, admin, "POST", definitionsPath, review), 409)
	require.Contains(t, requireProblem(t, call(h, admin, "PUT", definitionsPath+"/other", review), 422)["details"], "name")

	reverted := object(t, call(h, admin, "POST", definitionsPath+"/review/revert", `{"version":1}`), 200)
	require.Equal(t, []any{3.0, "law"}, []any{reverted["version"], reverted["category"]})
	requireProblem(t, call(h, admin, "POST", definitionsPath+"/review/revert", `{}`), 422)
	requireProblem(t, call(h, admin, "POST", definitionsPath+"/review/revert", `{"version":9}`), 422)
	requireProblem(t, call(h, admin, "POST", definitionsPath+"/review/revert", `[]`), 400)
	require.Equal(t, map[string]any{"deleted": true}, object(t, call(h, admin, "DELETE", definitionsPath+"/review", ""), 200))
	requireProblem(t, call(h, admin, "GET", definitionsPath+"/review", ""), 404)
	requireProblem(t, call(h, admin, "DELETE", definitionsPath+"/review", ""), 404)
	versions := object(t, call(h, admin, "GET", definitionsPath+"/review/versions", ""), 200)["versions"].([]any)
	require.Len(t, versions, 4)
	require.Nil(t, versions[0].(map[string]any)["definition"])
	require.Equal(t, bobHash, versions[3].(map[string]any)["actor_hash"])
	requireProblem(t, call(h, admin, "GET", definitionsPath+"/nobody/versions", ""), 404)

	entries := object(t, call(h, admin, "GET", "/audit", ""), 200)["entries"].([]any)
	require.Len(t, entries, 4)
	require.NotContains(t, call(h, admin, "GET", "/audit", "").Body.String(), "tell", "no prompts are in the audit log")
	newest := entries[0].(map[string]any)
	require.Equal(t, []any{"pipeline.delete", "review", bobHash, nil}, []any{newest["action"], newest["object"], newest["actor_hash"], newest["after"]})
	require.NotEmpty(t, newest["request_id"])
	require.NoError(t, db.Close())
	requireProblem(t, call(h, admin, "POST", definitionsPath, review), 503)
	requireProblem(t, call(h, admin, "GET", definitionsPath+"/review/versions", ""), 503)
}

func TestListOfDefinitions(t *testing.T) {
	t.Parallel()
	h, db := newDefinitions(t)
	object(t, call(h, admin, "POST", definitionsPath, `{"name":"lost","steps":[{"name":"a","specialist":"nobody"}]}`), 201)
	require.NoError(t, db.ChangePipelines(t.Context(), func(tx *database.PipelinesTx) error {
		return tx.Apply(database.PipelineChange{
			Is:      &database.Pipeline{Name: "broken", Version: 1, Definition: `{"name":"broken","magic":1}`},
			Version: database.PipelineVersion{Name: "broken", Version: 1},
		})
	}))
	require.NoError(t, h.o.Pipelines.Catalog.Refresh(t.Context()))
	answer := object(t, call(h, admin, "GET", definitionsPath, ""), 200)
	list := answer["definitions"].([]any)
	require.EqualValues(t, len(list), answer["count"])
	byName := map[string]map[string]any{}
	for _, entry := range list {
		byName[entry.(map[string]any)["name"].(string)] = entry.(map[string]any)
		require.NotContains(t, entry, "definition")
	}
	house := byName["house"]
	require.Equal(t, []any{"file", "house.yaml", true, 0.0}, []any{house["source"], house["file"], house["read_only"], house["version"]})
	shipped := byName["lex-intelligence-ultimate"]
	require.Equal(t, []any{"example", true, nil}, []any{shipped["source"], shipped["read_only"], shipped["updated_at"]})
	fault := byName["lost"]["faults"].([]any)[0].(map[string]any)
	require.Equal(t, "steps[0].specialist", fault["path"])
	require.Contains(t, fault["message"], `"nobody"`)
	require.NotEmpty(t, byName["broken"]["faults"])
	whole := object(t, call(h, admin, "GET", definitionsPath+"/broken", ""), 200)
	require.Equal(t, map[string]any{"name": "broken", "magic": 1.0}, whole["definition"], "what cannot be used can be looked at")
	for method, path := range map[string]string{"PUT": "/house", "DELETE": "/house"} {
		problem := requireProblem(t, call(h, admin, method, definitionsPath+path, `{"name":"house","steps":[{"name":"a","specialist":"reader"}]}`), 409)
		require.Contains(t, problem["error"], "is defined in a file; read-only")
	}
}

func TestFaultyDefinitionsAreRefusedWithPlaces(t *testing.T) {
	t.Parallel()
	h, _ := newDefinitions(t)
	faulty := "name: faulty\nsteps:\n  - name: a\n    specialist: reader\n    depends_on: [nobody]\n  - name: a\n    specialist: reader\n"
	w := callAs(h, "POST", definitionsPath, "application/yaml", faulty)
	problem := requireProblem(t, w, 422)
	faults := problem["details"].(map[string]any)["faults"].([]any)
	require.GreaterOrEqual(t, len(faults), 2)
	first := faults[0].(map[string]any)
	require.Equal(t, []any{"steps[0].depends_on[0]", 5.0}, []any{first["path"], first["line"]})
	require.Contains(t, problem["error"], "steps[0].depends_on[0]: "+first["message"].(string))

	answer := object(t, callAs(h, "POST", "/api/v2/pipelines/validate", "text/yaml", faulty), 200)
	require.Equal(t, false, answer["valid"])
	require.Equal(t, faults, answer["faults"], "as when it is kept")
	require.NotContains(t, answer, "mermaid")

	answer = object(t, callAs(h, "POST", "/api/v2/pipelines/validate", "text/yaml", strings.Replace(faulty, "nobody", "b", 1)), 200)
	require.Equal(t, false, answer["valid"])
	good := "name: good\nsteps:\n  - name: a\n    specialist: reader\n"
	answer = object(t, callAs(h, "POST", "/api/v2/pipelines/validate", "text/yaml", good), 200)
	require.Equal(t, []any{true, []any{}}, []any{answer["valid"], answer["faults"]})
	require.Contains(t, answer["mermaid"], "flowchart")
	answer = object(t, callAs(h, "POST", "/api/v2/pipelines/validate", "application/yaml", strings.Replace(good, "reader", "nobody", 1)), 200)
	require.Equal(t, false, answer["valid"])
	require.EqualValues(t, 4, answer["faults"].([]any)[0].(map[string]any)["line"])
	require.Contains(t, answer["mermaid"], "flowchart", "it can be drawn all the same")

	made := object(t, callAs(h, "POST", definitionsPath, "text/yaml", good), 201)
	require.Equal(t, map[string]any{"name": "good", "steps": []any{map[string]any{"name": "a", "specialist": "reader"}}}, made["definition"])
	for _, path := range []string{definitionsPath, "/api/v2/pipelines/validate"} {
		requireProblem(t, call(h, admin, "POST", path, strings.Repeat(" ", pipeline.MaxText)+"{}"), 413)
	}
	requireProblem(t, call(h, admin, "PUT", definitionsPath+"/good", strings.Repeat(" ", pipeline.MaxText)+"{}"), 413)
	requireProblem(t, call(h, admin, "POST", definitionsPath, ""), 422)
	require.Equal(t, false, object(t, callAs(h, "POST", "/api/v2/pipelines/validate", "application/json", "{}"), 200)["valid"])
}

// callAs sends a body of some type as the admin.
func callAs(h *Handler, method, path, kind, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	w := httptest.NewRecorder()
	checked(h).ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), admin)))
	return w
}

// Editors fetch the schema without a token, and keep it for a while.
func TestPipelineSchema(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for _, slash := range []string{"", "/"} {
		w := call(h, nil, "GET", "/api/v2/pipelines/schema"+slash, "")
		require.Equal(t, 200, w.Code)
		require.Equal(t, "application/schema+json", w.Header().Get("Content-Type"))
		require.Equal(t, "public, max-age=3600", w.Header().Get("Cache-Control"))
		require.JSONEq(t, string(pipeline.Schema()), w.Body.String())

		r := httptest.NewRequest("GET", "/api/v2/pipelines/schema", nil)
		r.Header.Set("If-None-Match", w.Header().Get("ETag"))
		again := httptest.NewRecorder()
		h.ServeHTTP(again, r)
		require.Equal(t, 304, again.Code)
		require.Empty(t, again.Body.String())
	}
	head := call(h, nil, "HEAD", "/api/v2/pipelines/schema", "")
	require.Equal(t, 200, head.Code)
	requireProblem(t, call(h, nil, "POST", "/api/v2/pipelines/schema", "{}"), 405)
}

// Two replicas on one database, as their users see them.
func TestReplicasServeTheSameDefinitions(t *testing.T) {
	t.Parallel()
	h, db := newDefinitions(t)
	c, err := catalog.New(catalog.Options{DB: db})
	require.NoError(t, err)
	other := newHandler(t, func(o *Options) { o.Pipelines.Catalog = c })
	object(t, call(h, admin, "POST", definitionsPath, review), 201)
	require.NoError(t, c.Refresh(t.Context()))
	require.EqualValues(t, 1, object(t, call(other, admin, "GET", definitionsPath, ""), 200)["count"])
	object(t, call(other, admin, "PUT", definitionsPath+"/review?version=1", strings.Replace(review, "law", "laws", 1)), 200)
	requireProblem(t, call(h, admin, "PUT", definitionsPath+"/review?version=1", strings.Replace(review, "law", "lore", 1)), 409)
	require.NoError(t, h.o.Pipelines.Catalog.Refresh(t.Context()))
	require.Equal(t, "laws", object(t, call(h, admin, "GET", definitionsPath+"/review", ""), 200)["category"])
	require.True(t, slices.ContainsFunc(h.o.Pipelines.Catalog.List(), func(e *catalog.Entry) bool { return e.Version == 2 }))
}
