package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/seal"
	"github.com/financecommander/tollgate/internal/secret"
)

// A token that holds much may stand in a body again and again; what all of them
// hold is bounded.
func TestSealsAreBounded(t *testing.T) {
	box, err := seal.New(secret.New("a secret of at least thirty-two bytes"), "test")
	require.NoError(t, err)
	token := box.ForOwner("me").Seal([]byte(strings.Repeat("x", 1000)))
	require.Less(t, len(token), 200)
	b := &boundedSealer{Sealer: box.ForOwner("me"), left: 2500}
	for _, want := range []bool{true, true, false, false} {
		_, ok := b.Open(token)
		require.Equal(t, want, ok)
	}
	_, ok := (&boundedSealer{Sealer: box.ForOwner("you"), left: 2500}).Open(token)
	require.False(t, ok, "another's")
}

// State goes to the very model that made it; thinking is nothing without it.
func TestOwnState(t *testing.T) {
	of := func(format dialect.Name, model string) llm.Common {
		return llm.Common{Opaque: &llm.Opaque{Format: format, Model: model, Value: "v"}}
	}
	call := &llm.ToolCall{Common: of(dialect.Gemini, "a"), ID: "1"}
	parts := []llm.Part{
		&llm.Thinking{Common: of(dialect.Gemini, "a")}, &llm.Text{Common: of(dialect.Gemini, "a"), Text: "t"}, call,
		&llm.Thinking{Common: of(dialect.AnthropicMessages, ""), Text: "natively"}, &llm.Thinking{Text: "of nobody"},
	}
	require.Equal(t, parts[:3], ownState(parts[:3], dialect.Gemini, "a"))
	require.Equal(t, []llm.Part{&llm.Text{Text: "t"}, &llm.ToolCall{ID: "1"}}, ownState(parts[:3], dialect.Gemini, "b"))
	require.Equal(t, []llm.Part{&llm.Text{Text: "t"}, &llm.ToolCall{ID: "1"}, parts[3], parts[4]},
		ownState(parts, dialect.AnthropicMessages, "c"))
	require.NotNil(t, call.Opaque, "the request itself is not changed: another target may need it")
}

func TestTellDropped(t *testing.T) {
	for want, paths := range map[string][]string{
		"":                       nil,
		"top_k, tools[0]":        {"top_k", "tools[0]"},
		"a?b, c????":             {"a\nb", "c, \u00e9\u20ac"},
		strings.Repeat("x", 100): {strings.Repeat("x", 300)},
		"a" + strings.Repeat(", a", 19) + ", ...": slicesOf("a", 30),
	} {
		h := http.Header{}
		tellDropped(h, paths)
		require.Equal(t, want, h.Get(droppedHeader))
	}
}

func slicesOf(s string, n int) (list []string) {
	for range n {
		list = append(list, s)
	}
	return list
}
