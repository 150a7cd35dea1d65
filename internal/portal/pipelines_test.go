package portal

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Where pipelines are turned off, pages that ask for them load all the same.
func TestThereAreNoPipelines(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for path, want := range map[string]string{
		"/pipelines/":            `{"pipelines":[],"count":0}`,
		"/api/v2/pipelines/list": `{"pipelines":[],"count":0}`,
		"/usage/pipelines":       `{"runs":[],"next":null}`,
	} {
		w := call(h, alice, "GET", path+"?limit=20", "")
		object(t, w, 200)
		require.JSONEq(t, want, w.Body.String())
		requireProblem(t, call(h, nil, "GET", path, ""), 401)
	}
	for route, body := range map[string]string{
		"POST /api/v2/pipelines/run": `{"pipeline_name":"research","query":"?"}`,
		"GET /api/v2/pipelines/runs": "", "GET /api/v2/pipelines/runs/x": "",
		"POST /api/v2/pipelines/runs/x/cancel": "", "POST /api/v2/pipelines/runs/x/resume": "",
	} {
		method, path, _ := strings.Cut(route, " ")
		require.Contains(t, requireProblem(t, call(h, alice, method, path, body), 404)["error"], "turned off", route)
		requireProblem(t, call(h, nil, method, path, body), 401)
	}
	requireProblem(t, call(h, nil, "GET", "/api/v2/pipelines/ws/x", ""), 404)
}
