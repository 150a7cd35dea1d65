package gemini

import (
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// answer is the format's answer and the chunk of its stream.
type answer struct {
	Candidates    []candidate    `json:"candidates,omitempty"`
	UsageMetadata *usageMetadata `json:"usageMetadata,omitzero"`
	ModelVersion  string         `json:"modelVersion,omitzero"`
	CreateTime    string         `json:"createTime,omitzero"`
	ResponseID    string         `json:"responseId,omitzero"`
	Extra         jsontext.Value `json:",embed"`
}

type candidate struct {
	Content           *content           `json:"content,omitzero"`
	FinishReason      string             `json:"finishReason,omitzero"`
	Index             int                `json:"index"`
	LogprobsResult    *logprobsResult    `json:"logprobsResult,omitzero"`
	GroundingMetadata *groundingMetadata `json:"groundingMetadata,omitzero"`
	Extra             jsontext.Value     `json:",embed"`
}

// encoder writes one answer for a client. In a stream text goes out as it comes,
// a function call when its arguments are whole, and why the candidates stopped
// with the usage in the last chunk.
type encoder struct {
	o     dialect.AnswerOptions
	head  answer // what all chunks have
	extra jsontext.Value
	tail  []byte // of a chunk of the first candidate's text, from the text's end
	parts []sentPart
	ends  []candidate
	said  []saidChoice
}

// sentPart is a part under way.
type sentPart struct {
	part   llm.Part
	choice int
	args   []byte // of a call; of another provider's thinking, its text
}

// saidChoice is what the last chunk needs of a candidate.
type saidChoice struct {
	index     int
	wrote     bool
	refused   bool // the model declined, in a part of its own
	text      []byte
	citations []llm.Citation
	logProbs  []llm.LogProb
	// thinking is another provider's, so far. The first call carries it as well,
	// or a text what has none: chats of Google's SDK for Go do not send back parts
	// without text, such as one that ends thinking, and forget a whole turn of an
	// unstreamed answer that has one.
	thinking []dialect.ThinkingState
}

// NewEncoder implements [dialect.Translator].
func (Generate) NewEncoder(o dialect.AnswerOptions) dialect.Encoder {
	e := &encoder{o: o}
	e.start(&llm.Started{})
	return e
}

// Ping implements [dialect.Encoder]: Google's SDK for Go takes a comment for a
// broken stream.
func (e *encoder) Ping() []byte { return nil }

// AppendEvent implements [dialect.Encoder].
func (e *encoder) AppendEvent(dst []byte, event llm.Event) []byte {
	switch event := event.(type) {
	case llm.Started:
		e.start(&event)
	case llm.PartStart:
		return e.partStart(dst, &event)
	case llm.TextDelta:
		return e.text(dst, event.Part, event.Text)
	case llm.ThinkingDelta:
		return e.text(dst, event.Part, event.Text)
	case llm.ArgumentsDelta:
		if p := e.part(event.Part); p != nil {
			p.args = append(p.args, event.JSON...)
		}
	case llm.CitationDelta:
		if p := e.part(event.Part); p != nil {
			c := e.choice(p.choice)
			c.citations = append(c.citations, event.Citation)
		}
	case llm.LogProbsDelta:
		c := e.choice(event.Choice)
		c.logProbs = append(c.logProbs, event.Tokens...)
	case llm.PartEnd:
		return e.partEnd(dst, &event)
	case llm.ChoiceEnd:
		e.ends = append(e.ends, e.choiceEnd(&event))
	case llm.Finished:
		return e.finish(dst, &event)
	case llm.Failed:
		return Errors{}.AppendErrorEvent(dst, event.Err, e.o.RequestID)
	}
	return dst
}

func (e *encoder) start(s *llm.Started) {
	e.head = answer{ModelVersion: s.Model, ResponseID: s.ID}
	if e.head.ModelVersion == "" {
		e.head.ModelVersion = e.o.Model
	}
	if s.Created != 0 {
		e.head.CreateTime = time.Unix(s.Created, 0).UTC().Format(time.RFC3339)
	}
	e.setExtra(s.Extra)
	rest := marshal(e.head)
	e.tail = append(e.tail[:0], `}],"role":"model"},"index":0}]`...)
	if string(rest) != "{}" {
		e.tail = append(append(e.tail, ','), rest[1:]...)
	} else {
		e.tail = append(e.tail, '}')
	}
	e.tail = append(e.tail, "\n\n"...)
}

// setExtra takes the answer's other members; createTime among them is the more
// exact one.
func (e *encoder) setExtra(extra llm.Extra) {
	if len(extra.In(dialect.Gemini)) == 0 {
		return
	}
	created, rest := take(membersOf(extra), "createTime")
	if created != nil {
		e.head.CreateTime = string(jsonedit.AppendText(nil, created))
	}
	e.extra = rest
}

func (e *encoder) part(number int) *sentPart {
	if number < 0 || number >= len(e.parts) {
		return nil
	}
	return &e.parts[number]
}

func (e *encoder) choice(index int) *saidChoice {
	for i := range e.said {
		if e.said[i].index == index {
			return &e.said[i]
		}
	}
	e.said = append(e.said, saidChoice{index: index})
	return &e.said[len(e.said)-1]
}

// partStart notes a part, and says one that is whole.
func (e *encoder) partStart(dst []byte, s *llm.PartStart) []byte {
	const most = 1 << 20 // parts; a decoder numbers them without gaps
	if s.Part < 0 || s.Part > most {
		return dst
	}
	for len(e.parts) <= s.Part {
		e.parts = append(e.parts, sentPart{})
	}
	e.parts[s.Part] = sentPart{part: s.Begin, choice: s.Choice}
	switch p := s.Begin.(type) {
	case *llm.Text:
		return e.textBegin(dst, s.Part, p.Text)
	case *llm.Refusal:
		e.choice(s.Choice).refused = true
		return e.textBegin(dst, s.Part, p.Text)
	case *llm.Thinking:
		return e.textBegin(dst, s.Part, p.Text)
	case *llm.ToolCall:
		e.parts[s.Part].args = append(e.parts[s.Part].args, p.Arguments...)
	case *llm.Media, *llm.NativePart:
		if out, ok := e.wirePart(p, nil); ok {
			return e.chunk(dst, s.Choice, out)
		}
	}
	return dst
}

func (e *encoder) textBegin(dst []byte, number int, text string) []byte {
	if text == "" {
		return dst
	}
	return e.text(dst, number, text)
}

const chunkHead = `data: {"candidates":[{"content":{"parts":[{"text":`

// text says a piece of text or thinking.
func (e *encoder) text(dst []byte, number int, text string) []byte {
	p := e.part(number)
	if p == nil || p.part == nil || text == "" {
		return dst
	}
	c := e.choice(p.choice)
	c.wrote = true
	_, thought := p.part.(*llm.Thinking)
	if thought {
		p.args = append(p.args, text...)
	} else {
		c.text = append(c.text, text...)
	}
	if extra := p.part.Base().Extra; len(extra.JSON) > 0 {
		return e.chunk(dst, p.choice, part{Text: &text, Thought: thought, Extra: membersOf(extra)})
	}
	dst = append(dst, chunkHead...)
	dst = wire.AppendQuote(dst, text)
	if thought {
		dst = append(dst, `,"thought":true`...)
	}
	if p.choice == 0 {
		return append(dst, e.tail...)
	}
	dst = append(dst, `}],"role":"model"},"index":`...)
	dst = strconv.AppendInt(dst, int64(p.choice), 10)
	return append(dst, e.tail[len(`}],"role":"model"},"index":0`):]...)
}

// chunk says one part.
func (e *encoder) chunk(dst []byte, choice int, p part) []byte {
	e.choice(choice).wrote = true
	out := e.head
	out.Candidates = []candidate{{Content: &content{Role: roleModel, Parts: list[part]{p}}, Index: choice}}
	return sse.AppendEvent(dst, "", marshal(out))
}

// partEnd says a call, and the state that a part ends with.
func (e *encoder) partEnd(dst []byte, end *llm.PartEnd) []byte {
	p := e.part(end.Part)
	if p == nil || p.part == nil {
		return dst
	}
	begun := p.part
	opaque := end.Opaque
	if opaque == nil {
		opaque = begun.Base().Opaque
	}
	switch begun := begun.(type) {
	case *llm.ToolCall:
		out, _ := e.wirePart(begun, p.args)
		out.ThoughtSignature = e.callSignature(opaque, begun, p.choice)
		p.part = nil
		return e.chunk(dst, p.choice, out)
	case *llm.Thinking:
		e.thought(begun, string(p.args), opaque, p.choice)
	}
	signature := e.signature(opaque, begun)
	p.part = nil
	switch begun.(type) {
	case *llm.Text, *llm.Refusal, *llm.Thinking:
		if signature != "" {
			_, thought := begun.(*llm.Thinking)
			return e.chunk(dst, p.choice, part{Text: new(""), Thought: thought, ThoughtSignature: signature})
		}
	}
	return dst
}

// thought notes another provider's thinking for the first call after it.
func (e *encoder) thought(p *llm.Thinking, text string, o *llm.Opaque, choice int) {
	if o == nil || o.Format == dialect.Gemini {
		return
	}
	c := e.choice(choice)
	c.thinking = append(c.thinking, dialect.ThinkingState{Text: text, Redacted: p.Redacted, Opaque: o})
}

// callSignature is the state of a call, and of the thinking before it that no
// call carries yet.
func (e *encoder) callSignature(o *llm.Opaque, p *llm.ToolCall, choice int) string {
	c := e.choice(choice)
	if len(c.thinking) == 0 || o != nil && o.Format == dialect.Gemini {
		return e.signature(o, p)
	}
	return e.carry(dialect.State{Opaque: o, ID: p.ID}, c)
}

// carry seals a state with the thinking that nothing carries yet.
func (e *encoder) carry(state dialect.State, c *saidChoice) string {
	state.Thinking, c.thinking = c.thinking, nil
	return dialect.SealBytes(dialect.SealState(e.o.Seal, state))
}

// signature is a part's state as the client carries it: the format's own as it
// is, another's sealed.
func (e *encoder) signature(o *llm.Opaque, p llm.Part) string {
	switch {
	case o == nil:
		return ""
	case o.Format == dialect.Gemini:
		return o.Value
	}
	state := dialect.State{Opaque: o}
	switch p := p.(type) {
	case *llm.Thinking:
		if p.Redacted {
			state = dialect.State{Thinking: []dialect.ThinkingState{{Redacted: true, Opaque: o}}}
		}
	case *llm.ToolCall:
		state.ID = p.ID
	}
	return dialect.SealBytes(dialect.SealState(e.o.Seal, state))
}

// wirePart says a whole part; ok is false for one that the format cannot say.
func (e *encoder) wirePart(p llm.Part, args []byte) (out part, ok bool) {
	base := p.Base()
	out.Extra = membersOf(base.Extra)
	switch p := p.(type) {
	case *llm.Text:
		out.Text = &p.Text
	case *llm.Refusal:
		out.Text = &p.Text
	case *llm.Thinking:
		out.Text, out.Thought = &p.Text, true
	case *llm.ToolCall:
		f := &functionCall{ID: clientID(p.ID), Name: p.Name, Args: jsontext.Value("{}")}
		if len(args) > 0 {
			f.Args = appendArguments(nil, string(args))
		}
		f.Extra, out.Extra = splitExtra(out.Extra, "functionCall.")
		out.FunctionCall = f
	case *llm.Media:
		if out, ok = answerMedia(p, out.Extra); !ok {
			return out, false
		}
	case *llm.NativePart:
		if p.Format != dialect.Gemini || json.Unmarshal(p.JSON, &out, writing) != nil {
			return out, false
		}
	default: // no answer has tool results
		return out, false
	}
	if base.Opaque != nil {
		out.ThoughtSignature = e.signature(base.Opaque, p)
	}
	return out, true
}

// clientID is a call's id for the client, which does without one as the
// provider did.
func clientID(id string) string {
	if len(id) >= len(madeID) && id[:len(madeID)] == madeID {
		return ""
	}
	return id
}

func answerMedia(m *llm.Media, extra jsontext.Value) (out part, ok bool) {
	inline, rest := splitExtra(extra, "inlineData.")
	file, rest := splitExtra(rest, "fileData.")
	out.Extra = rest
	switch {
	case m.Data != "":
		mime := m.MIME
		if mime == "" {
			mime = sniff(m.Data)
		}
		out.InlineData = &blob{MIMEType: mime, Data: m.Data, DisplayName: m.Name, Extra: inline}
	case m.URL != "":
		out.FileData = &fileData{MIMEType: m.MIME, FileURI: m.URL, DisplayName: m.Name, Extra: file}
	case m.FileID != "":
		out.FileData = &fileData{MIMEType: m.MIME, FileURI: m.FileID, DisplayName: m.Name, Extra: file}
	default:
		return out, false
	}
	return out, true
}

// choiceEnd is what the last chunk says of a candidate.
func (e *encoder) choiceEnd(end *llm.ChoiceEnd) candidate {
	c := e.choice(end.Choice)
	reason, extra := take(membersOf(end.Extra), "finishReason")
	why := end.Reason
	if why == llm.FinishStop && c.refused { // other formats tell it by the part alone
		why = llm.FinishFilter
	}
	out := candidate{Index: end.Choice, FinishReason: finishWord(why), Extra: extra}
	if reason != nil {
		out.FinishReason = string(jsonedit.AppendText(nil, reason))
	}
	var logprobs jsontext.Value
	if len(c.logProbs) > 0 {
		logprobs, out.Extra = take(out.Extra, "logprobsResult")
		out.LogprobsResult = newLogprobsResult(c.logProbs, logprobs)
	}
	if len(membersOf(end.Extra)) == 0 && len(c.citations) > 0 {
		out.GroundingMetadata = grounding(c.citations, c.text)
	}
	return out
}

// finish says the last chunk.
func (e *encoder) finish(dst []byte, f *llm.Finished) []byte {
	e.setExtra(f.Extra)
	out := e.head
	out.Extra, out.Candidates = e.extra, e.ends
	if f.Model != "" {
		out.ModelVersion = f.Model
	}
	for i := range out.Candidates {
		out.Candidates[i].Content = &content{Role: roleModel, Parts: list[part]{{Text: new("")}}}
	}
	if e.blockedPrompt() {
		out.Candidates = nil
	}
	if f.Reported {
		out.UsageMetadata = newUsageMetadata(f.Usage, f.ServiceTier, f.UsageExtra)
	}
	return sse.AppendEvent(dst, "", marshal(out))
}

// blockedPrompt says that there is no candidate, since the prompt was blocked.
func (e *encoder) blockedPrompt() bool {
	feedback, _ := take(e.extra, "promptFeedback")
	return feedback != nil && !slices.ContainsFunc(e.said, func(c saidChoice) bool { return c.wrote })
}

// AppendAnswer implements [dialect.Encoder].
func (e *encoder) AppendAnswer(dst []byte, a *llm.Answer) []byte {
	e.start(&llm.Started{ID: a.ID, Model: a.Model, Created: a.Created, Extra: a.Extra})
	out := e.head
	out.Extra = e.extra
	for i := range a.Choices {
		out.Candidates = append(out.Candidates, e.candidate(&a.Choices[i]))
	}
	if e.blockedPrompt() {
		out.Candidates = nil
	}
	if a.Reported {
		out.UsageMetadata = newUsageMetadata(a.Usage, a.ServiceTier, a.UsageExtra)
	}
	return append(dst, marshal(out)...)
}

func (e *encoder) candidate(c *llm.Choice) candidate {
	said := e.choice(c.Index)
	said.logProbs = c.LogProbs
	parts := list[part]{}
	silent := false // thinking without text waits for a part to carry it
	for i, p := range c.Parts {
		var args []byte
		switch p := p.(type) {
		case *llm.Text:
			said.text = append(said.text, p.Text...)
			said.citations = append(said.citations, p.Citations...)
		case *llm.Refusal:
			said.refused = true
		case *llm.Thinking:
			e.thought(p, p.Text, p.Opaque, c.Index)
			if p.Text == "" && len(said.thinking) > 0 && speaksLater(c.Parts[i:]) {
				silent = true
				continue // what comes later carries it
			}
		case *llm.ToolCall:
			args = []byte(p.Arguments)
		}
		if out, ok := e.wirePart(p, args); ok {
			switch p := p.(type) {
			case *llm.ToolCall:
				out.ThoughtSignature, silent = e.callSignature(p.Opaque, p, c.Index), false
			case *llm.Text:
				if silent && p.Text != "" && p.Opaque == nil {
					out.ThoughtSignature, silent = e.carry(dialect.State{}, said), false
				}
			}
			said.wrote = true
			parts = append(parts, out)
		}
	}
	out := e.choiceEnd(&llm.ChoiceEnd{Choice: c.Index, Reason: c.Reason, Extra: c.Extra})
	out.Content = &content{Role: roleModel, Parts: parts}
	return out
}

// speaksLater says whether a call or a text follows that can carry thinking which
// has no text.
func speaksLater(parts []llm.Part) bool {
	return slices.ContainsFunc(parts, func(p llm.Part) bool {
		switch p := p.(type) {
		case *llm.ToolCall:
			return true
		case *llm.Text:
			return p.Text != "" && p.Opaque == nil
		}
		return false
	})
}
