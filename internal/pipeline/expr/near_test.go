package expr

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDidYouMean(t *testing.T) {
	t.Parallel()
	known := []string{"prompt", "provider", "name", "map"}
	for word, want := range map[string]string{
		"promt": "prompt", "Prompt": "prompt", "pormpt": "prompt", "nam": "name", "prov": "provider", "mp": "map",
		"xyz": "", "": "", strings.Repeat("a", 200): "",
	} {
		if want != "" {
			want = `; did you mean "` + want + `"?`
		}
		require.Equal(t, want, DidYouMean(word, known), word)
	}
}
