package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// maxComplaints is how many of an answer's faults are told.
const maxComplaints = 20

// AnswerSchema is a JSON Schema that answers must fit. The zero value is one that
// everything fits.
type AnswerSchema struct {
	schema *jsonschema.Schema
	names  map[string]bool // of members that the schema names
	meter  *meter
}

const answerURL = "tollgate:answer"

// compileAnswer makes a schema ready, or says what is wrong with it and where, as
// the path below it.
func compileAnswer(document any) (schema *AnswerSchema, tokens []string, message string) {
	compiler, m := newCompiler(answerURL, document), newMeter()
	compiler.UseRegexpEngine(m.pattern)
	compiled, err := compiler.Compile(answerURL)
	if err == nil {
		m.watch(compiled, map[*jsonschema.Schema]bool{})
		names := map[string]bool{}
		namesIn(document, names)
		return &AnswerSchema{compiled, names, m}, nil, ""
	}
	if invalid, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		// A keyword's alternatives fail one by one; the deepest place says most.
		list := leaves(invalid.Err)
		slices.SortStableFunc(list, func(a, b *jsonschema.ValidationError) int {
			return len(b.InstanceLocation) - len(a.InstanceLocation)
		})
		if len(list) > 0 {
			return nil, list[0].InstanceLocation, rule(list[0])
		}
	}
	if _, ok := errors.AsType[*jsonschema.LoadURLError](err); ok {
		return nil, nil, "must refer to nothing outside itself"
	}
	return nil, nil, "a $ref leads nowhere"
}

// namesIn gathers the names of members that a schema has.
func namesIn(document any, names map[string]bool) {
	switch d := document.(type) {
	case map[string]any:
		properties, _ := d["properties"].(map[string]any)
		for name := range properties {
			names[name] = true
		}
		for _, below := range d {
			namesIn(below, names)
		}
	case []any:
		for _, below := range d {
			namesIn(below, names)
		}
	}
}

// Validate says in a sentence what does not fit; "" for an answer that does. It
// has places and rules in it and nothing of the answer, neither values nor names
// that only the answer knows.
func (s *AnswerSchema) Validate(answer any) string {
	if s == nil || s.schema == nil {
		return ""
	}
	if tooDeep(answer, maxAnswerDepth) {
		return tooMuchToCheck
	}
	err, done := s.meter.check(s.schema, boundNumbers(answer))
	switch {
	case !done:
		return tooMuchToCheck
	case err == nil:
		return ""
	}
	list := leaves(err)
	for _, v := range list {
		if _, ok := v.ErrorKind.(*kind.PropertyNames); ok {
			v.InstanceLocation = nil // the library writes into it later
		}
	}
	slices.SortStableFunc(list, func(a, b *jsonschema.ValidationError) int {
		return slices.Compare(a.InstanceLocation, b.InstanceLocation)
	})
	texts := make([]string, 0, maxComplaints)
	for _, v := range list[:min(len(list), maxComplaints)] {
		texts = append(texts, s.pointer(v.InstanceLocation)+" "+rule(v))
	}
	if more := len(list) - maxComplaints; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}

// itemNumber is the place of an item in a list.
var itemNumber = regexp.MustCompile(`^[0-9]{1,9}$`)

// boundNumbers makes floats of numbers that are too long for exact arithmetic.
func boundNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if f, err := v.Float64(); len(v) > maxNumber || strings.ContainsAny(string(v), "eE") {
			if err != nil {
				return 0.0
			}
			return f
		}
	case []any:
		copied := make([]any, len(v))
		for i := range v {
			copied[i] = boundNumbers(v[i])
		}
		return copied
	case map[string]any:
		copied := make(map[string]any, len(v))
		for name := range v {
			copied[name] = boundNumbers(v[name])
		}
		return copied
	}
	return v
}

// pointer is a JSON pointer; the whole is "/". A name that the schema does not have
// is "*".
func (s *AnswerSchema) pointer(tokens []string) string {
	var b strings.Builder
	for _, token := range tokens {
		if !s.names[token] && !itemNumber.MatchString(token) {
			token = "*"
		}
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(token))
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}

// rule says what a schema asks for at the place of a complaint.
func rule(v *jsonschema.ValidationError) string {
	switch k := v.ErrorKind.(type) {
	case *kind.Type:
		return wrongType(k, nil)
	case *kind.Required:
		return "needs " + quoted(k.Missing)
	case *kind.Dependency:
		return fmt.Sprintf("with %q needs %s", k.Prop, quoted(k.Missing))
	case *kind.DependentRequired:
		return fmt.Sprintf("with %q needs %s", k.Prop, quoted(k.Missing))
	case *kind.AdditionalProperties:
		return "must not have members that the schema does not name"
	case *kind.Enum:
		return "must be one of " + values(k.Want)
	case *kind.Const:
		return "must be " + values([]any{k.Want})
	case *kind.AnyOf:
		return "must be of one of the forms that the schema allows"
	case *kind.OneOf:
		return "must be of exactly one of the forms that the schema allows"
	case *kind.Format:
		return "must be of the form " + k.Want
	case *kind.Pattern:
		return "must match the pattern " + k.Want
	}
	return ruleOfSize(v)
}

func ruleOfSize(v *jsonschema.ValidationError) string {
	switch k := v.ErrorKind.(type) {
	case *kind.MinItems:
		return fmt.Sprintf("must have at least %d items, not %d", k.Want, k.Got)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d items, not %d", k.Want, k.Got)
	case *kind.UniqueItems:
		return fmt.Sprintf("must not have the same item twice, as items %d and %d are", k.Duplicates[0], k.Duplicates[1])
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %d characters, not %d", k.Want, k.Got)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters, not %d", k.Want, k.Got)
	case *kind.MinProperties:
		return fmt.Sprintf("must have at least %d members, not %d", k.Want, k.Got)
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %d members, not %d", k.Want, k.Got)
	case *kind.Minimum:
		return "must be at least " + decimal(k.Want)
	case *kind.Maximum:
		return "must be at most " + decimal(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be more than " + decimal(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + decimal(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + decimal(k.Want)
	}
	if path := v.ErrorKind.KeywordPath(); len(path) > 0 {
		return fmt.Sprintf("does not fit the schema's %q", strings.Join(path, "/"))
	}
	return "is not allowed by the schema"
}

func quoted(names []string) string {
	sorted := slices.Sorted(slices.Values(names))
	for i := range sorted {
		sorted[i] = fmt.Sprintf("%.60q", sorted[i])
	}
	return strings.Join(sorted, ", ")
}

// values are some of what a schema lists, as JSON.
func values(list []any) string {
	const most = 20
	texts := make([]string, 0, most)
	for _, v := range list[:min(len(list), most)] {
		text, _ := json.Marshal(v) // decoded from JSON
		texts = append(texts, string(text))
	}
	if len(list) > most {
		texts = append(texts, "…")
	}
	return strings.Join(texts, ", ")
}

// decimal writes a number of a schema.
func decimal(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}
