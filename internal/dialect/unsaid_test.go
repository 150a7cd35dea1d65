package dialect_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
)

// names is a client's format that has names of its own.
type names struct{}

func (names) FieldPath(f dialect.Field) string {
	if f == dialect.FieldTopK {
		return "generationConfig.topK"
	}
	return ""
}

func (names) PartPath(p llm.Pos) string { return "contents[7]" }

func TestUnsaid(t *testing.T) {
	extra := llm.Extra{Format: dialect.Gemini, JSON: []byte(`{"off":null,"no":false,"list":[],"object":{},"text":"","deep":{"a":{"b":false}},"one":0,"two":{"a":{"b":1}},"three":[false]}`)}
	for name, tc := range map[string]struct {
		say     func(u *dialect.Unsaid) error
		source  dialect.Namer
		dropped []string // what is left out; the first is what a refusal names
	}{
		"field":              {say: func(u *dialect.Unsaid) error { return u.Field(dialect.FieldTopK, "it has none") }, dropped: []string{"top_k"}},
		"field, source":      {say: func(u *dialect.Unsaid) error { return u.Field(dialect.FieldTopK, "") }, source: names{}, dropped: []string{"generationConfig.topK"}},
		"field, no own name": {say: func(u *dialect.Unsaid) error { return u.Field(dialect.FieldSeed, "") }, source: names{}, dropped: []string{"seed"}},
		"part":               {say: func(u *dialect.Unsaid) error { return u.Part(llm.Pos{Message: 2, Part: 1}, "", "") }, dropped: []string{"messages[2].content[1]"}},
		"message":            {say: func(u *dialect.Unsaid) error { return u.Part(llm.Pos{Message: 2, Part: -1}, "name", "") }, dropped: []string{"messages[2].name"}},
		"part, source":       {say: func(u *dialect.Unsaid) error { return u.Part(llm.Pos{}, "x", "") }, source: names{}, dropped: []string{"contents[7].x"}},
		"extra":              {say: func(u *dialect.Unsaid) error { return u.Extra(extra, "") }, dropped: []string{"one", "two", "three"}},
		"extra at a path":    {say: func(u *dialect.Unsaid) error { return u.Extra(extra, "tools[1]") }, dropped: []string{"tools[1].one", "tools[1].two", "tools[1].three"}},
		"extra of a part":    {say: func(u *dialect.Unsaid) error { return u.PartExtra(extra, llm.Pos{Message: 1}) }, dropped: []string{"messages[1].content[0].one", "messages[1].content[0].two", "messages[1].content[0].three"}},
		"own extra": {say: func(u *dialect.Unsaid) error {
			own := llm.Extra{Format: dialect.OpenAIChat, JSON: []byte(`{"a":1}`)}
			return errors.Join(u.Extra(own, ""), u.PartExtra(own, llm.Pos{}))
		}},
		"no extra": {say: func(u *dialect.Unsaid) error { return u.Extra(llm.Extra{}, "") }},
		"twice": {say: func(u *dialect.Unsaid) error {
			return errors.Join(u.Field(dialect.FieldN, ""), u.Field(dialect.FieldN, ""))
		}, dropped: []string{"n"}},
	} {
		t.Run(name, func(t *testing.T) {
			u := dialect.Unsaid{Drop: true, Source: tc.source, Target: dialect.OpenAIChat}
			require.NoError(t, tc.say(&u))
			require.Equal(t, tc.dropped, u.Dropped)

			u = dialect.Unsaid{Source: tc.source, Target: dialect.OpenAIChat}
			err := tc.say(&u)
			require.Empty(t, u.Dropped)
			if tc.dropped == nil {
				require.NoError(t, err)
				return
			}
			e, ok := errors.AsType[*llm.Error](err)
			require.True(t, ok)
			require.Equal(t, tc.dropped[0], e.Param)
			require.Equal(t, 400, e.Status())
			require.Contains(t, e.Message, tc.dropped[0])
			require.Contains(t, e.Message, string(dialect.OpenAIChat))
		})
	}
}

func TestHintsAreNeverRefused(t *testing.T) {
	u := dialect.Unsaid{Target: dialect.Gemini}
	u.Leave(dialect.FieldUser)
	u.Leave(dialect.FieldUser)
	u.Leave(dialect.FieldStore)
	require.Equal(t, []string{"user", "store"}, u.Dropped)
}
