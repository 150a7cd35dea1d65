package gemini

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/jsonedit"
)

// Google's Schema, which `parameters` and `responseSchema` hold, is a subset of
// OpenAPI's: types in capitals, `nullable` for a type that may be null. The
// vocabulary has JSON Schema, as `parametersJsonSchema` and `responseJsonSchema`
// do. Source: https://ai.google.dev/api/caching#Schema.

// snakeKeywords are the keywords of two words by their names in snake case.
var snakeKeywords = map[string]string{
	"any_of": "anyOf", "max_items": "maxItems", "min_items": "minItems", "max_length": "maxLength", "min_length": "minLength",
	"max_properties": "maxProperties", "min_properties": "minProperties", "property_ordering": "propertyOrdering",
	"prefix_items": "prefixItems", "additional_properties": "additionalProperties",
}

// counts are the keywords whose numbers Google writes as strings, since they
// are int64.
var countKeywords = map[string]bool{
	"maxItems": true, "minItems": true, "maxLength": true, "minLength": true, "maxProperties": true, "minProperties": true,
}

// toJSONSchema turns Google's Schema into JSON Schema. Both must be valid JSON;
// what is no object stays as it is.
func toJSONSchema(schema []byte) jsontext.Value { return convertSchema(schema, plainSchema) }

// fromJSONSchema reverses toJSONSchema.
func fromJSONSchema(schema []byte) jsontext.Value { return convertSchema(schema, googleSchema) }

// convertSchema applies a conversion to a schema, inner schemas first.
func convertSchema(schema []byte, convert func(*schemaObject)) jsontext.Value {
	if len(schema) == 0 || schema[0] != '{' {
		return schema
	}
	var o schemaObject
	s := jsonedit.NewScanner(schema)
	for name := range s.Members {
		keyword := string(name)
		if camel, ok := snakeKeywords[keyword]; ok {
			keyword = camel
		}
		o.members = append(o.members, schemaMember{keyword, convertInner(keyword, s.Skip(), convert)})
	}
	convert(&o)
	var out object
	for _, m := range o.members {
		out.add(m.name, m.value)
	}
	if out == nil {
		return jsontext.Value("{}")
	}
	return jsontext.Value(out)
}

// convertInner converts the schemas in a keyword's value.
func convertInner(keyword string, value []byte, convert func(*schemaObject)) []byte {
	switch keyword {
	case "items", "additionalProperties", "anyOf", "prefixItems":
		if value[0] == '[' {
			return convertList(value, convert)
		}
		return convertSchema(value, convert)
	case "properties", "$defs", "defs":
		var out object
		s := jsonedit.NewScanner(value)
		if s.Kind() != jsonedit.KindObject {
			return value
		}
		for name := range s.Members {
			out.add(string(name), convertSchema(s.Skip(), convert))
		}
		if out == nil {
			return []byte("{}")
		}
		return out
	}
	return value
}

func convertList(value []byte, convert func(*schemaObject)) []byte {
	out := []byte{'['}
	s := jsonedit.NewScanner(value)
	for range s.Elements {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, convertSchema(s.Skip(), convert)...)
	}
	return append(out, ']')
}

// schemaObject is one schema, with its keywords in their order.
type schemaObject struct{ members []schemaMember }

type schemaMember struct {
	name  string
	value []byte
}

func (o *schemaObject) find(name string) *schemaMember {
	for i := range o.members {
		if o.members[i].name == name {
			return &o.members[i]
		}
	}
	return nil
}

// remove takes a keyword out and gives its value; nil if it is not there.
func (o *schemaObject) remove(name string) []byte {
	for i, m := range o.members {
		if m.name == name {
			o.members = append(o.members[:i], o.members[i+1:]...)
			return m.value
		}
	}
	return nil
}

const null = "null"

// isWord says that a value is a string without escapes.
func isWord(value []byte) bool {
	return len(value) > 2 && value[0] == '"' && bytes.IndexByte(value, '\\') < 0
}

// plainSchema makes a schema of Google's JSON Schema.
func plainSchema(o *schemaObject) {
	for i := range o.members {
		m := &o.members[i]
		if countKeywords[m.name] && isWord(m.value) {
			if _, ok := jsonedit.ParseInt(m.value[1 : len(m.value)-1]); ok {
				m.value = m.value[1 : len(m.value)-1]
			}
		}
	}
	nullable := string(o.remove("nullable")) == "true"
	typ := o.find("type")
	if typ != nil && isWord(typ.value) {
		if typ.value = bytes.ToLower(typ.value); string(typ.value) == `"type_unspecified"` {
			o.remove("type")
			typ = nil
		}
	}
	if !nullable {
		return
	}
	switch anyOf := o.find("anyOf"); {
	case typ != nil && isWord(typ.value):
		typ.value = []byte(`[` + string(typ.value) + `,"null"]`)
		if enum := o.find("enum"); enum != nil {
			enum.value = appendElement(enum.value, null)
		}
	case anyOf != nil:
		anyOf.value = appendElement(anyOf.value, `{"type":"null"}`)
	}
}

// googleSchema makes a JSON Schema that plainSchema made Google's again.
func googleSchema(o *schemaObject) {
	typ := o.find("type")
	switch anyOf := o.find("anyOf"); {
	case typ != nil && typ.value[0] == '[':
		words := strings.Split(strings.Trim(strings.Join(strings.Fields(string(typ.value)), ""), "[]"), ",")
		if len(words) != 2 || words[1] != `"null"` || !isWord([]byte(words[0])) {
			return
		}
		typ.value = bytes.ToUpper([]byte(words[0]))
		if enum := o.find("enum"); enum != nil {
			enum.value = cutElement(enum.value, null)
		}
		o.members = append(o.members, schemaMember{"nullable", []byte("true")})
	case typ != nil && isWord(typ.value):
		typ.value = bytes.ToUpper(typ.value)
	case anyOf != nil:
		const last = `{"type":"NULL"}` // inner schemas are Google's already
		if cut := cutElement(anyOf.value, last); len(cut) != len(anyOf.value) {
			anyOf.value = cut
			o.members = append(o.members, schemaMember{"nullable", []byte("true")})
		}
	}
}

// appendElement puts an element behind those of an array.
func appendElement(array []byte, element string) []byte {
	array = bytes.TrimRight(array, " \t\r\n")
	if len(array) < 2 || array[0] != '[' {
		return array
	}
	inner := bytes.TrimSpace(array[1 : len(array)-1])
	if len(inner) > 0 {
		element = "," + element
	}
	return []byte("[" + string(inner) + element + "]")
}

// cutElement reverses appendElement; an array that does not end with the element
// stays as it is.
func cutElement(array []byte, element string) []byte {
	if cut, ok := bytes.CutSuffix(array, []byte(","+element+"]")); ok {
		return append(bytes.Clone(cut), ']')
	}
	if string(array) == "["+element+"]" {
		return []byte("[]")
	}
	return array
}
