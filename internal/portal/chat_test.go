package portal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

func TestDirectModels(t *testing.T) {
	t.Parallel()
	c := newChat(t, nil)
	v := object(t, call(c.Handler, alice, "GET", "/chat/direct/models/", ""), 200)
	providers := v["providers"].([]any)
	require.Len(t, providers, 1)
	openai := providers[0].(map[string]any)
	require.Equal(t, "openai", openai["id"])
	require.Equal(t, "OpenAI", openai["name"])
	require.Contains(t, openai["models"], map[string]any{
		"id": "gpt-4o", "name": "gpt-4o", "tier": "standard", "context": 128000.0, "description": "", "input_price": 2.5, "output_price": 10.0,
	})
	nothing := *alice
	nothing.Specialists = []string{"legal-quick"}
	v = object(t, call(c.Handler, &nothing, "GET", "/chat/direct/models", ""), 200)
	require.Equal(t, []any{}, v["providers"], "a list, not null")
	requireProblem(t, call(c.Handler, nil, "GET", "/chat/direct/models", ""), 401)
	requireProblem(t, call(New(Options{}), alice, "GET", "/chat/direct/models", ""), 404)
}

func triaged(t *testing.T, h http.Handler, p *identity.Principal, message string) ([]recommendation, string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"message": message})
	require.NoError(t, err)
	w := call(h, p, "POST", "/chat/triage", string(body))
	object(t, w, 200)
	var answer triageAnswer
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	require.NotNil(t, answer.Recommendations)
	require.LessOrEqual(t, len(answer.Recommendations), 3)
	for i, r := range answer.Recommendations {
		require.True(t, p.MayUse(r.SpecialistID), r.SpecialistID)
		require.GreaterOrEqual(t, r.Confidence, 0.0)
		require.LessOrEqual(t, r.Confidence, 1.0)
		require.NotEmpty(t, r.Reason)
		if i > 0 {
			require.LessOrEqual(t, r.Confidence, answer.Recommendations[i-1].Confidence)
		}
	}
	return answer.Recommendations, answer.ModelUsed
}

func TestTriageByKeywords(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for message, want := range map[string]string{
		"Please review this Go code of mine":              "code-reviewer",
		"Is this contract legally binding?":               "legal-quick",
		"What do the quarterly financial statements say?": "financial-analyst",
		"Can you research the history of tea for me?":     "research-assistant",
		"FINANCE ANALYSTS!":                               "financial-analyst",
	} {
		list, model := triaged(t, h, alice, message)
		require.Equal(t, want, list[0].SpecialistID, "%s: %v", message, list)
		require.Equal(t, "keywords", model)
	}
	list, _ := triaged(t, h, alice, "Xyzzy?")
	require.Len(t, list, 1)
	require.InDelta(t, unmatched, list[0].Confidence, 0)

	one := *alice
	one.Specialists = []string{"research-assistant"}
	list, _ = triaged(t, h, &one, "Please review this Go code of mine")
	require.Equal(t, "research-assistant", list[0].SpecialistID)
	one.Specialists = []string{}
	list, _ = triaged(t, h, &one, "Please review this Go code of mine")
	require.Empty(t, list)
}

// A system prompt's words help to find its specialist, and are not told.
func TestTriageHidesPrompts(t *testing.T) {
	t.Parallel()
	list := matchKeywords("what about flamingos and herons", []*specialist.Specialist{
		{ID: "a", Name: "Plants", SystemPrompt: "You know roses."},
		{ID: "b", Name: "Animals", Description: "About herons", SystemPrompt: "You know flamingos, and the codeword."},
		{ID: "c", Name: "Birds", SystemPrompt: "You know flamingos."},
	})
	require.Len(t, list, 2)
	require.Equal(t, "b", list[0].SpecialistID)
	require.Equal(t, "The message is about: herons.", list[0].Reason)
	require.Equal(t, recommendation{"c", list[1].Confidence, "The message fits what this specialist is for."}, list[1])
	require.Less(t, list[1].Confidence, list[0].Confidence)
	require.Positive(t, list[1].Confidence)
}

func TestTriageErrors(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for body, status := range map[string]int{
		`{}`: 422, `{"message":" "}`: 422, `{"message":7}`: 422, `[]`: 400,
		`{"message":"` + strings.Repeat("ü", 50_001) + `"}`: 422,
		`{"message":"` + strings.Repeat("ü", 50_000) + `"}`: 200,
	} {
		require.Equal(t, status, call(h, alice, "POST", "/chat/triage", body).Code, body[:min(len(body), 40)])
	}
	requireProblem(t, call(h, nil, "POST", "/chat/triage", `{"message":"hi"}`), 401)
	requireProblem(t, call(New(Options{}), alice, "POST", "/chat/triage", `{"message":"hi"}`), 404)
}

func judgement(list ...recommendation) upstreamtest.Behaviour {
	content, _ := json.Marshal(map[string]any{"recommendations": list})
	return upstreamtest.JSON(200, upstreamtest.ChatBody(string(content)))
}

func withTriageModel(o *ChatOptions) { o.TriageModel = "openai/gpt-4o-mini" }

