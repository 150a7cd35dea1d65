package gemini

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// EncodeRequest implements [dialect.Translator]. The body names no model: that
// is in the URL.
func (g Generate) EncodeRequest(r *llm.Request, o dialect.EncodeOptions) ([]byte, error) {
	out, err := encodeRequest(r, cmp.Or(g.Model, r.Model), o)
	if err != nil {
		return nil, err
	}
	return out.encode(), nil
}

func encodeRequest(r *llm.Request, model string, o dialect.EncodeOptions) (*request, error) {
	e := requestEncoder{r: r, o: o, u: o.Unsaid, gen3: isGemini3(model), model: model, own: isOwn(o.Unsaid)}
	for _, step := range []func() error{e.body, e.messages, e.tools, e.toolChoice, e.sampling, e.output, e.reasoning, e.hints} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	e.extras()
	return &e.out, nil
}

type requestEncoder struct {
	r     *llm.Request
	o     dialect.EncodeOptions
	u     *dialect.Unsaid
	model string
	gen3  bool // the model is of the third generation or later
	own   bool // the request came in this format
	out   request
	// config and calling are made when a member of theirs is set.
	config  generationConfig
	calling *functionCallingConfig
	calls   map[string]calledTool // by id
	order   map[*functionResponse]int
}

// calledTool is a call's tool, and which call it was.
type calledTool struct {
	name   string
	number int
}

// isOwn says that a request came in this format, so that what it said is said
// again as it was and not as another format's words are best said.
func isOwn(u *dialect.Unsaid) bool {
	source, ok := u.Source.(interface{ Name() dialect.Name })
	return ok && (source.Name() == dialect.Gemini || source.Name() == dialect.GeminiCount)
}

// body refuses what the format has no place for.
func (e *requestEncoder) body() error {
	r := e.r
	if err := e.u.Extra(r.Extra, ""); err != nil {
		return err
	}
	if r.PreviousID != "" {
		if err := e.u.Field(dialect.FieldPreviousID, "the conversation must be sent whole"); err != nil {
			return err
		}
	}
	if r.Verbosity != "" && r.Verbosity != "medium" {
		return e.u.Field(dialect.FieldVerbosity, "")
	}
	return nil
}

func (e *requestEncoder) sampling() error {
	r, c := e.r, &e.config
	c.StopSequences, c.Temperature, c.TopP, c.TopK = r.Stop, r.Temperature, r.TopP, r.TopK
	c.PresencePenalty, c.FrequencyPenalty = r.PresencePenalty, r.FrequencyPenalty
	c.MaxOutputTokens = integer(r.MaxTokens)
	if r.N > 1 || e.own {
		c.CandidateCount = integer(r.N)
	}
	c.ResponseLogprobs = r.LogProbs
	if r.LogProbs || e.own {
		c.Logprobs = (*integer)(r.TopLogProbs)
	}
	if r.Seed == nil {
		return nil
	}
	if *r.Seed < math.MinInt32 || *r.Seed > math.MaxInt32 {
		return e.u.Field(dialect.FieldSeed, "a seed has at most 32 bits there")
	}
	c.Seed = (*integer)(r.Seed)
	return nil
}

func (e *requestEncoder) output() error {
	f, c := e.r.Output, &e.config
	if f == nil {
		return nil
	}
	if err := e.u.Extra(f.Extra, e.u.Name(dialect.FieldOutput)); err != nil {
		return err
	}
	switch f.Kind {
	case llm.OutputText:
		if e.own {
			c.ResponseMIMEType = "text/plain"
		}
		return nil
	case llm.OutputJSONObject:
		c.ResponseMIMEType = jsonMIME
		return nil
	case llm.OutputJSONSchema:
	}
	c.ResponseMIMEType = jsonMIME
	if google, _ := take(membersOf(f.Extra), "responseSchema"); google != nil {
		c.ResponseSchema = fromJSONSchema(f.Schema)
	} else {
		c.ResponseJSONSchema = f.Schema
	}
	return nil
}

// tool is where a tool stood in the client's body.
func (e *requestEncoder) tool(t *llm.Tool) string {
	return fmt.Sprintf("%s[%d]", e.u.Name(dialect.FieldTools), t.Index)
}

func (e *requestEncoder) tools() error {
	if e.r.ParallelTools != nil && !*e.r.ParallelTools && len(e.r.Tools) > 0 {
		if err := e.u.Field(dialect.FieldParallelTools, "it may always call several tools at once"); err != nil {
			return err
		}
	}
	last := int32(-1) // the place of the tool that the last object was made for
	for i := range e.r.Tools {
		t := &e.r.Tools[i]
		if err := e.u.Extra(t.Extra, e.tool(t)); err != nil {
			return err
		}
		if t.Cache != nil {
			e.u.Leave(dialect.FieldCache)
		}
		joins := len(e.out.Tools) > 0 && last == t.Index
		switch {
		case t.Native != nil && t.Native.Format != dialect.Gemini:
			if err := e.u.Path(e.tool(t), fmt.Sprintf("%q is another provider's own", cmp.Or(t.Name, t.Native.Type))); err != nil {
				return err
			}
			continue
		case t.Custom:
			if err := e.u.Path(e.tool(t), fmt.Sprintf("%q takes free text, and it has only functions with JSON arguments", t.Name)); err != nil {
				return err
			}
			continue
		case t.Native != nil:
			if !joins {
				e.out.Tools = append(e.out.Tools, tool{})
			}
			extra := (*object)(&e.out.Tools[len(e.out.Tools)-1].Extra)
			extra.addAll("", t.Native.JSON)
		default:
			// Functions that follow each other go into one object.
			if n := len(e.out.Tools); !joins && (n == 0 || len(e.out.Tools[n-1].Extra) > 0) {
				e.out.Tools = append(e.out.Tools, tool{})
			}
			at := &e.out.Tools[len(e.out.Tools)-1]
			at.FunctionDeclarations = append(at.FunctionDeclarations, e.function(t))
		}
		last = t.Index
	}
	return nil
}

