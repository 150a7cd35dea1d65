package anthropic

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// reader reads a client's request.
type reader struct {
	*wire.Reader
	seal dialect.Sealer
	out  *llm.Request
	rest wire.Rest // members of the body

	maxTokens bool            // was there
	calls     map[string]bool // the tool calls so far, by id
	orphan    *llm.Error      // the first tool result without a call
	thinking  llm.Reasoning
	thinks    bool // thinking says something
}

// DecodeRequest implements [dialect.Translator].
func (MessagesCodec) DecodeRequest(body []byte, o dialect.DecodeOptions) (*llm.Request, error) {
	return decode(body, o, true)
}

// DecodeCount implements [dialect.TokenCounter].
func (CountCodec) DecodeCount(body []byte, o dialect.DecodeOptions) (*llm.Request, error) {
	return decode(body, o, false)
}

func decode(body []byte, o dialect.DecodeOptions, answered bool) (*llm.Request, error) {
	r := &reader{Reader: wire.NewReader(body), seal: o.Seal, out: &llm.Request{StreamUsage: answered}, calls: map[string]bool{}}
	if r.seal == nil {
		r.seal = dialect.NoSeal{}
	}
	r.body()
	if err := r.End(); err != nil {
		return nil, styled(wire.RequestError(err))
	}
	out := r.out
	switch {
	case out.Model == "":
		return nil, styled(wire.Missing("model"))
	case !r.spoken():
		return nil, styled(wire.Missing("messages"))
	case answered && !r.maxTokens:
		return nil, styled(wire.Missing("max_tokens"))
	case r.orphan != nil && wire.Member(r.rest.JSON(), "thread") == nil: // a thread's calls are at the provider
		return nil, styled(r.orphan)
	}
	if r.thinks {
		out.Reasoning = &r.thinking
	}
	out.Extra = r.rest.Extra(Format)
	return out, nil
}

// spoken says whether there is any message beside the system prompt.
func (r *reader) spoken() bool {
	for i := range r.out.Messages {
		if r.out.Messages[i].Pos.Message >= 0 {
			return true
		}
	}
	return false
}

func (r *reader) body() {
	out := r.out
	for name := range r.Members {
		switch string(name) {
		case "model":
			out.Model = r.Text()
		case "messages":
			for i := range r.Elements {
				r.message(int32(i))
			}
		case "system":
			r.system()
		case "max_tokens":
			r.limit()
		case "stream":
			out.Stream = r.Bool()
		case "tools":
			for i := range r.Elements {
				r.tool(int32(i))
			}
		case "tool_choice":
			r.toolChoice()
		case "stop_sequences":
			out.Stop = r.Texts()
		case "temperature":
			out.Temperature = new(r.Float())
		case "top_p":
			out.TopP = new(r.Float())
		case "top_k":
			out.TopK = new(r.Float())
		case "service_tier":
			out.ServiceTier = r.Text()
		case "metadata":
			r.metadata()
		case "thinking":
			r.thinkingConfig()
		case "output_config":
			r.outputConfig()
		case "output_format": // output_config.format, as it was called in the beta
			r.outputFormat(&r.rest, name)
		default:
			r.rest.Add(name, r.Raw())
		}
	}
}

// limit takes max_tokens. 0 asks for the cache to be filled and for no answer;
// the vocabulary has no word for that.
func (r *reader) limit() {
	r.maxTokens = true
	if r.out.MaxTokens = r.Count(); r.out.MaxTokens == 0 {
		r.rest.Add([]byte("max_tokens"), []byte("0"))
	}
}

func (r *reader) metadata() {
	var rest wire.Rest
	for name := range r.Members {
		if string(name) == "user_id" {
			r.out.User = r.Text()
			continue
		}
		rest.Add(name, r.Raw())
	}
	r.rest.Nest("metadata", &rest)
}

// The types of thinking.
const (
	thinkingEnabled  = "enabled"
	thinkingDisabled = "disabled"
	thinkingAdaptive = "adaptive"
)

func (r *reader) thinkingConfig() {
	var rest wire.Rest
	r.thinks = true
	t := &r.thinking
	kind := r.Peek("type")
	for name := range r.Members {
		switch string(name) {
		case "type":
			if r.Text(); kind != thinkingEnabled && kind != thinkingDisabled && kind != thinkingAdaptive {
				rest.Add(name, wire.AppendQuote(nil, kind))
			}
		case "budget_tokens":
			t.Budget = new(r.Count())
		case "display":
			r.display(&rest, name)
		default:
			rest.Add(name, r.Raw())
		}
	}
	switch kind {
	case "":
		r.Fail("type", "is required")
	case thinkingDisabled:
		t.Budget = new(int64(0))
	case thinkingAdaptive:
		t.Adaptive = true
	case thinkingEnabled:
		if t.Budget == nil {
			r.Fail("budget_tokens", "is required")
		}
		if t.Show == nil { // thinking with a budget is shown unless the client says otherwise
			t.Show = new(true)
		}
	}
	t.Extra = rest.Extra(Format)
}

