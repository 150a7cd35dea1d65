package usage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/financecommander/tollgate/internal/database"
)

// Lister is the database, seen by who reads the log. Package database has the
// real one.
type Lister interface {
	ListUsage(ctx context.Context, filter database.UsageFilter) ([]string, error)
}

// The number of records on a page of [List].
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

// ErrBadCursor says that Filter.Before is not the Next of a page.
var ErrBadCursor = errors.New("bad cursor")

// Filter selects records; empty fields select all.
type Filter struct {
	UserHash     string
	SpecialistID string
	Model        string
	RunID        string    // rows of this pipeline run
	From, To     time.Time // From included, To not
	Before       string    // the Next of the page before this one
	Limit        int       // 0: DefaultLimit; at most MaxLimit
}

// Page is a part of the log, newest first.
type Page struct {
	Records []Record
	Next    string // Filter.Before of the page after this; empty: there is none
}

// List reads a page of the log. Records appended within the last
// [Config.ShipInterval] may be missing yet.
func List(ctx context.Context, from Lister, f Filter) (Page, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	limit = min(limit, MaxLimit)
	query := database.UsageFilter{
		UserHash: f.UserHash, SpecialistID: f.SpecialistID, Model: f.Model, RunID: f.RunID,
		From: f.From, To: f.To,
		Limit: limit + 1, // one more says whether there is a next page
	}
	if f.Before != "" {
		var err error
		if query.BeforeTime, query.BeforeID, err = parseCursor(f.Before); err != nil {
			return Page{}, err
		}
	}
	rows, err := from.ListUsage(ctx, query)
	if err != nil {
		return Page{}, err
	}
	page := Page{Records: make([]Record, min(len(rows), limit))}
	for i := range page.Records {
		if err := json.Unmarshal([]byte(rows[i]), &page.Records[i]); err != nil {
			return Page{}, fmt.Errorf("decode usage record: %w", err)
		}
	}
	if len(rows) > limit {
		page.Next = page.Records[limit-1].cursor()
	}
	return page, nil
}

// All reads the records of the log from f.Before on, page by page, so that a log
// of any length takes no more memory than one page. After an error it ends.
// f.Limit does not count.
func All(ctx context.Context, from Lister, f Filter) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		f.Limit = MaxLimit
		for {
			page, err := List(ctx, from, f)
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range page.Records {
				if !yield(&page.Records[i], nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			f.Before = page.Next
		}
	}
}

// cursor names the record's place in the log: its time in microseconds and its
// id.
func (r *Record) cursor() string {
	return strconv.FormatInt(r.Timestamp.UnixMicro(), 10) + "." + r.ID.String()
}

func parseCursor(s string) (at time.Time, id string, err error) {
	micros, id, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil || len(id) != 36 {
		return time.Time{}, "", ErrBadCursor
	}
	parsed, err := uuid.Parse(id)
	at = time.UnixMicro(n).UTC()
	if err != nil || at.Year() < 1 || at.Year() > 9999 { // times that PostgreSQL would not take
		return time.Time{}, "", ErrBadCursor
	}
	return at, parsed.String(), nil
}
