package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/responsestate"
)

// kept is a store of responses in memory.
type kept struct {
	mu      sync.Mutex // guards entries
	entries map[string]responsestate.Entry
	LoadErr error
}

func (k *kept) Save(_ context.Context, e responsestate.Entry) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.entries[e.ID] = e
	return nil
}

func (k *kept) Load(_ context.Context, id, owner string) (*responsestate.Entry, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, ok := k.entries[id]
	switch {
	case k.LoadErr != nil:
		return nil, k.LoadErr
	case !ok || e.Owner != owner:
		return nil, responsestate.ErrNotFound
	}
	return &e, nil
}

func (k *kept) Delete(_ context.Context, id, _ string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.entries, id)
	return nil
}

func (k *kept) len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.entries)
}

type response struct {
	ID                 string
	Status             string
	Store              *bool
	PreviousResponseID *string `json:"previous_response_id"`
	Output             []struct {
		Type    string
		Content []struct{ Text string }
	}
}

func (r response) text() (said string) {
	for _, item := range r.Output {
		for _, c := range item.Content {
			said += c.Text
		}
	}
	return said
}

// lastResponse is the response of an answer, streamed or not.
func lastResponse(t *testing.T, a answer) (r response) {
	t.Helper()
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	text := a.Body
	if strings.HasPrefix(a.Header.Get("Content-Type"), "text/event-stream") {
		_, text, _ = strings.Cut(text, "event: response.completed\ndata: ")
		var event struct{ Response json.RawMessage }
		require.NoError(t, json.Unmarshal([]byte(strings.TrimSpace(text)), &event), a.Body)
		text = string(event.Response)
	}
	require.NoError(t, json.Unmarshal([]byte(text), &r), a.Body)
	return r
}

// A conversation goes on by the id of its last answer, though the provider knows
// no such thing; what was said is kept only when the caller asked for it.
func TestPreviousResponse(t *testing.T) {
	for _, stream := range []string{"false", "true"} {
		store := &kept{entries: map[string]responsestate.Entry{}}
		f := newFamily(t, func(o *gateway.Options) { o.Responses = store })
		first := lastResponse(t, f.post("/v1/responses",
			`{"model":"anthropic/claude-sonnet-4-5","stream":`+stream+`,"store":true,"instructions":"Be kind.","input":"say: one"}`))
		require.Equal(t, "one", first.text())
		require.True(t, *first.Store)
		require.Equal(t, 1, store.len())

		second := lastResponse(t, f.post("/v1/responses",
			`{"model":"anthropic/claude-sonnet-4-5","stream":`+stream+`,"previous_response_id":"`+first.ID+`","input":[{"role":"user","content":"say: two"}]}`))
		require.Equal(t, "two", second.text())
		require.Equal(t, first.ID, *second.PreviousResponseID)
		require.Equal(t, 1, store.len(), "nothing is kept unasked")
		var said []string
		for _, item := range f.anthropic.LastDescription().Items {
			said = append(said, item.Role+": "+item.Text)
		}
		require.Equal(t, []string{"user: say: one", "assistant: one", "user: say: two"}, said)
		require.Empty(t, f.anthropic.LastDescription().System, "instructions are not carried over, as at OpenAI")

		moved := lastResponse(t, f.post("/v1/responses",
			`{"model":"openai/gpt-4o","stream":`+stream+`,"previous_response_id":"`+first.ID+`","input":"say: three"}`))
		require.Equal(t, "three", moved.text(), "a provider that has Responses gets the conversation, not an id it does not know")
	}
}

func TestStoredResponses(t *testing.T) {
	store := &kept{entries: map[string]responsestate.Entry{}}
	f := newFamily(t, func(o *gateway.Options) { o.Responses = store })
	made := f.post("/v1/responses", `{"model":"anthropic/claude-sonnet-4-5","store":true,"input":"say: one"}`)
	id := lastResponse(t, made).ID
	got := f.do(http.MethodGet, "/v1/responses/"+id, "")
	require.Equal(t, http.StatusOK, got.Status)
	require.JSONEq(t, made.Body, got.Body)
	items := f.do(http.MethodGet, "/openai/v1/responses/"+id+"/input_items", "")
	require.Contains(t, items.Body, `"object":"list"`)
	require.Contains(t, items.Body, "say: one")

	for what, a := range map[string]answer{
		"no token":     f.do(http.MethodGet, "/v1/responses/"+id, "", "Authorization", ""),
		"unknown":      f.do(http.MethodGet, "/v1/responses/resp_tgnothing", ""),
		"other method": f.post("/v1/responses/"+id, "{}"),
	} {
		require.Contains(t, []int{401, 404, 405}, a.Status, what)
		require.Contains(t, a.Body, `"error"`, what)
	}
	deleted := f.do(http.MethodDelete, "/v1/responses/"+id, "")
	require.JSONEq(t, `{"id":"`+id+`","object":"response","deleted":true}`, deleted.Body)
	require.Equal(t, http.StatusNotFound, f.do(http.MethodGet, "/v1/responses/"+id, "").Status)

	gone := f.post("/v1/responses", `{"model":"anthropic/claude-sonnet-4-5","previous_response_id":"`+id+`","input":"x"}`)
	e := gone.requireError(t, http.StatusBadRequest, "previous_response_not_found")
	require.Equal(t, "previous_response_id", text(e.Param))
	foreign := f.post("/v1/responses", `{"model":"anthropic/claude-sonnet-4-5","previous_response_id":"resp_of_openai","input":"x"}`)
	require.Equal(t, "previous_response_id", text(foreign.requireError(t, http.StatusBadRequest, "previous_response_not_found").Param))

	store.LoadErr = context.DeadlineExceeded
	away := f.post("/v1/responses", `{"model":"anthropic/claude-sonnet-4-5","previous_response_id":"`+id+`","input":"x"}`)
	require.Equal(t, http.StatusServiceUnavailable, away.Status)
}
