package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

// reviewPipeline asks a provider's models, so that its calls have a price.
const reviewPipeline = `name: review
steps:
  - {name: law, provider: openai, model: gpt-4o, prompt: "{{ .query }}"}
  - {name: facts, provider: openai, model: gpt-4o-mini, prompt: "{{ .query }}"}
  - {name: other, provider: openai, model: gpt-4o, depends_on: [law], skip_if: "true"}
  - {name: report, provider: openai, model: gpt-4o, depends_on: [law, facts, other]}
`

func (g *gateway) write(name, text string) string {
	g.t.Helper()
	path := filepath.Join(g.dir, name)
	require.NoError(g.t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(g.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestPipelineValidate(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.write("good.yaml", reviewPipeline)
	g.write("one.json", `{"name":"one","steps":[{"name":"ask","specialist":"legal-quick"}]}`)
	g.write("bad.yaml", `name: bad
steps:
  - name: draft
    specialist: legal-quick
  - name: edit
    specialist: no-such
    depends_on: [draft, revue]
    prompt: "{{ .steps.draft.output"
`)
	out, said := g.mustRun("pipeline", "validate", "good.yaml", "one.json")
	require.Equal(t, "good.yaml: ok (4 steps)\none.json: ok (1 step)\n", out)
	require.Contains(t, said, "there is no configuration, so it is not checked")
	require.NoDirExists(t, filepath.Join(g.dir, "data"), "looking changes nothing")

	out, said, code := g.run("pipeline", "validate", "good.yaml", "bad.yaml")
	require.Equal(t, 1, code)
	require.Regexp(t, `(?m)^good\.yaml: ok \(4 steps\)$`, out)
	require.Regexp(t, `(?m)^bad\.yaml:7:25: steps\[1\]\.depends_on\[1\]: .*revue`, out)
	require.Regexp(t, `(?m)^bad\.yaml:8:\d+: steps\[1\]\.prompt: `, out)
	require.NotContains(t, out, "no-such", "without a configuration nobody knows which specialists there are")
	require.Contains(t, said, "1 of 2 definitions cannot be used")

	_, said, code = g.run("pipeline", "validate", "nothing.yaml")
	require.Equal(t, 1, code)
	require.Contains(t, said, "nothing.yaml: no such file")
	_, _, code = g.run("pipeline", "validate")
	require.Equal(t, 1, code)
}

// With a configuration, what a definition refers to is looked up, in the database
// as well; a folder is checked as a whole.
func TestPipelineValidateReferences(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.caddyfile("database sqlite:///"+filepath.Join(g.dir, "own.db")+`
		provider openai {
			key sk-test
		}
		specialist house-lawyer {
			name "House Lawyer"
			model openai/gpt-4o
			system_prompt "You are a lawyer."
			alias lawyer
		}
		pipelines {
			http_host api.example.com
		}`, "llm_gateway")
	g.write("pipelines/good.yaml", `name: good
steps:
  - {name: a, specialist: lawyer}
  - {name: b, specialist: legal-quick}
  - {name: c, http: {url: "https://api.example.com/x?q={{ .query }}"}}
  - {name: d, depends_on: [a, b, c], provider: openai, model: gpt-4o}
`)
	g.write("pipelines/bad.yaml", `name: bad
steps:
  - {name: a, specialist: barrister}
  - {name: b, http: {url: "https://api.example.org/"}}
  - {name: c, depends_on: [a, b], provider: mistral, model: large}
`)
	g.write("pipelines/readme.txt", "not looked at")
	out, said, code := g.run("pipeline", "validate", "pipelines")
	require.Equal(t, 1, code, said)
	require.Contains(t, said, "the database's specialists are not known", "it was not migrated yet")
	require.NotContains(t, out, "barrister", "it may be there")
	require.Contains(t, out, "api.example.org")

	g.mustRun("migrate")
	g.start() // which brings the shipped specialists into the database
	out, said, code = g.run("pipeline", "validate", "pipelines")
	require.Equal(t, 1, code)
	require.NotContains(t, said, "not known")
	require.Contains(t, out, "pipelines/good.yaml: ok (4 steps)\n")
	for _, fault := range []string{`:3:\d+: steps\[0\]\.specialist: .*barrister`, `:4:\d+: steps\[1\]\.http\.url: .*api\.example\.org`, `:5:\d+: steps\[2\]\.provider: .*mistral`} {
		require.Regexp(t, `(?m)^pipelines/bad\.yaml`+fault, out)
	}

	g.write("pipelines/bad.yaml", "name: good\nsteps:\n  - {name: a, specialist: lawyer}\n")
	out, _, code = g.run("pipeline", "validate", "pipelines", "--config", g.config)
	require.Equal(t, 1, code)
	require.Contains(t, out, "pipelines/good.yaml: name: pipelines/bad.yaml has a pipeline of this name, too\n")
}

func TestPipelineGraphListAndSchema(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.write("good.yaml", reviewPipeline)
	out, _ := g.mustRun("pipeline", "graph", "good.yaml")
	plan, err := pipeline.Parse("good.yaml", []byte(reviewPipeline))
	require.NoError(t, err)
	require.Equal(t, plan.Mermaid(), out)
	out, _ = g.mustRun("pipeline", "graph", "lex-intelligence-ultimate")
	require.True(t, strings.HasPrefix(out, "flowchart"), out)
	_, said, code := g.run("pipeline", "graph", "no-such")
	require.Equal(t, 1, code)
	require.Contains(t, said, `there is no file and no pipeline \"no-such\"`)

	out, said = g.mustRun("pipeline", "list")
	require.Regexp(t, `(?m)^lex-intelligence-ultimate +\S+ +6 +example +0 +\S`, out)
	require.Contains(t, said, "the database's pipelines are not known")
	g.write("pipelines/good.yaml", reviewPipeline)
	g.caddyfile("pipelines {\ndir "+filepath.Join(g.dir, "pipelines")+"\nexamples off\n}", "llm_gateway")
	out, _ = g.mustRun("pipeline", "list")
	require.Equal(t, "NAME    CATEGORY  STEPS  FROM  FAULTS  DISPLAY NAME\nreview  general   4      file  0       review\n", out)
	g.caddyfile("pipelines off", "llm_gateway")
	_, said, code = g.run("pipeline", "list")
	require.Equal(t, 1, code)
	require.Contains(t, said, "turned off")

	out, _ = g.mustRun("pipeline", "schema")
	require.JSONEq(t, string(pipeline.Schema()), out)
}

// runView is what --json prints.
type runView struct {
	ID             string `json:"pipeline_id"`
	Status         string
	Output         *string
	ErrorCode      string                `json:"error_code"`
	TotalTokens    int64                 `json:"total_tokens"`
	TotalCost      pricing.Money         `json:"total_cost"`
	AgentBreakdown []pipeline.AgentUsage `json:"agent_breakdown"`
}

// requireRows compares a run with its rows in a SQLite file, which must be there
// when the command has ended.
func requireRows(t *testing.T, file string, run runView) []usage.Record {
	t.Helper()
	db, err := database.Open("sqlite:///"+file, database.Options{})
	require.NoError(t, err)
	defer db.Close()
	page, err := usage.List(t.Context(), db, usage.Filter{})
	require.NoError(t, err)
	sums := make(map[string]pipeline.AgentUsage)
	var tokens int64
	var cost pricing.Money
	for _, r := range page.Records {
		require.Equal(t, run.ID, r.RunID)
		require.Equal(t, r.Step, r.SpecialistID)
		sum := sums[r.Step]
		sum.Agent, sum.Calls = r.Step, sum.Calls+1
		sum.InputTokens += r.InputTokens
		sum.OutputTokens += r.OutputTokens
		sum.TotalTokens += r.InputTokens + r.OutputTokens
		sum.Cost = sum.Cost.Add(r.Cost)
		sums[r.Step] = sum
		tokens, cost = tokens+r.InputTokens+r.OutputTokens, cost.Add(r.Cost)
	}
	require.Equal(t, tokens, run.TotalTokens)
	require.Equal(t, cost, run.TotalCost)
	for _, b := range run.AgentBreakdown {
		want := sums[b.Agent]
		want.Agent, want.Model = b.Agent, b.Model
		require.Equal(t, want, b)
	}
	return page.Records
}

func decodeRun(t *testing.T, text string) (run runView) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &run), text)
	return run
}

