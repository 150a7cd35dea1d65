package gemini

import (
	"github.com/financecommander/tollgate/internal/dialect/wire"
)

// encode writes the request, its contents by hand, since they are nearly all of
// it.
func (r *request) encode() []byte {
	rest := *r
	rest.Contents = nil
	size := 0
	for i := range r.Contents {
		size += r.Contents[i].size()
	}
	w := wire.Writer{Bytes: make([]byte, 0, size+size/8+4<<10)}
	w.Object().Name("contents").Array()
	for i := range r.Contents {
		r.Contents[i].append(&w)
	}
	w.EndArray()
	w.Members(marshal(&rest))
	w.End()
	return w.Bytes
}

// size is about how long the content becomes.
func (c *content) size() int {
	n := 64
	for i := range c.Parts {
		p := &c.Parts[i]
		n += 64 + len(p.ThoughtSignature)
		if p.Text != nil {
			n += len(*p.Text)
		}
		if p.InlineData != nil {
			n += len(p.InlineData.Data)
		}
		if p.FunctionCall != nil {
			n += len(p.FunctionCall.Args)
		}
		if p.FunctionResponse != nil {
			if r := p.FunctionResponse.result; r != nil {
				n += len(r.text)
			}
			for j := range p.FunctionResponse.Parts {
				if b := p.FunctionResponse.Parts[j].InlineData; b != nil {
					n += len(b.Data)
				}
			}
		}
	}
	return n
}

func (c *content) append(w *wire.Writer) {
	w.Object()
	w.TextMember("role", c.Role)
	w.Name("parts").Array()
	for i := range c.Parts {
		c.Parts[i].append(w)
	}
	w.EndArray()
	w.Members(c.Extra)
	w.End()
}

func (p *part) append(w *wire.Writer) {
	w.Object()
	if p.Text != nil {
		w.Name("text").Text(*p.Text)
	}
	if p.InlineData != nil {
		w.Name("inlineData")
		p.InlineData.append(w)
	}
	if p.FileData != nil {
		w.Name("fileData").Raw(marshal(p.FileData))
	}
	if f := p.FunctionCall; f != nil {
		w.Name("functionCall").Object()
		w.TextMember("id", f.ID)
		w.TextMember("name", f.Name)
		w.RawMember("args", f.Args)
		w.Members(f.Extra)
		w.End()
	}
	if p.FunctionResponse != nil {
		w.Name("functionResponse")
		p.FunctionResponse.append(w)
	}
	w.RawMember("executableCode", p.ExecutableCode)
	w.RawMember("codeExecutionResult", p.CodeExecutionResult)
	w.RawMember("toolCall", p.ToolCall)
	w.RawMember("toolResponse", p.ToolResponse)
	if p.Thought {
		w.Name("thought").Bool(true)
	}
	w.TextMember("thoughtSignature", p.ThoughtSignature)
	w.Members(p.Extra)
	w.End()
}

func (f *functionResponse) append(w *wire.Writer) {
	w.Object()
	w.TextMember("id", f.ID)
	w.TextMember("name", f.Name)
	w.RawMember("response", f.Response)
	if f.result != nil {
		w.Name("response")
		w.Bytes = f.result.append(w.Bytes)
	}
	if len(f.Parts) > 0 {
		w.Name("parts").Array()
		for i := range f.Parts {
			p := &f.Parts[i]
			w.Object()
			if p.InlineData != nil {
				w.Name("inlineData")
				p.InlineData.append(w)
			}
			if p.FileData != nil {
				w.Name("fileData").Raw(marshal(p.FileData))
			}
			w.Members(p.Extra)
			w.End()
		}
		w.EndArray()
	}
	w.Members(f.Extra)
	w.End()
}

// append writes the data as it is: base64 needs no escapes.
func (b *blob) append(w *wire.Writer) {
	w.Object()
	w.TextMember("mimeType", b.MIMEType)
	w.Name("data").Raw([]byte(`""`))
	w.Bytes = append(append(w.Bytes[:len(w.Bytes)-1], b.Data...), '"')
	w.TextMember("displayName", b.DisplayName)
	w.Members(b.Extra)
	w.End()
}
