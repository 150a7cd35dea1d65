package upstream

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/financecommander/tollgate/internal/dialect"
)

// fitting are schemas to each of which demo answers must fit.
var fitting = map[string]string{
	"a lead": `{"type":"object","properties":{"score":{"type":"integer","minimum":1,"maximum":10},"reason":{"type":"string","minLength":20,"maxLength":200},
		"tier":{"enum":["hot","warm","cold"]},"likely":{"type":"number","minimum":0,"maximum":1},"call":{"type":"boolean"}},
		"required":["score","reason","tier","likely","call"],"additionalProperties":false}`,
	"no type":            `{"properties":{"a":{"minimum":3},"b":{"items":{"type":"null"}}},"required":["a","b"]}`,
	"none required":      `{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"array","items":{"type":"integer"}}},"additionalProperties":false}`,
	"required unknown":   `{"type":"object","required":["x","y"],"additionalProperties":{"type":"integer"}}`,
	"least members":      `{"type":"object","properties":{"a":{"type":"integer"}},"minProperties":3}`,
	"dependent":          `{"type":"object","properties":{"a":{"const":1},"b":{"const":2}},"required":["a"],"dependentRequired":{"a":["b"]}}`,
	"pattern members":    `{"type":"object","required":["x-1"],"patternProperties":{"^x-":{"type":"integer"}},"additionalProperties":false}`,
	"const":              `{"const":{"a":[1,null,"x"]}}`,
	"enum of all kinds":  `{"type":["string","null"],"enum":[1,null,"a",{"b":2}]}`,
	"null":               `{"type":"null"}`,
	"nullable":           `{"type":["null","integer"],"minimum":5}`,
	"five or more":       `{"type":"array","minItems":5,"items":{"type":"string"}}`,
	"one at most":        `{"type":"array","maxItems":1,"items":{"type":"string"}}`,
	"no items":           `{"type":"array","maxItems":0}`,
	"all different":      `{"type":"array","uniqueItems":true,"minItems":4,"items":{"type":"integer","minimum":1,"maximum":4}}`,
	"not so many":        `{"type":"array","uniqueItems":true,"items":{"const":7}}`,
	"tuple":              `{"type":"array","prefixItems":[{"type":"string"},{"type":"boolean"},{"const":3}],"items":false,"minItems":3}`,
	"tuple and more":     `{"type":"array","prefixItems":[{"type":"string"}],"items":{"type":"integer"},"minItems":4}`,
	"contains":           `{"type":"array","contains":{"const":5},"minContains":2}`,
	"contains and items": `{"type":"array","items":{"type":"integer"},"contains":{"minimum":1000}}`,
	"exclusive":          `{"type":"integer","exclusiveMinimum":3,"exclusiveMaximum":5}`,
	"narrow":             `{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":0.001}`,
	"at most":            `{"type":"number","maximum":-7.5}`,
	"exactly":            `{"type":"number","minimum":0.125,"maximum":0.125}`,
	"multiples":          `{"type":"number","multipleOf":0.1,"minimum":0.25,"maximum":0.35}`,
	"whole multiples":    `{"type":"integer","multipleOf":2.5,"minimum":1,"maximum":9}`,
	"sevens":             `{"type":"integer","multipleOf":7,"minimum":100}`,
	"large":              `{"type":"integer","minimum":900000000000000}`,
	"long":               `{"type":"string","minLength":300,"maxLength":301}`,
	"short":              `{"type":"string","maxLength":3}`,
	"pattern":            `{"type":"string","pattern":"^[A-Z]{2}-\\d{4}(foo|bar)?x+$"}`,
	"pattern with class": `{"type":"string","pattern":"^[^a-z]\\w\\s?.$"}`,
	"all of":             `{"allOf":[{"type":"object","properties":{"a":{"type":"integer","minimum":5}},"required":["a"]},{"properties":{"a":{"maximum":6},"b":{"type":"string"}},"required":["b"]}]}`,
	"all of narrower":    `{"allOf":[{"type":"number","minimum":1,"maximum":9},{"type":"integer","minimum":4},{"enum":[3,5,7.5]},{"enum":[5,7.5]}]}`,
	"any of":             `{"anyOf":[{"type":"null"},{"type":"object","properties":{"k":{"const":"a"}},"required":["k"]}]}`,
	"one of, in a base":  `{"type":"object","properties":{"id":{"type":"integer"}},"required":["id"],"oneOf":[{"properties":{"kind":{"const":"a"}},"required":["kind"]},{"properties":{"kind":{"const":"b"}},"required":["kind"]}]}`,
	"if and then":        `{"type":"object","properties":{"c":{"enum":["US","DE"]}},"required":["c"],"if":{"properties":{"c":{"const":"US"}}},"then":{"required":["zip"],"properties":{"zip":{"pattern":"^\\d{5}$"}}},"else":{"required":["plz"]}}`,
	"references":         `{"$ref":"#/$defs/list","$defs":{"list":{"type":"array","items":{"$ref":"#/$defs/a~1b~0c"}},"a/b~c":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}}}`,
	"a tree":             `{"type":"object","properties":{"name":{"type":"string"},"children":{"type":"array","items":{"$ref":"#"}}},"required":["name","children"],"additionalProperties":false}`,
	"a list, linked":     `{"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"type":"null"},{"$ref":"#/$defs/n"}]}},"required":["v"]}}}`,
	"two bases":          `{"$ref":"#/$defs/x","properties":{"b":{"type":"integer"}},"required":["b"],"$defs":{"x":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}}}`,
	"formats": `{"type":"object","properties":{"a":{"type":"string","format":"date"},"b":{"type":"string","format":"date-time"},"c":{"type":"string","format":"time"},
		"d":{"type":"string","format":"email"},"e":{"type":"string","format":"uri"},"f":{"type":"string","format":"uuid"},"g":{"type":"string","format":"ipv4"},"h":{"type":"string","format":"ipv6"},
		"i":{"type":"string","format":"hostname"},"j":{"type":"string","format":"duration"},"k":{"type":"string","format":"regex"},"l":{"type":"string","format":"json-pointer"},
		"m":{"type":"string","format":"uri-reference"},"n":{"type":"string","format":"unheard-of"},"o":{"type":"string","format":"relative-json-pointer"}}}`,
	"true":    `true`,
	"nothing": `{}`,
}

