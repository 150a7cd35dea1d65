package gemini

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// noSignature stands for a call's signature where there is none, since another
// model made the call. See
// https://ai.google.dev/gemini-api/docs/thought-signatures#faqs.
const noSignature = "skip_thought_signature_validator"

const (
	roleUser     = "user"
	roleModel    = "model"
	roleFunction = "function" // of results, in older clients
)

// wireRole is a role as the format has it. A system instruction has none.
func wireRole(role llm.Role) string {
	switch role {
	case llm.RoleSystem, llm.RoleDeveloper:
		return ""
	case llm.RoleAssistant:
		return roleModel
	default:
		return roleUser
	}
}

func (e *requestEncoder) messages() error {
	e.calls, e.order = make(map[string]calledTool), make(map[*functionResponse]int)
	for i := range e.r.Messages {
		m := &e.r.Messages[i]
		if err := e.u.PartExtra(m.Extra, m.Pos); err != nil {
			return err
		}
		if m.Name != "" && m.Role != llm.RoleTool {
			e.leave(m.Pos, "name")
		}
		parts, err := e.parts(m)
		if err != nil {
			return err
		}
		e.add(m, parts)
	}
	if !e.own {
		e.inOrder()
		e.instructionsAlone()
	}
	if e.gen3 {
		e.signCalls()
	}
	return nil
}

// add puts a message's parts into a content. What other formats spread over
// several messages (each tool's result, say) belongs into one.
func (e *requestEncoder) add(m *llm.Message, parts []part) {
	role := wireRole(m.Role)
	said := role
	if own := wire.Member(m.Wire.In(dialect.Gemini), "role"); own != nil {
		said = string(jsonedit.AppendText(nil, own))
	}
	if role == "" {
		if e.out.SystemInstruction == nil {
			e.out.SystemInstruction = &content{Role: said}
		}
		s := e.out.SystemInstruction
		s.Parts, s.Extra = append(s.Parts, parts...), membersOf(m.Extra)
		return
	}
	if len(parts) == 0 && !e.own {
		return
	}
	if n := len(e.out.Contents); n > 0 && e.out.Contents[n-1].Role == role && !e.own {
		c := &e.out.Contents[n-1]
		c.Parts = append(c.Parts, parts...)
		return
	}
	e.out.Contents = append(e.out.Contents, content{Role: said, Parts: parts, Extra: membersOf(m.Extra)})
}

// leave notes a member of a part that no model sees.
func (e *requestEncoder) leave(pos llm.Pos, member string) {
	e.u.Leave(dialect.Field(e.u.At(pos) + "." + member))
}

// instructionsAlone asks them, where there is nothing else: the format refuses a
// request without contents.
func (e *requestEncoder) instructionsAlone() {
	if s := e.out.SystemInstruction; s != nil && len(e.out.Contents) == 0 {
		e.out.Contents, e.out.SystemInstruction = list[content]{{Role: roleUser, Parts: s.Parts}}, nil
	}
}

// inOrder puts the results of calls made at once in the calls' order, since they
// may have no ids to tell them apart.
func (e *requestEncoder) inOrder() {
	for i := range e.out.Contents {
		var at []int
		var results []part
		for j, p := range e.out.Contents[i].Parts {
			if p.FunctionResponse != nil {
				at, results = append(at, j), append(results, p)
			}
		}
		slices.SortStableFunc(results, func(a, b part) int { return e.order[a.FunctionResponse] - e.order[b.FunctionResponse] })
		for j, p := range results {
			e.out.Contents[i].Parts[at[j]] = p
		}
	}
}

// signCalls gives the first call of each step of the turn under way a signature
// where it has none: models of the third generation refuse the request else.
func (e *requestEncoder) signCalls() {
	contents := e.out.Contents
	for i := len(contents) - 1; i >= 0; i-- {
		c := &contents[i]
		if c.Role == roleUser && !onlyResponses(c.Parts) {
			return // the turn's beginning
		}
		for j := range c.Parts {
			if p := &c.Parts[j]; p.FunctionCall != nil {
				p.ThoughtSignature = cmp.Or(p.ThoughtSignature, noSignature)
				break
			}
		}
	}
}

func onlyResponses(parts []part) bool {
	for i := range parts {
		if parts[i].FunctionResponse == nil {
			return false
		}
	}
	return true
}

func (e *requestEncoder) parts(m *llm.Message) ([]part, error) {
	parts := make([]part, 0, len(m.Parts))
	for _, p := range m.Parts {
		base := p.Base()
		if err := e.u.PartExtra(base.Extra, base.Pos); err != nil {
			return nil, err
		}
		if base.Cache != nil {
			e.u.Leave(dialect.FieldCache)
		}
		out, ok, err := e.part(p)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if o := base.Opaque; o != nil && o.Format == dialect.Gemini {
			out.ThoughtSignature = o.Value
		}
		parts = append(parts, out)
	}
	return parts, nil
}

