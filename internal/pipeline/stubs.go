package pipeline

import "encoding/json"

// AnswerSchema is a JSON Schema that answers must fit.
type AnswerSchema struct{}

// Validate says in a sentence what does not fit; "" for an answer that does.
func (*AnswerSchema) Validate(_ any) string { panic("to be written") }

// Error implements error.
func (f *Faults) Error() string { panic("to be written") }

// Parse reads a definition in YAML or JSON; name is the file's, for faults. It
// checks all that can be seen in the definition alone, and gives a plan or *Faults.
func Parse(name string, text []byte) (*Plan, error) { panic("to be written") }

// Check says what a plan refers to that is not there; nil: nothing. Faults have
// lines where the plan came from [Parse].
func (p *Plan) Check(k Known) *Faults { panic("to be written") }

// Schema is the JSON Schema of definitions.
func Schema() json.RawMessage { panic("to be written") }

// Mermaid draws the plan's graph.
func (p *Plan) Mermaid() string { panic("to be written") }
