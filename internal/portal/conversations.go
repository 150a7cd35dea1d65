package portal

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/financecommander/tollgate/internal/conversation"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
)

// maxMessageBody bounds the body of a message: an answer of the largest size, in
// which every second character is escaped.
const maxMessageBody = 2*conversation.MaxAnswer + 64<<10

// defaultConversations is how many conversations a list has unless asked.
const defaultConversations = 50

func (h *Handler) conversationRoutes() {
	h.handle("/conversations", methods{
		http.MethodGet:  h.conversations(h.listConversations),
		http.MethodPost: h.conversations(h.createConversation),
	})
	h.handle("/conversations/{uuid}", methods{
		http.MethodGet:    h.conversations(h.getConversation),
		http.MethodPut:    h.conversations(h.updateConversation),
		http.MethodDelete: h.conversations(h.deleteConversation),
	})
	h.handle("/conversations/{uuid}/messages", methods{http.MethodPost: h.conversations(h.addMessage)})
}

// conversations passes on requests of users while conversations are kept. Each
// sees their own only, admins too: a conversation is named by its owner's hash
// and its UUID together.
func (h *Handler) conversations(serve callerFunc) handlerFunc {
	return forUsers(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		if !h.o.Conversations.On() {
			return &llm.Error{Cause: llm.CauseNotFound, Message: "conversations are turned off on this gateway"}
		}
		if p.UserHash == "" { // would be everybody who has none
			return errors.New("principal without user hash")
		}
		if id := r.PathValue("uuid"); id != "" && uuid.Validate(id) != nil {
			return &llm.Error{Cause: llm.CauseNotFound, Message: "you have no conversation of this id"}
		}
		return kept(serve(w, r, p))
	})
}

// kept makes of an error of the database's one that a caller may see.
func kept(err error) error {
	if _, ok := errors.AsType[*llm.Error](err); err == nil || ok {
		return err
	}
	return &llm.Error{
		Cause: llm.CauseUnavailable, RetryAfter: 5 * time.Second, Err: fmt.Errorf("conversations: %w", err),
		Message: "conversations cannot be reached at the moment; try again shortly",
	}
}

func (h *Handler) listConversations(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return unprocessable("query", "is not a valid query string")
	}
	limit, err := strconv.Atoi(cmp.Or(query.Get("limit"), strconv.Itoa(defaultConversations)))
	if err != nil || limit < 1 || limit > conversation.MaxPage {
		return unprocessable("limit", "must be 1 to "+strconv.Itoa(conversation.MaxPage))
	}
	offset, err := strconv.ParseInt(cmp.Or(query.Get("offset"), "0"), 10, 32)
	if err != nil || offset < 0 {
		return unprocessable("offset", "must be a number, 0 or more")
	}
	list, total, err := h.o.Conversations.List(r.Context(), p.UserHash, limit, int(offset))
	if err != nil {
		return err
	}
	return writeJSON(w, map[string]any{"conversations": list, "total": total})
}

func (h *Handler) createConversation(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	var set conversation.Settings
	if r.ContentLength != 0 { // all of it is optional
		if err := readJSON(w, r, &set); err != nil {
			return err
		}
	}
	made, err := h.o.Conversations.Create(r.Context(), p.UserHash, set)
	if err != nil {
		return err
	}
	return writeJSON(w, made)
}

// getConversation reads a conversation. Where its first answer is streaming to
// the same user, the stream waits until a moment after this answer.
func (h *Handler) getConversation(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	read, err := h.o.Conversations.Read(r.Context(), p.UserHash, r.PathValue("uuid"))
	if err != nil {
		return err
	}
	defer read.Answered()
	return writeJSON(w, read)
}

func (h *Handler) updateConversation(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	var set conversation.Settings
	if err := readJSON(w, r, &set); err != nil {
		return err
	}
	changed, err := h.o.Conversations.Update(r.Context(), p.UserHash, r.PathValue("uuid"), set)
	if err != nil {
		return err
	}
	return writeJSON(w, changed)
}

func (h *Handler) deleteConversation(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	if err := h.o.Conversations.Delete(r.Context(), p.UserHash, r.PathValue("uuid")); err != nil {
		return err
	}
	return writeJSON(w, map[string]bool{"deleted": true})
}

func (h *Handler) addMessage(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	var m conversation.Posted
	if err := readLargeJSON(w, r, maxMessageBody, &m); err != nil {
		return err
	}
	id, title, err := h.o.Conversations.Add(r.Context(), p.UserHash, r.PathValue("uuid"), m)
	if err != nil {
		return err
	}
	return writeJSON(w, map[string]any{"id": id, "conversation_title": title})
}
