package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Authored gives a definition as its author wrote it, but in JSON: members stand
// in their order, no default is put in, what aliases stand for is. The text must be
// one that [Parse] takes. What is longer in JSON than [MaxText] is no good.
func Authored(text []byte) (json.RawMessage, error) {
	found := &collector{}
	s := readSource(text, found)
	if faults := found.faults("definition"); faults != nil {
		return nil, faults
	}
	var written bytes.Buffer
	if err := s.write(&written, s.root); err != nil {
		return nil, err
	}
	return written.Bytes(), nil
}

// write appends a plain node as JSON.
func (s *source) write(w *bytes.Buffer, n *yaml.Node) error {
	if w.Len() > MaxText {
		return &Faults{File: "definition", List: []Fault{{
			Line: n.Line, Column: n.Column, Message: fmt.Sprintf("the definition has more than %d bytes in JSON", MaxText),
		}}}
	}
	switch n.Kind {
	case yaml.MappingNode:
		w.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				w.WriteByte(',')
			}
			if err := writeJSON(w, n.Content[i].Value); err != nil {
				return err
			}
			w.WriteByte(':')
			if err := s.write(w, n.Content[i+1]); err != nil {
				return err
			}
		}
		w.WriteByte('}')
		return nil
	case yaml.SequenceNode:
		w.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				w.WriteByte(',')
			}
			if err := s.write(w, item); err != nil {
				return err
			}
		}
		w.WriteByte(']')
		return nil
	default:
		return writeJSON(w, s.scalar(n, ""))
	}
}

// writeJSON appends a text, a number, a truth or null. It leaves <, > and & as they
// are, which expressions are full of.
func writeJSON(w *bytes.Buffer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("encode definition: %w", err)
	}
	w.Truncate(w.Len() - 1) // its newline
	return nil
}
