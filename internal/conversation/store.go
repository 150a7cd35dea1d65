package conversation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/pricing"
)

// The bounds of what is kept.
const (
	MaxMessages = 10_000  // in a conversation
	MaxText     = 8 << 20 // bytes, of all of them
	MaxMessage  = 50_000  // characters, of a user's message
	MaxAnswer   = 1 << 20 // bytes, of an assistant's
	MaxPage     = 200     // conversations of a list
	maxSetting  = 200     // characters, of a provider, model, mode or specialist
)

// Where a message comes from.
const (
	fromPage    = "page"
	fromGateway = "gateway"
	fromCut     = "cut" // the gateway's, of an answer that was not whole
)

// Conversation is a conversation without its messages.
type Conversation struct {
	UUID         string    `json:"uuid"`
	Title        string    `json:"title"`
	Provider     string    `json:"provider"`
	Model        string    `json:"model"`
	Mode         string    `json:"mode"`
	SpecialistID string    `json:"specialist_id"`
	MessageCount int64     `json:"message_count"`
	CreatedAt    time.Time `json:"created_at"`
	UpdatedAt    time.Time `json:"updated_at"`
	Preview      string    `json:"preview"`
}

// Message is one message. Its id is 0 while the gateway is still giving it.
type Message struct {
	ID           int64         `json:"id"`
	Role         string        `json:"role"`
	Content      string        `json:"content"`
	Model        string        `json:"model"`
	InputTokens  int64         `json:"input_tokens"`
	OutputTokens int64         `json:"output_tokens"`
	CostUSD      pricing.Money `json:"cost_usd"`
	CreatedAt    time.Time     `json:"created_at"`
}

// Settings are what a user may set of a conversation; nil is left as it is.
type Settings struct {
	Title        *string `json:"title"`
	Provider     *string `json:"provider"`
	Model        *string `json:"model"`
	Mode         *string `json:"mode"`
	SpecialistID *string `json:"specialist_id"`
}

// Create makes an empty conversation.
func (s *Service) Create(ctx context.Context, owner string, set Settings) (*Conversation, error) {
	now := present()
	row := database.Conversation{UUID: uuid.NewString(), Owner: owner, CreatedAt: now, UpdatedAt: now}
	if err := s.apply(&row, set); err != nil {
		return nil, err
	}
	if err := s.store.InsertConversation(ctx, row); err != nil {
		return nil, err
	}
	return s.show(&row), nil
}

// Update changes what is given.
func (s *Service) Update(ctx context.Context, owner, id string, set Settings) (*Conversation, error) {
	var changed *Conversation
	err := s.store.ChangeConversation(ctx, owner, id, func(c *database.ConversationTx) error {
		if err := s.apply(&c.Conversation, set); err != nil {
			return err
		}
		c.UpdatedAt = present()
		changed = s.show(&c.Conversation)
		return nil
	})
	return changed, known(err)
}

// List gives a page of a user's conversations, those changed last first, and how
// many there are in all.
func (s *Service) List(ctx context.Context, owner string, limit, offset int) ([]Conversation, int64, error) {
	rows, total, err := s.store.ListConversations(ctx, owner, limit, offset)
	if err != nil {
		return nil, 0, err
	}
	list := make([]Conversation, len(rows))
	for i := range rows {
		list[i] = *s.show(&rows[i])
	}
	return list, total, nil
}

// Delete deletes a conversation.
func (s *Service) Delete(ctx context.Context, owner, id string) error {
	if err := s.store.DeleteConversation(ctx, owner, id); err != nil {
		return known(err)
	}
	s.live.forget(owner, id)
	return nil
}

// Forget deletes everything that a user said and was told.
func (s *Service) Forget(ctx context.Context, owner string) error {
	if !s.On() {
		return nil
	}
	if _, err := s.store.DeleteConversationsOf(ctx, owner); err != nil {
		return err
	}
	s.live.forget(owner, "")
	return nil
}

