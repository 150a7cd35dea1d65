package roundtrip_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
)

// cut has the model's stream end before its last event, and tells the user.
func (t *trip) cut() error {
	server := t.ours.NewEncoder(dialect.AnswerOptions{Stream: true, StreamUsage: true, Model: t.model, Now: now, Seal: dialect.NoSeal{}, Request: &t.c.request})
	var stream []byte
	for e := range t.c.answer.Events {
		if _, last := e.(llm.Finished); !last {
			stream = server.AppendEvent(stream, e)
		}
	}
	all, err := events(t.dice, stream)
	if err != nil {
		return err
	}
	decoder := t.ours.NewDecoder(dialect.UpstreamOptions{Model: t.model})
	encoder := t.theirs.NewEncoder(dialect.AnswerOptions{
		Stream: true, StreamUsage: true, Model: "m", RequestID: "req_2", Now: now, Seal: t.sealer, Request: &t.c.request,
	})
	var said strings.Builder
	for _, e := range all[:t.IntN(len(all)+1)] {
		decoder.Event(e)
		for _, e := range decoder.Events() {
			if delta, ok := e.(llm.TextDelta); ok {
				said.WriteString(delta.Text)
			}
			t.body = encoder.AppendEvent(t.body, e)
		}
	}
	for _, e := range decoder.End(nil) {
		if _, finished := e.(llm.Finished); finished {
			return errors.New("the decoder takes it for whole")
		}
		t.body = encoder.AppendEvent(t.body, e)
	}
	return t.isBroken(said.String())
}

// isBroken checks that the user sees a stream that failed, and all that was said.
func (t *trip) isBroken(said string) error {
	all, err := events(t.dice, t.body)
	if err != nil {
		return err
	}
	answer, failed := dialect.Collect(t.theirs.NewDecoder(dialect.UpstreamOptions{}), all)
	if failed == nil {
		return fmt.Errorf("it looks whole: %s", t.body)
	}
	heard := ""
	for _, c := range answer.Choices {
		for _, p := range c.Parts {
			switch p := p.(type) {
			case *llm.Text:
				heard += p.Text
			case *llm.Refusal:
				heard += p.Text
			}
		}
	}
	if heard != said && len(t.c.answer.Choices) == 1 {
		return fmt.Errorf("said %q, and the user heard %q: %s", said, heard, t.body)
	}
	if _, err := t.user.read(t.dice, t.body, true); err == nil && t.from != dialect.Gemini { // whose SDKs raise an exception in the middle
		return fmt.Errorf("the user's SDK takes it for whole: %s", t.body)
	}
	return nil
}
