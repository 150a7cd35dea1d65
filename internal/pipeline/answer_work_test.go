package pipeline

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// twice is a schema that goes through the next one twice, n times, by way of a
// keyword.
func twice(n int, form string) string {
	defs := make([]string, 0, n+1)
	for i := range n {
		next := fmt.Sprintf(`{"$ref": "#/$defs/d%d"}`, i+1)
		defs = append(defs, fmt.Sprintf(`"d%d": %s`, i, strings.ReplaceAll(form, "NEXT", next)))
	}
	defs = append(defs, fmt.Sprintf(`"d%d": {"type": "string"}`, n))
	return `{"$ref": "#/$defs/d0", "$defs": {` + strings.Join(defs, ", ") + `}}`
}

// alike are lists of lists, of as many each, that a hash of the values in them does
// not tell apart.
func alike(n, lists int) string {
	var all []string
	var grow func(text string, open, left int)
	grow = func(text string, open, left int) {
		if len(all) == n {
			return
		}
		if open == 0 && left == 0 {
			all = append(all, text)
		}
		if left > 0 {
			grow(strings.ReplaceAll(text+"[", "][", "],["), open+1, left-1)
		}
		if open > 0 {
			grow(text+"]", open-1, left)
		}
	}
	grow("", 0, lists)
	return "[[" + strings.Join(all, "],[") + "]]"
}

// No schema and no answer make a check that goes on and on, or that fills the
// memory with complaints.
func TestCheckIsBounded(t *testing.T) {
	t.Parallel()
	nested := func(open, end string, depth int) string {
		return strings.Repeat(open, depth) + "1" + strings.Repeat(end, depth)
	}
	list := func(item string, n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	enum := make([]string, 1900)
	for i := range enum {
		enum[i] = fmt.Sprint(i)
	}
	for name, c := range map[string]struct{ schema, answer string }{
		"allOf":             {twice(60, `{"allOf": [NEXT, NEXT]}`), `1`},
		"anyOf":             {twice(60, `{"anyOf": [NEXT, NEXT]}`), `1`},
		"oneOf":             {twice(60, `{"oneOf": [NEXT, NEXT]}`), `"x"`},
		"if":                {twice(60, `{"if": NEXT, "then": NEXT, "else": NEXT}`), `1`},
		"dependentSchemas":  {strings.Replace(twice(60, `{"dependentSchemas": {"a": NEXT, "b": NEXT}}`), `{"$ref": "#/$defs/d0",`, `{"not": {"$ref": "#/$defs/d0"},`, 1), `{"a": 1, "b": 2}`},
		"patternProperties": {`{"not": {"$ref": "#/$defs/x"}, "$defs": {"x": {"type": "object", "patternProperties": {"a": {"$ref": "#/$defs/x"}, "^a": {"$ref": "#/$defs/x"}}}}}`, nested(`{"a":`, `}`, 90)},
		"recursive":         {`{"anyOf": [{"type": "array", "items": {"$ref": "#"}}, {"type": "array", "items": {"$ref": "#"}}]}`, nested("[", "]", 90)},
		"deep":              {`{"items": {"$ref": "#"}}`, nested("[", "]", 5000)},
		"many complaints":   {`{"items": {"type": "string"}}`, list("1", 500_000)},
		"many to go":        {`{"allOf": [` + strings.Repeat(`{"items": {"minimum": 0}},`, 300) + `true]}`, list("1", 100_000)},
		"unique":            {`{"uniqueItems": true}`, alike(20_000, 11)},
		"enum":              {`{"items": {"enum": [` + strings.Join(enum, ",") + `]}}`, list("5000", 200_000)},
		"pattern":           {`{"pattern": "(a{1000}|b)c$"}`, `"` + strings.Repeat("a", 1<<20-10) + `"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			schema := answerSchema(t, c.schema)
			var value any
			require.NoError(t, json.Unmarshal([]byte(c.answer), &value))
			begun := time.Now()
			require.Equal(t, tooMuchToCheck, schema.Validate(value))
			require.Less(t, time.Since(begun), 20*time.Second)
		})
	}
}

// What models are asked for in earnest is not too much.
func TestCheckOfLargeAnswers(t *testing.T) {
	t.Parallel()
	schema := answerSchema(t, `{
		"type": "object", "required": ["leads"], "additionalProperties": false,
		"properties": {"leads": {"type": "array", "uniqueItems": true, "items": {"$ref": "#/$defs/lead"}}},
		"$defs": {"lead": {"type": "object", "required": ["name", "score", "why"], "properties": {
			"name": {"type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9 ]+$"}, "score": {"type": "number", "minimum": 0, "maximum": 100},
			"tier": {"enum": ["a", "b", "c"]}, "why": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}}}}
	}`)
	leads := make([]any, 1200)
	for i := range leads {
		leads[i] = map[string]any{"name": fmt.Sprint("Lead ", i), "score": 7.5, "tier": "b", "why": []any{"one", "two", strings.Repeat("x", 500)}}
	}
	require.Empty(t, schema.Validate(map[string]any{"leads": leads}))
}
