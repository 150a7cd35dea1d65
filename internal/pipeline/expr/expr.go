// Package expr is the two small languages of pipelines: templates for texts (Go's
// text/template with a closed set of functions) and expressions for conditions,
// lists and values (CEL). Both see the same [Scope] and nothing else, can neither
// reach the machine nor run for ever, and never take an output for a program.
package expr

import "strings"

// Scope is what a step's templates and expressions see: `query`, `steps.NAME`
// (output, json, skipped, failed), with a map step `item` and `index`, and with
// http steps `response`. In templates the names have a dot in front.
type Scope struct {
	Query string
	// Steps are those that the step depends on, by name, and for a stop condition
	// the step itself.
	Steps map[string]Output
	Item  any // of a map step: decoded JSON
	Index int
	// Response is what an http step's pick sees; nil: nothing.
	Response map[string]any
}

// Output is what became of a step.
type Output struct {
	Text    string // its output, whole
	JSON    any    // the same decoded, where it is JSON; else nil
	Skipped bool
	Failed  bool
}

// Names are what a template or expression may refer to.
type Names struct {
	Steps    []string
	Item     bool
	Response bool
}

// Type is what an expression must give.
type Type string

// The types.
const (
	Bool  Type = "bool"
	List  Type = "list"
	Value Type = "value" // anything that JSON can say
)

// Error is what is wrong with a template or expression, or with what came out of
// it. It never holds values.
type Error struct {
	Line, Column int // in the text, from 1; 0: not known
	Message      string
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Errors are several things that are wrong with the names in a text.
type Errors []*Error

// Error implements error.
func (e Errors) Error() string {
	messages := make([]string, 0, len(e))
	for _, one := range e {
		messages = append(messages, one.Message)
	}
	return strings.Join(messages, "; ")
}

// maxErrors is how many are looked for in one text.
const maxErrors = 20

// err is what there is to return; nil if there is none.
func (e Errors) err() error {
	switch len(e) {
	case 0:
		return nil
	case 1:
		return e[0]
	}
	return e
}
