package pipeline

import (
	"errors"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The bounds of a check. A schema that refers to one thing twice, on and on, or an
// answer that is nested as its writer likes, would else be gone through for ever:
// nothing stops a check that is under way.
const (
	// maxCheck is how much work it may be, in units of about a microsecond; a
	// complaint takes a few hundred bytes.
	maxCheck = 250_000
	// maxAnswerDepth is how deep an answer may be nested: each complaint has the path
	// to its place.
	maxAnswerDepth = 100
)

const tooMuchToCheck = "/ is too large, or nested too deep, to be checked"

// meter counts the work of the check that is under way.
type meter struct {
	mu   sync.Mutex // held by a check
	left int
}

var errTooMuchToCheck = errors.New("the check takes too much work")

// take takes from the work that may be done, and breaks the check off without any.
func (m *meter) take(n int) {
	if m.left -= n; m.left < 0 {
		panic(errTooMuchToCheck) // the library knows no other way out; see [meter.check]
	}
}

// check does a check; done is false for one that was broken off.
func (m *meter) check(s *jsonschema.Schema, answer any) (err error, done bool) { //nolint:revive // the error is what was found
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left = maxCheck
	defer func() {
		if p := recover(); p != nil {
			if p != errTooMuchToCheck { //nolint:errorlint // it is never wrapped
				panic(p)
			}
			done = false
		}
	}()
	return s.Validate(answer), true
}

// pattern is a regular expression whose work is counted.
type pattern struct {
	*regexp.Regexp
	m    *meter
	size int // of its program
}

// MatchString implements [jsonschema.Regexp].
func (p *pattern) MatchString(s string) bool {
	p.m.take(1 + len(s)*p.size/256)
	return p.Regexp.MatchString(s)
}

func (m *meter) pattern(text string) (jsonschema.Regexp, error) {
	compiled, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	p := &pattern{Regexp: compiled, m: m, size: len(text)}
	if parsed, err := syntax.Parse(text, syntax.Perl); err == nil {
		if program, err := syntax.Compile(parsed.Simplify()); err == nil {
			p.size = len(program.Inst)
		}
	}
	return p, nil
}

// watch lets each visit of a schema, or of one below it, be counted. What the
// library looks at first of all, once the type is right, is the format.
func (m *meter) watch(s *jsonschema.Schema, seen map[*jsonschema.Schema]bool) {
	if s == nil || seen[s] {
		return
	}
	seen[s] = true
	here, one, each := 1, 0, 0
	for _, c := range sameValue(s) {
		here += lookCost(c)
		m.watch(c, seen)
	}
	for _, c := range oneOfMany(s) {
		one = max(one, lookCost(c))
		m.watch(c, seen)
	}
	for _, c := range everyValue(s) {
		each += lookCost(c)
		m.watch(c, seen)
	}
	unique := s.UniqueItems
	s.Format = &jsonschema.Format{Validate: func(v any) error {
		m.take(here)
		switch v := v.(type) {
		case string:
			m.take(len(v) / 256)
		case map[string]any:
			m.take(len(v) * (1 + one + each))
		case []any:
			m.take(len(v) * (1 + one + each))
			if unique {
				m.take(uniqueCost(v))
			}
		}
		return nil
	}}
}

// lookCost is what a schema costs before its format is looked at.
func lookCost(s *jsonschema.Schema) int {
	if s == nil {
		return 0
	}
	cost := 1
	if s.Const != nil {
		cost += count(*s.Const)
	}
	if s.Enum != nil {
		for _, v := range s.Enum.Values {
			if _, ok := v.(string); !ok {
				cost += 8 * count(v) // numbers are compared exactly, which takes long
			}
		}
		cost += len(s.Enum.Values) / 8
	}
	return cost
}

// uniqueCost is what it costs to find an item twice: items with others in them can
// look alike at first sight, so that each is compared with each.
func uniqueCost(list []any) int {
	nested := 0
	for _, item := range list {
		switch item.(type) {
		case map[string]any, []any:
			nested++
		}
	}
	return count(list) + nested*nested/8
}

// sameValue are the schemas that apply to the same value.
func sameValue(s *jsonschema.Schema) []*jsonschema.Schema {
	list := slices.Concat([]*jsonschema.Schema{s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else}, s.AllOf, s.AnyOf, s.OneOf)
	for _, c := range s.DependentSchemas {
		list = append(list, c)
	}
	return list
}

// oneOfMany are those of which one at most applies to a member or item.
func oneOfMany(s *jsonschema.Schema) []*jsonschema.Schema {
	list := append([]*jsonschema.Schema{}, s.PrefixItems...)
	for _, c := range s.Properties {
		list = append(list, c)
	}
	return list
}

// everyValue are those that can all apply to a member or item.
func everyValue(s *jsonschema.Schema) []*jsonschema.Schema {
	list := []*jsonschema.Schema{s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.Items2020, s.UnevaluatedItems}
	if additional, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
		list = append(list, additional)
	}
	for _, c := range s.PatternProperties {
		list = append(list, c)
	}
	return list
}

// tooDeep tells whether an answer is nested too deep.
func tooDeep(v any, left int) bool {
	if left < 0 {
		return true
	}
	switch v := v.(type) {
	case map[string]any:
		for _, below := range v {
			if tooDeep(below, left-1) {
				return true
			}
		}
	case []any:
		for _, below := range v {
			if tooDeep(below, left-1) {
				return true
			}
		}
	}
	return false
}

// newMeter counts nothing yet: making a schema ready has bounds of its own.
func newMeter() *meter { return &meter{left: math.MaxInt} }
