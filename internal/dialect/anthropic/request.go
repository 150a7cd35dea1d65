package anthropic

import (
	"cmp"
	"strconv"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
)

// call is one request body and what was found in it.
type call struct {
	codec Codec
	body  []byte
	jsonedit.Object

	model     string
	stream    bool
	maxTokens int64
	fixed     bool // the sampling must stay as it is, see [call.readSampling]
	budget    int64
	thinking  jsonedit.Object // where budget stands; valid if budget > 0
}

// Read implements [dialect.Codec].
func (c Codec) Read(body []byte) (dialect.Call, error) {
	k := &call{codec: c, body: body}
	if err := k.read(); err != nil {
		return nil, styled(wire.RequestError(err))
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
	switch messages := k.Value("messages"); {
	case messages == nil:
		return wire.Missing("messages")
	case messages[0] != '[':
		return &jsonedit.TypeError{Name: "messages", Want: "an array"}
	}
	if system := k.Value("system"); system != nil && system[0] != '"' && system[0] != '[' {
		return &jsonedit.TypeError{Name: "system", Want: "a string or an array"}
	}
	if k.codec.name == dialect.AnthropicCount {
		return nil
	}
	if k.stream, err = k.Bool("stream"); err != nil {
		return err
	}
	if err = k.readMaxTokens(); err != nil {
		return err
	}
	return k.readSampling()
}

func (k *call) readMaxTokens() error {
	n, ok, err := k.Int("max_tokens")
	switch {
	case err != nil:
		return err
	case !ok:
		return wire.Missing("max_tokens")
	case n < 0:
		return wire.Invalid("max_tokens", "must not be negative")
	}
	k.maxTokens = n
	return nil
}

// readSampling finds whether a temperature may be put into the request: not
// where the client chose the sampling itself, and not where the model thinks,
// since thinking allows no temperature but 1.
func (k *call) readSampling() error {
	temperature, err := k.Number("temperature")
	if err != nil {
		return err
	}
	topP, err := k.Number("top_p")
	if err != nil {
		return err
	}
	thinking, ok, err := k.Object.Object("thinking")
	if err != nil {
		return err
	}
	k.fixed = temperature || topP
	if !ok {
		return nil
	}
	kind, _ := thinking.Text("type")
	k.fixed = k.fixed || kind != thinkingDisabled
	if kind == thinkingEnabled {
		k.thinking = thinking
		k.budget, _, _ = thinking.Int("budget_tokens")
	}
	return nil
}

// Model implements [dialect.Call].
func (k *call) Model() string { return k.model }

// Stream implements [dialect.Call].
func (k *call) Stream() bool { return k.stream }

// UsageWanted implements [dialect.Call]: streams always tell it.
func (k *call) UsageWanted() bool { return true }

// MaxTokens implements [dialect.Call].
func (k *call) MaxTokens() int64 { return k.maxTokens }

// Patch implements [dialect.Call]. Of the edits, a count takes the model and the
// system prompt only.
func (k *call) Patch(edits dialect.Edits) ([]byte, error) {
	e := k.Edit()
	if edits.Model != "" && edits.Model != k.model {
		e.SetText("model", edits.Model)
	}
	if edits.SystemPrompt != "" {
		k.insertSystemPrompt(e, edits.SystemPrompt)
	}
	if k.codec.name == dialect.AnthropicCount {
		return e.BytesIn(edits.Into), nil
	}
	if edits.Temperature != nil && !k.fixed && modelOf(cmp.Or(edits.Model, k.model)).samples {
		e.Set("temperature", strconv.FormatFloat(min(*edits.Temperature, 1), 'f', -1, 64))
	}
	if edits.MaxTokens > 0 && k.maxTokens > edits.MaxTokens {
		k.capTokens(e, edits.MaxTokens)
	}
	return e.BytesIn(edits.Into), nil
}

// capTokens lowers the limit, and the budget for thinking with it, which must
// stay below.
func (k *call) capTokens(e *jsonedit.Editor, limit int64) {
	e.Set("max_tokens", strconv.FormatInt(limit, 10))
	if k.budget < limit || limit <= minBudget {
		return
	}
	inner := k.thinking.Edit()
	inner.Set("budget_tokens", strconv.FormatInt(limit-1, 10))
	e.Set("thinking", string(inner.Bytes()))
}

// insertSystemPrompt puts a prompt before the client's own: in front of its
// blocks, which may end prefixes to cache, or of its text.
func (k *call) insertSystemPrompt(e *jsonedit.Editor, prompt string) {
	system := k.Value("system")
	at, _ := k.Find("system")
	quoted := string(jsonedit.AppendQuote(nil, prompt))
	switch {
	case system == nil, string(system) == `""`:
		e.Set("system", quoted)
	case system[0] == '"':
		e.Insert(at.Start+1, quoted[1:len(quoted)-1]+`\n\n`)
	case emptyArray(system):
		e.Insert(at.Start+1, systemBlock(quoted))
	default:
		e.Insert(at.Start+1, systemBlock(quoted)+",")
	}
}

func systemBlock(quoted string) string { return `{"type":"text","text":` + quoted + `}` }

func emptyArray(value []byte) bool {
	s := jsonedit.NewScanner(value[1:])
	return s.Kind() == jsonedit.KindInvalid // the closing bracket
}