// compiled is a schema as the library that checks steps' answers has it.
func compiled(t *testing.T, text string) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource("schema.json", document))
	schema, err := c.Compile("schema.json")
	require.NoError(t, err)
	return schema
}

func requireFits(t *testing.T, schema *jsonschema.Schema, answer string) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(answer))
	require.NoError(t, err, answer)
	require.NoError(t, schema.Validate(value), answer)
}

func TestDemoValuesFit(t *testing.T) {
	for name, text := range fitting {
		t.Run(name, func(t *testing.T) {
			schema := compiled(t, text)
			for i := range 50 {
				answer := demoValue(json.RawMessage(text), fmt.Sprintf("question %d", i))
				requireFits(t, schema, answer)
				require.Less(t, len(answer), 16<<10)
			}
		})
	}
}

// The shipped pipelines run on the demo provider: their schemas fit, too.
func TestDemoValuesFitExamples(t *testing.T) {
	files, err := filepath.Glob("../pipeline/examples/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	schemas := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		var pipeline struct {
			Steps []struct {
				Name   string
				Schema map[string]any
			}
		}
		require.NoError(t, yaml.Unmarshal(content, &pipeline), file)
		for _, step := range pipeline.Steps {
			if step.Schema == nil {
				continue
			}
			schemas++
			text, err := json.Marshal(step.Schema)
			require.NoError(t, err)
			schema := compiled(t, string(text))
			for i := range 20 {
				requireFits(t, schema, demoValue(text, fmt.Sprintf("%s %s %d", file, step.Name, i)))
			}
		}
	}
	require.Positive(t, schemas)
}

// The same question has the same answer, and different ones differ.
func TestDemoValuesDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for i := range 20 {
		question := fmt.Sprintf("Rate lead %d.", i)
		answer := demoValue(json.RawMessage(fitting["a lead"]), question)
		require.Equal(t, answer, demoValue(json.RawMessage(fitting["a lead"]), question))
		seen[answer] = true
	}
	require.Greater(t, len(seen), 15)
}

