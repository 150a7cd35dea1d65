package roundtrip_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/anthropic"
	"github.com/financecommander/tollgate/internal/dialect/gemini"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/dialect/openairesponses"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/seal"
	"github.com/financecommander/tollgate/internal/secret"
)

var formats = []llm.Format{dialect.OpenAIChat, dialect.OpenAIResponses, dialect.AnthropicMessages, dialect.Gemini}

var models = map[llm.Format][]string{
	dialect.OpenAIChat:        {"gpt-4o", "deepseek-chat"},
	dialect.OpenAIResponses:   {"gpt-5", "gpt-4.1"},
	dialect.AnthropicMessages: {"claude-sonnet-4-5", "claude-opus-4-7"},
	dialect.Gemini:            {"gemini-3-pro-preview", "gemini-2.5-flash"},
}

func codec(format llm.Format, model string, stream bool) dialect.Translator {
	switch format {
	case dialect.OpenAIChat:
		return openaichat.Chat
	case dialect.OpenAIResponses:
		return openairesponses.Responses
	case dialect.AnthropicMessages:
		return anthropic.Messages
	}
	return gemini.Generate{Model: model, Streaming: stream}
}

func userOf(format llm.Format) user {
	switch format {
	case dialect.OpenAIChat:
		return chatUser{}
	case dialect.OpenAIResponses:
		return &responsesUser{}
	case dialect.AnthropicMessages:
		return anthropicUser{}
	}
	return geminiUser{}
}

var sealer = func() dialect.Sealer {
	box, err := seal.New(secret.New("a secret for tests only"), seal.StateLabel)
	if err != nil {
		panic(err)
	}
	return box.ForOwner("user")
}()

// trip is one conversation of one pair of formats.
type trip struct {
	dice
	from, to   llm.Format // the user's and the model's
	model      string
	c          conversation
	up, down   bool // the model streams, the user wants a stream
	user       user
	theirs     dialect.Translator // the user's codec
	ours       dialect.Translator // the model's
	answer     *llm.Answer        // as decoded from the model
	events     []llm.Event        // likewise, of a stream
	body       []byte             // what the user got
	turn       turn               // what the user sends back of it
	next       js                 // the user's next request
	heard      *llm.Request       // that request, decoded
	encoded    []byte             // and written for the model
	understood *llm.Request       // and decoded as the model does
	dropped    []string
	sealer     dialect.Sealer
}

func newTrip(d dice, from, to llm.Format) *trip {
	t := &trip{dice: d, from: from, to: to, model: pick(d, models[to]...), up: d.oneIn(2), down: d.oneIn(2), user: userOf(from), sealer: sealer}
	t.theirs, t.ours = codec(from, "m", t.down), codec(to, t.model, t.up)
	t.c = converse(d, from, to, t.model)
	t.c.request.Stream, t.c.request.StreamUsage = t.down, t.down
	return t
}

// go through all of it; the first thing that is lost is the error.
func (t *trip) run() error {
	for _, leg := range []struct {
		name string
		run  func() error
	}{
		{"the model's answer, read", t.hear},
		{"the answer, told to the user", t.tell},
		{"the answer, as its user reads it", t.check},
		{"the user's next request", t.reply},
		{"the next request, written for the model", t.forward},
		{"the next request, for another model", t.moveOn},
	} {
		if err := leg.run(); err != nil {
			return fmt.Errorf("%s → %s (%s, streams: up %v, down %v): %s: %w", t.from, t.to, t.model, t.up, t.down, leg.name, err)
		}
	}
	return nil
}

func now() int64 { return 1_760_000_000 }

// hear has the model answer in its format, and reads that.
func (t *trip) hear() error {
	server := t.ours.NewEncoder(dialect.AnswerOptions{Stream: t.up, StreamUsage: true, Model: t.model, RequestID: "req_1", Now: now, Seal: dialect.NoSeal{}, Request: &t.c.request})
	options := dialect.UpstreamOptions{Model: t.model}
	var failed *llm.Error
	if t.up {
		var stream []byte
		for e := range t.c.answer.Events {
			stream = server.AppendEvent(stream, e)
		}
		all, err := events(t.dice, stream)
		if err != nil {
			return err
		}
		decoder := t.ours.NewDecoder(options)
		for _, e := range all {
			decoder.Event(e)
			t.events = append(t.events, decoder.Events()...)
		}
		t.events = append(t.events, decoder.End(nil)...)
		var collector llm.Collector
		for _, e := range t.events {
			collector.Add(e)
		}
		t.answer, failed = collector.Answer()
	} else {
		t.answer, failed = t.ours.DecodeAnswer(server.AppendAnswer(nil, &t.c.answer), options)
		if failed == nil {
			for e := range t.answer.Events {
				t.events = append(t.events, e)
			}
		}
	}
	if failed != nil {
		return failed
	}
	if got, want := results(t.answer), results(&t.c.answer); !slices.Equal(got, want) {
		return differ(want, got)
	}
	return nil
}

