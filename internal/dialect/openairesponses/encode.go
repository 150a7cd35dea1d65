package openairesponses

import (
	"maps"
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// body writes one request.
type body struct {
	wire.Writer
	r      *llm.Request
	o      dialect.EncodeOptions
	native bool            // the request came in this format
	custom map[string]bool // ids of the calls of custom tools
	err    error
}

// EncodeRequest implements [dialect.Translator].
func (Codec) EncodeRequest(r *llm.Request, o dialect.EncodeOptions) ([]byte, error) {
	b := newBody(r, o)
	b.Object()
	b.Name("model").Text(r.Model)
	b.conversation()
	b.tools()
	b.sampling()
	b.text()
	b.reasoning()
	b.include()
	b.hints()
	b.beyond()
	b.End()
	if b.err != nil {
		return nil, b.err
	}
	return b.Bytes, nil
}

func newBody(r *llm.Request, o dialect.EncodeOptions) *body {
	b := &body{r: r, o: o, native: isNative(o.Unsaid.Source), custom: map[string]bool{}}
	size := 1 << 10
	for i := range r.Messages {
		for _, p := range r.Messages[i].Parts {
			if c, ok := p.(*llm.ToolCall); ok && c.Custom {
				b.custom[c.ID] = true
			}
			size += sizeOf(p)
		}
	}
	b.Bytes = make([]byte, 0, size)
	return b
}

// sizeOf is about how many bytes a part takes, so that a long conversation is
// written to memory that need not grow.
func sizeOf(p llm.Part) int {
	const around = 160 // names, ids, brackets
	size := around
	switch p := p.(type) {
	case *llm.Text:
		size += len(p.Text) + len(p.Text)/6 // escapes, as many as source code has
	case *llm.Thinking:
		size += len(p.Text)
		if p.Opaque != nil {
			size += len(p.Opaque.Value)
		}
	case *llm.ToolCall:
		size += len(p.Arguments) + len(p.Arguments)/8
	case *llm.ToolResult:
		for _, inner := range p.Parts {
			size += sizeOf(inner)
		}
	case *llm.Media:
		size += len(p.Data) + len(p.URL)
	case *llm.NativePart:
		size += len(p.JSON)
	}
	return size
}

// isNative says whether the client speaks this format itself.
func isNative(source dialect.Namer) bool {
	c, ok := source.(interface{ Name() dialect.Name })
	return ok && (c.Name() == dialect.OpenAIResponses || c.Name() == dialect.OpenAICount)
}

// check notes the first error.
func (b *body) check(err error) {
	if b.err == nil {
		b.err = err
	}
}

// unsaid refuses or notes a field of the request if it was set.
func (b *body) unsaid(set bool, f dialect.Field) {
	if set {
		b.check(b.o.Unsaid.Field(f, "the Responses API has no such parameter"))
	}
}

// sampling writes how tokens are chosen and how many.
func (b *body) sampling() {
	r := b.r
	b.IntMember("max_output_tokens", r.MaxTokens)
	b.FloatMember("temperature", r.Temperature)
	b.FloatMember("top_p", r.TopP)
	if r.TopLogProbs != nil {
		b.Name("top_logprobs").Int(*r.TopLogProbs)
	}
	b.unsaid(r.TopK != nil, dialect.FieldTopK)
	b.unsaid(r.FrequencyPenalty != nil && *r.FrequencyPenalty != 0, dialect.FieldFrequencyPenalty)
	b.unsaid(r.PresencePenalty != nil && *r.PresencePenalty != 0, dialect.FieldPresencePenalty)
	b.unsaid(r.Seed != nil, dialect.FieldSeed)
	b.unsaid(len(r.Stop) > 0, dialect.FieldStop)
	b.unsaid(r.N > 1, dialect.FieldN)
}

// text writes the form of the answer's text.
func (b *body) text() {
	output := b.r.Output
	if output == nil && b.r.Verbosity == "" || wire.Member(b.r.Extra.In(dialect.OpenAIResponses), "text") != nil {
		return
	}
	b.Name("text").Object()
	if output != nil {
		b.Name("format").Object()
		b.Name("type").Text(string(output.Kind))
		if output.Kind == llm.OutputJSONSchema {
			b.schema(output)
		}
		b.End()
		b.check(b.o.Unsaid.Extra(output.Extra, b.field(dialect.FieldOutput)))
	}
	b.TextMember("verbosity", b.r.Verbosity)
	b.End()
}

func (b *body) schema(output *llm.OutputFormat) {
	name, schema := output.Name, output.Schema
	if name == "" {
		name = "answer" // the format wants one
	}
	if schema == nil {
		schema = []byte(`{"type":"object"}`)
	}
	b.Name("name").Text(name)
	b.TextMember("description", output.Description)
	b.Name("schema").Raw(schema)
	b.BoolMember("strict", output.Strict)
}

// field is a field's name in the client's format.
func (b *body) field(f dialect.Field) string {
	if b.o.Unsaid.Source != nil {
		if path := b.o.Unsaid.Source.FieldPath(f); path != "" {
			return path
		}
	}
	return string(f)
}

func (b *body) reasoning() {
	r := b.r.Reasoning
	if r == nil {
		return
	}
	b.check(b.o.Unsaid.Extra(r.Extra, b.field(dialect.FieldReasoning)))
	effort, summary := r.Effort, r.Summary
	if effort == "" && r.Budget != nil {
		effort = effortOf(*r.Budget, b.r.Model)
	}
	if summary == "" && r.Show != nil && *r.Show && r.Extra.In(dialect.OpenAIResponses) == nil && effort != "none" {
		summary = "auto"
	}
	if effort == "" && summary == "" && !b.native {
		return // as the model sees fit
	}
	b.Name("reasoning").Object()
	b.TextMember("effort", effort)
	b.TextMember("summary", summary)
	b.Members(r.Extra.In(dialect.OpenAIResponses))
	b.End()
}

// effortOf is the effort that comes nearest to a budget of tokens; "" leaves it
// to the model. The least that can be asked for depends on the model.
//
// Source: https://platform.openai.com/docs/guides/reasoning.
func effortOf(budget int64, model string) string {
	switch name := baseName(model); {
	case budget < 0:
		return ""
	case budget == 0 && isSeries(name, 'o'):
		return "low"
	case budget == 0 && (name == "gpt-5" || strings.HasPrefix(name, "gpt-5-")):
		return "minimal"
	case budget == 0:
		return "none"
	case budget <= 2048:
		return "low"
	case budget <= 8192:
		return "medium"
	default:
		return "high"
	}
}

// baseName is a model's name without the provider before it.
func baseName(model string) string { return model[strings.LastIndexByte(model, '/')+1:] }

// isSeries says that a name is of OpenAI's series of a letter: o1, o3-mini.
func isSeries(name string, letter byte) bool {
	return len(name) >= 2 && name[0] == letter && name[1] >= '1' && name[1] <= '9' && (len(name) == 2 || name[2] == '-')
}

// include asks for what a conversation without stored state needs: reasoning in
// encrypted form, to be sent back with the next turn. Models that do not reason
// refuse a request that asks for it.
func (b *body) include() {
	if b.native && (b.has("include") || !b.r.LogProbs) {
		return
	}
	if !b.r.LogProbs && !b.reasons() {
		return
	}
	b.Name("include").Array()
	if !b.native && b.reasons() {
		b.Text(includeEncrypted)
	}
	if b.r.LogProbs {
		b.Text(includeLogProbs)
	}
	b.EndArray()
}

// has says whether a member is written as it came.
func (b *body) has(name string) bool {
	return wire.Member(b.r.Extra.In(dialect.OpenAIResponses), name) != nil || wire.Member(b.r.Wire.In(dialect.OpenAIResponses), name) != nil
}

// reasons says whether the model may reason: the request says so, or its name.
func (b *body) reasons() bool {
	if r := b.r.Reasoning; r != nil {
		return r.Effort != "none" && (r.Budget == nil || *r.Budget != 0)
	}
	name := baseName(b.r.Model)
	if isSeries(name, 'o') {
		return true
	}
	for _, family := range [...]string{"gpt-5", "gpt-6", "gpt-oss", "codex", "grok-4", "computer-use"} {
		if strings.HasPrefix(name, family) {
			return !strings.Contains(name, "-chat") && !strings.Contains(name, "non-reasoning")
		}
	}
	return false
}

// hints writes what does not change the answer.
func (b *body) hints() {
	r := b.r
	if r.Stream {
		b.Name("stream").Bool(true)
	}
	b.TextMember("previous_response_id", r.PreviousID)
	b.TextMember("user", r.User)
	b.TextMember("safety_identifier", r.SafetyID)
	b.TextMember("prompt_cache_key", r.CacheKey)
	b.TextMember("service_tier", b.tier())
	if r.Metadata != nil {
		b.Name("metadata").Raw(labels(r.Metadata))
	}
	switch {
	case r.Store != nil:
		b.Name("store").Bool(*r.Store)
	case !b.native: // what other formats' clients say is not for the provider to keep
		b.Name("store").Bool(false)
	}
}

// tier is the service tier in this format's words. One that it does not know
// would be refused by the provider.
func (b *body) tier() string {
	switch tier := b.r.ServiceTier; {
	case b.native:
		return tier
	case tier == "standard_only":
		return "default"
	case slices.Contains([]string{"", "auto", "default", "flex", "priority", "scale"}, tier):
		return tier
	default:
		b.o.Unsaid.Leave(dialect.FieldServiceTier)
		return ""
	}
}

// beyond writes the members that only this format has.
func (b *body) beyond() {
	b.check(b.o.Unsaid.Extra(b.r.Extra, ""))
	b.Members(b.r.Extra.In(dialect.OpenAIResponses))
	without := []string{}
	if b.r.Stream {
		without = append(without, "stream")
	}
	if len(b.r.Tools) > 0 {
		without = append(without, "tools")
	}
	b.Members(b.r.Wire.In(dialect.OpenAIResponses), without...)
}

// labels are metadata as an object, in the order of their names.
func labels(metadata map[string]string) []byte {
	if len(metadata) == 0 {
		return []byte("{}")
	}
	var rest wire.Rest
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		rest.Add([]byte(name), wire.AppendQuote(nil, metadata[name]))
	}
	return rest.JSON()
}
