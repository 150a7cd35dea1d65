package pipeline

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	plan, err := Parse("p.yaml", []byte(`name: x
steps:
  - {name: a, specialist: analyst}
  - {name: b, specialist: clerk, depends_on: [a]}
  - {name: c, provider: openai, model: m, fallbacks: [{provider: anthropic, model: m}], depends_on: [b]}
  - {name: d, provider: gemini, model: m, fallbacks: [{provider: xai, model: m}, {provider: gemini, model: n}], depends_on: [c]}
  - {name: e, http: {url: "https://API.example.com:8443/x"}, depends_on: [d]}
  - {name: f, http: {url: "https://other.example.com"}, depends_on: [e]}
  - {name: g, transform: query, depends_on: [f]}
`))
	require.NoError(t, err)
	is := func(names ...string) func(string) bool {
		return func(name string) bool { return slices.Contains(names, name) }
	}
	require.Nil(t, plan.Check(Known{}))
	require.Nil(t, plan.Check(Known{
		Specialist: is("analyst", "clerk"), Provider: is("openai", "xai"), Host: is("api.example.com:8443", "other.example.com"),
	}))
	faults := plan.Check(Known{Specialist: is("analyst"), Provider: is("anthropic"), Host: is("api.example.com:8443")})
	require.Equal(t, &Faults{File: "p.yaml", List: []Fault{
		{Path: "steps[1].specialist", Line: 4, Column: 27, Message: `there is no specialist "clerk"`},
		{Path: "steps[3].provider", Line: 6, Column: 25, Message: "none of the step's providers is configured here: gemini, xai"},
		{Path: "steps[5].http.url", Line: 8, Column: 27, Message: `the host "other.example.com" is not one that pipelines may ask here (` + "`http_host`" + `)`},
	}}, faults)
	require.EqualError(t, &Faults{File: "x", List: []Fault{{Path: "a", Message: "b"}, {Message: "c"}}}, "x: a: b\nx: c")
}

// A step that posts something leads nowhere, and is not for nothing.
func TestSideSteps(t *testing.T) {
	t.Parallel()
	plan, err := Parse("x.yaml", []byte(`
name: x
output: report
steps:
  - {name: report, transform: query}
  - {name: words, transform: query, depends_on: [report]}
  - {name: tell, http: {url: "https://a.example/", body: "{{ .steps.words.output }}"}, depends_on: [words], on_failure: skip}
`))
	require.NoError(t, err)
	require.Equal(t, 0, plan.Output)
}
