package portal

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
)

// AuditLog reads what admins changed. Package database has the real one.
type AuditLog interface {
	ListAudit(ctx context.Context, before string, limit int) ([]database.AuditEntry, error)
}

func (h *Handler) auditRoutes() {
	h.handle("/audit", methods{http.MethodGet: forAdmins(h.listAudit)})
}

// auditView is an entry in the API's JSON.
type auditView struct {
	ID        string          `json:"id"`
	Timestamp time.Time       `json:"timestamp"`
	ActorHash string          `json:"actor_hash"` // "": the operator, at the command line
	Action    string          `json:"action"`
	Object    string          `json:"object"`
	Before    json.RawMessage `json:"before"` // null: it did not exist
	After     json.RawMessage `json:"after"`  // null: it no longer does
	RequestID string          `json:"request_id"`
}

// listAudit gives a page of the log, newest first.
func (h *Handler) listAudit(w http.ResponseWriter, r *http.Request, _ *identity.Principal) error {
	if h.o.Auth.Audit == nil {
		return &llm.Error{Cause: llm.CauseNotFound, Message: "the audit log is turned off on this gateway"}
	}
	query, limit, err := readPage(r)
	if err != nil {
		return err
	}
	before := query.Get("before")
	if before != "" {
		id, err := uuid.Parse(before)
		if err != nil || len(before) != 36 {
			return unprocessable("before", `must be the "next" of an earlier answer`)
		}
		before = id.String()
	}
	entries, err := h.o.Auth.Audit.ListAudit(r.Context(), before, limit+1) // one more says whether there is a next page
	if err != nil {
		return &llm.Error{
			Cause: llm.CauseUnavailable, RetryAfter: 5 * time.Second, Err: fmt.Errorf("read the audit log: %w", err),
			Message: "the audit log cannot be read at the moment; try again shortly",
		}
	}
	var next *string
	if len(entries) > limit {
		entries = entries[:limit]
		next = &entries[limit-1].ID
	}
	views := make([]auditView, len(entries))
	for i, e := range entries {
		views[i] = auditView{
			ID: e.ID, Timestamp: e.Timestamp.UTC(), ActorHash: e.ActorHash, Action: e.Action, Object: e.Object,
			Before: asJSON(e.Before), After: asJSON(e.After), RequestID: e.RequestID,
		}
	}
	return writeJSON(w, map[string]any{"entries": views, "next": next})
}

// asJSON is a column that holds JSON or nothing.
func asJSON(text string) json.RawMessage {
	if !json.Valid([]byte(text)) {
		return nil
	}
	return json.RawMessage(text)
}