// Posted is a message as a page sends it.
type Posted struct {
	Role         string         `json:"role"`
	Content      string         `json:"content"`
	Model        string         `json:"model"`
	InputTokens  int64          `json:"input_tokens"`
	OutputTokens int64          `json:"output_tokens"`
	CostUSD      *pricing.Money `json:"cost_usd"`
}

// Add adds a message to a conversation, and gives its id and the conversation's
// title. An answer that the gateway has stored already is the same message.
func (s *Service) Add(ctx context.Context, owner, id string, m Posted) (messageID int64, title string, err error) {
	if err := m.check(); err != nil {
		return 0, "", err
	}
	now, d, waits := time.Now(), s.digest(owner, m.Role, m.Content), false
	err = s.store.ChangeConversation(ctx, owner, id, func(c *database.ConversationTx) error {
		var err error
		if messageID, err = s.addTo(c, m, d, now); err != nil {
			return err
		}
		title = s.title(&c.Conversation)
		waits = m.Role == roleUser && !c.Answered
		return nil
	})
	if err != nil {
		return 0, "", known(err)
	}
	switch {
	case waits:
		s.asked(owner, id, d, now)
	case m.Role == roleAssistant:
		s.live.answered(owner, id)
	}
	return messageID, title, nil
}

// The roles of messages.
const (
	roleUser      = string(llm.RoleUser)
	roleAssistant = string(llm.RoleAssistant)
	roleSystem    = string(llm.RoleSystem)
)

// addTo adds a message to the conversation it holds.
func (s *Service) addTo(c *database.ConversationTx, m Posted, d digest, now time.Time) (int64, error) {
	if m.Role == roleAssistant {
		last, err := c.LastMessage()
		if err != nil {
			return 0, err
		}
		if same, err := s.sameAnswer(c, last, m.Content, d); same || err != nil {
			return lastID(last), err
		}
	}
	switch {
	case strings.TrimSpace(m.Content) == "":
		return 0, wrong("content", "is required")
	case full(c, m.Content):
		return 0, &llm.Error{
			Cause: llm.CauseInvalidRequest, HTTPStatus: http.StatusConflict,
			Message: fmt.Sprintf("the conversation is full: it can have %d messages and %d MiB of text; begin a new one", MaxMessages, MaxText>>20),
		}
	}
	row := &database.ConversationMessage{
		Role: m.Role, Content: s.seal(&c.Conversation, m.Role, m.Content), Digest: d[:], Origin: fromPage,
		Model: m.Model, InputTokens: m.InputTokens, OutputTokens: m.OutputTokens, CreatedAt: now,
	}
	if m.CostUSD != nil {
		row.CostPicodollars = int64(*m.CostUSD)
	}
	if err := c.Insert(row); err != nil {
		return 0, err
	}
	s.follow(&c.Conversation, m.Role, m.Content, d, now)
	return row.ID, nil
}

// full says that a conversation cannot take a further message.
func full(c *database.ConversationTx, text string) bool {
	return c.MessageCount >= MaxMessages || c.TextBytes+int64(len(text)) > MaxText
}

func lastID(m *database.ConversationMessage) int64 {
	if m == nil {
		return 0
	}
	return m.ID
}

// follow brings a conversation up to date with its new last message.
func (s *Service) follow(c *database.Conversation, role, content string, d digest, now time.Time) {
	c.Preview = s.seal(c, "preview", shorten(content, maxPreview))
	c.TextBytes += int64(len(content))
	c.UpdatedAt = now
	switch role {
	case roleUser:
		c.Question, c.AskedAt = d[:], &now
		if len(c.Title) == 0 {
			c.Title = s.seal(c, "title", titleOf(content))
		}
	case roleAssistant:
		c.Answered = true
	}
}

