package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzParse: any text gives a plan that can be written and read again, or faults,
// and never both or neither.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", "examples/*.yaml"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(f, err)
			f.Add(text)
		}
	}
	f.Add([]byte(`{"name":"x","steps":[{"name":"a","transform":"\ud83d\ude00\/"}]}`))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? [x]\n: 1\n<<: {a: 1}\nb: 0x1F\nc: .nan\n--- |\n x"))
	f.Add([]byte("name: x\nlimits: {cost_usd: 1_0.5, time: 1h}\nsteps: [{name: a, provider: p, model: m, schema: {$ref: '#'}, format: json}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		plan, err := Parse("x", text)
		if err != nil {
			require.Nil(t, plan)
			faults, ok := err.(*Faults) //nolint:errorlint // exactly this type is promised
			require.True(t, ok)
			require.NotEmpty(t, faults.List)
			require.LessOrEqual(t, len(faults.List), maxFaults+1)
			require.NotEmpty(t, faults.Error())
			return
		}
		written, err := json.Marshal(plan.Definition)
		require.NoError(t, err)
		again, err := Parse("x", written)
		require.NoError(t, err, "%s", written)
		require.Equal(t, plan.Digest, again.Digest)
		require.Equal(t, plan.Mermaid(), again.Mermaid())
		require.Nil(t, plan.Check(Known{}))
	})
}
