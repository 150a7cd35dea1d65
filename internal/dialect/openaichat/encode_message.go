package openaichat

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// maxCallID is the longest id of a tool call that OpenAI takes.
const maxCallID = 40

func indexed(name string, index int32) string { return name + "[" + strconv.Itoa(int(index)) + "]" }

func (e *requestEncoder) messages(messages []llm.Message) {
	e.Name("messages").Array()
	for i := range messages {
		e.message(&messages[i])
	}
	e.showResults()
	e.EndArray()
}

// message writes a message. Tool results that stand in it become messages of
// their own, before what else there is.
func (e *requestEncoder) message(m *llm.Message) {
	e.note(e.unsaid.PartExtra(m.Extra, m.Pos))
	var rest []llm.Part
	results := false
	for _, p := range m.Parts {
		if result, ok := p.(*llm.ToolResult); ok {
			e.toolResult(m, result)
			results = true
		} else {
			rest = append(rest, p)
		}
	}
	if results && len(rest) == 0 {
		return
	}
	if m.Role != llm.RoleTool {
		e.showResults()
	}
	if m.Role == llm.RoleAssistant {
		e.assistant(m, rest)
		return
	}
	e.begin(m, e.role(m.Role))
	e.Name("content")
	e.content(rest)
	e.endMessage(m)
}

func (e *requestEncoder) role(role llm.Role) string {
	switch role {
	case llm.RoleDeveloper:
		if !e.o.StrictChat { // OpenAI's own word; few others know it
			return "system"
		}
	case llm.RoleTool: // only what is no result is left of it
		return "user"
	default: // is a role of the format
	}
	return string(role)
}

func (e *requestEncoder) begin(m *llm.Message, role string) {
	e.Object().Name("role").Text(role)
	e.TextMember("name", m.Name)
}

func (e *requestEncoder) endMessage(m *llm.Message) {
	e.Members(m.Extra.In(dialect.OpenAIChat))
	e.End()
}

func (e *requestEncoder) assistant(m *llm.Message, parts []llm.Part) {
	var content, calls []llm.Part
	var refusal *llm.Refusal
	var function *llm.ToolCall
	for _, p := range parts {
		switch p := p.(type) {
		case *llm.ToolCall:
			if isLegacy(p.Wire) && function == nil {
				function = p
			} else {
				calls = append(calls, p)
			}
		case *llm.Thinking:
			if place, own := placeOf(p.Opaque); own && place.in(inContent) && !e.o.StrictChat {
				content = append(content, p)
			}
		case *llm.Refusal:
			if p.Pos.Part < 0 && refusal == nil {
				refusal = p
			} else {
				content = append(content, p)
			}
		default:
			content = append(content, p)
		}
	}
	e.begin(m, "assistant")
	e.Name("content")
	if len(content) == 0 && (len(parts) > 0 || m.Extra.In(dialect.OpenAIChat) != nil) {
		e.Null()
	} else {
		e.content(content)
	}
	if refusal != nil {
		e.Name("refusal").Text(refusal.Text)
	}
	if !e.o.StrictChat { // OpenAI takes no thinking here
		appendThoughts(&e.Writer, parts)
	}
	e.annotations(content)
	e.toolCalls(calls)
	if function != nil {
		e.Name("function_call").Object()
		e.Name("name").Text(function.Name).Name("arguments").Text(function.Arguments)
		e.Members(function.Extra.In(dialect.OpenAIChat))
		e.End()
	}
	e.endMessage(m)
}

// annotations gives a model's citations back to it. Those of documents have no
// word here; they are for people.
func (e *requestEncoder) annotations(content []llm.Part) {
	open := false
	for _, p := range content {
		text, ok := p.(*llm.Text)
		if !ok {
			continue
		}
		for _, c := range text.Citations {
			if !sayable(c) {
				e.unsaid.Leave("citations")
				continue
			}
			if !open {
				e.Name("annotations").Array()
				open = true
			}
			appendCitation(&e.Writer, c)
		}
	}
	if open {
		e.EndArray()
	}
}

func (e *requestEncoder) toolCalls(calls []llm.Part) {
	if len(calls) == 0 {
		return
	}
	e.Name("tool_calls").Array()
	for _, p := range calls {
		call := p.(*llm.ToolCall)
		e.note(e.unsaid.PartExtra(call.Extra, call.Pos))
		e.Object().Name("id").Text(wire.FitID(call.ID, maxCallID))
		appendCall(&e.Writer, call, !e.o.StrictChat)
		e.cache(call.Cache, llm.Extra{})
		e.End()
	}
	e.EndArray()
}

