package pipeline

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func answerSchema(t *testing.T, text string) *AnswerSchema {
	t.Helper()
	var document any
	require.NoError(t, json.Unmarshal([]byte(text), &document))
	schema, _, message := compileAnswer(document)
	require.Empty(t, message)
	return schema
}

func TestAnswerSchema(t *testing.T) {
	t.Parallel()
	schema := answerSchema(t, `{
		"type": "object", "additionalProperties": false, "required": ["score", "items"],
		"properties": {
			"score": {"type": "integer", "minimum": 0, "maximum": 100, "multipleOf": 5},
			"fit": {"enum": ["strong", "weak"]},
			"kind": {"const": "lead"},
			"code": {"type": "string", "pattern": "^[A-Z]+$", "minLength": 2, "maxLength": 4},
			"items": {"type": "array", "minItems": 2, "maxItems": 3, "uniqueItems": true, "items": {"$ref": "#/$defs/item"}},
			"map": {"type": "object", "minProperties": 1, "maxProperties": 2, "additionalProperties": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1.5}},
			"named": {"propertyNames": {"maxLength": 3}},
			"either": {"anyOf": [{"type": "string"}, {"type": "number"}]},
			"one": {"oneOf": [{"minimum": 1}, {"maximum": 5}]},
			"not": {"not": {"type": "string"}},
			"dep": {"dependentRequired": {"a": ["b"]}},
			"never": false
		},
		"$defs": {"item": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}}
	}`)
	const fine = `"score": 5, "items": [{"name": "a"}, {"name": "b"}]`
	for answer, want := range map[string]string{
		`{` + fine + `, "fit": "weak", "kind": "lead", "code": "AB", "map": {"x": 1}, "either": 1, "one": 9, "not": 1, "dep": {"a": 1, "b": 2}}`: "",
		`"secret"`:                            "/ must be a mapping (name: value), not a text",
		`{}`:                                  `/ needs "items", "score"`,
		`{` + fine + `, "secret": 1}`:         "/ must not have members that the schema does not name",
		`{"score": 7.5, "items": [1]}`:        "/items must have at least 2 items, not 1; /items/0 must be a mapping (name: value), not a number; /score must be a whole number, not a number",
		`{"score": -5, "items": [{}, {}]}`:    `/items must not have the same item twice, as items 0 and 1 are; /items/0 needs "name"; /items/1 needs "name"; /score must be at least 0`,
		`{"score": 107, "items": 1}`:          "/items must be a list, not a number; /score must be at most 100; /score must be a multiple of 5",
		`{` + fine + `, "fit": "secret"}`:     `/fit must be one of "strong", "weak"`,
		`{` + fine + `, "kind": "secret"}`:    `/kind must be "lead"`,
		`{` + fine + `, "code": "secret"}`:    "/code must have at most 4 characters, not 6; /code must match the pattern ^[A-Z]+$",
		`{` + fine + `, "code": "A"}`:         "/code must have at least 2 characters, not 1",
		`{` + fine + `, "map": {}}`:           "/map must have at least 1 members, not 0",
		`{` + fine + `, "map": {"top": 0}}`:   "/map/* must be more than 0",
		`{` + fine + `, "map": {"top": 2}}`:   "/map/* must be less than 1.5",
		`{` + fine + `, "named": {"long":1}}`: `/ does not fit the schema's "propertyNames"`,
		`{` + fine + `, "either": []}`:        "/either must be of one of the forms that the schema allows",
		`{` + fine + `, "one": 3}`:            "/one must be of exactly one of the forms that the schema allows",
		`{` + fine + `, "not": "secret"}`:     "/not is not allowed by the schema",
		`{` + fine + `, "dep": {"a": 1}}`:     `/dep with "a" needs "b"`,
		`{` + fine + `, "never": 1}`:          "/never is not allowed by the schema",
	} {
		var value any
		require.NoError(t, json.Unmarshal([]byte(answer), &value), answer)
		got := schema.Validate(value)
		require.Equal(t, want, got, answer)
		require.NotContains(t, got, "secret")
	}
}

// Everything fits no schema.
func TestNoAnswerSchema(t *testing.T) {
	t.Parallel()
	require.Empty(t, (&AnswerSchema{}).Validate(map[string]any{"a": 1.0}))
	require.Empty(t, (*AnswerSchema)(nil).Validate(nil))
	require.Empty(t, mustParse(t, small+"    format: json\n").Steps[0].AnswerSchema.Validate(nil))
	require.Nil(t, mustParse(t, small).Steps[0].AnswerSchema)
}

// A number of the answer can be as long as it likes.
func TestAnswerNumbers(t *testing.T) {
	t.Parallel()
	schema := answerSchema(t, `{"type": "number", "maximum": 10, "multipleOf": 0.5}`)
	begun := time.Now()
	for number, want := range map[string]string{
		"1.5": "", "1e999999999": "", "1e-999999999": "", strings.Repeat("9", 100): "/ must be at most 10",
		"12.25": "/ must be at most 10; / must be a multiple of 0.5",
	} {
		require.Equal(t, want, schema.Validate(json.Number(number)), number)
	}
	require.Less(t, time.Since(begun), 5*time.Second)
}

func TestManyComplaints(t *testing.T) {
	t.Parallel()
	got := answerSchema(t, `{"items": {"type": "string"}}`).Validate(make([]any, 30))
	require.True(t, strings.HasSuffix(got, "; and 10 more"), got)
}
