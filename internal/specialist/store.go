package specialist

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/financecommander/tollgate/internal/database"
)

// DatabaseStore keeps specialists in the gateway's database.
type DatabaseStore struct{ db *database.DB }

var _ Store = (*DatabaseStore)(nil)

// NewDatabaseStore returns a store in a database whose schema is up to date.
func NewDatabaseStore(db *database.DB) *DatabaseStore { return &DatabaseStore{db: db} }

// List implements [Store]. A row whose JSON cannot be read fails the whole list:
// nothing of ours writes such a row.
func (s *DatabaseStore) List(ctx context.Context) ([]Specialist, error) {
	rows, err := s.db.ListSpecialists(ctx)
	if err != nil {
		return nil, err
	}
	return fromRows(rows)
}

// Revision implements [Store].
func (s *DatabaseStore) Revision(ctx context.Context) (string, error) {
	return s.db.SpecialistsRevision(ctx)
}

// Seed implements [Store].
func (s *DatabaseStore) Seed(ctx context.Context, defaults []Specialist) error {
	rows := make([]database.Specialist, len(defaults))
	for i := range defaults {
		var err error
		if rows[i], err = toRow(&defaults[i]); err != nil {
			return fmt.Errorf("specialist %q: %w", defaults[i].ID, err)
		}
	}
	_, err := s.db.SeedSpecialists(ctx, rows)
	return err
}

func fromRows(rows []database.Specialist) ([]Specialist, error) {
	list := make([]Specialist, len(rows))
	for i := range rows {
		var err error
		if list[i], err = fromRow(&rows[i]); err != nil {
			return nil, fmt.Errorf("specialist %q: %w", rows[i].ID, err)
		}
	}
	return list, nil
}

func fromRow(row *database.Specialist) (Specialist, error) {
	s := Specialist{
		ID: row.ID, Name: row.Name, Description: row.Description,
		Provider: row.Provider, Model: row.Model, BaseURL: row.BaseURL,
		SystemPrompt: row.SystemPrompt, Temperature: row.Temperature, MaxTokens: row.MaxTokens,
		Pinned: row.Pinned, Version: row.Version,
		CreatedAt: row.CreatedAt.UTC(), UpdatedAt: row.UpdatedAt.UTC(),
	}
	if row.InputPer1M != nil && row.OutputPer1M != nil {
		s.Pricing = &Pricing{InputPer1M: json.Number(*row.InputPer1M), OutputPer1M: json.Number(*row.OutputPer1M)}
	}
	for _, column := range []struct {
		name, text string
		into       any
	}{
		{"fallbacks", row.Fallbacks, &s.Fallbacks},
		{"aliases", row.Aliases, &s.Aliases},
		{"prompt_history", row.PromptHistory, &s.PromptHistory},
	} {
		if err := decodeColumn(column.name, column.text, column.into); err != nil {
			return Specialist{}, err
		}
	}
	return s, nil
}

func decodeColumn(name, text string, into any) error {
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("decode %s: %w", name, err)
	}
	return nil
}

func toRow(s *Specialist) (database.Specialist, error) {
	row := database.Specialist{
		ID: s.ID, Name: s.Name, Description: s.Description,
		Provider: s.Provider, Model: s.Model, BaseURL: s.BaseURL,
		SystemPrompt: s.SystemPrompt, Temperature: s.Temperature, MaxTokens: s.MaxTokens,
		Pinned: s.Pinned, Version: s.Version, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt,
	}
	if s.Pricing != nil {
		input, output := s.Pricing.InputPer1M.String(), s.Pricing.OutputPer1M.String()
		row.InputPer1M, row.OutputPer1M = &input, &output
	}
	var err error
	encode := func(list any) string {
		text, failure := json.Marshal(list)
		if failure != nil {
			err = failure
		}
		return string(text)
	}
	// Appending to an empty slice makes a nil list "[]" and not "null".
	row.Fallbacks = encode(append([]Target{}, s.Fallbacks...))
	row.Aliases = encode(append([]string{}, s.Aliases...))
	row.PromptHistory = encode(append([]PromptVersion{}, s.PromptHistory...))
	return row, err
}
