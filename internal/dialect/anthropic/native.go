package anthropic

import (
	"bytes"
	"maps"
	"slices"

	"github.com/financecommander/tollgate/internal/jsonedit"
)

// addNative adds a delta to a block that only this format has: its input, a text
// piece by piece, or whole members.
func (b *block) addNative(e delta) {
	if e.kind == inputDelta {
		b.arguments = jsonedit.AppendText(b.arguments, e.text)
		return
	}
	if b.additions == nil {
		b.additions = map[string][]byte{}
	}
	if e.raw == nil { // an ordinary delta: what is known of it is its text
		name := "text"
		if e.kind == thinkingDelta {
			name = "thinking"
		}
		b.addMember(name, e.text)
		return
	}
	s := jsonedit.NewScanner(e.raw)
	for name := range s.Members {
		switch string(name) {
		case "type":
		case "text", "thinking", "signature":
			b.addMember(string(name), s.Skip())
		default:
			b.additions[string(name)] = bytes.Clone(s.Skip())
		}
	}
}

func (b *block) addMember(name string, quoted []byte) {
	text := jsonedit.AppendText(nil, b.additions[name])
	b.additions[name] = jsonedit.AppendQuote(nil, jsonedit.AppendText(text, quoted))
}

// whole is a nativeBlock with all that was added.
func (b *block) whole() []byte {
	o, err := jsonedit.ReadObject(b.native)
	if err != nil {
		return nil
	}
	e := o.Edit()
	if input := b.arguments; len(input) > 0 {
		if value := jsonedit.NewScanner(input); value.Skip() == nil || value.End() != nil {
			input = jsonedit.AppendQuote(nil, input) // broken JSON, as the model wrote it
		}
		e.Set("input", string(input))
	}
	for _, name := range slices.Sorted(maps.Keys(b.additions)) {
		if name != "input" || len(b.arguments) == 0 {
			e.Set(name, string(b.additions[name]))
		}
	}
	return e.Bytes()
}
