package openairesponses

import (
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// tools reads what the model may call, and what it must.
func (d *request) tools(top *object) {
	top.objects("tools", func(i int, o *object, value []byte) {
		if d.err == nil {
			tool := readTool(o, value)
			tool.Index = int32(i)
			d.r.Tools = append(d.r.Tools, tool)
		}
	})
	if value := top.get("tools"); value != nil && len(d.r.Tools) == 0 {
		d.wire = append(d.wire, "tools")
	}
	d.r.ParallelTools = top.flag("parallel_tool_calls")
	d.choice(top)
}

func readTool(o *object, value []byte) llm.Tool {
	switch typ := o.required("type"); typ {
	case "function":
		return llm.Tool{
			Name: o.required("name"), Description: o.text("description"),
			Schema: o.json("parameters"), Strict: o.flag("strict"),
			Extra: own(o.rest()),
		}
	case "custom":
		return llm.Tool{
			Name: o.required("name"), Description: o.text("description"), Custom: true, Grammar: o.json("format"),
			Extra: own(o.rest()),
		}
	default: // the provider's own
		name := ""
		if raw := o.get("name"); len(raw) > 0 && raw[0] == '"' {
			name = wire.Unquote(raw)
		}
		return llm.Tool{
			Name:   name,
			Native: new(o.reader.native(o.place, typ, value)),
		}
	}
}

// choice reads which tools may or must be called. A choice that is not written
// again as it came is kept in Wire as well.
func (d *request) choice(top *object) {
	value := top.get("tool_choice")
	if value == nil {
		return
	}
	if value[0] == '"' {
		mode := llm.ToolMode(wire.Unquote(value))
		switch mode {
		case llm.ToolAuto, llm.ToolNone, llm.ToolRequired:
			d.r.ToolChoice = &llm.ToolChoice{Mode: mode}
		default:
			d.fail("tool_choice", "must be auto, none, required or an object")
		}
		return
	}
	o, ok := top.nested("tool_choice")
	if !ok || d.err != nil {
		return
	}
	switch typ := o.required("type"); typ {
	case "function", "custom":
		d.r.ToolChoice = &llm.ToolChoice{Mode: llm.ToolRequired, Names: []string{o.required("name")}}
	case "allowed_tools":
		d.r.ToolChoice = readAllowed(&o, value)
		if d.r.ToolChoice.Native == nil {
			d.wire = append(d.wire, "tool_choice")
		}
	default:
		d.r.ToolChoice = d.nativeChoice(typ, value)
	}
}

// readAllowed reads a choice among some of the tools. One that names tools of
// the provider's is this format's alone.
func readAllowed(o *object, value []byte) *llm.ToolChoice {
	choice := &llm.ToolChoice{Mode: llm.ToolMode(o.required("mode"))}
	if choice.Mode != llm.ToolAuto && choice.Mode != llm.ToolRequired {
		o.wrong("mode", "must be auto or required")
	}
	native := false
	o.objects("tools", func(_ int, tool *object, _ []byte) {
		switch tool.required("type") {
		case "function", "custom":
			choice.Names = append(choice.Names, tool.required("name"))
		default:
			native = true
		}
	})
	if native || len(choice.Names) == 0 {
		return o.reader.nativeChoice("allowed_tools", value)
	}
	return choice
}

func (r *reader) nativeChoice(typ string, value []byte) *llm.ToolChoice {
	return &llm.ToolChoice{Native: new(r.native(place{list: "tool_choice", index: -1}, typ, value))}
}
