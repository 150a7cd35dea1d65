package llm

import "slices"

// Answer is a whole answer: what an unstreamed call gets.
type Answer struct {
	ID          string // the provider's
	Model       string // the model that answered, as the provider names it
	Created     int64  // Unix seconds; 0: not said
	Choices     []Choice
	Usage       Usage
	Reported    bool // Usage is the provider's own
	ServiceTier string
	UsageExtra  Extra // what the usage object says beyond Usage
	Extra       Extra
}

// Choice is one of the answers to a call; nearly always the only one.
type Choice struct {
	Index        int
	Parts        []Part
	Reason       FinishReason
	StopSequence string
	LogProbs     []LogProb
	Extra        Extra
}

// Events gives the answer as the events a stream would have had.
func (a *Answer) Events(yield func(Event) bool) {
	events := []Event{Started{ID: a.ID, Model: a.Model, Created: a.Created, Usage: Usage{}, Extra: a.Extra}}
	number := 0
	for i := range a.Choices {
		c := &a.Choices[i]
		firstText := -1
		for _, p := range c.Parts {
			events = append(events, PartEvents(p, number, c.Index)...)
			if _, ok := p.(*Text); ok && firstText < 0 {
				firstText = number
			}
			number++
		}
		if len(c.LogProbs) > 0 {
			// Before the text part's end, where streams have them.
			at := slices.IndexFunc(events, func(e Event) bool { end, ok := e.(PartEnd); return ok && end.Part == firstText })
			delta := LogProbsDelta{Choice: c.Index, Part: firstText, Tokens: c.LogProbs}
			if at < 0 {
				events = append(events, delta)
			} else {
				events = slices.Insert(events, at, Event(delta))
			}
		}
		events = append(events, ChoiceEnd{Choice: c.Index, Reason: c.Reason, StopSequence: c.StopSequence, Extra: c.Extra})
	}
	finished := Finished{Usage: a.Usage, Reported: a.Reported, Model: a.Model, ServiceTier: a.ServiceTier, UsageExtra: a.UsageExtra}
	if len(a.Choices) > 0 {
		finished.Reason = a.Choices[0].Reason
	}
	for _, e := range append(events, finished) {
		if !yield(e) {
			return
		}
	}
}

// PartEvents are the events of one whole part: a start without the text, the
// text, and the end.
func PartEvents(p Part, number, choice int) []Event {
	var deltas []Event
	end := PartEnd{Part: number, Opaque: p.Base().Opaque}
	begin := p
	switch p := p.(type) {
	case *Text:
		head := *p
		head.Text, head.Citations, head.Opaque = "", nil, nil
		begin = &head
		if p.Text != "" {
			deltas = append(deltas, TextDelta{number, p.Text})
		}
		for _, c := range p.Citations {
			deltas = append(deltas, CitationDelta{number, c})
		}
	case *Refusal:
		head := *p
		head.Text, head.Opaque = "", nil
		begin = &head
		deltas = append(deltas, TextDelta{number, p.Text})
	case *Thinking:
		if p.Redacted {
			end.Opaque = nil // it is in the start already
			break
		}
		head := *p
		head.Text, head.Opaque = "", nil
		begin = &head
		if p.Text != "" {
			deltas = append(deltas, ThinkingDelta{number, p.Text})
		}
	case *ToolCall:
		head := *p
		head.Arguments = ""
		begin = &head
		end.Opaque = nil // ids must be told at the start, so the state is there
		if p.Arguments != "" {
			deltas = append(deltas, ArgumentsDelta{number, p.Arguments})
		}
	default:
		end.Opaque = nil
	}
	events := append([]Event{PartStart{Part: number, Choice: choice, Begin: begin}}, deltas...)
	return append(events, end)
}

// Collector makes a whole Answer of a stream's events. The zero value is ready.
type Collector struct {
	answer Answer
	parts  []collected // by number
	failed *Error
}

type collected struct {
	part   Part
	choice int
	text   []byte
}

