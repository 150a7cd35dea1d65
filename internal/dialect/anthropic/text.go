package anthropic

import (
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
)

// AppendText implements [dialect.Call]. Of messages it takes what a model reads
// as text; of tools, tool calls and schemas, which reach the model as some kind
// of JSON, the bytes as they stand.
func (k *call) AppendText(dst []byte, limit int) []byte {
	t := wire.NewTextCollector(dst, limit)
	collectContent(t, k.Value("system"))
	if messages := k.Value("messages"); messages != nil {
		s := jsonedit.NewScanner(messages)
		for range s.Elements {
			for name := range s.Members {
				if string(name) == "content" {
					collectContent(t, s.Skip())
				}
			}
		}
	}
	for _, name := range [...]string{"tools", "output_config", "output_format"} {
		t.Raw(k.Value(name))
	}
	return t.Bytes()
}

// collectContent takes a text, or blocks; images and files are left out.
func collectContent(t *wire.TextCollector, content []byte) {
	if len(content) == 0 || content[0] != '[' {
		t.Text(content)
		return
	}
	s := jsonedit.NewScanner(content)
	for range s.Elements {
		for name := range s.Members {
			switch string(name) {
			case "text", "thinking", "title", "context":
				t.Text(s.Skip())
			case "input":
				t.Raw(s.Skip())
			case "content":
				collectContent(t, s.Skip())
			case "source":
				collectSource(t, s.Skip())
			}
		}
	}
}

// collectSource takes a document that is plain text.
func collectSource(t *wire.TextCollector, source []byte) {
	var kind, data []byte
	s := jsonedit.NewScanner(source)
	for name := range s.Members {
		switch string(name) {
		case "type":
			kind = s.Skip()
		case "data":
			data = s.Skip()
		}
	}
	if string(kind) == `"text"` {
		t.Text(data)
	}
}
