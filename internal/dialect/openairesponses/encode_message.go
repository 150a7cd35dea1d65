package openairesponses

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// afterText marks a sealed state that belongs to the text before its item: a
// stream knows it only when the text is over.
const afterText = "text"

// openMessage begins a message item.
func (e *Encoder) openMessage(first llm.Part) {
	e.open.typ, e.open.head = "message", itemOf(first)
	if id := wire.Member(e.open.head, "id"); id != nil {
		e.open.id = wire.Unquote(id)
	} else {
		e.open.id = newID("msg_")
	}
	e.added(func() { e.message("in_progress") })
}

// message writes the message item.
func (e *Encoder) message(status string) {
	it := &e.open
	e.Object()
	e.Name("id").Text(it.id).Name("type").Text("message")
	switch own := wire.Member(it.head, "status"); {
	case own != nil && status != "in_progress":
		e.Name("status").Raw(own)
	case own != nil || it.head == nil || status == "in_progress":
		e.Name("status").Text(status)
	}
	e.Name("role").Text("assistant")
	e.Members(it.head, "id", "type", "status")
	e.Name("content").Array()
	e.Bytes = append(e.Bytes, it.content.Bytes...)
	e.EndArray()
	e.End()
}

// startContent begins a part of the message.
func (e *Encoder) startContent(p llm.Part) {
	it := &e.open
	it.part, it.text, it.cited, it.pending = p, it.text[:0], 0, 0
	it.citations.Bytes, it.tokens.Bytes = it.citations.Bytes[:0], it.tokens.Bytes[:0]
	if memberOf(p.Base(), "empty") != nil {
		return // the message has no part at all
	}
	e.begin("response.content_part.added")
	e.place("content_index")
	e.Name("part")
	e.part(p.Base(), "")
	e.end()
	if _, ok := p.(*llm.Refusal); ok {
		e.delta("response.refusal.delta", "content_index", "}\n\n")
	} else {
		e.delta("response.output_text.delta", "content_index", ",\"logprobs\":[]}\n\n")
	}
}

// part writes the part of the message under way.
func (e *Encoder) part(base *llm.Common, text string) {
	own := base.Wire.In(dialect.OpenAIResponses)
	e.Object()
	if _, ok := e.open.part.(*llm.Refusal); ok {
		e.Name("type").Text("refusal").Name("refusal").Text(text)
	} else {
		e.Name("type").Text("output_text").Name("text").Text(text)
		if own == nil || e.open.cited > 0 || wire.Member(own, "annotations") != nil {
			e.array("annotations", e.open.citations.Bytes)
		}
		switch {
		case wire.Member(own, "logprobs") != nil:
		case own == nil || len(e.open.tokens.Bytes) > 0:
			e.array("logprobs", e.open.tokens.Bytes)
		}
	}
	e.Members(own, "item", "type", "annotations")
	e.Members(base.Extra.In(dialect.OpenAIResponses))
	e.End()
}

// array writes a member that is a list of which the elements are written.
func (e *Encoder) array(name string, elements []byte) {
	e.Name(name).Array()
	e.Bytes = append(e.Bytes, elements...)
	e.EndArray()
}

// cite says where the text under way comes from.
func (e *Encoder) cite(c *llm.Citation) {
	it := &e.open
	if it.part == nil || it.typ != "message" {
		return
	}
	var annotation wire.Writer
	if !appendCitation(&annotation, c) {
		return
	}
	it.citations.Raw(annotation.Bytes)
	e.begin("response.output_text.annotation.added")
	e.place("content_index")
	e.Name("annotation_index").Int(it.cited).Name("annotation").Raw(annotation.Bytes)
	e.end()
	it.cited++
}

// logProbs notes log probabilities, which the next delta takes along.
func (e *Encoder) logProbs(tokens []llm.LogProb) {
	it := &e.open
	if it.part == nil || it.typ != "message" {
		return
	}
	for i := range tokens {
		appendLogProb(&it.tokens, &tokens[i])
	}
}

func appendLogProb(w *wire.Writer, t *llm.LogProb) {
	w.Object().Name("token").Text(t.Token).Name("logprob").Float(t.LogProb)
	if t.Bytes != nil {
		w.Name("bytes").Array()
		for _, b := range t.Bytes {
			w.Int(int64(b))
		}
		w.EndArray()
	}
	w.Name("top_logprobs").Array()
	for i := range t.Top {
		appendLogProb(w, &t.Top[i])
	}
	w.EndArray()
	w.Members(t.Extra.In(dialect.OpenAIResponses))
	w.End()
}

// endContent ends the part of the message under way.
func (e *Encoder) endContent(base *llm.Common) {
	it := &e.open
	if memberOf(base, "empty") != nil {
		it.part = nil
		return
	}
	text := string(it.text)
	if item := itemOf(it.part); item != nil && it.parts == 0 {
		if ended := memberOf(base, "item"); ended != nil {
			it.head = ended
		}
	}
	if _, ok := it.part.(*llm.Refusal); ok {
		e.begin("response.refusal.done")
		e.place("content_index")
		e.Name("refusal").Text(text)
	} else {
		e.begin("response.output_text.done")
		e.place("content_index")
		e.Name("text").Text(text)
		e.array("logprobs", it.tokens.Bytes)
	}
	e.end()
	e.begin("response.content_part.done")
	e.place("content_index")
	e.Name("part")
	from := len(e.Bytes)
	e.part(base, text)
	if len(it.content.Bytes) > 0 {
		it.content.Bytes = append(it.content.Bytes, ',')
	}
	it.content.Bytes = append(it.content.Bytes, e.Bytes[from:]...)
	e.end()
	it.part = nil
	it.parts++
	if o := base.Opaque; o != nil && o.Format != dialect.OpenAIResponses {
		e.close("completed")
		e.sealed(dialect.State{Opaque: o, ID: afterText})
	}
}

// sealed says another provider's state as a reasoning item without a text.
func (e *Encoder) sealed(state dialect.State) {
	token := dialect.SealState(e.o.Seal, state)
	if token == "" {
		return
	}
	id := newID("rs_")
	e.whole(func() {
		e.Object()
		e.Name("id").Text(id).Name("type").Text("reasoning").Name("summary").Array().EndArray()
		e.Name("encrypted_content").Text(token)
		e.End()
	})
}
