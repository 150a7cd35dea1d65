package openairesponses

import (
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// maxCallID is how long a call's id may be.
const maxCallID = 64

// conversation writes the instructions and the input.
func (b *body) conversation() {
	messages := b.r.Messages[b.instructions():]
	switch {
	case len(messages) == 1 && messages[0].Pos.Message == posInput:
		b.Name("input").Text(llm.TextOf(messages[0].Parts))
	case len(messages) > 0 || b.r.PreviousID == "" && !b.has("prompt") && !b.has("conversation"):
		b.Name("input").Array()
		for i := range messages {
			b.message(&messages[i])
		}
		b.EndArray()
	}
}

// instructions writes what came as such, and what was put before it, as a
// [dialect.Call]'s Patch does. It gives how many messages that were.
func (b *body) instructions() (n int) {
	for i, m := range b.r.Messages {
		if m.Role != llm.RoleSystem && m.Role != llm.RoleDeveloper {
			break
		}
		if m.Pos.Message < 0 { // no message in the client's body
			n = i + 1
		}
	}
	var texts []string
	for _, m := range b.r.Messages[:n] {
		for _, p := range m.Parts {
			if !isText(p) {
				return 0
			}
		}
		texts = append(texts, llm.TextOf(m.Parts))
	}
	if n == 0 {
		return 0
	}
	b.Name("instructions").Text(strings.Join(texts, "\n\n"))
	for _, m := range b.r.Messages[:n] {
		b.check(b.o.Unsaid.PartExtra(m.Extra, m.Pos))
		for _, p := range m.Parts {
			b.lost(p.Base())
		}
	}
	return n
}

func isText(p llm.Part) bool {
	_, ok := p.(*llm.Text)
	return ok
}

// lost refuses or notes what a part says beyond its content.
func (b *body) lost(base *llm.Common) {
	b.check(b.o.Unsaid.PartExtra(base.Extra, base.Pos))
	if base.Cache != nil && base.Wire.In(dialect.OpenAIResponses) == nil {
		b.o.Unsaid.Leave(dialect.FieldCache)
	}
}

// message writes a message as a row of items: pieces of content that stand
// together make one, and all else is an item by itself.
func (b *body) message(m *llm.Message) {
	if m.Name != "" {
		b.check(b.o.Unsaid.Part(m.Pos, "name", "its API has no names of speakers"))
	}
	b.check(b.o.Unsaid.PartExtra(m.Extra, m.Pos))
	for parts := m.Parts; len(parts) > 0; {
		n := 0
		for n < len(parts) && isContent(parts[n]) && (n == 0 || itemOf(parts[n]) == nil) {
			n++
		}
		if n > 0 {
			b.content(m, parts[:n])
		} else {
			b.item(parts[0])
			n = 1
		}
		parts = parts[n:]
	}
}

// isContent says that a part stands within a message.
func isContent(p llm.Part) bool {
	switch p := p.(type) {
	case *llm.Text, *llm.Refusal, *llm.Media:
		return true
	case *llm.NativePart:
		return wire.Member(p.Wire.In(dialect.OpenAIResponses), "part") != nil
	}
	return false
}

// itemOf is what the item said of itself that began with a part of the model's.
func itemOf(p llm.Part) []byte {
	return wire.Member(p.Base().Wire.In(dialect.OpenAIResponses), "item")
}

// content writes a message item.
func (b *body) content(m *llm.Message, parts []llm.Part) {
	role := m.Role
	if role == llm.RoleTool {
		role = llm.RoleUser
	}
	b.Object()
	b.Members(m.Wire.In(dialect.OpenAIResponses))
	b.Members(m.Extra.In(dialect.OpenAIResponses))
	b.Members(itemOf(parts[0]))
	b.Name("role").Text(string(role))
	b.Name("content")
	if len(parts) == 1 && b.plain(parts[0]) {
		b.Text(parts[0].(*llm.Text).Text)
	} else {
		b.Array()
		for _, p := range parts {
			b.part(p, role)
		}
		b.EndArray()
	}
	b.End()
}

// plain says that a part is text and nothing else.
func (b *body) plain(p llm.Part) bool {
	t, ok := p.(*llm.Text)
	if !ok || len(t.Citations) > 0 || len(t.Extra.JSON) > 0 || t.Cache != nil {
		return false
	}
	own := t.Wire.In(dialect.OpenAIResponses)
	item := wire.Member(own, "item")
	// An item that has an id is one of the provider's, whose content is a list.
	return (own == nil || item != nil && len(own) == len(`{"item":}`)+len(item)) && wire.Member(item, "id") == nil
}

// part writes a piece of a message or of a tool's output.
func (b *body) part(p llm.Part, role llm.Role) {
	base := p.Base()
	own := base.Wire.In(dialect.OpenAIResponses)
	b.lost(base)
	switch p := p.(type) {
	case *llm.NativePart:
		b.Raw(p.JSON)
		return
	case *llm.Media:
		p, ok := b.fetched(p, role)
		if !ok {
			return
		}
		b.Object()
		b.media(p)
	case *llm.Refusal:
		b.Object()
		b.Name("type").Text("refusal").Name("refusal").Text(p.Text)
	case *llm.Text:
		typ := usualType(p, role)
		if kept := wire.Member(own, "type"); kept != nil {
			typ = wire.Unquote(kept)
		}
		b.Object()
		b.Name("type").Text(typ).Name("text").Text(p.Text)
		b.citations(p, role)
	default: // no content
		return
	}
	b.Members(own, "item", "type")
	b.Members(base.Extra.In(dialect.OpenAIResponses))
	b.End()
}

// citations writes annotations. They tell people where a text is from; those
// that have no URL have no place here.
func (b *body) citations(t *llm.Text, role llm.Role) {
	if len(t.Citations) == 0 || role != llm.RoleAssistant {
		return
	}
	var list wire.Writer
	list.Array()
	for i := range t.Citations {
		if !appendCitation(&list, &t.Citations[i]) {
			b.o.Unsaid.Leave(dialect.Field(b.pathOf(t.Pos) + ".citations"))
		}
	}
	list.EndArray()
	b.Name("annotations").Raw(list.Bytes)
}

// appendCitation writes one annotation, if the format has one for it.
func appendCitation(w *wire.Writer, c *llm.Citation) bool {
	if own := c.Extra.In(dialect.OpenAIResponses); own != nil {
		w.Raw(own)
		return true
	}
	if c.URL == "" {
		return false
	}
	w.Object()
	w.Name("type").Text("url_citation").Name("url").Text(c.URL)
	w.TextMember("title", c.Title)
	if c.Start != 0 || c.End != 0 {
		w.Name("start_index").Int(c.Start).Name("end_index").Int(c.End)
	}
	w.End()
	return true
}

func (b *body) pathOf(pos llm.Pos) string {
	if b.o.Unsaid.Source != nil {
		return b.o.Unsaid.Source.PartPath(pos)
	}
	return Codec{}.PartPath(pos)
}

// fetched is a medium as this format can say it, with its content where it must
// have that. ok is false for one that was left out.
func (b *body) fetched(m *llm.Media, role llm.Role) (_ *llm.Media, ok bool) {
	why := ""
	switch {
	case role == llm.RoleAssistant:
		why = "its API takes no media from the assistant"
	case m.Kind == llm.MediaVideo:
		why = "its API takes no video"
	case m.FileID != "" && !b.native:
		why = "the file is at another provider"
	case m.URL != "" && (m.Kind == llm.MediaAudio || !isWebURL(m.URL) && !b.native):
		if b.o.Inline == nil {
			why = "its API cannot fetch it"
			break
		}
		inlined, err := b.o.Inline(m)
		if err != nil {
			b.check(err)
			return nil, false
		}
		m = inlined
	}
	if why != "" {
		b.check(b.o.Unsaid.Part(m.Pos, "", why))
		return nil, false
	}
	return m, true
}

func isWebURL(url string) bool {
	return strings.HasPrefix(url, "https://") || strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "data:")
}

func (b *body) media(m *llm.Media) {
	switch m.Kind {
	case llm.MediaAudio:
		b.Name("type").Text("input_audio").Name("input_audio").Object()
		b.Name("data").Text(m.Data).Name("format").Text(audioFormat(m.MIME))
		b.End()
	case llm.MediaImage:
		b.Name("type").Text("input_image")
		b.TextMember("file_id", m.FileID)
		b.source("image_url", m)
		b.TextMember("detail", m.Detail)
	default:
		b.Name("type").Text("input_file")
		b.TextMember("file_id", m.FileID)
		b.file(m)
		b.TextMember("detail", m.Detail)
	}
}

// source writes a URL, or the data as one.
func (b *body) source(name string, m *llm.Media) {
	switch {
	case m.Data != "":
		b.Name(name).Text(wire.MakeDataURL(m.MIME, m.Data))
	case m.URL != "":
		b.Name(name).Text(m.URL)
	}
}
