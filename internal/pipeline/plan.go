package pipeline

import (
	"github.com/financecommander/tollgate/internal/pipeline/expr"
)

// Plan is a definition that was checked and made ready to run. It is shared by
// all runs of the pipeline: read it, never change it.
type Plan struct {
	// Definition has all defaults filled in.
	Definition Definition
	// Steps in the order of the definition.
	Steps []*PlanStep
	// Output is the index of the step whose output is the run's.
	Output int
	// Digest is the SHA-256 of the definition's JSON, in hex.
	Digest string

	file   string              // where it came from
	places map[string]position // of what can be missing, by path
}

// PlanStep is a step that is ready to run.
type PlanStep struct {
	Step
	Index  int
	Needs  []int // the steps it depends on
	Wanted []int // the steps that depend on it

	// What follows is nil where the step has none.
	PromptTemplate *expr.Template   // of model steps, also the default one
	HTTPRequest    *HTTPTemplate    // of http steps
	TransformExpr  *expr.Expression // of transform steps
	MapOver        *expr.Expression
	SkipCondition  *expr.Expression
	StopCondition  *expr.Expression
	AnswerSchema   *AnswerSchema // of model steps with JSON output
}

// HTTPTemplate is an [HTTP] whose templates are parsed.
type HTTPTemplate struct {
	Method  string
	Host    string // as the URL says before any template: the one that is asked
	URL     *expr.Template
	Query   map[string]*expr.Template
	Headers map[string]*expr.Template
	Body    *expr.Template   // nil: none
	Pick    *expr.Expression // nil: the body
}

// Kind is what a step does.
type Kind string

// The kinds of steps.
const (
	KindModel     Kind = "model"
	KindHTTP      Kind = "http"
	KindTransform Kind = "transform"
)

// Kind tells what the step does.
func (s *Step) Kind() Kind {
	switch {
	case s.HTTP != nil:
		return KindHTTP
	case s.Transform != "":
		return KindTransform
	}
	return KindModel
}

// Known answers what a definition may refer to. The zero value of a field means
// that it is not checked.
type Known struct {
	// Specialist tells whether there is a specialist of this id or alias.
	Specialist func(name string) bool
	// Provider tells whether a provider of this name is configured. A step none of
	// whose targets is has a fault.
	Provider func(name string) bool
	// Host tells whether http steps may ask a host.
	Host func(host string) bool
}

// Fault is one thing that is wrong with a definition.
type Fault struct {
	// Path is where, as in "steps[2].depends_on[0]".
	Path string `json:"path"`
	// Line and Column of the source, from 1; 0: not known.
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

// Faults are all that is wrong with a definition, in the source's order. As an
// error they are one to a line: "FILE:12:5: steps[2].depends_on[0]: there is no step …".
type Faults struct { //nolint:errname // the list, which is also an error
	File string // or the pipeline's name
	List []Fault
}
