package gemini

import (
	"errors"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

var errNotInteger = errors.New("not an integer")

// Members that have no place of their own in llm.Request are kept in its Extra
// with the path to them as their name, so that an error can say it.
const (
	inGeneration  = "generationConfig."
	inThinking    = "generationConfig.thinkingConfig."
	inToolConfig  = "toolConfig."
	inCalling     = "toolConfig.functionCallingConfig."
	modeMember    = inCalling + "mode"
	modalities    = inGeneration + "responseModalities"
	mimeTypeExtra = inGeneration + "responseMimeType"
)

// DecodeRequest implements [dialect.Translator].
func (g Generate) DecodeRequest(body []byte, o dialect.DecodeOptions) (*llm.Request, error) {
	r, err := decodeRequest(wire.NewReader(body), o)
	if err != nil {
		return nil, err
	}
	r.Model, r.Stream, r.StreamUsage = g.Model, g.Streaming, true
	return r, nil
}

func decodeRequest(body *wire.Reader, o dialect.DecodeOptions) (*llm.Request, error) {
	in := readRequest(body)
	if err := body.End(); err != nil {
		return nil, err
	}
	if len(in.Contents) == 0 {
		return nil, wire.Missing("contents")
	}
	r := &llm.Request{Metadata: in.Labels, ServiceTier: in.ServiceTier}
	d := requestDecoder{r: r, seal: o.Seal}
	d.extra.addAll("", in.Extra)
	if in.SystemInstruction != nil {
		if err := d.message(inSystem, in.SystemInstruction); err != nil {
			return nil, err
		}
	}
	for i := range in.Contents {
		if err := d.message(int32(i), &in.Contents[i]); err != nil {
			return nil, err
		}
	}
	d.flush()
	if err := d.tools(in.Tools); err != nil {
		return nil, err
	}
	if err := d.toolConfig(in.ToolConfig); err != nil {
		return nil, err
	}
	d.generationConfig(in.GenerationConfig)
	r.Extra, r.Wire = extraOf(jsontext.Value(d.extra)), extraOf(jsontext.Value(d.wire))
	return r, nil
}

type requestDecoder struct {
	r       *llm.Request
	seal    dialect.Sealer
	extra   object // of the request
	wire    object
	byID    map[string]*openCall
	byName  map[string][]*openCall
	scratch []byte
	// joining is a text that others are added to, and joined what it becomes.
	joining *llm.Text
	joined  []byte
	// told is the thinking that the part at hand carries.
	told []dialect.ThinkingState
}

// openCall is a call that a response may be for.
type openCall struct {
	id, name string
	answered bool
}

// tools takes functions and Google's own tools, in their order.
func (d *requestDecoder) tools(tools []tool) error {
	for i := range tools {
		index := int32(i)
		for j := range tools[i].FunctionDeclarations {
			f := &tools[i].FunctionDeclarations[j]
			if f.Name == "" {
				return wire.Invalid("tools["+strconv.Itoa(i)+"].functionDeclarations["+strconv.Itoa(j)+"].name", "is required")
			}
			t := llm.Tool{Name: f.Name, Schema: f.ParametersJSONSchema, Index: index}
			if f.Description != nil {
				t.Description = *f.Description
			}
			extra := object(f.Extra)
			if len(f.Parameters) > 0 && f.Parameters[0] == '{' {
				// The null is for encoding alone: it says which member the schema was in.
				t.Schema = toJSONSchema(f.Parameters)
				extra.add("parameters", []byte(null))
			}
			t.Extra = extraOf(jsontext.Value(extra))
			d.r.Tools = append(d.r.Tools, t)
		}
		s := jsonedit.NewScanner(tools[i].Extra)
		for name := range s.Members {
			var whole object
			whole.add(string(name), s.Skip())
			d.r.Tools = append(d.r.Tools, llm.Tool{
				Name: string(name), Index: index,
				Native: &llm.Native{Format: dialect.Gemini, Type: string(name), JSON: whole},
			})
		}
	}
	return nil
}

// The modes of function calling. VALIDATED lets the model choose as AUTO does,
// but holds it to the functions' schemas; only with it and with ANY can the
// functions be restricted.
const (
	modeAuto      = "AUTO"
	modeAny       = "ANY"
	modeNone      = "NONE"
	modeValidated = "VALIDATED"
)

func (d *requestDecoder) toolConfig(c *toolConfig) error {
	if c == nil {
		return nil
	}
	d.extra.addAll(inToolConfig, c.Extra)
	calling := c.FunctionCallingConfig
	if calling == nil {
		return nil
	}
	d.extra.addAll(inCalling, calling.Extra)
	choice := &llm.ToolChoice{Names: calling.AllowedFunctionNames}
	switch strings.ToUpper(calling.Mode) {
	case modeAuto:
		choice.Mode = llm.ToolAuto
	case "", "MODE_UNSPECIFIED":
		if choice.Mode = llm.ToolAuto; len(choice.Names) == 0 {
			return nil
		}
	case modeAny:
		choice.Mode = llm.ToolRequired
	case modeNone:
		choice.Mode = llm.ToolNone
	case modeValidated:
		if choice.Mode = llm.ToolAuto; len(choice.Names) == 0 {
			d.extra.add(modeMember, []byte(`"`+modeValidated+`"`))
		}
	default:
		return wire.Invalid(modeMember, "must be AUTO, ANY, NONE or VALIDATED")
	}
	d.r.ToolChoice = choice
	return nil
}

const jsonMIME = "application/json"

func (d *requestDecoder) generationConfig(c *generationConfig) {
	if c == nil {
		return
	}
	r := d.r
	r.Stop, r.N, r.MaxTokens = c.StopSequences, int64(c.CandidateCount), int64(c.MaxOutputTokens)
	r.Temperature, r.TopP, r.TopK = c.Temperature, c.TopP, c.TopK
	r.PresencePenalty, r.FrequencyPenalty = c.PresencePenalty, c.FrequencyPenalty
	r.Seed, r.LogProbs, r.TopLogProbs = (*int64)(c.Seed), c.ResponseLogprobs, (*int64)(c.Logprobs)
	d.output(c)
	d.extra.addAll(inGeneration, c.Extra)
	if kinds := c.ResponseModalities; len(kinds) == 1 && strings.EqualFold(kinds[0], "TEXT") {
		d.wire.add(modalities, marshal(kinds)) // the default, which asks another format for nothing
	} else if len(kinds) > 0 {
		d.extra.add(modalities, marshal(kinds))
	}
	if t := c.ThinkingConfig; t != nil {
		r.Reasoning = &llm.Reasoning{Budget: (*int64)(t.ThinkingBudget), Show: t.IncludeThoughts}
		if level := strings.ToLower(t.ThinkingLevel); level != "thinking_level_unspecified" {
			r.Reasoning.Effort = level
		}
		d.extra.addAll(inThinking, t.Extra)
	}
}

// output is the form of the answer's text: JSON, perhaps by a schema, or a word
// of an enum by one.
func (d *requestDecoder) output(c *generationConfig) {
	schema, google := c.ResponseJSONSchema, false
	if len(c.ResponseSchema) > 0 && c.ResponseSchema[0] == '{' {
		schema, google = toJSONSchema(c.ResponseSchema), true
	}
	if string(schema) == null {
		schema = nil
	}
	switch c.ResponseMIMEType {
	case "":
		if schema == nil {
			return
		}
	case jsonMIME:
		if schema == nil {
			d.r.Output = &llm.OutputFormat{Kind: llm.OutputJSONObject}
			return
		}
	case "text/plain":
		d.r.Output = &llm.OutputFormat{Kind: llm.OutputText}
	default:
		d.extra.add(mimeTypeExtra, jsonedit.AppendQuote(nil, c.ResponseMIMEType))
	}
	if schema == nil {
		return
	}
	d.r.Output = &llm.OutputFormat{Kind: llm.OutputJSONSchema, Schema: schema}
	if google { // see tools
		d.r.Output.Extra = llm.Extra{Format: dialect.Gemini, JSON: []byte(`{"responseSchema":null}`)}
	}
}

// marshal writes what always can be written.
func marshal(v any) []byte {
	text, err := json.Marshal(v, writing)
	if err != nil { // a bug: all types here can be written
		return []byte(null)
	}
	return text
}

// malformed is the error for a body whose members have wrong types.
func malformed(err error) *llm.Error {
	if e, ok := errors.AsType[*llm.Error](err); ok {
		return e
	}
	e := &llm.Error{Cause: llm.CauseInvalidRequest, Message: "the request body must be one JSON object of the generateContent API", Err: err}
	if wrong, ok := errors.AsType[*json.SemanticError](err); ok {
		if path := wire.MemberPath(string(wrong.JSONPointer)); path != "" {
			e.Param, e.Message = path, path+" has the wrong type"
		}
	}
	if wrong, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if path := wire.MemberPath(string(wrong.JSONPointer)); path != "" {
			e.Param, e.Message = path, path+" is not valid: a member comes twice, or the JSON is broken"
		}
	}
	return e
}
