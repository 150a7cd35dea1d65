package anthropic

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAppendClosed(t *testing.T) {
	t.Parallel()
	for schema, want := range map[string]string{
		`{"type":"object"}`: `{"type":"object","additionalProperties":false}`,
		`{}`:                `{}`,
		`true`:              `true`,
		`{"type":"object","additionalProperties":true,"properties":{}}`:                                                                        `{"type":"object","additionalProperties":true,"properties":{}}`,
		`{"properties":{"type":{"type":"object","properties":{"b":{"type":"string","enum":["object"]}}}},"type":"object","required":["type"]}`: `{"properties":{"type":{"type":"object","properties":{"b":{"type":"string","enum":["object"]}},"additionalProperties":false}},"type":"object","required":["type"],"additionalProperties":false}`,
		`{"type":"array","items":{"type":"object"}}`:                                                                                           `{"type":"array","items":{"type":"object","additionalProperties":false}}`,
		`{"anyOf":[{"type":"object"},{"type":"null"}]}`:                                                                                        `{"anyOf":[{"type":"object","additionalProperties":false},{"type":"null"}]}`,
		`{"$defs":{"a":{"type":"object"}},"$ref":"#/$defs/a"}`:                                                                                 `{"$defs":{"a":{"type":"object","additionalProperties":false}},"$ref":"#/$defs/a"}`,
		`{"type":"object","default":{"type":"object"},"items":7}`:                                                                              `{"type":"object","default":{"type":"object"},"items":7,"additionalProperties":false}`,
		`{"type":"object"`: `{"type":"object"`, // not ours to say
	} {
		require.Equal(t, want, string(appendClosed(nil, []byte(schema))), schema)
		require.Equal(t, "x"+want, string(appendClosed([]byte("x"), []byte(schema))))
	}
}
