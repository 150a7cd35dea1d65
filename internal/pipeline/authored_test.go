package pipeline

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAuthored(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"JSON in its order": {
			`{"name": "x", "limits": {"time": "5m", "cost_usd": 0.10}, "steps": [{"name":"a","transform":"query < \"b\" && true"}]}`,
			`{"name":"x","limits":{"time":"5m","cost_usd":0.10},"steps":[{"name":"a","transform":"query < \"b\" && true"}]}`,
		},
		"YAML": {
			"steps:\n  - {name: a, transform: query, retries: 0}\n  # a remark\nname: 'x'\ndescription: |\n  One.\n  Two.\ncategory: 2026-01-01\n",
			`{"steps":[{"name":"a","transform":"query","retries":0}],"name":"x","description":"One.\nTwo.\n","category":"2026-01-01"}`,
		},
		"aliases and merges": {
			"name: x\nsteps:\n  - &a {name: a, transform: query}\n  - {<<: *a, name: b}\n",
			`{"name":"x","steps":[{"name":"a","transform":"query"},{"name":"b","transform":"query"}]}`,
		},
		"numbers of YAML": {"a: 0x10\nb: +1.5\nc: 1e3\nd: yes\ne: true\nf: ~\n", `{"a":16,"b":1.5,"c":1e3,"d":"yes","e":true,"f":null}`},
	} {
		got, err := Authored([]byte(test.text))
		require.NoError(t, err, name)
		require.Equal(t, test.want, string(got), name)
	}
}

func TestAuthoredRefuses(t *testing.T) {
	t.Parallel()
	long := "a: &a " + strings.Repeat("x", 1<<16) + "\nb: [" + strings.Repeat("*a, ", 1<<10) + "*a]\n"
	for name, text := range map[string]string{
		"nothing":    "",
		"no YAML":    "a: [",
		"a bomb":     long,
		"twice":      "a: 1\na: 2",
		"many":       "a: 1\n---\na: 2",
		"a long one": strings.Repeat(" ", MaxText+1),
	} {
		_, err := Authored([]byte(text))
		var faults *Faults
		require.ErrorAs(t, err, &faults, name)
		require.NotEmpty(t, faults.List, name)
	}
}

// FuzzAuthored: what Parse takes means the same once it is JSON, which stays as it
// is from then on.
func FuzzAuthored(f *testing.F) {
	f.Add("name: x\nsteps:\n  - {name: a, specialist: s}\n")
	f.Add(`{"name":"x","steps":[{"name":"a","specialist":"s","schema":{"a":[1.50,null,"\ud83d\ude00"]}}]}`)
	f.Add("name: x\nsteps:\n  - &a {name: a, specialist: s}\n  - {<<: *a, name: b, depends_on: [a]}\n")
	f.Add("{\"name\":\"x\",\"description\":\"\\u2028\\u0085\",\"steps\":[{\"name\":\"a\",\"specialist\":\"s\"}]}")
	f.Fuzz(func(t *testing.T, text string) {
		plan, err := Parse("x", []byte(text))
		if err != nil {
			return
		}
		authored, err := Authored([]byte(text))
		if err != nil {
			require.True(t, strings.Contains(text, "*") || len(text) > MaxText/8, "only aliases and escapes make it too long: %v", err)
			return
		}
		require.True(t, json.Valid(authored), "%s", authored)
		again, err := Parse("x", authored)
		require.NoError(t, err, "%s", authored)
		require.Equal(t, plan.Digest, again.Digest)
		once, err := Authored(authored)
		require.NoError(t, err)
		require.Equal(t, string(authored), string(once))
	})
}
