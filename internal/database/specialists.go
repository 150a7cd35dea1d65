package database

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Specialist is a row of the table specialists.
type Specialist struct {
	ID            string `gorm:"primaryKey"`
	Name          string
	Description   string
	Provider      string
	Model         string
	BaseURL       string // empty: the provider's own
	SystemPrompt  string
	Temperature   *float64 // nil: the provider's default
	MaxTokens     int64    // 0: no cap
	Pinned        bool
	InputPer1M    *string   `gorm:"column:input_per_1m"`  // USD, an exact decimal; nil: the price table's
	OutputPer1M   *string   `gorm:"column:output_per_1m"` // likewise
	Fallbacks     string    // JSON array
	Aliases       string    // JSON array
	PromptHistory string    // JSON array
	Version       int       // counts the changes, from 1
	CreatedAt     time.Time `gorm:"autoCreateTime:false"`
	UpdatedAt     time.Time `gorm:"autoUpdateTime:false"`
}

// seed is a row of the table seeds.
type seed struct {
	Name     string `gorm:"primaryKey"`
	SeededAt time.Time
}

// ListSpecialists gives all specialists by id.
func (db *DB) ListSpecialists(ctx context.Context) ([]Specialist, error) {
	var all []Specialist
	if err := db.gorm.WithContext(ctx).Order("id").Find(&all).Error; err != nil {
		return nil, fmt.Errorf("list specialists: %w", err)
	}
	return all, nil
}

// Specialist gives one specialist; [ErrNotFound] when there is none of that id.
func (db *DB) Specialist(ctx context.Context, id string) (*Specialist, error) {
	return takeSpecialist(db.gorm.WithContext(ctx), id)
}

func takeSpecialist(tx *gorm.DB, id string) (*Specialist, error) {
	var s Specialist
	err := tx.Where("id = ?", id).Take(&s).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, fmt.Errorf("specialist %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read specialist %q: %w", id, err)
	}
	return &s, nil
}

// SpecialistsRevision is a text that changes whenever a specialist is added,
// changed or deleted, at the price of one small query. Beside the number that our
// own writes raise it looks at the rows, for the sake of operators who edit the
// table by hand.
func (db *DB) SpecialistsRevision(ctx context.Context) (string, error) {
	var revision struct {
		Revision, Count, Versions int64
		Latest                    string
	}
	err := db.gorm.WithContext(ctx).Model(&Specialist{}).
		Select("(SELECT coalesce(max(revision), 0) FROM specialists_revision) AS revision, count(*) AS count, " +
			"coalesce(sum(version), 0) AS versions, coalesce(CAST(max(updated_at) AS text), '') AS latest").
		Scan(&revision).Error
	if err != nil {
		return "", fmt.Errorf("look for changed specialists: %w", err)
	}
	return fmt.Sprintf("%d/%d/%d/%s", revision.Revision, revision.Count, revision.Versions, revision.Latest), nil
}

// SeedSpecialists inserts the given specialists into a table that is empty and
// has never been seeded, and says whether it did. It remembers that it was
// asked: what an admin deletes later stays deleted.
func (db *DB) SeedSpecialists(ctx context.Context, defaults []Specialist) (seeded bool, err error) {
	err = db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		mark := seed{Name: "specialists", SeededAt: tx.NowFunc()}
		result := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&mark)
		if result.Error != nil || result.RowsAffected == 0 {
			return result.Error
		}
		var count int64
		if err := tx.Model(&Specialist{}).Count(&count).Error; err != nil || count > 0 || len(defaults) == 0 {
			return err
		}
		if err := raiseRevision(tx, "specialists"); err != nil {
			return err
		}
		seeded = true
		return tx.Create(withTimes(defaults, mark.SeededAt)).Error
	})
	if err != nil {
		return false, fmt.Errorf("seed specialists: %w", err)
	}
	return seeded, nil
}

// withTimes copies the specialists and dates those that have no date.
func withTimes(specialists []Specialist, now time.Time) []Specialist {
	dated := make([]Specialist, len(specialists))
	for i, s := range specialists {
		if s.CreatedAt.IsZero() {
			s.CreatedAt = now
		}
		if s.UpdatedAt.IsZero() {
			s.UpdatedAt = s.CreatedAt
		}
		dated[i] = s
	}
	return dated
}
