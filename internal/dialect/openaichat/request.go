package openaichat

import (
	"strconv"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// call is one request body and what was found in it.
type call struct {
	codec Codec
	body  []byte
	jsonedit.Object

	model       string
	stream      bool
	usageWanted bool
	maxTokens   int64
	temperature bool // the client set one
}

// limitMembers are the names by which a client limits what is generated.
var limitMembers = [...]string{"max_completion_tokens", "max_tokens"}

// Read implements [dialect.Codec].
func (c Codec) Read(body []byte) (dialect.Call, error) {
	k := &call{codec: c, body: body}
	if err := k.read(); err != nil {
		return nil, wire.RequestError(err)
	}
	return k, nil
}

func (k *call) read() (err error) {
	if k.Object, err = jsonedit.ReadObject(k.body); err != nil {
		return err
	}
	if k.model, err = k.Text("model"); err != nil {
		return err
	}
	if k.model == "" {
		return wire.Missing("model")
	}
	if k.stream, err = k.Bool("stream"); err != nil {
		return err
	}
	if k.temperature, err = k.Number("temperature"); err != nil {
		return err
	}
	if err = k.readInput(); err != nil {
		return err
	}
	if err = k.readLimits(); err != nil {
		return err
	}
	return k.readStreamOptions()
}

func (k *call) readInput() error {
	input := k.Value(k.codec.input)
	switch {
	case input == nil:
		return wire.Missing(k.codec.input)
	case input[0] == '[', input[0] == '"' && k.codec.name != dialect.OpenAIChat:
		return nil
	case k.codec.name == dialect.OpenAIChat:
		return &jsonedit.TypeError{Name: "messages", Want: "an array"}
	default:
		return &jsonedit.TypeError{Name: k.codec.input, Want: "a string or an array"}
	}
}

// readLimits takes the higher limit where a client gives both. A negative one
// means "no limit" to some servers.
func (k *call) readLimits() error {
	for _, name := range limitMembers {
		n, _, err := k.Int(name)
		if err != nil {
			return err
		}
		k.maxTokens = max(k.maxTokens, n)
	}
	return nil
}

func (k *call) readStreamOptions() error {
	options, ok, err := k.Object.Object("stream_options")
	if err != nil || !ok {
		return err
	}
	if k.usageWanted, err = options.Bool("include_usage"); err != nil {
		return &jsonedit.TypeError{Name: "stream_options.include_usage", Want: "a boolean"}
	}
	return nil
}

// Model implements [dialect.Call].
func (k *call) Model() string { return k.model }

// Stream implements [dialect.Call].
func (k *call) Stream() bool { return k.stream }

// UsageWanted implements [dialect.Call].
func (k *call) UsageWanted() bool { return k.usageWanted }

// MaxTokens implements [dialect.Call].
func (k *call) MaxTokens() int64 { return k.maxTokens }

// Patch implements [dialect.Call]. Of the edits, embeddings know only the model.
// A system prompt is refused where the format has no place for it.
func (k *call) Patch(edits dialect.Edits) ([]byte, error) {
	e := k.Edit()
	if edits.Model != "" && edits.Model != k.model {
		e.SetText("model", edits.Model)
	}
	if edits.SystemPrompt != "" {
		if k.codec.name != dialect.OpenAIChat {
			return nil, &llm.Error{
				Cause:   llm.CauseInvalidRequest,
				Param:   "model",
				Message: "this specialist has a system prompt and answers chat calls only",
			}
		}
		k.insertSystemPrompt(e, edits.SystemPrompt)
	}
	if k.codec.limit != "" {
		k.patchSampling(e, edits)
	}
	if edits.AskUsage && k.stream && !k.usageWanted {
		k.askUsage(e)
	}
	return e.BytesIn(edits.Into), nil
}

func (k *call) insertSystemPrompt(e *jsonedit.Editor, prompt string) {
	message := systemMessage(prompt)
	messages, _ := k.Find("messages")
	if emptyArray(k.body[messages.Start:messages.End]) {
		message = message[:len(message)-1]
	}
	e.Insert(messages.Start+1, message)
}

func emptyArray(value []byte) bool {
	s := jsonedit.NewScanner(value[1:])
	return s.Kind() == jsonedit.KindInvalid // the closing bracket
}

func (k *call) patchSampling(e *jsonedit.Editor, edits dialect.Edits) {
	if edits.Temperature != nil && !k.temperature {
		e.Set("temperature", strconv.FormatFloat(*edits.Temperature, 'f', -1, 64))
	}
	if edits.MaxTokens <= 0 {
		return
	}
	limit, limited := strconv.FormatInt(edits.MaxTokens, 10), false
	for _, name := range limitMembers {
		n, ok, _ := k.Int(name)
		limited = limited || ok
		if ok && (n < 0 || n > edits.MaxTokens) {
			e.Set(name, limit)
		}
	}
	if limited {
		return
	}
	if edits.MaxTokensField != "" {
		e.Set(edits.MaxTokensField, limit)
		return
	}
	e.Set(k.codec.limit, limit)
}

func (k *call) askUsage(e *jsonedit.Editor) {
	options, ok, _ := k.Object.Object("stream_options")
	if !ok {
		e.Set("stream_options", `{"include_usage":true}`)
		return
	}
	inner := options.Edit()
	inner.Set("include_usage", "true")
	e.Set("stream_options", string(inner.Bytes()))
}