// appendCall writes what a tool call is, behind its id, and its state if that is
// of this format.
func appendCall(w *wire.Writer, call *llm.ToolCall, state bool) {
	extra := call.Extra.In(dialect.OpenAIChat)
	kind, input := "function", "arguments"
	if call.Custom {
		kind, input = "custom", "input"
	}
	w.Name("type").Text(kind)
	w.Name(kind).Object()
	w.Name("name").Text(call.Name)
	w.Name(input).Text(call.Arguments)
	w.Members(wire.Member(extra, kind))
	w.End()
	w.Members(extra, kind)
	if o := call.Opaque; state && o != nil && o.Format == dialect.OpenAIChat {
		w.RawMember("extra_content", []byte(o.Value)) // Gemini's compatible endpoint
	}
}

// toolResult writes a result as a message. OpenAI takes text there only, so
// anything else is shown in a user's message behind the row of results, but where
// the client itself had it there.
func (e *requestEncoder) toolResult(m *llm.Message, result *llm.ToolResult) {
	e.note(e.unsaid.PartExtra(result.Extra, result.Pos))
	parts := result.Parts
	if e.source() != dialect.OpenAIChat {
		parts = e.textOnly(result)
	}
	if isLegacy(result.Wire) {
		e.Object().Name("role").Text("function")
		e.Name("name").Text(result.Name)
	} else {
		e.Object().Name("role").Text("tool")
		e.Name("tool_call_id").Text(wire.FitID(result.CallID, maxCallID))
		e.TextMember("name", m.Name)
	}
	e.Name("content")
	if text := llm.TextOf(parts); result.IsError && !strings.HasPrefix(strings.ToLower(text), "error") {
		parts = append([]llm.Part{&llm.Text{Text: "Error: "}}, parts...) // there is no other word for it
	}
	e.content(parts)
	e.cache(result.Cache, llm.Extra{})
	e.endMessage(m)
}

// source is the client's format; "" where it is not known.
func (e *requestEncoder) source() dialect.Name {
	if codec, ok := e.unsaid.Source.(interface{ Name() dialect.Name }); ok {
		return codec.Name()
	}
	return ""
}

// textOnly keeps a result's text and puts aside what else there is.
func (e *requestEncoder) textOnly(result *llm.ToolResult) []llm.Part {
	var text []llm.Part
	shown := 0
	for _, p := range result.Parts {
		if _, ok := p.(*llm.Text); ok {
			text = append(text, p)
			continue
		}
		if shown == 0 {
			e.shown = append(e.shown, &llm.Text{Text: "Result of tool call " + wire.FitID(result.CallID, maxCallID) + ":"})
		}
		e.shown = append(e.shown, p)
		shown++
	}
	if shown > 0 && llm.TextOf(text) == "" {
		text = []llm.Part{&llm.Text{Text: "See the next user message."}}
	}
	return text
}

func (e *requestEncoder) showResults() {
	if len(e.shown) == 0 {
		return
	}
	shown := e.shown
	e.shown = nil
	e.Object().Name("role").Text("user")
	e.Name("content")
	e.content(shown)
	e.End()
}

// content writes a message's content: as a string where it is one plain text.
func (e *requestEncoder) content(parts []llm.Part) {
	switch {
	case len(parts) == 0:
		e.Text("")
		return
	case len(parts) == 1:
		text, ok := parts[0].(*llm.Text)
		if ok && text.Extra.In(dialect.OpenAIChat) == nil && (text.Cache == nil || e.o.StrictChat && text.Wire.JSON == nil) {
			e.note(e.unsaid.PartExtra(text.Extra, text.Pos))
			e.cache(text.Cache, llm.Extra{})
			e.Text(text.Text)
			return
		}
	}
	start := len(e.Bytes)
	e.Array()
	for _, p := range parts {
		e.part(p)
	}
	if len(e.Bytes) == start+1 { // all was left out
		e.Bytes = e.Bytes[:start]
		e.Text("")
		return
	}
	e.EndArray()
}

// part writes one part of a content.
func (e *requestEncoder) part(p llm.Part) {
	base := p.Base()
	e.note(e.unsaid.PartExtra(base.Extra, base.Pos))
	switch p := p.(type) {
	case *llm.Text:
		e.Object().Name("type").Text("text")
		e.Name("text").Text(p.Text)
	case *llm.Refusal:
		e.Object().Name("type").Text("refusal")
		e.Name("refusal").Text(p.Text)
	case *llm.Thinking:
		appendMistralThinking(&e.Writer, p.Text)
		return
	case *llm.Media:
		if !e.media(p) {
			return
		}
	case *llm.NativePart:
		if p.Format != dialect.OpenAIChat {
			e.note(e.unsaid.Part(base.Pos, "", "it is of another provider's own"))
			return
		}
		e.Raw(p.JSON)
		return
	default:
		e.note(e.unsaid.Part(base.Pos, "", "it cannot stand there"))
		return
	}
	e.Members(base.Extra.In(dialect.OpenAIChat), mediaMembers...)
	e.cache(base.Cache, base.Wire)
	e.End()
}

