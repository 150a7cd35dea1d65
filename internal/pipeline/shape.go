package pipeline

import (
	"bytes"
	_ "embed" // for the schema
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v3"

	"github.com/financecommander/tollgate/internal/pipeline/expr"
)

//go:embed schema.json
var schemaText []byte

// Schema is the JSON Schema of definitions.
func Schema() json.RawMessage { return bytes.Clone(schemaText) }

// missing is what is said of a field that must be there.
const missing = "this is missing"

const schemaURL = "tollgate:pipeline"

// shapeOf is the schema made ready, and its text decoded.
var shapeOf = sync.OnceValues(func() (*jsonschema.Schema, map[string]any) {
	var document map[string]any
	if err := json.Unmarshal(schemaText, &document); err != nil {
		panic(fmt.Sprintf("pipeline: schema.json: %v", err)) // the tests read it
	}
	return newCompiler(schemaURL, document).MustCompile(schemaURL), document
})

// newCompiler knows one schema and no other document.
func newCompiler(url string, document any) *jsonschema.Compiler {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(jsonschema.SchemeURLLoader{})
	if err := c.AddResource(url, document); err != nil {
		panic(fmt.Sprintf("pipeline: add schema: %v", err)) // only for a URL that is none, or taken
	}
	return c
}

// decode reads a definition of the right shape; of any other it tells what is
// wrong and reads what is left.
func (s *source) decode() *Definition {
	value := s.value(s.root, "")
	shape, _ := shapeOf()
	if err := shape.Validate(value); err != nil {
		for _, v := range leaves(err) {
			value = s.misshapen(value, v)
		}
	}
	s.checkDurations(value)
	d := &Definition{}
	text, err := json.Marshal(wholeNumbers(value))
	if err == nil {
		err = json.Unmarshal(text, d)
	}
	if err != nil && len(s.found.list) == 0 {
		// The schema lets through what Go's types do not hold: a time span of years.
		s.unreadable(err)
	}
	return d
}

// unreadable tells of a value that fits the schema and yet cannot be read.
func (s *source) unreadable(err error) {
	s.found.broken = append(s.found.broken, "")
	s.found.at(s.root.Line, s.root.Column, "", "%s", strings.TrimPrefix(err.Error(), "json: "))
}

// leaves are the innermost of a schema's complaints. Of alternatives none of
// which fits, it is the alternatives themselves.
func leaves(err error) []*jsonschema.ValidationError {
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return nil
	}
	var list []*jsonschema.ValidationError
	var walk func(*jsonschema.ValidationError)
	walk = func(v *jsonschema.ValidationError) {
		switch v.ErrorKind.(type) {
		case *kind.AnyOf, *kind.OneOf, *kind.Not, *kind.Contains, *kind.MinContains, *kind.MaxContains, *kind.PropertyNames:
			list = append(list, v)
			return
		}
		if len(v.Causes) == 0 {
			list = append(list, v)
		}
		for _, cause := range v.Causes {
			walk(cause)
		}
	}
	walk(invalid)
	return list
}

// misshapen tells one complaint of the schema, and takes out of the value what
// cannot be read.
func (s *source) misshapen(value any, v *jsonschema.ValidationError) any {
	if s.found.full() {
		return unread(value, v)
	}
	path, key, node := s.place(v.InstanceLocation)
	switch k := v.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		known := properties(v.SchemaURL)
		for _, name := range k.Properties {
			if !s.found.full() {
				key, _ := member(node, name)
				s.fault(key, join(path, name), "there is no field %q here%s", name, expr.DidYouMean(name, known))
			}
			value = without(value, append(slices.Clone(v.InstanceLocation), name))
		}
		return value
	case *kind.Required:
		for _, name := range k.Missing {
			s.fault(cmpNode(node, key), join(path, name), "%s", missing)
			s.found.broken = append(s.found.broken, join(path, name))
		}
		return value
	case *kind.Type:
		s.fault(node, path, "%s", wrongType(k, node))
		s.found.broken = append(s.found.broken, path)
		return without(value, v.InstanceLocation)
	case *kind.Pattern:
		s.fault(node, path, "%s", patternMessage(v.SchemaURL))
	case *kind.UniqueItems:
		path, _, node = s.place(append(slices.Clone(v.InstanceLocation), fmt.Sprint(k.Duplicates[1])))
		s.fault(node, path, "this is there twice")
	case *kind.PropertyNames:
		return value // its place is not to be relied on; see compileHTTP
	default:
		s.fault(node, path, "%s", rule(v))
	}
	s.found.broken = append(s.found.broken, path)
	return value
}

// unread takes out of the value what cannot be read.
func unread(value any, v *jsonschema.ValidationError) any {
	switch k := v.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			value = without(value, append(slices.Clone(v.InstanceLocation), name))
		}
	case *kind.Type:
		value = without(value, v.InstanceLocation)
	}
	return value
}

// fault tells of something at a node.
func (s *source) fault(n *yaml.Node, path, format string, args ...any) {
	n = cmpNode(n, s.root)
	s.found.at(n.Line, n.Column, path, format, args...)
}

func cmpNode(first, second *yaml.Node) *yaml.Node {
	if first != nil {
		return first
	}
	return second
}

var typeNames = map[string]string{
	"string": "a text", "number": "a number", "integer": "a whole number", "boolean": "true or false", "null": "nothing",
	"array": "a list", "object": "a mapping (name: value)",
}

func wrongType(k *kind.Type, n *yaml.Node) string {
	want, got := make([]string, 0, len(k.Want)), typeNames[k.Got]
	for _, w := range k.Want {
		want = append(want, typeNames[w])
	}
	text := fmt.Sprintf("must be %s, not %s", strings.Join(want, " or "), got)
	switch {
	case k.Got == "null":
		return fmt.Sprintf("must be %s, and there is nothing", strings.Join(want, " or "))
	case slices.Contains(k.Want, "string") && n != nil && n.Kind == yaml.ScalarNode:
		text += "; put it in quotes"
	}
	return text
}

// without takes a value out of a document: a member goes, an item of a list
// becomes an empty mapping or text, so that those after it keep their places.
func without(document any, tokens []string) any {
	if len(tokens) == 0 {
		return map[string]any{}
	}
	parent := document
	for _, token := range tokens[:len(tokens)-1] {
		parent = child(parent, token)
	}
	last := tokens[len(tokens)-1]
	switch p := parent.(type) {
	case map[string]any:
		delete(p, last)
	case []any:
		if i, err := strconv.Atoi(last); err == nil && i >= 0 && i < len(p) {
			p[i] = nil
		}
	}
	return document
}

func child(parent any, token string) any {
	switch p := parent.(type) {
	case map[string]any:
		return p[token]
	case []any:
		if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(p) {
			return p[i]
		}
	}
	return nil
}

// schemaAt finds the part of the shipped schema that a complaint is about.
func schemaAt(url string) map[string]any {
	_, document := shapeOf()
	_, pointer, _ := strings.Cut(url, "#")
	var at any = document
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if token != "" {
			at = child(at, strings.NewReplacer("%24", "$", "~1", "/", "~0", "~").Replace(token))
		}
	}
	object, _ := at.(map[string]any)
	return object
}

// properties are the fields that a part of the shipped schema knows, sorted.
func properties(url string) []string {
	members, _ := schemaAt(url)["properties"].(map[string]any)
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func patternMessage(url string) string {
	message, _ := schemaAt(url)["patternErrorMessage"].(string)
	if message == "" {
		return "does not have the right form"
	}
	return message
}
