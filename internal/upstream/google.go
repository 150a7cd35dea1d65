package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/financecommander/tollgate/internal/secret"
)

const (
	googleScope = "https://www.googleapis.com/auth/cloud-platform"
	// Tokens live an hour. One is replaced this long before it ends, so that no
	// request waits for the next one.
	refreshAhead = 5 * time.Minute
	// tokenMargin is the life a token must have left to be sent.
	tokenMargin = 15 * time.Second
	// fetchTimeout bounds one attempt to get a token, and retryAfter is the
	// pause after one that failed.
	fetchTimeout = 30 * time.Second
	retryAfter   = 5 * time.Second
)

// googleTokens gives the source of tokens for a service account's key, or, where
// there is none, for the credentials that Google's own libraries would find, and
// the project the key belongs to.
func googleTokens(credentials secret.Secret, transport http.RoundTripper) (source *tokens, project string, err error) {
	if credentials.IsZero() {
		return &tokens{fetch: defaultToken}, "", nil
	}
	// The errors of these parsers may quote what they read.
	key := []byte(credentials.Reveal())
	var head struct {
		Type    string `json:"type"`
		Project string `json:"project_id"`
	}
	if json.Unmarshal(key, &head) != nil || head.Type != "service_account" {
		return nil, "", errors.New("credentials are not the JSON text of a service account's key")
	}
	config, err := google.JWTConfigFromJSON(key, googleScope)
	if err != nil {
		return nil, "", errors.New("credentials are a service account's key that cannot be read")
	}
	client := &http.Client{
		Transport: transport,
		// What is sent is as good as the key, and goes where the key says only.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &tokens{fetch: func(ctx context.Context) (*oauth2.Token, error) {
		return config.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, client)).Token()
	}}, head.Project, nil
}

// defaultToken gets a token by the application default credentials. They are
// looked for each time, an hour apart, since a file of them may be replaced.
func defaultToken(ctx context.Context) (*oauth2.Token, error) {
	credentials, err := google.FindDefaultCredentials(ctx, googleScope)
	if err != nil {
		return nil, errors.New("no application default credentials were found")
	}
	return credentials.TokenSource.Token()
}

// tokens keeps one token and gets the next one ahead of time. Of many requests
// that need one at once, one fetches and the others wait, each no longer than
// its own context lasts.
type tokens struct {
	fetch func(context.Context) (*oauth2.Token, error)

	mu      sync.Mutex // guards the fields below
	token   *oauth2.Token
	err     error     // of the last attempt
	retryAt time.Time // when the next attempt may be made, after a failure
	running *fetching // the attempt under way; nil: none
}

// fetching is one attempt to get a token. Its fields are set when done closes.
type fetching struct {
	done  chan struct{}
	token string
	err   error
}

// get gives a token that is good for now.
func (t *tokens) get(ctx context.Context) (string, error) {
	token, attempt, err := t.look(ctx)
	if attempt == nil {
		return token, err
	}
	select {
	case <-attempt.done:
		return attempt.token, attempt.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// look gives the token that is there, an attempt to wait for, or why neither is.
func (t *tokens) look(ctx context.Context) (string, *fetching, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	left := time.Duration(0)
	if t.token != nil {
		left = t.token.Expiry.Sub(now)
	}
	if left < refreshAhead && t.running == nil && !now.Before(t.retryAt) {
		t.running = &fetching{done: make(chan struct{})}
		// Not the request's own context: others wait for the token, too.
		go t.run(context.WithoutCancel(ctx), t.running)
	}
	switch {
	case left > tokenMargin:
		return t.token.AccessToken, nil, nil
	case t.running != nil:
		return "", t.running, nil
	default:
		return "", nil, t.err
	}
}

// run makes one attempt.
func (t *tokens) run(ctx context.Context, attempt *fetching) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	token, err := t.fetch(ctx)
	if err == nil {
		token, err = usable(token)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running, t.err = nil, nil
	if err != nil {
		attempt.err = tokenError(err)
		t.err, t.retryAt = attempt.err, time.Now().Add(retryAfter)
	} else {
		attempt.token, t.token = token.AccessToken, token
	}
	close(attempt.done)
}

// usable checks a token. One that does not say how long it lives is not kept
// for long.
func usable(token *oauth2.Token) (*oauth2.Token, error) {
	if token.Expiry.IsZero() {
		token.Expiry = time.Now().Add(2 * refreshAhead)
	}
	if token.AccessToken == "" || time.Until(token.Expiry) <= tokenMargin {
		return nil, errors.New("the token is empty or over")
	}
	return token, nil
}

// tokenError says why there is no token, with nothing of what was sent or
// answered but OAuth's own word for it.
func tokenError(err error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return fmt.Errorf("sign in to Google: %w", err)
	}
	code := refused.ErrorCode
	if code == "" {
		var answer struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(refused.Body, &answer)
		code = answer.Error
	}
	if code == "" || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" || len(code) > 40 {
		code = "refused"
	}
	return fmt.Errorf("sign in to Google: %s (status %d)", code, refused.Response.StatusCode)
}
