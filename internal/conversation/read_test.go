package conversation

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
)

// between is a database in which something happens between two looks into it.
type between struct {
	*database.DB

	then func()
}

func (b *between) ConversationMessages(ctx context.Context, uuid string) ([]database.ConversationMessage, error) {
	if b.then != nil {
		b.then()
	}
	return b.DB.ConversationMessages(ctx, uuid)
}

// An answer that is stored while its conversation is being read is not shown
// twice.
func TestStoredWhileRead(t *testing.T) {
	t.Parallel()
	db := &between{DB: onSQLite(t)}
	s := newService(t, db)
	id := create(t, s, "alice")
	add(t, s, "alice", id, "user", "why?")
	a := begin(t, s, "alice", "why?")
	a.Text("Because.")
	a.Pass(t.Context())
	db.then = func() { add(t, s, "alice", id, "assistant", "Because.") }
	require.Equal(t, []string{"user: why?", "assistant: Because."}, texts(t, s, "alice", id))
	a.End(whole)
}
