package login

import (
	"cmp"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/session"
	"github.com/financecommander/tollgate/internal/mail"
	"github.com/financecommander/tollgate/internal/seal"
	"github.com/financecommander/tollgate/internal/secret"
)

// EmailName is what log-ins by mail are called in paths and states.
const EmailName = "email"

// Codes have 40 random bits, in characters that are not taken for one another.
const (
	alphabet   = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ" // 32, so that a random byte chooses evenly
	codeLength = 8
)

const (
	// maxTyped is how often a code may be typed, right or wrong. Together with the
	// limit of mails to one address this leaves nothing to guess.
	maxTyped = 5
	// maxTried is how often it may be tried in all. Links have attempts of their
	// own, so that a stranger who types an address and guesses does not lock its
	// owner out; who has the link's state and not its code has read half a mail.
	maxTried = 10
)

// Labels of the keys that are derived from the gateway's secret.
const (
	emailStateLabel = "tollgate/login/email/v1"
	codeLabel       = "tollgate/login/code/v1"
)

// Mailer sends in the background; see [mail.Sender].
type Mailer interface {
	Queue(compose mail.Compose) error
}

// EmailOptions are what an [Email] is made of.
type EmailOptions struct {
	Store  Store           // required
	Mailer Mailer          // required
	Secret secret.Secret   // the gateway's; required
	Hasher identity.Hasher // the same as the verifier's
	// Link is where the links in mails lead: https://ai.example.com/portal/.
	Link string
	// App is what mails call the gateway; empty: "Tollgate".
	App string
	// Blocked tells of a user's hash whether an admin has blocked it: then no mail
	// is sent. nil: nobody is.
	Blocked func(ctx context.Context, userHash string) (bool, error)
	Logger  *slog.Logger // nil: silent
}

// Email signs people in with one-time codes by mail. It is safe for concurrent
// use.
type Email struct {
	o     EmailOptions
	box   *seal.Box // for the states in links
	key   []byte    // of the hashes of codes
	texts *texts
}

// NewEmail makes one. It does no I/O.
func NewEmail(o EmailOptions) (*Email, error) {
	link, err := url.Parse(o.Link)
	if err != nil || link.Scheme != "https" && link.Scheme != "http" || link.Host == "" || link.RawQuery != "" || link.Fragment != "" {
		return nil, fmt.Errorf("links in mails must lead to an address such as https://ai.example.com/portal/, not %q", o.Link)
	}
	if o.Store == nil || o.Mailer == nil {
		return nil, errors.New("codes by mail need a database and a mail server")
	}
	box, err := seal.New(o.Secret, emailStateLabel)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, []byte(o.Secret.Reveal()), nil, codeLabel, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive the key of codes: %w", err)
	}
	if o.Blocked == nil {
		o.Blocked = func(context.Context, string) (bool, error) { return false, nil }
	}
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.App = cmp.Or(o.App, "Tollgate")
	return &Email{o: o, box: box, key: key, texts: newTexts(o.App)}, nil
}

