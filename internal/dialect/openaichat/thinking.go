package openaichat

import (
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// Chat completions have no one place for thinking. It is met as
//
//	"reasoning_content": "…"                    DeepSeek, Alibaba, xAI, Z.ai, Moonshot
//	"reasoning": "…"                            OpenRouter, Groq, Ollama (both, in a client's messages)
//	"reasoning_details": [{"type":…, …}]        OpenRouter, beside "reasoning" with the same text
//	"content": [{"type":"thinking", …}, …]      Mistral
//
// Some of these servers want it back with the tool results. So the state of such
// a part (Opaque.Value) says where its text belongs: the members' names, with
// commas between them, followed by the object of reasoning_details without its
// text, if it had one.
//
// Source: https://openrouter.ai/docs/use-cases/reasoning-tokens,
// https://api-docs.deepseek.com/guides/thinking_mode.

const (
	inContent = "content"
	inDetails = "reasoning_details"
)

// ownState is state of this format; nil where there is none.
func ownState(model string, value []byte) *llm.Opaque {
	if len(value) == 0 {
		return nil
	}
	return &llm.Opaque{Format: dialect.OpenAIChat, Model: model, Value: string(value)}
}

// place is where the text of a thinking part belongs.
type place struct {
	members string // names, with commas between them
	detail  string // the object of reasoning_details without its text; "" for none
}

func (p place) value() []byte { return []byte(p.members + p.detail) }

// placeOf reads a part's state; ok is false where that is another format's.
func placeOf(o *llm.Opaque) (p place, ok bool) {
	if o == nil || o.Format != dialect.OpenAIChat {
		return place{}, false
	}
	at := strings.IndexByte(o.Value, '{')
	if at < 0 {
		return place{members: o.Value}, true
	}
	return place{o.Value[:at], o.Value[at:]}, true
}

// thinkingWire tells an encoder of this format, while the text streams, where it
// stood: the part's state comes with its end.
func thinkingWire(members string, detailed bool) llm.Extra {
	var rest wire.Rest
	rest.Add([]byte("members"), wire.AppendQuote(nil, members))
	if detailed {
		rest.Add([]byte(inDetails), []byte("[]"))
	}
	return rest.Extra(dialect.OpenAIChat)
}

// in says whether the text belongs into a member.
func (p place) in(member string) bool {
	for name := range strings.SplitSeq(p.members, ",") {
		if name == member {
			return true
		}
	}
	return false
}

// thoughtDetail is an object of reasoning_details.
type thoughtDetail struct {
	kind  string // "reasoning.text", "reasoning.summary", "reasoning.encrypted"
	text  string // its text, or summary
	proof string // its signature, or data
	index string // the index, as it stands
	rest  []byte // the object without its text
}

// The types of reasoning_details.
const (
	detailText      = "reasoning.text"
	detailSummary   = "reasoning.summary"
	detailEncrypted = "reasoning.encrypted"
)

// readDetails reads reasoning_details.
func readDetails(raw []byte) []thoughtDetail {
	var details []thoughtDetail
	s := jsonedit.NewScanner(raw)
	for range s.Elements {
		var d thoughtDetail
		var rest wire.Rest
		for name := range s.Members {
			value := s.Skip()
			text := string(jsonedit.AppendText(nil, quotedOnly(value)))
			switch string(name) {
			case "text", "summary":
				d.text = text
				continue
			case "type":
				d.kind = text
			case "signature", "data":
				d.proof = text
			case "index":
				d.index = string(value)
			}
			if string(value) != "null" {
				rest.Add(name, value)
			}
		}
		if d.rest = rest.JSON(); d.rest != nil || d.text != "" {
			details = append(details, d)
		}
	}
	return details
}

// quotedOnly gives a value if it is a string.
func quotedOnly(value []byte) []byte {
	if len(value) < 2 || value[0] != '"' {
		return nil
	}
	return value
}

func textOfDetails(details []thoughtDetail) string {
	var text strings.Builder
	for _, d := range details {
		text.WriteString(d.text)
	}
	return text.String()
}

// thoughts are the members of a message that hold thinking, as they stand.
type thoughts struct{ reasoning, content, details []byte }

func (t *thoughts) take(name string, value []byte) {
	switch name {
	case "reasoning":
		t.reasoning = value
	case "reasoning_content":
		t.content = value
	case inDetails:
		t.details = value
	}
}

// plain gives the texts that stand in members of their own, and the members'
// names. Two members with the same text are one.
func (t *thoughts) plain() (texts, members []string) {
	for _, m := range []struct {
		name  string
		value []byte
	}{{"reasoning", t.reasoning}, {"reasoning_content", t.content}} {
		text := string(jsonedit.AppendText(nil, quotedOnly(m.value)))
		switch {
		case text == "":
		case len(texts) == 1 && texts[0] == text:
			members[0] += "," + m.name
		default:
			texts, members = append(texts, text), append(members, m.name)
		}
	}
	return texts, members
}

// client reads the thinking that a client sends back in a message. opened says
// that some of it came with state that an earlier answer had sealed.
func (t *thoughts) client(d *requestDecoder, m *message) (parts []llm.Part, opened bool) {
	if t.reasoning == nil && t.content == nil && t.details == nil {
		return nil, false
	}
	if t.details != nil {
		d.At(inDetails, t.details).Raw() // for what may be wrong with it
	}
	texts, members := t.plain()
	details := readDetails(t.details)
	shared := "" // the members that repeat the details' text
	if len(texts) == 1 && len(details) > 0 && texts[0] == textOfDetails(details) {
		shared, texts = members[0], nil
	}
	for _, detail := range details {
		state, ok := dialect.OpenState(d.seal, detail.proof)
		switch {
		case ok && detail.kind == detailEncrypted && len(state.Thinking) == 0:
			m.proof, opened = state.Opaque, true
		case ok && len(state.Thinking) > 0:
			for _, thinking := range state.Thinking {
				parts = append(parts, thinking.Part())
			}
			opened = true
		case ok:
			parts = append(parts, &llm.Thinking{Common: llm.Common{Pos: m.Pos, Opaque: state.Opaque}, Text: detail.text})
			opened = true
		case strings.HasPrefix(detail.proof, dialect.SealPrefix): // not for this caller: as good as none
		default:
			parts = append(parts, detail.part(m.Pos, shared, ""))
		}
	}
	if opened {
		return parts, true
	}
	var plain []llm.Part
	for i, text := range texts {
		plain = append(plain, &llm.Thinking{Common: llm.Common{Pos: m.Pos, Opaque: ownState("", []byte(members[i]))}, Text: text})
	}
	return append(plain, parts...), false
}

// part is a detail as a part of a model's answer, or of a client's message.
func (d thoughtDetail) part(pos llm.Pos, members, model string) llm.Part {
	p := place{members, string(d.rest)}
	if d.kind == detailEncrypted {
		p.members = ""
	}
	return &llm.Thinking{
		Common: llm.Common{Pos: pos, Opaque: ownState(model, p.value())},
		Text:   d.text, Redacted: d.kind == detailEncrypted,
	}
}

// appendDetail writes an object of reasoning_details with its text.
func appendDetail(w *wire.Writer, rest, text string) {
	w.Object()
	w.Members([]byte(rest))
	switch string(jsonedit.AppendText(nil, wire.Member([]byte(rest), "type"))) {
	case detailEncrypted:
	case detailSummary:
		w.Name("summary").Text(text)
	default:
		if text != "" {
			w.Name("text").Text(text)
		}
	}
	w.End()
}

// thinkingList says whether Mistral's "thinking" is what it documents: texts.
func thinkingList(raw []byte) bool {
	if len(raw) == 0 || raw[0] != '[' {
		return false
	}
	s := jsonedit.NewScanner(raw)
	for range s.Elements {
		if element := s.Skip(); wire.Member(element, "text") == nil {
			return false
		}
	}
	return true
}

// thinkingText joins the texts of Mistral's "thinking".
func thinkingText(raw []byte) string {
	var text []byte
	s := jsonedit.NewScanner(raw)
	for range s.Elements {
		for name := range s.Members {
			if string(name) == "text" {
				text = s.Text(text)
			}
		}
	}
	return string(text)
}

// appendThoughts writes the members of a message that hold its thinking. Parts
// without state of this format, and those that belong into the content, are
// passed over.
func appendThoughts(w *wire.Writer, parts []llm.Part) {
	appendThoughtTexts(w, parts, "")
	if !slices.ContainsFunc(parts, hasDetail) {
		return
	}
	w.Name(inDetails).Array()
	for _, p := range parts {
		if hasDetail(p) {
			place, _ := placeOf(p.Base().Opaque)
			appendDetail(w, place.detail, p.(*llm.Thinking).Text)
		}
	}
	w.EndArray()
}

func hasDetail(p llm.Part) bool {
	t, ok := p.(*llm.Thinking)
	if !ok {
		return false
	}
	place, own := placeOf(t.Opaque)
	return own && place.detail != ""
}
