package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// checker looks for what is wrong with the meaning of a definition, and makes the
// plan meanwhile.
type checker struct {
	*source
	file  string
	d     *Definition
	plan  *Plan
	index map[string]int // of steps by name
}

func (c *checker) check() *Plan {
	c.plan = &Plan{Output: -1}
	c.nameSteps()
	for i := range c.d.Steps {
		c.checkKind(i)
	}
	c.d.fillDefaults()
	for i := range c.d.Steps {
		c.plan.Steps = append(c.plan.Steps, &PlanStep{Step: c.d.Steps[i], Index: i})
	}
	c.connect()
	for _, step := range c.plan.Steps {
		c.compile(step)
	}
	c.plan.Definition = *c.d
	c.plan.Digest = c.d.digest()
	c.plan.places = c.places()
	c.plan.file = c.file
	return c.plan
}

// at makes the path of something in the definition.
func at(tokens ...any) []string {
	path := make([]string, 0, len(tokens))
	for _, token := range tokens {
		path = append(path, fmt.Sprint(token))
	}
	return path
}

// complain tells of a fault, unless its place has one already.
func (c *checker) complain(tokens []string, format string, args ...any) {
	if c.found.full() {
		return
	}
	path, _, node := c.place(tokens)
	if !c.found.isBroken(path) {
		c.fault(node, path, format, args...)
	}
}

// step is a step's mapping in the source.
func (c *checker) step(i int) *yaml.Node {
	_, _, node := c.place(at("steps", i))
	return node
}

// says tells whether the source has a field of a step.
func (c *checker) says(i int, field string) bool {
	_, value := member(c.step(i), field)
	return value != nil
}

// notNames are words that an expression does not take for a name.
var notNames = []string{"true", "false", "null", "in"}

func (c *checker) nameSteps() {
	c.index = make(map[string]int, len(c.d.Steps))
	for i, step := range c.d.Steps {
		first, taken := c.index[step.Name]
		switch {
		case step.Name == "": // told already
		case slices.Contains(notNames, step.Name):
			c.complain(at("steps", i, "name"), "%q means something else in expressions", step.Name)
		case taken:
			c.complain(at("steps", i, "name"), "steps[%d] is called %q already", first, step.Name)
		default:
			c.index[step.Name] = i
		}
	}
}

// modelFields belong to steps that ask a model.
var modelFields = []string{"system_prompt", "temperature", "max_tokens", "fallbacks", "prompt", "format", "schema"}

// checkKind sees to it that a step does one thing, and has what belongs to it.
func (c *checker) checkKind(i int) {
	step := &c.d.Steps[i]
	asked := step.Provider != "" || step.Model != ""
	var kinds []string
	for _, k := range []struct {
		name string
		is   bool
	}{
		{"specialist", step.Specialist != ""},
		{"provider and model", asked},
		{"http", step.HTTP != nil},
		{"transform", step.Transform != ""},
	} {
		if k.is {
			kinds = append(kinds, k.name)
		}
	}
	switch {
	case len(kinds) == 0 && c.kindIsBroken(i):
		return
	case len(kinds) == 0:
		c.complain(at("steps", i), "the step does nothing: it needs a specialist, a provider and model, http, or transform")
		return
	case len(kinds) > 1:
		c.complain(at("steps", i), "the step has %s; it can have only one of them", strings.Join(kinds, " and "))
		return
	case asked && step.Model == "":
		c.complain(at("steps", i, "model"), "this is missing: a provider is asked for a model")
	case asked && step.Provider == "":
		c.complain(at("steps", i, "provider"), "this is missing: a model is one of a provider")
	}
	if kind := step.Kind(); kind != KindModel {
		for _, field := range modelFields {
			if c.says(i, field) {
				c.complain(at("steps", i, field), "this is for steps that ask a model; this step has %s", kind)
			}
		}
		return
	}
	if step.Specialist != "" && c.says(i, "system_prompt") {
		c.complain(at("steps", i, "system_prompt"), "this is for a provider and model; a specialist has its own")
	}
	if len(step.Schema) > 0 && step.Format != FormatJSON {
		c.complain(at("steps", i, "schema"), `this needs "format: json"`)
	}
}

// kindIsBroken tells whether what a step does is said, but wrongly.
func (c *checker) kindIsBroken(i int) bool {
	return slices.ContainsFunc([]string{"", "specialist", "provider", "model", "http", "transform"}, func(field string) bool {
		return c.found.isBroken(strings.TrimSuffix(fmt.Sprintf("steps[%d].%s", i, field), "."))
	})
}

// checkDurations looks at time spans before they are read, and takes out those
// that are no good.
func (s *source) checkDurations(value any) {
	limits := child(value, "limits")
	s.checkDuration(limits, "limits", "time", maxTime)
	steps, _ := child(value, "steps").([]any)
	for i, step := range steps {
		s.checkDuration(step, fmt.Sprintf("steps[%d]", i), "timeout", maxTimeout)
		s.checkDuration(step, fmt.Sprintf("steps[%d]", i), "backoff", maxTimeout)
	}
}

func (s *source) checkDuration(object any, path, field string, most time.Duration) {
	text, ok := child(object, field).(string)
	if !ok {
		return
	}
	path = join(path, field)
	d, err := time.ParseDuration(text)
	if err == nil && d > 0 && d <= most {
		return
	}
	if !s.found.full() && !s.found.isBroken(path) {
		_, _, node := s.place(strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }))
		s.fault(node, path, "must be more than nothing and at most %s", short(most))
		s.found.broken = append(s.found.broken, path)
	}
	delete(object.(map[string]any), field) // it has the field
}

// short writes a time span as people do: "24h", not "24h0m0s".
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
