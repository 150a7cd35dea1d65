package examples_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/examples"
	"github.com/financecommander/tollgate/internal/pipeline/expr"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/pricing"
)

// The names that frontends have links to.
var names = []string{
	"calculus-intelligence", "due-diligence-engine", "financial-strategy-analyst", "forge-intelligence", "investor-reporting-engine",
	"lead-ranking-engine", "lex-intelligence-ultimate", "portfolio-monitoring-engine", "skip-trace-engine", "underwriting-engine",
}

func read(t *testing.T) map[string]*pipeline.Plan {
	t.Helper()
	entries, err := examples.Files.ReadDir(".")
	require.NoError(t, err)
	plans := map[string]*pipeline.Plan{}
	for _, entry := range entries {
		text, err := examples.Files.ReadFile(entry.Name())
		require.NoError(t, err)
		plan, err := pipeline.Parse(entry.Name(), text)
		require.NoError(t, err)
		require.Equal(t, entry.Name(), plan.Definition.Name+".yaml")
		plans[plan.Definition.Name] = plan
	}
	return plans
}

func TestExamples(t *testing.T) {
	t.Parallel()
	plans := read(t)
	require.Len(t, plans, len(names))
	for _, name := range names {
		require.Contains(t, plans, name)
		d := plans[name].Definition
		require.NotEqual(t, d.Name, d.DisplayName)
		require.NotEmpty(t, d.Description)
		require.NotEqual(t, pipeline.DefaultCategory, d.Category)
		require.Less(t, *d.Limits.Cost, pipeline.DefaultCost)
		for _, step := range d.Steps {
			require.NotEmpty(t, step.Goal, "%s %s", name, step.Name)
			require.Nil(t, step.HTTP, "no host is allowed by default")
			if step.Kind() == pipeline.KindModel {
				require.NotZero(t, step.MaxTokens, "%s %s", name, step.Name)
				require.NotEmpty(t, step.SystemPrompt, "%s %s", name, step.Name)
			}
		}
	}
}

// Editors are told the same as Parse tells.
func TestExamplesFitTheSchema(t *testing.T) {
	t.Parallel()
	var document any
	require.NoError(t, json.Unmarshal(pipeline.Schema(), &document))
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("pipeline", document))
	schema := c.MustCompile("pipeline")
	for name, plan := range read(t) {
		text, err := examples.Files.ReadFile(name + ".yaml")
		require.NoError(t, err)
		var written, filled any
		require.NoError(t, yaml.Unmarshal(text, &written))
		require.NoError(t, schema.Validate(written), name)
		text, err = json.Marshal(plan.Definition)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &filled))
		require.NoError(t, schema.Validate(filled), name)
	}
}

// Any one provider is enough, and all that is asked has a price.
func TestModels(t *testing.T) {
	t.Parallel()
	for name, plan := range read(t) {
		for _, configured := range []string{"openai", "anthropic", "gemini"} {
			faults := plan.Check(pipeline.Known{Provider: func(p string) bool { return p == configured }})
			require.Nil(t, faults, "%s with %s alone", name, configured)
		}
		for _, step := range plan.Steps {
			if step.Kind() != pipeline.KindModel {
				continue
			}
			for _, target := range append(step.Fallbacks, specialist.Target{Provider: step.Provider, Model: step.Model}) {
				model, known := pricing.Embedded().Lookup(target.Provider, target.Model)
				require.True(t, known, "%s %s: %v", name, step.Name, target)
				require.Equal(t, "chat", model.Kind)
			}
		}
	}
}

// The five shapes that pipelines must be able to have.
func TestShapes(t *testing.T) {
	t.Parallel()
	plans := read(t)

	research := plans["lex-intelligence-ultimate"].Steps
	require.Len(t, research, 6, "search, three analyses, strategy, synthesis")
	require.Empty(t, research[0].Needs)
	for _, analysis := range research[1:4] {
		require.Equal(t, []int{0}, analysis.Needs)
	}
	require.Subset(t, research[4].Needs, []int{1, 2, 3})
	require.Contains(t, research[5].Needs, 4)

	reviews := plans["due-diligence-engine"].Steps
	require.Len(t, reviews, 4)
	for _, review := range reviews[:3] {
		require.Empty(t, review.Needs)
	}
	require.Equal(t, []int{0, 1, 2}, reviews[3].Needs)

	chain := plans["calculus-intelligence"].Steps
	require.GreaterOrEqual(t, len(chain), 3)
	for i, step := range chain {
		require.Len(t, step.Needs, i, "each sees all before it")
	}

	scoring := plans["lead-ranking-engine"].Steps
	require.NotNil(t, scoring[0].AnswerSchema)
	require.NotNil(t, scoring[1].MapOver)
	require.NotNil(t, scoring[1].AnswerSchema)
	require.Equal(t, pipeline.KindTransform, scoring[2].Kind())

	edit := plans["forge-intelligence"].Steps
	require.Len(t, edit, 3, "draft, review, edit")
	require.NotNil(t, edit[0].SkipCondition)
	require.Equal(t, []int{0}, edit[1].Needs)
	require.Equal(t, []int{0, 1}, edit[2].Needs)
}

