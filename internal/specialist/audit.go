package specialist

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/financecommander/tollgate/internal/database"
)

// Actor is who makes a change, for the audit log.
type Actor struct {
	UserHash  string // empty: the operator at the command line
	RequestID string
}

// action is what the audit log calls a change.
type action string

const (
	actionCreate    action = "specialist.create"
	actionUpdate    action = "specialist.update"
	actionDelete    action = "specialist.delete"
	actionDuplicate action = "specialist.duplicate"
	actionPin       action = "specialist.pin"
	actionRevert    action = "specialist.revert"
	actionImport    action = "specialist.import"
)

// auditEntry tells of a change of one specialist: was is nil when it is new, is
// when it is gone.
func auditEntry(by Actor, what action, was, is *Specialist) (database.AuditEntry, error) {
	entry := database.AuditEntry{ActorHash: by.UserHash, RequestID: by.RequestID, Action: string(what)}
	var err error
	if was != nil {
		entry.Object = was.ID
		if entry.Before, err = auditText(was); err != nil {
			return entry, err
		}
	}
	if is != nil {
		entry.Object = is.ID
		entry.After, err = auditText(is)
	}
	return entry, err
}

// auditText is a specialist without its prompts: which one it had can be told by
// the hash, and its history is kept with the specialist.
func auditText(s *Specialist) (string, error) {
	view := struct {
		*Specialist
		SystemPrompt  string `json:"system_prompt"`
		PromptHistory int    `json:"prompt_history"` // how many
	}{s, hashOf(s.SystemPrompt), len(s.PromptHistory)}
	text, err := json.Marshal(view)
	if err != nil {
		return "", fmt.Errorf("encode audit entry: %w", err)
	}
	return string(text), nil
}

func hashOf(prompt string) string {
	return fmt.Sprintf("sha256:%x (%d characters)", sha256.Sum256([]byte(prompt)), utf8.RuneCountInString(prompt))
}
