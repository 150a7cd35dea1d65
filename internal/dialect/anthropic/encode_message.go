package anthropic

import (
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// turn is one message to be sent, made of one or more of the client's.
type turn struct {
	role  string
	parts []llm.Part
	extra llm.Extra
}

// maxMarks is how many cache breakpoints the API takes.
const maxMarks = 4

// sort sorts the client's messages into the system prompt and turns, and counts
// the cache breakpoints that are too many.
func (w *writer) sort() error {
	for i := range w.r.Messages {
		m := &w.r.Messages[i]
		if err := w.partExtra(m.Extra, m.Pos); err != nil {
			return err
		}
		switch m.Role {
		case llm.RoleSystem, llm.RoleDeveloper:
			if m.Wire.In(Format) == nil {
				w.system = append(w.system, m.Parts...)
			} else {
				w.turns = append(w.turns, turn{role: "system", parts: m.Parts, extra: m.Extra})
			}
		case llm.RoleAssistant:
			w.addTurn("assistant", m)
		case llm.RoleUser, llm.RoleTool:
			w.addTurn("user", m)
		}
	}
	if w.native {
		return nil
	}
	for i := range w.turns {
		w.turns[i].parts = resultsFirst(w.turns[i].parts)
	}
	w.trimPrefill()
	if w.marks = max(w.countMarks()-maxMarks, 0); w.marks > 0 {
		w.o.Unsaid.Leave(dialect.FieldCache)
	}
	if len(w.turns) == 0 {
		return w.o.Unsaid.Path("messages", "it needs a message beside the instructions")
	}
	return nil
}

// addTurn adds a message: to the turn before if that is the same speaker's,
// since turns alternate. Parts that would be empty are left out, as the API
// refuses them.
func (w *writer) addTurn(role string, m *llm.Message) {
	if w.native {
		w.turns = append(w.turns, turn{role: role, parts: m.Parts, extra: m.Extra})
		return
	}
	if m.Name != "" && m.Role != llm.RoleTool {
		w.leave(m.Pos, "name")
	}
	parts := make([]llm.Part, 0, len(m.Parts))
	for _, p := range m.Parts {
		if !empty(p) {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return
	}
	if last := len(w.turns) - 1; last >= 0 && w.turns[last].role == role {
		w.turns[last].parts = append(w.turns[last].parts, parts...)
		return
	}
	w.turns = append(w.turns, turn{role: role, parts: parts})
}

// leave notes a hint of a part or message that has no place.
func (w *writer) leave(pos llm.Pos, member string) {
	w.o.Unsaid.Leave(dialect.Field(w.o.Unsaid.At(pos) + "." + member))
}

// empty says that a part says nothing to the API: a text of white space, or
// thinking that cannot be proved.
func empty(p llm.Part) bool {
	switch p := p.(type) {
	case *llm.Text:
		return strings.TrimSpace(p.Text) == ""
	case *llm.Refusal:
		return strings.TrimSpace(p.Text) == ""
	case *llm.Thinking:
		return !replayable(p)
	}
	return false
}

// resultsFirst puts tool results before the other parts, where the API wants
// them.
func resultsFirst(parts []llm.Part) []llm.Part {
	var results, others []llm.Part
	for _, p := range parts {
		if _, ok := p.(*llm.ToolResult); ok {
			results = append(results, p)
		} else {
			others = append(others, p)
		}
	}
	if len(results) == 0 {
		return parts
	}
	return append(results, others...)
}

// trimPrefill takes the white space from the end of an answer's beginning, which
// the API refuses.
func (w *writer) trimPrefill() {
	if len(w.turns) == 0 || w.turns[len(w.turns)-1].role != "assistant" {
		return
	}
	parts := w.turns[len(w.turns)-1].parts
	if text, ok := parts[len(parts)-1].(*llm.Text); ok {
		trimmed := *text
		trimmed.Text = strings.TrimRight(text.Text, " \t\r\n")
		parts[len(parts)-1] = &trimmed
	}
}

func (w *writer) countMarks() (n int) {
	count := func(parts []llm.Part) {
		for _, p := range parts {
			if p.Base().Cache != nil {
				n++
			}
		}
	}
	for i := range w.r.Tools {
		if w.r.Tools[i].Cache != nil {
			n++
		}
	}
	count(w.system)
	for i := range w.turns {
		count(w.turns[i].parts)
	}
	return n
}

// cache writes a cache breakpoint. Of too many the first are left out: those
// after them keep what came before as well.
func (w *writer) cache(mark *llm.CacheMark) {
	if mark == nil {
		return
	}
	if w.marks > 0 {
		w.marks--
		return
	}
	w.Name("cache_control").Object().Name("type").Text("ephemeral")
	if w.native || mark.TTL == "5m" || mark.TTL == "1h" {
		w.TextMember("ttl", mark.TTL)
	}
	w.End()
}

func (w *writer) writeSystem() error {
	if !w.native {
		w.system = append([]llm.Part(nil), w.system...)
		n := 0
		for _, p := range w.system {
			if !empty(p) {
				w.system[n] = p
				n++
			}
		}
		w.system = w.system[:n]
	}
	if len(w.system) == 0 {
		return nil
	}
	w.Name("system")
	w.role = "system"
	return w.content(w.system)
}

func (w *writer) writeTurns() error {
	w.Name("messages").Array()
	for i := range w.turns {
		t := &w.turns[i]
		w.role = t.role
		w.Object().Name("role").Text(t.role)
		w.Name("content")
		if err := w.content(t.parts); err != nil {
			return err
		}
		w.Members(t.extra.In(Format))
		w.End()
	}
	w.EndArray()
	return nil
}

// content writes parts: as a string where they are a text and nothing else.
func (w *writer) content(parts []llm.Part) error {
	if len(parts) == 1 {
		if t, ok := parts[0].(*llm.Text); ok && t.Cache == nil && len(t.Citations) == 0 && len(t.Extra.JSON) == 0 {
			w.Text(t.Text)
			return nil
		}
	}
	w.Array()
	for _, p := range parts {
		if err := w.partExtra(p.Base().Extra, p.Base().Pos); err != nil {
			return err
		}
		if err := w.part(p); err != nil {
			return err
		}
	}
	w.EndArray()
	return nil
}

func (w *writer) part(p llm.Part) error {
	switch p := p.(type) {
	case *llm.Text:
		w.text(p)
	case *llm.Refusal:
		w.Object().Name("type").Text("text")
		w.Name("text").Text(p.Text)
		w.tail(&p.Common)
	case *llm.Thinking:
		w.thinkingPart(p)
	case *llm.Media:
		return w.media(p)
	case *llm.ToolCall:
		w.Object().Name("type").Text("tool_use")
		w.Name("id").Text(w.ids.call(p.ID))
		w.Name("name").Text(p.Name)
		w.Name("input").Raw(inputOf(p))
		w.Members(p.Wire.In(Format))
		w.tail(&p.Common)
	case *llm.ToolResult:
		return w.result(p)
	case *llm.NativePart:
		if p.Format != Format {
			return w.o.Unsaid.Part(p.Pos, "", "only "+string(p.Format)+" knows "+p.Type)
		}
		w.Raw(p.JSON)
	}
	return nil
}

// tail writes what all blocks may have, and ends one.
func (w *writer) tail(c *llm.Common) {
	w.cache(c.Cache)
	w.Members(c.Extra.In(Format))
	w.End()
}

// text writes a text. Citations of other formats are no part of it: the API
// takes only such as it gave itself.
func (w *writer) text(p *llm.Text) {
	w.Object().Name("type").Text("text")
	w.Name("text").Text(p.Text)
	var own []llm.Citation
	for _, c := range p.Citations {
		if c.Extra.In(Format) != nil {
			own = append(own, c)
		}
	}
	appendCitations(&w.Writer, own)
	w.Members(p.Wire.In(Format), "citations")
	w.tail(&p.Common)
}

func (w *writer) thinkingPart(p *llm.Thinking) {
	switch {
	case !replayable(p):
		return
	case p.Redacted:
		w.Object().Name("type").Text("redacted_thinking")
		w.Name("data").Text(p.Opaque.Value)
	default:
		w.Object().Name("type").Text("thinking")
		w.Name("thinking").Text(p.Text)
		w.Name("signature").Text(p.Opaque.Value)
	}
	w.Members(p.Wire.In(Format))
	w.Members(p.Extra.In(Format))
	w.End() // no breakpoint: the API takes none on thinking
}

func (w *writer) result(p *llm.ToolResult) error {
	w.Object().Name("type").Text("tool_result")
	w.Name("tool_use_id").Text(w.ids.result(p.CallID))
	parts := p.Parts
	if !w.native {
		parts = make([]llm.Part, 0, len(p.Parts))
		for _, inner := range p.Parts {
			if !empty(inner) {
				parts = append(parts, inner)
			}
		}
	}
	if len(parts) > 0 || w.native && parts != nil {
		w.Name("content")
		if err := w.content(parts); err != nil {
			return err
		}
	}
	if p.IsError {
		w.Name("is_error").Bool(true)
	}
	w.Members(p.Wire.In(Format))
	w.tail(&p.Common)
	return nil
}

// isObject says whether a text is a JSON object.
func isObject(text string) bool {
	if !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") {
		return false
	}
	s := jsonedit.NewScanner([]byte(text))
	s.Skip()
	return s.End() == nil
}
