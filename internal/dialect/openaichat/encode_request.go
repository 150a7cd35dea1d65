package openaichat

import (
	"slices"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// requestEncoder writes one request.
type requestEncoder struct {
	wire.Writer
	o      dialect.EncodeOptions
	unsaid *dialect.Unsaid
	tools  []llm.Tool // of the request
	// shown waits for the end of a row of tool messages: what tools gave that is
	// no text, which only a user's message can say.
	shown []llm.Part
	err   error // the first thing that could not be said
}

// note keeps the first error.
func (e *requestEncoder) note(err error) {
	if e.err == nil {
		e.err = err
	}
}

// EncodeRequest implements [dialect.Translator].
//
// Source: https://platform.openai.com/docs/api-reference/chat/create.
func (ChatCodec) EncodeRequest(r *llm.Request, o dialect.EncodeOptions) ([]byte, error) {
	e := &requestEncoder{o: o, unsaid: o.Unsaid, tools: r.Tools}
	e.Bytes = make([]byte, 0, sizeOf(r))
	e.Object()
	e.Name("model").Text(r.Model)
	e.messages(r.Messages)
	e.streaming(r)
	e.toolMembers(r)
	e.output(r)
	e.limits(r)
	e.sampling(r)
	e.reasoning(r.Reasoning)
	e.hints(r)
	e.note(e.unsaid.Extra(r.Extra, ""))
	e.Members(r.Extra.In(dialect.OpenAIChat), "stream_options", "response_format")
	e.End()
	if e.err != nil {
		return nil, e.err
	}
	return e.Bytes, nil
}

// sizeOf guesses how long the body becomes, so that it is written in one piece
// of memory.
func sizeOf(r *llm.Request) int {
	size := 512
	for i := range r.Messages {
		size += 48
		for _, p := range r.Messages[i].Parts {
			size += 32 + partSize(p)
		}
	}
	for i := range r.Tools {
		size += 128 + len(r.Tools[i].Description) + len(r.Tools[i].Schema)
	}
	return size + size/16
}

func partSize(p llm.Part) (size int) {
	switch p := p.(type) {
	case *llm.Text:
		return len(p.Text) + len(p.Text)/6 // escapes, as many as source code has
	case *llm.Thinking:
		return len(p.Text)
	case *llm.Media:
		return len(p.Data) + len(p.URL) + len(p.Text)
	case *llm.ToolCall:
		return 96 + len(p.ID) + len(p.Name) + len(p.Arguments)
	case *llm.ToolResult:
		size = 48 + len(p.CallID)
		for _, inner := range p.Parts {
			size += 64 + partSize(inner)
		}
	case *llm.NativePart:
		return len(p.JSON)
	}
	return size
}

func (e *requestEncoder) streaming(r *llm.Request) {
	if !r.Stream {
		return
	}
	e.Name("stream").Bool(true)
	options := wire.Member(r.Extra.In(dialect.OpenAIChat), "stream_options")
	if !e.o.AskUsage && !r.StreamUsage && options == nil {
		return
	}
	e.Name("stream_options").Object()
	if e.o.AskUsage || r.StreamUsage {
		e.Name("include_usage").Bool(true)
	}
	e.Members(options)
	e.End()
}

func (e *requestEncoder) output(r *llm.Request) {
	o := r.Output
	if o == nil {
		// A type that only some servers know.
		e.RawMember("response_format", wire.Member(r.Extra.In(dialect.OpenAIChat), "response_format"))
		return
	}
	e.note(e.unsaid.Extra(o.Extra, string(dialect.FieldOutput)))
	extra := o.Extra.In(dialect.OpenAIChat)
	e.Name("response_format").Object()
	e.Name("type").Text(string(o.Kind))
	if o.Kind == llm.OutputJSONSchema {
		name := o.Name
		if name == "" {
			name = "answer" // OpenAI must have one
		}
		e.Name("json_schema").Object()
		e.Name("name").Text(name)
		e.TextMember("description", o.Description)
		e.RawMember("schema", o.Schema)
		e.BoolMember("strict", o.Strict)
		e.Members(wire.Member(extra, "json_schema"))
		e.End()
	}
	e.Members(extra, "json_schema")
	e.End()
}

func (e *requestEncoder) limits(r *llm.Request) {
	field := e.o.MaxTokensField
	if field == "" {
		field = "max_completion_tokens"
	}
	if r.MaxTokens > 0 {
		e.Name(field).Int(r.MaxTokens)
	}
	e.IntMember("n", r.N)
	if len(r.Stop) > 0 {
		e.Name("stop").Array()
		for _, stop := range r.Stop {
			e.Text(stop)
		}
		e.EndArray()
	}
}

func (e *requestEncoder) sampling(r *llm.Request) {
	e.FloatMember("temperature", r.Temperature)
	e.FloatMember("top_p", r.TopP)
	switch {
	case r.TopK == nil:
	case e.o.StrictChat:
		e.note(e.unsaid.Field(dialect.FieldTopK, "its API has no such parameter"))
	default: // OpenRouter, vLLM, Alibaba and others have it
		e.FloatMember("top_k", r.TopK)
	}
	e.FloatMember("frequency_penalty", r.FrequencyPenalty)
	e.FloatMember("presence_penalty", r.PresencePenalty)
	if r.Seed != nil {
		e.Name("seed").Int(*r.Seed)
	}
	if r.LogProbs {
		e.Name("logprobs").Bool(true)
	}
	if r.TopLogProbs != nil {
		e.Name("top_logprobs").Int(*r.TopLogProbs)
	}
	e.TextMember("verbosity", r.Verbosity)
}

// reasoning writes reasoning_effort, or OpenRouter's object where the client used
// that. What asks for the thoughts in the answer needs no word here: servers
// that can show them do.
func (e *requestEncoder) reasoning(r *llm.Reasoning) {
	if r == nil {
		return
	}
	e.note(e.unsaid.Extra(r.Extra, ""))
	inner := wire.Member(r.Extra.In(dialect.OpenAIChat), "reasoning")
	if inner == nil {
		e.TextMember("reasoning_effort", effort(r))
		return
	}
	e.Name("reasoning").Object()
	e.TextMember("effort", r.Effort)
	if r.Budget != nil {
		e.Name("max_tokens").Int(*r.Budget)
	}
	if r.Show != nil {
		e.Name("exclude").Bool(!*r.Show)
	}
	e.Members(inner)
	e.End()
}

// The budgets up to which thinking is of low and medium effort, in tokens.
const (
	lowBudget    = 2048
	mediumBudget = 8192
)

// effort is how much to think in OpenAI's words. A budget in tokens becomes the
// effort that spends about as much: none for 0, low up to 2048, medium up to
// 8192, high above. A budget that the model chooses itself is the default.
func effort(r *llm.Reasoning) string {
	switch {
	case r.Effort != "" || r.Budget == nil || *r.Budget < 0:
		return r.Effort
	case *r.Budget == 0:
		return "none"
	case *r.Budget <= lowBudget:
		return "low"
	case *r.Budget <= mediumBudget:
		return "medium"
	}
	return "high"
}

func (e *requestEncoder) hints(r *llm.Request) {
	e.TextMember("user", r.User)
	e.TextMember("safety_identifier", r.SafetyID)
	e.TextMember("prompt_cache_key", r.CacheKey)
	e.TextMember("service_tier", r.ServiceTier)
	e.BoolMember("store", r.Store)
	if r.Metadata != nil {
		e.Name("metadata").Object()
		for _, key := range sortedKeys(r.Metadata) {
			e.Member(key).Text(r.Metadata[key])
		}
		e.End()
	}
	if r.PreviousID != "" {
		e.note(e.unsaid.Field(dialect.FieldPreviousID, "its API keeps no conversations"))
	}
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
