package portal

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
)

// What a test waits for, and how often it looks.
const (
	waiting = time.Minute
	tick    = 2 * time.Millisecond
)

// Runs are their owner's; admins see all.
func TestRunsOfOthers(t *testing.T) {
	t.Parallel()
	p := newPipelines(t, newDatabase(t), nil)
	id := p.start(t, "ask", "a private matter")
	p.ended(t, id)
	path := "/api/v2/pipelines/runs/" + id
	for _, route := range []string{path, path + "/cancel", path + "/resume"} {
		method := "POST"
		if route == path {
			method = "GET"
		}
		for _, stranger := range []string{id, uuid.NewString(), "x", "%20"} {
			w := call(p.Handler, bob, method, "/api/v2/pipelines/runs/"+stranger+route[len(path):], "")
			requireProblem(t, w, 404)
			require.NotContains(t, w.Body.String(), "private")
		}
		requireProblem(t, call(p.Handler, viewer, method, route, ""), 403)
		requireProblem(t, call(p.Handler, nil, method, route, ""), 401)
	}
	require.Equal(t, id, object(t, call(p.Handler, admin, "GET", path, ""), 200)["pipeline_id"])

	list := func(as *identity.Principal, target string) []any {
		return object(t, call(p.Handler, as, "GET", target, ""), 200)["runs"].([]any)
	}
	for _, target := range []string{"/api/v2/pipelines/runs", "/usage/pipelines"} {
		require.Len(t, list(alice, target), 1)
		require.Len(t, list(alice, target+"?user_hash="+aliceHash), 1)
		require.Empty(t, list(bob, target))
		require.Len(t, list(admin, target), 1)
		require.Len(t, list(admin, target+"?user_hash="+aliceHash), 1)
		require.Empty(t, list(admin, target+"?user_hash="+bob.UserHash))
		requireProblem(t, call(p.Handler, bob, "GET", target+"?user_hash="+aliceHash, ""), 403)
	}
	requireProblem(t, call(p.Handler, viewer, "GET", "/api/v2/pipelines/runs", ""), 403)
	eve := &identity.Principal{Subject: "eve", UserHash: strings.Repeat("e", 64), Roles: []string{"viewer"}}
	seen := list(eve, "/usage/pipelines")
	require.Len(t, seen, 1)
	require.Empty(t, seen[0].(map[string]any)["query"], "a viewer sees what was used, not what was asked")
	require.InDelta(t, 15, seen[0].(map[string]any)["total_tokens"], 0)
}

func TestPagesOfRuns(t *testing.T) {
	t.Parallel()
	p := newPipelines(t, newDatabase(t), nil)
	var ids []any // newest first
	for _, name := range []string{"ask", "review", "ask"} {
		id := p.start(t, name, "?")
		p.ended(t, id)
		ids = append([]any{id}, ids...)
	}
	for _, path := range []string{"/api/v2/pipelines/runs", "/usage/pipelines"} {
		walk := func(query string) (found []any) {
			for next := ""; ; {
				answer := object(t, call(p.Handler, alice, "GET", path+"?limit=1&before="+url.QueryEscape(next)+query, ""), 200)
				for _, one := range answer["runs"].([]any) {
					found = append(found, one.(map[string]any)["pipeline_id"])
				}
				if answer["next"] == nil {
					return found
				}
				next = answer["next"].(string)
			}
		}
		tomorrow := time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)
		require.Equal(t, ids, walk(""))
		require.Equal(t, ids[1:2], walk("&pipeline_name=review"))
		require.Equal(t, ids, walk("&status=completed&from=2026-01-01&to="+tomorrow))
		require.Empty(t, walk("&status=failed"))
		require.Empty(t, walk("&from="+tomorrow))
		require.Empty(t, walk("&to=2026-01-01"))
		for query, field := range map[string]string{
			"limit=0": "limit", "limit=501": "limit", "limit=x": "limit", "status=lost": "status", "from=now": "from", "to=1": "to",
			"before=x": "before", "limit=%zz": "query",
		} {
			require.Contains(t, requireProblem(t, call(p.Handler, alice, "GET", path+"?"+query, ""), 422)["details"], field, query)
		}
	}
}

// A run that is cancelled has failed, and can be gone on with.
func TestRunCancelledAndResumed(t *testing.T) {
	t.Parallel()
	p := newPipelines(t, newDatabase(t), nil)
	p.script(func(ctx context.Context, c gateway.Call) *llm.Error {
		if c.Label.Step == "second" {
			return untilDone(ctx, c)
		}
		c.Text("done before")
		return nil
	})
	id := p.start(t, "review", "?")
	socket := p.attach(t, id, "alice")
	socket.until("agent_complete")
	path := "/api/v2/pipelines/runs/" + id
	requireProblem(t, call(p.Handler, alice, "POST", path+"/resume", ""), 409)
	object(t, call(p.Handler, alice, "POST", path+"/cancel/", ""), 200)
	v := p.ended(t, id)
	require.Equal(t, "failed", v["status"])
	require.Equal(t, "cancelled", v["error_code"])
	require.NotEmpty(t, v["error_message"])
	require.InDelta(t, 30, v["total_tokens"], 0, "what was used is told")
	require.Equal(t, v, object(t, call(p.Handler, alice, "POST", path+"/cancel", ""), 200), "it has ended")
	require.Equal(t, websocket.StatusNormalClosure, socket.rest())
	require.Equal(t, "error", socket.seen[len(socket.seen)-1].Type)

	var asked []string
	p.script(func(_ context.Context, c gateway.Call) *llm.Error {
		asked = append(asked, c.Label.Step)
		c.Text("done now")
		return nil
	})
	v = object(t, call(p.Handler, alice, "POST", path+"/resume", ""), 200)
	require.Equal(t, "running", v["status"])
	require.InDelta(t, 2, v["attempt"], 0)
	v = p.ended(t, id)
	require.Equal(t, "completed", v["status"])
	require.Equal(t, "done before | done now", v["output"])
	require.Equal(t, []string{"second"}, asked)
	require.InDelta(t, 45, v["total_tokens"], 0)
	requireProblem(t, call(p.Handler, alice, "POST", path+"/resume", ""), 409)
}

func TestRunsOutage(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	p := newPipelines(t, db, nil)
	id := p.start(t, "ask", "?")
	p.ended(t, id)
	require.NoError(t, db.Close())
	for target, body := range map[string]string{
		"POST /api/v2/pipelines/run": `{"pipeline_name":"ask","query":"?"}`, "GET /api/v2/pipelines/runs": "", "GET /usage/pipelines": "",
		"GET /api/v2/pipelines/runs/" + uuid.NewString(): "", "POST /api/v2/pipelines/runs/" + uuid.NewString() + "/resume": "",
	} {
		method, path, _ := strings.Cut(target, " ")
		w := call(p.Handler, alice, method, path, body)
		requireProblem(t, w, 503)
		require.NotContains(t, w.Body.String(), "sql")
	}
}
