package openaichat

import (
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// choice is one of the answers a decoder reads, most often the only one.
type choice struct {
	d       *decoder
	index   int
	open    open // the part that text goes to
	calls   []*openCall
	made    int    // tool calls, for their ids
	word    string // the finish reason in the provider's own words
	stop    string // the stop sequence met
	extra   members
	message members // of the message or delta
	audio   *audio
	lists   bool // the delta at hand had a list that goes on from chunk to chunk
}

// open is a part that is under way.
type open struct {
	what    openKind
	part    int
	members string  // of thinking: where it stood
	key     string  // of an object of reasoning_details: which
	detail  members // that object
}

type openKind byte

const (
	openNone openKind = iota
	openText
	openRefusal
	openThinking
)

// choice reads one element of choices.
func (d *decoder) choice(raw []byte, message string) {
	index := int64(0)
	if n, ok := jsonedit.ParseInt(memberOf(raw, "index")); ok && n >= 0 && n < 1<<20 {
		index = n
	}
	c := d.choiceAt(int(index))
	c.lists = false
	s := jsonedit.NewScanner(raw)
	var logprobs []byte
	for name := range s.Members {
		switch string(name) {
		case message:
			c.read(s.Skip())
		case "index", "delta", "message": // the other of the two repeats what was said (Perplexity)
		case "finish_reason":
			if s.Kind() == jsonedit.KindString {
				c.word = string(s.Text(nil))
			}
		case "stop_reason": // vLLM
			if s.Kind() == jsonedit.KindString {
				c.stop = string(s.Text(nil))
			} else {
				c.extra.set(name, s.Skip())
			}
		case "logprobs":
			logprobs = s.Skip()
		case "usage": // Moonshot
			d.noteUsage(s.Skip())
		default:
			c.extra.set(name, s.Skip())
		}
	}
	c.logProbs(logprobs)
	if c.word != "" {
		c.close()
	}
}

func (d *decoder) choiceAt(index int) *choice {
	for _, c := range d.choices {
		if c.index == index {
			return c
		}
	}
	c := &choice{d: d, index: index}
	d.choices = append(d.choices, c)
	return c
}

// read reads a message, or a delta of one. What a model thinks comes before what
// it says, whatever the members' order.
func (c *choice) read(raw []byte) {
	var t thoughts
	var content, refusal, annotations, images, audio, calls, function []byte
	s := jsonedit.NewScanner(raw)
	for name := range s.Members {
		switch string(name) {
		case "role":
		case "content":
			content = s.Skip()
		case "refusal":
			refusal = s.Skip()
		case "reasoning", "reasoning_content", "reasoning_details":
			t.take(string(name), s.Skip())
		case "annotations":
			annotations = s.Skip()
		case "images":
			images = s.Skip()
		case "audio":
			audio = s.Skip()
		case "tool_calls":
			calls = s.Skip()
		case "function_call":
			function = s.Skip()
		default:
			c.lists = c.message.add(name, s.Skip()) || c.lists
		}
	}
	c.thoughts(&t)
	c.content(content)
	if text := quotedOnly(refusal); len(text) > len(`""`) {
		c.say(openRefusal, string(jsonedit.AppendText(nil, text)))
	}
	c.annotations(annotations)
	c.images(images)
	c.addAudio(audio)
	c.toolCalls(calls)
	if len(function) > 0 && function[0] == '{' {
		c.functionCall(function)
	}
}

// content takes a text, or parts as Mistral sends them.
func (c *choice) content(raw []byte) {
	if text := quotedOnly(raw); text != nil {
		c.text(string(jsonedit.AppendText(nil, text)))
		return
	}
	s := jsonedit.NewScanner(raw)
	for range s.Elements {
		part := s.Skip()
		switch string(memberOf(part, "type")) {
		case `"text"`:
			c.text(string(jsonedit.AppendText(nil, quotedOnly(memberOf(part, "text")))))
		case `"thinking"`:
			c.think(inContent, thinkingText(memberOf(part, "thinking")))
		default: // a reference, say
			kind := string(jsonedit.AppendText(nil, quotedOnly(memberOf(part, "type"))))
			native := llm.Native{Format: dialect.OpenAIChat, Type: kind, JSON: append([]byte(nil), part...)}
			c.whole(&llm.NativePart{Native: native})
		}
	}
}

func (c *choice) text(text string) {
	if text != "" {
		c.say(openText, text)
	}
}

// say adds to the open part if it is of the kind, or begins one.
func (c *choice) say(what openKind, text string) {
	if c.open.what != what {
		c.closeOpen()
		var begin llm.Part = &llm.Text{}
		if what == openRefusal {
			begin = &llm.Refusal{Common: llm.Common{Pos: llm.Pos{Part: -1}}}
		}
		c.open = open{what: what, part: c.begin(begin)}
	}
	if text != "" {
		c.d.emit(llm.TextDelta{Part: c.open.part, Text: text})
	}
}

func (c *choice) begin(p llm.Part) (number int) {
	number = c.d.parts
	c.d.parts++
	c.d.emit(llm.PartStart{Part: number, Choice: c.index, Begin: p})
	return number
}

// whole gives a part that is whole at once.
func (c *choice) whole(p llm.Part) {
	c.closeOpen()
	c.d.emit(llm.PartEnd{Part: c.begin(p)})
}

// closeOpen ends the part that text goes to.
func (c *choice) closeOpen() {
	o := c.open
	c.open = open{}
	switch o.what {
	case openNone:
		return
	case openThinking:
		p := place{members: o.members, detail: string(o.detail.rest().JSON())}
		c.d.emit(llm.PartEnd{Part: o.part, Opaque: ownState(c.d.model, p.value())})
	default:
		c.d.emit(llm.PartEnd{Part: o.part})
	}
}

// close ends all parts: the choice is over.
func (c *choice) close() {
	c.closeOpen()
	c.closeCalls()
	if c.audio != nil {
		c.whole(c.audio.part())
		c.audio = nil
	}
}

// end says why the choice is over.
func (c *choice) end() llm.ChoiceEnd {
	rest := c.extra.rest()
	reason := finishReason(c.word)
	if c.word != "" && finishWord(reason) != c.word && (reason != llm.FinishToolCalls || c.word != "function_call") {
		rest.Add([]byte("finish_reason"), wire.AppendQuote(nil, c.word))
	}
	rest.Nest("message", c.message.rest())
	return llm.ChoiceEnd{Choice: c.index, Reason: reason, StopSequence: c.stop, Extra: rest.Extra(dialect.OpenAIChat)}
}

// thoughts reads the members that hold thinking, in a delta or a message.
func (c *choice) thoughts(t *thoughts) {
	if t.reasoning == nil && t.content == nil && t.details == nil {
		return
	}
	texts, names := t.plain()
	details := readDetails(t.details)
	shared := ""
	if len(texts) == 1 && len(details) > 0 && texts[0] == textOfDetails(details) {
		shared, texts = names[0], nil
	}
	for i, text := range texts {
		c.think(names[i], text)
	}
	for _, d := range details {
		c.detail(d, shared)
	}
}

// think adds to the thinking that stands in some members.
func (c *choice) think(names, text string) {
	if text == "" {
		return
	}
	if c.open.what != openThinking || c.open.members != names || c.open.key != "" {
		c.beginThinking(names, "")
	}
	c.d.emit(llm.ThinkingDelta{Part: c.open.part, Text: text})
}

func (c *choice) beginThinking(names, key string) {
	c.closeOpen()
	common := llm.Common{Wire: thinkingWire(names, key != "")}
	c.open = open{what: openThinking, part: c.begin(&llm.Thinking{Common: common}), members: names, key: key}
}

// detail adds an object of reasoning_details, or a piece of one.
func (c *choice) detail(d thoughtDetail, names string) {
	if d.kind == detailEncrypted {
		c.whole(d.part(llm.Pos{}, "", c.d.model))
		return
	}
	if key := d.kind + d.index; c.open.what != openThinking || c.open.key != key || names != "" && c.open.members != names {
		c.beginThinking(names, key)
	}
	s := jsonedit.NewScanner(d.rest)
	for name := range s.Members {
		c.open.detail.set(name, s.Skip())
	}
	if d.text != "" {
		c.d.emit(llm.ThinkingDelta{Part: c.open.part, Text: d.text})
	}
}

// annotations reads citations, which belong to the text.
func (c *choice) annotations(raw []byte) {
	for _, citation := range readCitations(raw) {
		if c.open.what != openText {
			c.say(openText, "")
		}
		c.d.emit(llm.CitationDelta{Part: c.open.part, Citation: citation})
	}
}

// images reads the images of an answer.
//
// Source: https://openrouter.ai/docs/features/multimodal/image-generation.
func (c *choice) images(raw []byte) {
	s := jsonedit.NewScanner(raw)
	for range s.Elements {
		image := s.Skip()
		url := string(jsonedit.AppendText(nil, quotedOnly(memberOf(memberOf(image, "image_url"), "url"))))
		media := &llm.Media{Kind: llm.MediaImage, URL: url}
		if strings.HasPrefix(url, "data:") {
			mime, data, ok := wire.DataURL(url)
			if !ok {
				continue
			}
			media.URL, media.MIME, media.Data = "", mime, data
		}
		if url == "" {
			continue
		}
		media.Extra = extraBut(image, "type", "image_url")
		c.whole(media)
	}
}

// extraBut is an object's members but for some.
func extraBut(object []byte, but ...string) llm.Extra {
	var w wire.Writer
	w.Object()
	w.Members(object, but...)
	if len(w.Bytes) == 1 {
		return llm.Extra{}
	}
	w.End()
	return extraOf(w.Bytes)
}
