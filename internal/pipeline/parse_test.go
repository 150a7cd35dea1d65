package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/pricing"
)

func mustParse(t *testing.T, text string) *Plan {
	t.Helper()
	plan, err := Parse("test.yaml", []byte(text))
	require.NoError(t, err)
	return plan
}

const small = `
name: small
steps:
  - name: a
    provider: openai
    model: gpt-4o
`

func TestDefaults(t *testing.T) {
	t.Parallel()
	plan := mustParse(t, `
name: small
steps:
  - {name: a, provider: openai, model: gpt-4o}
  - {name: b, specialist: research-assistant, depends_on: [a], map: {over: "[query]"}}
  - {name: c, http: {url: https://api.example.com/x}, depends_on: [a]}
  - {name: d, http: {url: "https://api.example.com/x", body: "{{ .query }}"}, depends_on: [c]}
  - {name: e, transform: query, depends_on: [b, d]}
`)
	common := Step{Timeout: Duration(5 * time.Minute), Retries: new(2), Backoff: Duration(time.Second), OnFailure: Fail}
	step := func(change func(*Step)) Step {
		s := common
		change(&s)
		return s
	}
	require.Equal(t, Definition{
		Name: "small", DisplayName: "small", Category: "general", Output: "e",
		Limits: Limits{Cost: new(10 * pricing.Dollar), Time: Duration(30 * time.Minute), Parallel: 4, Calls: 500},
		Steps: []Step{
			step(func(s *Step) {
				s.Name, s.Provider, s.Model, s.Format, s.Prompt = "a", "openai", "gpt-4o", FormatText, "{{ .query }}"
			}),
			step(func(s *Step) {
				s.Name, s.Specialist, s.Format, s.DependsOn = "b", "research-assistant", FormatText, []string{"a"}
				s.Map = &Map{Over: "[query]", Parallel: 4, MaxItems: 100, OnFailure: Fail}
				s.Prompt = "{{ .query }}{{ with .steps.a.output }}\n\n# a\n\n{{ truncate 20000 . }}{{ end }}\n\n# Item\n\n{{ truncate 20000 (json .item) }}"
			}),
			step(func(s *Step) {
				s.Name, s.DependsOn, s.HTTP = "c", []string{"a"}, &HTTP{Method: "GET", URL: "https://api.example.com/x"}
			}),
			step(func(s *Step) {
				s.Name, s.DependsOn = "d", []string{"c"}
				s.HTTP = &HTTP{Method: "POST", URL: "https://api.example.com/x", Body: "{{ .query }}"}
			}),
			step(func(s *Step) {
				s.Name, s.DependsOn, s.Transform, s.Retries = "e", []string{"b", "d"}, "query", new(0)
			}),
		},
	}, plan.Definition)
	require.Equal(t, 4, plan.Output)
	require.Equal(t, []int{1, 3}, plan.Steps[4].Needs)
	require.Equal(t, []int{1, 2}, plan.Steps[0].Wanted)
	require.Regexp(t, "^[0-9a-f]{64}$", plan.Digest)
	for i, step := range plan.Steps {
		require.Equal(t, i, step.Index)
		require.Equal(t, plan.Definition.Steps[i], step.Step)
		require.Equal(t, step.Kind() == KindModel, step.PromptTemplate != nil)
		require.Equal(t, step.Kind() == KindHTTP, step.HTTPRequest != nil)
		require.Equal(t, step.Kind() == KindTransform, step.TransformExpr != nil)
		require.Equal(t, step.Map != nil, step.MapOver != nil)
	}
	require.Equal(t, "POST", plan.Steps[3].HTTPRequest.Method)
	require.Nil(t, plan.Steps[2].HTTPRequest.Body)
}

// What a definition says is kept, in YAML as in JSON, and is the same plan again.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		plan := mustParse(t, string(text))
		for _, marshal := range []func(any) ([]byte, error){
			json.Marshal, func(v any) ([]byte, error) { return json.MarshalIndent(v, "", "\t") },
		} {
			written, err := marshal(plan.Definition)
			require.NoError(t, err)
			again := mustParse(t, string(written))
			require.Equal(t, plan.Digest, again.Digest, file)
			require.Equal(t, plan.Definition.Limits, again.Definition.Limits)
			require.Equal(t, plan.Mermaid(), again.Mermaid())
		}
	}
}

