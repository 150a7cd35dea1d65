package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// position is a place in the source.
type position struct{ line, column int }

// places are where the things stand that a definition refers to, by path.
func (c *checker) places() map[string]position {
	places := map[string]position{}
	for i := range c.d.Steps {
		for _, tokens := range [][]string{
			at("steps", i, "specialist"), at("steps", i, "provider"), at("steps", i, "http", "url"),
		} {
			if path, _, node := c.place(tokens); node != nil {
				places[path] = position{node.Line, node.Column}
			}
		}
	}
	return places
}

// Check says what a plan refers to that is not there; nil: nothing. Faults have
// lines where the plan came from [Parse].
func (p *Plan) Check(k Known) *Faults {
	f := &Faults{File: p.file}
	for i, step := range p.Steps {
		field, message := step.dangling(k)
		if message == "" {
			continue
		}
		path := fmt.Sprintf("steps[%d].%s", i, field)
		place := p.places[path]
		f.List = append(f.List, Fault{Path: path, Line: place.line, Column: place.column, Message: message})
	}
	if len(f.List) == 0 {
		return nil
	}
	return f
}

// dangling says which field of a step refers to something that is not there, and
// to what; "" where all is there.
func (s *PlanStep) dangling(k Known) (field, message string) {
	switch {
	case s.HTTPRequest != nil && k.Host != nil && !k.Host(s.HTTPRequest.Host):
		return "http.url", fmt.Sprintf("the host %q is not one that pipelines may ask here (`http_host`)", s.HTTPRequest.Host)
	case s.Specialist != "" && k.Specialist != nil && !k.Specialist(s.Specialist):
		return "specialist", fmt.Sprintf("there is no specialist %q", s.Specialist)
	case s.Provider != "" && k.Provider != nil:
		providers := []string{s.Provider}
		for _, target := range s.Fallbacks {
			if !slices.Contains(providers, target.Provider) {
				providers = append(providers, target.Provider)
			}
		}
		if !slices.ContainsFunc(providers, k.Provider) {
			return "provider", fmt.Sprintf("none of the step's providers is configured here: %s", strings.Join(providers, ", "))
		}
	}
	return "", ""
}
