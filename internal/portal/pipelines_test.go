package portal

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThereAreNoPipelines(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for path, want := range map[string]string{
		"/pipelines/":            `{"pipelines":[],"count":0}`,
		"/api/v2/pipelines/list": `{"pipelines":[],"count":0}`,
		"/usage/pipelines":       `{"runs":[]}`,
	} {
		w := call(h, alice, "GET", path+"?limit=20", "")
		object(t, w, 200)
		require.JSONEq(t, want, w.Body.String())
		requireProblem(t, call(h, nil, "GET", path, ""), 401)
	}
	requireProblem(t, call(h, alice, "POST", "/api/v2/pipelines/run", `{"pipeline_name":"research","query":"?"}`), 404)
	requireProblem(t, call(h, alice, "POST", "/api/v2/pipelines/run", `{"query":"?"}`), 422)
	requireProblem(t, call(h, alice, "POST", "/api/v2/pipelines/run", `[]`), 400)
	requireProblem(t, call(h, alice, "GET", "/api/v2/pipelines/runs/x", ""), 404)
	requireProblem(t, call(h, nil, "POST", "/api/v2/pipelines/run", ""), 401)
}
