package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// To say what is wrong with a definition does not take for ever, however much that
// is: each thing is looked for in the whole of it.
func TestManyFaults(t *testing.T) {
	t.Parallel()
	const n = 5000
	many := func(format string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(format, "N", fmt.Sprint(i)))
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"fields":        "name: x\n" + many("fN: 1\n") + "steps: [{name: a, transform: query}]",
		"headers":       "name: x\nsteps: [{name: a, http: {url: 'https://a.example/', headers: {" + many("hN: '{{ .x }}',") + "}}}]",
		"header names":  "name: x\nsteps: [{name: a, http: {url: 'https://a.example/', headers: {" + many("h N: a,") + "}}}]",
		"steps":         "name: x\nsteps: [" + many("{name: a, transform: x},\n") + "]",
		"no steps":      "name: x\nsteps: [" + many("1,") + "]",
		"step fields":   "name: x\nsteps: [" + many("{x: 1},") + "]",
		"dependencies":  "name: x\nsteps: [{name: a, transform: query, depends_on: [" + many("bN,") + "]}]",
		"odd durations": "name: x\nsteps: [" + many("{name: aN, transform: query, timeout: 9h},") + "]",
	} {
		t.Run(name, func(t *testing.T) {
			found := &collector{}
			source := readSource([]byte(text), found)
			c := &checker{source: source, d: source.decode()}
			c.check()
			require.NotEmpty(t, found.list)
			require.LessOrEqual(t, len(found.list), enoughFaults)
			if total := len(found.list) + found.more; total > maxFaults {
				list := found.faults("x.yaml").List
				require.Len(t, list, maxFaults+1)
				require.Equal(t, fmt.Sprintf("and %d more faults", total-maxFaults), list[maxFaults].Message)
			}
		})
	}
}