// sameAnswer says whether a posted answer is the last message. The gateway's text
// and the page's may differ in the space around them, and one may have been
// interrupted before the other; of an answer that broke off the longer is kept.
func (s *Service) sameAnswer(c *database.ConversationTx, last *database.ConversationMessage, posted string, d digest) (bool, error) {
	switch {
	case last == nil || last.Role != roleAssistant:
		return false, nil
	case slices.Equal(last.Digest, d[:]):
		return true, nil
	case last.Origin == fromPage:
		return false, nil
	}
	text, ok := s.open(&c.Conversation, last.Role, last.Content)
	ours, theirs := strings.TrimSpace(text), strings.TrimSpace(posted)
	switch {
	case !ok:
		return false, nil
	case strings.HasPrefix(ours, theirs):
		return true, nil
	case !strings.HasPrefix(theirs, ours):
		return false, nil
	case last.Origin == fromCut:
		return true, s.replace(c, last, text, posted, d, fromPage)
	}
	return true, nil
}

// replace gives the last message another text than it had.
func (s *Service) replace(c *database.ConversationTx, m *database.ConversationMessage, had, text string, d digest, origin string) error {
	c.TextBytes += int64(len(text) - len(had))
	m.Content, m.Digest, m.Origin = s.seal(&c.Conversation, m.Role, text), d[:], origin
	c.Preview = s.seal(&c.Conversation, "preview", shorten(text, maxPreview))
	return c.Replace(m)
}

// keep stores an answer that the gateway gave, unless the page was first. It
// says [database.ErrNotFound] when the conversation is gone.
func (s *Service) keep(ctx context.Context, owner, id string, m Message, whole bool) error {
	d, origin := s.digest(owner, roleAssistant, m.Content), fromGateway
	if !whole {
		origin = fromCut
	}
	return s.store.ChangeConversation(ctx, owner, id, func(c *database.ConversationTx) error {
		first, err := c.FirstAnswer()
		if err != nil || first != nil && slices.Equal(first.Digest, d[:]) || first == nil && full(c, m.Content) {
			return err
		}
		if first != nil {
			return s.complete(c, first, m.Content, d, origin)
		}
		err = c.Insert(&database.ConversationMessage{
			Role: roleAssistant, Content: s.seal(&c.Conversation, roleAssistant, m.Content), Digest: d[:], Origin: origin,
			Model: m.Model, InputTokens: m.InputTokens, OutputTokens: m.OutputTokens,
			CostPicodollars: int64(m.CostUSD), CreatedAt: afterQuestion(&c.Conversation, m.CreatedAt),
		})
		if err != nil {
			return err
		}
		s.follow(&c.Conversation, roleAssistant, m.Content, d, time.Now())
		return nil
	})
}

// complete makes an answer whole whose page was interrupted while it stored what
// it had.
func (s *Service) complete(c *database.ConversationTx, m *database.ConversationMessage, text string, d digest, origin string) error {
	had, ok := s.open(&c.Conversation, m.Role, m.Content)
	last, err := c.LastMessage()
	if err != nil || !ok || lastID(last) != m.ID || !strings.HasPrefix(strings.TrimSpace(text), strings.TrimSpace(had)) {
		return err
	}
	return s.replace(c, m, had, text, d, origin)
}

// messages gives a conversation's messages.
func (s *Service) messages(ctx context.Context, c *database.Conversation) ([]Message, error) {
	rows, err := s.store.ConversationMessages(ctx, c.UUID)
	if err != nil {
		return nil, err
	}
	messages := make([]Message, 0, len(rows)+1) // room for the one being given
	for i := range rows {
		row := &rows[i]
		content, ok := s.open(c, row.Role, row.Content)
		if !ok {
			content = unreadable
		}
		messages = append(messages, Message{
			ID: row.ID, Role: row.Role, Content: content, Model: row.Model,
			InputTokens: row.InputTokens, OutputTokens: row.OutputTokens,
			CostUSD: pricing.Money(row.CostPicodollars), CreatedAt: row.CreatedAt,
		})
	}
	return messages, nil
}

// show is a row as its owner sees it.
func (s *Service) show(c *database.Conversation) *Conversation {
	preview, _ := s.open(c, "preview", c.Preview)
	return &Conversation{
		UUID: c.UUID, Title: s.title(c), Provider: c.Provider, Model: c.Model, Mode: c.Mode, SpecialistID: c.SpecialistID,
		MessageCount: c.MessageCount, CreatedAt: c.CreatedAt.UTC(), UpdatedAt: c.UpdatedAt.UTC(), Preview: preview,
	}
}

