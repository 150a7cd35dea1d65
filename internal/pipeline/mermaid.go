package pipeline

import (
	"fmt"
	"strings"
	"unicode"
)

// maxLabel is how many characters of one thing a drawing shows.
const maxLabel = 60

// Mermaid draws the plan's graph, with all that its makers want to see.
func (p *Plan) Mermaid() string { return p.draw((*PlanStep).labels) }

// Outline draws the graph for whoever runs it: the steps, as lists show them,
// without the conditions and hosts of the definition.
func (p *Plan) Outline() string { return p.draw((*PlanStep).name) }

func (p *Plan) draw(labels func(*PlanStep) []string) string {
	var b strings.Builder
	b.WriteString("flowchart TD\n    query([query])\n")
	for i, step := range p.Steps {
		fmt.Fprintf(&b, "    s%d%s\n", i, step.shape(labels(step)))
	}
	for i, step := range p.Steps {
		if len(step.Needs) == 0 {
			fmt.Fprintf(&b, "    query --> s%d\n", i)
		}
		for _, needed := range step.Needs {
			fmt.Fprintf(&b, "    s%d --> s%d\n", needed, i)
		}
	}
	fmt.Fprintf(&b, "    s%d --> output([output])\n", p.Output)
	for i, step := range p.Steps {
		if step.StopIf != "" && i != p.Output {
			fmt.Fprintf(&b, "    s%d -. stop .-> output\n", i)
		}
	}
	b.WriteString("    classDef output stroke-width:3px\n")
	fmt.Fprintf(&b, "    class s%d output\n", p.Output)
	return b.String()
}

// shape is a step's box: rounded for a request, six-sided for a transform, and
// with double sides where it is done for each item of a list.
func (s *PlanStep) shape(labels []string) string {
	left, right := "[", "]"
	switch {
	case s.Map != nil:
		left, right = "[[", "]]"
	case s.Kind() == KindHTTP:
		left, right = "(", ")"
	case s.Kind() == KindTransform:
		left, right = "{{", "}}"
	}
	return left + `"` + strings.Join(labels, "<br/>") + `"` + right
}

func (s *PlanStep) name() []string { return []string{"<b>" + label(s.Name) + "</b>"} }

// labels are the lines in a step's box.
func (s *PlanStep) labels() []string {
	lines := s.name()
	switch {
	case s.Specialist != "":
		lines = append(lines, "specialist "+label(s.Specialist))
	case s.Kind() == KindModel:
		lines = append(lines, label(s.Provider+"/"+s.Model))
	case s.Kind() == KindHTTP:
		lines = append(lines, label(s.HTTP.Method+" "+s.HTTPRequest.Host))
	default:
		lines = append(lines, "transform")
	}
	if s.Format == FormatJSON {
		lines[1] += ", JSON"
	}
	if s.Map != nil {
		lines = append(lines, "for each of "+label(s.Map.Over))
	}
	if s.SkipIf != "" {
		lines = append(lines, "skipped if "+label(s.SkipIf))
	}
	if s.StopIf != "" {
		lines = append(lines, "stops if "+label(s.StopIf))
	}
	if s.OnFailure != Fail {
		lines = append(lines, "if it fails: "+label(string(s.OnFailure)))
	}
	return lines
}

// label writes a text of the definition so that Mermaid shows it as it is: all
// that could mean something, to it or in HTML, by its number.
func label(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > maxLabel {
		text = string(runes[:maxLabel-1]) + "…"
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == ' ' || r == '_' || r == '-' || r == '.' || r == '/' || r == ',' || r == '…' || unicode.IsLetter(r) || unicode.IsDigit(r):
			b.WriteRune(r)
		case unicode.IsPrint(r):
			fmt.Fprintf(&b, "#%d;", r)
		}
	}
	return b.String()
}
