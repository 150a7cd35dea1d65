package anthropic

import (
	"github.com/financecommander/tollgate/internal/jsonedit"
)

// appendClosed appends a JSON Schema whose objects are closed: the API takes no
// schema of an answer that leaves open which other members an object may have.
// One that says so itself stays as it is, for the API to refuse.
// Source: https://docs.claude.com/en/docs/build-with-claude/structured-outputs
func appendClosed(dst, schema []byte) []byte {
	s := jsonedit.NewScanner(schema)
	mark := len(dst)
	if dst = closeSchema(dst, &s); s.End() != nil {
		return append(dst[:mark], schema...)
	}
	return dst
}

// closeSchema copies a schema, or whatever stands in a schema's place.
func closeSchema(dst []byte, s *jsonedit.Scanner) []byte {
	switch s.Kind() {
	case jsonedit.KindObject:
	case jsonedit.KindArray: // as in anyOf
		dst = append(dst, '[')
		for range s.Elements {
			dst = append(closeSchema(dst, s), ',')
		}
		return closeBracket(dst, ']')
	default:
		return append(dst, s.Skip()...)
	}
	object, said := false, false
	dst = append(dst, '{')
	for name := range s.Members {
		dst = append(jsonedit.AppendQuote(dst, name), ':')
		switch string(name) {
		case "type":
			value := s.Skip()
			object = object || string(value) == `"object"`
			dst = append(dst, value...)
		case "properties", "$defs", "definitions":
			dst = closeEach(dst, s)
		case "items", "anyOf", "oneOf", "allOf", "not":
			dst = closeSchema(dst, s)
		case "additionalProperties":
			said = true
			dst = append(dst, s.Skip()...)
		default:
			dst = append(dst, s.Skip()...)
		}
		dst = append(dst, ',')
	}
	if object && !said {
		dst = append(dst, `"additionalProperties":false,`...)
	}
	return closeBracket(dst, '}')
}

// closeEach copies an object of schemas by names.
func closeEach(dst []byte, s *jsonedit.Scanner) []byte {
	if s.Kind() != jsonedit.KindObject {
		return append(dst, s.Skip()...)
	}
	dst = append(dst, '{')
	for name := range s.Members {
		dst = append(jsonedit.AppendQuote(dst, name), ':')
		dst = append(closeSchema(dst, s), ',')
	}
	return closeBracket(dst, '}')
}

// closeBracket ends a list whose elements are each followed by a comma.
func closeBracket(dst []byte, bracket byte) []byte {
	if dst[len(dst)-1] == ',' {
		dst = dst[:len(dst)-1]
	}
	return append(dst, bracket)
}
