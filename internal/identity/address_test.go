package identity

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzParseAddress(f *testing.F) {
	f.Add("alice@example.com")
	f.Add(" A.B+c@Sub.Example.COM ")
	f.Add("a@b@c")
	f.Fuzz(func(t *testing.T, text string) {
		parsed, ok := ParseAddress(text)
		if !ok {
			return
		}
		again, ok := ParseAddress(parsed.Reveal())
		require.True(t, ok)
		require.Equal(t, parsed, again)
		require.Equal(t, 1, strings.Count(parsed.Reveal(), "@"))
		for _, b := range []byte(parsed.Reveal()) {
			require.True(t, b > ' ' && b < 0x7f)
		}
		// What is checked here is what is hashed there.
		require.Equal(t, HashEmail(text), HashEmail(parsed.Reveal()))
	})
}
