package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/pricing"
)

// echo answers a chat with what it was asked, piece by piece.
func echo(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Stream   bool
		Messages []struct{ Content string }
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	text := request.Messages[len(request.Messages)-1].Content
	pieces := []string{text[:len(text)/3], text[len(text)/3 : len(text)/2], text[len(text)/2:]}
	if request.Stream {
		upstreamtest.Stream(upstreamtest.ChatEvents(true, pieces...)...)(w, r)
		return
	}
	upstreamtest.JSON(http.StatusOK, upstreamtest.ChatBody(pieces...))(w, r)
}

// Two hundred calls at once, of all kinds and sizes, with memory for bodies
// shared between them: each answer is its own request's, as is each row.
func TestParallelCalls(t *testing.T) {
	const calls = 200
	server := upstreamtest.New(t, echo)
	f := setup(t, func(o *gateway.Options) {
		o.Specialists = specialists{
			{ID: "plain", Name: "Plain", Provider: "openai", Model: "gpt-4o"},
			{ID: "prompted", Name: "Prompted", Provider: "openai", Model: "gpt-4o-mini", SystemPrompt: "Echo.", MaxTokens: 9, Fallbacks: []specialist.Target{{Provider: "openai", Model: "gpt-4o"}}},
		}
	}, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	var running sync.WaitGroup
	for i := range calls {
		running.Go(func() {
			text := fmt.Sprintf("<%d %s %d>", i, strings.Repeat(fmt.Sprintf("%d.", i), rand.IntN(12_000)), i)
			got, err := f.ask(i, text)
			switch {
			case err != nil:
				t.Error(err)
			case got != text:
				t.Errorf("call %d got another's answer, or half of its own: %.50q…", i, got)
			}
		})
	}
	running.Wait()
	rows := f.ledger.wait(t, calls)
	ids := map[string]bool{}
	for _, row := range rows {
		requireRow(t, row, 1, 200, 200, llm.CauseNone)
		require.EqualValues(t, 10, row.InputTokens)
		require.EqualValues(t, 3, row.OutputTokens)
		ids[row.ID.String()], ids[row.RequestID] = true, true
	}
	require.Len(t, ids, 2*calls)
	server.WaitIdle(t)
}

// ask asks in one of six ways and gives the answer's text.
func (f *fixture) ask(i int, text string) (string, error) {
	path, body := "/v1/chat/completions", map[string]any{
		"model":    []string{"gpt-4o", "plain", "prompted"}[i%3], // the first goes through unchanged
		"messages": []any{map[string]any{"role": "user", "content": text}},
	}
	switch i % 4 {
	case 1:
		body["stream"] = true
	case 2:
		path, body = "/chat/stream", map[string]any{"specialist_id": "prompted", "message": text} // at most 50,000 characters
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	resp, err := f.client.Do(f.request(f.t.Context(), http.MethodPost, path, strings.NewReader(string(encoded))))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %.200s (%w)", resp.StatusCode, answer, err)
	}
	return textOf(string(answer))
}

// textOf puts the text of any answer together.
func textOf(answer string) (string, error) {
	var text strings.Builder
	for line := range strings.SplitSeq(answer, "\n") {
		line, _ = strings.CutPrefix(line, "data: ")
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var piece struct {
			Content string
			Choices []struct{ Message, Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(line), &piece); err != nil {
			return "", err
		}
		text.WriteString(piece.Content)
		for _, choice := range piece.Choices {
			text.WriteString(choice.Message.Content + choice.Delta.Content)
		}
	}
	return text.String(), nil
}

// A transport may read a request's body when the call is long over; no other
// call has overwritten it by then.
func TestBodyOutlivesTheCall(t *testing.T) {
	var sent []io.ReadCloser
	late := roundTripFunc(func(r *http.Request) (*http.Response, error) {
		sent = append(sent, r.Body)
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(upstreamtest.ChatBody("a"))),
		}, nil
	})
	g := withPrincipal(gateway.New(gateway.Options{
		Logger: slog.New(slog.DiscardHandler), Prices: pricing.Embedded(), Ledger: newLedger(),
		Providers: []*upstream.Provider{configured(t, upstream.Config{Name: "openai", Transport: late})},
	}))
	const calls = 20
	body := func(i int) string { return fmt.Sprintf(`{"model":"gpt-4o","messages":[],"user":"%02d"}`, i) }
	for i := range calls {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/chat/completions", strings.NewReader(body(i)))
		r.Header.Set("Authorization", "Bearer "+callerKey)
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		require.Equal(t, http.StatusOK, w.Code)
	}
	for i, content := range sent {
		got, err := io.ReadAll(content)
		require.NoError(t, err)
		require.Equal(t, body(i), string(got))
		require.NoError(t, content.Close())
	}
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// GET /v1/models lists what the caller may use, and each of it can be got.
func TestModels(t *testing.T) {
	server := upstreamtest.New(t)
	of := func(models ...string) *upstream.Provider {
		return configured(t, upstream.Config{Name: "openai", BaseURL: server.URL(), Models: models})
	}
	f := setup(t, withSpecialists, of("gpt-4o", "my-model"), provider(t, "gemini", server.URL(), upstream.Timeouts{}))
	list := func(token string) []string {
		a := f.do(http.MethodGet, "/v1/models", "", "Authorization", "Bearer "+token)
		require.Equal(t, http.StatusOK, a.Status)
		require.Equal(t, "application/json", a.Header.Get("Content-Type"))
		var body struct {
			Object string
			Data   []struct{ ID, Object string }
		}
		require.NoError(t, json.Unmarshal([]byte(a.Body), &body))
		require.Equal(t, "list", body.Object)
		ids := make([]string, len(body.Data))
		for i, m := range body.Data {
			require.Equal(t, "model", m.Object)
			ids[i] = m.ID
		}
		return ids
	}
	all := list(callerKey)
	require.Equal(t, []string{"helper", "homeless", "doubtful"}, all[:3])
	require.Subset(t, all, []string{"openai/gpt-4o", "openai/my-model", "gemini/gemini-2.5-flash"})
	require.NotContains(t, all, "openai/gpt-4o-mini", "not one of the configured models")
	require.Equal(t, []string{"helper", "openai/my-model"}, list("only:old-helper,my-model"))
	require.Empty(t, list("only:nothing"))
	for _, id := range all {
		a := f.do(http.MethodGet, "/v1/models/"+id, "")
		require.Equal(t, http.StatusOK, a.Status, id)
		require.Contains(t, a.Body, `"id":"`+id+`"`)
	}
	require.Empty(t, f.ledger.all())
}
