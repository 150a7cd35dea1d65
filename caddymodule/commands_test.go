package caddymodule

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTakeEnvironment: commands without a configuration read the same variables as
// the gateway with its default one.
func TestTakeEnvironment(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/default.json")
	require.NoError(t, err)
	var config struct {
		Apps struct {
			LLM App `json:"llm"`
		} `json:"apps"`
	}
	require.NoError(t, json.Unmarshal(text, &config))
	want := config.Apps.LLM

	var got App
	got.takeEnvironment()
	require.Equal(t, want.Providers, got.Providers)
	require.Equal(t, want.Pipelines, got.Pipelines)
	require.Equal(t, want.JWT.Secret, got.JWT.Secret)
	require.Equal(t,
		[]string{want.Database, want.DataDir, want.ContentSecret},
		[]string{got.Database, got.DataDir, got.ContentSecret})
}
