package database

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Conversation is a row of the table conversations. Title and Preview are
// encrypted by whoever stores them.
type Conversation struct {
	UUID         string `gorm:"primaryKey"`
	Owner        string
	Title        []byte
	Preview      []byte
	Provider     string
	Model        string
	Mode         string
	SpecialistID string
	MessageCount int64
	TextBytes    int64  // of all messages, before they were encrypted
	Question     []byte // digest of the user's last message
	AskedAt      *time.Time
	Answered     bool      // there is a message of the assistant's
	CreatedAt    time.Time `gorm:"autoCreateTime:false"`
	UpdatedAt    time.Time `gorm:"autoUpdateTime:false"`
}

// ConversationMessage is a row of the table conversation_messages. Content is
// encrypted by whoever stores it.
type ConversationMessage struct {
	ID               int64 `gorm:"primaryKey;autoIncrement"`
	ConversationUUID string
	Role             string
	Content          []byte
	Digest           []byte
	Origin           string
	Model            string
	InputTokens      int64
	OutputTokens     int64
	CostPicodollars  int64
	CreatedAt        time.Time `gorm:"autoCreateTime:false"`
}

// InsertConversation keeps a new conversation.
func (db *DB) InsertConversation(ctx context.Context, c Conversation) error {
	c.normalize()
	if err := db.gorm.WithContext(ctx).Create(&c).Error; err != nil {
		return fmt.Errorf("insert conversation: %w", err)
	}
	return nil
}

// Conversation gives an owner's conversation; [ErrNotFound] when they have none
// of that UUID.
func (db *DB) Conversation(ctx context.Context, owner, uuid string) (*Conversation, error) {
	return takeConversation(db.gorm.WithContext(ctx), owner, uuid)
}

func takeConversation(tx *gorm.DB, owner, uuid string) (*Conversation, error) {
	var c Conversation
	err := tx.Where("uuid = ? AND owner = ?", uuid, owner).Take(&c).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, fmt.Errorf("conversation: %w", ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read conversation: %w", err)
	}
	c.normalize()
	return &c, nil
}

// ConversationMessages gives a conversation's messages in their order.
func (db *DB) ConversationMessages(ctx context.Context, uuid string) ([]ConversationMessage, error) {
	var messages []ConversationMessage
	err := db.gorm.WithContext(ctx).Where("conversation_uuid = ?", uuid).Order("id").Find(&messages).Error
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	for i := range messages {
		messages[i].CreatedAt = messages[i].CreatedAt.UTC()
	}
	return messages, nil
}

// ListConversations gives a page of an owner's conversations, those changed last
// first, and how many there are in all.
func (db *DB) ListConversations(ctx context.Context, owner string, limit, offset int) ([]Conversation, int64, error) {
	query := db.gorm.WithContext(ctx).Model(&Conversation{}).Where("owner = ?", owner)
	var total int64
	if err := query.Count(&total).Error; err != nil {
		return nil, 0, fmt.Errorf("count conversations: %w", err)
	}
	var page []Conversation
	err := db.gorm.WithContext(ctx).Where("owner = ?", owner).
		Order("updated_at DESC, uuid DESC").Limit(limit).Offset(offset).Find(&page).Error
	if err != nil {
		return nil, 0, fmt.Errorf("list conversations: %w", err)
	}
	for i := range page {
		page[i].normalize()
	}
	return page, total, nil
}

// UnansweredConversation gives the UUID of an owner's newest conversation whose
// last question has this digest, came after the given time and has no answer;
// [ErrNotFound] when there is none.
func (db *DB) UnansweredConversation(ctx context.Context, owner string, question []byte, after time.Time) (string, error) {
	var found []string
	err := db.gorm.WithContext(ctx).Model(&Conversation{}).
		Where("owner = ? AND question = ? AND NOT answered AND asked_at > ?", owner, question, stored(after)).
		Order("asked_at DESC").Limit(1).Pluck("uuid", &found).Error
	if err != nil {
		return "", fmt.Errorf("look for a question: %w", err)
	}
	if len(found) == 0 {
		return "", fmt.Errorf("question: %w", ErrNotFound)
	}
	return found[0], nil
}

