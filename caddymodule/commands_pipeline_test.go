package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/run"
	"github.com/financecommander/tollgate/pricing"
)

// TestProgress: a line for each thing that happens, in columns, with nothing in it
// that could command a terminal.
func TestProgress(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p := progress{out: &out}
	begin := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	show := func(after time.Duration, kind pipeline.EventType, data any) {
		t.Helper()
		text, err := json.Marshal(data)
		require.NoError(t, err)
		p.show(pipeline.StoredEvent{Type: kind, Timestamp: begin.Add(after), Data: text})
	}
	cost, err := pricing.ParseUSD("0.004125")
	require.NoError(t, err)
	p.begin(&pipeline.Plan{
		Definition: pipeline.Definition{Name: "review"},
		Steps:      []*pipeline.PlanStep{{Step: pipeline.Step{Name: "draft"}}, {Step: pipeline.Step{Name: "proofread"}}},
	}, "01a2")
	show(0, pipeline.EventStart, pipeline.Started{Agents: []string{"draft", "proofread"}, Query: "secret"})
	show(40*time.Millisecond, pipeline.EventAgentStart, pipeline.AgentStarted{Agent: "draft"})
	show(50*time.Millisecond, pipeline.EventAgentToken, pipeline.AgentToken{Agent: "draft", Content: "secret"})
	show(time.Second, pipeline.EventRetry, pipeline.Retried{Agent: "draft", Attempt: 2, Reason: "the upstream\x1b[2J is overloaded"})
	show(2500*time.Millisecond, pipeline.EventAgentComplete, pipeline.AgentCompleted{
		Agent: "draft", DurationMS: 2460, Output: "secret", Tokens: pipeline.Tokens{Input: 1200, Output: 34}, Cost: cost,
	})
	show(2500*time.Millisecond, pipeline.EventAgentError, pipeline.AgentFailed{Agent: "proofread", Message: "it took too long"})
	show(2600*time.Millisecond, pipeline.EventAgentComplete, pipeline.AgentCompleted{Agent: "proofread", Skipped: true})
	show(2600*time.Millisecond, pipeline.EventComplete, pipeline.Completed{Output: "secret"})
	took := int64(2600)
	p.end(&run.View{Status: "completed", DurationMS: &took, TotalCost: &cost, AgentBreakdown: []pipeline.AgentUsage{
		{Agent: "draft", InputTokens: 1200, OutputTokens: 34}, {Agent: "proofread"},
	}})
	require.Equal(t, `review: 2 steps, run 01a2
    0.0s  draft      started
    1.0s  draft      try 2      the upstream[2J is overloaded
    2.5s  draft      done           2.5s     1200 in       34 out  $0.004125
    2.5s  proofread  failed     it took too long
    2.6s  proofread  skipped
    2.6s  total      completed      2.6s     1200 in       34 out  $0.004125
`, out.String())
}

func TestQueryOf(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "query.txt")
	require.NoError(t, os.WriteFile(file, []byte("What is due?\n\nAll of it.\r\n"), 0o600))
	for name, tc := range map[string]struct {
		args        []string
		want, fault string
	}{
		"a text":           {[]string{"--query", " What is due? "}, " What is due? ", ""},
		"a file":           {[]string{"--query-file", file}, "What is due?\n\nAll of it.", ""},
		"neither":          {nil, "", "say what to ask"},
		"both":             {[]string{"--query", "x", "--query-file", file}, "", "say what to ask"},
		"no file of it":    {[]string{"--query-file", file + ".no"}, "", "no such file"},
		"a folder instead": {[]string{"--query-file", filepath.Dir(file)}, "", "read the query"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := pipelineRunCommand()
			require.NoError(t, c.ParseFlags(tc.args))
			got, err := queryOf(caddycmd.Flags{FlagSet: c.Flags()})
			if tc.fault != "" {
				require.ErrorContains(t, err, tc.fault)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
}

func TestDefinitionsOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"b.yaml", "a.yml", "c.json", "notes.txt", ".hidden.yaml"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	for _, name := range []string{"empty", "d.yaml"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	in := func(names ...string) (files []string) {
		for _, name := range names {
			files = append(files, filepath.Join(dir, name))
		}
		return files
	}
	files, err := definitionsOf(in("notes.txt", ""))
	require.NoError(t, err)
	require.Equal(t, in("notes.txt", "a.yml", "b.yaml", "c.json"), files, "a file by its name is taken whatever it is called")
	_, err = definitionsOf(in("empty"))
	require.ErrorContains(t, err, "has no definitions")
	_, err = definitionsOf(in("nothing"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestIsFile(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("there", nil, 0o600))
	require.NoError(t, os.Mkdir("folder", 0o700))
	for name, want := range map[string]bool{
		"there": true, "review.yaml": true, "review.json": true, "./review": true,
		"review": false, "folder": false, "lex-intelligence-ultimate": false,
	} {
		require.Equal(t, want, isFile(name), name)
	}
}

// What a terminal gets is text; a file gets all of it.
func TestPrintable(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a\tb\nc d", withoutControls("a\tb\n\x1b\x07c\u009b \x00d\r"))
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer file.Close()
	require.Equal(t, "\x1b[1mbold", printable(file, "\x1b[1mbold"))
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer null.Close()
	require.Equal(t, "[1mbold", printable(null, "\x1b[1mbold"), "a device is taken for a terminal")
}
