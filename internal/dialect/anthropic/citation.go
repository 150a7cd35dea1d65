package anthropic

import (
	"strings"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// readCitation reads a citation of any type. Its members are kept whole.
func readCitation(raw []byte) llm.Citation {
	c := llm.Citation{Extra: llm.Extra{Format: Format, JSON: raw}}
	s := jsonedit.NewScanner(raw)
	for name := range s.Members {
		switch string(name) {
		case "cited_text":
			set(&c.Quote, &s)
		case "url":
			set(&c.URL, &s)
		case "source": // of a search result the caller gave: a URL, or a name
			if source := string(s.Text(nil)); strings.HasPrefix(source, "http") && c.URL == "" {
				c.URL = source
			}
		case "title", "document_title":
			set(&c.Title, &s)
		}
	}
	return c
}

// appendCitation appends a citation. ok is false for one of another format that
// cannot be said: without a URL it points to nothing the client has.
//
// A source on the web is a web_search_result_location, whose encrypted_index is
// for Anthropic's own search to be quoted again, and empty here.
func appendCitation(dst []byte, c llm.Citation) (out []byte, ok bool) {
	if own := c.Extra.In(Format); own != nil {
		return append(dst, own...), true
	}
	if c.URL == "" {
		return dst, false
	}
	w := wire.Writer{Bytes: append(dst, `{"type":"web_search_result_location"`...)}
	w.Name("cited_text").Text(c.Quote)
	w.Name("encrypted_index").Text("")
	w.Name("title").Text(c.Title)
	w.Name("url").Text(c.URL)
	w.End()
	return w.Bytes, true
}
