package gemini

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// Embed is the codec of embedContent and batchEmbedContents.
// Source: https://ai.google.dev/api/embeddings.
type Embed struct {
	Errors
	Model string // as the path has it
	Batch bool   // the method is batchEmbedContents
}

// EmbedMethod is the method that a request is to be sent to.
func EmbedMethod(r *llm.EmbedRequest) string {
	if isBatch(r) {
		return "batchEmbedContents"
	}
	return "embedContent"
}

func isBatch(r *llm.EmbedRequest) bool { return r.Batch || len(r.Inputs) != 1 }

// Name implements [dialect.Codec].
func (Embed) Name() dialect.Name { return dialect.GeminiEmbeddings }

// FieldPath implements [dialect.Namer].
func (Embed) FieldPath(f dialect.Field) string { return fieldPaths[f] }

// PartPath implements [dialect.Namer].
func (Embed) PartPath(p llm.Pos) string { return partPath(p) }

// embedCall is one request body.
type embedCall struct {
	codec Embed
	jsonedit.Object
}

// Read implements [dialect.Codec].
func (c Embed) Read(body []byte) (dialect.Call, error) {
	k := &embedCall{codec: c}
	var err error
	if k.Object, err = jsonedit.ReadObject(body); err != nil {
		return nil, wire.RequestError(err)
	}
	name, want, open := "content", "an object", byte('{')
	if c.Batch {
		name, want, open = "requests", "an array", '['
	}
	switch value := k.Value(name); {
	case value == nil:
		return nil, wire.Missing(name)
	case value[0] != open:
		return nil, wire.Invalid(name, "must be "+want)
	}
	return k, nil
}

func (k *embedCall) Model() string     { return k.codec.Model }
func (k *embedCall) Stream() bool      { return false }
func (k *embedCall) UsageWanted() bool { return false }
func (k *embedCall) MaxTokens() int64  { return 0 }

// Patch implements [dialect.Call]. Bodies name the model beside the path, and
// both must be the same.
func (k *embedCall) Patch(edits dialect.Edits) ([]byte, error) {
	if edits.SystemPrompt != "" {
		return nil, systemRefused()
	}
	e := k.Edit()
	if edits.Model == "" {
		return e.BytesIn(edits.Into), nil
	}
	if !k.codec.Batch {
		if _, named := k.Find("model"); named {
			e.SetText("model", modelName(edits.Model))
		}
		return e.BytesIn(edits.Into), nil
	}
	requests := []byte{'['}
	s := jsonedit.NewScanner(k.Value("requests"))
	for range s.Elements {
		if len(requests) > 1 {
			requests = append(requests, ',')
		}
		value := s.Skip()
		request, err := jsonedit.ReadObject(value)
		if err != nil {
			return nil, wire.Invalid("requests", "must be a list of objects")
		}
		inner := request.Edit()
		inner.SetText("model", modelName(edits.Model))
		requests = append(requests, inner.Bytes()...)
	}
	e.Set("requests", string(append(requests, ']')))
	return e.BytesIn(edits.Into), nil
}

// AppendText implements [dialect.Call].
func (k *embedCall) AppendText(dst []byte, limit int) []byte {
	t := wire.NewTextCollector(dst, limit)
	contentText(t, k.Value("content"))
	if requests := k.Value("requests"); requests != nil {
		s := jsonedit.NewScanner(requests)
		for range s.Elements {
			for name := range s.Members {
				if string(name) == "content" {
					contentText(t, s.Skip())
				}
			}
		}
	}
	return t.Bytes()
}

// plainMeter reads answers that are no generated text.
type plainMeter struct{ reading dialect.Reading }

// NewMeter implements [dialect.Codec].
func (Embed) NewMeter() dialect.Meter { return &plainMeter{} }

// Event implements [dialect.Meter]; there are no streams.
func (*plainMeter) Event(sse.Event) dialect.Mark { return dialect.Mark{} }

