package openaichat

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// openCall is a tool call that is under way.
type openCall struct {
	index   int64 // in the stream; -1: not said
	part    int   // -1: not begun, since its name is not known
	call    llm.ToolCall
	id      string // as sent
	waiting string // arguments that came before the name
	told    []byte // arguments so far, of a call without an id
	ended   bool
}

// callDelta is one element of tool_calls.
type callDelta struct {
	index     int64 // -1: not said
	id        string
	name      string
	arguments string
	custom    bool
	opaque    []byte // extra_content
	rest      wire.Rest
}

func readCall(raw []byte) callDelta {
	d := callDelta{index: -1}
	s := jsonedit.NewScanner(raw)
	for name := range s.Members {
		switch string(name) {
		case "index":
			if n, ok := s.Int(); ok && n >= 0 {
				d.index = n
			}
		case "id":
			d.id = string(s.Text(nil))
		case "type":
			d.custom = string(s.Skip()) == `"custom"` || d.custom
		case "function", "custom":
			d.custom = string(name) == "custom" || d.custom
			var rest wire.Rest
			d.readFunction(s.Skip(), &rest)
			d.rest.Nest(string(name), &rest)
		case "extra_content":
			d.opaque = s.Skip()
		default:
			if value := s.Skip(); string(value) != "null" {
				d.rest.Add(name, value)
			}
		}
	}
	return d
}

func (d *callDelta) readFunction(raw []byte, rest *wire.Rest) {
	s := jsonedit.NewScanner(raw)
	for name := range s.Members {
		switch string(name) {
		case "name":
			d.name = string(s.Text(nil))
		case "arguments", "input":
			value := s.Skip()
			if len(value) > 0 && value[0] == '{' { // an object where text should be
				d.arguments = string(value)
			} else {
				d.arguments = string(jsonedit.AppendText(nil, quotedOnly(value)))
			}
		default:
			if value := s.Skip(); string(value) != "null" {
				rest.Add(name, value)
			}
		}
	}
}

func (c *choice) toolCalls(raw []byte) {
	s := jsonedit.NewScanner(raw)
	for range s.Elements {
		c.toolCall(readCall(s.Skip()))
	}
}

func (c *choice) toolCall(d callDelta) {
	call := c.callOf(&d)
	if call == nil {
		call = &openCall{index: d.index, part: -1, id: d.id}
		call.call.Extra = d.rest.Extra(dialect.OpenAIChat)
		call.call.Custom = d.custom
		c.calls = append(c.calls, call)
	}
	c.advance(call, &d)
}

// callOf finds the call that a delta goes on with; nil: it begins one. Providers
// tell calls apart by index, or by id where they send one index for all, or not
// at all where they send calls whole.
func (c *choice) callOf(d *callDelta) *openCall {
	for _, call := range slices.Backward(c.calls) {
		if call.ended {
			continue
		}
		same := d.id == "" || d.id == call.id
		switch {
		case d.index >= 0 && call.index == d.index:
			if same && !d.another(call) || call.id == "" && d.name == "" {
				return call
			}
			return nil
		case d.index < 0 && d.id != "" && d.id == call.id:
			return call
		case d.index < 0 && d.id == "" && d.name == "":
			return call
		}
	}
	return nil
}

// another says that a delta without an id begins a call of its own although its
// index is taken: it has a name, and the call before it is whole (Gemini's
// compatible endpoint).
func (d *callDelta) another(call *openCall) bool {
	return d.id == "" && call.id == "" && d.name != "" && jsontext.Value(call.told).IsValid()
}

// advance adds a delta to a call.
func (c *choice) advance(call *openCall, d *callDelta) {
	if call.id == "" {
		call.told = append(call.told, d.arguments...)
	}
	if call.part >= 0 {
		if d.arguments != "" {
			c.d.emit(llm.ArgumentsDelta{Part: call.part, JSON: d.arguments})
		}
		return
	}
	if call.id == "" {
		call.id = d.id
	}
	call.call.Name += d.name
	call.waiting += d.arguments
	if d.opaque != nil {
		call.call.Opaque = ownState(c.d.model, d.opaque)
	}
	if call.call.Name != "" {
		c.startCall(call)
	}
}

func (c *choice) startCall(call *openCall) {
	c.closeOpen()
	call.call.ID = call.id
	if call.id == "" {
		call.call.ID = c.d.callID(c.index, c.made)
	}
	c.made++
	call.part = c.begin(new(call.call))
	if call.waiting != "" {
		c.d.emit(llm.ArgumentsDelta{Part: call.part, JSON: call.waiting})
	}
}

func (c *choice) closeCalls() {
	for _, call := range c.calls {
		if call.ended {
			continue
		}
		if call.part < 0 {
			c.startCall(call)
		}
		call.ended = true
		c.d.emit(llm.PartEnd{Part: call.part})
	}
}

// legacyIndex is the index of the one function call of the days before tools.
const legacyIndex = -2

func (c *choice) functionCall(raw []byte) {
	var d callDelta
	var rest wire.Rest
	d.readFunction(raw, &rest)
	for _, call := range c.calls {
		if call.index == legacyIndex && !call.ended {
			c.advance(call, &d)
			return
		}
	}
	call := &openCall{index: legacyIndex, part: -1}
	call.call.Wire = legacyWire
	call.call.Extra = rest.Extra(dialect.OpenAIChat)
	c.calls = append(c.calls, call)
	c.advance(call, &d)
}
