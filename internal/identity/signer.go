package identity

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/financecommander/tollgate/internal/secret"
)

// DefaultLifetime is how long a token of ours is good for when nobody says:
// a working day. The frontend's streams do not refresh, and a shorter one would
// gain nothing, since tokens can be withdrawn at once.
const DefaultLifetime = 8 * time.Hour

// Claims says what a new token shall state.
type Claims struct {
	Subject     string        // required
	Email       string        // optional
	Name        string        // optional
	Roles       []string      // optional
	Specialists []string      // what the token is good for; none: everything. See [Principal.MayUse]
	Lifetime    time.Duration // 0: [DefaultLifetime]

	ID      string // "jti"; empty: a random one
	Kind    Kind   // "kind"
	Session string // "sid": the log-in it came from
	Rate    string // "rate": the token's own request limit, "100/h"

	UserRate string // "user_rate": see [Principal.UserRate]
}

// Signer issues the gateway's own tokens, HS256 with one secret. A [Verifier]
// with an [Issuer] of the same secret, issuer and audience accepts them.
type Signer struct {
	key      []byte
	issuer   string
	audience []string
}

// NewSigner makes a signer. It refuses a secret under 32 bytes. The issuer
// becomes "iss", the audience "aud" (left out when there is none).
func NewSigner(key secret.Secret, issuer string, audience ...string) (*Signer, error) {
	if err := checkSecret(key); err != nil {
		return nil, err
	}
	return &Signer{key: []byte(key.Reveal()), issuer: issuer, audience: audience}, nil
}

// Mint issues a token that is good from now on, with a random id ("jti").
func (s *Signer) Mint(c Claims) (string, error) {
	if strings.TrimSpace(c.Subject) == "" {
		return "", errors.New("a token needs a subject")
	}
	if c.Lifetime < 0 {
		return "", fmt.Errorf("a token cannot live for %v", c.Lifetime)
	}
	now := time.Now()
	claims := jwt.MapClaims{
		"sub": c.Subject,
		"iat": jwt.NewNumericDate(now),
		"nbf": jwt.NewNumericDate(now),
		"exp": jwt.NewNumericDate(now.Add(cmp.Or(c.Lifetime, DefaultLifetime))),
		"jti": cmp.Or(c.ID, rand.Text()),
	}
	set(claims, "iss", s.issuer)
	set(claims, "email", strings.TrimSpace(c.Email))
	set(claims, "name", c.Name)
	set(claims, "kind", string(c.Kind))
	set(claims, "sid", c.Session)
	set(claims, "rate", c.Rate)
	set(claims, "user_rate", c.UserRate)
	setList(claims, "aud", s.audience)
	setList(claims, "roles", c.Roles)
	setList(claims, "specialists", c.Specialists)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(s.key)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}

func set(claims jwt.MapClaims, name, value string) {
	if value != "" {
		claims[name] = value
	}
}

func setList(claims jwt.MapClaims, name string, values []string) {
	if len(values) > 0 {
		claims[name] = values
	}
}