// DeleteConversation deletes an owner's conversation with its messages;
// [ErrNotFound] when they have none of that UUID.
func (db *DB) DeleteConversation(ctx context.Context, owner, uuid string) error {
	result := db.gorm.WithContext(ctx).Where("uuid = ? AND owner = ?", uuid, owner).Delete(&Conversation{})
	if result.Error != nil {
		return fmt.Errorf("delete conversation: %w", result.Error)
	}
	if result.RowsAffected == 0 {
		return fmt.Errorf("conversation: %w", ErrNotFound)
	}
	return nil
}

// DeleteConversationsOf deletes all of an owner's conversations, and says how
// many there were.
func (db *DB) DeleteConversationsOf(ctx context.Context, owner string) (deleted int64, err error) {
	result := db.gorm.WithContext(ctx).Where("owner = ?", owner).Delete(&Conversation{})
	if result.Error != nil {
		return 0, fmt.Errorf("delete a user's conversations: %w", result.Error)
	}
	return result.RowsAffected, nil
}

// DeleteOldConversations deletes at most limit of the conversations that have
// not changed since the given time, and says how many. Replicas that do so at
// once take different ones.
func (db *DB) DeleteOldConversations(ctx context.Context, before time.Time, limit int) (deleted int64, err error) {
	lock := ""
	if db.dialect == Postgres {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	result := db.gorm.WithContext(ctx).Exec("DELETE FROM conversations WHERE uuid IN "+
		"(SELECT uuid FROM conversations WHERE updated_at < ? ORDER BY updated_at LIMIT ?"+lock+")", stored(before), limit)
	if result.Error != nil {
		return 0, fmt.Errorf("delete old conversations: %w", result.Error)
	}
	return result.RowsAffected, nil
}

// ConversationTx is a transaction that holds one conversation: nobody else
// changes it meanwhile. Changes to the Conversation in it are stored at the end.
type ConversationTx struct {
	Conversation

	tx *gorm.DB
}

// ChangeConversation lets a function read and change an owner's conversation. An
// error of it undoes everything. [ErrNotFound] when the owner has none of that
// UUID.
func (db *DB) ChangeConversation(ctx context.Context, owner, uuid string, change func(*ConversationTx) error) error {
	return db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		locked := tx
		if db.dialect == Postgres { // SQLite's transactions have the whole database
			locked = tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate})
		}
		c, err := takeConversation(locked, owner, uuid)
		if err != nil {
			return err
		}
		held := &ConversationTx{Conversation: *c, tx: tx}
		if err := change(held); err != nil {
			return err
		}
		held.normalize()
		if err := tx.Select("*").Updates(&held.Conversation).Error; err != nil {
			return fmt.Errorf("update conversation: %w", err)
		}
		return nil
	})
}

// LastMessage gives the last message; nil: there is none.
func (c *ConversationTx) LastMessage() (*ConversationMessage, error) {
	return c.message(c.tx.Order("id DESC"))
}

// FirstAnswer gives the first message of the assistant's; nil: there is none.
func (c *ConversationTx) FirstAnswer() (*ConversationMessage, error) {
	return c.message(c.tx.Where("role = 'assistant'").Order("id"))
}

func (c *ConversationTx) message(query *gorm.DB) (*ConversationMessage, error) {
	var found []ConversationMessage
	if err := query.Where("conversation_uuid = ?", c.UUID).Limit(1).Find(&found).Error; err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return &found[0], nil
}

// Insert adds a message behind all others and gives it its id.
func (c *ConversationTx) Insert(m *ConversationMessage) error {
	m.ID, m.ConversationUUID, m.CreatedAt = 0, c.UUID, stored(m.CreatedAt)
	if err := c.tx.Create(m).Error; err != nil {
		return fmt.Errorf("insert message: %w", err)
	}
	c.MessageCount++
	return nil
}

// Replace gives a message, found by its id, another text.
func (c *ConversationTx) Replace(m *ConversationMessage) error {
	err := c.tx.Model(m).Select("content", "digest", "origin").Updates(m).Error
	if err != nil {
		return fmt.Errorf("replace message: %w", err)
	}
	return nil
}

// normalize brings what a conversation holds into the form that both databases
// keep.
func (c *Conversation) normalize() {
	c.CreatedAt, c.UpdatedAt = stored(c.CreatedAt), stored(c.UpdatedAt)
	if c.AskedAt != nil {
		c.AskedAt = new(stored(*c.AskedAt))
	}
	for _, content := range []*[]byte{&c.Title, &c.Preview, &c.Question} {
		if *content == nil {
			*content = []byte{} // not NULL
		}
	}
}
