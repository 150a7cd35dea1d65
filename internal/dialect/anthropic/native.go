package anthropic

import (
	"bytes"
	"maps"
	"slices"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
)

// addNative adds a delta to a block that only this format has: its input, a text
// piece by piece, or whole members.
func (b *block) addNative(e delta) {
	if e.kind == inputDelta {
		b.arguments = jsonedit.AppendText(b.arguments, e.text)
		return
	}
	if e.raw == nil { // an ordinary delta: what is known of it is its text
		name := "text"
		if e.kind == thinkingDelta {
			name = "thinking"
		}
		b.addText(name, e.text)
		return
	}
	s := jsonedit.NewScanner(e.raw)
	for name := range s.Members {
		switch string(name) {
		case "type":
		case "text", "thinking", "signature":
			b.addText(string(name), s.Skip())
		default:
			if b.members == nil {
				b.members = map[string][]byte{}
			}
			b.members[string(name)] = bytes.Clone(s.Skip())
		}
	}
}

func (b *block) addText(name string, quoted []byte) {
	if b.texts == nil {
		b.texts = map[string][]byte{}
	}
	if _, begun := b.texts[name]; !begun {
		b.texts[name] = jsonedit.AppendText(nil, text(wire.Member(b.native, name)))
	}
	b.texts[name] = jsonedit.AppendText(b.texts[name], text(quoted))
}

// text is a JSON value if it is a string, else nil.
func text(value []byte) []byte {
	if len(value) == 0 || value[0] != '"' {
		return nil
	}
	return value
}

// whole is a nativeBlock with all that was added.
func (b *block) whole() []byte {
	o, err := jsonedit.ReadObject(b.native)
	if err != nil {
		return nil
	}
	e := o.Edit()
	if len(b.arguments) > 0 {
		input := b.arguments
		if value := jsonedit.NewScanner(input); value.Skip() == nil || value.End() != nil {
			input = jsonedit.AppendQuote(nil, input) // broken JSON, as the model wrote it
		}
		e.Set("input", string(input))
	}
	for _, name := range slices.Sorted(maps.Keys(b.texts)) {
		e.SetText(name, string(b.texts[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(b.members)) {
		if b.texts[name] == nil && (name != "input" || len(b.arguments) == 0) {
			e.Set(name, string(b.members[name]))
		}
	}
	return e.Bytes()
}