// attempt plays a run of a plan: models answer with what the schema asks for, or
// with what is given for a step.
type attempt struct {
	query   string
	answers map[string]string
	prompts map[string][]string
	outputs map[string]expr.Output
	stopped string
}

func (a *attempt) run(t *testing.T, plan *pipeline.Plan) {
	t.Helper()
	a.prompts, a.outputs = map[string][]string{}, map[string]expr.Output{}
	for len(a.outputs) < len(plan.Steps) && a.stopped == "" {
		before := len(a.outputs)
		for _, step := range plan.Steps {
			if _, done := a.outputs[step.Name]; !done && a.stopped == "" && a.ready(step) {
				a.step(t, step)
			}
		}
		require.Greater(t, len(a.outputs), before, "the run goes on")
	}
}

func (a *attempt) ready(step *pipeline.PlanStep) bool {
	return !slices.ContainsFunc(step.DependsOn, func(name string) bool { _, done := a.outputs[name]; return !done })
}

func (a *attempt) scope(names ...string) *expr.Scope {
	s := &expr.Scope{Query: a.query, Steps: map[string]expr.Output{}}
	for _, name := range names {
		s.Steps[name] = a.outputs[name]
	}
	return s
}

func (a *attempt) step(t *testing.T, step *pipeline.PlanStep) {
	t.Helper()
	scope := a.scope(step.DependsOn...)
	if step.SkipCondition != nil {
		skip, err := step.SkipCondition.Bool(t.Context(), scope)
		require.NoError(t, err)
		if skip {
			a.outputs[step.Name] = expr.Output{Skipped: true}
			return
		}
	}
	var output any
	switch {
	case step.MapOver != nil:
		items, err := step.MapOver.List(t.Context(), scope)
		require.NoError(t, err)
		require.NotEmpty(t, items, step.Name)
		results := make([]any, len(items))
		for i, item := range items {
			scope.Item, scope.Index = item, i
			results[i] = a.once(t, step, scope)
		}
		output = results
	default:
		output = a.once(t, step, scope)
	}
	a.outputs[step.Name] = asOutput(t, output)
	if step.StopCondition != nil {
		stop, err := step.StopCondition.Bool(t.Context(), a.scope(append(step.DependsOn, step.Name)...))
		require.NoError(t, err, step.Name)
		if stop {
			a.stopped = step.Name
		}
	}
}

func asOutput(t *testing.T, output any) expr.Output {
	t.Helper()
	if text, ok := output.(string); ok {
		return expr.Output{Text: text}
	}
	text, err := json.Marshal(output)
	require.NoError(t, err)
	return expr.Output{Text: string(text), JSON: output}
}

// once is what a step gives, or a map step for an item.
func (a *attempt) once(t *testing.T, step *pipeline.PlanStep, scope *expr.Scope) any {
	t.Helper()
	if step.TransformExpr != nil {
		value, err := step.TransformExpr.Value(t.Context(), scope)
		require.NoError(t, err, step.Name)
		return value
	}
	prompt, err := step.PromptTemplate.Execute(t.Context(), scope)
	require.NoError(t, err, step.Name)
	require.NotContains(t, prompt, "<no value>")
	a.prompts[step.Name] = append(a.prompts[step.Name], prompt)
	answer, given := a.answers[step.Name]
	switch {
	case step.AnswerSchema == nil && given:
		return answer
	case step.AnswerSchema == nil:
		return "The text of " + step.Name + "."
	}
	var value, schema any
	if given {
		require.NoError(t, json.Unmarshal([]byte(answer), &value))
	} else {
		require.NoError(t, json.Unmarshal(step.Schema, &schema))
		value = instance(schema.(map[string]any))
	}
	require.Empty(t, step.AnswerSchema.Validate(value), step.Name)
	return value
}

// instance is about the least that fits a schema, with two items in each list.
func instance(schema map[string]any) any {
	if list, ok := schema["enum"].([]any); ok {
		return list[0]
	}
	number := func(keyword string) float64 { n, _ := schema[keyword].(float64); return n }
	switch schema["type"] {
	case "object":
		object := map[string]any{}
		properties := schema["properties"].(map[string]any)
		for _, name := range schema["required"].([]any) {
			object[name.(string)] = instance(properties[name.(string)].(map[string]any))
		}
		return object
	case "array":
		list := make([]any, max(2, int(number("minItems"))))
		for i := range list {
			list[i] = instance(schema["items"].(map[string]any))
		}
		return list
	case "string":
		return strings.Repeat("x", max(3, int(number("minLength"))))
	case "number", "integer":
		return number("minimum")
	}
	return nil
}

