// Package portalchat is the wire format of the portal's own frontend: a
// question put to a specialist (`POST /chat/send`, `POST /chat/stream`) or to a
// model itself (`POST /chat/direct/stream`). It only ever faces clients, so it
// decodes requests and encodes answers.
package portalchat

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// The bounds of a chat request, as the frontend knows them.
const (
	maxSpecialistID = 64
	maxMessage      = 50_000 // characters
	maxHistory      = 100
)

// Request is what the frontend sends.
type Request struct {
	SpecialistID string       `json:"specialist_id"`
	Message      string       `json:"message"`
	History      []Turn       `json:"conversation_history"`
	Attachments  []Attachment `json:"attachments"`

	// What a request for a model itself has in the place of a specialist.
	Provider    string   `json:"-"`
	ModelName   string   `json:"-"`
	Temperature *float64 `json:"-"`
	MaxTokens   *int64   `json:"-"`
}

// Turn is an earlier message of the conversation.
type Turn struct {
	Role    llm.Role `json:"role"`
	Content string   `json:"content"`
}

// Decode reads and checks a request for a specialist. Its errors are *llm.Error
// with CauseInvalidRequest and name the field.
func Decode(body []byte) (*Request, error) {
	var r Request
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	switch {
	case r.SpecialistID == "":
		return nil, invalid("specialist_id", "specialist_id is required")
	case len(r.SpecialistID) > maxSpecialistID:
		return nil, invalid("specialist_id", fmt.Sprintf("specialist_id must have at most %d characters", maxSpecialistID))
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return &r, nil
}

func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into, jsontext.AllowInvalidUTF8(true)); err != nil {
		return malformed(err)
	}
	return nil
}

// check checks what requests of both kinds have.
func (r *Request) check() error {
	switch n := utf8.RuneCountInString(r.Message); {
	case strings.TrimSpace(r.Message) == "":
		return invalid("message", "message is required")
	case n > maxMessage:
		return invalid("message", fmt.Sprintf("message has %d characters; at most %d are allowed", n, maxMessage))
	case len(r.History) > maxHistory:
		return invalid("conversation_history", fmt.Sprintf("conversation_history has %d items; at most %d are allowed", len(r.History), maxHistory))
	case len(r.Attachments) > maxAttachments:
		return invalid("attachments", fmt.Sprintf("attachments has %d items; at most %d are allowed", len(r.Attachments), maxAttachments))
	}
	for i, turn := range r.History {
		switch turn.Role {
		case llm.RoleUser, llm.RoleAssistant, llm.RoleSystem:
		default:
			return invalid(fmt.Sprintf("conversation_history[%d].role", i), "role must be user, assistant or system")
		}
	}
	for i := range r.Attachments {
		if err := r.Attachments[i].check(fmt.Sprintf("attachments[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

// LLM gives the request as a model call. System turns of the history join the
// system prompt; empty turns, which a client resends after an interrupted
// answer, are left out.
func (r *Request) LLM(stream bool) *llm.Request {
	call := &llm.Request{Model: r.model(), Stream: stream, Temperature: r.Temperature}
	if r.MaxTokens != nil {
		call.MaxTokens = *r.MaxTokens
	}
	var system []string
	for _, turn := range r.History {
		switch {
		case strings.TrimSpace(turn.Content) == "":
		case turn.Role == llm.RoleSystem:
			system = append(system, turn.Content)
		default:
			call.Messages = append(call.Messages, llm.TextMessage(turn.Role, turn.Content))
		}
	}
	call.Messages = append(call.Messages, r.question())
	if len(system) > 0 {
		instructions := llm.TextMessage(llm.RoleSystem, strings.Join(system, "\n\n"))
		call.Messages = append([]llm.Message{instructions}, call.Messages...)
	}
	return call
}

// question is the message with what is attached to it, which stands first:
// models read a document better before they are asked about it.
func (r *Request) question() llm.Message {
	question := llm.Message{Role: llm.RoleUser}
	for i := range r.Attachments {
		question.Parts = append(question.Parts, r.Attachments[i].part(i))
	}
	question.Parts = append(question.Parts, &llm.Text{Common: llm.Common{Pos: llm.Pos{Message: -1, Part: -1}}, Text: r.Message})
	return question
}

// model is what the request asks for, by the name that all callers use.
func (r *Request) model() string {
	if r.SpecialistID != "" {
		return r.SpecialistID
	}
	return r.Provider + "/" + r.ModelName
}

func malformed(err error) *llm.Error {
	e := &llm.Error{Cause: llm.CauseInvalidRequest, Message: "the body must be one JSON object", Err: err}
	if wrong, ok := errors.AsType[*json.SemanticError](err); ok {
		if name := wire.MemberPath(string(wrong.JSONPointer)); name != "" {
			return invalid(name, name+" has the wrong type")
		}
	}
	return e
}

// invalid is the error for a wrong field: 422, as the old backend had it.
func invalid(param, text string) *llm.Error {
	return &llm.Error{
		Cause: llm.CauseInvalidRequest, HTTPStatus: http.StatusUnprocessableEntity,
		Param: param, Message: text,
	}
}