func (s *Service) title(c *database.Conversation) string {
	if len(c.Title) == 0 {
		return untitled
	}
	if title, ok := s.open(c, "title", c.Title); ok {
		return title
	}
	return unreadable
}

// present is now, as databases keep it.
func present() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// seal encrypts a text of a conversation for its place there.
func (s *Service) seal(c *database.Conversation, place, text string) []byte {
	return s.box.Seal([]byte(text), c.Owner+"\x00"+c.UUID+"\x00"+place)
}

// open reverses seal.
func (s *Service) open(c *database.Conversation, place string, sealed []byte) (string, bool) {
	if len(sealed) == 0 {
		return "", true
	}
	text, ok := s.box.Open(sealed, c.Owner+"\x00"+c.UUID+"\x00"+place, MaxAnswer)
	return string(text), ok
}

// apply checks settings and puts them into a row.
func (s *Service) apply(c *database.Conversation, set Settings) error {
	for _, setting := range []struct {
		name  string
		value *string
		into  *string
	}{
		{"provider", set.Provider, &c.Provider},
		{"model", set.Model, &c.Model},
		{"mode", set.Mode, &c.Mode},
		{"specialist_id", set.SpecialistID, &c.SpecialistID},
	} {
		if setting.value == nil {
			continue
		}
		if err := short(setting.name, *setting.value); err != nil {
			return err
		}
		*setting.into = *setting.value
	}
	if set.Title == nil {
		return nil
	}
	title := strings.Join(strings.FieldsFunc(*set.Title, blank), " ")
	switch {
	case title == "":
		return wrong("title", "must not be empty")
	case utf8.RuneCountInString(title) > maxOwn:
		return wrong("title", fmt.Sprintf("must have at most %d characters", maxOwn))
	}
	c.Title = s.seal(c, "title", distinct(title))
	return nil
}

// check checks what can be checked of a message without its conversation.
func (m *Posted) check() error {
	switch n := utf8.RuneCountInString(m.Content); {
	case !slices.Contains([]string{roleUser, roleAssistant, roleSystem}, m.Role):
		return wrong("role", "must be user, assistant or system")
	case m.Role == roleAssistant && len(m.Content) > MaxAnswer:
		return wrong("content", fmt.Sprintf("has %d bytes; at most %d are allowed", len(m.Content), MaxAnswer))
	case m.Role != roleAssistant && n > MaxMessage:
		return wrong("content", fmt.Sprintf("has %d characters; at most %d are allowed", n, MaxMessage))
	case m.InputTokens < 0:
		return wrong("input_tokens", "must not be negative")
	case m.OutputTokens < 0:
		return wrong("output_tokens", "must not be negative")
	case m.CostUSD != nil && *m.CostUSD < 0:
		return wrong("cost_usd", "must not be negative")
	}
	return short("model", m.Model)
}

// short checks a short text that is stored as it is.
func short(field, text string) error {
	switch {
	case utf8.RuneCountInString(text) > maxSetting:
		return wrong(field, fmt.Sprintf("must have at most %d characters", maxSetting))
	case strings.ContainsFunc(text, unicode.IsControl):
		return wrong(field, "must not have control characters")
	}
	return nil
}

// wrong is a 422 that names the field at fault.
func wrong(field, problem string) error {
	return &llm.Error{
		Cause: llm.CauseInvalidRequest, HTTPStatus: http.StatusUnprocessableEntity,
		Param: field, Message: field + " " + problem,
	}
}

// known makes of a missing row what its caller may see. Whether the conversation
// is another's is not told.
func known(err error) error {
	if errors.Is(err, database.ErrNotFound) {
		return &llm.Error{Cause: llm.CauseNotFound, Message: "you have no conversation of this id"}
	}
	return err
}
