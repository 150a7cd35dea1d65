package portal

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/specialist"
)

// publicFields are the members of a Specialist (portal-api.md) that all see.
var publicFields = []string{
	"id", "name", "description", "provider", "model", "temperature", "max_tokens", "pinned",
	"version", "created_at", "updated_at", "fallbacks", "read_only",
}

func TestListSpecialists(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	answer := object(t, call(h, alice, "GET", "/specialists/", ""), 200)
	require.Len(t, answer, 1)
	list := answer["specialists"].([]any)
	var ids []any
	for _, item := range list {
		s := item.(map[string]any)
		require.ElementsMatch(t, publicFields, slices.Collect(maps.Keys(s)))
		require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`, s["created_at"])
		ids = append(ids, s["id"])
	}
	require.Equal(t, []any{"financial-analyst", "research-assistant", "code-reviewer", "legal-quick"}, ids)

	empty := newHandler(t, func(o *Options) {
		o.Specialists, _ = specialist.NewRegistry(specialist.Options{})
	})
	require.JSONEq(t, `{"specialists":[]}`, call(empty, alice, "GET", "/specialists", "").Body.String())
}

func TestPromptsAreForAdmins(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	s := object(t, call(h, admin, "GET", "/specialists/code-reviewer", ""), 200)
	require.ElementsMatch(t, append(slices.Clone(publicFields), "system_prompt", "prompt_history"), slices.Collect(maps.Keys(s)))
	require.Contains(t, s["system_prompt"], "software engineer")
	require.Equal(t, []any{}, s["prompt_history"])

	w := call(h, alice, "GET", "/specialists/code-reviewer/", "")
	s = object(t, w, 200)
	require.ElementsMatch(t, publicFields, slices.Collect(maps.Keys(s)))
	require.NotContains(t, w.Body.String(), "software engineer")

	notQuite := &identity.Principal{UserHash: aliceHash, Roles: []string{"Admin", "administrator", "admin "}}
	require.NotContains(t, object(t, call(h, notQuite, "GET", "/specialists/code-reviewer", ""), 200), "system_prompt")
}

func TestAllFieldsOfASpecialist(t *testing.T) {
	t.Parallel()
	s := specialist.Defaults()[0]
	s.BaseURL, s.Aliases = "https://llm.example.com/v1", []string{"gpt-4"}
	s.Pricing = &specialist.Pricing{InputPer1M: json.Number("2.50"), OutputPer1M: json.Number("10")}
	s.PromptHistory = []specialist.PromptVersion{{Prompt: "Before.", Version: 1}}
	h := newHandler(t, func(o *Options) {
		var err error
		o.Specialists, err = specialist.NewRegistry(specialist.Options{Configured: []specialist.Specialist{s}})
		require.NoError(t, err)
	})
	w := call(h, admin, "GET", "/specialists/financial-analyst", "")
	require.Contains(t, w.Body.String(), `"pricing":{"input_per_1m":2.50,"output_per_1m":10}`)
	require.Contains(t, w.Body.String(), `"prompt_history":[{"prompt":"Before.","version":1,"changed_at":"0001-01-01T00:00:00Z"}]`)
	require.Contains(t, w.Body.String(), `"fallbacks":[{"provider":"anthropic","model":"claude-sonnet-4-6"}]`)
	require.Contains(t, w.Body.String(), `"base_url":"https://llm.example.com/v1"`)

	requireProblem(t, call(h, admin, "GET", "/specialists/gpt-4", ""), 404) // an alias is no resource
}

func TestATokenShowsItsSpecialistsOnly(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	p := &identity.Principal{UserHash: aliceHash, Specialists: []string{"code-reviewer", "openai/*"}}
	list := object(t, call(h, p, "GET", "/specialists", ""), 200)["specialists"].([]any)
	require.Len(t, list, 1)
	object(t, call(h, p, "GET", "/specialists/code-reviewer", ""), 200)
	requireProblem(t, call(h, p, "GET", "/specialists/legal-quick", ""), 404)
	requireProblem(t, call(h, p, "GET", "/specialists/nobody", ""), 404)
}
