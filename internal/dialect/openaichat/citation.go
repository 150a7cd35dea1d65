package openaichat

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// readCitations reads annotations. One that is no url_citation is kept whole in
// its Extra.
func readCitations(raw []byte) []llm.Citation {
	var citations []llm.Citation
	s := jsonedit.NewScanner(raw)
	for range s.Elements {
		annotation := s.Skip()
		var c llm.Citation
		var rest, inner wire.Rest
		known := false
		a := jsonedit.NewScanner(annotation)
		for name := range a.Members {
			switch value := a.Skip(); string(name) {
			case "type":
			case "url_citation":
				known = len(value) > 0 && value[0] == '{'
				readURLCitation(value, &c, &inner)
			default:
				rest.Add(name, value)
			}
		}
		if !known {
			c = llm.Citation{Extra: llm.Extra{Format: dialect.OpenAIChat, JSON: annotation}}
			if len(annotation) == 0 || annotation[0] != '{' {
				continue
			}
		} else {
			rest.Nest("url_citation", &inner)
			c.Extra = rest.Extra(dialect.OpenAIChat)
		}
		citations = append(citations, c)
	}
	return citations
}

func readURLCitation(raw []byte, c *llm.Citation, rest *wire.Rest) {
	s := jsonedit.NewScanner(raw)
	for name := range s.Members {
		switch string(name) {
		case "url":
			c.URL = string(s.Text(nil))
		case "title":
			c.Title = string(s.Text(nil))
		case "content": // OpenRouter
			c.Quote = string(s.Text(nil))
		case "start_index":
			c.Start, _ = s.Int()
		case "end_index":
			c.End, _ = s.Int()
		default:
			rest.Add(name, s.Skip())
		}
	}
}

// sayable says whether annotations can say a citation: they know addresses only.
func sayable(c llm.Citation) bool { return c.URL != "" || c.Extra.In(dialect.OpenAIChat) != nil }

// appendCitation writes an annotation.
func appendCitation(w *wire.Writer, c llm.Citation) {
	extra := c.Extra.In(dialect.OpenAIChat)
	if c.URL == "" && extra != nil && wire.Member(extra, "url_citation") == nil {
		w.Raw(extra)
		return
	}
	w.Object().Name("type").Text("url_citation")
	w.Name("url_citation").Object()
	w.Name("url").Text(c.URL)
	w.Name("title").Text(c.Title)
	w.Name("start_index").Int(c.Start)
	w.Name("end_index").Int(c.End)
	w.TextMember("content", c.Quote)
	w.Members(wire.Member(extra, "url_citation"))
	w.End()
	w.Members(extra, "url_citation")
	w.End()
}
