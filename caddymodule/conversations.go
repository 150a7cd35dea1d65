package caddymodule

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/financecommander/tollgate/internal/conversation"
	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/secret"
)

// openConversations opens what keeps the portal's conversations. It is pooled, as
// a stream may belong to one configuration and the page that reads it to the next.
func (e *engine) openConversations(caddy.Context) error {
	key, err := e.app.contentSecret()
	if err != nil {
		return err
	}
	url, err := e.databaseURL()
	if err != nil {
		return err
	}
	set, db, logger := e.app.Conversations, e.db, e.logger
	fingerprint := sha256.Sum256([]byte(key.Reveal()))
	e.conversations, err = hold(e, fmt.Sprintf("conversations %s %v %v %s", url, set.Off, set.MaxAge, hex.EncodeToString(fingerprint[:])),
		func() (*conversation.Service, error) {
			return conversation.New(conversation.Options{
				Store: db, Secret: key, Off: set.Off, MaxAge: time.Duration(set.MaxAge), Logger: logger,
			})
		},
		func(s *conversation.Service) error {
			s.Stop()
			return nil
		})
	if err != nil {
		return fmt.Errorf("conversations: %w", err)
	}
	return nil
}

// contentSecret is CONTENT_SECRET, or the secret of the gateway's tokens.
func (a *App) contentSecret() (secret.Secret, error) {
	text, err := resolveSecret("content_secret", a.ContentSecret)
	switch {
	case err != nil:
		return secret.Secret{}, err
	case text == "":
		return a.ownSecret()
	case len(text) < minContentSecret:
		return secret.Secret{}, fmt.Errorf("content_secret has %d bytes; it needs at least %d", len(text), minContentSecret)
	}
	return secret.New(text), nil
}

const minContentSecret = 32

// answers is who follows the answers to the portal's questions; nil: nobody.
func (e *engine) answers() gateway.Answers {
	if !e.conversations.On() {
		return nil
	}
	return e.conversations
}
