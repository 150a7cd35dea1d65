package openairesponses

import (
	"strings"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// parts reads the content of a message, or a tool's output: a string, or a list.
func (d *request) parts(o *object, member string, role llm.Role) []llm.Part {
	pos := llm.Pos{Message: int32(o.place.index)}
	if member == "output" {
		pos.Part = posOutput
	}
	value := o.get(member)
	switch {
	case value == nil:
		o.missing(member)
		return nil
	case value[0] == '"':
		return []llm.Part{&llm.Text{Common: llm.Common{Pos: pos}, Text: d.texts.Unquote(value)}}
	case value[0] != '[':
		d.fail(o.place.member(member), "must be a string or an array")
		return nil
	}
	var parts []llm.Part
	o.objects(member, func(i int, part *object, value []byte) {
		if d.err != nil {
			return
		}
		p := readPart(part, value, role)
		p.Base().Pos = llm.Pos{Message: pos.Message, Part: pos.Part + int32(i)}
		parts = append(parts, p)
	})
	return parts
}

// readPart reads one part of a message or of a tool's output.
func readPart(o *object, value []byte, role llm.Role) llm.Part {
	var p llm.Part
	typ := o.required("type")
	switch typ {
	case "input_text", "output_text", "text":
		p = readText(o)
	case "refusal":
		p = &llm.Refusal{Text: o.required("refusal")}
	case "input_image":
		p = readImage(o)
	case "input_file":
		p = readFile(o)
	case "input_audio":
		p = readAudio(o)
	default:
		native := o.reader.nativeItem(o, typ, value)
		native.Wire = own([]byte(`{"part":true}`)) // it stands within an item
		return native
	}
	base := p.Base()
	var w wire.Writer
	w.Object()
	if typ != usualType(p, role) {
		w.TextMember("type", typ)
	}
	for _, name := range []string{"prompt_cache_breakpoint", "logprobs", "parsed"} { // the last by OpenAI's SDK
		w.RawMember(name, o.raw(name))
	}
	if t, ok := p.(*llm.Text); ok && len(t.Citations) == 0 {
		w.RawMember("annotations", o.raw("annotations"))
	}
	w.End()
	if o.get("prompt_cache_breakpoint") != nil {
		base.Cache = &llm.CacheMark{}
	}
	base.Wire, base.Extra = own(w.Bytes), own(o.rest())
	return p
}

// usualType is the type that a part has by itself.
func usualType(p llm.Part, role llm.Role) string {
	switch p := p.(type) {
	case *llm.Text:
		if role == llm.RoleAssistant {
			return "output_text"
		}
		return "input_text"
	case *llm.Refusal:
		return "refusal"
	case *llm.Media:
		switch p.Kind {
		case llm.MediaImage:
			return "input_image"
		case llm.MediaAudio:
			return "input_audio"
		default:
			return "input_file"
		}
	}
	return ""
}

func readText(o *object) *llm.Text {
	t := &llm.Text{Text: o.text("text")}
	if o.get("text") == nil {
		o.required("text")
	}
	o.objects("annotations", func(_ int, annotation *object, value []byte) {
		t.Citations = append(t.Citations, readCitation(annotation, value))
	})
	return t
}

// readCitation reads an annotation. All but a plain citation of a URL is kept
// whole beside what the vocabulary has words for.
func readCitation(o *object, value []byte) llm.Citation {
	c := llm.Citation{URL: o.text("url"), Title: o.text("title")}
	if start := o.integer("start_index"); start != nil {
		c.Start = *start
	}
	if end := o.integer("end_index"); end != nil {
		c.End = *end
	}
	plain := o.text("type") == "url_citation" && (c.Start != 0 || c.End != 0) == (o.get("start_index") != nil && o.get("end_index") != nil) &&
		(c.Title != "") == (o.get("title") != nil)
	if plain && o.rest() == nil {
		return c
	}
	if c.Title == "" {
		c.Title = o.text("filename")
	}
	c.Extra = own(o.reader.copy(value, o.place, ""))
	return c
}

func readImage(o *object) *llm.Media {
	m := &llm.Media{Kind: llm.MediaImage, FileID: o.text("file_id"), Detail: o.text("detail")}
	setSource(m, o, "image_url")
	if m.FileID == "" && o.get("image_url") == nil {
		o.required("image_url")
	}
	return m
}

func readFile(o *object) *llm.Media {
	m := &llm.Media{Kind: llm.MediaDocument, FileID: o.text("file_id"), Name: o.text("filename"), Detail: o.text("detail")}
	switch {
	case o.get("file_url") != nil:
		m.URL = o.text("file_url")
	case o.get("file_data") != nil:
		setSource(m, o, "file_data")
		if m.URL != "" { // no data URL, so the data by themselves
			m.Data, m.URL = m.URL, ""
			checkBase64(o, "file_data", m.Data)
		}
	case m.FileID == "":
		o.required("file_data")
	}
	return m
}

func readAudio(o *object) *llm.Media {
	m := &llm.Media{Kind: llm.MediaAudio}
	audio, ok := o.nested("input_audio")
	if !ok {
		o.missing("input_audio")
		return m
	}
	m.MIME, m.Data = audioMIME(audio.required("format")), audio.required("data")
	checkBase64(&audio, "data", m.Data)
	return m
}

// setSource reads a URL: of data, which it takes out, or of another place.
func setSource(m *llm.Media, o *object, name string) {
	url := o.text(name)
	mime, data, ok := wire.DataURL(url)
	switch {
	case ok:
		m.MIME, m.Data = mime, data
	case strings.HasPrefix(url, "data:") && strings.Contains(url, ";base64,"):
		o.wrong(name, "is not valid base64")
	default:
		m.URL = url
	}
}

func checkBase64(o *object, name, data string) {
	if !wire.ValidBase64(data) {
		o.wrong(name, "is not valid base64")
	}
}

// The audio formats that a request can name, by their MIME types.
func audioMIME(format string) string {
	if format == "mp3" {
		return "audio/mpeg"
	}
	return "audio/" + format
}

func audioFormat(mime string) string {
	switch mime {
	case "audio/mpeg", "audio/mp3":
		return "mp3"
	case "audio/wav", "audio/x-wav", "audio/wave":
		return "wav"
	}
	return strings.TrimPrefix(mime, "audio/")
}
