package openaichat

import (
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// part is what one part of a content says, its values as they stand in the body.
type part struct {
	llm.Common
	kind   string
	values [3]value // nearly always one
	n      int
	rest   wire.Rest
}

type value struct {
	name string
	json []byte
}

// partMembers is the member that each type of part has its content in.
var partMembers = map[string]string{
	"text": "text", "refusal": "refusal", "image_url": "image_url", "input_audio": "input_audio",
	"file": "file", "video_url": "video_url", "thinking": "thinking",
}

// readPart reads one part. One of a type that only some servers know stays as it
// is; nil is for one that is wrong, or that says nothing.
func readPart(r *wire.Reader, pos llm.Pos) llm.Part {
	start := r.Pos()
	p := part{Common: llm.Common{Pos: pos}}
	for name := range r.Members {
		p.member(r, name)
	}
	if r.Failed() {
		return nil
	}
	if p.kind == "" {
		r.Fail("type", "is required")
		return nil
	}
	member, known := partMembers[p.kind]
	if !known || p.kind == "thinking" && !thinkingList(p.value("thinking")) {
		return &llm.NativePart{Common: p.Common, Native: llm.Native{Format: dialect.OpenAIChat, Type: p.kind, JSON: r.Since(start)}}
	}
	content := p.value(member)
	if content == nil {
		r.Fail(member, "is required")
		return nil
	}
	for _, v := range p.values[:p.n] {
		if v.name != member {
			p.rest.Add([]byte(v.name), r.At(v.name, v.json).Raw())
		}
	}
	return p.read(r, member, content)
}

func (p *part) member(r *wire.Reader, name []byte) {
	switch string(name) {
	case "type":
		p.kind = r.Text()
	case "cache_control":
		p.Cache = cacheMark(r, &p.rest)
	case "prompt_cache_breakpoint":
		p.breakpoint(r)
	case "text", "refusal", "image_url", "input_audio", "file", "video_url", "thinking":
		if p.n < len(p.values) {
			p.values[p.n] = value{partMembers[string(name)], r.Value()}
			p.n++
			return
		}
		p.rest.Add(name, r.Raw())
	default:
		p.rest.Add(name, r.Raw())
	}
}

func (p *part) value(name string) []byte {
	for _, v := range p.values[:p.n] {
		if v.name == name {
			return v.json
		}
	}
	return nil
}

// read makes the part of its content, the value of a member.
func (p *part) read(r *wire.Reader, member string, content []byte) llm.Part {
	media := &llm.Media{}
	switch member {
	case "text":
		text := r.Unquote(member, content)
		if text == "" && p.Cache == nil && p.rest.JSON() == nil {
			return nil
		}
		return &llm.Text{Common: p.common(), Text: text}
	case "refusal":
		return &llm.Refusal{Common: p.common(), Text: r.Unquote(member, content)}
	case "thinking":
		thinking := &llm.Thinking{Common: p.common(), Text: thinkingText(content)}
		thinking.Opaque = ownState("", []byte(inContent))
		return thinking
	case "image_url":
		media.Kind = llm.MediaImage
		readURL(r.At(member, content), media, &p.rest, member)
	case "video_url":
		media.Kind = llm.MediaVideo
		readURL(r.At(member, content), media, &p.rest, member)
	case "input_audio":
		media.Kind = llm.MediaAudio
		readAudio(r.At(member, content), media, &p.rest)
	case "file":
		media.Kind = llm.MediaDocument
		readFile(r.At(member, content), media, &p.rest)
	}
	media.Common = p.common()
	return media
}

func (p *part) common() llm.Common {
	c := p.Common
	c.Extra = p.rest.Extra(dialect.OpenAIChat)
	return c
}

// breakpoint reads OpenAI's own mark of a prefix to cache.
//
// Source: https://platform.openai.com/docs/guides/prompt-caching.
func (p *part) breakpoint(r *wire.Reader) {
	raw := r.Raw()
	if mode := wire.Member(raw, "mode"); string(mode) != `"explicit"` || wire.Count(raw) != 1 {
		p.rest.Add([]byte("prompt_cache_breakpoint"), raw)
		return
	}
	if p.Cache == nil {
		p.Cache = &llm.CacheMark{}
	}
	p.Wire = breakpointWire
}

// breakpointWire marks a part whose cache mark is OpenAI's own.
var breakpointWire = llm.Extra{Format: dialect.OpenAIChat, JSON: []byte(`{"prompt_cache_breakpoint":{"mode":"explicit"}}`)}

// cacheMark reads Anthropic's cache_control, which OpenRouter and other servers
// take in any part, tool or message. One that says more than the vocabulary can
// is kept as it is.
func cacheMark(r *wire.Reader, rest *wire.Rest) *llm.CacheMark {
	raw := r.RawObject()
	mark, known := &llm.CacheMark{}, false
	s := jsonedit.NewScanner(raw)
	for name := range s.Members {
		switch string(name) {
		case "type":
			known = string(s.Skip()) == `"ephemeral"`
		case "ttl":
			mark.TTL = string(s.Text(nil))
		default:
			known = false
		}
	}
	if !known && raw != nil {
		rest.Add([]byte("cache_control"), raw)
		return nil
	}
	return mark
}

// readURL reads {"url": …, "detail": …}.
func readURL(r *wire.Reader, m *llm.Media, outer *wire.Rest, member string) {
	var rest wire.Rest
	for name := range r.Members {
		switch string(name) {
		case "url":
			setURL(r, m, r.Text())
		case "detail":
			m.Detail = r.Text()
		default:
			rest.Add(name, r.Raw())
		}
	}
	if m.URL == "" && m.Data == "" {
		r.Fail("url", "is required")
	}
	outer.Nest(member, &rest)
}

// setURL takes a URL that may have the content in it.
func setURL(r *wire.Reader, m *llm.Media, url string) {
	if !strings.HasPrefix(url, "data:") {
		m.URL = url
		return
	}
	var ok bool
	if m.MIME, m.Data, ok = wire.DataURL(url); !ok {
		r.Fail("", "must be a data URL with standard base64 in it, or the address of a file")
	}
}

func readAudio(r *wire.Reader, m *llm.Media, outer *wire.Rest) {
	var rest wire.Rest
	for name := range r.Members {
		switch string(name) {
		case "data":
			if m.Data = r.Text(); !wire.ValidBase64(m.Data) {
				r.Fail("", "must be standard base64")
			}
		case "format":
			m.MIME = audioMIME(r.Text())
		default:
			rest.Add(name, r.Raw())
		}
	}
	if m.Data == "" {
		r.Fail("data", "is required")
	}
	if m.MIME == "" {
		r.Fail("format", "is required")
	}
	outer.Nest("input_audio", &rest)
}

func readFile(r *wire.Reader, m *llm.Media, outer *wire.Rest) {
	var rest wire.Rest
	for name := range r.Members {
		switch string(name) {
		case "file_data":
			fileData(r, m)
		case "file_id":
			m.FileID = r.Text()
		case "filename":
			m.Name = r.Text()
		default:
			rest.Add(name, r.Raw())
		}
	}
	switch {
	case m.Data == "" && m.URL == "" && m.FileID == "":
		r.Fail("file_data", "is required, unless there is a file_id")
	case m.FileID != "" && (m.Data != "" || m.URL != ""):
		r.Fail("file_id", "cannot stand beside file_data")
	}
	outer.Nest("file", &rest)
}

// fileData takes a data URL, base64 alone, or the address of a file (OpenRouter).
func fileData(r *wire.Reader, m *llm.Media) {
	switch text := r.Text(); {
	case strings.HasPrefix(text, "https:"), strings.HasPrefix(text, "http:"), strings.HasPrefix(text, "data:"):
		setURL(r, m, text)
	case wire.ValidBase64(text):
		m.Data = text
	default:
		r.Fail("", "must be a data URL with standard base64 in it")
	}
}

// audioMIME is the media type of one of OpenAI's audio formats.
func audioMIME(format string) string {
	if format == "" {
		return ""
	}
	return "audio/" + format
}

// audioFormat reverses audioMIME, and knows the other names of the two formats
// that OpenAI takes.
func audioFormat(mime string) string {
	switch mime {
	case "audio/mpeg", "audio/mp3", "audio/x-mp3":
		return "mp3"
	case "audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave":
		return "wav"
	}
	return strings.TrimPrefix(mime, "audio/")
}