// Add takes the next event.
func (c *Collector) Add(e Event) {
	switch e := e.(type) {
	case Started:
		c.answer.ID, c.answer.Model, c.answer.Created, c.answer.Extra = e.ID, e.Model, e.Created, e.Extra
		c.answer.Usage = e.Usage
	case PartStart:
		for len(c.parts) <= e.Part {
			c.parts = append(c.parts, collected{})
		}
		c.parts[e.Part] = collected{part: e.Begin, choice: e.Choice}
		c.choice(e.Choice)
	case TextDelta:
		c.append(e.Part, e.Text)
	case ThinkingDelta:
		c.append(e.Part, e.Text)
	case ArgumentsDelta:
		c.append(e.Part, e.JSON)
	case CitationDelta:
		if p := c.part(e.Part); p != nil {
			if t, ok := p.part.(*Text); ok {
				t = new(*t)
				t.Citations = append(slices.Clip(t.Citations), e.Citation)
				p.part = t
			}
		}
	case LogProbsDelta:
		choice := c.choice(e.Choice)
		choice.LogProbs = append(choice.LogProbs, e.Tokens...)
	case PartEnd:
		c.endPart(e)
	case ChoiceEnd:
		choice := c.choice(e.Choice)
		choice.Reason, choice.StopSequence, choice.Extra = e.Reason, e.StopSequence, e.Extra
	case Finished:
		c.answer.Usage, c.answer.Reported, c.answer.UsageExtra = e.Usage, e.Reported, e.UsageExtra
		c.answer.ServiceTier = e.ServiceTier
		if e.Model != "" {
			c.answer.Model = e.Model
		}
		if len(e.Extra.JSON) > 0 {
			c.answer.Extra = e.Extra
		}
	case Failed:
		c.failed = e.Err
	}
}

func (c *Collector) part(number int) *collected {
	if number < 0 || number >= len(c.parts) || c.parts[number].part == nil {
		return nil
	}
	return &c.parts[number]
}

func (c *Collector) append(number int, text string) {
	if p := c.part(number); p != nil {
		p.text = append(p.text, text...)
	}
}

// endPart notes what became known of a part with its end, on a copy: the event's
// own part is not ours to change.
func (c *Collector) endPart(e PartEnd) {
	p := c.part(e.Part)
	if p == nil || e.Opaque == nil && len(e.Extra.JSON) == 0 && len(e.Wire.JSON) == 0 {
		return
	}
	p.part = ClonePart(p.part)
	if e.Opaque != nil {
		p.part.Base().Opaque = e.Opaque
	}
	if len(e.Extra.JSON) > 0 {
		p.part.Base().Extra = e.Extra
	}
	if len(e.Wire.JSON) > 0 {
		p.part.Base().Wire = e.Wire
	}
}

func (c *Collector) choice(index int) *Choice {
	for i := range c.answer.Choices {
		if c.answer.Choices[i].Index == index {
			return &c.answer.Choices[i]
		}
	}
	c.answer.Choices = append(c.answer.Choices, Choice{Index: index})
	return &c.answer.Choices[len(c.answer.Choices)-1]
}

// Answer gives what was collected, and why the answer broke off, if it did.
func (c *Collector) Answer() (*Answer, *Error) {
	a := c.answer
	a.Choices = slices.Clone(a.Choices)
	slices.SortFunc(a.Choices, func(x, y Choice) int { return x.Index - y.Index })
	for i := range c.parts {
		p := &c.parts[i]
		if p.part == nil {
			continue
		}
		part := ClonePart(p.part)
		switch part := part.(type) {
		case *Text:
			part.Text += string(p.text)
		case *Refusal:
			part.Text += string(p.text)
		case *Thinking:
			part.Text += string(p.text)
		case *ToolCall:
			part.Arguments += string(p.text)
		}
		for j := range a.Choices {
			if a.Choices[j].Index == p.choice {
				a.Choices[j].Parts = append(slices.Clip(a.Choices[j].Parts), part)
			}
		}
	}
	return &a, c.failed
}

// ClonePart copies a part, so that what it has itself can be changed; what it
// refers to is shared.
func ClonePart(p Part) Part {
	switch p := p.(type) {
	case *Text:
		return new(*p)
	case *Refusal:
		return new(*p)
	case *Thinking:
		return new(*p)
	case *Media:
		return new(*p)
	case *ToolCall:
		return new(*p)
	case *ToolResult:
		return new(*p)
	case *NativePart:
		return new(*p)
	}
	return p
}
