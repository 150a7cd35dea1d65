package openaichat

import (
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// encoder writes one answer for a client.
//
// A stream's chunks say finish_reason only when the whole answer is known to be
// over: what breaks off after its last word must not look finished.
type encoder struct {
	Errors
	o       dialect.AnswerOptions
	legacy  bool // the client speaks of functions in place of tools
	head    llm.Started
	begun   bool
	prefix  []byte // of each chunk, up to its choices
	suffix  []byte // of each chunk, from behind its choices
	parts   []partState
	choices []*choiceState
	ends    []llm.ChoiceEnd
	usual   usualDelta
}

// partState is what is known of a part, by its number.
type partState struct {
	part    llm.Part
	choice  *choiceState
	kind    string // of a thinking part: the member its text goes into
	text    []byte // of thinking, for its state
	call    int    // the tool call's index
	natural bool   // thinking of this format, told as it came
}

// choiceState is what is known of a choice.
type choiceState struct {
	index    int
	begun    bool // its role was told
	calls    int
	thinking []dialect.ThinkingState // with state of another format, so far
	told     bool                    // a tool call's id has them
}

// usualDelta is the bytes around the text of the last ordinary delta, for the
// next one of the same part.
type usualDelta struct {
	part          int
	before, after []byte
}

// NewEncoder implements [dialect.Translator].
//
// Source: https://platform.openai.com/docs/api-reference/chat-streaming.
func (ChatCodec) NewEncoder(o dialect.AnswerOptions) dialect.Encoder {
	return &encoder{o: o, legacy: legacyTools(o.Request), usual: usualDelta{part: -1}}
}

// Ping implements [dialect.Encoder].
func (e *encoder) Ping() []byte { return []byte(sse.Ping) }

// AppendEvent implements [dialect.Encoder].
func (e *encoder) AppendEvent(dst []byte, event llm.Event) []byte {
	switch event := event.(type) {
	case llm.TextDelta:
		return e.delta(dst, event.Part, event.Text)
	case llm.ThinkingDelta:
		return e.delta(dst, event.Part, event.Text)
	case llm.ArgumentsDelta:
		return e.delta(dst, event.Part, event.JSON)
	case llm.Started:
		e.begin(event)
		return dst
	case llm.PartStart:
		return e.partStart(dst, event)
	case llm.PartEnd:
		return e.partEnd(dst, event)
	case llm.CitationDelta:
		return e.citation(dst, event)
	case llm.LogProbsDelta:
		return e.chunk(dst, event.Choice, nil, event.Tokens)
	case llm.ChoiceEnd:
		e.ends = append(e.ends, event)
		return dst
	case llm.Finished:
		return e.finish(dst, event)
	case llm.Failed:
		return e.AppendErrorEvent(dst, event.Err, e.o.RequestID)
	}
	return dst
}

// begin notes what all chunks say.
func (e *encoder) begin(head llm.Started) {
	if e.begun {
		return
	}
	e.begun, e.head = true, head
	w := wire.Writer{Bytes: []byte("data: ")}
	w.Object()
	appendHead(&w, &head, e.o, "chat.completion.chunk")
	w.Members(head.Extra.In(dialect.OpenAIChat), "object")
	e.prefix = append(w.Bytes, `,"choices":[`...)
	e.suffix = append(e.suffix, ']')
	if e.o.StreamUsage {
		e.suffix = append(e.suffix, `,"usage":null`...)
	}
	e.suffix = append(e.suffix, "}\n\n"...)
}

// appendHead writes what an answer and each of its chunks begin with.
func appendHead(w *wire.Writer, head *llm.Started, o dialect.AnswerOptions, object string) {
	id, model, created := head.ID, head.Model, head.Created
	if id == "" {
		id = "chatcmpl-" + o.RequestID
	}
	if model == "" {
		model = o.Model
	}
	if created == 0 {
		created = o.Now()
	}
	w.Name("id").Text(id)
	w.Name("object").Text(object)
	w.Name("created").Int(created)
	w.Name("model").Text(model)
}

// delta says a piece of text. Nearly all events are such pieces of the part that
// the one before was of, so the bytes around the text are kept.
func (e *encoder) delta(dst []byte, number int, text string) []byte {
	if e.usual.part != number && !e.learnUsual(number) {
		return dst
	}
	if p := &e.parts[number]; p.text != nil {
		p.text = append(p.text, text...)
	}
	dst = append(dst, e.usual.before...)
	dst = wire.AppendQuote(dst, text)
	return append(dst, e.usual.after...)
}

// learnUsual makes the bytes around a part's text.
func (e *encoder) learnUsual(number int) bool {
	p := e.state(number)
	if p == nil {
		return false
	}
	w := wire.Writer{Bytes: append(e.usual.before[:0], e.prefix...)}
	e.beginDelta(&w, p.choice.index)
	closing := ""
	switch part := p.part.(type) {
	case *llm.Text:
		w.Name("content")
	case *llm.Refusal:
		w.Name("refusal")
	case *llm.Thinking:
		closing = beginThinking(&w, p.kind)
	case *llm.ToolCall:
		closing = e.beginArguments(&w, part, p.call)
	default:
		return false
	}
	e.usual.part, e.usual.before = number, w.Bytes
	e.usual.after = append(e.usual.after[:0], closing...)
	e.usual.after = append(e.usual.after, `},"logprobs":null,"finish_reason":null}`...)
	e.usual.after = append(e.usual.after, e.suffix...)
	return true
}

// beginThinking begins the member that a piece of thinking goes into, and gives
// what closes it.
func beginThinking(w *wire.Writer, kind string) (closing string) {
	if kind != inContent {
		w.Name(kind)
		return ""
	}
	w.Name("content").Array().Object().Name("type").Text("thinking")
	w.Name("thinking").Array().Object().Name("type").Text("text").Name("text")
	return `}],"closed":true}]`
}

func (e *encoder) beginArguments(w *wire.Writer, call *llm.ToolCall, index int) (closing string) {
	if e.isFunction(call, index) {
		w.Name("function_call").Object().Name("arguments")
		return "}"
	}
	w.Name("tool_calls").Array().Object().Name("index").Int(int64(index))
	if call.Custom {
		w.Name("custom").Object().Name("input")
	} else {
		w.Name("function").Object().Name("arguments")
	}
	return "}}]"
}

// isFunction says that a call is told as a function call, as it was before tools:
// the first one of an answer to a client that speaks of functions.
func (e *encoder) isFunction(call *llm.ToolCall, index int) bool {
	return index == 0 && (e.legacy || isLegacy(call.Wire))
}

func (e *encoder) beginDelta(w *wire.Writer, choice int) {
	w.Object().Name("index").Int(int64(choice))
	w.Name("delta").Object()
}

// chunk says one delta, which say writes the members of.
func (e *encoder) chunk(dst []byte, choice int, say func(*wire.Writer), logprobs []llm.LogProb) []byte {
	return e.chunkWith(dst, choice, say, logprobs, "", nil, nil)
}

// chunkWith says one delta, or a choice's end: why it finished, and what else
// stands in the choice and on top.
func (e *encoder) chunkWith(dst []byte, choice int, say func(*wire.Writer), logprobs []llm.LogProb, finish string, extra, top []byte) []byte {
	e.begin(llm.Started{})
	e.usual.part = -1
	c := e.choice(choice)
	w := wire.Writer{Bytes: append(dst, e.prefix...)}
	e.beginDelta(&w, choice)
	if !c.begun {
		c.begun = true
		w.Name("role").Text("assistant")
	}
	if say != nil {
		say(&w)
	}
	w.End()
	w.Name("logprobs")
	appendLogProbs(&w, logprobs, extra)
	w.Name("finish_reason")
	if finish == "" {
		w.Null()
	} else {
		w.Text(finish)
	}
	w.Members(extra, "message", "finish_reason", "logprobs")
	w.End()
	if top == nil {
		return append(w.Bytes, e.suffix...)
	}
	w.EndArray()
	w.Members(top)
	if e.o.StreamUsage {
		w.Name("usage").Null()
	}
	w.End()
	return append(w.Bytes, "\n\n"...)
}

func (e *encoder) choice(index int) *choiceState {
	for _, c := range e.choices {
		if c.index == index {
			return c
		}
	}
	c := &choiceState{index: index}
	e.choices = append(e.choices, c)
	return c
}

func (e *encoder) state(number int) *partState {
	if number < 0 || number >= len(e.parts) || e.parts[number].part == nil {
		return nil
	}
	return &e.parts[number]
}

func (e *encoder) partStart(dst []byte, start llm.PartStart) []byte {
	if start.Part < 0 {
		return dst
	}
	e.begin(llm.Started{})
	for len(e.parts) <= start.Part {
		e.parts = append(e.parts, partState{})
	}
	c := e.choice(start.Choice)
	p := &e.parts[start.Part]
	*p = partState{part: start.Begin, choice: c}
	switch part := start.Begin.(type) {
	case *llm.Text:
		return e.textStart(dst, c, part)
	case *llm.Thinking:
		return e.thinkingStart(dst, p, part)
	case *llm.ToolCall:
		return e.callStart(dst, p, part)
	case *llm.Media:
		return e.chunk(dst, c.index, func(w *wire.Writer) { appendMedia(w, []llm.Part{part}) }, nil)
	}
	if !c.begun {
		return e.chunk(dst, c.index, func(w *wire.Writer) { w.Name("content").Text("") }, nil)
	}
	return dst
}

func (e *encoder) textStart(dst []byte, c *choiceState, t *llm.Text) []byte {
	if c.begun && t.Text == "" && len(t.Citations) == 0 {
		return dst
	}
	return e.chunk(dst, c.index, func(w *wire.Writer) {
		w.Name("content").Text(t.Text)
		appendAnnotations(w, []llm.Part{t})
	}, nil)
}

// thinkingStart begins thinking: in the member that it came in, else in the one
// that most clients know.
func (e *encoder) thinkingStart(dst []byte, p *partState, t *llm.Thinking) []byte {
	p.kind, p.text = "reasoning_content", []byte(t.Text)
	if p.text == nil {
		p.text = []byte{}
	}
	if members := memberOf(t.Wire.In(dialect.OpenAIChat), "members"); members != nil {
		p.natural = true
		p.kind, _, _ = strings.Cut(strings.Trim(string(members), `"`), ",")
		if p.kind == "" {
			p.kind = inDetails // told whole at its end
		}
	}
	dst = e.role(dst, p.choice)
	if t.Redacted {
		return dst // its state is told at its end
	}
	if t.Text != "" {
		member := p.kind
		dst = e.chunk(dst, p.choice.index, func(w *wire.Writer) {
			closing := beginThinking(w, member)
			w.Text(t.Text)
			w.Bytes = append(w.Bytes, closing...)
		}, nil)
	}
	return dst
}

// role says who speaks, in a chunk of its own, if that was not said.
func (e *encoder) role(dst []byte, c *choiceState) []byte {
	if c.begun {
		return dst
	}
	return e.chunk(dst, c.index, func(w *wire.Writer) { w.Name("content").Text("") }, nil)
}

func (e *encoder) callStart(dst []byte, p *partState, call *llm.ToolCall) []byte {
	p.call = p.choice.calls
	p.choice.calls++
	return e.chunk(dst, p.choice.index, func(w *wire.Writer) {
		if !p.choice.told && p.call == 0 {
			w.Name("content").Null()
		}
		if e.isFunction(call, p.call) {
			w.Name("function_call").Object()
			w.Name("name").Text(call.Name).Name("arguments").Text(call.Arguments)
			w.End()
			return
		}
		w.Name("tool_calls").Array().Object().Name("index").Int(int64(p.call))
		w.Name("id").Text(e.sealedID(p.choice, call))
		appendCall(w, call, true)
		w.End()
		w.EndArray()
	}, nil)
}

func (e *encoder) citation(dst []byte, c llm.CitationDelta) []byte {
	p := e.state(c.Part)
	if p == nil || !sayable(c.Citation) {
		return dst
	}
	return e.chunk(dst, p.choice.index, func(w *wire.Writer) {
		w.Name("annotations").Array()
		appendCitation(w, c.Citation)
		w.EndArray()
	}, nil)
}

// partEnd tells the state that a part ends with.
func (e *encoder) partEnd(dst []byte, end llm.PartEnd) []byte {
	p := e.state(end.Part)
	if p == nil {
		return dst
	}
	opaque := end.Opaque
	if opaque == nil {
		opaque = p.part.Base().Opaque
	}
	if opaque == nil {
		return dst
	}
	var whole llm.Part
	switch part := p.part.(type) {
	case *llm.Thinking:
		t := new(*part)
		t.Text, t.Opaque = string(p.text), opaque
		p.text = nil
		e.noteThinking(p.choice, t)
		whole = t
	case *llm.Text:
		whole = &llm.Text{Common: llm.Common{Opaque: opaque}}
	default:
		return dst
	}
	var w wire.Writer
	w.Object()
	e.details(&w, []llm.Part{whole})
	if len(w.Bytes) == 1 {
		return dst
	}
	return e.chunk(dst, p.choice.index, func(out *wire.Writer) {
		w.End()
		out.Members(w.Bytes)
	}, nil)
}

// finish ends the stream.
func (e *encoder) finish(dst []byte, f llm.Finished) []byte {
	e.begin(llm.Started{Model: f.Model})
	top := e.late(&f)
	if len(e.ends) == 0 && len(e.choices) == 0 {
		e.ends = append(e.ends, llm.ChoiceEnd{Reason: f.Reason})
	}
	for i, end := range e.ends {
		extra := end.Extra.In(dialect.OpenAIChat)
		if end.StopSequence != "" {
			extra = withStop(extra, end.StopSequence)
		}
		last := []byte(nil)
		if i == len(e.ends)-1 {
			last = top
		}
		dst = e.chunkWith(dst, end.Choice, func(w *wire.Writer) { w.Members(memberOf(extra, "message")) },
			nil, e.word(end, extra), extra, last)
	}
	if e.o.StreamUsage && counted(f.Usage, f.Reported) {
		w := wire.Writer{Bytes: append(dst, e.prefix...)}
		w.EndArray()
		w.Members(top)
		w.Name("usage")
		appendUsage(&w, f.Usage, f.UsageExtra)
		w.End()
		dst = append(w.Bytes, "\n\n"...)
	}
	return append(dst, "data: [DONE]\n\n"...)
}

// late is what became known of the answer since its start, as an object.
func (e *encoder) late(f *llm.Finished) []byte {
	var w wire.Writer
	w.Object()
	w.TextMember("service_tier", f.ServiceTier)
	told := e.head.Extra.In(dialect.OpenAIChat)
	var rest wire.Writer
	rest.Object()
	rest.Members(f.Extra.In(dialect.OpenAIChat), "object")
	rest.End()
	forMembers(rest.Bytes, func(name, value []byte) {
		if string(memberOf(told, string(name))) != string(value) {
			w.Member(string(name)).Raw(value)
		}
	})
	if len(w.Bytes) == 1 {
		return nil
	}
	w.End()
	return w.Bytes
}

// word is the finish reason to say, in the provider's own words if it was of this
// format.
func (e *encoder) word(end llm.ChoiceEnd, extra []byte) string {
	if own := memberOf(extra, "finish_reason"); own != nil {
		return strings.Trim(string(own), `"`)
	}
	if end.Reason == llm.FinishToolCalls && e.calledFunction(end.Choice) {
		return "function_call"
	}
	return finishWord(end.Reason)
}

func (e *encoder) calledFunction(choice int) bool {
	for i := range e.parts {
		p := &e.parts[i]
		call, ok := p.part.(*llm.ToolCall)
		if ok && p.choice.index == choice && e.isFunction(call, p.call) {
			return true
		}
	}
	return false
}