// part says a part; ok is false for one that is left out.
func (e *requestEncoder) part(p llm.Part) (out part, ok bool, err error) {
	out.Extra = membersOf(p.Base().Extra)
	switch p := p.(type) {
	case *llm.Text:
		if len(p.Citations) > 0 && !e.own {
			e.leave(p.Pos, "citations")
		}
		out.Text = &p.Text
	case *llm.Refusal:
		out.Text = &p.Text
	case *llm.Thinking:
		// Thoughts that this format's model did not think are no part of the
		// conversation, and may not be forged.
		if o := p.Opaque; !e.own && (o == nil || o.Format != dialect.Gemini) {
			return out, false, nil
		}
		out.Text, out.Thought = &p.Text, true
	case *llm.Media:
		return e.media(p)
	case *llm.ToolCall:
		return e.call(p)
	case *llm.ToolResult:
		return e.result(p)
	case *llm.NativePart:
		if p.Format != dialect.Gemini {
			return out, false, e.u.Part(p.Pos, "", "only its own provider has "+p.Type)
		}
		if err := json.Unmarshal(p.JSON, &out, writing); err != nil {
			return out, false, err
		}
	}
	return out, err == nil, err
}

func (e *requestEncoder) call(c *llm.ToolCall) (out part, ok bool, err error) {
	if c.Custom {
		return out, false, e.u.Part(c.Pos, "", "it has only functions with JSON arguments")
	}
	e.calls[c.ID] = calledTool{c.Name, len(e.calls)}
	f := &functionCall{ID: e.id(c.ID), Name: c.Name}
	if c.Arguments != "" {
		f.Args = appendArguments(nil, c.Arguments)
	}
	f.Extra, out.Extra = splitExtra(membersOf(c.Extra), "functionCall.")
	out.FunctionCall = f
	return out, true, nil
}

// id gives a call's id unless it was made up, for the format or another.
// Vertex AI takes only what it made itself.
func (e *requestEncoder) id(id string) string {
	if strings.HasPrefix(id, madeID) || e.o.Vertex && !e.own {
		return ""
	}
	return id
}

func (e *requestEncoder) result(r *llm.ToolResult) (out part, ok bool, err error) {
	if r.Custom {
		return out, false, e.u.Part(r.Pos, "", "it has only functions with JSON arguments")
	}
	f := &functionResponse{ID: e.id(r.CallID), Name: cmp.Or(r.Name, e.calls[r.CallID].name, r.CallID)}
	e.order[f] = e.calls[r.CallID].number
	text, texts := "", 0
	for _, p := range r.Parts {
		base := p.Base()
		if err := e.u.PartExtra(base.Extra, base.Pos); err != nil {
			return out, false, err
		}
		if base.Cache != nil {
			e.u.Leave(dialect.FieldCache)
		}
		switch p := p.(type) {
		case *llm.Text:
			text += p.Text
			texts++
		case *llm.Media:
			if !e.gen3 && !e.own {
				if err := e.u.Part(p.Pos, "", "tool results can only be text there"); err != nil {
					return out, false, err
				}
				continue
			}
			inner, ok, err := e.media(p)
			if err != nil {
				return out, false, err
			}
			if ok {
				f.Parts = append(f.Parts, responsePart{InlineData: inner.InlineData, FileData: inner.FileData, Extra: inner.Extra})
			}
		default:
			if err := e.u.Part(p.Base().Pos, "", "tool results can only be text and files there"); err != nil {
				return out, false, err
			}
		}
	}
	if texts > 0 || r.IsError || !e.own { // Google requires one
		f.result = &result{text, r.IsError}
	}
	f.Extra, out.Extra = splitExtra(membersOf(r.Extra), "functionResponse.")
	out.FunctionResponse = f
	return out, true, nil
}

func (e *requestEncoder) media(m *llm.Media) (out part, ok bool, err error) {
	if m.Detail != "" && m.Detail != "auto" && m.Detail != "original" {
		e.leave(m.Pos, "detail")
	}
	if m.URL != "" && !e.own && !takesURL(m.URL) {
		if e.o.Inline == nil {
			return out, false, e.u.Part(m.Pos, "", "it takes content inline only")
		}
		fetched, err := e.o.Inline(m)
		if err != nil {
			return out, false, err
		}
		m = fetched
	}
	inline, rest := splitExtra(membersOf(m.Extra), "inlineData.")
	file, rest := splitExtra(rest, "fileData.")
	out.Extra = rest
	name := m.Name
	if !e.own && name != "" { // only Vertex AI takes one
		e.leave(m.Pos, "filename")
		name = ""
	}
	switch {
	case m.FileID != "" && (e.own || strings.HasPrefix(m.FileID, filesAPI)):
		out.FileData = &fileData{MIMEType: m.MIME, FileURI: m.FileID, DisplayName: name, Extra: file}
	case m.FileID != "":
		return out, false, e.u.Part(m.Pos, "", "the file was uploaded to another provider")
	case m.URL != "":
		out.FileData = &fileData{MIMEType: m.MIME, FileURI: m.URL, DisplayName: name, Extra: file}
	case m.Data == "" && m.Text != "":
		data := base64.StdEncoding.EncodeToString([]byte(m.Text))
		out.InlineData = &blob{MIMEType: cmp.Or(m.MIME, "text/plain"), Data: data, DisplayName: name, Extra: inline}
	default:
		out.InlineData = &blob{MIMEType: cmp.Or(m.MIME, sniff(m.Data)), Data: m.Data, DisplayName: name, Extra: inline}
	}
	return out, true, nil
}

// takesURL says that the provider gets a URL's content itself.
func takesURL(url string) bool {
	return strings.HasPrefix(url, "gs://") || strings.HasPrefix(url, filesAPI) || isYouTube(url)
}

// sniff finds the type of content whose type nobody said.
func sniff(data string) string {
	start, _ := base64.StdEncoding.DecodeString(data[:min(len(data)&^3, 684)])
	mime, _, _ := strings.Cut(http.DetectContentType(start), ";")
	return mime
}
