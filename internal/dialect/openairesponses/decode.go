package openairesponses

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// What a request can ask to have included that the vocabulary has words for.
const (
	includeLogProbs  = "message.output_text.logprobs"
	includeEncrypted = "reasoning.encrypted_content"
)

// request reads one request body.
type request struct {
	reader
	seal dialect.Sealer
	r    *llm.Request
	wire []string // names of the members for r.Wire

	calls map[string]bool // ids of the tool calls so far
	// elsewhere: earlier items are kept by the provider, so that a result's call
	// may be among them.
	elsewhere bool
}

// DecodeRequest implements [dialect.Translator].
func (Codec) DecodeRequest(body []byte, o dialect.DecodeOptions) (*llm.Request, error) {
	d := request{seal: o.Seal, r: &llm.Request{StreamUsage: true}, calls: map[string]bool{}}
	d.texts = *wire.NewTexts(len(body))
	top := d.body(body)
	if d.err != nil {
		return nil, d.err
	}
	d.settings(&top)
	d.tools(&top)
	d.conversation(&top)
	d.r.Extra, d.r.Wire = own(top.rest()), own(top.take(d.wire...))
	if d.err != nil {
		return nil, d.err
	}
	return d.r, nil
}

// settings reads all but the conversation and the tools.
func (d *request) settings(top *object) {
	r := d.r
	if r.Model = top.text("model"); r.Model == "" {
		top.missing("model")
	}
	if stream := top.flag("stream"); stream != nil {
		if r.Stream = *stream; !r.Stream {
			d.wire = append(d.wire, "stream")
		}
	}
	if limit := top.integer("max_output_tokens"); limit != nil {
		r.MaxTokens = *limit
	}
	r.Temperature, r.TopP, r.TopLogProbs = top.number("temperature"), top.number("top_p"), top.integer("top_logprobs")
	r.User, r.SafetyID = top.text("user"), top.text("safety_identifier")
	r.CacheKey, r.ServiceTier = top.text("prompt_cache_key"), top.text("service_tier")
	r.Store, r.PreviousID = top.flag("store"), top.text("previous_response_id")
	if top.get("stream_options") != nil {
		d.wire = append(d.wire, "stream_options") // it says how the stream is padded, nothing else
	}
	switch top.text("truncation") {
	case "":
	case "disabled":
		d.wire = append(d.wire, "truncation")
	default:
		top.leave("truncation")
	}
	d.metadata(top)
	d.include(top)
	d.reasoning(top)
	d.text(top)
}

func (d *request) metadata(top *object) {
	labels, ok := top.nested("metadata")
	if !ok {
		return
	}
	d.r.Metadata = map[string]string{}
	for i := labels.from; i < labels.to; i++ {
		name := string(d.members[i].name)
		d.r.Metadata[name] = labels.text(name)
	}
}

// include reads what the answer is to have beside its text. What the vocabulary
// has no word for is refused by other formats, so the list goes to Extra then.
func (d *request) include(top *object) {
	foreign := false
	top.elements("include", func(i int, value []byte) {
		if value[0] != '"' {
			d.fail(place{list: "include", index: i}.String(), "must be a string")
		}
		switch wire.Unquote(value) {
		case includeLogProbs:
			d.r.LogProbs = true
		case includeEncrypted: // every encoder does so by itself
		default:
			foreign = true
		}
	})
	switch {
	case foreign:
		top.leave("include")
	case top.get("include") != nil:
		d.wire = append(d.wire, "include")
	}
}

func (d *request) reasoning(top *object) {
	o, ok := top.nested("reasoning")
	if !ok {
		return
	}
	d.r.Reasoning = &llm.Reasoning{Effort: o.text("effort"), Summary: o.text("summary")}
	if d.r.Reasoning.Summary != "" {
		d.r.Reasoning.Show = new(true)
	}
	d.r.Reasoning.Extra = own(o.rest())
}

// text reads the form of the answer's text. An object with members that are not
// known is kept whole.
func (d *request) text(top *object) {
	o, ok := top.nested("text")
	if !ok {
		return
	}
	d.r.Verbosity = o.text("verbosity")
	whole := true
	if format, ok := o.nested("format"); ok {
		whole = d.format(&format)
	}
	whole = o.rest() == nil && whole
	switch {
	case !whole:
		top.leave("text")
	case d.r.Output == nil && d.r.Verbosity == "":
		d.wire = append(d.wire, "text")
	}
}

// format reads the format of the text. It reports whether it understood all of
// it.
func (d *request) format(o *object) (whole bool) {
	output := &llm.OutputFormat{Kind: llm.OutputKind(o.required("type"))}
	switch output.Kind {
	case llm.OutputText, llm.OutputJSONObject:
	case llm.OutputJSONSchema:
		output.Name, output.Description = o.required("name"), o.text("description")
		output.Strict = o.flag("strict")
		if output.Schema = o.json("schema"); output.Schema == nil {
			o.missing("schema")
		}
	default:
		return false
	}
	d.r.Output = output
	return o.rest() == nil
}

// conversation reads the instructions and the input.
func (d *request) conversation(top *object) {
	if instructions := top.get("instructions"); instructions != nil {
		at := llm.Pos{Message: posInstructions, Part: -1}
		text := &llm.Text{Common: llm.Common{Pos: at}, Text: top.text("instructions")}
		d.r.Messages = append(d.r.Messages, llm.Message{Role: llm.RoleSystem, Parts: []llm.Part{text}, Pos: at})
	}
	input := top.get("input")
	d.elsewhere = d.r.PreviousID != "" || top.get("conversation") != nil || top.get("prompt") != nil
	top.leave("conversation")
	top.leave("prompt")
	switch {
	case input == nil && !d.elsewhere:
		top.missing("input")
	case input == nil:
	case input[0] == '"':
		at := llm.Pos{Message: posInput, Part: -1}
		text := &llm.Text{Common: llm.Common{Pos: at}, Text: d.texts.Unquote(input)}
		d.r.Messages = append(d.r.Messages, llm.Message{Role: llm.RoleUser, Parts: []llm.Part{text}, Pos: at})
	case input[0] != '[':
		d.fail("input", "must be a string or an array")
	default:
		top.objects("input", d.item)
	}
}