// function declares a tool. Other formats' schemas are JSON Schema and go where
// Google takes that.
func (e *requestEncoder) function(t *llm.Tool) functionDeclaration {
	f := functionDeclaration{Name: t.Name, Description: &t.Description}
	if t.Description == "" && !e.own {
		f.Description = nil
	}
	google, extra := take(membersOf(t.Extra), "parameters")
	if f.Extra = extra; google != nil {
		f.Parameters = fromJSONSchema(t.Schema)
	} else if len(t.Schema) > 0 && string(t.Schema) != null {
		f.ParametersJSONSchema = t.Schema
	}
	return f
}

// toolChoice says which tools may be called. Where a tool is to be called
// strictly by its schema, VALIDATED asks for that; it holds for all functions.
func (e *requestEncoder) toolChoice() error {
	choice := e.r.ToolChoice
	strict := false
	for i := range e.r.Tools {
		strict = strict || e.r.Tools[i].Strict != nil && *e.r.Tools[i].Strict
	}
	if choice == nil {
		if strict {
			e.calling = &functionCallingConfig{Mode: modeValidated}
		}
		return nil
	}
	if choice.Native != nil {
		return e.u.Field(dialect.FieldToolChoice, "")
	}
	c := &functionCallingConfig{AllowedFunctionNames: choice.Names}
	switch choice.Mode {
	case llm.ToolNone:
		c.Mode = modeNone
	case llm.ToolRequired:
		c.Mode = modeAny
	case llm.ToolAuto:
		c.Mode = modeAuto
		if strict || len(choice.Names) > 0 {
			c.Mode = modeValidated
		}
	}
	e.calling = c
	return nil
}

// tiers are the format's words for OpenAI's and Anthropic's.
var tiers = map[string]string{
	"default": "standard", "standard": "standard", "standard_only": "standard", "flex": "flex", "priority": "priority",
}

// labelPattern is what Vertex AI allows in labels.
var labelPattern = regexp.MustCompile(`^[a-z0-9_-]{0,63}$`)

func (e *requestEncoder) hints() error {
	r := e.r
	for field, said := range map[dialect.Field]bool{
		dialect.FieldUser: r.User != "", dialect.FieldSafetyID: r.SafetyID != "",
		dialect.FieldCacheKey: r.CacheKey != "", dialect.FieldStore: r.Store != nil,
	} {
		if said {
			e.u.Leave(field)
		}
	}
	switch tier := tiers[r.ServiceTier]; {
	case e.own:
		e.out.ServiceTier = r.ServiceTier
	case tier != "" && !e.o.Vertex:
		e.out.ServiceTier = tier
	case r.ServiceTier != "" && r.ServiceTier != "auto":
		e.u.Leave(dialect.FieldServiceTier)
	}
	if len(r.Metadata) > 0 {
		if e.own || e.o.Vertex && areLabels(r.Metadata) {
			e.out.Labels = r.Metadata
		} else {
			e.u.Leave(dialect.FieldMetadata)
		}
	}
	return nil
}

func areLabels(metadata map[string]string) bool {
	for key, value := range metadata {
		if key == "" || key[0] < 'a' || key[0] > 'z' || !labelPattern.MatchString(key) || !labelPattern.MatchString(value) {
			return false
		}
	}
	return true
}

// extras puts the members without a word of their own where they were, and the
// objects together.
func (e *requestEncoder) extras() {
	all := object(bytes.Clone(membersOf(e.r.Extra)))
	all.addAll("", membersOf(e.r.Wire))
	members := jsontext.Value(all)
	thinking, members := splitExtra(members, inThinking)
	generation, members := splitExtra(members, inGeneration)
	calling, members := splitExtra(members, inCalling)
	config, members := splitExtra(members, inToolConfig)
	e.out.Extra = members
	c := &e.config
	if len(thinking) > 0 {
		if c.ThinkingConfig == nil {
			c.ThinkingConfig = &thinkingConfig{}
		}
		c.ThinkingConfig.Extra = thinking
	}
	e.generationExtra(generation)
	if mode, rest := take(calling, "mode"); mode != nil {
		if e.calling == nil {
			e.calling = &functionCallingConfig{}
		}
		calling, e.calling.Mode = rest, modeValidated
	}
	if len(calling) > 0 {
		if e.calling == nil {
			e.calling = &functionCallingConfig{}
		}
		e.calling.Extra = calling
	}
	if e.calling != nil || len(config) > 0 {
		e.out.ToolConfig = &toolConfig{FunctionCallingConfig: e.calling, Extra: config}
	}
	if text := marshal(c); string(text) != "{}" {
		e.out.GenerationConfig = c
	}
}

func (e *requestEncoder) generationExtra(members jsontext.Value) {
	mime, members := take(members, strings.TrimPrefix(mimeTypeExtra, inGeneration))
	if mime != nil {
		e.config.ResponseMIMEType = string(jsonedit.AppendText(nil, mime))
	}
	e.config.Extra = members
}
