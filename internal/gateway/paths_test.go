package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
)

func locatePath(t *testing.T, method, path string, header ...string) endpoint {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return locate(r)
}

func TestLocate(t *testing.T) {
	post := func(op operation, format dialect.Name) endpoint {
		return endpoint{operation: op, format: format, method: http.MethodPost}
	}
	get := func(op operation, format dialect.Name, id string) endpoint {
		return endpoint{operation: op, format: format, method: http.MethodGet, id: id}
	}
	generate := func(model string) endpoint {
		return endpoint{operation: opCall, format: dialect.Gemini, method: http.MethodPost, model: model}
	}
	streaming := func(model string, array bool) endpoint {
		e := generate(model)
		e.stream, e.array = true, array
		return e
	}
	for target, want := range map[string]endpoint{
		"POST /v1/chat/completions":                            post(opCall, dialect.OpenAIChat),
		"POST /openai/v1/chat/completions":                     post(opCall, dialect.OpenAIChat),
		"POST /openai/chat/completions":                        post(opCall, dialect.OpenAIChat),
		"POST /v1/v1/messages":                                 post(opCall, dialect.AnthropicMessages),
		"POST /anthropic/v1/messages":                          post(opCall, dialect.AnthropicMessages),
		"POST /v1/messages":                                    post(opCall, dialect.AnthropicMessages),
		"POST /v1/messages/count_tokens":                       post(opCount, dialect.AnthropicCount),
		"POST /v1/responses":                                   post(opCall, dialect.OpenAIResponses),
		"POST /openai/responses":                               post(opCall, dialect.OpenAIResponses),
		"POST /v1/responses/input_tokens":                      post(opCount, dialect.OpenAICount),
		"POST /v1/completions":                                 post(opCall, dialect.OpenAICompletions),
		"POST /v1/embeddings":                                  post(opCall, dialect.OpenAIEmbeddings),
		"GET /v1/models":                                       get(opListModels, dialect.OpenAIChat, ""),
		"GET /anthropic/v1/models":                             get(opListModels, dialect.AnthropicMessages, ""),
		"GET /openai/models":                                   get(opListModels, dialect.OpenAIChat, ""),
		"GET /v1beta/models":                                   get(opListModels, dialect.Gemini, ""),
		"GET /gemini/v1beta/models":                            get(opListModels, dialect.Gemini, ""),
		"GET /v1/models/openai/gpt-4o":                         get(opGetModel, dialect.OpenAIChat, "openai/gpt-4o"),
		"GET /v1beta/models/gemini/g":                          get(opGetModel, dialect.Gemini, "gemini/g"),
		"GET /v1/responses/resp_1":                             {operation: opStored, format: dialect.OpenAIResponses, id: "resp_1"},
		"DELETE /v1/responses/resp_1":                          {operation: opStored, format: dialect.OpenAIResponses, id: "resp_1"},
		"GET /v1/responses/resp_1/input_items":                 get(opStoredItems, dialect.OpenAIResponses, "resp_1"),
		"POST /v1beta/models/g:generateContent":                generate("g"),
		"POST /v1/models/g:generateContent":                    generate("g"),
		"POST /gemini/v1/models/g:generateContent":             generate("g"),
		"POST /v1beta/v1beta/models/g:generateContent":         generate("g"),
		"POST /v1beta/models/openai/gpt-4o:generateContent":    generate("openai/gpt-4o"),
		"POST /v1beta/openai/gpt-4o:generateContent":           generate("openai/gpt-4o"),
		"POST /v1beta/models/openai%2Fgpt-4o:generateContent":  generate("openai/gpt-4o"),
		"POST /v1beta/models/ollama/llama3:8b:generateContent": generate("ollama/llama3:8b"),
		"POST /v1beta/models/g:streamGenerateContent?alt=sse":  streaming("g", false),
		"POST /gemini/v1beta/models/g:streamGenerateContent":   streaming("g", true),
		"POST /v1beta/models/g:streamGenerateContent?alt=json": streaming("g", true),
		"POST /v1beta/models/g:countTokens":                    {operation: opCount, format: dialect.GeminiCount, method: http.MethodPost, model: "g"},
		"POST /v1beta/models/g:embedContent":                   {operation: opCall, format: dialect.GeminiEmbeddings, method: http.MethodPost, model: "g"},
		"POST /v1beta/models/g:batchEmbedContents":             {operation: opCall, format: dialect.GeminiEmbeddings, method: http.MethodPost, model: "g", batch: true},
		"POST /chat/send":                                      {operation: opCall, format: dialect.PortalChat, method: http.MethodPost},
		"POST /chat/stream/":                                   {operation: opCall, format: dialect.PortalChat, method: http.MethodPost, stream: true},
		"POST /chat/direct/stream":                             {operation: opCall, format: dialect.PortalChat, method: http.MethodPost, stream: true, direct: true},
		"POST /chat/direct":                                    {},
		"GET /v1/nothing":                                      {operation: opUnknown, format: dialect.OpenAIChat},
		"POST /anthropic/v1/nothing":                           {operation: opUnknown, format: dialect.AnthropicMessages},
		"POST /anthropic/v2/messages":                          {operation: opUnknown, format: dialect.AnthropicMessages},
		"POST /v1beta/models/g:delete":                         {operation: opUnknown, format: dialect.Gemini, method: http.MethodPost, model: "g"},
		"POST /v1beta/cachedContents":                          {operation: opUnknown, format: dialect.Gemini},
		"GET /v1/responses/a/b":                                {operation: opUnknown, format: dialect.OpenAIChat},
		"GET /health":                                          {},
		"POST /V1/chat/completions":                            {},
		"POST /v1":                                             {},
	} {
		method, path, _ := strings.Cut(target, " ")
		require.Equal(t, want, locatePath(t, method, path), target)
	}
	require.Equal(t, get(opListModels, dialect.AnthropicMessages, ""),
		locatePath(t, http.MethodGet, "/v1/models", "Anthropic-Version", "2023-06-01"))
	require.Equal(t, get(opListModels, dialect.OpenAIChat, ""),
		locatePath(t, http.MethodGet, "/openai/v1/models", "Anthropic-Version", "2023-06-01"), "the prefix says it best")
}

// What is documented is there, and what spends is limited as spending.
func TestRoutes(t *testing.T) {
	spending := 0
	for _, route := range Routes {
		method, path, _ := strings.Cut(route, " ")
		path = strings.NewReplacer("{model}", "m", "{id}", "x").Replace(path)
		e := locatePath(t, method, path)
		require.NotContains(t, []operation{opNone, opUnknown}, e.operation, route)
		require.Contains(t, []string{"", method}, e.method, route)
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		require.Equal(t, e.operation == opCall, Spends(r), route)
		if Spends(r) {
			spending++
		}
	}
	require.Equal(t, 12, spending)
}
