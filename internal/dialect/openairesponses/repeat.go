package openairesponses

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// repeated are the members of a response object that repeat the request. SDKs
// with strict types want them all.
func repeated(o dialect.AnswerOptions) []byte {
	r := o.Request
	if r == nil {
		r = &llm.Request{}
	}
	own := r.Extra.In(dialect.OpenAIResponses)
	var w wire.Writer
	w.Object()
	w.Name("background").Bool(false)
	w.Name("instructions").Raw(instructionsOf(r))
	w.Name("max_output_tokens").Raw(integer(r.MaxTokens))
	w.Name("max_tool_calls").Raw(wire.Member(own, "max_tool_calls"))
	w.Name("metadata").Raw(labels(r.Metadata))
	w.Name("parallel_tool_calls").Bool(r.ParallelTools == nil || *r.ParallelTools)
	textOrNull(&w, "previous_response_id", r.PreviousID)
	textOrNull(&w, "prompt_cache_key", r.CacheKey)
	repeatReasoning(&w, r.Reasoning)
	textOrNull(&w, "safety_identifier", r.SafetyID)
	w.Name("store").Bool(o.Store)
	numberOrNull(&w, "temperature", r.Temperature)
	repeatText(&w, r, own)
	repeatTools(&w, r)
	w.Name("top_logprobs").Int(orZero(r.TopLogProbs))
	numberOrNull(&w, "top_p", r.TopP)
	if truncation := wire.Member(own, "truncation"); truncation != nil {
		w.Name("truncation").Raw(truncation)
	} else {
		w.Name("truncation").Text("disabled")
	}
	textOrNull(&w, "user", r.User)
	w.End()
	return w.Bytes
}

// instructionsOf are the request's instructions; nil for none.
func instructionsOf(r *llm.Request) []byte {
	for _, m := range r.Messages {
		if m.Pos.Message == posInstructions {
			return wire.AppendQuote(nil, llm.TextOf(m.Parts))
		}
	}
	return nil
}

func repeatReasoning(w *wire.Writer, r *llm.Reasoning) {
	if r == nil {
		r = &llm.Reasoning{}
	}
	w.Name("reasoning").Object()
	textOrNull(w, "effort", r.Effort)
	textOrNull(w, "summary", r.Summary)
	w.Members(r.Extra.In(dialect.OpenAIResponses))
	w.End()
}

func repeatText(w *wire.Writer, r *llm.Request, own []byte) {
	w.Name("text")
	if whole := wire.Member(own, "text"); whole != nil {
		w.Raw(whole)
		return
	}
	w.Object().Name("format").Object()
	switch output := r.Output; {
	case output == nil:
		w.Name("type").Text("text")
	case output.Kind == llm.OutputJSONSchema:
		w.Name("type").Text(string(output.Kind)).Name("name").Text(output.Name)
		textOrNull(w, "description", output.Description)
		w.Name("schema").Raw(output.Schema)
		w.Name("strict").Bool(output.Strict != nil && *output.Strict)
	default:
		w.Name("type").Text(string(output.Kind))
	}
	w.End()
	w.TextMember("verbosity", r.Verbosity)
	w.End()
}

func repeatTools(w *wire.Writer, r *llm.Request) {
	w.Name("tool_choice")
	switch choice := wire.Member(r.Wire.In(dialect.OpenAIResponses), "tool_choice"); {
	case choice != nil:
		w.Raw(choice)
	case r.ToolChoice == nil:
		w.Text("auto")
	default:
		appendChoice(w, r.ToolChoice, r.Tools)
	}
	w.Name("tools").Array()
	for i := range r.Tools {
		tool := r.Tools[i]
		if tool.Native != nil {
			w.Raw(tool.Native.JSON)
			continue
		}
		if tool.Strict == nil && !tool.Custom {
			tool.Strict = new(true) // what not saying it means here
		}
		appendTool(w, &tool, false)
	}
	w.EndArray()
}

func textOrNull(w *wire.Writer, name, text string) {
	w.Name(name)
	if text == "" {
		w.Null()
	} else {
		w.Text(text)
	}
}

func numberOrNull(w *wire.Writer, name string, f *float64) {
	w.Name(name)
	if f == nil {
		w.Null()
	} else {
		w.Float(*f)
	}
}

// integer is a number that is not 0; nil for 0.
func integer(n int64) []byte {
	if n == 0 {
		return nil
	}
	return appendInt(nil, n)
}

func orZero(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}
