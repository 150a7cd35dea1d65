package specialist

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryWriteIsAudited(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *desk) {
		const prompt = "A secret prompt of the house."
		hash := hashOf(prompt)
		require.Regexp(t, `^sha256:[0-9a-f]{64} \(29 characters\)$`, hash)
		steps := []struct {
			action        action
			object        string
			before, after string // a part of it; "": none at all
			do            func(ctx context.Context) error
		}{
			{actionCreate, "a", "", hash, func(ctx context.Context) error {
				_, err := d.Create(ctx, root, body(t, `{"id":"a","system_prompt":"`+prompt+`"}`))
				return err
			}},
			{actionUpdate, "a", hash, hashOf("Other."), func(ctx context.Context) error {
				_, err := d.Update(ctx, root, "a", patch(t, `{"system_prompt":"Other."}`))
				return err
			}},
			{actionPin, "a", `"pinned":false`, `"pinned":true`, func(ctx context.Context) error {
				_, err := d.Pin(ctx, root, "a", true)
				return err
			}},
			{actionRevert, "a", `"version":3`, `"version":4`, func(ctx context.Context) error {
				_, err := d.Revert(ctx, root, "a", 1)
				return err
			}},
			{actionDuplicate, "reader-copy", "", `"name":"Reader (Copy)"`, func(ctx context.Context) error {
				_, err := d.Duplicate(ctx, root, "a")
				return err
			}},
			{actionDelete, "reader-copy", `"id":"reader-copy"`, "", func(ctx context.Context) error {
				return d.Delete(ctx, root, "reader-copy")
			}},
			{actionImport, "a", `"model":"gpt-4o"`, `"model":"gpt-5"`, func(ctx context.Context) error {
				_, err := d.Import(ctx, root, document(t, ModeOverwrite, `{"id":"a","name":"Reader","provider":"openai","model":"gpt-5","system_prompt":"`+prompt+`"}`))
				return err
			}},
		}
		for n, step := range steps {
			require.NoError(t, step.do(t.Context()), step.action)
			entries := d.audit(100)
			require.Len(t, entries, n+1, step.action)
			e := entries[0]
			require.Equal(t, string(step.action), e.Action)
			require.Equal(t, step.object, e.Object)
			require.Equal(t, []string{root.UserHash, root.RequestID}, []string{e.ActorHash, e.RequestID})
			require.Equal(t, step.before == "", e.Before == "", step.action)
			require.Equal(t, step.after == "", e.After == "", step.action)
			require.Contains(t, e.Before, step.before)
			require.Contains(t, e.After, step.after)
			require.NotContains(t, e.Before+e.After, prompt)
			require.NotContains(t, e.Before+e.After, "Other.")
		}
	})
}

// Where the audit log cannot be written, nothing can.
func TestNoWriteWithoutItsAuditEntry(t *testing.T) {
	t.Parallel()
	url := sqliteURL(t)
	d := newDesk(t, url)
	d.create(`{"id":"a"}`)
	dropAuditLog(t, url)
	before, _ := d.registry.Get("a")
	_, err := d.Create(t.Context(), root, body(t, `{"name":"B"}`))
	requireRefusal(t, err, 503, "")
	_, err = d.Update(t.Context(), root, "a", patch(t, `{"description":"x"}`))
	requireRefusal(t, err, 503, "")
	requireRefusal(t, d.Delete(t.Context(), root, "a"), 503, "")
	require.NoError(t, d.registry.Refresh(t.Context()))
	require.Len(t, d.registry.List(), 2)
	after, _ := d.registry.Get("a")
	require.Equal(t, *before, *after)
}

// dropAuditLog makes every write of an audit entry fail.
func dropAuditLog(t *testing.T, url string) {
	t.Helper()
	db, err := sql.Open("sqlite", strings.TrimPrefix(url, "sqlite:///"))
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "DROP TABLE audit_log")
	require.NoError(t, errors.Join(err, db.Close()))
}
