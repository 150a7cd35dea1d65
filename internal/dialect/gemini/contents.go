package gemini

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// roles are the format's roles. A missing one is the user's.
var roles = map[string]llm.Role{
	"": llm.RoleUser, roleUser: llm.RoleUser, roleModel: llm.RoleAssistant, roleFunction: llm.RoleTool,
}

// message takes a content.
func (d *requestDecoder) message(index int32, c *content) error {
	pos := llm.Pos{Message: index, Part: -1}
	m := llm.Message{Role: llm.RoleSystem, Pos: pos, Extra: extraOf(c.Extra)}
	if index != inSystem {
		role, ok := roles[c.Role]
		if !ok {
			return wire.Invalid(partPath(pos)+".role", "must be user, model or function")
		}
		m.Role = role
	}
	if c.Role != wireRole(m.Role) { // a role that says nothing, or the older one of results
		m.Wire = llm.Extra{Format: dialect.Gemini, JSON: []byte(`{"role":` + string(jsonedit.AppendQuote(nil, c.Role)) + `}`)}
	}
	into := &m
	if n := len(d.r.Messages); n > 0 && m.Role == llm.RoleAssistant && d.r.Messages[n-1].Role == m.Role && len(c.Extra) == 0 {
		// Chats of Google's SDKs send a streamed answer back as one content a chunk.
		into = &d.r.Messages[n-1]
	}
	for i := range c.Parts {
		pos.Part = int32(i)
		p, err := d.part(pos, &c.Parts[i])
		if err != nil {
			return err
		}
		d.put(into, p)
	}
	if into == &m {
		d.r.Messages = append(d.r.Messages, m)
	}
	return nil
}

// put adds a part to a message. Pieces of an answer's text from several contents
// become one again, and so do those of thoughts with another provider's state,
// which came behind the last of them.
func (d *requestDecoder) put(m *llm.Message, p llm.Part) {
	switch p := p.(type) {
	case *llm.Text:
		d.recall(m, p.Pos)
		if len(m.Parts) > 0 && p.Pos.Message != m.Pos.Message && d.join(m.Parts[len(m.Parts)-1], p) {
			return
		}
	case *llm.Thinking:
		if o := p.Opaque; o == nil || o.Format == dialect.Gemini || p.Redacted {
			break
		}
		from := len(m.Parts)
		for from > 0 && isBareThought(m.Parts[from-1]) {
			from--
		}
		var whole strings.Builder
		for _, before := range m.Parts[from:] {
			whole.WriteString(before.(*llm.Thinking).Text)
		}
		whole.WriteString(p.Text)
		p.Text, m.Parts = whole.String(), m.Parts[:from]
	case *llm.ToolCall:
		d.recall(m, p.Pos)
	}
	m.Parts = append(m.Parts, p)
}

// recall puts the thinking that a call or a text carries where it stood, if the
// client did not send all of it back, or not what proves it; what is nowhere to be
// found stood right before the part that carries it.
func (d *requestDecoder) recall(m *llm.Message, pos llm.Pos) {
	told := d.told
	d.told = nil
	since, found := 0, 0 // the call before; of told
	for i, p := range m.Parts {
		switch p := p.(type) {
		case *llm.ToolCall:
			since, found = i+1, 0
		case *llm.Thinking:
			if tells(told, p) {
				found++
			}
		}
	}
	if found >= len(told) {
		return
	}
	parts, at := make([]llm.Part, 0, len(m.Parts)+len(told)), -1
	parts = append(parts, m.Parts[:since]...)
	for _, p := range m.Parts[since:] {
		if t, ok := p.(*llm.Thinking); !ok || !isBareThought(t) && !tells(told, t) {
			parts = append(parts, p)
		} else if at < 0 {
			at = len(parts)
		}
	}
	if at < 0 {
		at = len(parts)
	}
	for i, state := range told {
		thought := state.Part()
		thought.Pos = pos
		parts = slices.Insert(parts, at+i, llm.Part(thought))
	}
	m.Parts = parts
}

// tells says that thinking with a part's state is among what was told.
func tells(told []dialect.ThinkingState, p *llm.Thinking) bool {
	return p.Opaque != nil && slices.ContainsFunc(told, func(t dialect.ThinkingState) bool { return t.Opaque != nil && *t.Opaque == *p.Opaque })
}

func isBareThought(p llm.Part) bool {
	t, ok := p.(*llm.Thinking)
	return ok && t.Opaque == nil && len(t.Extra.JSON) == 0
}

// join adds a text to the one before it, if that has not ended with a state. The
// pieces may be many, so the whole is made of them by flush.
func (d *requestDecoder) join(last llm.Part, p *llm.Text) bool {
	before, ok := last.(*llm.Text)
	switch {
	case ok && before.Opaque == nil && len(before.Extra.JSON) == 0 && len(p.Extra.JSON) == 0:
	default:
		return p.Text == "" && p.Opaque == nil && len(p.Extra.JSON) == 0 // it says nothing
	}
	if d.joining != before {
		d.flush()
		d.joining, d.joined = before, append(d.joined[:0], before.Text...)
	}
	d.joined = append(d.joined, p.Text...)
	before.Opaque = p.Opaque
	return true
}

