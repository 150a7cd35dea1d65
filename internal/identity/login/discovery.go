package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	// discoveryAge is how long what a provider says of itself is used before it is
	// asked again; while it does not answer, the last is.
	discoveryAge = time.Hour
	// discoveryPause comes after a failure, so that a provider that is down costs
	// one caller in a while the wait.
	discoveryPause = 5 * time.Second
	// requestTimeout bounds each request to a provider.
	requestTimeout = 10 * time.Second
	// maxAnswer bounds each of its answers.
	maxAnswer = 1 << 20
)

// discovery keeps what a provider says of itself (OpenID Connect Discovery 1.0).
type discovery struct {
	issuer string
	client *http.Client

	mu      sync.Mutex // guards what follows
	found   *found     // nil: never
	at      time.Time  // when it was found
	tried   time.Time  // when the last attempt ended
	err     error      // how it ended
	running chan struct{}
}

type found struct {
	provider  *oidc.Provider
	authStyle oauth2.AuthStyle
}

// get gives what is known, and asks when that is old or nothing. One asks for all
// who wait.
func (d *discovery) get(ctx context.Context) (*found, error) {
	for {
		d.mu.Lock()
		now := time.Now()
		if d.found != nil && now.Sub(d.at) < discoveryAge {
			defer d.mu.Unlock()
			return d.found, nil
		}
		if d.err != nil && now.Sub(d.tried) < discoveryPause {
			defer d.mu.Unlock()
			return d.last()
		}
		if d.running == nil {
			d.running = make(chan struct{})
			d.mu.Unlock()
			d.ask(ctx)
			continue
		}
		running := d.running
		d.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// last is what there is after a failure. The caller holds the mutex.
func (d *discovery) last() (*found, error) {
	if d.found != nil {
		return d.found, nil
	}
	return nil, d.err
}

// ask asks the provider, to the end even if this caller leaves.
func (d *discovery) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	found, err := d.fetch(ctx)

	d.mu.Lock()
	defer d.mu.Unlock()
	d.tried, d.err = time.Now(), err
	if err == nil {
		d.found, d.at = found, d.tried
	}
	close(d.running)
	d.running = nil
}

func (d *discovery) fetch(ctx context.Context) (*found, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, d.client), d.issuer)
	if err != nil {
		return nil, discoveryError(err)
	}
	var says struct {
		Authorization string   `json:"authorization_endpoint"`
		Token         string   `json:"token_endpoint"`
		Keys          string   `json:"jwks_uri"`
		Methods       []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := provider.Claims(&says); err != nil {
		return nil, fmt.Errorf("read the provider's metadata: %w", err)
	}
	for _, endpoint := range []string{says.Authorization, says.Token, says.Keys} {
		if u, err := url.Parse(endpoint); err != nil || !secure(u) {
			return nil, errors.New("an endpoint of the provider is not https://")
		}
	}
	// Without a list it is the header (OpenID Connect Discovery 1.0, 3). The library
	// would try both, and with the first use up the code.
	style := oauth2.AuthStyleInHeader
	if len(says.Methods) > 0 && !slices.Contains(says.Methods, "client_secret_basic") {
		style = oauth2.AuthStyleInParams
	}
	return &found{provider, style}, nil
}

// discoveryError leaves out what a server sent that may be none of a provider: the
// library repeats it whole.
func discoveryError(err error) error {
	if mismatch, ok := errors.AsType[*oidc.IssuerMismatchError](err); ok {
		return fmt.Errorf("the provider's discovery document is of the issuer %.200q; configure exactly that, if it is right", mismatch.Discovered)
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("fetch the provider's discovery document: %w", failed)
	}
	return errors.New("the provider's discovery document is missing or not in its form")
}

// newClient makes a client for what an operator configured, and for what that
// leads to: encrypted, bounded, without redirects.
func newClient(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DisableKeepAlives:      true, // minutes pass between two log-ins
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	return &http.Client{
		Transport:     guarded{transport},
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// guarded refuses what is not encrypted, and answers that are too large.
type guarded struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if !secure(r.URL) {
		return nil, errors.New("the address is not https://")
	}
	response, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = &bounded{ReadCloser: response.Body, left: maxAnswer}
	return response, nil
}

// bounded is a body that ends in an error where it becomes too large.
type bounded struct {
	io.ReadCloser
	left int
}

// Read implements [io.Reader].
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errors.New("the answer is too large")
	}
	return n, err
}

// secure tells whether an address is encrypted, or on this machine.
func secure(u *url.URL) bool {
	local := u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
	return u.Host != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http" && local)
}
