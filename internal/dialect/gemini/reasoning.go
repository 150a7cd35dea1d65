package gemini

import (
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
)

// Models of the 2.5 generation bound their thinking in tokens, later ones by a
// level. The table says how an effort in OpenAI's words becomes one or the
// other; it follows Google's own for its OpenAI-compatible endpoint
// (https://ai.google.dev/gemini-api/docs/openai#thinking).
//
//	effort       thinkingLevel          thinkingBudget
//	             Flash     Pro          Flash    Pro
//	none         minimal   low          0        128
//	minimal      minimal   low          512      512
//	low          low       low          1024     1024
//	medium       medium    medium       8192     8192
//	high, more   high      high         24576    24576
//
// Thinking cannot be turned off where the table says more than nothing for
// "none": there it gets the least the model takes. Gemini 3 Pro itself, unlike
// 3.1, has no medium level and gets high.

// isGemini3 says that a model is of the third generation or later.
func isGemini3(model string) bool {
	_, version, ok := strings.Cut(model, "gemini-")
	return ok && version != "" && version[0] >= '3' && version[0] <= '9'
}

func isPro(model string) bool { return strings.Contains(model, "-pro") }

func thinkingLevel(model, effort string) string {
	switch effort {
	case "none", "minimal":
		if isPro(model) {
			return "low"
		}
		return "minimal"
	case "medium":
		if strings.Contains(model, "gemini-3-pro") {
			return "high"
		}
		return effort
	case "low":
		return effort
	default:
		return "high"
	}
}

func thinkingBudget(model, effort string) int64 {
	switch effort {
	case "none":
		if isPro(model) {
			return 128
		}
		return 0
	case "minimal":
		return 512
	case "low":
		return 1024
	case "medium":
		return 8192
	default:
		return 24576
	}
}

func (e *requestEncoder) reasoning() error {
	r := e.r.Reasoning
	if r == nil {
		return nil
	}
	if err := e.u.Extra(r.Extra, e.u.Name(dialect.FieldReasoning)); err != nil {
		return err
	}
	t := &thinkingConfig{IncludeThoughts: r.Show}
	if r.Show == nil && r.Summary != "" {
		t.IncludeThoughts = new(true)
	}
	switch {
	case e.own:
		t.ThinkingLevel, t.ThinkingBudget = r.Effort, (*integer)(r.Budget)
	case r.Effort != "" && e.gen3:
		t.ThinkingLevel = thinkingLevel(e.model, r.Effort)
	case r.Budget != nil && *r.Budget == 0 && e.gen3:
		t.ThinkingLevel = thinkingLevel(e.model, "none")
	case r.Budget != nil && *r.Budget == 0:
		t.ThinkingBudget = new(integer(thinkingBudget(e.model, "none")))
	case r.Budget != nil:
		t.ThinkingBudget = (*integer)(r.Budget)
	case r.Effort != "":
		t.ThinkingBudget = new(integer(thinkingBudget(e.model, r.Effort)))
	case r.Adaptive && !e.gen3: // later models always adapt
		t.ThinkingBudget = new(integer(-1))
	}
	if t.IncludeThoughts != nil || t.ThinkingBudget != nil || t.ThinkingLevel != "" || e.own {
		e.config.ThinkingConfig = t
	}
	return nil
}
