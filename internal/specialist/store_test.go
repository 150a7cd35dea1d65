package specialist

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/testenv"
)

func TestRowsKeepEveryField(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC)
	full := valid()
	full.BaseURL, full.Pinned, full.Version = "https://llm.example.com/v1", true, 3
	full.Pricing = &Pricing{InputPer1M: "2.50", OutputPer1M: "10"}
	full.Fallbacks, full.Aliases = []Target{{"openai", "gpt-4o"}}, []string{"gpt-4"}
	full.PromptHistory = []PromptVersion{{Prompt: "Before.", Version: 2, ChangedAt: at}}
	full.CreatedAt, full.UpdatedAt = at, at.Add(time.Hour)

	row, err := toRow(&full)
	require.NoError(t, err)
	back, err := fromRow(&row)
	require.NoError(t, err)
	require.Equal(t, full, back)

	bare := valid()
	row, err = toRow(&bare)
	require.NoError(t, err)
	require.Equal(t, "[]", row.Fallbacks)
	require.Equal(t, "[]", row.Aliases)
	require.Equal(t, "[]", row.PromptHistory)

	row.Aliases = "["
	_, err = fromRow(&row)
	require.ErrorContains(t, err, "decode aliases")
}

func TestDatabaseStore(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:///" + filepath.Join(t.TempDir(), "test.db") },
		"postgres": func(t *testing.T) string { return testenv.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := database.Open(url(t), database.Options{})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			_, err = db.Migrate(t.Context())
			require.NoError(t, err)

			r := newRegistry(t, Options{Store: NewDatabaseStore(db)})
			require.NoError(t, r.Refresh(t.Context()))
			require.Empty(t, r.List())
			require.NoError(t, r.Seed(t.Context()))
			require.NoError(t, r.Seed(t.Context()), "asked again, it does nothing")
			require.NoError(t, r.Refresh(t.Context()))

			require.Len(t, r.List(), len(Defaults()))
			for _, want := range Defaults() {
				got, ok := r.Get(want.ID)
				require.True(t, ok)
				require.Equal(t, time.UTC, got.CreatedAt.Location())
				require.WithinDuration(t, time.Now(), got.CreatedAt, time.Minute)
				want.CreatedAt, want.UpdatedAt = got.CreatedAt, got.UpdatedAt
				want.Aliases, want.PromptHistory = got.Aliases, got.PromptHistory // empty, not nil
				require.Equal(t, want, *got)
			}
		})
	}
}
