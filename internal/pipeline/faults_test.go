package pipeline

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// one is a pipeline of one model step to which lines are added.
const one = "name: x\nsteps:\n  - name: a\n    provider: p\n    model: m\n"

func TestFaults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text string
		want []string // without the file's name
	}{
		"nothing":       {"", []string{"1:1: there is no definition"}},
		"only a remark": {"# nothing\n", []string{"1:1: there is no definition"}},
		"a text":        {"hello", []string{"1:1: must be a mapping (name: value), not a text"}},
		"no YAML":       {"name: x\nsteps: [", []string{"2:1: this is neither YAML nor JSON: did not find expected node content"}},
		"a brace that stays open": {
			"name: x\nsteps:\n  - {name: a, http: {pick: a[3]}}\n  - {name: b}\n",
			[]string{"3:1: this is neither YAML nor JSON: did not find expected ',' or '}'"},
		},
		"a tab":           {"name: x\n\tsteps: []\n", []string{"2:1: this is neither YAML nor JSON: found a tab character that violates indentation"}},
		"the first line":  {`{"name": "x" "steps": []}`, []string{"1:1: this is neither YAML nor JSON: did not find expected ',' or '}'"}},
		"the first sign":  {"\tname: x\n", []string{"1:1: this is neither YAML nor JSON: found character that cannot start any token"}},
		"no anchor":       {"name: *x\n", []string{" this is neither YAML nor JSON: unknown anchor 'x' referenced"}},
		"an empty one":    {"---\n", []string{"2:1: must be a mapping (name: value), and there is nothing"}},
		"two documents":   {small + "---\nname: y\n", []string{"7:1: there is more than one document; a file has one definition"}},
		"nothing is said": {"{}", []string{"1:1: name: this is missing", "1:1: steps: this is missing"}},
		"no steps":        {"name: x\nsteps: []", []string{"2:8: steps: must have at least 1 items, not 0"}},
		"unknown fields": {
			one + "    promt: hi\n    zzz: 1\nlimit: {}\n",
			[]string{
				`6:5: steps[0].promt: there is no field "promt" here; did you mean "prompt"?`,
				`7:5: steps[0].zzz: there is no field "zzz" here`,
				`8:1: limit: there is no field "limit" here; did you mean "limits"?`,
			},
		},
		"wrong types": {
			one + "    temperature: warm\n    depends_on: b\n    max_tokens: 1.5\n    goal: 12\n    prompt:\n    fallbacks: [x]\n",
			[]string{
				"6:18: steps[0].temperature: must be a number, not a text",
				"7:17: steps[0].depends_on: must be a list, not a text",
				"8:17: steps[0].max_tokens: must be a whole number, not a number",
				"9:11: steps[0].goal: must be a text, not a number; put it in quotes",
				"10:12: steps[0].prompt: must be a text, and there is nothing",
				"11:17: steps[0].fallbacks[0]: must be a mapping (name: value), not a text",
			},
		},
		"twice":       {one + "    goal: a\n    goal: b\nname: y\n", []string{"7:5: steps[0].goal: this is there twice", "8:1: name: this is there twice"}},
		"a known tag": {one + "    goal: !!binary aGk=\n", []string{"6:11: steps[0].goal: the tag !!binary is not known here"}},
		"names": {
			"name: A b\noutput: c d\nsteps:\n  - {name: 1a, transform: query}\n  - {name: true, transform: query}\n  - {name: \"in\", transform: query}\n",
			[]string{
				"1:7: name: must be 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit",
				"2:9: output: must be 1 to 64 letters, digits and '_', beginning with a letter",
				"4:12: steps[0].name: must be 1 to 64 letters, digits and '_', beginning with a letter",
				"5:12: steps[1].name: must be a text, not true or false; put it in quotes",
				`6:12: steps[2].name: "in" means something else in expressions`,
			},
		},
		"limits": {
			one + "    timeout: 2h\n    retries: 11\n    backoff: soon\n    temperature: 2.5\n    max_tokens: 1000001\n    map: {over: \"[1]\", parallel: 65, max_items: 1001}\n" +
				"limits: {cost_usd: 0, time: 24h1s, parallel: 65, calls: 10001}\n",
			[]string{
				"6:14: steps[0].timeout: must be more than nothing and at most 1h",
				"7:14: steps[0].retries: must be at most 10",
				`8:14: steps[0].backoff: must be a time span such as "90s" or "5m"`,
				"9:18: steps[0].temperature: must be at most 2",
				"10:17: steps[0].max_tokens: must be at most 1000000",
				"11:34: steps[0].map.parallel: must be at most 64",
				"11:49: steps[0].map.max_items: must be at most 1000",
				"12:20: limits.cost_usd: must be more than 0",
				"12:29: limits.time: must be more than nothing and at most 24h",
				"12:46: limits.parallel: must be at most 64",
				"12:57: limits.calls: must be at most 10000",
			},
		},
		"spans that no clock has": {
			one + "    timeout: 9999999999h\n    backoff: 0s\n",
			[]string{
				"6:14: steps[0].timeout: must be more than nothing and at most 1h",
				"7:14: steps[0].backoff: must be more than nothing and at most 1h",
			},
		},
		"kinds": {
			"name: x\nsteps:\n  - {name: a}\n  - {name: b, specialist: s, provider: p, model: m, depends_on: [a]}\n  - {name: c, provider: p, depends_on: [b]}\n" +
				"  - {name: d, model: m, depends_on: [c]}\n  - {name: e, transform: query, http: {url: \"https://a.example/\"}, depends_on: [d]}\n",
			[]string{
				"3:5: steps[0]: the step does nothing: it needs a specialist, a provider and model, http, or transform",
				"4:5: steps[1]: the step has specialist and provider and model; it can have only one of them",
				"5:5: steps[2].model: this is missing: a provider is asked for a model",
				"6:5: steps[3].provider: this is missing: a model is one of a provider",
				"7:5: steps[4]: the step has http and transform; it can have only one of them",
			},
		},
		"fields of other kinds": {
			"name: x\nsteps:\n  - name: a\n    transform: query\n    prompt: hi\n    format: json\n" +
				"  - {name: b, specialist: s, system_prompt: hi, depends_on: [a]}\n  - {name: c, provider: p, model: m, schema: {}, depends_on: [b]}\n",
			[]string{
				"5:13: steps[0].prompt: this is for steps that ask a model; this step has transform",
				"6:13: steps[0].format: this is for steps that ask a model; this step has transform",
				"7:45: steps[1].system_prompt: this is for a provider and model; a specialist has its own",
				`8:46: steps[2].schema: this needs "format: json"`,
			},
		},
		"dependencies": {
			"name: x\nsteps:\n  - {name: search, transform: query}\n  - {name: b, transform: query, depends_on: [serach, b, search, search, other]}\n",
			[]string{
				`4:46: steps[1].depends_on[0]: there is no step "serach"; did you mean "search"?`,
				"4:54: steps[1].depends_on[1]: the step depends on itself",
				"4:65: steps[1].depends_on[3]: this is there twice",
				`4:73: steps[1].depends_on[4]: there is no step "other"`,
			},
		},
		"references": {
			"name: x\nsteps:\n  - {name: a, transform: query}\n  - name: b\n    specialist: s\n    depends_on: [a]\n" +
				"    prompt: |\n      {{ .qeury }}\n      {{ .steps.c.output }}\n    skip_if: item == qeury\n",
			[]string{
				`8:10: steps[1].prompt: there is no ` + "`.qeury`" + `; did you mean "query"?`,
				"9:10: steps[1].prompt: `.steps.c` is no step that this one depends on (`depends_on`)",
				"10:14: steps[1].skip_if: `item` is to be had in a map step only",
				`10:22: steps[1].skip_if: there is no ` + "`qeury`" + `; did you mean "query"?`,
			},
		},
		"two of a name": {
			"name: x\nsteps:\n  - {name: a, transform: query}\n  - {name: a, transform: query, depends_on: [a]}\n",
			[]string{
				`4:12: steps[1].name: steps[0] is called "a" already`,
			},
		},
		"a circle": {
			"name: x\nsteps:\n  - {name: a, transform: query, depends_on: [c]}\n  - {name: b, transform: query, depends_on: [a]}\n  - {name: c, transform: query, depends_on: [b]}\n",
			[]string{"4:46: steps[1].depends_on[0]: steps wait for each other in a circle: a → c → b → a"},
		},
		"no one output": {
			"name: x\nsteps:\n  - {name: a, transform: query}\n  - {name: b, transform: query}\n",
			[]string{`1:1: no step depends on a, b: say with "output" which one's output is the run's, and let it depend on the others`},
		},
		"an unknown output": {
			"name: x\noutput: reprot\nsteps:\n  - {name: report, transform: query}\n",
			[]string{`2:9: output: there is no step "reprot"; did you mean "report"?`},
		},
		"steps for nothing": {
			"name: x\noutput: b\nsteps:\n  - {name: a, transform: query}\n  - {name: b, transform: query}\n  - {name: c, transform: query, depends_on: [b]}\n",
			[]string{
				`4:12: steps[0].name: nothing that leads to the output, "b", uses this step`,
				`6:12: steps[2].name: nothing that leads to the output, "b", uses this step`,
			},
		},
		"a look for nothing": {
			"name: x\noutput: b\nsteps:\n  - {name: a, http: {url: \"https://a.example/\"}}\n  - {name: b, transform: query}\n",
			[]string{`4:12: steps[0].name: nothing that leads to the output, "b", uses this step`},
		},
		"addresses": {
			"name: x\nsteps:\n" + strings.Join([]string{
				"  - {name: a, http: {url: \"ftp://a.example/\"}}", "  - {name: b, http: {url: \"https://{{ .query }}/\"}, depends_on: [a]}",
				"  - {name: c, http: {url: \"https://a.example{{ .query }}\"}, depends_on: [b]}",
				"  - {name: d, http: {url: \"https://u:p@a.example/\"}, depends_on: [c]}", "  - {name: e, http: {url: \"https:///x\"}, depends_on: [d]}",
				"  - {name: f, http: {url: \"{{ .query }}\"}, depends_on: [e]}", "  - {name: g, http: {url: \"https://a.example:x/\"}, depends_on: [f]}",
				"  - {name: h, http: {url: \"https://a.example\\\\@b.example/\"}, depends_on: [g]}",
				"  - {name: i, http: {method: get, url: \"https://a.example\", headers: {Host: b.example, \"a b\": c}}, depends_on: [h]}",
			}, "\n"),
			[]string{
				`3:27: steps[0].http.url: must begin with "https://" or "http://", written out`,
				`4:27: steps[1].http.url: must have its host written out, and a "/", before anything is filled in`,
				`5:27: steps[2].http.url: must have its host written out, and a "/", before anything is filled in`,
				"6:27: steps[3].http.url: must not have a user name or password",
				"7:27: steps[4].http.url: must have a valid host",
				`8:27: steps[5].http.url: must begin with "https://" or "http://", written out`,
				"9:27: steps[6].http.url: must have a valid host",
				"10:27: steps[7].http.url: must have its host written out, and nothing odd in it",
				`11:30: steps[8].http.method: must be one of "GET", "POST", "PUT", "PATCH", "DELETE"`,
				"11:77: steps[8].http.headers.Host: this header is the gateway's own",
				"11:95: steps[8].http.headers.a b: this is no name of a header",
			},
		},
		"schemas": {
			"name: x\nsteps:\n  - name: a\n    provider: p\n    model: m\n    format: json\n    schema:\n      type: object\n      properties:\n        b: {type: objekt}\n" +
				"  - {name: b, provider: p, model: m, format: json, schema: {$ref: \"https://a.example/b\"}, depends_on: [a]}\n" +
				"  - {name: c, provider: p, model: m, format: json, schema: {$ref: \"#/nowhere\"}, depends_on: [b]}\n" +
				"  - {name: d, provider: p, model: m, format: json, schema: {$schema: \"http://json-schema.org/draft-07/schema#\"}, depends_on: [c]}\n" +
				"  - {name: e, provider: p, model: m, format: json, schema: [], depends_on: [d]}\n" +
				"  - {name: f, provider: p, model: m, format: json, schema: {pattern: \"(\"}, depends_on: [e]}\n" +
				"  - {name: g, provider: p, model: m, format: json, schema: {items: {$id: \"https://a.example/x\", $ref: \"#/y\"}}, depends_on: [f]}\n",
			[]string{
				"10:19: steps[0].schema.properties.b.type: this is no JSON Schema (2020-12): must be of one of the forms that the schema allows",
				`11:67: steps[1].schema.$ref: must refer to something in the schema itself, as in "#/$defs/name"`,
				"12:60: steps[2].schema: this is no JSON Schema (2020-12): a $ref leads nowhere",
				`13:70: steps[3].schema.$schema: must be "https://json-schema.org/draft/2020-12/schema"`,
				"14:60: steps[4].schema: must be a mapping (name: value), not a list",
				"15:70: steps[5].schema.pattern: this is no JSON Schema (2020-12): must be of the form regex",
				"16:60: steps[6].schema: this is no JSON Schema (2020-12): a $ref leads nowhere",
			},
		},
		"templates": {
			one + "    prompt: |\n      First.\n      Second {{ .qeury }}.\n" +
				"  - name: b\n    provider: p\n    model: m\n    depends_on: [a]\n    prompt: 'see {{ .steps.a.output }} {{ .item }}'\n" +
				"  - name: c\n    provider: p\n    model: m\n    depends_on: [b]\n    prompt: \"{{ .steps.a.output }}\"\n",
			[]string{
				"8:17: steps[0].prompt: there is no `.qeury`…",
				"13:43: steps[1].prompt: `.item` is to be had in a map step only…",
				"18:17: steps[2].prompt: `.steps.a` is no step that this one depends on…",
			},
		},
		"places in other texts": {
			one + "    prompt: >\n      First\n      second {{ .x }}.\n" +
				"  - {name: b, provider: p, model: m, depends_on: [a], prompt: \"1\\n{{ .x }}\"}\n  - {name: c, depends_on: [b], transform: x}\n" +
				"  - name: d\n    depends_on: [c]\n    transform: |2\n\n        1 +\n        x\n",
			[]string{
				"6:13: steps[0].prompt: there is no `.x` (line 1 of the text)", "9:63: steps[1].prompt: there is no `.x` (line 2 of the text)",
				"10:43: steps[2].transform: …", "16:9: steps[3].transform: …",
			},
		},
		"expressions": {
			one + "    skip_if: query == 1\n    stop_if: steps.b.output == \"\"\n    map: {over: query}\n",
			[]string{"6:20: steps[0].skip_if: …", "7:14: steps[0].stop_if: …", "8:17: steps[0].map.over: …"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("f", []byte(test.text))
			faults, ok := errors.AsType[*Faults](err)
			require.True(t, ok, "%v", err)
			lines := strings.Split(faults.Error(), "\n")
			for i := range lines {
				lines[i] = strings.TrimPrefix(lines[i], "f:")
				if i >= len(test.want) {
					continue
				}
				// The words of templates and expressions are another package's.
				if start, theirs := strings.CutSuffix(test.want[i], "…"); theirs && strings.HasPrefix(lines[i], start) {
					lines[i] = test.want[i]
				}
			}
			require.Equal(t, test.want, lines)
		})
	}
}

// A step that may end the run is no step for nothing, and sees itself.
func TestStopIsAnOutput(t *testing.T) {
	t.Parallel()
	plan := mustParse(t, `
name: x
output: b
steps:
  - {name: a, transform: query, stop_if: 'steps.a.output == ""'}
  - {name: b, transform: query}
`)
	require.NotNil(t, plan.Steps[0].StopCondition)
}

func TestFaultsJoin(t *testing.T) {
	t.Parallel()
	_, a := Parse("a.yaml", []byte("name: 1\nsteps: []"))
	_, b := Parse("b.yaml", nil)
	require.EqualError(t, errors.Join(a, b), "a.yaml:1:7: name: must be a text, not a number; put it in quotes\n"+
		"a.yaml:2:8: steps: must have at least 1 items, not 0\nb.yaml:1:1: there is no definition")
}
