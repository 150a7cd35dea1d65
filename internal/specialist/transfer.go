package specialist

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// The limits of an import. An export of more than that is imported in parts.
const (
	maxImport   = 1000
	maxProblems = 100     // that are told
	maxVersion  = 1 << 30 // leaves room for further ones in the column
)

// Mode says what an import does with a specialist that is there already.
type Mode string

// The modes.
const (
	ModeFail      Mode = "fail"      // refuse the whole import; the default
	ModeSkip      Mode = "skip"      // leave it as it is
	ModeOverwrite Mode = "overwrite" // make it what the document says: a new version
)

// Document is what an import takes and an export gives.
type Document struct {
	Specialists []jsontext.Value `json:"specialists"`
	Mode        Mode             `json:"mode"`
	// DryRun checks everything and changes nothing.
	DryRun bool `json:"dry_run"`
}

// Imported says what an import did.
type Imported struct {
	Created  int      `json:"created"`
	Updated  int      `json:"updated"`
	Skipped  int      `json:"skipped"` // there already, or alike
	DryRun   bool     `json:"dry_run,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// item is a specialist of a document: unlike a patch it has a past.
type item struct {
	Patch
	PromptHistory []PromptVersion `json:"prompt_history"`
	CreatedAt     time.Time       `json:"created_at"`
	UpdatedAt     time.Time       `json:"updated_at"`
}

// Export gives all stored specialists by id, prompts and history included. Those
// of the configuration stay with the configuration.
func (e *Editor) Export(ctx context.Context) ([]Specialist, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	all, err := e.store.List(ctx)
	if err != nil {
		return nil, &llm.Error{
			Cause: llm.CauseUnavailable, RetryAfter: 5 * time.Second, Err: fmt.Errorf("export specialists: %w", err),
			Message: "specialists cannot be read at the moment; try again shortly",
		}
	}
	return all, nil
}

// Import takes a document in as a whole or not at all. Its error names every
// member at fault by its path in the document.
func (e *Editor) Import(ctx context.Context, by Actor, d *Document) (*Imported, error) {
	switch {
	case d.Mode != "" && d.Mode != ModeFail && d.Mode != ModeSkip && d.Mode != ModeOverwrite:
		return nil, fault("mode", "must be fail, skip or overwrite")
	case d.Specialists == nil:
		return nil, fault("specialists", "must be given")
	case len(d.Specialists) > maxImport:
		return nil, fault("specialists", "must be at most %d", maxImport)
	}
	var done *Imported
	err := e.change(ctx, func(t *tx) error {
		stored, err := t.all()
		if err != nil {
			return err
		}
		m := e.newImport(d.Mode, stored)
		for i, text := range d.Specialists {
			m.add(fmt.Sprintf("specialists[%d]", i), text)
		}
		m.checkNames()
		if len(m.problems) > 0 {
			return m.err(len(d.Specialists))
		}
		done = m.result(d.DryRun)
		if d.DryRun {
			return nil
		}
		return t.apply(by, actionImport, m.changes...)
	})
	return done, err
}

// importing is an import under way.
type importing struct {
	e        *Editor
	mode     Mode
	stored   map[string]*Specialist // by id
	names    *taken                 // of what was there before
	seen     map[string]bool        // ids of the document
	changes  []change
	paths    []string // of the changes
	skipped  int
	problems []problemAt
}

func (e *Editor) newImport(mode Mode, stored []Specialist) *importing {
	m := &importing{
		e: e, mode: mode, stored: make(map[string]*Specialist), seen: make(map[string]bool),
		names: takenBy(stored, e.registry.configured),
	}
	for i := range stored {
		m.stored[stored[i].ID] = &stored[i]
	}
	return m
}

// add takes one specialist of the document.
func (m *importing) add(path string, text jsontext.Value) {
	if err := m.take(path, text); err != nil {
		m.problem(path, err)
	}
}

func (m *importing) take(path string, text jsontext.Value) error {
	var i item
	if err := jsonv2.Unmarshal(text, &i); err != nil {
		return misfit(err)
	}
	if err := i.complete(); err != nil {
		return err
	}
	name := strings.ToLower(strings.TrimSpace(i.Name.Value))
	id := i.ID.Value
	if id == "" {
		if id = m.names.names[name]; id == "" {
			id = m.names.newID(name)
			m.names.ids[id] = id // another of the document gets another one
		}
	}
	if m.seen[id] {
		return fault("id", "must not be that of another specialist of the document")
	}
	m.seen[id] = true
	was := m.stored[id]
	_, named := m.names.names[name]
	switch {
	case m.mode == ModeSkip && (was != nil || named || m.e.registry.isConfigured(id)):
		m.skipped++
		return nil
	case m.e.registry.isConfigured(id):
		return conflict("id", "the specialist %q is defined in the gateway's configuration", id)
	case m.mode != ModeOverwrite && was != nil:
		return conflict("id", "the specialist %q exists; choose the mode skip or overwrite", id)
	}
	is, err := i.specialist(id, was)
	if err != nil {
		return err
	}
	if was != nil && same(was, &is) {
		m.skipped++
		return nil
	}
	if was == nil || is.BaseURL != was.BaseURL {
		if err := m.e.checkBaseURL(is.BaseURL); err != nil {
			return err
		}
	}
	m.changes = append(m.changes, change{was: was, is: &is})
	m.paths = append(m.paths, path)
	return nil
}

// specialist is what the item makes of a stored one, or of nothing. A new one
// keeps the past that the document tells; an existing one has its own.
func (i *item) specialist(id string, was *Specialist) (Specialist, error) {
	s := Specialist{ID: id}
	if was != nil {
		s.Pricing = was.Pricing // for its digits
		i.Pricing.Set, i.Pricing.Null = true, !i.Pricing.given()
	}
	s, err := i.apply(s)
	if err != nil {
		return s, err
	}
	if was != nil {
		if !same(was, &s) {
			s.follow(was)
		}
		return s, s.Validate()
	}
	if err := i.checkPast(); err != nil {
		return s, err
	}
	s.Version, s.PromptHistory = max(i.Version.Value, 1), i.PromptHistory
	s.CreatedAt = i.CreatedAt.UTC().Truncate(time.Microsecond)
	if s.CreatedAt.IsZero() {
		s.CreatedAt = now()
	}
	s.UpdatedAt = i.UpdatedAt.UTC().Truncate(time.Microsecond)
	if s.UpdatedAt.Before(s.CreatedAt) {
		s.UpdatedAt = s.CreatedAt
	}
	for n := range s.PromptHistory {
		s.PromptHistory[n].ChangedAt = s.PromptHistory[n].ChangedAt.UTC()
	}
	return s, s.Validate()
}

// checkPast checks what [Specialist.Validate] takes for granted, since only
// versions after versions can be reverted to.
func (i *item) checkPast() error {
	version := max(i.Version.Value, 1)
	if i.Version.given() && i.Version.Value < 1 || version > maxVersion {
		return fault("version", "must be 1 to %d", maxVersion)
	}
	if len(i.PromptHistory) > maxHistory {
		return fault("prompt_history", "must be at most %d", maxHistory)
	}
	last := 0
	for n, h := range i.PromptHistory {
		path := fmt.Sprintf("prompt_history[%d].", n)
		switch {
		case tooLong(h.Prompt, maxSystemPrompt) || strings.ContainsRune(h.Prompt, 0):
			return fault(path+"prompt", "must be at most %d characters, none of them NUL", maxSystemPrompt)
		case h.Version <= last || h.Version >= version:
			return fault(path+"version", "must come after the one before and before the specialist's own")
		}
		last = h.Version
	}
	return nil
}

// checkNames looks for names that two would have when all is done: specialists
// of one document may exchange theirs.
func (m *importing) checkNames() {
	changed := make(map[string]bool)
	for _, c := range m.changes {
		changed[c.is.ID] = true
	}
	rest := slices.Clone(m.e.registry.configured)
	for id, s := range m.stored {
		if !changed[id] {
			rest = append(rest, *s)
		}
	}
	used := takenBy(rest)
	for _, c := range m.changes {
		if c.was != nil {
			used.ids[c.is.ID] = c.is.ID
		}
	}
	for n, c := range m.changes {
		if err := used.check(c.is, c.was); err != nil {
			m.problem(m.paths[n], err)
		}
		used.add(c.is)
	}
}

// problem notes what is wrong with the specialist at a path.
func (m *importing) problem(path string, err error) {
	known, ok := errors.AsType[*llm.Error](err)
	if !ok {
		known = &llm.Error{Cause: llm.CauseInternal, Message: "cannot be read", Err: err}
	}
	m.problems = append(m.problems, problemAt{path, known})
}

// problemAt is what is wrong with the specialist at a path of the document.
type problemAt struct {
	path string
	*llm.Error
}

// err tells of all problems at once: 409 when nothing is wrong but that there
// are such specialists already.
func (m *importing) err(items int) error {
	first := m.problems[0]
	all := &llm.Error{
		Cause: llm.CauseInvalidRequest, HTTPStatus: http.StatusConflict, Details: make(map[string]any),
		Message: fmt.Sprintf("nothing was imported, since %d of %d specialists cannot be; the first, %s: %s",
			len(m.problems), items, first.path, first.Message),
	}
	for n, p := range m.problems {
		if p.Status() != http.StatusConflict {
			all.HTTPStatus = http.StatusUnprocessableEntity
		}
		path := p.path
		if p.Param != "" {
			path += "." + p.Param
		}
		if n < maxProblems {
			all.Details[path] = p.Message
		}
	}
	return all
}

func (m *importing) result(dryRun bool) *Imported {
	done := &Imported{Skipped: m.skipped, DryRun: dryRun}
	for _, c := range m.changes {
		if c.was == nil {
			done.Created++
		} else {
			done.Updated++
		}
		for _, warning := range m.e.warnings(c.is) {
			if !slices.Contains(done.Warnings, warning) {
				done.Warnings = append(done.Warnings, warning)
			}
		}
	}
	return done
}

// misfit says which member of an item has the wrong type.
func misfit(err error) error {
	if e, ok := errors.AsType[*jsonv2.SemanticError](err); ok && e.JSONPointer != "" {
		return fault(wire.MemberPath(string(e.JSONPointer)), "has the wrong type")
	}
	return &llm.Error{Cause: llm.CauseInvalidRequest, HTTPStatus: http.StatusUnprocessableEntity, Message: "must be a specialist"}
}