// JSON says some texts in ways that YAML does not know.
func TestTextsOfJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`\ud83d\ude00`:          "😀",
		`\\ud83d\\ude00`:        `\ud83d\ude00`,
		`a\/b`:                  "a/b",
		`\ud83d`:                "\uFFFD",
		"\u0085 \u2028 \u007f ": "\u0085 \u2028 \u007f ",
		`é\u00e9\"\n\t#: `:      "éé\"\n\t#: ",
	} {
		plan := mustParse(t, `{"name":"x","steps":[{"name":"a","provider":"p","model":"m","system_prompt":"`+text+`"}]}`)
		require.Equal(t, want, plan.Steps[0].SystemPrompt, "%q", text)
	}
}

func TestAliasesAndMerges(t *testing.T) {
	t.Parallel()
	plan := mustParse(t, `
name: small
steps:
  - &base
    name: a
    provider: openai
    model: gpt-4o
    fallbacks: &f [{provider: anthropic, model: claude-opus-4-6}]
  - <<: *base
    name: b
    model: gpt-4o-mini
    depends_on: [a]
`)
	require.Equal(t, []specialist.Target{{Provider: "anthropic", Model: "claude-opus-4-6"}}, plan.Steps[1].Fallbacks)
	require.Equal(t, "gpt-4o-mini", plan.Steps[1].Model)
	require.Equal(t, "openai", plan.Steps[1].Provider)
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for number, want := range map[string]int64{"1000": 1000, "1e3": 1000, "1000.0": 1000, "0x3E8": 1000, "1_000": 1000, "+1000": 1000} {
		require.Equal(t, want, mustParse(t, small+"    max_tokens: "+number+"\n").Steps[0].MaxTokens, number)
	}
	plan := mustParse(t, small+"limits: {cost_usd: 0.000000000001}\n")
	require.Equal(t, pricing.Money(1), *plan.Definition.Limits.Cost)
}

func TestBounds(t *testing.T) {
	t.Parallel()
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 10; i++ {
		one := "*a" + string(rune('0'+i-1))
		bomb += "a" + string(rune('0'+i)) + ": &a" + string(rune('0'+i)) + " [" + strings.Repeat(one+", ", 9) + one + "]\n"
	}
	for name, test := range map[string]struct{ text, want string }{
		"too long":       {strings.Repeat(" ", MaxText+1), "test.yaml: the definition has more than 1048576 bytes"},
		"many values":    {bomb, "too large, with all that its aliases stand for"},
		"large values":   {"a: &a " + strings.Repeat("x", 1<<16) + "\nb: [" + strings.Repeat("*a, ", 100) + "]", "too large"},
		"deep":           {strings.Repeat("[", 200) + strings.Repeat("]", 200), "nested more than 100 deep"},
		"very deep":      {strings.Repeat("[", 500_000), "neither YAML nor JSON"},
		"an endless one": {"a: &a [*a]", "nested more than 100 deep"},
		"a huge power":   {"name: x\nlimits: {cost_usd: 1e999999999}\nsteps: []", "test.yaml:2:20: limits.cost_usd: must be a number"},
		"a tiny power":   {"name: x\nlimits: {cost_usd: 1e-999999999}\nsteps: []", "test.yaml:2:20: limits.cost_usd: this number is too large"},
		"infinity":       {"name: x\nlimits: {cost_usd: .inf}\nsteps: []", "test.yaml:2:20: limits.cost_usd: this number is too large"},
		"long names":     {"? " + strings.Repeat("x", 300) + "\n: 1", "the name of a field must be a text of at most 200 bytes"},
		"a large schema": {small + "    format: json\n    schema: {enum: [" + strings.Repeat("1, ", maxSchema) + "1]}\n", "test.yaml:8:13: steps[0].schema: the schema has more than 2000 values"},
		"many faults":    {"name: x\nsteps:\n" + strings.Repeat("  - {name: 1}\n", 50) + strings.Repeat("  - {x: 1}\n", 80), " more faults"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("test.yaml", []byte(test.text))
			require.ErrorContains(t, err, test.want)
			faults, ok := err.(*Faults) //nolint:errorlint // exactly this type is promised
			require.True(t, ok)
			require.LessOrEqual(t, len(faults.List), maxFaults+1)
		})
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	plan := mustParse(t, small)
	require.Equal(t, plan.Digest, mustParse(t, small+"# a remark\n").Digest)
	require.Equal(t, plan.Digest, mustParse(t, small+"    retries: 2\n").Digest)
	require.NotEqual(t, plan.Digest, mustParse(t, small+"    retries: 3\n").Digest)
}
