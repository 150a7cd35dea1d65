package login

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/uuid"
	"golang.org/x/oauth2"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity/session"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/seal"
	"github.com/financecommander/tollgate/internal/secret"
)

// Reserved are the names below /auth/ that no provider can have, since the portal
// has them.
var Reserved = []string{"login", "refresh", "me", "verify", "logout", "tokens", "users", "providers", EmailName}

var slug = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

const oidcStateLabel = "tollgate/login/oidc/v1"

// defaultEmailClaim is the claim that email_verified speaks of (OpenID Connect
// Core 1.0, 5.1).
const defaultEmailClaim = "email"

// RoleRule gives a role to those whose claim (a dotted path) is, or contains, a
// value.
type RoleRule struct{ Role, Claim, Value string }

// OIDCOptions say how to sign in with one provider.
type OIDCOptions struct {
	// Name in paths and states: lower-case letters, digits and dashes.
	Name string
	// Issuer is the provider's, exactly as its tokens and its discovery document
	// state it: https, or http on this machine.
	Issuer       string
	ClientID     string
	ClientSecret secret.Secret // empty: a public client
	// RedirectURL is where the provider sends people back to:
	// https://ai.example.com/portal/. It must be registered there.
	RedirectURL string
	Scopes      []string // none: openid email profile
	// EmailClaim is the claim with the address; empty: email. Any other needs
	// TrustEmail, as email_verified does not speak of it.
	EmailClaim string
	// TrustEmail believes addresses of which the provider does not say whether they
	// were verified. One that says they were not is never believed.
	TrustEmail bool
	Roles      []RoleRule

	Store  Store         // required
	Secret secret.Secret // the gateway's; required
	// Transport is for tests; nil: the network, by the proxy of the environment.
	Transport http.RoundTripper
	Logger    *slog.Logger // nil: silent
}

// OIDC signs people in with an OpenID Connect provider, by the authorization code
// flow with PKCE. It is safe for concurrent use.
type OIDC struct {
	o         OIDCOptions
	box       *seal.Box
	client    *http.Client
	discovery discovery
}

// NewOIDC makes one. It does no I/O: the provider is asked when somebody signs in.
func NewOIDC(o OIDCOptions) (*OIDC, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("OpenID Connect provider %q: %w", o.Name, err)
	}
	o.EmailClaim = cmp.Or(o.EmailClaim, defaultEmailClaim)
	if len(o.Scopes) == 0 {
		o.Scopes = []string{oidc.ScopeOpenID, oidc.ScopeEmail, oidc.ScopeProfile}
	}
	if !slices.Contains(o.Scopes, oidc.ScopeOpenID) {
		o.Scopes = append([]string{oidc.ScopeOpenID}, o.Scopes...)
	}
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler)).With(slog.String("provider", o.Name))
	box, err := seal.New(o.Secret, oidcStateLabel)
	if err != nil {
		return nil, err
	}
	client := newClient(o.Transport)
	return &OIDC{o: o, box: box, client: client, discovery: discovery{issuer: o.Issuer, client: client}}, nil
}

func (o *OIDCOptions) check() error {
	issuer, err := url.Parse(o.Issuer)
	if err != nil || !secure(issuer) || issuer.RawQuery != "" || issuer.Fragment != "" {
		return errors.New("the issuer must be https:// (or http:// on this machine), such as https://accounts.google.com")
	}
	if issuer.Host == entraHost && !namesTenant(issuer) {
		return errors.New("the issuer must name one tenant by its id: https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0")
	}
	redirect, err := url.Parse(o.RedirectURL)
	if err != nil || redirect.Scheme != "https" && redirect.Scheme != "http" || redirect.Host == "" || redirect.Fragment != "" {
		return errors.New("people must be sent back to an address such as https://ai.example.com/portal/")
	}
	switch {
	case !slug.MatchString(o.Name):
		return errors.New("a name has lower-case letters, digits and dashes, at most 32")
	case slices.Contains(Reserved, o.Name):
		return fmt.Errorf("the name is taken; also taken: %s", strings.Join(Reserved, ", "))
	case o.ClientID == "":
		return errors.New("the client id is missing")
	case o.EmailClaim != "" && o.EmailClaim != defaultEmailClaim && !o.TrustEmail:
		return fmt.Errorf("the provider vouches for the claim email only; to take addresses from %q, say that you trust it (trust_email)", o.EmailClaim)
	case o.Store == nil:
		return errors.New("a database is missing")
	}
	for _, rule := range o.Roles {
		if rule.Role == "" || rule.Claim == "" || rule.Value == "" {
			return errors.New("a rule for roles needs a role, a claim and a value")
		}
	}
	return nil
}

// entraHost is that of Microsoft Entra ID.
const entraHost = "login.microsoftonline.com"

// namesTenant tells whether an address of Entra ID is that of one tenant. Its
// addresses without one (common, organizations), and those with a tenant's domain,
// state the issuer of some id, so that nobody could sign in there.
func namesTenant(issuer *url.URL) bool {
	tenant, _, _ := strings.Cut(strings.TrimPrefix(issuer.Path, "/"), "/")
	return len(tenant) == len(uuid.Nil.String()) && uuid.Validate(tenant) == nil
}

