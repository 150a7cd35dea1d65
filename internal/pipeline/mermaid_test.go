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
