package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/financecommander/tollgate/internal/specialist"
)

// parts are where in the schema each type is described.
var parts = map[string]reflect.Type{
	"":                                       reflect.TypeFor[Definition](),
	"/properties/limits":                     reflect.TypeFor[Limits](),
	"/$defs/step":                            reflect.TypeFor[Step](),
	"/$defs/step/properties/fallbacks/items": reflect.TypeFor[specialist.Target](),
	"/$defs/map":                             reflect.TypeFor[Map](),
	"/$defs/http":                            reflect.TypeFor[HTTP](),
}

// The schema and the types have the same fields, and the schema explains each.
func TestSchemaAndTypes(t *testing.T) {
	t.Parallel()
	for pointer, typ := range parts {
		part := schemaAt("#" + pointer)
		require.NotNil(t, part, pointer)
		require.Equal(t, false, part["additionalProperties"], pointer)
		required, _ := part["required"].([]any)
		var fields, mandatory []string
		for field := range typ.Fields() {
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			fields = append(fields, name)
			if options == "" {
				mandatory = append(mandatory, name)
			}
		}
		known := properties("#" + pointer)
		known = slices.DeleteFunc(known, func(name string) bool { return name == "$schema" }) // for editors only
		require.ElementsMatch(t, fields, known, pointer)
		require.Len(t, required, len(mandatory), pointer)
		for name, property := range part["properties"].(map[string]any) {
			p := property.(map[string]any)
			require.NotEmpty(t, p["description"], "%s %s", pointer, name)
			isMandatory := slices.Contains(mandatory, name)
			require.Equal(t, isMandatory, slices.Contains(required, any(name)), "%s %s", pointer, name)
			_, hasDefault := p["default"]
			require.False(t, isMandatory && hasDefault, "%s %s", pointer, name)
			if !isMandatory && !slices.Contains(noDefault, name) {
				require.True(t, hasDefault, "%s %s has no default", pointer, name)
			}
		}
	}
}

// noDefault are fields for which nothing at all stands when they are not said.
var noDefault = []string{"specialist", "provider", "model", "temperature", "schema", "http", "transform", "map"}

// What the schema says of defaults is what is filled in.
func TestSchemaDefaults(t *testing.T) {
	t.Parallel()
	plan := mustParse(t, small+"    map: {over: \"[query]\"}\n")
	text, err := json.Marshal(plan.Definition)
	require.NoError(t, err)
	var filled map[string]any
	require.NoError(t, json.Unmarshal(text, &filled))
	step := filled["steps"].([]any)[0].(map[string]any)
	checked := 0
	for pointer, object := range map[string]map[string]any{
		"": filled, "/properties/limits": filled["limits"].(map[string]any), "/$defs/step": step, "/$defs/map": step["map"].(map[string]any),
	} {
		for name, property := range schemaAt("#" + pointer)["properties"].(map[string]any) {
			value, is := object[name]
			want, hasDefault := property.(map[string]any)["default"]
			if !is || !hasDefault || want == "" || name == "limits" {
				continue // nothing is filled in, or something that depends on the rest
			}
			if text, ok := value.(string); ok && strings.HasSuffix(text, "0s") {
				var d, w Duration
				require.NoError(t, d.UnmarshalText([]byte(text)))
				require.NoError(t, w.UnmarshalText([]byte(want.(string))))
				value, want = d, w
			}
			require.Equal(t, want, value, "%s %s", pointer, name)
			checked++
		}
	}
	require.GreaterOrEqual(t, checked, 10)
}

// What Parse takes, editors take too, as it is written and with defaults filled in.
func TestDefinitionsFitTheSchema(t *testing.T) {
	t.Parallel()
	shape, _ := shapeOf()
	files, err := filepath.Glob("testdata/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var written, filled any
		require.NoError(t, yaml.Unmarshal(text, &written))
		require.NoError(t, shape.Validate(written), file)
		text, err = json.Marshal(mustParse(t, string(text)).Definition)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &filled))
		require.NoError(t, shape.Validate(filled), file)
	}
}

func TestSchemaIsOne(t *testing.T) {
	t.Parallel()
	var document any
	require.NoError(t, json.Unmarshal(Schema(), &document))
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("x", document))
	_, err := c.Compile("x")
	require.NoError(t, err)
	Schema()[0] = 'x' // a copy
	require.True(t, json.Valid(Schema()))
}