// Body implements [dialect.Meter].
func (m *plainMeter) Body(body []byte) {
	s := jsonedit.NewScanner(body)
	known, failed := false, false
	for name := range s.Members {
		switch string(name) {
		case "embedding", "embeddings", "totalTokens":
			known = true
		case "usageMetadata":
			if c := readCounts(&s); c.known {
				m.reading.Usage, m.reading.Reported = c.usage(), true
			}
		case "error":
			failed = true
		}
	}
	switch valid := s.End() == nil; {
	case valid && failed:
		m.reading.Err = insideError(body)
	case valid && known:
		m.reading.Complete = true
	default:
		m.reading.Err = wire.NotUnderstood()
	}
}

// Reading implements [dialect.Meter].
func (m *plainMeter) Reading() dialect.Reading { return m.reading }

type embedRequest struct {
	Model                string         `json:"model,omitzero"`
	Content              *content       `json:"content,omitzero"`
	TaskType             string         `json:"taskType,omitzero,case:ignore"`
	Title                string         `json:"title,omitzero"`
	OutputDimensionality integer        `json:"outputDimensionality,omitzero,case:ignore"`
	Extra                jsontext.Value `json:",embed"`
}

type embedBatch struct {
	Requests list[embedRequest] `json:"requests,omitempty"`
	Extra    jsontext.Value     `json:",embed"`
}

// DecodeEmbed implements [dialect.Embedder].
func (c Embed) DecodeEmbed(body []byte) (*llm.EmbedRequest, error) {
	if _, err := jsonedit.ReadObject(body); err != nil {
		return nil, wire.RequestError(err)
	}
	r := &llm.EmbedRequest{Model: c.Model, Batch: c.Batch}
	var extra object
	if !c.Batch {
		var in embedRequest
		if err := json.Unmarshal(body, &in, reading); err != nil {
			return nil, malformed(err)
		}
		if err := addInput(r, &extra, &in, ""); err != nil {
			return nil, err
		}
		r.Extra = extraOf(jsontext.Value(extra))
		return r, nil
	}
	var in embedBatch
	if err := json.Unmarshal(body, &in, reading); err != nil {
		return nil, malformed(err)
	}
	if len(in.Requests) == 0 {
		return nil, wire.Missing("requests")
	}
	extra.addAll("", in.Extra)
	for i := range in.Requests {
		if err := addInput(r, &extra, &in.Requests[i], fmt.Sprintf("requests[%d].", i)); err != nil {
			return nil, err
		}
	}
	r.Extra = extraOf(jsontext.Value(extra))
	return r, nil
}

// addInput takes one request. The vocabulary has one task, title and dimension
// for all of them.
func addInput(r *llm.EmbedRequest, extra *object, in *embedRequest, at string) error {
	if in.Content == nil {
		return wire.Missing(at + "content")
	}
	if len(in.Content.Parts) == 0 {
		return wire.Missing(at + "content.parts")
	}
	first := len(r.Inputs) == 0
	if first {
		r.Task, r.Title, r.Dimensions = in.TaskType, in.Title, int64(in.OutputDimensionality)
	}
	for _, one := range []struct {
		name string
		same bool
	}{{"taskType", r.Task == in.TaskType}, {"title", r.Title == in.Title}, {"outputDimensionality", r.Dimensions == int64(in.OutputDimensionality)}} {
		if !one.same {
			return wire.Invalid(at+one.name, "must be the same in all requests, where they are answered by another provider")
		}
	}
	text, plain := "", len(in.Content.Parts) == 1
	for i := range in.Content.Parts {
		p := &in.Content.Parts[i]
		if p.Text != nil {
			text += *p.Text
		}
		plain = plain && p.Text != nil && len(p.Extra) == 0
	}
	if !plain { // one vector for several parts, or for what is no text
		extra.add(at+"content", marshal(in.Content))
	}
	extra.addAll(at, in.Extra)
	r.Inputs = append(r.Inputs, text)
	return nil
}

// EncodeEmbed implements [dialect.Embedder]. See [EmbedMethod].
func (c Embed) EncodeEmbed(r *llm.EmbedRequest, u *dialect.Unsaid) ([]byte, error) {
	if err := u.Extra(r.Extra, ""); err != nil {
		return nil, err
	}
	if r.User != "" {
		u.Leave(dialect.FieldUser)
	}
	extra := r.Extra.In(dialect.GeminiEmbeddings)
	if extra == nil {
		extra = r.Extra.In(dialect.Gemini)
	}
	model := modelName(cmpModel(c.Model, r.Model))
	if !isBatch(r) {
		out := newEmbedRequest(r, 0, extra)
		out.Model = model
		return json.Marshal(out, writing)
	}
	own, rest := byRequest(extra, len(r.Inputs))
	batch := embedBatch{Extra: rest}
	for i := range r.Inputs {
		out := newEmbedRequest(r, i, jsontext.Value(own[i]))
		out.Model = model
		batch.Requests = append(batch.Requests, out)
	}
	return json.Marshal(batch, writing)
}

