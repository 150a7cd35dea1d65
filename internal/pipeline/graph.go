package pipeline

import (
	"net/http"
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/pipeline/expr"
)

// connect reads who depends on whom, and finds the step whose output is the run's.
func (c *checker) connect() {
	for i, step := range c.plan.Steps {
		for n, name := range step.DependsOn {
			c.need(i, n, name)
		}
	}
	if len(c.plan.Steps) == 0 {
		return
	}
	if !c.findCycles() {
		c.findOutput()
	}
}

func (c *checker) need(i, n int, name string) {
	step, path := c.plan.Steps[i], at("steps", i, "depends_on", n)
	needed, known := c.index[name]
	switch {
	case known && needed == i:
		c.complain(path, "the step depends on itself")
	case known && !slices.Contains(step.Needs, needed):
		step.Needs = append(step.Needs, needed)
		c.plan.Steps[needed].Wanted = append(c.plan.Steps[needed].Wanted, i)
	case !known && c.isNamed(name):
		c.complain(path, "there is no step %q%s", name, c.hint(name))
	}
}

// isNamed tells whether it can be said that a step is not there: there may be one
// whose name could not be read.
func (c *checker) isNamed(name string) bool {
	return name != "" && !slices.ContainsFunc(c.d.Steps, func(s Step) bool { return s.Name == "" })
}

func (c *checker) hint(name string) string {
	names := make([]string, 0, len(c.d.Steps))
	for _, step := range c.d.Steps {
		names = append(names, step.Name)
	}
	return expr.DidYouMean(name, names)
}

// findCycles tells of each circle of steps that wait for each other.
func (c *checker) findCycles() (any bool) {
	const (
		unseen = iota
		under  // on the way from where the search began
		done
	)
	state := make([]int, len(c.plan.Steps))
	var way []int
	var visit func(i int)
	visit = func(i int) {
		state[i] = under
		way = append(way, i)
		for _, needed := range c.plan.Steps[i].Needs {
			switch state[needed] {
			case unseen:
				visit(needed)
			case under:
				any = true
				c.tellCycle(way[slices.Index(way, needed):])
			}
		}
		way = way[:len(way)-1]
		state[i] = done
	}
	for i := range c.plan.Steps {
		if state[i] == unseen {
			visit(i)
		}
	}
	return any
}

// tellCycle tells of steps each of which needs the next, and the last the first.
func (c *checker) tellCycle(way []int) {
	names := make([]string, 0, len(way)+1)
	for _, i := range way {
		names = append(names, c.plan.Steps[i].Name)
	}
	last := way[len(way)-1]
	n := slices.Index(c.plan.Steps[last].DependsOn, names[0])
	c.complain(at("steps", last, "depends_on", n), "steps wait for each other in a circle: %s",
		strings.Join(append(names, names[0]), " → "))
}

// findOutput settles which step's output is the run's, and tells of steps whose
// work would be for nothing.
func (c *checker) findOutput() {
	output, known := c.index[c.d.Output]
	if !known && c.d.Output != "" {
		if c.isNamed(c.d.Output) {
			c.complain(at("output"), "there is no step %q%s", c.d.Output, c.hint(c.d.Output))
		}
		return
	}
	if c.d.Output == "" {
		if output = c.onlySink(); output < 0 {
			return
		}
		c.d.Output = c.plan.Steps[output].Name
	}
	c.plan.Output = output
	used := make([]bool, len(c.plan.Steps))
	c.markUsed(used, output)
	for i, step := range c.plan.Steps {
		if step.StopIf != "" || step.changesSomething() { // its output can be the run's, or it is not done for its output
			c.markUsed(used, i)
		}
	}
	for i, step := range c.plan.Steps {
		if !used[i] && step.Name != "" && !c.dependentsAreBroken() {
			c.complain(at("steps", i, "name"), "nothing that leads to the output, %q, uses this step", c.d.Output)
		}
	}
}

// changesSomething tells whether a step is done for what it does elsewhere, such
// as a message that it posts.
func (s *Step) changesSomething() bool { return s.HTTP != nil && s.HTTP.Method != http.MethodGet }

func (c *checker) markUsed(used []bool, i int) {
	if used[i] {
		return
	}
	used[i] = true
	for _, needed := range c.plan.Steps[i].Needs {
		c.markUsed(used, needed)
	}
}

// dependentsAreBroken tells whether some dependency could not be read, so that
// what looks unused may be used.
func (c *checker) dependentsAreBroken() bool {
	return slices.ContainsFunc(c.found.list, func(f Fault) bool {
		return f.Path == "" || f.Path == "steps" || strings.HasPrefix(f.Path, "steps[") &&
			(strings.HasSuffix(f.Path, "]") || strings.HasSuffix(f.Path, ".depends_on") || strings.HasSuffix(f.Path, ".name") && f.Message == missing)
	})
}

// onlySink is the one step that no other depends on; -1 where there are several,
// having said so.
func (c *checker) onlySink() int {
	var sinks []string
	sink := -1
	for i, step := range c.plan.Steps {
		if len(step.Wanted) == 0 {
			sinks = append(sinks, step.Name)
			sink = i
		}
	}
	if len(sinks) == 1 {
		return sink
	}
	if !c.dependentsAreBroken() {
		c.complain(nil, "no step depends on %s: say with \"output\" which one's output is the run's, "+
			"and let it depend on the others", strings.Join(sinks, ", "))
	}
	return -1
}