// All prompts, conditions and transforms of all examples work on answers that fit.
func TestRuns(t *testing.T) {
	t.Parallel()
	for name, plan := range read(t) {
		a := attempt{query: "A question that is asked."}
		a.run(t, plan)
		require.Empty(t, a.stopped, name)
		require.Len(t, a.outputs, len(plan.Steps), name)
		for _, step := range plan.Steps {
			if step.Kind() != pipeline.KindModel {
				continue
			}
			require.NotEmpty(t, a.prompts[step.Name], "%s %s", name, step.Name)
			for _, prompt := range a.prompts[step.Name] {
				if len(step.Needs) == 0 {
					require.Contains(t, prompt, a.query, "%s %s", name, step.Name)
				}
				for _, needed := range step.DependsOn {
					gate := slices.ContainsFunc(plan.Steps, func(p *pipeline.PlanStep) bool { return p.Name == needed && p.StopIf != "" })
					if a.outputs[needed].JSON == nil && !gate {
						require.Contains(t, prompt, a.outputs[needed].Text, "%s %s sees %s", name, step.Name, needed)
					}
				}
			}
		}
	}
}

func TestDraftIsSkipped(t *testing.T) {
	t.Parallel()
	a := attempt{query: "DRAFT: Dear Sirs"}
	a.run(t, read(t)["forge-intelligence"])
	require.True(t, a.outputs["draft"].Skipped)
	require.Empty(t, a.prompts["draft"])
	require.Contains(t, a.prompts["review"][0], "Dear Sirs")
	require.Contains(t, a.prompts["edit"][0], "Dear Sirs")
}

func TestUnlawfulPurposeStops(t *testing.T) {
	t.Parallel()
	a := attempt{query: "Find my former wife", answers: map[string]string{"purpose": "NOT PERMITTED: no purpose that the law knows."}}
	a.run(t, read(t)["skip-trace-engine"])
	require.Equal(t, "purpose", a.stopped)
	require.Empty(t, a.prompts["plan"])
}

func TestReviewThatFailedIsSaid(t *testing.T) {
	t.Parallel()
	a := attempt{query: "q", answers: map[string]string{"legal": ""}}
	a.run(t, read(t)["due-diligence-engine"])
	require.Equal(t, 1, strings.Count(a.prompts["report"][0], "This review could not be done."))
}

func value(t *testing.T, plan *pipeline.Plan, step string, scope map[string]string) any {
	t.Helper()
	s := &expr.Scope{Steps: map[string]expr.Output{}}
	for name, text := range scope {
		var decoded any
		require.NoError(t, json.Unmarshal([]byte(text), &decoded))
		s.Steps[name] = expr.Output{Text: text, JSON: decoded}
	}
	i := slices.IndexFunc(plan.Steps, func(p *pipeline.PlanStep) bool { return p.Name == step })
	got, err := plan.Steps[i].TransformExpr.Value(t.Context(), s)
	require.NoError(t, err)
	return got
}

func TestRankings(t *testing.T) {
	t.Parallel()
	plans := read(t)
	ranked := value(t, plans["lead-ranking-engine"], "rank", map[string]string{
		"score": `[{"name":"a","score":10},{"name":"b","score":90},{"name":"c","score":50.5},{"name":"d","score":90}]`,
	})
	order := ""
	for _, lead := range ranked.([]any) {
		order += lead.(map[string]any)["name"].(string)
	}
	require.Equal(t, "bdca", order)
	require.Empty(t, value(t, plans["lead-ranking-engine"], "rank", map[string]string{"score": `[]`}))

	require.Equal(t, map[string]any{
		"checked": 3.0, "fine": []any{"b"},
		"attention": []any{
			map[string]any{"name": "c", "status": "alert", "severity": 9.0}, map[string]any{"name": "a", "status": "watch", "severity": 2.0},
		},
	}, value(t, plans["portfolio-monitoring-engine"], "attention", map[string]string{
		"check": `[{"name":"a","status":"watch","severity":2},{"name":"b","status":"fine","severity":0},{"name":"c","status":"alert","severity":9}]`,
	}))
}

func TestScorecard(t *testing.T) {
	t.Parallel()
	plan := read(t)["underwriting-engine"]
	for scores, want := range map[[3]string]string{
		{"4", "4", "3"}: "approve", {"3", "3", "3"}: "refer to committee", {"1", "5", "5"}: "decline", {"5", "1", "5"}: "decline", {"5", "5", "1"}: "approve",
	} {
		card := value(t, plan, "scorecard", map[string]string{
			"borrower": `{"score":` + scores[0] + `}`, "cash_flow": `{"score":` + scores[1] + `}`, "collateral": `{"score":` + scores[2] + `}`,
		})
		require.Equal(t, want, card.(map[string]any)["proposal"], scores)
	}
}