func differ(want, got []string) error {
	return fmt.Errorf("said\n  %s\nheard\n  %s", strings.Join(want, "\n  "), strings.Join(got, "\n  "))
}

// tell writes the answer for the user.
func (t *trip) tell() error {
	encoder := t.theirs.NewEncoder(dialect.AnswerOptions{
		Stream: t.down, StreamUsage: t.down, Model: "m", RequestID: "req_2", Now: now, Seal: t.sealer, Request: &t.c.request,
	})
	if t.down {
		for _, e := range t.events {
			t.body = encoder.AppendEvent(t.body, e)
		}
	} else {
		t.body = encoder.AppendAnswer(nil, t.answer)
	}
	var err error
	t.turn, err = t.user.read(t.dice, t.body, t.down)
	return err
}

// check compares what the user reads in the answer with what the model said.
func (t *trip) check() error {
	var got *llm.Answer
	var failed *llm.Error
	if t.down {
		all, err := events(t.dice, t.body)
		if err != nil {
			return err
		}
		got, failed = dialect.Collect(t.theirs.NewDecoder(dialect.UpstreamOptions{}), all)
	} else {
		got, failed = t.theirs.DecodeAnswer(t.body, dialect.UpstreamOptions{})
	}
	if failed != nil {
		return failed
	}
	said := t.answer
	if t.turn.thinking != nil { // the decoder takes reasoning_details for more of it
		said = new(*said)
		said.Choices, got.Choices = thoughtless(said.Choices), thoughtless(got.Choices)
		got.Choices[0].Parts = append(got.Choices[0].Parts, &llm.Thinking{Text: *t.turn.thinking})
		said.Choices[0].Parts = t.answer.Choices[0].Parts
	}
	if want, have := shown(said, t.from), shown(got, t.from); !slices.Equal(want, have) {
		return differ(want, have)
	}
	return nil
}

func thoughtless(choices []llm.Choice) []llm.Choice {
	choices = slices.Clone(choices)
	for i := range choices {
		choices[i].Parts = slices.DeleteFunc(slices.Clone(choices[i].Parts), func(p llm.Part) bool { _, ok := p.(*llm.Thinking); return ok })
	}
	return choices
}

// reply sends the answer back, with results of its calls and what the user says
// then, and reads that.
func (t *trip) reply() error {
	history := t.c.request.Messages
	messages := t.user.history(history)
	if r, ok := t.user.(*responsesUser); ok && r.stored != nil {
		r.stored.Input = arr(messages)
		messages = nil
	}
	messages = append(messages, t.turn.messages...)
	after, err := t.after()
	if err != nil {
		return err
	}
	messages = append(messages, t.user.history(after)...)
	t.next = t.user.body(&t.c.request, messages)
	if t.heard, err = t.theirs.DecodeRequest(t.next, dialect.DecodeOptions{Seal: t.sealer}); err != nil {
		return fmt.Errorf("%w: %s", err, t.next)
	}
	want := t.c.request
	calls := 0
	for _, p := range t.answer.Choices[0].Parts {
		if c, ok := p.(*llm.ToolCall); ok {
			after[calls].Parts[0].(*llm.ToolResult).CallID = c.ID
			calls++
		}
	}
	turn := llm.Message{Role: llm.RoleAssistant, Parts: carried(t.answer.Choices[0].Parts, t.from, t.turn.plain, t.down)}
	want.Messages = slices.Concat(history, []llm.Message{turn}, after)
	heard := t.heard
	if t.from == dialect.Gemini && t.to != dialect.Gemini {
		heard = heard.Clone()
		want.Messages, heard.Messages = thoughtsFirst(want.Messages), thoughtsFirst(heard.Messages)
	}
	return t.compare(&want, heard, t.from, nil)
}

// after is what the user says after the answer.
func (t *trip) after() ([]llm.Message, error) {
	if len(t.turn.calls) != len(t.c.results) {
		return nil, fmt.Errorf("%d calls, of which the user saw %d in %s", len(t.c.results), len(t.turn.calls), t.body)
	}
	var after []llm.Message
	for i, c := range t.turn.calls {
		result := t.c.results[i]
		result.CallID = c.id
		if result.Name != c.name || result.Custom != c.custom {
			return nil, fmt.Errorf("call %d is of %s, and the user saw one of %s", i, result.Name, c.name)
		}
		after = append(after, llm.Message{Role: llm.RoleTool, Parts: []llm.Part{&result}})
	}
	if t.c.next != nil {
		after = append(after, llm.Message{Role: llm.RoleUser, Parts: t.c.next})
	}
	return after, nil
}