// Without any configuration the demo answers, and everything is kept as always.
func TestPipelineRunOnDemo(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	out, told := g.mustRun("pipeline", "run", "lex-intelligence-ultimate", "--query", "May a tenant end a lease early?", "--json")
	run := decodeRun(t, out)
	require.Equal(t, "completed", run.Status)
	require.NotNil(t, run.Output)
	require.Contains(t, *run.Output, "demo model")
	require.Len(t, run.AgentBreakdown, 6)
	require.Len(t, requireRows(t, filepath.Join(g.dir, "data", "tollgate.db"), run), 6)

	require.Regexp(t, `(?m)^lex-intelligence-ultimate: 6 steps, run `+run.ID+`$`, told)
	for _, b := range run.AgentBreakdown {
		require.Regexp(t, `(?m)^ +\d+\.\ds  `+b.Agent+` +started$`, told)
		require.Regexp(t, `(?m)^ +\d+\.\ds  `+b.Agent+` +done +\d+\.\ds +\d+ in +\d+ out  \$0$`, told)
	}
	require.Regexp(t, `\n +\d+\.\ds  total +completed +\d+\.\ds +\d+ in +\d+ out  \$0\n$`, told)

	// The gateway that is started there shows the run to its operator.
	g.start()
	token, _ := g.mustRun("token", "--subject", "operator")
	list := g.do("GET", "/usage/pipelines", strings.TrimSpace(token), "")
	require.Contains(t, list.Body, run.ID)
	// Both may use the folder at one time.
	out, _ = g.mustRun("pipeline", "run", "lex-intelligence-ultimate", "--query", "And a landlord?")
	require.Contains(t, out, "demo model")
	require.NotContains(t, out, "started", "the output stands alone")
}

