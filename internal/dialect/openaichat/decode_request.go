package openaichat

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// requestDecoder reads one client's body.
type requestDecoder struct {
	*wire.Reader
	seal dialect.Sealer

	request llm.Request
	rest    wire.Rest // members of the body without a word for them
	maxOld  int64     // max_tokens
	choice  []byte    // function_call, the tool choice of the days of functions
	calls   map[string]*llm.ToolCall
	size    int // of the body
	slabs   slabs
	// lastFunction is the id of the last legacy function call, whose result says
	// only the function's name.
	lastFunction string
}

// slabs are memory for the small things that a conversation has many of.
type slabs struct {
	parts wire.Slab[llm.Part]
	texts wire.Slab[llm.Text]
	calls wire.Slab[llm.ToolCall]
}

// DecodeRequest implements [dialect.Translator].
//
// Source: https://platform.openai.com/docs/api-reference/chat/create.
func (ChatCodec) DecodeRequest(body []byte, o dialect.DecodeOptions) (*llm.Request, error) {
	d := &requestDecoder{Reader: wire.NewReader(body), seal: o.Seal, calls: map[string]*llm.ToolCall{}, size: len(body)}
	for name := range d.Members {
		d.member(name)
	}
	if !d.Failed() {
		d.finish()
	}
	if err := d.End(); err != nil {
		return nil, err
	}
	return &d.request, nil
}

func (d *requestDecoder) member(name []byte) {
	r := &d.request
	switch string(name) {
	case "model":
		r.Model = d.Text()
	case "messages":
		d.messages()
	case "stream":
		r.Stream = d.Bool()
	case "stream_options":
		d.streamOptions()
	case "tools":
		d.tools()
	case "functions":
		d.functions()
	case "tool_choice":
		r.ToolChoice = d.toolChoice()
	case "function_call":
		d.choice = d.Raw()
	case "parallel_tool_calls":
		r.ParallelTools = new(d.Bool())
	case "response_format":
		d.outputFormat()
	default:
		d.setting(name)
	}
}

// setting reads a member that is one number, one word or a few.
func (d *requestDecoder) setting(name []byte) {
	r := &d.request
	switch string(name) {
	case "max_tokens":
		d.maxOld = d.Int()
	case "max_completion_tokens":
		r.MaxTokens = d.Int()
	case "temperature":
		r.Temperature = new(d.Float())
	case "top_p":
		r.TopP = new(d.Float())
	case "top_k":
		r.TopK = new(d.Float())
	case "frequency_penalty":
		r.FrequencyPenalty = new(d.Float())
	case "presence_penalty":
		r.PresencePenalty = new(d.Float())
	case "seed":
		r.Seed = new(d.Int())
	case "stop":
		d.stop()
	case "n":
		r.N = d.Count()
	case "logprobs":
		r.LogProbs = d.Bool()
	case "top_logprobs":
		r.TopLogProbs = new(d.Count())
	case "reasoning_effort":
		d.reasoning().Effort = d.Text()
	case "reasoning":
		d.reasoningObject()
	case "verbosity":
		r.Verbosity = d.Text()
	default:
		d.hint(name)
	}
}

// hint reads a member that does not change what is answered, or one that the
// vocabulary has no word for.
func (d *requestDecoder) hint(name []byte) {
	r := &d.request
	switch string(name) {
	case "user":
		r.User = d.Text()
	case "safety_identifier":
		r.SafetyID = d.Text()
	case "metadata":
		r.Metadata = map[string]string{}
		for key := range d.Members {
			r.Metadata[string(key)] = d.Text()
		}
	case "prompt_cache_key":
		r.CacheKey = d.Text()
	case "service_tier":
		r.ServiceTier = d.Text()
	case "store":
		r.Store = new(d.Bool())
	default:
		d.rest.Add(name, d.Raw())
	}
}

// finish checks what can be checked only when all was read.
func (d *requestDecoder) finish() {
	r := &d.request
	switch {
	case r.Model == "":
		d.FailWith(wire.Missing("model"))
	case r.Messages == nil:
		d.FailWith(wire.Missing("messages"))
	}
	// The higher limit counts where a client gives both, as in the pass-through. A
	// negative one means "no limit" to some servers.
	r.MaxTokens = max(r.MaxTokens, d.maxOld, 0)
	d.legacyChoice()
	r.Extra = d.rest.Extra(dialect.OpenAIChat)
}

func (d *requestDecoder) streamOptions() {
	var rest wire.Rest
	for name := range d.Members {
		if string(name) == "include_usage" {
			d.request.StreamUsage = d.Bool()
		} else {
			rest.Add(name, d.Raw())
		}
	}
	d.rest.Nest("stream_options", &rest)
}

func (d *requestDecoder) stop() {
	if d.Kind() == jsonedit.KindString {
		d.request.Stop = []string{d.Text()}
		return
	}
	d.request.Stop = d.Texts()
}

func (d *requestDecoder) reasoning() *llm.Reasoning {
	if d.request.Reasoning == nil {
		d.request.Reasoning = &llm.Reasoning{}
	}
	return d.request.Reasoning
}

// reasoningObject reads OpenRouter's `reasoning`. That the client used it, and
// what else is in it, is kept as "reasoning" in Extra.
//
// Source: https://openrouter.ai/docs/use-cases/reasoning-tokens.
func (d *requestDecoder) reasoningObject() {
	r := d.reasoning()
	var rest wire.Rest
	for name := range d.Members {
		switch string(name) {
		case "effort":
			r.Effort = d.Text()
		case "max_tokens":
			r.Budget = new(d.Int())
		case "exclude":
			r.Show = new(!d.Bool())
		default:
			rest.Add(name, d.Raw())
		}
	}
	inner := rest.JSON()
	if inner == nil {
		inner = []byte("{}")
	}
	var outer wire.Rest
	outer.Add([]byte("reasoning"), inner)
	r.Extra = outer.Extra(dialect.OpenAIChat)
}

// outputFormat reads response_format. One of a type that only some servers know
// (a grammar) stays as it is.
func (d *requestDecoder) outputFormat() {
	raw := d.RawObject()
	if d.Failed() {
		return
	}
	kind := string(jsonedit.AppendText(nil, wire.Member(raw, "type")))
	switch llm.OutputKind(kind) {
	case llm.OutputText, llm.OutputJSONObject, llm.OutputJSONSchema:
	case "":
		d.Fail("type", "is required")
		return
	default:
		d.rest.Add([]byte("response_format"), raw)
		return
	}
	output := &llm.OutputFormat{Kind: llm.OutputKind(kind)}
	inner := d.At("", raw)
	var rest wire.Rest
	for name := range inner.Members {
		switch string(name) {
		case "type":
		case "json_schema":
			readSchema(inner, output, &rest)
		default:
			rest.Add(name, inner.Raw())
		}
	}
	output.Extra = rest.Extra(dialect.OpenAIChat)
	if kind == string(llm.OutputJSONSchema) && output.Name == "" {
		d.Fail("json_schema.name", "is required")
	}
	d.request.Output = output
}

func readSchema(r *wire.Reader, output *llm.OutputFormat, outer *wire.Rest) {
	var rest wire.Rest
	for name := range r.Members {
		switch string(name) {
		case "name":
			output.Name = r.Text()
		case "description":
			output.Description = r.Text()
		case "schema":
			output.Schema = r.RawObject()
		case "strict":
			output.Strict = new(r.Bool())
		default:
			rest.Add(name, r.Raw())
		}
	}
	outer.Nest("json_schema", &rest)
}
