package openairesponses

import (
	"bytes"
	"strconv"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// Encoder writes one answer for a client. Items follow each other; a message
// stays open until something else begins, since more text may belong to it.
type Encoder struct {
	o dialect.AnswerOptions
	wire.Writer
	sequence dialect.Sequence
	say      func(llm.Event) // e.event, bound once

	id      string
	created int64
	model   string
	begun   bool
	repeat  []byte // members of the response object that do not change
	native  bool   // they are the upstream's own
	number  int64  // of the next event
	from    int    // where the data of the event at hand begin

	output   wire.Writer // the items that are done, without the brackets
	index    int64       // of the item under way
	open     openItem
	reason   llm.FinishReason
	last     []byte // the response object at the end
	finished bool   // which is no failure
}

// NewEncoder implements [dialect.Translator].
func (Codec) NewEncoder(o dialect.AnswerOptions) dialect.Encoder {
	e := &Encoder{o: o}
	e.say = e.event
	return e
}

// ResponseID is the answer's id, as the client knows it; "" before it began.
func (e *Encoder) ResponseID() string { return e.id }

// Final is the whole response object; nil before the answer's end, and after one
// that broke off.
func (e *Encoder) Final() []byte {
	if !e.finished {
		return nil
	}
	return e.last
}

// Ping implements [dialect.Encoder]. Readers of event streams pass over comments.
func (e *Encoder) Ping() []byte { return []byte(sse.Ping) }

// AppendEvent implements [dialect.Encoder].
func (e *Encoder) AppendEvent(dst []byte, event llm.Event) []byte {
	e.Bytes = dst
	e.sequence.Add(event, e.say)
	return e.Bytes
}

// AppendAnswer implements [dialect.Encoder].
func (e *Encoder) AppendAnswer(dst []byte, a *llm.Answer) []byte {
	for event := range a.Events {
		e.Bytes = e.Bytes[:0] // what a stream would have said
		e.sequence.Add(event, e.say)
	}
	return append(dst, e.last...)
}

// event says an event whose turn it is.
func (e *Encoder) event(event llm.Event) {
	if s, ok := event.(llm.Started); ok {
		e.start(s)
		return
	}
	e.start(llm.Started{})
	switch event := event.(type) {
	case llm.TextDelta:
		e.text(event.Text)
	case llm.ThinkingDelta:
		e.text(event.Text)
	case llm.ArgumentsDelta:
		e.text(event.JSON)
	case llm.PartStart:
		e.startPart(event.Begin)
	case llm.CitationDelta:
		e.cite(&event.Citation)
	case llm.LogProbsDelta:
		e.logProbs(event.Tokens)
	case llm.PartEnd:
		e.endPart(event)
	case llm.ChoiceEnd:
		e.reason = event.Reason
	case llm.Finished:
		e.finish(event)
	case llm.Failed:
		e.fail(ending{status: "failed", err: event.Err})
	}
}

// start begins the answer, unless it did.
func (e *Encoder) start(s llm.Started) {
	if e.begun {
		return
	}
	e.begun = true
	e.id, e.model, e.created = s.ID, s.Model, s.Created
	e.native = s.Extra.In(dialect.OpenAIResponses) != nil
	if !e.native && !bytes.HasPrefix([]byte(e.id), []byte("resp_")) || e.id == "" {
		e.id = newID("resp_tg")
	}
	if e.model == "" {
		e.model = e.o.Model
	}
	if e.created == 0 {
		e.created = e.o.Now()
	}
	if e.repeat = s.Extra.In(dialect.OpenAIResponses); !e.native {
		e.repeat = repeated(e.o)
	}
	for _, typ := range [...]string{"response.created", "response.in_progress"} {
		e.begin(typ)
		e.Name("response")
		e.response(ending{status: "in_progress"})
		e.end()
	}
}

// begin begins an event of the stream, and end ends it.
func (e *Encoder) begin(typ string) {
	e.Bytes = append(e.Bytes, "event: "...)
	e.Bytes = append(e.Bytes, typ...)
	e.Bytes = append(e.Bytes, "\ndata: "...)
	e.from = len(e.Bytes)
	e.Object().Name("type").Text(typ).Name("sequence_number").Int(e.number)
	e.number++
}

func (e *Encoder) end() {
	e.End()
	// JSON of a provider's that is taken over may have line ends between values.
	for i, c := range e.Bytes[min(e.from, len(e.Bytes)):] {
		if c == '\n' || c == '\r' {
			e.Bytes[e.from+i] = ' '
		}
	}
	e.Bytes = append(e.Bytes, "\n\n"...)
}

// ending is what a response object says of the answer's end.
type ending struct {
	status, details string
	err             *llm.Error
	usage           []byte
	tier            string
}

// response writes the response object.
func (e *Encoder) response(end ending) {
	e.Object()
	e.Name("id").Text(e.id).Name("object").Text("response")
	if at := wire.Member(e.repeat, "created_at"); at != nil {
		e.Name("created_at").Raw(at) // not in whole seconds
	} else {
		e.Name("created_at").Int(e.created)
	}
	if status := wire.Member(e.repeat, "status"); status != nil && end.status == "completed" {
		e.Name("status").Raw(status)
	} else {
		e.Name("status").Text(end.status)
	}
	e.Name("error")
	if end.err != nil {
		e.Object().Name("code").Text(errorCode(end.err)).Name("message").Text(end.err.Message)
		e.End()
	} else {
		e.Null()
	}
	e.Name("incomplete_details")
	switch details := wire.Member(e.repeat, "incomplete_details"); {
	case details != nil:
		e.Raw(details)
	case end.details != "":
		e.Object().Name("reason").Text(end.details)
		e.End()
	default:
		e.Null()
	}
	e.Name("model").Text(e.model)
	e.Name("output").Array()
	e.Bytes = append(e.Bytes, e.output.Bytes...)
	e.EndArray()
	e.Members(e.repeat, "created_at", "status", "incomplete_details")
	if end.tier != "" {
		e.Name("service_tier").Text(end.tier)
	}
	if wire.Member(e.repeat, "usage") == nil {
		e.Name("usage").Raw(end.usage)
	}
	e.End()
}

// finish ends an answer that is whole.
func (e *Encoder) finish(f llm.Finished) {
	if e.reason == llm.FinishUnknown {
		e.reason = f.Reason
	}
	end := ending{tier: f.ServiceTier}
	end.status, end.details = statusOf(e.reason)
	if f.Model != "" {
		e.model = f.Model
	}
	if extra := f.Extra.In(dialect.OpenAIResponses); extra != nil && e.native {
		e.repeat = extra
	}
	if end.tier == "" && !e.native {
		end.tier = "default"
	}
	if f.Reported || f.Usage != (llm.Usage{}) {
		end.usage = appendUsage(nil, f.Usage, f.UsageExtra)
	}
	if end.status == "failed" {
		end.err = &llm.Error{Cause: llm.CauseUpstreamError, Message: "the upstream provider broke off its answer"}
		e.close("incomplete")
		e.fail(end)
		return
	}
	e.close(end.status)
	e.terminal(end)
	e.finished = true
}

// terminal says the event that ends the stream.
func (e *Encoder) terminal(end ending) {
	e.begin("response." + end.status)
	e.Name("response")
	from := len(e.Bytes)
	e.response(end)
	e.last = bytes.Clone(e.Bytes[from:])
	e.end()
}

// fail ends an answer that broke off, as the provider of this format does: SDKs
// raise an exception for the event `error`, since it has a member of that name;
// those who read the events by themselves find a response that failed.
func (e *Encoder) fail(end ending) {
	e.begin("error")
	body := openaichat.NewErrorBody(end.err, "").Append(nil)
	e.Name("error").Raw(wire.Member(body, "error"))
	e.TextMember("request_id", e.o.RequestID)
	e.end()
	e.terminal(end)
}

// errorCode is the code of a failed response.
func errorCode(err *llm.Error) string {
	switch {
	case err.Code != "":
		return err.Code
	case err.Cause == llm.CauseUpstreamRateLimited || err.Cause == llm.CauseRateLimited:
		return "rate_limit_exceeded"
	case err.Cause == llm.CauseUpstreamRejected || err.Cause == llm.CauseInvalidRequest:
		return "invalid_prompt"
	}
	return "server_error"
}

// appendUsage writes usage in this format's inclusive counts.
func appendUsage(dst []byte, u llm.Usage, extra llm.Extra) []byte {
	own := extra.In(dialect.OpenAIResponses)
	w := wire.Writer{Bytes: dst}
	w.Object().Name("input_tokens").Int(u.InputTotal())
	w.Name("input_tokens_details").Object()
	w.Name("cached_tokens").Int(u.Cached())
	w.Name("cache_write_tokens").Int(u.CacheWrite())
	details := wire.Member(own, "input_tokens_details")
	if details == nil {
		w.IntMember("audio_tokens", u.InputAudio)
		w.IntMember("image_tokens", u.InputImage)
		w.IntMember("video_tokens", u.InputVideo)
	}
	w.Members(details)
	w.End()
	w.Name("output_tokens").Int(u.OutputTotal())
	w.Name("output_tokens_details").Object().Name("reasoning_tokens").Int(u.Reasoning)
	if details = wire.Member(own, "output_tokens_details"); details == nil {
		w.IntMember("audio_tokens", u.OutputAudio)
		w.IntMember("image_tokens", u.OutputImage)
		w.IntMember("video_tokens", u.OutputVideo)
	}
	w.Members(details)
	w.End()
	w.Name("total_tokens").Int(u.InputTotal() + u.OutputTotal())
	w.Members(own, "input_tokens_details", "output_tokens_details")
	w.End()
	return w.Bytes
}

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }
