package wire

import (
	"errors"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/llm"
)

// Decode reads a piece of a client's body. at is the piece's path; "" for the
// body itself. Broken UTF-8 in a string becomes U+FFFD. The error is an
// *llm.Error that names the path of what is wrong.
func Decode(data []byte, into any, at string) error {
	err := json.Unmarshal(data, into, jsontext.AllowInvalidUTF8(true))
	if err == nil {
		return nil
	}
	if wrong, ok := errors.AsType[*json.SemanticError](err); ok {
		return Invalid(Join(at, string(wrong.JSONPointer)), "must be "+kindOf(wrong.GoType))
	}
	if broken, ok := errors.AsType[*jsontext.SyntacticError](err); ok && errors.Is(err, jsontext.ErrDuplicateName) {
		return Invalid(Join(at, string(broken.JSONPointer)), "comes twice")
	}
	e := Invalid(at, "is not JSON")
	if at == "" {
		e.Message = "the request body must be one JSON object"
	}
	e.Err = err
	return e
}

// Join puts the path that a JSON pointer stands for behind another, as a person
// would write it: "messages[3].content".
func Join(at, pointer string) string {
	path := []byte(at)
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		switch {
		case token == "":
		case strings.Trim(token, "0123456789") == "":
			path = append(append(append(path, '['), token...), ']')
		default:
			if len(path) > 0 {
				path = append(path, '.')
			}
			path = append(path, strings.NewReplacer("~1", "/", "~0", "~").Replace(token)...)
		}
	}
	return string(path)
}

// kindOf says what JSON a Go type is read from.
func kindOf(t reflect.Type) string {
	if t == nil {
		return "of another type"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint32, reflect.Uint64:
		return "an integer"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "an array"
	default:
		return "an object"
	}
}