func (d *requestDecoder) flush() {
	if d.joining != nil {
		d.joining.Text, d.joining = string(d.joined), nil
	}
}

func (d *requestDecoder) part(pos llm.Pos, p *part) (llm.Part, error) {
	common, state := d.common(pos, p)
	switch {
	case p.Text != nil && p.Thought:
		if len(state.Thinking) > 0 {
			thought := state.Thinking[0].Part()
			thought.Pos = pos
			return thought, nil
		}
		return &llm.Thinking{Common: common, Text: *p.Text}, nil
	case p.Text != nil:
		d.told = state.Thinking
		return &llm.Text{Common: common, Text: *p.Text}, nil
	case p.FunctionCall != nil:
		d.told = state.Thinking
		return d.functionCall(common, p.FunctionCall, state.ID)
	case p.FunctionResponse != nil:
		return d.functionResponse(common, p.FunctionResponse)
	case p.InlineData != nil:
		return inlineMedia(common, p.InlineData, partPath(pos)+".inlineData")
	case p.FileData != nil:
		return fileMedia(common, p.FileData, partPath(pos)+".fileData")
	}
	if native := nativePart(p, common); native != nil {
		return native, nil
	}
	if p.ThoughtSignature != "" { // a signature alone
		return &llm.Text{Common: common}, nil
	}
	return nil, wire.Invalid(partPath(pos), "must have text, inlineData, fileData, functionCall or functionResponse")
}

// common is what any part may have. A signature may be a token of ours, which
// holds the state of another format's model.
func (d *requestDecoder) common(pos llm.Pos, p *part) (llm.Common, dialect.State) {
	c := llm.Common{Pos: pos, Extra: extraOf(p.Extra)}
	if p.ThoughtSignature == "" {
		return c, dialect.State{}
	}
	if strings.HasPrefix(p.ThoughtSignature, sealedPrefix) {
		token := dialect.OpenBytes(standardBase64(p.ThoughtSignature))
		state, _ := dialect.OpenState(d.seal, token)
		c.Opaque = state.Opaque
		return c, state
	}
	c.Opaque = &llm.Opaque{Format: dialect.Gemini, Value: p.ThoughtSignature}
	return c, dialect.State{}
}

// sealedPrefix begins the base64 of every token, and of nothing else that is
// likely.
var sealedPrefix = base64.StdEncoding.EncodeToString([]byte(dialect.SealPrefix))[:6]

func (d *requestDecoder) functionCall(common llm.Common, f *functionCall, sealedID string) (llm.Part, error) {
	path := partPath(common.Pos) + ".functionCall"
	if f.Name == "" {
		return nil, wire.Invalid(path+".name", "is required")
	}
	call := &llm.ToolCall{Common: common, ID: f.ID, Name: f.Name, Arguments: f.arguments()}
	call.Extra = mergeExtra(call.Extra, "functionCall.", f.Extra)
	if call.ID == "" {
		call.ID = sealedID
	}
	if call.ID == "" {
		call.ID = fmt.Sprintf("%s%d_%d", madeID, common.Pos.Message, common.Pos.Part)
	}
	d.open(&openCall{id: call.ID, name: call.Name})
	return call, nil
}

// madeID begins the ids made for calls that have none, which are not sent to the
// format again.
const madeID = "gcall_"

// unparsed is the member that carries arguments which are no JSON object.
const unparsed = "_unparsed_arguments"

// arguments gives a call's arguments as the vocabulary has them; "" for none.
func (f *functionCall) arguments() string {
	if string(f.only.name) == unparsed && f.only.value[0] == '"' {
		return string(jsonedit.AppendText(nil, f.only.value))
	}
	return string(f.Args)
}

// appendArguments reverses functionCall.arguments.
func appendArguments(dst []byte, args string) []byte {
	if isObject(args) {
		return append(dst, args...)
	}
	dst = append(dst, `{"`+unparsed+`":`...)
	return append(jsonedit.AppendQuote(dst, args), '}')
}

// functionResponse finds the call by its id, else by its name: Gemini's clients
// may leave ids out.
func (d *requestDecoder) functionResponse(common llm.Common, f *functionResponse) (llm.Part, error) {
	path := partPath(common.Pos) + ".functionResponse"
	if f.Name == "" {
		return nil, wire.Invalid(path+".name", "is required")
	}
	call := d.find(f.ID, f.Name)
	if call == nil {
		return nil, wire.Invalid(path, "answers no functionCall before it")
	}
	call.answered = true
	result := &llm.ToolResult{Common: common, CallID: call.id, Name: f.Name}
	result.Extra = mergeExtra(result.Extra, "functionResponse.", f.Extra)
	var text *llm.Text
	if text, result.IsError = f.text(&d.scratch); text != nil {
		text.Pos = common.Pos
		result.Parts = append(result.Parts, text)
	}
	for i := range f.Parts {
		media, err := responseMedia(llm.Common{Pos: common.Pos}, &f.Parts[i], fmt.Sprintf("%s.parts[%d]", path, i))
		if err != nil {
			return nil, err
		}
		result.Parts = append(result.Parts, media)
	}
	return result, nil
}

