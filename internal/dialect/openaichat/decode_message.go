package openaichat

import (
	"fmt"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

func (d *requestDecoder) messages() {
	d.request.Messages = []llm.Message{}
	for i := range d.Elements {
		d.message(int32(i)) //nolint:gosec // a body has not so many messages
	}
	if len(d.request.Messages) == 0 {
		d.Fail("", "must not be empty")
	}
}

// message is what one of a client's messages says, its values as they stand in
// the body: how to read them depends on the role, which may come last.
type message struct {
	llm.Message
	role       string
	callID     *string // tool_call_id
	content    []byte
	refusal    []byte
	calls      []byte // tool_calls
	function   []byte // function_call
	citations  []byte // annotations
	thoughts   thoughts
	cache      *llm.CacheMark
	rest       wire.Rest
	textOpaque *llm.Opaque // for the first text
}

func (d *requestDecoder) message(index int32) {
	m := message{Message: llm.Message{Pos: llm.Pos{Message: index, Part: -1}}}
	for name := range d.Members {
		d.messageMember(&m, name)
	}
	if d.Failed() {
		return
	}
	switch m.role {
	case "system", "developer", "user":
		m.Role = llm.Role(m.role)
		m.Parts = d.content(&m, true)
	case "assistant":
		m.Role = llm.RoleAssistant
		d.assistant(&m)
	case "tool":
		d.toolResult(&m)
	case "function":
		d.functionResult(&m)
	case "":
		d.Fail("role", "is required")
	default:
		d.Fail("role", "must be one of system, developer, user, assistant, tool, function")
	}
	m.leftovers(d.Reader)
	if n := len(m.Parts); n > 0 && m.cache != nil {
		m.Parts[n-1].Base().Cache = m.cache
	}
	m.Extra = m.rest.Extra(dialect.OpenAIChat)
	d.request.Messages = append(d.request.Messages, m.Message)
}

func (d *requestDecoder) messageMember(m *message, name []byte) {
	switch string(name) {
	case "role":
		m.role = d.Text()
	case "name":
		m.Name = d.Text()
	case "content":
		m.content = d.Value()
	case "refusal":
		m.refusal = d.Value()
	case "tool_calls":
		m.calls = d.Value()
	case "function_call":
		m.function = d.Value()
	case "tool_call_id":
		m.callID = new(d.Text())
	case "annotations":
		m.citations = d.Value()
	case "reasoning", "reasoning_content", "reasoning_details":
		m.thoughts.take(string(name), d.Value())
	case "cache_control":
		m.cache = cacheMark(d.Reader, &m.rest)
	default:
		m.rest.Add(name, d.Raw())
	}
}

// leftovers keeps the members that mean nothing in a message of its role.
func (m *message) leftovers(r *wire.Reader) {
	for _, l := range []struct {
		name  string
		value []byte
	}{
		{"refusal", m.refusal}, {"tool_calls", m.calls}, {"function_call", m.function}, {"annotations", m.citations},
		{"reasoning", m.thoughts.reasoning}, {"reasoning_content", m.thoughts.content}, {"reasoning_details", m.thoughts.details},
	} {
		if l.value != nil && m.Role != llm.RoleAssistant {
			m.rest.Add([]byte(l.name), r.At(l.name, l.value).Raw())
		}
	}
	if m.callID != nil && m.Role != llm.RoleTool {
		m.rest.Add([]byte("tool_call_id"), wire.AppendQuote(nil, *m.callID))
	}
}

// content reads a message's content: a text, or parts. An empty text is no part.
func (d *requestDecoder) content(m *message, required bool) []llm.Part {
	switch {
	case m.content == nil && required:
		d.Fail("content", "is required")
		return nil
	case m.content == nil:
		return nil
	case m.content[0] == '"':
		if text := d.Unquote("content", m.content); text != "" {
			return []llm.Part{&llm.Text{Common: llm.Common{Pos: m.Pos}, Text: text}}
		}
		return nil
	case m.content[0] != '[':
		d.Fail("content", "must be a string or an array")
		return nil
	}
	r := d.At("content", m.content)
	var parts []llm.Part
	for i := range r.Elements {
		pos := llm.Pos{Message: m.Pos.Message, Part: int32(i)} //nolint:gosec // a body has not so many parts
		if p := readPart(r, pos); p != nil {
			parts = append(parts, p)
		}
	}
	return parts
}

func (d *requestDecoder) assistant(m *message) {
	thinking, opened := m.thoughts.client(d, m)
	content := d.content(m, false)
	if m.refusal != nil {
		refusal := d.Unquote("refusal", m.refusal)
		content = append(content, &llm.Refusal{Common: llm.Common{Pos: m.Pos}, Text: refusal})
	}
	content = m.proveText(content)
	if m.citations != nil {
		content = d.citations(m, content)
	}
	calls, told := d.toolCalls(m)
	if m.function != nil {
		calls = append(calls, d.functionCall(m))
	}
	if !opened && len(told) > 0 { // a client that returns no thinking, but its call's id
		thinking = nil
		for _, t := range told {
			thinking = append(thinking, t.Part())
		}
	}
	m.Parts = append(append(thinking, content...), calls...)
	if len(m.Parts) == 0 && m.content == nil && wire.Member(m.rest.JSON(), "audio") == nil {
		d.Fail("content", "is required, unless there are tool calls")
	}
}

// proveText gives the first text the provider's state that came for it.
func (m *message) proveText(content []llm.Part) []llm.Part {
	if m.textOpaque == nil {
		return content
	}
	for _, p := range content {
		if text, ok := p.(*llm.Text); ok {
			text.Opaque = m.textOpaque
			return content
		}
	}
	return append(content, &llm.Text{Common: llm.Common{Pos: m.Pos, Opaque: m.textOpaque}})
}

// citations reads the annotations of an answer that comes back.
func (d *requestDecoder) citations(m *message, content []llm.Part) []llm.Part {
	raw := d.At("annotations", m.citations).Raw()
	if d.Failed() {
		return content
	}
	citations := readCitations(raw)
	if len(citations) == 0 {
		return content
	}
	for i := len(content) - 1; i >= 0; i-- {
		if text, ok := content[i].(*llm.Text); ok {
			text.Citations = citations
			return content
		}
	}
	return append(content, &llm.Text{Common: llm.Common{Pos: m.Pos}, Citations: citations})
}

// toolCalls reads the calls of an assistant's message, and the thinking that the
// first one's id may carry.
func (d *requestDecoder) toolCalls(m *message) (calls []llm.Part, told []dialect.ThinkingState) {
	if m.calls == nil {
		return nil, nil
	}
	r := d.At("tool_calls", m.calls)
	for i := range r.Elements {
		call, state := d.toolCall(r)
		call.Pos = llm.Pos{Message: m.Pos.Message, Part: callPart - int32(i)} //nolint:gosec // as above
		if len(told) == 0 {
			told = state.Thinking
		}
		d.calls[call.ID] = call
		calls = append(calls, call)
	}
	return calls, told
}

func (d *requestDecoder) toolCall(r *wire.Reader) (*llm.ToolCall, dialect.State) {
	call := &llm.ToolCall{}
	var kind string
	var rest, inner wire.Rest
	for name := range r.Members {
		switch string(name) {
		case "id":
			call.ID = r.Text()
		case "type":
			kind = r.Word("function", "custom")
		case "function":
			readFunction(r, call, &inner)
			rest.Nest("function", &inner)
		case "custom":
			call.Custom = true
			readCustom(r, call, &inner)
			rest.Nest("custom", &inner)
		case "cache_control":
			call.Cache = cacheMark(r, &rest)
		case "extra_content":
			call.Opaque = ownState("", r.Raw())
		case "index": // of streams; the place says it
		default:
			rest.Add(name, r.Raw())
		}
	}
	switch {
	case r.Failed():
	case call.ID == "":
		r.Fail("id", "is required")
	case call.Name == "" && (kind == "custom" || call.Custom):
		r.Fail("custom.name", "is required")
	case call.Name == "":
		r.Fail("function.name", "is required")
	}
	var state dialect.State
	call.ID, state = dialect.OpenID(d.seal, call.ID)
	if state.Opaque != nil {
		call.Opaque = state.Opaque
	}
	call.Extra = rest.Extra(dialect.OpenAIChat)
	return call, state
}

func readFunction(r *wire.Reader, call *llm.ToolCall, rest *wire.Rest) {
	for name := range r.Members {
		switch string(name) {
		case "name":
			call.Name = r.Text()
		case "arguments":
			call.Arguments = r.Text()
		default:
			rest.Add(name, r.Raw())
		}
	}
}

func readCustom(r *wire.Reader, call *llm.ToolCall, rest *wire.Rest) {
	for name := range r.Members {
		switch string(name) {
		case "name":
			call.Name = r.Text()
		case "input":
			call.Arguments = r.Text()
		default:
			rest.Add(name, r.Raw())
		}
	}
}

// legacyWire marks what came in the shape of the days before tools: functions,
// and messages of the role "function".
var legacyWire = llm.Extra{Format: dialect.OpenAIChat, JSON: []byte(`{"functions":{}}`)}

func isLegacy(e llm.Extra) bool { return wire.Member(e.In(dialect.OpenAIChat), "functions") != nil }

func (d *requestDecoder) functionCall(m *message) llm.Part {
	r := d.At("function_call", m.function)
	call := &llm.ToolCall{Common: llm.Common{Pos: m.Pos, Wire: legacyWire}}
	var rest wire.Rest
	readFunction(r, call, &rest)
	if call.Name == "" {
		r.Fail("name", "is required")
	}
	call.Extra = rest.Extra(dialect.OpenAIChat)
	// Other formats match results to calls by id; here the name had to do.
	call.ID = fmt.Sprintf("call_function_%d", m.Pos.Message)
	d.calls[call.ID] = call
	d.lastFunction = call.ID
	return call
}

func (d *requestDecoder) toolResult(m *message) {
	m.Role = llm.RoleTool
	if m.callID == nil {
		d.Fail("tool_call_id", "is required")
		return
	}
	id, _ := dialect.OpenID(d.seal, *m.callID)
	call := d.calls[id]
	if call == nil {
		d.Fail("tool_call_id", "answers no tool call of an earlier assistant message")
		return
	}
	d.result(m, call)
}

func (d *requestDecoder) functionResult(m *message) {
	m.Role = llm.RoleTool
	call := d.calls[d.lastFunction]
	switch {
	case m.Name == "":
		d.Fail("name", "is required")
		return
	case call == nil || call.Name != m.Name:
		d.Fail("name", "answers no function call of an earlier assistant message")
		return
	}
	d.result(m, call).Wire = legacyWire
}

func (d *requestDecoder) result(m *message, call *llm.ToolCall) *llm.ToolResult {
	result := &llm.ToolResult{
		Common: llm.Common{Pos: m.Pos}, CallID: call.ID, Name: call.Name, Custom: call.Custom,
		Parts: d.content(m, true),
	}
	m.Parts = []llm.Part{result}
	return result
}
