package gemini

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// decoder reads an answer's chunks, of which a whole answer is one. What chunks
// say more than once counts as said last.
type decoder struct {
	meter
	model   string // the upstream's name of it, for opaque state
	events  []llm.Event
	started bool
	id      string
	created int64
	extra   []member
	choices []*choice
	parts   int // so many have begun
	calls   int // so many ids were made
}

// choice is one candidate so far.
type choice struct {
	index   int
	open    int         // the part under way; -1: none
	thought bool        // it is thinking
	opaque  *llm.Opaque // what it ends with, after which nothing can be added to it
	partial *partialCall
	called  bool
	text    []byte // of all its text parts, which citations point into
	cited   bool   // members has sources that no text part has been given
	finish  string
	members []member
}

// NewDecoder implements [dialect.Translator].
func (Generate) NewDecoder(o dialect.UpstreamOptions) dialect.Decoder { return newDecoder(o) }

func newDecoder(o dialect.UpstreamOptions) *decoder {
	d := &decoder{model: o.Model}
	d.answer = d
	return d
}

// DecodeAnswer implements [dialect.Translator].
func (Generate) DecodeAnswer(body []byte, o dialect.UpstreamOptions) (*llm.Answer, *llm.Error) {
	d := newDecoder(o)
	d.Body(body)
	var c llm.Collector
	for _, e := range d.events {
		c.Add(e)
	}
	for _, e := range d.End(nil) {
		c.Add(e)
	}
	return c.Answer()
}

// Event implements [dialect.Meter].
func (d *decoder) Event(e sse.Event) dialect.Mark {
	d.events = d.events[:0]
	return d.meter.Event(e)
}

// Body implements [dialect.Meter].
func (d *decoder) Body(body []byte) {
	d.events = d.events[:0]
	d.meter.Body(body)
}

// Events implements [dialect.Decoder].
func (d *decoder) Events() []llm.Event { return d.events }

func (d *decoder) say(e llm.Event) { d.events = append(d.events, e) }

// chunk implements answerSink.
func (d *decoder) chunk(data []byte, members []member, candidates []candidateView) {
	for _, m := range members {
		switch string(m.name) {
		case "responseId":
			if d.id == "" {
				d.id = string(jsonedit.AppendText(nil, m.value))
			}
		case "createTime":
			if d.created == 0 {
				if at, err := time.Parse(time.RFC3339, strings.Trim(string(m.value), `"`)); err == nil {
					d.created = at.Unix()
				}
			}
			fallthrough
		default:
			d.extra = setMember(d.extra, m)
		}
	}
	if !d.started {
		d.started = true
		d.say(llm.Started{ID: d.id, Model: d.reading.Model, Created: d.created, Extra: membersExtra(d.extra)})
	}
	for i := range candidates {
		d.candidate(data, &candidates[i])
	}
}

// maxMembers is more than any answer or candidate has.
const maxMembers = 256

// setMember keeps the last value of a name.
func setMember(members []member, m member) []member {
	for i := range members {
		if bytes.Equal(members[i].name, m.name) {
			if !bytes.Equal(members[i].value, m.value) {
				members[i].value = bytes.Clone(m.value)
			}
			return members
		}
	}
	if len(members) == maxMembers {
		return members
	}
	return append(members, member{bytes.Clone(m.name), bytes.Clone(m.value)})
}

func membersExtra(members []member) llm.Extra {
	var o object
	for _, m := range members {
		o.add(string(m.name), m.value)
	}
	return extraOf(jsontext.Value(o))
}

func (d *decoder) choice(index int) *choice {
	for _, c := range d.choices {
		if c.index == index {
			return c
		}
	}
	c := &choice{index: index, open: -1}
	d.choices = append(d.choices, c)
	return c
}

func (d *decoder) candidate(data []byte, v *candidateView) {
	c := d.choice(v.index)
	for i := range v.parts {
		d.part(c, data, &v.parts[i])
	}
	for _, m := range v.members {
		switch string(m.name) {
		case "logprobsResult":
			d.logProbs(c, m.value)
			continue
		case "groundingMetadata", "citationMetadata":
			c.cited = true
		}
		c.members = setMember(c.members, m)
	}
	if v.finished != nil {
		c.finish = string(v.finished[1 : len(v.finished)-1])
	}
}

