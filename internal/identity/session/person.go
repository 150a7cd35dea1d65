package session

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"unicode"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
)

// Person is who signed in, as the provider of the sign-in says.
type Person struct {
	Address  identity.Address
	Name     string
	Avatar   string // address of a picture; "": none
	Provider string // "email", or the name of an OpenID Connect provider
	Roles    []string
}

// Bounds of what a provider may say of a person, all of which is in every token.
const (
	maxName   = 100
	maxAvatar = 2048
	maxPerson = 64 << 10 // of what is stored, far above what the others allow
)

// storedPerson is what a log-in keeps of a person, before it is encrypted.
type storedPerson struct {
	Address string   `json:"address"`
	Name    string   `json:"name"`
	Avatar  string   `json:"avatar,omitempty"`
	Roles   []string `json:"roles,omitempty"`
}

// tidy bounds a person's texts and leaves out what should not reach a browser.
func (p Person) tidy() Person {
	p.Name = strings.Join(strings.FieldsFunc(p.Name, func(r rune) bool { return unicode.IsControl(r) || r == '�' }), " ")
	if runes := []rune(p.Name); len(runes) > maxName {
		p.Name = string(runes[:maxName])
	}
	if len(p.Avatar) > maxAvatar || !strings.HasPrefix(p.Avatar, "https://") {
		p.Avatar = ""
	}
	return p
}

// place is what a stored person is bound to, so that it opens in its own row
// only.
func place(user, session string) string { return user + "\x00" + session }

func (m *Manager) sealPerson(p Person, user, session string) ([]byte, error) {
	plain, err := json.Marshal(storedPerson{Address: p.Address.Reveal(), Name: p.Name, Avatar: p.Avatar, Roles: p.Roles})
	if err != nil {
		return nil, err
	}
	return m.people.Seal(plain, place(user, session)), nil
}

func (m *Manager) openPerson(row *database.LoginSession) (Person, bool) {
	plain, ok := m.people.Open(row.Person, place(row.UserHash, row.ID), maxPerson)
	if !ok {
		return Person{}, false
	}
	var kept storedPerson
	if json.Unmarshal(plain, &kept) != nil {
		return Person{}, false
	}
	address, ok := identity.ParseAddress(kept.Address)
	if !ok {
		return Person{}, false
	}
	return Person{Address: address, Name: kept.Name, Avatar: kept.Avatar, Provider: row.Provider, Roles: kept.Roles}, true
}

// Person gives who signed in, for showing it to that person; false when the
// token did not come from a log-in here, or the database cannot say.
func (m *Manager) Person(ctx context.Context, p *identity.Principal) (Person, bool) {
	if p.Session == "" {
		return Person{}, false
	}
	row, _, err := m.o.Store.Session(ctx, p.Session)
	if err != nil {
		if !errors.Is(err, database.ErrNotFound) {
			m.o.Logger.LogAttrs(ctx, slog.LevelWarn, "a log-in could not be read; its user is shown without a picture", slog.Any("error", err))
		}
		return Person{}, false
	}
	if row.UserHash != p.UserHash {
		return Person{}, false
	}
	return m.openPerson(row)
}
