package openaichat

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// EmbeddingsCodec is the codec of embeddings, which requests and answers of other
// formats can be translated to and from.
//
// Source: https://platform.openai.com/docs/api-reference/embeddings.
type EmbeddingsCodec struct{ Codec }

// DecodeEmbed implements [dialect.Embedder].
func (EmbeddingsCodec) DecodeEmbed(body []byte) (*llm.EmbedRequest, error) {
	d := wire.NewReader(body)
	var r llm.EmbedRequest
	var rest wire.Rest
	for name := range d.Members {
		switch string(name) {
		case "model":
			r.Model = d.Text()
		case "input":
			readInput(d, &r)
		case "dimensions":
			r.Dimensions = d.Count()
		case "encoding_format":
			r.Base64 = d.Word("float", "base64") == "base64"
		case "user":
			r.User = d.Text()
		default:
			rest.Add(name, d.Raw())
		}
	}
	switch {
	case d.Failed():
	case r.Model == "":
		d.FailWith(wire.Missing("model"))
	case len(r.Inputs) == 0:
		d.FailWith(wire.Missing("input"))
	}
	if err := d.End(); err != nil {
		return nil, err
	}
	r.Extra = rest.Extra(dialect.OpenAIEmbeddings)
	return &r, nil
}

// readInput takes one text or several. Tokens mean something to one model only,
// so they cannot be sent to another.
func readInput(d *wire.Reader, r *llm.EmbedRequest) {
	if d.Kind() == jsonedit.KindString {
		r.Inputs = []string{d.Text()}
		return
	}
	r.Batch = true
	for range d.Elements {
		if d.Kind() != jsonedit.KindString {
			d.Fail("", "must be a string: this model cannot be sent tokens")
			return
		}
		r.Inputs = append(r.Inputs, d.Text())
	}
}

// EncodeEmbed implements [dialect.Embedder].
func (EmbeddingsCodec) EncodeEmbed(r *llm.EmbedRequest, u *dialect.Unsaid) ([]byte, error) {
	if r.Task != "" {
		if err := u.Field(dialect.FieldTask, "its API has no such parameter"); err != nil {
			return nil, err
		}
	}
	if r.Title != "" {
		if err := u.Path("title", "its API has no such parameter"); err != nil {
			return nil, err
		}
	}
	if err := u.Extra(r.Extra, ""); err != nil {
		return nil, err
	}
	var w wire.Writer
	w.Object().Name("model").Text(r.Model)
	w.Name("input")
	if len(r.Inputs) == 1 && !r.Batch {
		w.Text(r.Inputs[0])
	} else {
		w.Array()
		for _, input := range r.Inputs {
			w.Text(input)
		}
		w.EndArray()
	}
	w.IntMember("dimensions", r.Dimensions)
	if r.Base64 {
		w.Name("encoding_format").Text("base64")
	}
	w.TextMember("user", r.User)
	w.Members(r.Extra.In(dialect.OpenAIEmbeddings))
	w.End()
	return w.Bytes, nil
}

// DecodeEmbedded implements [dialect.Embedder].
func (EmbeddingsCodec) DecodeEmbedded(body []byte) (*llm.EmbedAnswer, *llm.Error) {
	m := meter{}
	m.Body(body)
	r := m.Reading()
	if r.Err != nil {
		return nil, r.Err
	}
	a := &llm.EmbedAnswer{Model: r.Model, Usage: r.Usage, Reported: r.Reported}
	var rest wire.Rest
	ok := true
	s := jsonedit.NewScanner(body)
	for name := range s.Members {
		switch string(name) {
		case "data":
			a.Vectors, ok = readVectors(s.Skip())
		case "object", "model":
		default: // usage too: providers say more there than tokens
			rest.Add(name, s.Skip())
		}
	}
	if !ok || len(a.Vectors) == 0 {
		return nil, wire.NotUnderstood()
	}
	a.Extra = rest.Extra(dialect.OpenAIEmbeddings)
	return a, nil
}

// readVectors puts the vectors in the order of their indexes; ok is false where
// one is missing or is none.
func readVectors(data []byte) (vectors [][]float64, ok bool) {
	ok = true
	s := jsonedit.NewScanner(data)
	var found [][]float64
	var at []int64
	for range s.Elements {
		index := int64(len(found))
		var vector []float64
		for name := range s.Members {
			switch string(name) {
			case "index":
				if n, isInt := s.Int(); isInt {
					index = n
				}
			case "embedding":
				vector = readVector(s.Skip())
			}
		}
		found, at = append(found, vector), append(at, index)
		ok = ok && vector != nil
	}
	vectors = make([][]float64, len(found))
	for i, index := range at {
		if index < 0 || index >= int64(len(vectors)) || vectors[index] != nil {
			return nil, false
		}
		vectors[index] = found[i]
	}
	return vectors, ok
}

// readVector takes numbers, or the base64 of little-endian float32; nil for
// anything else.
func readVector(raw []byte) []float64 {
	if quoted := quotedOnly(raw); quoted != nil {
		data, err := base64.StdEncoding.DecodeString(string(jsonedit.AppendText(nil, quoted)))
		if err != nil || len(data)%4 != 0 {
			return nil
		}
		vector := make([]float64, len(data)/4)
		for i := range vector {
			vector[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
		}
		return vector
	}
	if len(raw) == 0 || raw[0] != '[' {
		return nil
	}
	vector := []float64{}
	s := jsonedit.NewScanner(raw)
	for range s.Elements {
		f, err := strconv.ParseFloat(string(s.Skip()), 64)
		if err != nil {
			return nil
		}
		vector = append(vector, f)
	}
	return vector
}

// AppendEmbedded implements [dialect.Embedder].
func (EmbeddingsCodec) AppendEmbedded(dst []byte, a *llm.EmbedAnswer, r *llm.EmbedRequest) []byte {
	w := wire.Writer{Bytes: append(dst, '{')}
	w.Name("object").Text("list")
	w.Name("data").Array()
	for i, vector := range a.Vectors {
		w.Object().Name("object").Text("embedding")
		w.Name("index").Int(int64(i))
		w.Name("embedding")
		appendVector(&w, vector, r.Base64)
		w.End()
	}
	w.EndArray()
	model := a.Model
	if model == "" {
		model = r.Model
	}
	w.Name("model").Text(model)
	extra := a.Extra.In(dialect.OpenAIEmbeddings)
	if memberOf(extra, "usage") == nil {
		w.Name("usage").Object()
		w.Name("prompt_tokens").Int(a.Usage.InputTotal())
		w.Name("total_tokens").Int(a.Usage.InputTotal() + a.Usage.OutputTotal())
		w.End()
	}
	w.Members(extra)
	w.End()
	return w.Bytes
}

func appendVector(w *wire.Writer, vector []float64, asBase64 bool) {
	if asBase64 {
		data := make([]byte, 0, 4*len(vector))
		for _, f := range vector {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(f)))
		}
		w.Text(base64.StdEncoding.EncodeToString(data))
		return
	}
	w.Array()
	for _, f := range vector {
		w.Float(f)
	}
	w.EndArray()
}