// What it cost is the sum of its rows, to the picodollar, failed tries included.
func TestPipelineRunCosts(t *testing.T) {
	t.Parallel()
	upstream := upstreamtest.New(t, upstreamtest.JSON(503, `{"error":{"message":"busy"}}`), upstreamtest.Chat("Seven ", "days."))
	g := newGateway(t, "OPENAI_API_KEY=sk-test", "OPENAI_BASE_URL="+upstream.URL()+"/v1")
	g.write("Caddyfile", g.text())
	file := g.write("review.yaml", strings.ReplaceAll(reviewPipeline, "model: gpt-4o,", "model: gpt-4o, backoff: 1ms,"))
	g.write("query.txt", "How long is the notice?\n")
	out, told := g.mustRun("pipeline", "run", file, "--query-file", "query.txt", "--json")
	run := decodeRun(t, out)
	require.Equal(t, "Seven days.", *run.Output)
	rows := requireRows(t, filepath.Join(g.dir, "data", "tollgate.db"), run)
	require.GreaterOrEqual(t, len(rows), 4, "three steps, and a try that failed")
	require.Positive(t, run.TotalCost)
	require.Contains(t, told, "$"+run.TotalCost.String()+"\n")
	require.Regexp(t, `(?m)^ +\d+\.\ds  other +skipped$`, told)
	require.Regexp(t, `(?m)^ +\d+\.\ds  \w+ +try 2 +\S`, told)
	require.NotContains(t, told, "notice", "no query is told")
	require.NotContains(t, told, "Seven", "and no answer")

	// The standard input, and the output alone.
	cmd := g.command("pipeline", "run", file, "--query-file", "-")
	cmd.Stdin = strings.NewReader("How long?")
	text, err := cmd.Output()
	require.NoError(t, err)
	require.Equal(t, "Seven days.\n", string(text))

	for said, args := range map[string][]string{
		"say what to ask":                   {"run", file},
		"there is no file and no pipeline":  {"run", "no-such", "--query", "x"},
		`steps\[0\]\.specialist: .*no-such`: {"run", g.write("bad.yaml", "name: bad\nsteps: [{name: a, specialist: no-such}]\n"), "--query", "x"},
		`steps\[0\]: .*`:                    {"run", g.write("none.yaml", "name: bad\nsteps: [{name: a}]\n"), "--query", "x"},
		"no such file":                      {"run", "nothing.yaml", "--query", "x"},
	} {
		out, stderr, code := g.run(append([]string{"pipeline"}, args...)...)
		require.Equal(t, 1, code, args)
		require.Empty(t, out)
		require.Regexp(t, said, stderr)
	}
}

func TestPipelineRunThatFails(t *testing.T) {
	t.Parallel()
	upstream := upstreamtest.New(t, upstreamtest.JSON(400, `{"error":{"message":"canary-reason"}}`))
	g := newGateway(t, "OPENAI_API_KEY=sk-test", "OPENAI_BASE_URL="+upstream.URL()+"/v1")
	g.write("Caddyfile", g.text())
	file := g.write("review.yaml", reviewPipeline)
	out, told, code := g.run("pipeline", "run", file, "--query", "x")
	require.Equal(t, 1, code)
	require.Empty(t, out)
	require.Regexp(t, `(?m)^ +\d+\.\ds  (law|facts) +failed +\S`, told)
	require.Regexp(t, `(?m)^ +\d+\.\ds  total +failed `, told)
	require.Regexp(t, `the run failed \(step_failed\): .*(law|facts)`, told)
}

// The first interrupt cancels the run: its calls end, what they used is recorded,
// and the run says why it failed.
func TestPipelineRunInterrupted(t *testing.T) {
	t.Parallel()
	upstream := upstreamtest.New(t, upstreamtest.Hang(upstreamtest.ChatEvents(true, "Seven ")[:2]...))
	g := newGateway(t, "OPENAI_API_KEY=sk-test", "OPENAI_BASE_URL="+upstream.URL()+"/v1")
	g.write("Caddyfile", g.text())
	g.write("review.yaml", reviewPipeline)
	cmd := g.command("pipeline", "run", "review.yaml", "--query", "x", "--json")
	var out bytes.Buffer
	var told output
	cmd.Stdout, cmd.Stderr = &out, &told
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	g.eventually("two steps ask", func() bool { return regexp.MustCompile(`(?s)started.*started`).MatchString(told.String()) })
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	err := cmd.Wait()
	exit, ok := errors.AsType[*exec.ExitError](err)
	require.True(t, ok, "%v\n%s", err, told.String())
	require.Equal(t, 1, exit.ExitCode(), told.String())
	require.Contains(t, told.String(), "cancelling\n")
	require.Contains(t, told.String(), "the run failed (cancelled)")
	run := decodeRun(t, out.String())
	require.Equal(t, []string{"failed", "cancelled"}, []string{run.Status, run.ErrorCode})
	upstream.WaitIdle(t)
	rows := requireRows(t, filepath.Join(g.dir, "data", "tollgate.db"), run)
	require.Len(t, rows, 2)
	for _, r := range rows {
		require.False(t, r.Success)
	}
}
