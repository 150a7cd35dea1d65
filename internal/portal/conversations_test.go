package portal

import (
	"context"
	"encoding/json"
	"maps"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/conversation"
	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
)

// withConversations makes a portal that keeps them.
func withConversations(t *testing.T) (*Handler, *conversation.Service, *database.DB) {
	t.Helper()
	db, err := database.Open("sqlite:///"+filepath.Join(t.TempDir(), "test.db"), database.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	service, err := conversation.New(conversation.Options{Store: db, Secret: testSecret})
	require.NoError(t, err)
	t.Cleanup(service.Stop)
	return New(Options{Conversations: service}), service, db
}

func members(v any) []string { return slices.Sorted(maps.Keys(v.(map[string]any))) }

var conversationMembers = []string{
	"created_at", "message_count", "mode", "model", "preview", "provider", "specialist_id", "title", "updated_at", "uuid",
}

func TestConversationRoutes(t *testing.T) {
	t.Parallel()
	h, _, _ := withConversations(t)
	for _, slash := range []string{"", "/"} {
		made := object(t, call(h, alice, "POST", "/conversations"+slash, `{"provider":"openai","model":"gpt-4o","mode":"specialist","specialist_id":"helper","x":1}`), 200)
		require.Equal(t, conversationMembers, members(made))
		require.Equal(t, "New conversation", made["title"])
		path := "/conversations/" + made["uuid"].(string)

		question := object(t, call(h, alice, "POST", path+"/messages"+slash, `{"role":"user","content":"Why is that so?"}`), 200)
		require.Equal(t, []string{"conversation_title", "id"}, members(question))
		require.Equal(t, "Why is that so?", question["conversation_title"])
		answer := object(t, call(h, alice, "POST", path+"/messages"+slash,
			`{"role":"assistant","content":"Because.","model":"gpt-4o","input_tokens":10,"output_tokens":3,"cost_usd":0.0000113}`), 200)
		require.Greater(t, answer["id"], question["id"])

		w := call(h, alice, "GET", path+slash, "")
		read := object(t, w, 200)
		require.Equal(t, slices.Sorted(slices.Values(append(slices.Clone(conversationMembers), "messages"))), members(read))
		messages := read["messages"].([]any)
		require.Len(t, messages, 2)
		for i, message := range messages {
			require.Equal(t, []string{"content", "cost_usd", "created_at", "id", "input_tokens", "model", "output_tokens", "role"}, members(message), i)
		}
		require.Contains(t, w.Body.String(), `"input_tokens":10,"output_tokens":3,"cost_usd":0.0000113,`)
		require.Regexp(t, `^[0-9-]+T[0-9:.]+Z$`, read["created_at"])

		list := object(t, call(h, alice, "GET", "/conversations"+slash+"?limit=200&offset=0", ""), 200)
		require.Equal(t, []string{"conversations", "total"}, members(list))
		require.Equal(t, conversationMembers, members(list["conversations"].([]any)[0]))
		require.InDelta(t, 1, list["total"], 0)

		renamed := object(t, call(h, alice, "PUT", path+slash, `{"title":"Mine","specialist_id":""}`), 200)
		require.Equal(t, "Mine", renamed["title"])
		require.Empty(t, renamed["specialist_id"])
		require.Equal(t, map[string]any{"deleted": true}, object(t, call(h, alice, "DELETE", path+slash, ""), 200))
		requireProblem(t, call(h, alice, "GET", path+slash, ""), 404)
		require.Equal(t, map[string]any{"conversations": []any{}, "total": 0.0}, object(t, call(h, alice, "GET", "/conversations"+slash, ""), 200))
	}
}

// Another user's conversation is not there, for admins neither.
func TestConversationsOfOthers(t *testing.T) {
	t.Parallel()
	h, _, _ := withConversations(t)
	id := object(t, call(h, alice, "POST", "/conversations", `{}`), 200)["uuid"].(string)
	viewer := &identity.Principal{UserHash: bobHash, Roles: []string{"viewer"}}
	for _, route := range []struct{ method, path, body string }{
		{"GET", "/conversations/" + id, ""},
		{"PUT", "/conversations/" + id, `{"title":"x"}`},
		{"DELETE", "/conversations/" + id, ""},
		{"POST", "/conversations/" + id + "/messages", `{"role":"user","content":"x"}`},
	} {
		requireProblem(t, call(h, admin, route.method, route.path, route.body), 404)
		requireProblem(t, call(h, viewer, route.method, route.path, route.body), 403)
		requireProblem(t, call(h, nil, route.method, route.path, route.body), 401)
		requireProblem(t, call(h, alice, route.method, strings.Replace(route.path, id, "1", 1), route.body), 404)
		requireProblem(t, call(h, &identity.Principal{}, route.method, route.path, route.body), 500)
		off := requireProblem(t, call(New(Options{}), alice, route.method, route.path, route.body), 404)
		require.Contains(t, off["error"], "turned off")
	}
	require.Empty(t, object(t, call(h, admin, "GET", "/conversations", ""), 200)["conversations"])
	object(t, call(h, admin, "POST", "/conversations", ""), 200)
	object(t, call(h, alice, "GET", "/conversations/"+id, ""), 200)
}

func TestBadConversationRequests(t *testing.T) {
	t.Parallel()
	h, _, db := withConversations(t)
	id := object(t, call(h, alice, "POST", "/conversations", `{}`), 200)["uuid"].(string)
	for _, query := range []string{"limit=0", "limit=201", "limit=x", "offset=-1", "offset=x", "offset=99999999999", "%"} {
		requireProblem(t, call(h, alice, "GET", "/conversations?"+query, ""), 422)
	}
	path := "/conversations/" + id
	for body, status := range map[string]int{
		`{"role":"user"`:               400,
		`[]`:                           400,
		`{"role":"user","content":7}`:  422,
		`{"role":"user","content":""}`: 422,
		`{"role":"assistant","content":"x","cost_usd":"much"}`:                    422,
		`{"role":"user","content":"` + strings.Repeat("ü", 50_001) + `"}`:         422,
		`{"role":"assistant","content":"` + strings.Repeat("x", 1<<20+1) + `"}`:   422,
		`{"role":"assistant","content":"` + strings.Repeat("x", 3<<20) + `"}`:     413,
		`{"role":"user","content":"x","cost_usd":null,"model":"m"}`:               200,
		`{"role":"assistant","content":"` + strings.Repeat(`\n`, 1<<20-1) + `x"}`: 200,
	} {
		w := call(h, alice, "POST", path+"/messages", body)
		require.Equal(t, status, w.Code, body[:min(len(body), 60)])
		if status != 200 {
			requireProblem(t, w, status)
		}
	}
	requireProblem(t, call(h, alice, "PUT", path, `{"title":"`+strings.Repeat("x", 201)+`"}`), 422)
	requireProblem(t, call(h, alice, "POST", "/conversations", `{"model":7}`), 422)
	require.NoError(t, db.Close())
	w := call(h, alice, "GET", "/conversations", "")
	requireProblem(t, w, 503)
	require.Equal(t, "5", w.Header().Get("Retry-After"))
}

// While its first answer is given the conversation has it behind its messages,
// with all members of a message.
func TestConversationReadAlong(t *testing.T) {
	t.Parallel()
	h, service, _ := withConversations(t)
	id := object(t, call(h, alice, "POST", "/conversations", `{}`), 200)["uuid"].(string)
	answer := service.Begin(t.Context(), alice, gateway.Question{Text: "Why?", Model: "gpt-4o"})
	object(t, call(h, alice, "POST", "/conversations/"+id+"/messages", `{"role":"user","content":"Why?"}`), 200)
	w := call(h, alice, "GET", "/conversations/"+id, "")
	require.Contains(t, w.Body.String(),
		`{"id":0,"role":"assistant","content":"","model":"gpt-4o","input_tokens":0,"output_tokens":0,"cost_usd":0,"created_at":"`)

	answer.Text("Because.")
	require.True(t, answer.Pass(t.Context()), "the page renders")
	require.False(t, answer.Pass(t.Context()))
	answer.End(gateway.Outcome{Whole: true})
	var read struct{ Messages []conversation.Message }
	require.NoError(t, json.Unmarshal(call(h, alice, "GET", "/conversations/"+id, "").Body.Bytes(), &read))
	require.Equal(t, "Because.", read.Messages[1].Content)
	require.Positive(t, read.Messages[1].ID)
}

// A caller who leaves while the portal waits for an answer holds nothing up.
func TestConversationReaderLeaves(t *testing.T) {
	t.Parallel()
	h, service, _ := withConversations(t)
	id := object(t, call(h, alice, "POST", "/conversations", `{}`), 200)["uuid"].(string)
	answer := service.Begin(t.Context(), alice, gateway.Question{Text: "Why?"})
	ctx, leave := context.WithCancel(identity.NewContext(t.Context(), alice))
	leave()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/conversations/"+id, nil))
	answer.Text("x")
	answer.Pass(t.Context())
	answer.End(gateway.Outcome{})
}
