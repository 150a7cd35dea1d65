package anthropic

import (
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// writer writes a request for an upstream.
type writer struct {
	wire.Writer
	r     *llm.Request
	o     dialect.EncodeOptions
	model model
	// native: the client spoke this format itself. What it said goes out as it
	// was, for the upstream to judge.
	native   bool
	answered bool // the call is for an answer, not for a count

	marks  int // cache breakpoints that are still to be left out
	ids    callIDs
	role   string // whose content is being written
	system []llm.Part
	turns  []turn
}

// EncodeRequest implements [dialect.Translator].
func (MessagesCodec) EncodeRequest(r *llm.Request, o dialect.EncodeOptions) ([]byte, error) {
	return encode(r, o, true)
}

func encode(r *llm.Request, o dialect.EncodeOptions, answered bool) ([]byte, error) {
	w := &writer{r: r, o: o, model: modelOf(r.Model), answered: answered}
	switch o.Unsaid.Source.(type) {
	case MessagesCodec, CountCodec:
		w.native = true
	}
	if err := w.sort(); err != nil {
		return nil, err
	}
	w.Bytes = append(make([]byte, 0, w.size()), '{')
	for _, step := range [...]func() error{
		w.head, w.writeSystem, w.writeTurns, w.writeTools, w.writeToolChoice, w.writeThinking, w.writeSampling, w.writeHints, w.unsaid,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	w.Members(r.Extra.In(Format), "metadata", "output_config", "tool_choice", "max_tokens")
	w.End()
	return w.Bytes, nil
}

// size is about how long the body will be.
func (w *writer) size() int {
	n := 1024
	for i := range w.r.Messages {
		n += sizeOf(w.r.Messages[i].Parts)
	}
	for i := range w.r.Tools {
		n += len(w.r.Tools[i].Schema) + len(w.r.Tools[i].Description) + 128
	}
	return n
}

func sizeOf(parts []llm.Part) (n int) {
	for _, p := range parts {
		n += 128
		switch p := p.(type) {
		case *llm.Text:
			n += len(p.Text) + len(p.Text)/6 // escapes, as many as source code has
		case *llm.Media:
			n += len(p.Data) + len(p.Text) + len(p.Text)/16
		case *llm.ToolCall:
			n += len(p.Arguments)
		case *llm.ToolResult:
			n += sizeOf(p.Parts)
		case *llm.NativePart:
			n += len(p.JSON)
		}
	}
	return n
}

func (w *writer) head() error {
	if w.o.Vertex {
		w.Name("anthropic_version").Text("vertex-2023-10-16")
	} else {
		w.Name("model").Text(w.r.Model)
	}
	if !w.answered {
		return nil
	}
	w.Name("max_tokens").Int(w.maxTokens())
	if w.r.Stream {
		w.Name("stream").Bool(true)
	}
	return nil
}

// maxTokens is the limit, which is required. Where the client named none there
// is a default, and room for the thinking.
func (w *writer) maxTokens() int64 {
	switch {
	case w.r.MaxTokens > 0:
		return w.r.MaxTokens
	case w.r.Extra.In(Format) != nil && string(wire.Member(w.r.Extra.JSON, "max_tokens")) == "0":
		return 0
	}
	return max(w.model.maxTokens, w.thinking().budget+4096)
}

// sampling are the parameters of the sampling, as they are to be sent.
type sampling struct{ temperature, topP, topK *float64 }

func (w *writer) writeSampling() error {
	if !w.answered {
		return nil
	}
	s, err := w.sampling()
	if err != nil {
		return err
	}
	w.FloatMember("temperature", s.temperature)
	w.FloatMember("top_p", s.topP)
	w.FloatMember("top_k", s.topK)
	return w.writeStop()
}

// sampling refuses what the model does not take, but for values that say what is
// so anyway.
func (w *writer) sampling() (s sampling, err error) {
	s = sampling{w.r.Temperature, w.r.TopP, w.r.TopK}
	if w.native {
		return s, nil
	}
	s.temperature, s.topP = notDefault(s.temperature, 1), notDefault(s.topP, 1)
	thinks := w.thinking().on
	why := noSampling(thinks)
	refuse := func(field dialect.Field, value **float64, bad bool, why string) {
		if *value != nil && bad && err == nil {
			err, *value = w.o.Unsaid.Field(field, why), nil
		}
	}
	refuse(dialect.FieldTemperature, &s.temperature, thinks || !w.model.samples, why)
	refuse(dialect.FieldTemperature, &s.temperature, !between(s.temperature, 0, 1), "it takes 0 to 1")
	refuse(dialect.FieldTopP, &s.topP, !w.model.samples || thinks && !between(s.topP, 0.95, 1), why)
	refuse(dialect.FieldTopP, &s.topP, s.temperature != nil && w.model.oneSampling, "it takes temperature or top_p, but not both")
	refuse(dialect.FieldTopK, &s.topK, thinks || !w.model.samples, why)
	return s, err
}

func between(f *float64, low, high float64) bool { return f == nil || *f >= low && *f <= high }

// writeStop writes the stop sequences; the API refuses those of white space.
func (w *writer) writeStop() error {
	stop := w.r.Stop
	if !w.native {
		blank := func(s string) bool { return strings.TrimSpace(s) == "" }
		if slices.ContainsFunc(stop, blank) {
			if err := w.o.Unsaid.Field(dialect.FieldStop, "each must have more than white space"); err != nil {
				return err
			}
			stop = slices.DeleteFunc(slices.Clone(stop), blank)
		}
	}
	if len(stop) == 0 {
		return nil
	}
	w.Name("stop_sequences").Array()
	for _, s := range stop {
		w.Text(s)
	}
	w.EndArray()
	return nil
}

func noSampling(thinks bool) string {
	if thinks {
		return "it cannot be chosen while the model thinks"
	}
	return "the model chooses its sampling itself"
}

// notDefault is a parameter, or nil where it says what is so anyway.
func notDefault(f *float64, usual float64) *float64 {
	if f != nil && *f == usual {
		return nil
	}
	return f
}

// writeHints writes what does not change the answer, and notes what has no
// place.
func (w *writer) writeHints() error {
	if !w.answered {
		return nil
	}
	r, u := w.r, w.o.Unsaid
	user := r.User
	switch {
	case r.SafetyID == "":
	case user == "":
		user = r.SafetyID
	default:
		u.Leave(dialect.FieldSafetyID)
	}
	if rest := wire.Member(r.Extra.In(Format), "metadata"); user != "" || rest != nil {
		w.Name("metadata").Object()
		w.TextMember("user_id", user)
		w.Members(rest)
		w.End()
	}
	switch tier := r.ServiceTier; {
	case tier == "", w.native, tier == "auto", tier == "standard_only":
		w.TextMember("service_tier", tier)
	case tier == "default":
		w.Name("service_tier").Text("standard_only")
	default:
		u.Leave(dialect.FieldServiceTier)
	}
	if len(r.Metadata) > 0 {
		u.Leave(dialect.FieldMetadata)
	}
	if r.CacheKey != "" {
		u.Leave(dialect.FieldCacheKey)
	}
	if r.Store != nil && *r.Store {
		u.Leave(dialect.FieldStore)
	}
	return nil
}

// unsaid refuses what the format has no word for.
func (w *writer) unsaid() error {
	r, u := w.r, w.o.Unsaid
	for _, check := range []struct {
		field dialect.Field
		said  bool
	}{
		{dialect.FieldFrequencyPenalty, notDefault(r.FrequencyPenalty, 0) != nil},
		{dialect.FieldPresencePenalty, notDefault(r.PresencePenalty, 0) != nil},
		{dialect.FieldSeed, r.Seed != nil},
		{dialect.FieldN, r.N > 1},
		{dialect.FieldLogProbs, r.LogProbs},
		{dialect.FieldTopLogProbs, r.TopLogProbs != nil && *r.TopLogProbs > 0},
		{dialect.FieldVerbosity, r.Verbosity != "" && r.Verbosity != "medium"},
		{dialect.FieldPreviousID, r.PreviousID != ""},
	} {
		if !check.said || !w.answered {
			continue
		}
		if err := u.Field(check.field, ""); err != nil {
			return err
		}
	}
	return w.extra(r.Extra, "")
}

// extra refuses or notes members of another format.
func (w *writer) extra(e llm.Extra, at string) error {
	if e.Format == Format {
		return nil
	}
	return w.o.Unsaid.Extra(e, at)
}

// partExtra is extra for a part's or message's members.
func (w *writer) partExtra(e llm.Extra, pos llm.Pos) error {
	if e.Format == Format {
		return nil
	}
	return w.o.Unsaid.PartExtra(e, pos)
}
