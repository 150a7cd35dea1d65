package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConfigured(t *testing.T) {
	env := map[string]string{"GOOGLE_API_KEY": "k", "GROQ_API_KEY": "k", "GROQ_SMOKE_MODEL": "other", "GEMINI_API_KEY": "k"}
	got := configured(targets, func(name string) string { return env[name] })
	require.Len(t, got, 2)
	require.Equal(t, "gemini", got[0].name)
	require.Equal(t, "other", got[1].model)
	require.Empty(t, configured(targets, func(string) string { return "" }))
}

func TestChatAndRows(t *testing.T) {
	var token string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/chat/completions":
			token = r.Header.Get("Authorization")
			w.Write([]byte(`{"choices":[{"message":{"content":"hello"}}]}`))
		case "/usage/logs":
			w.Write([]byte(`{"logs":[{"id":"1"}],"next":null}`))
		}
	}))
	defer server.Close()
	g := &gateway{url: server.URL, token: "token"}
	answer, err := g.chat(t.Context(), targets[0])
	require.NoError(t, err)
	require.Equal(t, "hello", answer)
	require.Equal(t, "Bearer token", token)
	rows, err := g.rows(t.Context(), 1)
	require.NoError(t, err)
	require.Len(t, rows, 1)
}