// Schemas that nothing fits, or that go on for ever, cost little.
func TestDemoValuesAreBounded(t *testing.T) {
	nested := strings.Repeat(`{"type":"array","minItems":3,"items":`, 200) + `{}` + strings.Repeat(`}`, 200)
	wide := `{"type":"object","patternProperties":{`
	for i := range 2000 {
		wide += fmt.Sprintf(`"^k%d":{"type":"integer"},`, i)
	}
	wide += `"^z":{}},"required":[` + strings.Repeat(`"zz",`, 2000) + `"k1"]}`
	for name, text := range map[string]string{
		"itself":       `{"$ref":"#"}`,
		"in a circle":  `{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}`,
		"for ever":     `{"type":"object","properties":{"a":{"$ref":"#"},"b":{"$ref":"#"},"c":{"$ref":"#"}},"required":["a","b","c"]}`,
		"all of all":   `{"allOf":[{"$ref":"#"},{"$ref":"#"},{"$ref":"#"}]}`,
		"many":         `{"type":"array","minItems":1000000000,"items":{"type":"array","minItems":1e9}}`,
		"many members": `{"type":"object","minProperties":1e12}`,
		"much text":    `{"type":"string","minLength":1e15}`,
		"patterns":     `{"type":"string","pattern":"^((a{10}){10}b*){10}$"}`,
		"no pattern":   `{"type":"string","pattern":"(?<=x)["}`,
		"huge numbers": `{"type":"number","multipleOf":1e-999999999,"minimum":1e999999999,"maximum":123456789012345678901234567890123456789}`,
		"backwards":    `{"type":"integer","minimum":9,"maximum":1}`,
		"negative":     `{"type":"array","minItems":-5,"maxItems":-1}`,
		"false":        `false`,
		"no schema":    `[1,2,3]`,
		"wrong types":  `{"type":7,"properties":[],"required":{"a":1},"enum":{},"items":"x","$ref":5,"allOf":"y","minLength":"z"}`,
		"elsewhere":    `{"$ref":"https://example.com/schema"}`,
		"lost":         `{"$ref":"#/a/b/c"}`,
		"an index":     `{"$ref":"#/allOf/7","allOf":[{}]}`,
		"nested":       nested,
		"wide":         wide,
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			answer := demoValue(json.RawMessage(text), "question")
			require.True(t, json.Valid([]byte(answer)), answer)
			require.Less(t, len(answer), 1<<20)
			require.Less(t, time.Since(began), 10*time.Second)
		})
	}
}

// FuzzDemoValue looks for schemas that demo answers break on.
func FuzzDemoValue(f *testing.F) {
	for _, text := range fitting {
		f.Add(text, "question")
	}
	f.Fuzz(func(t *testing.T, schema, question string) {
		answer := demoValue(json.RawMessage(schema), question)
		require.True(t, json.Valid([]byte(answer)), answer)
	})
}

// askDemo is the text that a call is answered with.
func askDemo(t *testing.T, body string) string {
	t.Helper()
	p := NewDemo()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Endpoint(dialect.OpenAIChat, "m", false).String(), strings.NewReader(body))
	require.NoError(t, err)
	resp, err := p.Transport.RoundTrip(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	content, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	var text strings.Builder
	for line := range strings.SplitSeq(string(content), "\n") {
		var piece struct {
			Choices []struct{ Message, Delta struct{ Content string } }
		}
		if json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &piece) == nil && len(piece.Choices) > 0 {
			text.WriteString(piece.Choices[0].Message.Content + piece.Choices[0].Delta.Content)
		}
	}
	return text.String()
}

func TestDemoStructuredAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		schema := compiled(t, fitting["a lead"])
		body := `{"model":"m","messages":[{"role":"user","content":"Rate it."}],"response_format":{"type":"json_schema","json_schema":{"name":"lead","schema":` + fitting["a lead"] + `}}`
		whole := askDemo(t, body+`}`)
		requireFits(t, schema, whole)
		require.Equal(t, whole, askDemo(t, body+`,"stream":true}`))

		var object map[string]any
		require.NoError(t, json.Unmarshal([]byte(askDemo(t, `{"model":"m","messages":[{"role":"user","content":"Rate it."}],"response_format":{"type":"json_object"}}`)), &object))
		require.Equal(t, "Rate it.", object["question"])
		require.Contains(t, askDemo(t, `{"model":"m","messages":[{"role":"user","content":"Rate it."}],"response_format":{"type":"text"}}`), "You asked: “Rate it.”")
		said := func(question string) string {
			content, err := json.Marshal(question)
			require.NoError(t, err)
			return askDemo(t, `{"model":"m","messages":[{"role":"user","content":`+string(content)+`}]}`)
		}
		const order = "Rate it.\n\nAnswer with JSON alone: no other text."
		requireFits(t, compiled(t, fitting["five or more"]), said(order+" It must fit this JSON Schema:\n"+fitting["five or more"]))
		require.True(t, json.Valid([]byte(said(order))))
		require.False(t, json.Valid([]byte(said("Rate it."))))
		require.NotContains(t, askDemo(t, body+`,"max_tokens":2}`), "}", "a limit holds for JSON, too")
	})
}