// Name is what the provider is called in paths and states.
func (p *OIDC) Name() string { return p.o.Name }

// Secure tells whether people come back by https.
func (p *OIDC) Secure() bool { return strings.HasPrefix(p.o.RedirectURL, "https://") }

// oidcState is what must be remembered of a visit to the provider. It travels with
// the browser, encrypted.
type oidcState struct {
	Nonce    string `json:"n"` // random; also the id by which the state is used once
	Verifier string `json:"v"` // of PKCE (RFC 7636)
	Expires  int64  `json:"e"` // Unix time
	Browser  []byte `json:"b"` // hash of the browser's cookie
}

// Begin gives the address at the provider where somebody signs in. browser is a
// secret that the browser keeps until it comes back.
func (p *OIDC) Begin(ctx context.Context, browser string) (authURL string, err error) {
	found, err := p.discovery.get(ctx)
	if err != nil {
		return "", p.down(err)
	}
	s := oidcState{
		Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(),
		Expires: time.Now().Add(Lifetime).Unix(), Browser: browserHash(browser),
	}
	plain, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode state: %w", err)
	}
	state := p.o.Name + ":" + encoding.EncodeToString(p.box.Seal(plain, p.o.Name))
	return p.config(found).AuthCodeURL(state, oidc.Nonce(s.Nonce), oauth2.S256ChallengeOption(s.Verifier)), nil
}

// Finish ends what Begin began: with the code that the provider gave the browser,
// and the state that came back with it. bound says whether the browser must be the
// one that began.
func (p *OIDC) Finish(ctx context.Context, code, state, browser string, bound bool) (session.Person, error) {
	s, err := open[oidcState](p.box, strings.TrimPrefix(state, p.o.Name+":"), p.o.Name)
	if err != nil {
		return session.Person{}, &llm.Error{
			Cause: llm.CauseInvalidRequest, HTTPStatus: http.StatusUnprocessableEntity, Param: "state", Err: err,
			Message: "state is not from a sign-in with " + p.o.Name + " that began here; start again",
		}
	}
	if time.Now().Unix() >= s.Expires {
		return session.Person{}, p.refuse("this sign-in took longer than 10 minutes; start again", errors.New("the state has expired"))
	}
	if bound && subtle.ConstantTimeCompare(s.Browser, browserHash(browser)) != 1 {
		return session.Person{}, p.refuse("this sign-in was begun in another browser; start again in this one", errors.New("another browser"))
	}
	found, err := p.discovery.get(ctx)
	if err != nil {
		return session.Person{}, p.down(err)
	}
	if err := p.use(ctx, s); err != nil {
		return session.Person{}, err
	}
	claims, err := p.claims(ctx, found, code, s)
	if err != nil {
		return session.Person{}, err
	}
	return p.person(claims)
}

// use makes a state good once, on all replicas.
func (p *OIDC) use(ctx context.Context, s oidcState) error {
	now, expires := time.Now(), time.Unix(s.Expires, 0)
	err := p.o.Store.InsertLoginCode(ctx, database.LoginCode{
		ID: rowID(p.o.Name, s.Nonce), CodeHash: []byte{}, CreatedAt: now, ExpiresAt: expires, UsedAt: &now,
	})
	switch {
	case database.IsUnique(err):
		return p.refuse("this sign-in was finished already; start again", errors.New("the state was used"))
	case err != nil:
		return unavailable(err)
	}
	return nil
}

func (p *OIDC) config(found *found) *oauth2.Config {
	endpoint := found.provider.Endpoint()
	endpoint.AuthStyle = found.authStyle
	if p.o.ClientSecret.IsZero() {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: p.o.ClientID, ClientSecret: p.o.ClientSecret.Reveal(),
		Endpoint: endpoint, RedirectURL: p.o.RedirectURL, Scopes: p.o.Scopes,
	}
}

// refuse tells somebody that they are not let in. The operator sees the same in
// the log.
func (p *OIDC) refuse(message string, err error) error {
	p.o.Logger.Info("log-in refused", slog.String("because", err.Error()))
	return &llm.Error{Cause: llm.CauseForbidden, Message: message, Err: err}
}

// down says that the provider does not answer.
func (p *OIDC) down(err error) error {
	return &llm.Error{
		Cause: llm.CauseUnavailable, Err: err, RetryAfter: retryAfter,
		Message: "signing in with " + p.o.Name + " is not possible right now: it does not answer as it should; try again in a minute",
	}
}

// invalid says that the provider answers what it should not.
func (p *OIDC) invalid(err error) error {
	return &llm.Error{
		Cause: llm.CauseUpstreamInvalid, Err: err,
		Message: "the answer of " + p.o.Name + " could not be verified; start again, and tell your operator if it stays so",
	}
}

func browserHash(browser string) []byte {
	sum := sha256.Sum256([]byte(browser))
	return sum[:]
}
