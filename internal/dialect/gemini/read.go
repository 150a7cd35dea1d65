package gemini

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
)

// Contents are read by hand, since they are nearly all of a body, into the types
// that the rest is unmarshalled into.

// camelCase is a member's name as the types here have it.
func camelCase(name []byte) string {
	for i, c := range name {
		if c == '_' && i > 0 {
			return camelCaseOf(string(name))
		}
	}
	return string(name)
}

func camelCaseOf(name string) string {
	var camel strings.Builder
	for i := 0; i < len(name); i++ {
		if c := name[i]; c != '_' || i+1 == len(name) {
			camel.WriteByte(c)
			continue
		}
		i++
		if c := name[i]; 'a' <= c && c <= 'z' {
			camel.WriteByte(c - 'a' + 'A')
		} else {
			camel.WriteByte(c)
		}
	}
	return camel.String()
}

// elements visits those of an array, or the one object that stands for it.
func elements(r *wire.Reader, visit func(i int)) {
	if r.Kind() == jsonedit.KindObject {
		visit(0)
		return
	}
	for i := range r.Elements {
		visit(i)
	}
}

// unmarshal reads a member that is no content.
func unmarshal(r *wire.Reader, into any) {
	value := r.Value()
	if r.Failed() || len(value) == 0 {
		return
	}
	if err := json.Unmarshal(value, into, reading); err != nil {
		e := malformed(err)
		if at := r.Path(); e.Param == "" {
			e.Param, e.Message = at, at+" has the wrong type"
		} else {
			e.Param, e.Message = at+joint(e.Param)+e.Param, at+joint(e.Param)+e.Message
		}
		r.FailWith(e)
	}
}

func joint(path string) string {
	if path[0] == '[' {
		return ""
	}
	return "."
}

// once notes a member whose other spelling came before.
func once(r *wire.Reader, before bool) {
	if before {
		r.Fail("", "comes twice, in two spellings")
	}
}

func readRequest(r *wire.Reader) (in request) {
	for name := range r.Members {
		switch camelCase(name) {
		case "contents":
			elements(r, func(int) { in.Contents = append(in.Contents, readContent(r)) })
		case "systemInstruction":
			once(r, in.SystemInstruction != nil)
			in.SystemInstruction = new(readContent(r))
		case "tools":
			unmarshal(r, &in.Tools)
		case "toolConfig":
			once(r, in.ToolConfig != nil)
			unmarshal(r, &in.ToolConfig)
		case "generationConfig":
			once(r, in.GenerationConfig != nil)
			unmarshal(r, &in.GenerationConfig)
		case "labels":
			unmarshal(r, &in.Labels)
		case "serviceTier":
			in.ServiceTier = r.Text()
		default:
			(*object)(&in.Extra).add(string(name), r.Raw())
		}
	}
	return in
}

func readContent(r *wire.Reader) (c content) {
	for name := range r.Members {
		switch string(name) {
		case "role":
			c.Role = r.Text()
		case "parts":
			elements(r, func(int) { c.Parts = append(c.Parts, readPart(r)) })
		default:
			(*object)(&c.Extra).add(string(name), r.Raw())
		}
	}
	return c
}

func readPart(r *wire.Reader) (p part) {
	kinds := 0
	for name := range r.Members {
		kinds++
		switch camelCase(name) {
		case "text":
			p.Text = new(r.Text())
		case "inlineData":
			p.InlineData = new(readBlob(r))
		case "fileData":
			p.FileData = new(readFile(r))
		case "functionCall":
			p.FunctionCall = new(readCall(r))
		case "functionResponse":
			p.FunctionResponse = new(readResponse(r))
		case "executableCode":
			p.ExecutableCode = r.Raw()
		case "codeExecutionResult":
			p.CodeExecutionResult = r.Raw()
		case "toolCall":
			p.ToolCall = r.Raw()
		case "toolResponse":
			p.ToolResponse = r.Raw()
		case "thought":
			kinds--
			p.Thought = r.Bool()
		case "thoughtSignature":
			kinds--
			p.ThoughtSignature = r.Text()
		default:
			kinds--
			(*object)(&p.Extra).add(string(name), r.Raw())
		}
	}
	if kinds > 1 {
		r.Fail("", "must have only one of text, inlineData, fileData, functionCall, functionResponse and the like")
	}
	return p
}

func readBlob(r *wire.Reader) (b blob) {
	for name := range r.Members {
		switch camelCase(name) {
		case "mimeType":
			b.MIMEType = r.Text()
		case "data":
			b.Data = r.Text()
		case "displayName":
			b.DisplayName = r.Text()
		default:
			(*object)(&b.Extra).add(string(name), r.Raw())
		}
	}
	return b
}

func readFile(r *wire.Reader) (f fileData) {
	for name := range r.Members {
		switch camelCase(name) {
		case "mimeType":
			f.MIMEType = r.Text()
		case "fileUri":
			f.FileURI = r.Text()
		case "displayName":
			f.DisplayName = r.Text()
		default:
			(*object)(&f.Extra).add(string(name), r.Raw())
		}
	}
	return f
}

func readCall(r *wire.Reader) (f functionCall) {
	for name := range r.Members {
		switch string(name) {
		case "id":
			f.ID = r.Text()
		case "name":
			f.Name = r.Text()
		case "args":
			f.Args, f.only = readObject(r)
		default:
			(*object)(&f.Extra).add(string(name), r.Raw())
		}
	}
	return f
}

func readResponse(r *wire.Reader) (f functionResponse) {
	for name := range r.Members {
		switch string(name) {
		case "id":
			f.ID = r.Text()
		case "name":
			f.Name = r.Text()
		case "response":
			f.Response, f.only = readObject(r)
		case "parts":
			elements(r, func(int) { f.Parts = append(f.Parts, readResponsePart(r)) })
		default:
			(*object)(&f.Extra).add(string(name), r.Raw())
		}
	}
	return f
}

func readResponsePart(r *wire.Reader) (p responsePart) {
	for name := range r.Members {
		switch camelCase(name) {
		case "inlineData":
			p.InlineData = new(readBlob(r))
		case "fileData":
			p.FileData = new(readFile(r))
		default:
			(*object)(&p.Extra).add(string(name), r.Raw())
		}
	}
	return p
}

// readObject takes an object as it stands in the body, and the value of its only
// member, if it has but one. It may be large, so only its own members are
// checked for coming twice.
func readObject(r *wire.Reader) (whole jsontext.Value, only member) {
	start, members := r.Pos(), 0
	for name := range r.Members {
		members++
		only = member{name, r.Value()}
	}
	if whole = r.Slice(start); members != 1 || bytes.IndexByte(whole, '"') < 0 {
		only = member{}
	}
	return whole, only
}