// An ordinary call of the caller's: recorded, metered, and by the operator's
// choice of a model, whatever the caller's token is good for.
func TestTriageByModel(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 400)
	c := newChat(t, withTriageModel, judgement(
		recommendation{"legal-quick", 0.9, "It is a  contract\nquestion."}, recommendation{"nobody", 0.8, "x"}, recommendation{"code-reviewer", 1.5, "x"},
		recommendation{"legal-quick", 0.5, "again"}, recommendation{"research-assistant", 0, long}, recommendation{"financial-analyst", 0.1, ""},
	))
	some := *alice
	some.Specialists = []string{"legal-quick", "research-assistant", "financial-analyst", "code-reviewer"}
	list, model := triaged(t, c.Handler, &some, "Is my lease valid?")
	require.Equal(t, []recommendation{{"legal-quick", 0.9, "It is a contract question."}, {"research-assistant", 0, strings.Repeat("x", 300) + "…"}}, list)
	require.Equal(t, "openai/gpt-4o-mini", model)

	row := c.ledger.wait(t, 1)[0]
	require.Equal(t, "triage", row.SpecialistID)
	require.Equal(t, "Triage", row.SpecialistName)
	require.Equal(t, aliceHash, row.UserHash)
	require.Equal(t, "gpt-4o-mini", row.Model)
	require.Positive(t, row.Cost)
	require.True(t, row.Success)

	sent := string(c.server.Last().Body)
	require.Contains(t, sent, `"json_schema"`)
	require.Contains(t, sent, "Is my lease valid?")
	for _, s := range specialist.Defaults() {
		require.Contains(t, sent, s.ID)
		require.NotContains(t, sent, strings.Split(s.SystemPrompt, "\n")[0], "prompts are not shown to a model that may repeat them")
	}
}

// Whatever goes wrong with the model, the caller has an answer.
func TestTriageFallsBack(t *testing.T) {
	t.Parallel()
	tests := map[string]upstreamtest.Behaviour{
		"an error":         upstreamtest.JSON(500, `{}`),
		"no JSON":          upstreamtest.JSON(200, upstreamtest.ChatBody("legal-quick, I think")),
		"another shape":    upstreamtest.JSON(200, upstreamtest.ChatBody(`{"specialist":"legal-quick"}`)),
		"nobody":           judgement(),
		"somebody unknown": judgement(recommendation{"root", 1, "x"}),
		"too much":         upstreamtest.JSON(200, upstreamtest.ChatBody(strings.Repeat("x", 1<<20))),
		"a wrong type":     upstreamtest.JSON(200, upstreamtest.ChatBody(`{"recommendations":[{"specialist_id":7}]}`)),
	}
	for name, behaviour := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newChat(t, withTriageModel, behaviour)
			list, model := triaged(t, c.Handler, alice, "Please review this code")
			require.Equal(t, "code-reviewer", list[0].SpecialistID)
			require.Equal(t, "keywords", model)
			require.Equal(t, "triage", c.ledger.wait(t, 1)[0].SpecialistID, "the call is recorded all the same")
		})
	}
	fenced := newChat(t, withTriageModel, upstreamtest.JSON(200, upstreamtest.ChatBody("```json\n", `{"recommendations":[{"specialist_id":"legal-quick","confidence":1,"reason":"x"}]}`, "\n```")))
	list, model := triaged(t, fenced.Handler, alice, "Please review this code")
	require.Equal(t, "legal-quick", list[0].SpecialistID)
	require.Equal(t, "openai/gpt-4o-mini", model)
}

// A model's judgement is spending; who has nothing left is helped by keywords.
func TestTriageSpends(t *testing.T) {
	t.Parallel()
	left, asked := 1, 0
	c := newChat(t, func(o *ChatOptions) {
		withTriageModel(o)
		o.Spend = func(h http.Header, r *http.Request, p *identity.Principal) *llm.Error {
			asked++
			require.Equal(t, "/chat/triage", r.URL.Path)
			require.Equal(t, aliceHash, p.UserHash)
			h.Set("X-RateLimit-Remaining", fmt.Sprint(left))
			if left--; left < 0 {
				return &llm.Error{Cause: llm.CauseRateLimited}
			}
			return nil
		}
	}, judgement(recommendation{"legal-quick", 1, "x"}))
	for _, want := range []string{"openai/gpt-4o-mini", "keywords"} {
		_, model := triaged(t, c.Handler, alice, "Please review this code")
		require.Equal(t, want, model)
	}
	require.Equal(t, 2, asked)
	c.ledger.wait(t, 1)
}

func TestKeywords(t *testing.T) {
	t.Parallel()
	var stems []string
	for _, word := range keywords("The Analyst's ANALYSES of contracts, taxes & boss: the contract; naïve 2024 " + strings.Repeat("ü", 100)) {
		stems = append(stems, word.stem)
	}
	require.Equal(t, []string{"analys", "contra", "taxe", "boss", "naïve", "2024", "üüüüüü"}, stems)
	require.Len(t, keywords(strings.Repeat("word1 ", 5)+numbers(5000)), maxKeywords)
}

func numbers(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "n%05d ", i)
	}
	return text.String()
}