func (r *reader) display(rest *wire.Rest, name []byte) {
	switch word := r.Text(); word {
	case "summarized":
		r.thinking.Show = new(true)
	case "omitted":
		r.thinking.Show = new(false)
	default:
		rest.Add(name, wire.AppendQuote(nil, word))
	}
}

func (r *reader) outputConfig() {
	var rest wire.Rest
	for name := range r.Members {
		switch string(name) {
		case "effort":
			r.thinking.Effort, r.thinks = r.Text(), true
		case "format":
			r.outputFormat(&rest, name)
		default:
			rest.Add(name, r.Raw())
		}
	}
	r.rest.Nest("output_config", &rest)
}

// outputFormat takes a format for the answer; one that is not known goes to
// rest.
func (r *reader) outputFormat(rest *wire.Rest, name []byte) {
	if r.Peek("type") != string(llm.OutputJSONSchema) {
		rest.Add(name, r.RawObject())
		return
	}
	var members wire.Rest
	format := &llm.OutputFormat{Kind: llm.OutputJSONSchema}
	for name := range r.Members {
		switch string(name) {
		case "type":
			r.Text()
		case "schema":
			format.Schema = r.RawObject()
		default:
			members.Add(name, r.Raw())
		}
	}
	if format.Schema == nil {
		r.Fail("schema", "is required")
	}
	format.Extra = members.Extra(Format)
	r.out.Output = format
}

func (r *reader) tool(index int32) {
	tool := llm.Tool{Index: index}
	if kind := r.Peek("type"); kind != "" && kind != "custom" {
		tool.Name = r.Peek("name")
		tool.Native = &llm.Native{Format: Format, Type: kind, JSON: r.RawObject()}
		r.out.Tools = append(r.out.Tools, tool)
		return
	}
	var rest wire.Rest
	for name := range r.Members {
		switch string(name) {
		case "type":
			r.Text()
		case "name":
			tool.Name = r.Text()
		case "description":
			tool.Description = r.Text()
		case "input_schema":
			tool.Schema = r.RawObject()
		case "strict":
			tool.Strict = new(r.Bool())
		case "cache_control":
			tool.Cache = r.cacheControl(&rest, name)
		default:
			rest.Add(name, r.Raw())
		}
	}
	switch {
	case tool.Name == "":
		r.Fail("name", "is required")
	case tool.Schema == nil:
		r.Fail("input_schema", "is required")
	}
	tool.Extra = rest.Extra(Format)
	r.out.Tools = append(r.out.Tools, tool)
}

func (r *reader) toolChoice() {
	choice := &llm.ToolChoice{}
	switch kind := r.Peek("type"); kind {
	case "auto":
		choice.Mode = llm.ToolAuto
	case "any", "tool":
		choice.Mode = llm.ToolRequired
	case "none":
		choice.Mode = llm.ToolNone
	case "":
		r.Fail("type", "is required")
		return
	default:
		choice.Native = &llm.Native{Format: Format, Type: kind, JSON: r.RawObject()}
		r.out.ToolChoice = choice
		return
	}
	named := r.Peek("type") == "tool"
	var rest wire.Rest
	for name := range r.Members {
		switch string(name) {
		case "type":
			r.Text()
		case "name":
			if choice.Names = []string{r.Text()}; !named {
				r.Fail("", "goes with the type tool only")
			}
		case "disable_parallel_tool_use":
			r.out.ParallelTools = new(!r.Bool())
		default:
			rest.Add(name, r.Raw())
		}
	}
	if named && choice.Names == nil {
		r.Fail("name", "is required")
	}
	r.rest.Nest("tool_choice", &rest)
	r.out.ToolChoice = choice
}

// cacheControl takes a cache breakpoint. One of a kind that is not known goes to
// rest.
func (r *reader) cacheControl(rest *wire.Rest, name []byte) *llm.CacheMark {
	raw := r.RawObject()
	mark := &llm.CacheMark{}
	s := jsonedit.NewScanner(raw)
	known := true
	for member := range s.Members {
		value := s.Skip()
		switch {
		case string(member) == "type" && string(value) == `"ephemeral"`:
		case string(member) == "ttl" && value[0] == '"':
			mark.TTL = string(jsonedit.AppendText(nil, value))
		default:
			known = known && string(value) == "null"
		}
	}
	if len(raw) == 0 || !known {
		rest.Add(name, raw)
		return nil
	}
	return mark
}
