package gateway_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/pricing"
)

const askDirect = `{"provider":"openai","model":"gpt-4o-mini","message":"hi","conversation_history":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"temperature":0.5,"max_tokens":100}`

func TestDirectStream(t *testing.T) {
	for _, path := range []string{"/chat/direct/stream", "/chat/direct/stream/"} {
		f, server := setupPortal(t)
		a := f.post(path, askDirect)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.Equal(t, portalChunk("Hello")+portalChunk(", ")+portalChunk("world")+portalFinal, timeless(a.Body))
		require.JSONEq(t, `{"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true},"temperature":0.5,"max_completion_tokens":100,
			"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"hi"}]}`, string(server.Last().Body))
		row := f.ledger.one(t)
		requireRow(t, row, 1, 200, 200, llm.CauseNone)
		require.Equal(t, "direct", row.SpecialistID)
		require.Equal(t, "Direct chat", row.SpecialistName)
		require.Equal(t, "portal_chat", row.Dialect)
		require.Equal(t, "openai", row.Provider)
		require.Equal(t, "gpt-4o-mini", row.Model)
		require.True(t, row.Priced)
	}
}

// A specialist's name is no model's, and an alias stands for nothing here.
func TestDirectErrors(t *testing.T) {
	tests := map[string]struct {
		token, body string
		status      int
	}{
		"another provider":     {body: strings.Replace(askDirect, "openai", "anthropic", 1), status: 404},
		"no provider at all":   {body: strings.Replace(askDirect, "openai", "nobody", 1), status: 404},
		"not for this token":   {token: "only:helper", body: askDirect, status: 404},
		"for another model":    {token: "only:openai/gpt-4o", body: askDirect, status: 404},
		"a field":              {body: `{"provider":"openai","model":"x"}`, status: 422},
		"a specialist instead": {body: askHelper, status: 422},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, server := setupPortal(t)
			token := callerKey
			if tt.token != "" {
				token = tt.token
			}
			a := f.post("/chat/direct/stream", tt.body, "Authorization", "Bearer "+token)
			require.Equal(t, tt.status, a.Status, a.Body)
			portalError(t, a)
			row := f.ledger.one(t)
			require.Equal(t, "direct", row.SpecialistID)
			require.False(t, row.Success)
			require.Empty(t, server.Requests())
		})
	}
	f, _ := setupPortal(t)
	for _, token := range []string{"only:openai/*", "only:gpt-4o-mini"} {
		require.Equal(t, http.StatusOK, f.post("/chat/direct/stream", askDirect, "Authorization", "Bearer "+token).Status, token)
	}
	require.Equal(t, http.StatusUnauthorized, f.post("/chat/direct/stream", askDirect, "Authorization", "").Status)
	require.Equal(t, http.StatusMethodNotAllowed, f.do(http.MethodGet, "/chat/direct/stream", "").Status)
}

func TestDirectAliasIsNotFollowed(t *testing.T) {
	server := upstreamtest.New(t)
	f := setup(t, func(o *gateway.Options) {
		withSpecialists(o)
		o.Aliases = map[string]string{"openai/gpt-4o-mini": "helper"}
	}, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	require.Equal(t, http.StatusOK, f.post("/chat/direct/stream", askDirect).Status)
	require.NotContains(t, string(server.Last().Body), "Help.")
	require.Equal(t, "direct", f.ledger.one(t).SpecialistID)
}

func TestDirectDemo(t *testing.T) {
	f := setup(t, nil)
	for i, body := range []string{askDirect, `{"provider":"demo","model":"demo","message":"hi"}`} {
		a := f.post("/chat/direct/stream", body)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.Equal(t, "1", a.Header.Get("X-Tollgate-Demo"))
		require.Equal(t, "demo", f.ledger.wait(t, i+1)[i].Provider)
	}
}

func TestLabelledCalls(t *testing.T) {
	server := upstreamtest.New(t)
	f := setup(t, func(o *gateway.Options) {
		o.Caller = func(r *http.Request) (*identity.Principal, bool) { return &identity.Principal{UserHash: "u"}, true }
	}, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	require.Equal(t, http.StatusOK, f.chat(`{"model":"openai/gpt-4o","messages":[{"role":"user","content":"hi"}]}`).Status)
	require.Empty(t, f.ledger.one(t).SpecialistID, "only a context can name a call")
}

func TestDirectModels(t *testing.T) {
	server := upstreamtest.New(t)
	g := gateway.New(gateway.Options{
		Prices: pricing.Embedded(), Ledger: newLedger(),
		Providers: []*upstream.Provider{
			provider(t, "openai", server.URL(), upstream.Timeouts{}), provider(t, "anthropic", server.URL(), upstream.Timeouts{}),
			provider(t, "gemini", server.URL(), upstream.Timeouts{}),
			configured(t, upstream.Config{Name: "our-own", BaseURL: server.URL(), Models: []string{"llama", "aya"}}),
		},
	})
	list := g.DirectModels(&identity.Principal{})
	var names []string
	for _, p := range list {
		names = append(names, p.ID+"="+p.Name)
		require.NotEmpty(t, p.Models)
		require.True(t, slices.IsSortedFunc(p.Models, func(a, b gateway.DirectModel) int { return strings.Compare(a.ID, b.ID) }))
	}
	require.Equal(t, []string{"anthropic=Anthropic", "gemini=Google Gemini", "openai=OpenAI", "our-own=our-own"}, names)
	text, err := json.Marshal(list[3])
	require.NoError(t, err)
	//nolint:testifylint // the bytes count: the frontend's contract
	require.Equal(t, `{"id":"our-own","name":"our-own","models":[{"id":"aya","name":"aya","tier":"standard","context":0,"description":"","input_price":0,"output_price":0},`+
		`{"id":"llama","name":"llama","tier":"standard","context":0,"description":"","input_price":0,"output_price":0}]}`, string(text))

	at := slices.IndexFunc(list[2].Models, func(m gateway.DirectModel) bool { return m.ID == "gpt-4o-mini" })
	text, err = json.Marshal(list[2].Models[at])
	require.NoError(t, err)
	require.JSONEq(t, `{"id":"gpt-4o-mini","name":"gpt-4o-mini","tier":"standard","context":128000,"description":"","input_price":0.15,"output_price":0.6}`, string(text))
	for _, m := range list[2].Models {
		require.NotContains(t, m.ID, "embedding", "they cannot chat")
		require.NotContains(t, m.ID, "dall-e")
	}

	list = g.DirectModels(&identity.Principal{Specialists: []string{"helper", "openai/gpt-4o", "claude-*"}})
	require.Len(t, list, 2)
	require.Equal(t, "anthropic", list[0].ID)
	require.Len(t, list[1].Models, 1)
	require.Empty(t, g.DirectModels(&identity.Principal{Specialists: []string{}}))

	demo := gateway.New(gateway.Options{Prices: pricing.Embedded(), Ledger: newLedger()})
	require.Equal(t, []gateway.DirectProvider{{ID: "demo", Name: "Demo", Models: []gateway.DirectModel{{ID: "demo", Name: "demo", Tier: "standard"}}}},
		demo.DirectModels(&identity.Principal{}))
}