// mediaMembers are the members of a part whose own unknown members stand nested
// in its Extra.
var mediaMembers = []string{"image_url", "video_url", "input_audio", "file"}

func appendMistralThinking(w *wire.Writer, text string) {
	w.Object().Name("type").Text("thinking")
	w.Name("thinking").Array()
	w.Object().Name("type").Text("text").Name("text").Text(text).End()
	w.EndArray()
	w.Name("closed").Bool(true)
	w.End()
}

// media begins a part of a content that is no text; false: it was refused, or
// left out.
func (e *requestEncoder) media(m *llm.Media) bool {
	m, ok := e.inlined(m)
	if !ok {
		return false
	}
	extra := m.Extra.In(dialect.OpenAIChat)
	text := m.Text
	if text == "" && m.Kind == llm.MediaDocument && e.source() != dialect.OpenAIChat {
		text = plainText(m)
	}
	switch {
	case text != "": // chat completions know PDF files only, so it goes as text
		if m.Name != "" {
			text = m.Name + "\n\n" + text
		}
		e.Object().Name("type").Text("text").Name("text").Text(text)
	case m.Kind == llm.MediaImage, m.Kind == llm.MediaVideo:
		member := string(m.Kind) + "_url"
		e.Object().Name("type").Text(member)
		e.Name(member).Object()
		e.Name("url").Text(urlOf(m))
		e.TextMember("detail", m.Detail)
		e.Members(wire.Member(extra, member))
		e.End()
	case m.Kind == llm.MediaAudio:
		e.Object().Name("type").Text("input_audio")
		e.Name("input_audio").Object()
		e.Name("data").Text(m.Data)
		e.Name("format").Text(audioFormat(m.MIME))
		e.Members(wire.Member(extra, "input_audio"))
		e.End()
	default:
		e.file(m)
	}
	return true
}

func (e *requestEncoder) file(m *llm.Media) {
	e.Object().Name("type").Text("file")
	e.Name("file").Object()
	e.TextMember("file_id", m.FileID)
	if m.FileID == "" {
		name := m.Name
		if name == "" && m.URL == "" && e.source() != dialect.OpenAIChat {
			name = "document.pdf" // OpenAI must have one
		}
		e.TextMember("filename", name)
		e.Name("file_data").Text(urlOf(m))
	} else {
		e.TextMember("filename", m.Name)
	}
	e.Members(wire.Member(m.Extra.In(dialect.OpenAIChat), "file"))
	e.End()
}

// urlOf is a medium as a URL, or as base64 alone if that is how it came.
func urlOf(m *llm.Media) string {
	switch {
	case m.URL != "":
		return m.URL
	case m.MIME == "" && m.Kind == llm.MediaDocument:
		return m.Data
	}
	return wire.MakeDataURL(m.MIME, m.Data)
}

// inlined gives a medium in a form that chat completions can say, fetched if it
// must be; false: it was refused, or left out.
func (e *requestEncoder) inlined(m *llm.Media) (*llm.Media, bool) {
	var why string
	switch {
	case m.FileID != "":
		if m.Kind == llm.MediaDocument && (e.source() == dialect.OpenAIChat || e.source() == dialect.OpenAIResponses) {
			return m, true
		}
		why = "a file uploaded to one provider is not known to another"
	case m.Kind == llm.MediaVideo && e.o.StrictChat:
		why = "its API takes no videos"
	case m.URL == "" || m.Kind == llm.MediaVideo, m.Kind == llm.MediaImage && isHTTP(m.URL):
		return m, true
	case m.Kind == llm.MediaDocument && e.source() == dialect.OpenAIChat && !e.o.StrictChat:
		return m, true // OpenRouter takes an address where the file's content goes
	case e.o.Inline != nil && isHTTP(m.URL):
		inline, err := e.o.Inline(m)
		if err != nil {
			e.note(err)
			return nil, false
		}
		return e.inlined(inline)
	default:
		why = "its API takes the content of " + string(m.Kind) + " parts only, not an address"
	}
	e.note(e.unsaid.Part(m.Pos, "", why))
	return nil, false
}

func isHTTP(url string) bool {
	return strings.HasPrefix(url, "https://") || strings.HasPrefix(url, "http://")
}

// plainText gives a document's text, if that is what its data are.
func plainText(m *llm.Media) string {
	if !strings.HasPrefix(m.MIME, "text/") {
		return ""
	}
	text, _ := base64.StdEncoding.DecodeString(m.Data) // it was checked on its way in
	return string(text)
}
