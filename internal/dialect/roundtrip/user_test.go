package roundtrip_test

import (
	"encoding/json"
	"fmt"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// A user speaks one format as its official SDK does, and knows nothing of any
// other or of the gateway.
type user interface {
	// history writes messages as the format has them.
	history(messages []llm.Message) []js
	// read takes an answer and gives the turn that the user sends back. stream
	// says that the body is a stream.
	read(d dice, body []byte, stream bool) (turn, error)
	// body writes a request. messages are the items of its history.
	body(r *llm.Request, messages []js) js
}

// turn is an answer as its user sends it back.
type turn struct {
	messages []js
	calls    []call // that the user answers
	// thinking is what the user sees of it in a chat's stream, where it comes twice.
	thinking *string
	// plain: the user sends back only what the first versions of the format had,
	// so that state in members of the others is lost.
	plain bool
}

// call is a tool call as the user knows it.
type call struct {
	id, name string
	custom   bool
}

// events cuts a stream into its events, which arrive in pieces of any size.
func events(d dice, body []byte) (all []sse.Event, err error) {
	var s sse.Scanner
	for len(body) > 0 {
		n := min(len(body), 1+d.IntN(2000))
		if _, err := s.Write(body[:n]); err != nil {
			return nil, err
		}
		body = body[n:]
		for {
			e, ok := s.Next()
			if !ok {
				break
			}
			if e.Data == nil { // a comment
				continue
			}
			all = append(all, sse.Event{Raw: clone(e.Raw), Type: clone(e.Type), Data: clone(e.Data)})
		}
	}
	if rest := s.Rest(); len(rest) > 0 {
		return nil, fmt.Errorf("the stream ends within an event: %q", rest)
	}
	return all, nil
}

func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// read decodes JSON.
func read(data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w in %s", err, data)
	}
	return nil
}

func jsAll(raw []json.RawMessage) []js {
	all := make([]js, len(raw))
	for i := range raw {
		all[i] = js(raw[i])
	}
	return all
}