// open notes a call that a response may be for.
func (d *requestDecoder) open(c *openCall) {
	if d.byID == nil {
		d.byID, d.byName = make(map[string]*openCall), make(map[string][]*openCall)
	}
	d.byID[c.id] = c
	d.byName[c.name] = append(d.byName[c.name], c)
}

// find gives the call of an id, else the first of a name that has no answer yet,
// else the last.
func (d *requestDecoder) find(id, name string) *openCall {
	if c := d.byID[id]; c != nil && id != "" {
		return c
	}
	named := d.byName[name]
	for len(named) > 1 && named[0].answered {
		named = named[1:]
	}
	if len(named) == 0 {
		return nil
	}
	d.byName[name] = named
	return named[0]
}

// text is the response as text. {"output": "…"} and {"error": "…"} are how
// Google's SDKs say a result that is no object.
func (f *functionResponse) text(scratch *[]byte) (text *llm.Text, isError bool) {
	if len(f.Response) == 0 {
		return nil, false
	}
	isError = string(f.only.name) == "error"
	if isError || string(f.only.name) == "output" {
		if quoted := f.only.value; quoted[0] == '"' {
			*scratch = jsonedit.AppendText((*scratch)[:0], quoted)
			if plain := string(*scratch); isError || !isObject(plain) {
				return &llm.Text{Text: plain}, isError
			}
		}
	}
	return &llm.Text{Text: string(f.Response)}, isError
}

// append reverses functionResponse.text.
func (r *result) append(dst []byte) []byte {
	if isObject(r.text) {
		failure := onlyMember([]byte(r.text), "error")
		if !r.isError || failure != nil && failure[0] != '"' {
			return append(dst, r.text...)
		}
	}
	member := `{"output":`
	if r.isError {
		member = `{"error":`
	}
	dst = append(dst, member...)
	return append(wire.AppendQuote(dst, r.text), '}')
}

func isObject(text string) bool {
	if !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") {
		return false
	}
	s := jsonedit.NewScanner([]byte(text))
	s.Skip()
	return s.End() == nil
}

// onlyMember is the value of an object's only member, if that has a name.
func onlyMember(object []byte, name string) (value []byte) {
	start := bytes.TrimLeft(object, "{ \t\r\n")
	if len(start) < len(name)+2 || start[0] != '"' || string(start[1:len(name)+1]) != name || start[len(name)+1] != '"' {
		return nil // the usual case, without looking at it all
	}
	s := jsonedit.NewScanner(object)
	members := 0
	for range s.Members {
		members++
		value = s.Skip()
	}
	if members != 1 {
		return nil
	}
	return value
}

// mergeExtra adds members that stand deeper in a part, by their path.
func mergeExtra(e llm.Extra, prefix string, members jsontext.Value) llm.Extra {
	if len(members) == 0 {
		return e
	}
	all := object(append([]byte(nil), e.JSON...))
	all.addAll(prefix, members)
	return extraOf(jsontext.Value(all))
}

// splitExtra takes the members with a prefix out again.
func splitExtra(members []byte, prefix string) (inner, rest jsontext.Value) {
	var with, without object
	s := jsonedit.NewScanner(members)
	for name := range s.Members {
		if after, ok := strings.CutPrefix(string(name), prefix); ok {
			with.add(after, s.Skip())
		} else {
			without.add(string(name), s.Skip())
		}
	}
	return jsontext.Value(with), jsontext.Value(without)
}

// nativePart is a part that only this format has; nil: the part is none.
func nativePart(p *part, common llm.Common) *llm.NativePart {
	typ := ""
	switch {
	case p.ExecutableCode != nil:
		typ = "executableCode"
	case p.CodeExecutionResult != nil:
		typ = "codeExecutionResult"
	case p.ToolCall != nil:
		typ = "toolCall"
	case p.ToolResponse != nil:
		typ = "toolResponse"
	case len(p.Extra) > 0:
		s := jsonedit.NewScanner(p.Extra)
		for name := range s.Members {
			typ = string(name)
		}
	default:
		return nil
	}
	whole := *p
	whole.ThoughtSignature = ""
	common.Extra = llm.Extra{}
	return &llm.NativePart{Common: common, Native: llm.Native{Format: dialect.Gemini, Type: typ, JSON: marshal(whole)}}
}

// standardBase64 gives base64 in the standard alphabet with padding; Google's
// own SDKs send the alphabet for URLs as well.
func standardBase64(text string) string {
	if strings.ContainsAny(text, "-_") {
		text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	}
	if missing := len(text) % 4; missing > 1 && !strings.HasSuffix(text, "=") {
		text += "=="[:4-missing]
	}
	return text
}
