package pipeline

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the drawings in testdata anew")

func TestMermaid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.yaml")
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		plan := mustParse(t, string(text))
		drawing, golden := plan.Mermaid(), strings.TrimSuffix(file, ".yaml")+".mmd"
		if *update {
			require.NoError(t, os.WriteFile(golden, []byte(drawing), 0o600))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		require.Equal(t, string(want), drawing, file)
		require.Equal(t, drawing, plan.Mermaid())
	}
}

// Whoever runs a pipeline sees its steps, and nothing of what its makers decided.
func TestOutline(t *testing.T) {
	t.Parallel()
	plan := mustParse(t, `
name: x
steps:
  - {name: score, specialist: hidden-specialist, map: {over: '["hidden item"]'}, skip_if: 'query == "hidden word"'}
  - name: post
    depends_on: [score]
    http: {url: "https://hidden.example/x"}
    stop_if: steps.post.output == "hidden end"
  - {name: end, depends_on: [post], transform: '"hidden text"', on_failure: empty}
`)
	require.Equal(t, `flowchart TD
    query([query])
    s0[["<b>score</b>"]]
    s1("<b>post</b>")
    s2{{"<b>end</b>"}}
    query --> s0
    s0 --> s1
    s1 --> s2
    s2 --> output([output])
    s1 -. stop .-> output
    classDef output stroke-width:3px
    class s2 output
`, plan.Outline())
	require.Contains(t, plan.Mermaid(), "hidden word")
}

func TestLabel(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain text_1, a/b-c.d":   "plain text_1, a/b-c.d",
		`"quoted"] & <b>`:         "#34;quoted#34;#93; #38; #60;b#62;",
		"`code` #1; %%":           "#96;code#96; #35;1#59; #37;#37;",
		"two\nlines\tand  spaces": "two lines and spaces",
		"Größe 数":                 "Größe 数",
		"\u202ebidi\x00\u200b":    "bidi",
		strings.Repeat("x", 61):   strings.Repeat("x", 59) + "…",
	} {
		require.Equal(t, want, label(text), "%q", text)
	}
}
