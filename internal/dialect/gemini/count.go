package gemini

import (
	"bytes"
	"strconv"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// Count is the codec of countTokens, which takes contents alone or a whole
// request: in generateContentRequest, or beside them on Vertex AI.
// Source: https://ai.google.dev/api/tokens.
type Count struct {
	Errors
	Model string // as the path has it
}

// Name implements [dialect.Codec].
func (Count) Name() dialect.Name { return dialect.GeminiCount }

// FieldPath implements [dialect.Namer].
func (Count) FieldPath(f dialect.Field) string { return fieldPaths[f] }

// PartPath implements [dialect.Namer].
func (Count) PartPath(p llm.Pos) string { return partPath(p) }

const wholeRequest = "generateContentRequest"

// countCall is a call with the request that it counts.
type countCall struct {
	codec Count
	outer jsonedit.Object
	inner call
	name  string // of the member that holds the request; "" where it is the body
}

// Read implements [dialect.Codec].
func (c Count) Read(body []byte) (dialect.Call, error) {
	k := &countCall{codec: c}
	outer, err := jsonedit.ReadObject(body)
	if err != nil {
		return nil, wire.RequestError(err)
	}
	if k.outer = outer; outer.Value("contents") == nil {
		if k.name, err = spelling(&k.outer, wholeRequest, "generate_content_request"); err != nil {
			return nil, err
		}
		if body = outer.Value(k.name); body == nil {
			return nil, wire.Missing("contents")
		}
	}
	if err := k.inner.read(body); err != nil {
		return nil, within(k.name, wire.RequestError(err))
	}
	return k, nil
}

// within adds where the object stands that an error is about.
func within(name string, err *llm.Error) *llm.Error {
	if name != "" && err.Param != "" {
		err.Message = name + "." + err.Message
		err.Param = name + "." + err.Param
	}
	return err
}

func (k *countCall) Model() string     { return k.codec.Model }
func (k *countCall) Stream() bool      { return false }
func (k *countCall) UsageWanted() bool { return false }
func (k *countCall) MaxTokens() int64  { return 0 }

// Patch implements [dialect.Call]. A system prompt is counted with the rest.
func (k *countCall) Patch(edits dialect.Edits) ([]byte, error) {
	e := k.outer.Edit()
	if k.name == "" {
		if edits.SystemPrompt == "" {
			return e.BytesIn(edits.Into), nil
		}
		// Bare contents have no place for it.
		inner := k.inner.Edit()
		patchSystem(inner, &k.inner.Object, edits.SystemPrompt)
		inner.SetText("model", modelName(cmpModel(edits.Model, k.codec.Model)))
		return append(append([]byte(`{"`+wholeRequest+`":`), inner.Bytes()...), '}'), nil
	}
	inner := k.inner.Edit()
	if edits.Model != "" {
		inner.SetText("model", modelName(edits.Model))
	}
	if edits.SystemPrompt != "" {
		patchSystem(inner, &k.inner.Object, edits.SystemPrompt)
	}
	before := k.outer.Value(k.name)
	if after := inner.Bytes(); !bytes.Equal(after, before) {
		e.Set(k.name, string(after))
	}
	return e.BytesIn(edits.Into), nil
}

func (k *countCall) AppendText(dst []byte, limit int) []byte { return k.inner.AppendText(dst, limit) }

func cmpModel(edited, own string) string {
	if edited != "" {
		return edited
	}
	return own
}

// modelName is a model as bodies name it.
func modelName(model string) string {
	if bytes.ContainsRune([]byte(model), '/') {
		return model
	}
	return "models/" + model
}

// NewMeter implements [dialect.Codec]: counting costs nothing.
func (Count) NewMeter() dialect.Meter { return &plainMeter{} }

// DecodeCount implements [dialect.TokenCounter].
func (c Count) DecodeCount(body []byte, o dialect.DecodeOptions) (*llm.Request, error) {
	outer, err := jsonedit.ReadObject(body)
	if err != nil {
		return nil, wire.RequestError(err)
	}
	name := ""
	if outer.Value("contents") == nil {
		if name, err = spelling(&outer, wholeRequest, "generate_content_request"); err != nil {
			return nil, err
		}
		inner, ok, err := outer.Object(name)
		if err != nil {
			return nil, wire.RequestError(err)
		}
		if !ok {
			return nil, wire.Missing("contents")
		}
		body = outer.Value(name)
		if _, named := inner.Find("model"); named { // the path says it
			if _, body = take(body, "model"); body == nil {
				return nil, wire.Missing(name + ".contents")
			}
		}
	}
	r, err := decodeRequest(wire.NewReader(body), o)
	if err != nil {
		return nil, within(name, wire.RequestError(err))
	}
	r.Model = c.Model
	return r, nil
}

// EncodeCount implements [dialect.TokenCounter].
func (c Count) EncodeCount(r *llm.Request, o dialect.EncodeOptions) ([]byte, error) {
	model := cmpModel(c.Model, r.Model)
	in, err := encodeRequest(r, model, o)
	if err != nil {
		return nil, err
	}
	if o.Vertex {
		return in.encode(), nil
	}
	if in.SystemInstruction == nil && len(in.Tools) == 0 && in.ToolConfig == nil && in.GenerationConfig == nil {
		return (&request{Contents: in.Contents, Extra: in.Extra}).encode(), nil
	}
	body := append([]byte(`{"`+wholeRequest+`":`), in.encode()...)
	body = jsonedit.AppendQuote(append(body[:len(body)-1], `,"model":`...), modelName(model))
	return append(body, "}}"...), nil
}

// DecodeCounted implements [dialect.TokenCounter].
func (Count) DecodeCounted(body []byte) (tokens int64, ok bool) {
	s := jsonedit.NewScanner(body)
	for name := range s.Members {
		if string(name) == "totalTokens" {
			tokens, ok = s.Int()
		}
	}
	return tokens, ok && tokens >= 0 && s.End() == nil
}

// AppendCounted implements [dialect.TokenCounter].
func (Count) AppendCounted(dst []byte, tokens int64) []byte {
	dst = append(dst, `{"totalTokens":`...)
	return append(strconv.AppendInt(dst, tokens, 10), '}')
}
