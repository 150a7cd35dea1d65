package conversation

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestTitles(t *testing.T) {
	t.Parallel()
	const sixty = "What is the difference between a contract and an agreement?!"
	for name, test := range map[string]struct{ text, want string }{
		"short":              {"Why?", "Why?"},
		"space":              {" \n Why\t\n is  that\u00a0so? \x00", "Why is that so?"},
		"exactly fifty":      {strings.Repeat("abcd ", 9) + "abcde", strings.Repeat("abcd ", 9) + "abcde"},
		"at a word":          {sixty, "What is the difference between a contract and an"},
		"where a word ends":  {strings.Repeat("abcd ", 9) + "abcde f", strings.Repeat("abcd ", 9) + "abcde"},
		"one word":           {strings.Repeat("x", 60), strings.Repeat("x", 50)},
		"no spaces":          {strings.Repeat("字", 60), strings.Repeat("字", 50)},
		"accents":            {strings.Repeat("x", 49) + "e\u0301e\u0301", strings.Repeat("x", 49)},
		"emoji":              {strings.Repeat("x", 48) + "👩\u200d💻!", strings.Repeat("x", 48)},
		"skin":               {strings.Repeat("x", 49) + "👍🏽", strings.Repeat("x", 49)},
		"accents alone":      {strings.Repeat("\u0301", 60), "\u0301"},
		"huge":               {strings.Repeat("ü", 50_000), strings.Repeat("ü", 50)},
		"what has no title":  {"New conversation", "“New conversation”"},
		"and in other cases": {" new  CONVERSATION\n", "“new CONVERSATION”"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := titleOf(test.text)
			require.Equal(t, test.want, got)
			require.LessOrEqual(t, utf8.RuneCountInString(got), maxTitle)
		})
	}
	require.Equal(t, 119, utf8.RuneCountInString(shorten(strings.Repeat("abc ", 100), maxPreview)))
}

func FuzzShorten(f *testing.F) {
	f.Add("What is the difference between a contract and an agreement?!", 50)
	f.Add("\u0301\u200d", 1)
	f.Add(strings.Repeat("ü", 9000), 120)
	f.Fuzz(func(t *testing.T, text string, n int) {
		n = max(1, n%200)
		text = strings.ToValidUTF8(text, "?")
		got := shorten(text, n)
		require.True(t, utf8.ValidString(got))
		require.LessOrEqual(t, utf8.RuneCountInString(got), n)
		require.Equal(t, strings.TrimSpace(got), got)
		line := strings.Join(strings.FieldsFunc(text, blank), " ")
		require.True(t, strings.HasPrefix(line, got))
		require.Equal(t, line == "", got == "")
	})
}

func TestDigests(t *testing.T) {
	t.Parallel()
	s := newService(t, &nowhere{})
	d := s.digest("alice", roleUser, "why?")
	require.Equal(t, d, s.digest("alice", roleUser, "\n why? "))
	for name, other := range map[string]digest{
		"user": s.digest("bob", roleUser, "why?"), "role": s.digest("alice", roleAssistant, "why?"), "text": s.digest("alice", roleUser, "why"),
	} {
		require.NotEqual(t, d, other, name)
	}
}
