package anthropic

import (
	"encoding/base64"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// media writes an image or a document.
func (w *writer) media(p *llm.Media) error {
	p, err := w.inline(p)
	if err != nil || p == nil {
		return err
	}
	if why := w.unreadable(p); why != "" {
		return w.o.Unsaid.Part(p.Pos, "", why)
	}
	if p.Detail != "" && p.Detail != "auto" {
		w.leave(p.Pos, "detail")
	}
	w.Object()
	appendMediaBody(&w.Writer, p)
	w.tail(&p.Common)
	return nil
}

// inline fetches what Vertex AI does not fetch itself.
func (w *writer) inline(p *llm.Media) (*llm.Media, error) {
	web := strings.HasPrefix(p.URL, "http://") || strings.HasPrefix(p.URL, "https://")
	if p.URL == "" || web && !w.o.Vertex || w.native && !w.o.Vertex {
		return p, nil
	}
	if w.o.Inline == nil {
		return nil, w.o.Unsaid.Part(p.Pos, "", "its content must be in the request itself, and fetching it is off")
	}
	return w.o.Inline(p)
}

// unreadable says why the API does not take a part; "" if it does.
func (w *writer) unreadable(p *llm.Media) string {
	mime, _, _ := strings.Cut(p.MIME, ";")
	switch {
	case p.Kind != llm.MediaImage && p.Kind != llm.MediaDocument:
		return "it takes images and documents only"
	case w.native:
		return ""
	case w.role != "user":
		return "it takes images and documents from the user only"
	case p.FileID != "":
		return "the file is at another provider"
	case p.Kind == llm.MediaImage && p.Data != "" && !imageTypes[mimeOf(p)]:
		return "it takes images as JPEG, PNG, GIF and WebP only"
	case p.Kind == llm.MediaDocument && p.Data != "" && mimeOf(p) != "application/pdf" && !strings.HasPrefix(mime, "text/"):
		return "it takes documents as PDF and plain text only"
	}
	return ""
}

var imageTypes = map[string]bool{"image/jpeg": true, "image/png": true, "image/gif": true, "image/webp": true}

// mimeOf is a part's type, told by its first bytes where it is not said.
func mimeOf(p *llm.Media) string {
	mime, _, _ := strings.Cut(p.MIME, ";")
	if mime == "image/jpg" {
		return "image/jpeg"
	}
	if mime != "" && mime != "application/octet-stream" {
		return mime
	}
	for prefix, mime := range map[string]string{
		"iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp", "JVBERi": "application/pdf",
	} {
		if strings.HasPrefix(p.Data, prefix) {
			return mime
		}
	}
	return p.MIME
}

// appendMedia writes a block with an image or a document, as answers have it.
func appendMedia(w *wire.Writer, p *llm.Media) {
	w.Object()
	appendMediaBody(w, p)
	w.Members(p.Extra.In(Format))
	w.End()
}

func appendMediaBody(w *wire.Writer, p *llm.Media) {
	w.Name("type").Text(string(p.Kind))
	w.Name("source").Object()
	plain := p.Kind == llm.MediaDocument && strings.HasPrefix(p.MIME, "text/")
	switch {
	case p.URL != "":
		w.Name("type").Text("url")
		w.Name("url").Text(p.URL)
	case p.FileID != "":
		w.Name("type").Text("file")
		w.Name("file_id").Text(p.FileID)
	case p.Data != "" && plain:
		text, _ := base64.StdEncoding.DecodeString(p.Data)
		w.Name("type").Text("text")
		w.Name("media_type").Text("text/plain")
		w.Name("data").Text(string(text))
	case p.Data != "":
		w.Name("type").Text("base64")
		w.Name("media_type").Text(mimeOf(p))
		w.Name("data").Text(p.Data)
	default:
		w.Name("type").Text("text")
		w.Name("media_type").Text("text/plain")
		w.Name("data").Text(p.Text)
	}
	w.End()
	if p.Kind == llm.MediaDocument {
		w.TextMember("title", p.Name)
	}
}