func (d *decoder) part(c *choice, data []byte, p *partView) {
	if p.other {
		d.otherPart(c, data[p.start:p.end])
		return
	}
	empty := len(p.text) <= len(`""`)
	if empty && p.signature == nil {
		return // it says nothing
	}
	if c.open < 0 || c.thought != p.thought || c.opaque != nil {
		d.close(c)
		c.open, c.thought = d.begin(c, textPart(p.thought)), p.thought
	}
	if !empty {
		d.delta(c, p.plain)
	}
	if p.signature != nil {
		c.opaque = d.opaque(p.signature)
	}
}

func textPart(thought bool) llm.Part {
	if thought {
		return &llm.Thinking{}
	}
	return &llm.Text{}
}

func (d *decoder) begin(c *choice, p llm.Part) int {
	d.parts++
	d.say(llm.PartStart{Part: d.parts - 1, Choice: c.index, Begin: p})
	return d.parts - 1
}

func (d *decoder) delta(c *choice, plain []byte) {
	text := string(plain)
	if c.thought {
		d.say(llm.ThinkingDelta{Part: c.open, Text: text})
		return
	}
	c.text = append(c.text, text...)
	d.say(llm.TextDelta{Part: c.open, Text: text})
}

func (d *decoder) opaque(quoted []byte) *llm.Opaque {
	return &llm.Opaque{Format: dialect.Gemini, Model: d.model, Value: string(jsonedit.AppendText(nil, quoted))}
}

// close ends the part under way, if there is one.
func (d *decoder) close(c *choice) {
	if c.open < 0 {
		return
	}
	if c.cited && !c.thought {
		c.cited = false
		for _, cite := range citations(c) {
			d.say(llm.CitationDelta{Part: c.open, Citation: cite})
		}
	}
	d.say(llm.PartEnd{Part: c.open, Opaque: c.opaque})
	c.open, c.opaque = -1, nil
}

// whole says a part that is whole at once.
func (d *decoder) whole(c *choice, p llm.Part) {
	d.close(c)
	number := d.begin(c, p)
	d.say(llm.PartEnd{Part: number})
}

// otherPart takes a part that is not plain text.
func (d *decoder) otherPart(c *choice, raw []byte) {
	var p part
	if err := json.Unmarshal(raw, &p, writing); err != nil {
		d.whole(c, &llm.NativePart{Native: llm.Native{Format: dialect.Gemini, JSON: bytes.Clone(raw)}})
		return
	}
	common := llm.Common{Extra: extraOf(p.Extra)}
	if p.ThoughtSignature != "" {
		common.Opaque = &llm.Opaque{Format: dialect.Gemini, Model: d.model, Value: p.ThoughtSignature}
	}
	switch {
	case p.FunctionCall != nil:
		d.functionCall(c, common, p.FunctionCall)
		return
	case p.InlineData != nil:
		if m, err := inlineMedia(common, p.InlineData, ""); err == nil {
			d.whole(c, m)
			return
		}
	case p.FileData != nil:
		if m, err := fileMedia(common, p.FileData, ""); err == nil {
			d.whole(c, m)
			return
		}
	case p.Text != nil:
		d.extraText(c, common, &p)
		return
	}
	if native := nativePart(&p, common); native != nil {
		d.whole(c, native)
		return
	}
	d.whole(c, &llm.NativePart{Native: llm.Native{Format: dialect.Gemini, JSON: bytes.Clone(raw)}})
}

// extraText is text with members of its own, a part for itself.
func (d *decoder) extraText(c *choice, common llm.Common, p *part) {
	opaque := common.Opaque
	common.Opaque = nil
	begin := llm.Part(&llm.Text{Common: common})
	if p.Thought {
		begin = &llm.Thinking{Common: common}
	}
	d.close(c)
	c.open, c.thought = d.begin(c, begin), p.Thought
	if *p.Text != "" {
		d.delta(c, []byte(*p.Text))
	}
	c.opaque = opaque
	d.close(c)
}

