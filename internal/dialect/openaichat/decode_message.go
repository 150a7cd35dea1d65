package openaichat

import (
	"fmt"
	"slices"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// maxGuess bounds how many messages get memory on a guess.
const maxGuess = 8192

func (d *requestDecoder) messages() {
	d.request.Messages = []llm.Message{}
	for i := range d.Elements {
		d.message(int32(i))
	}
	if len(d.request.Messages) == 0 {
		d.Fail("", "must not be empty")
	}
}

// message is what one of a client's messages says. Some values wait as they stand
// in the body: how to read them depends on the role, which may come last.
type message struct {
	llm.Message
	role      string
	callID    []byte // tool_call_id
	said      bool   // there was a content
	content   []llm.Part
	calls     []llm.Part              // tool_calls
	told      []dialect.ThinkingState // by a call's id
	refusal   []byte
	function  []byte // function_call
	citations []byte // annotations
	thoughts  thoughts
	cache     *llm.CacheMark
	rest      wire.Rest
	proof     *llm.Opaque // of the first text
}

func (d *requestDecoder) message(index int32) {
	m := &message{}
	m.Pos = llm.Pos{Message: index, Part: -1}
	for name := range d.Members {
		d.messageMember(m, name)
	}
	if d.Failed() {
		return
	}
	switch m.role {
	case "system", "developer", "user":
		m.Role = llm.Role(m.role)
		m.Parts = d.required(m)
	case "assistant":
		m.Role = llm.RoleAssistant
		d.assistant(m)
	case "tool":
		d.toolResult(m)
	case "function":
		d.functionResult(m)
	default:
		d.Fail("role", "is required")
	}
	m.leftovers(d.Reader)
	if n := len(m.Parts); n > 0 && m.cache != nil {
		m.Parts[n-1].Base().Cache = m.cache
	}
	m.Extra = m.rest.Extra(dialect.OpenAIChat)
	if n := len(d.request.Messages); n == cap(d.request.Messages) {
		// As many as there may be, to go by those read: they are large.
		guess := d.size / (d.Pos()/(n+1) + 1)
		d.request.Messages = slices.Grow(d.request.Messages, max(min(guess-n, maxGuess), n, 16))
	}
	d.request.Messages = append(d.request.Messages, m.Message)
}

func (d *requestDecoder) messageMember(m *message, name []byte) {
	switch string(name) {
	case "role":
		m.role = d.Word("user", "assistant", "tool", "system", "developer", "function")
	case "name":
		m.Name = d.Text()
	case "content":
		m.said, m.content = true, d.content(m.Pos)
	case "refusal":
		m.refusal = d.Value()
	case "tool_calls":
		d.toolCalls(m)
	case "function_call":
		m.function = d.Value()
	case "tool_call_id":
		m.callID = d.Value()
	case "annotations":
		m.citations = d.Value()
	case "reasoning", "reasoning_content", "reasoning_details":
		m.thoughts.take(string(name), d.Value())
	case "cache_control":
		m.cache = cacheMark(d.Reader, &m.rest)
	case "parsed": // by OpenAI's SDK, of what the content says
		d.Raw()
	default:
		m.rest.Add(name, d.Raw())
	}
}

// leftovers keeps the members that mean nothing in a message of its role.
func (m *message) leftovers(r *wire.Reader) {
	keep := func(name string, value []byte) {
		if value != nil {
			m.rest.Add([]byte(name), r.At(name, value).Raw())
		}
	}
	if m.Role != llm.RoleTool {
		keep("tool_call_id", m.callID)
	}
	if m.Role == llm.RoleAssistant {
		return
	}
	keep("refusal", m.refusal)
	if m.calls != nil {
		r.Fail("tool_calls", "is for the role assistant only")
	}
	keep("function_call", m.function)
	keep("annotations", m.citations)
	keep("reasoning", m.thoughts.reasoning)
	keep("reasoning_content", m.thoughts.content)
	keep(inDetails, m.thoughts.details)
}

// required gives a message's content, which must be there.
func (d *requestDecoder) required(m *message) []llm.Part {
	if !m.said {
		d.Fail("content", "is required")
	}
	return m.content
}

// content reads a message's content: a text, or parts. An empty text is no part.
func (d *requestDecoder) content(pos llm.Pos) (parts []llm.Part) {
	switch d.Kind() {
	case jsonedit.KindString:
		text := d.Text()
		if text == "" {
			return nil
		}
		t := d.slabs.texts.New()
		t.Pos, t.Text = pos, text
		return d.slabs.parts.One(t)
	case jsonedit.KindArray:
		for i := range d.Elements {
			pos.Part = int32(i)
			if p := readPart(d.Reader, pos); p != nil {
				parts = append(parts, p)
			}
		}
	default:
		d.Fail("", "must be a string or an array")
	}
	return parts
}

func (d *requestDecoder) assistant(m *message) {
	thinking, opened := m.thoughts.client(d, m)
	content := m.content
	if m.refusal != nil {
		refusal := d.Unquote("refusal", m.refusal)
		content = append(content, &llm.Refusal{Common: llm.Common{Pos: m.Pos}, Text: refusal})
	}
	content = m.prove(content)
	if m.citations != nil {
		content = d.citations(m, content)
	}
	calls := m.calls
	if m.function != nil {
		calls = append(calls, d.functionCall(m))
	}
	if !opened && len(m.told) > 0 { // a client that returns no thinking, but its call's id
		thinking = nil
		for _, t := range m.told {
			thinking = append(thinking, t.Part())
		}
	}
	m.Parts = joined(thinking, content, calls)
	if len(m.Parts) == 0 && !m.said && wire.Member(m.rest.JSON(), "audio") == nil {
		d.Fail("content", "is required, unless there are tool calls")
	}
}

// joined puts lists in a row, of which most often only one has anything in it.
func joined(lists ...[]llm.Part) (all []llm.Part) {
	for _, list := range lists {
		if all == nil {
			all = list
		} else {
			all = append(slices.Clip(all), list...)
		}
	}
	return all
}

// prove gives the first text the provider's state that came for it.
func (m *message) prove(content []llm.Part) []llm.Part {
	if m.proof == nil {
		return content
	}
	for _, p := range content {
		if text, ok := p.(*llm.Text); ok {
			text.Opaque = m.proof
			return content
		}
	}
	return append(content, &llm.Text{Common: llm.Common{Pos: m.Pos, Opaque: m.proof}})
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
	for _, p := range slices.Backward(content) {
		if text, ok := p.(*llm.Text); ok {
			text.Citations = citations
			return content
		}
	}
	return append(content, &llm.Text{Common: llm.Common{Pos: m.Pos}, Citations: citations})
}

// toolCalls reads the calls of an assistant's message, and the thinking that the
// first one's id may carry.
func (d *requestDecoder) toolCalls(m *message) {
	for i := range d.Elements {
		call, state := d.toolCall(d.Reader)
		call.Pos = llm.Pos{Message: m.Pos.Message, Part: callPart - int32(i)}
		if len(m.told) == 0 {
			m.told = state.Thinking
		}
		d.calls[call.ID] = call
		if m.calls == nil {
			m.calls = d.slabs.parts.One(call)
		} else {
			m.calls = append(m.calls, call)
		}
	}
}

func (d *requestDecoder) toolCall(r *wire.Reader) (*llm.ToolCall, dialect.State) {
	call := d.slabs.calls.New()
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
		case "parsed_arguments": // by OpenAI's SDK, of what the arguments say
			r.Raw()
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
	id, _ := dialect.OpenID(d.seal, d.Unquote("tool_call_id", m.callID))
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
		Parts: d.required(m),
	}
	m.Parts = d.slabs.parts.One(result)
	return result
}
