package gateway_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// Azure's deployments are asked for by their own names, and cost what the models
// in them cost.
func TestAzure(t *testing.T) {
	const ask = `{"model":"azure/gpt-4o","messages":[{"role":"user","content":"Hi"}]}`
	for version, path := range map[string]string{
		"":           "/openai/v1/chat/completions",
		"2024-10-21": "/openai/deployments/our-4o/chat/completions?api-version=2024-10-21",
	} {
		t.Run(path, func(t *testing.T) {
			server := upstreamtest.New(t)
			f := setup(t, nil, configured(t, upstream.Config{
				Name: "azure", BaseURL: server.URL(), APIVersion: version, Deployments: map[string]string{"gpt-4o": "our-4o"},
			}))
			for _, asked := range []struct{ path, body string }{
				{"/v1/chat/completions", ask},
				{"/v1/messages", strings.Replace(ask, `"messages"`, `"max_tokens":9,"messages"`, 1)},
			} {
				require.Equal(t, http.StatusOK, f.post(asked.path, asked.body).Status)
				sent := server.Last()
				require.Equal(t, path, uri(sent))
				require.Equal(t, upstreamKey, sent.Header.Get("Api-Key"))
				require.Empty(t, sent.Header.Get("Authorization"))
				var body struct{ Model string }
				require.NoError(t, json.Unmarshal(sent.Body, &body))
				require.Equal(t, "our-4o", body.Model)
			}
			for _, row := range f.ledger.wait(t, 2) {
				require.Equal(t, "azure", row.Provider)
				require.Equal(t, "gpt-4o", row.Model)
				require.NotZero(t, row.Cost)
			}
		})
	}
}

func uri(r upstreamtest.Request) string {
	if r.Query == "" {
		return r.Path
	}
	return r.Path + "?" + r.Query
}

// vertexKey is a service account's key whose tokens come from url.
func vertexKey(t *testing.T, url string) secret.Secret {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	key, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "p-1", "client_email": "x@p-1.iam.gserviceaccount.com", "token_uri": url,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	require.NoError(t, err)
	return secret.New(string(key))
}

const claudeAnswer = `{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929",
	"content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":1}}`

// Models of two makers are asked in two formats, after signing in. An Anthropic
// client's body is not Vertex AI's either: the model is in the path, the version
// in the body.
func TestVertex(t *testing.T) {
	const publishers = "/v1/projects/p-1/locations/global/publishers/"
	google := upstreamtest.New(t, upstreamtest.JSON(200, `{"access_token":"`+upstreamKey+`","expires_in":3600}`))
	server := upstreamtest.New(t)
	f := setup(t, nil, configured(t, upstream.Config{
		Name: "vertex", BaseURL: server.URL(), Credentials: vertexKey(t, google.URL()), Keys: []secret.Secret{},
	}))
	for _, tt := range []struct {
		path, body, answer, want string
		members                  []string // the body's, besides the conversation
	}{
		{
			"/v1/chat/completions", `{"model":"vertex/claude-sonnet-4-5@20250929","messages":[{"role":"user","content":"Hi"}]}`,
			claudeAnswer, publishers + "anthropic/models/claude-sonnet-4-5@20250929:rawPredict",
			[]string{"anthropic_version", "max_tokens"},
		},
		{
			"/v1/messages", `{"model":"vertex/claude-sonnet-4-5@20250929","max_tokens":9,"top_k":3,"messages":[{"role":"user","content":"Hi"}]}`,
			claudeAnswer, publishers + "anthropic/models/claude-sonnet-4-5@20250929:rawPredict",
			[]string{"anthropic_version", "max_tokens", "top_k"},
		},
		{
			"/v1beta/models/vertex/gemini-2.5-flash:generateContent", `{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}`,
			`{"candidates":[{"content":{"role":"model","parts":[{"text":"Hello"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":1,"totalTokenCount":10}}`,
			publishers + "google/models/gemini-2.5-flash:generateContent", nil,
		},
	} {
		server.Script(upstreamtest.JSON(200, tt.answer))
		a := f.post(tt.path, tt.body)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.Contains(t, a.Body, "Hello")
		sent := server.Last()
		require.Equal(t, tt.want, uri(sent))
		require.Equal(t, "Bearer "+upstreamKey, sent.Header.Get("Authorization"))
		var members map[string]any
		require.NoError(t, json.Unmarshal(sent.Body, &members))
		delete(members, "messages")
		delete(members, "contents")
		require.Len(t, members, len(tt.members), "%v", members)
		for _, name := range tt.members {
			require.Contains(t, members, name)
		}
	}
	require.Len(t, google.Requests(), 1, "one token for all")
	for _, row := range f.ledger.wait(t, 3) {
		require.Equal(t, "vertex", row.Provider)
		require.NotZero(t, row.Cost)
	}
}

// Who cannot sign in says so in the upstream's name, and the next target is
// tried.
func TestVertexDoesNotLetUsIn(t *testing.T) {
	google := upstreamtest.New(t, upstreamtest.JSON(400, `{"error":"invalid_grant","error_description":"internal-host-17"}`))
	server := upstreamtest.New(t)
	f := setup(t, nil, configured(t, upstream.Config{
		Name: "vertex", BaseURL: server.URL(), Credentials: vertexKey(t, google.URL()), Keys: []secret.Secret{},
	}))
	a := f.chat(`{"model":"vertex/gemini-2.5-flash","messages":[{"role":"user","content":"Hi"}]}`)
	require.Equal(t, http.StatusBadGateway, a.Status, a.Body)
	require.NotContains(t, a.Body, "invalid_grant")
	require.Empty(t, server.Requests())
	require.Equal(t, llm.CauseUpstreamAuth, f.ledger.one(t).ErrorCause)
	require.Contains(t, f.logs.String(), "invalid_grant", "the operator learns why")
}
