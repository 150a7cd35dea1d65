package anthropic

import (
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// media takes an image or a document. A source of a kind that is not known, or
// one made of blocks, is kept whole.
func (r *reader) media(kind string, pos llm.Pos) llm.Part {
	if !r.plainSource() {
		return r.native(kind, pos)
	}
	p := &llm.Media{Common: llm.Common{Pos: pos}, Kind: llm.MediaKind(kind)}
	if raw := r.PeekRaw("source"); raw == nil || string(raw) == "null" {
		r.Fail("source", "is required")
	}
	r.members(&p.Common, func(name []byte) bool {
		switch string(name) {
		case "source":
			r.source(p)
		case "title":
			p.Name = r.Text()
		default:
			return false
		}
		return true
	})
	return p
}

// plainSource says whether the block at hand has a source that llm.Media can
// say.
func (r *reader) plainSource() bool {
	known := true
	s := jsonedit.NewScanner(r.PeekRaw("source"))
	for name := range s.Members {
		switch string(name) {
		case "type":
			kind := string(s.Skip())
			known = known && (kind == `"base64"` || kind == `"url"` || kind == `"file"` || kind == `"text"`)
		case "media_type", "data", "url", "file_id":
		default:
			known = false
		}
	}
	return known
}

func (r *reader) source(p *llm.Media) {
	kind := r.Peek("type")
	var data string
	for name := range r.Members {
		switch string(name) {
		case "type":
			r.Text()
		case "media_type":
			p.MIME = r.Text()
		case "data":
			data = r.Text()
			if kind == "base64" && data != "" && !wire.ValidBase64(data) {
				r.Fail("", "must be standard base64")
			}
		case "url":
			p.URL = r.Text()
		case "file_id":
			p.FileID = r.Text()
		}
	}
	r.checkSource(kind, data, p)
}

func (r *reader) checkSource(kind, data string, p *llm.Media) {
	switch {
	case kind == "":
		r.Fail("type", "is required")
	case kind == "url" && p.URL == "":
		r.Fail("url", "is required")
	case kind == "file" && p.FileID == "":
		r.Fail("file_id", "is required")
	case kind == "base64" && data == "":
		r.Fail("data", "is required")
	case kind == "base64" && p.MIME == "":
		r.Fail("media_type", "is required")
	case kind == "base64":
		p.Data = data
	case kind == "text":
		p.Text = data
	}
}