// Send has a link and a code mailed to an address. All of the work is done later,
// so that neither the answer nor its time depends on whose address it is.
func (e *Email) Send(address identity.Address) error {
	err := e.o.Mailer.Queue(func(ctx context.Context) (*mail.Message, error) { return e.compose(ctx, address) })
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// compose makes a challenge and the mail with it; none for people who are
// blocked. They have a challenge too, so that attempts at codes look the same.
func (e *Email) compose(ctx context.Context, address identity.Address) (*mail.Message, error) {
	hash := e.o.Hasher.HashEmail(address.Reveal())
	id, code := rand.Text(), newCode()
	row := rowID(EmailName, id)
	now := time.Now()
	err := e.o.Store.InsertLoginCode(ctx, database.LoginCode{
		ID: row, EmailHash: hash, CodeHash: e.codeHash(row, hash, code), CreatedAt: now, ExpiresAt: now.Add(Lifetime),
	})
	if err != nil {
		return nil, err
	}
	blocked, err := e.o.Blocked(ctx, hash)
	if err != nil || blocked {
		return nil, err
	}
	state, err := e.seal(emailState{ID: id, Address: address.Reveal()})
	if err != nil {
		return nil, err
	}
	return e.texts.message(address, e.o.Link+"?code="+code+"&state="+EmailName+":"+state, code)
}

// RedeemLink checks the code and the state of a link.
func (e *Email) RedeemLink(ctx context.Context, code, state string) (session.Person, error) {
	carried, err := e.open(strings.TrimPrefix(state, EmailName+":"))
	if err != nil {
		return session.Person{}, Failed(err)
	}
	address, ok := identity.ParseAddress(carried.Address)
	if !ok {
		return session.Person{}, Failed(errors.New("the state holds no address"))
	}
	return e.redeem(ctx, address, code, func() (*database.LoginCode, error) {
		return e.o.Store.TryLoginCode(ctx, rowID(EmailName, carried.ID), maxTried, time.Now())
	})
}

// RedeemTyped checks a code that was typed, against the newest one that was sent
// to the address.
func (e *Email) RedeemTyped(ctx context.Context, address identity.Address, code string) (session.Person, error) {
	return e.redeem(ctx, address, code, func() (*database.LoginCode, error) {
		return e.o.Store.TryNewestLoginCode(ctx, e.o.Hasher.HashEmail(address.Reveal()), maxTyped, time.Now())
	})
}

// redeem compares a code with the challenge that try gives, and uses that up.
func (e *Email) redeem(ctx context.Context, address identity.Address, typed string, try func() (*database.LoginCode, error)) (session.Person, error) {
	code, ok := readCode(typed)
	if !ok {
		return session.Person{}, Failed(errors.New("not in the form of a code"))
	}
	row, err := try()
	if err != nil {
		return session.Person{}, failedOrUnavailable(err)
	}
	if !hmac.Equal(row.CodeHash, e.codeHash(row.ID, e.o.Hasher.HashEmail(address.Reveal()), code)) {
		return session.Person{}, Failed(errors.New("another code"))
	}
	if err := e.o.Store.UseLoginCode(ctx, row.ID, time.Now()); err != nil {
		return session.Person{}, failedOrUnavailable(err)
	}
	return session.Person{Address: address, Name: address.Local(), Provider: EmailName}, nil
}

func failedOrUnavailable(err error) error {
	if errors.Is(err, database.ErrNotFound) {
		return Failed(err)
	}
	return unavailable(err)
}

// codeHash is what the database knows of a code: who reads the table cannot try
// all codes, without the key.
func (e *Email) codeHash(row, emailHash, code string) []byte {
	mac := hmac.New(sha256.New, e.key)
	mac.Write([]byte(row + "\x00" + emailHash + "\x00" + code))
	return mac.Sum(nil)
}

func newCode() string {
	random := make([]byte, codeLength)
	_, _ = rand.Read(random) // never fails
	for i, b := range random {
		random[i] = alphabet[int(b)%len(alphabet)]
	}
	return string(random)
}

// readCode reads what somebody typed: in either case, with spaces or dashes.
func readCode(typed string) (string, bool) {
	if len(typed) > 64 {
		return "", false
	}
	code := strings.ToUpper(strings.NewReplacer(" ", "", "-", "", "\t", "").Replace(typed))
	if len(code) != codeLength || strings.Trim(code, alphabet) != "" {
		return "", false
	}
	return code, true
}

// emailState is what a link carries besides the code.
type emailState struct {
	ID      string `json:"i"`
	Address string `json:"a"`
}

func (e *Email) seal(state emailState) (string, error) {
	plain, err := json.Marshal(state)
	if err != nil {
		return "", fmt.Errorf("encode state: %w", err)
	}
	return encoding.EncodeToString(e.box.Seal(plain, EmailName)), nil
}

func (e *Email) open(text string) (emailState, error) {
	return open[emailState](e.box, text, EmailName)
}
