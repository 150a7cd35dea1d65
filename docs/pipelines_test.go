package docs

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/examples"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
	"github.com/financecommander/tollgate/internal/pipeline/expr"
)

var update = flag.Bool("update", false, "write the parts of pipelines.md that are made from the code")

const pipelinesPage = "pipelines.md"

// schemaObject is an object of the JSON Schema of definitions.
type schemaObject struct {
	Properties map[string]struct {
		Ref     string          `json:"$ref"`
		Default json.RawMessage `json:"default"`
	} `json:"properties"`
	Required []string                `json:"required"`
	Defs     map[string]schemaObject `json:"$defs"`
}

// TestPipelineFields compares the tables of fields with the JSON Schema: their
// names, which are required, and the defaults of those that have one.
func TestPipelineFields(t *testing.T) {
	t.Parallel()
	var whole schemaObject
	require.NoError(t, json.Unmarshal(pipeline.Schema(), &whole))
	var limits struct {
		Properties struct {
			Limits schemaObject `json:"limits"`
		} `json:"properties"`
	}
	require.NoError(t, json.Unmarshal(pipeline.Schema(), &limits))
	for heading, object := range map[string]schemaObject{
		"## Fields":            whole,
		"### Fields of a step": whole.Defs["step"],
		"## Lists":             whole.Defs["map"],
		"## Web services":      whole.Defs["http"],
		"## Limits":            limits.Properties.Limits,
	} {
		rows := table(t, pipelinesPage, heading)
		var want []string
		for name := range object.Properties {
			want = append(want, name)
		}
		require.ElementsMatch(t, want, firstColumn(rows), heading)
		for _, row := range rows {
			name := names(row[0])[0]
			require.Equal(t, slices.Contains(object.Required, name), row[1] == "required", "%s: %s", heading, name)
			if value := plainDefault(object.Properties[name].Default); value != "" {
				require.Contains(t, names(row[1]), value, "%s: default of %s", heading, name)
			}
		}
	}
}

// plainDefault is a default that a table can show: "" for one that is empty.
func plainDefault(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var number json.Number
	if json.Unmarshal(raw, &number) == nil && number != "0" {
		return number.String()
	}
	return ""
}

// written gives the part of the page between two comments, and with -update
// writes it anew.
func written(t *testing.T, part, want string) {
	t.Helper()
	begin, end := "<!-- written by the tests: "+part+" -->\n", "<!-- end -->\n"
	page := read(t, pipelinesPage)
	before, rest, found := strings.Cut(page, begin)
	require.True(t, found, part)
	got, after, found := strings.Cut(rest, end)
	require.True(t, found, part)
	if *update {
		require.NoError(t, os.WriteFile(pipelinesPage, []byte(before+begin+want+end+after), 0o600))
		return
	}
	require.Equal(t, want, got, "run `go test ./docs -run TestPipeline -update`")
}

// TestPipelineFunctions: the page lists the functions of both languages.
func TestPipelineFunctions(t *testing.T) {
	for part, functions := range map[string][]expr.FunctionDoc{
		"functions of templates": expr.Functions(), "functions of expressions": expr.ExpressionFunctions(),
	} {
		var b strings.Builder
		b.WriteString("\n| function | what it gives |\n| --- | --- |\n")
		for _, f := range functions {
			fmt.Fprintf(&b, "| `%s` | %s |\n", f.Use, f.Text)
		}
		b.WriteString("\n")
		written(t, part, b.String())
	}
}