// byRequest sorts members by the request that their name's path is in.
func byRequest(members []byte, n int) (own []object, rest jsontext.Value) {
	own = make([]object, n)
	var others object
	s := jsonedit.NewScanner(members)
	for name := range s.Members {
		value := s.Skip()
		number, member, ok := strings.Cut(strings.TrimPrefix(string(name), "requests["), "].")
		i, err := strconv.Atoi(number)
		if ok && err == nil && 0 <= i && i < n {
			own[i].add(member, value)
		} else {
			others.add(string(name), value)
		}
	}
	return own, jsontext.Value(others)
}

func newEmbedRequest(r *llm.EmbedRequest, i int, extra jsontext.Value) embedRequest {
	out := embedRequest{TaskType: r.Task, Title: r.Title, OutputDimensionality: integer(r.Dimensions)}
	whole, rest := take(extra, "content")
	out.Extra = rest
	if whole != nil {
		out.Content = &content{}
		_ = json.Unmarshal(whole, out.Content, writing)
	} else {
		out.Content = &content{Parts: list[part]{{Text: &r.Inputs[i]}}}
	}
	return out
}

type embedAnswer struct {
	Embedding     *embedding     `json:"embedding,omitzero"`
	Embeddings    []embedding    `json:"embeddings,omitzero"`
	UsageMetadata jsontext.Value `json:"usageMetadata,omitzero"`
	Extra         jsontext.Value `json:",embed"`
}

type embedding struct {
	Values []float64      `json:"values"`
	Extra  jsontext.Value `json:",embed"`
}

// DecodeEmbedded implements [dialect.Embedder].
func (Embed) DecodeEmbedded(body []byte) (*llm.EmbedAnswer, *llm.Error) {
	var in embedAnswer
	if _, err := jsonedit.ReadObject(body); err != nil {
		return nil, wire.NotUnderstood()
	}
	if err := json.Unmarshal(body, &in, writing); err != nil {
		return nil, wire.NotUnderstood()
	}
	if failure, _ := take(in.Extra, "error"); failure != nil {
		return nil, insideError(body)
	}
	if in.Embedding != nil {
		in.Embeddings = append(in.Embeddings, *in.Embedding)
	}
	if in.Embeddings == nil {
		return nil, wire.NotUnderstood()
	}
	a := &llm.EmbedAnswer{}
	extra := object(in.Extra)
	for _, e := range in.Embeddings {
		a.Vectors = append(a.Vectors, e.Values)
	}
	if len(in.UsageMetadata) > 0 {
		s := jsonedit.NewScanner(in.UsageMetadata)
		if c := readCounts(&s); c.known {
			a.Usage, a.Reported = c.usage(), true
		}
		extra.add("usageMetadata", in.UsageMetadata)
	}
	a.Extra = extraOf(jsontext.Value(extra))
	return a, nil
}

// AppendEmbedded implements [dialect.Embedder].
func (Embed) AppendEmbedded(dst []byte, a *llm.EmbedAnswer, r *llm.EmbedRequest) []byte {
	out := embedAnswer{}
	out.UsageMetadata, out.Extra = take(membersOf(a.Extra), "usageMetadata")
	if out.UsageMetadata == nil && a.Reported {
		out.UsageMetadata = marshal(map[string]int64{"promptTokenCount": a.Usage.InputTotal()})
	}
	if !r.Batch && len(a.Vectors) == 1 {
		out.Embedding = &embedding{Values: a.Vectors[0]}
		return append(dst, marshal(out)...)
	}
	out.Embeddings = []embedding{}
	for _, v := range a.Vectors {
		out.Embeddings = append(out.Embeddings, embedding{Values: v})
	}
	return append(dst, marshal(out)...)
}