// functionCall takes a call, which is whole unless Vertex AI was asked to stream
// the arguments.
func (d *decoder) functionCall(c *choice, common llm.Common, f *functionCall) {
	c.called = true
	pieces, more := readPartial(f)
	switch {
	case c.partial != nil && f.Name == "":
		c.partial.add(f, pieces)
	case more || pieces != nil:
		d.endPartial(c)
		c.partial = newPartialCall(common, f)
		c.partial.add(f, pieces)
	default:
		d.endPartial(c)
		_ = f.Args.Compact(writing)
		args := string(f.Args)
		if text := onlyMember(f.Args, unparsed); text != nil && text[0] == '"' {
			args = string(jsonedit.AppendText(nil, text))
		}
		d.call(c, common, f, args)
		return
	}
	if !more {
		d.endPartial(c)
	}
}

func (d *decoder) endPartial(c *choice) {
	if p := c.partial; p != nil {
		c.partial = nil
		d.call(c, p.common, p.call, p.arguments())
	}
}

func (d *decoder) call(c *choice, common llm.Common, f *functionCall, args string) {
	if args == "" || args == null {
		args = "{}"
	}
	call := &llm.ToolCall{Common: common, ID: f.ID, Name: f.Name}
	call.Extra = mergeExtra(call.Extra, "functionCall.", f.Extra)
	if call.ID == "" {
		call.ID = d.makeID()
	}
	d.close(c)
	number := d.begin(c, call)
	d.say(llm.ArgumentsDelta{Part: number, JSON: args})
	d.say(llm.PartEnd{Part: number})
}

// makeID makes a call's id: the answer's own and a number, so that it is the
// same however often the answer is read.
func (d *decoder) makeID() string {
	const longest = 26 // so that the whole fits into 40 bytes, as OpenAI demands
	d.calls++
	if d.id == "" {
		d.id = rand.Text()
	}
	from := d.id
	if len(from) > longest || strings.Trim(from, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		sum := sha256.Sum256([]byte(from))
		from = hex.EncodeToString(sum[:8])
	}
	return madeID + from + "_" + strconv.Itoa(d.calls)
}

// End implements [dialect.Decoder].
func (d *decoder) End(err *llm.Error) []llm.Event {
	d.events = d.events[:0]
	r := d.Reading()
	if err == nil {
		err = r.Err
	}
	if err == nil && !r.Complete {
		err = &llm.Error{Cause: llm.CauseUpstreamCut, Message: "the upstream provider's answer broke off"}
	}
	slices.SortStableFunc(d.choices, func(a, b *choice) int { return a.index - b.index })
	for _, c := range d.choices {
		if err == nil {
			d.endPartial(c)
		}
		d.close(c)
	}
	if err != nil {
		d.say(llm.Failed{Err: err})
		return d.events
	}
	for _, c := range d.choices {
		d.say(d.choiceEnd(c))
	}
	if len(d.choices) == 0 {
		d.say(llm.ChoiceEnd{Reason: llm.FinishFilter})
	}
	d.say(llm.Finished{
		Reason: r.Finish, Usage: r.Usage, Reported: r.Reported, Model: r.Model, ServiceTier: r.ServiceTier,
		UsageExtra: d.usageExtra(r.Usage), Extra: membersExtra(d.extra),
	})
	return d.events
}

// choiceEnd says why a candidate stopped: the word itself too, if the reason is
// not the only one it stands for.
func (d *decoder) choiceEnd(c *choice) llm.ChoiceEnd {
	quoted := []byte(`"` + c.finish + `"`)
	end := llm.ChoiceEnd{Choice: c.index, Reason: finishReason(quoted)}
	if end.Reason == llm.FinishStop && c.called {
		end.Reason = llm.FinishToolCalls
	}
	members := c.members
	if finishWord(end.Reason) != c.finish {
		members = append(members, member{[]byte("finishReason"), quoted})
	}
	end.Extra = membersExtra(members)
	return end
}

// usageExtra is what usageMetadata says beyond llm.Usage.
func (d *decoder) usageExtra(u llm.Usage) llm.Extra {
	var o object
	s := jsonedit.NewScanner(d.usage)
	if len(d.usage) == 0 {
		return llm.Extra{}
	}
	for name := range s.Members {
		switch string(name) {
		case "promptTokenCount", "cachedContentTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "serviceTier":
		case "totalTokenCount":
			at := s
			if total, _ := at.Int(); total != u.InputTotal()+u.OutputTotal() {
				o.add(string(name), s.Skip())
			}
		default:
			o.add(string(name), s.Skip())
		}
	}
	return extraOf(jsontext.Value(o))
}
