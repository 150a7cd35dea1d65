package anthropic

import (
	"strconv"
	"strings"
)

// model is what must be known of a model to write a request that it takes. The
// API refuses what a model does not take, and models differ.
//
// Source: https://docs.anthropic.com/en/docs/build-with-claude/adaptive-thinking,
// …/extended-thinking, …/effort, and the models' migration guides.
type model struct {
	thinking thinkingMode
	// samples: it takes temperature, top_p and top_k.
	samples bool
	// oneSampling: it takes temperature or top_p, but not both.
	oneSampling bool
	xhigh, max  bool // it knows these efforts
	maxTokens   int64
}

// thinkingMode is how a model is asked to think.
type thinkingMode byte

const (
	noThinking       thinkingMode = iota
	budgetThinking                // with a budget in tokens
	eitherThinking                // adaptively, or still with a budget
	adaptiveThinking              // adaptively
	alwaysThinking                // adaptively, and it cannot be told not to
)

// defaultMaxTokens is what is asked for at most where the client said nothing,
// since max_tokens is required. Older models allow less.
const defaultMaxTokens = 16384

// generation is a model's version times ten: 37 for Claude 3.7.
type generation int

// modelOf tells a model by its name, in whatever way the name is written:
// "claude-3-5-haiku-20241022", "claude-opus-4-6", "claude-sonnet-4-5@20250929",
// "anthropic.claude-opus-4-7-v1". Another provider's model behind the same API
// counts as one of the generation that first could think.
func modelOf(name string) model {
	_, version, claude := strings.Cut(strings.ToLower(name), "claude")
	if !claude {
		return model{thinking: budgetThinking, samples: true, maxTokens: defaultMaxTokens}
	}
	g := generationOf(version)
	m := model{samples: g < 47, oneSampling: g >= 41, maxTokens: defaultMaxTokens}
	always := strings.Contains(version, "fable") || strings.Contains(version, "mythos") || g >= 55
	switch {
	case always:
		m.thinking, m.samples = alwaysThinking, false
	case g >= 47:
		m.thinking = adaptiveThinking
	case g == 46:
		m.thinking = eitherThinking
	case g >= 37:
		m.thinking = budgetThinking
	case g == 35:
		m.maxTokens = 8192
	default:
		m.maxTokens = 4096
	}
	m.xhigh = always || g >= 47
	m.max = m.xhigh || strings.Contains(version, "opus")
	return m
}

// generationOf reads the version in what follows "claude". A name without one
// is that of a new model.
func generationOf(name string) generation {
	words := strings.FieldsFunc(name, func(c rune) bool { return c == '-' || c == '@' || c == '.' || c == '_' })
	for i, word := range words {
		major, err := strconv.Atoi(word)
		if err != nil || len(word) > 2 {
			continue
		}
		if i+1 < len(words) && len(words[i+1]) <= 2 {
			if minor, err := strconv.Atoi(words[i+1]); err == nil {
				return generation(10*major + min(minor, 9))
			}
		}
		return generation(10 * major)
	}
	return 50
}

// minBudget is the smallest budget for thinking that the API takes.
const minBudget = 1024

// budgets are the tokens for thinking that an effort stands for with models that
// know budgets only.
var budgets = map[string]int64{
	"minimal": minBudget, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32000, "max": 32000,
}

// effortOf is the effort that a budget stands for with models that know efforts
// only.
func (m model) effortOf(budget int64) string {
	for _, effort := range [...]string{"low", "medium", "high"} {
		if budget <= budgets[effort] {
			return effort
		}
	}
	return m.effort("xhigh")
}

// effort is the nearest effort that the model knows.
func (m model) effort(word string) string {
	switch {
	case word == "minimal":
		return "low"
	case word == "max" && !m.max, word == "xhigh" && !m.xhigh:
		return "high"
	}
	return word
}