// TestPipelineDrawings: the page has the drawing of each shipped pipeline, made
// from its definition.
func TestPipelineDrawings(t *testing.T) {
	files, err := fs.Glob(examples.Files, "*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var b strings.Builder
	for _, file := range files {
		text, err := examples.Files.ReadFile(file)
		require.NoError(t, err)
		plan, err := pipeline.Parse(file, text)
		require.NoError(t, err)
		d := &plan.Definition
		fmt.Fprintf(&b, "\n### `%s`\n\n%s. %s\n\n```mermaid\n%s```\n", d.Name, d.DisplayName, strings.TrimSpace(d.Description), plan.Mermaid())
	}
	b.WriteString("\n")
	written(t, "shipped", b.String())
}

// blockNoted is the page's only block with this note.
func blockNoted(t *testing.T, note string) block {
	t.Helper()
	for _, b := range blocksOf(t, pipelinesPage) {
		if b.note == note {
			return b
		}
	}
	t.Fatalf("%s has no block %q", pipelinesPage, note)
	return block{}
}

// exampleScope is what the examples of templates and expressions see.
func exampleScope(t *testing.T) (*expr.Scope, expr.Names) {
	t.Helper()
	var shown struct {
		Query string
		Steps map[string]struct {
			Output          string
			JSON            any
			Skipped, Failed bool
		}
		Item  any
		Index int
	}
	require.NoError(t, json.Unmarshal([]byte(blockNoted(t, "scope").text), &shown))
	scope := &expr.Scope{Query: shown.Query, Item: shown.Item, Index: shown.Index, Steps: map[string]expr.Output{}}
	names := expr.Names{Item: true}
	for name, step := range shown.Steps {
		scope.Steps[name] = expr.Output{Text: step.Output, JSON: step.JSON, Skipped: step.Skipped, Failed: step.Failed}
		names.Steps = append(names.Steps, name)
		if step.Output != "" {
			decoded, err := json.Marshal(step.JSON)
			require.NoError(t, err)
			require.JSONEq(t, step.Output, string(decoded), name)
		}
	}
	return scope, names
}

// examplesIn are the lines "left → right" of a block.
func examplesIn(t *testing.T, note string) (pairs [][2]string) {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimSuffix(blockNoted(t, note).text, "\n"), "\n") {
		left, right, found := strings.Cut(line, " → ")
		require.True(t, found, line)
		pairs = append(pairs, [2]string{left, right})
	}
	require.Greater(t, len(pairs), 5)
	return pairs
}

// TestPipelineTemplates: each template on the page gives what stands beside it.
func TestPipelineTemplates(t *testing.T) {
	t.Parallel()
	scope, names := exampleScope(t)
	for _, pair := range examplesIn(t, "templates") {
		template, err := expr.ParseTemplate(pair[0], names)
		require.NoError(t, err, pair[0])
		got, err := template.Execute(t.Context(), scope)
		require.NoError(t, err, pair[0])
		require.Equal(t, pair[1], strings.TrimRight(got, " "), pair[0])
	}
}

// TestPipelineExpressions: each expression gives what stands beside it.
func TestPipelineExpressions(t *testing.T) {
	t.Parallel()
	scope, names := exampleScope(t)
	for _, pair := range examplesIn(t, "expressions") {
		expression, err := expr.ParseExpression(pair[0], expr.Value, names)
		require.NoError(t, err, pair[0])
		value, err := expression.Value(t.Context(), scope)
		require.NoError(t, err, pair[0])
		got, err := json.Marshal(value)
		require.NoError(t, err)
		require.JSONEq(t, pair[1], string(got), pair[0])
	}
}

// TestPipelineCodes: the page says of each error code when it comes.
func TestPipelineCodes(t *testing.T) {
	t.Parallel()
	said := names(prose(t, pipelinesPage))
	for _, code := range []execute.Code{
		execute.CodeStep, execute.CodeCost, execute.CodeTime, execute.CodeCalls, execute.CodeForbidden, execute.CodeCancelled,
		execute.CodeStopped, execute.CodeLost, execute.CodeInternal,
	} {
		require.Contains(t, said, string(code))
	}
}

// tryYAML writes the page's definition, which must be a good one, or checks rules
// of Prometheus.
func tryYAML(t *testing.T, g *site, b block) {
	t.Helper()
	name, isFile := strings.CutPrefix(b.note, "file ")
	if !isFile {
		tryRules(t, b)
		return
	}
	_, err := pipeline.Parse(name, []byte(b.text))
	require.NoError(t, err)
	g.write(t, name, b.text)
}
