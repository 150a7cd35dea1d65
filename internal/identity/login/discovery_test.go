package login

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/secret"
)

func newRecorder(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)),
	}
}

// A provider that answers what it should not costs a log-in, and nothing else.
func TestProvidersThatMisbehave(t *testing.T) {
	t.Parallel()
	at := func(path string, answer func(w http.ResponseWriter)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != path {
				return false
			}
			answer(w)
			return true
		}
	}
	status := func(code int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		}
	}
	huge := func(w http.ResponseWriter) {
		_, _ = io.WriteString(w, `{"access_token":"`)
		_, _ = w.Write(bytes.Repeat([]byte("a"), 2*maxAnswer))
	}
	away := func(w http.ResponseWriter) {
		w.Header().Set("Location", "https://evil.example/")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
	const metadata = "/.well-known/openid-configuration"
	for name, tc := range map[string]struct {
		intercept func(http.ResponseWriter, *http.Request) bool
		status    int
	}{
		"metadata, 500":      {at(metadata, status(500, "alice@example.org")), 503},
		"metadata, no JSON":  {at(metadata, status(200, "<html>")), 503},
		"metadata, huge":     {at(metadata, huge), 503},
		"metadata, redirect": {at(metadata, away), 503},
		"keys, 500":          {at("/keys", status(500, "")), 502},
		"keys, huge":         {at("/keys", huge), 502},
		"token, 500":         {at("/token", status(500, "alice@example.org")), 503},
		"token, 503":         {at("/token", status(503, `{"error":"temporarily_unavailable"}`)), 503},
		"token, no JSON":     {at("/token", status(200, "<html>")), 503},
		"token, empty":       {at("/token", status(200, "{}")), 503},
		"token, huge":        {at("/token", huge), 503},
		"token, redirect":    {at("/token", away), 502},
		"token, no id_token": {at("/token", status(200, `{"access_token":"x","token_type":"Bearer"}`)), 502},
		"token, 400":         {at("/token", status(400, `{"error":"redirect_uri_mismatch","error_description":"alice@example.org"}`)), 502},
		"userinfo, 500":      {at("/userinfo", status(500, "alice@example.org")), 503},
		"userinfo, no JSON":  {at("/userinfo", status(200, "alice@example.org")), 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			i.intercept, i.userInfo, i.claims["email"] = tc.intercept, map[string]any{}, nil
			p, log := newOIDC(t, i, nil)
			authURL, err := p.Begin(t.Context(), "browser")
			if err == nil {
				code, state := i.authorize(authURL)
				_, err = p.Finish(t.Context(), code, state, "browser", true)
			}
			requireStatus(t, err, tc.status, "google", name)
			require.NotContains(t, err.Error(), "alice@example.org")
			require.NotContains(t, log.text.String(), "alice@example.org")
		})
	}

	i := newIssuer(t)
	p, log := newOIDC(t, i, func(o *OIDCOptions) { o.ClientSecret = secret.New("hunter2") })
	_, err := visit(t, p, i)
	requireStatus(t, err, 502, "does not accept this gateway", "a wrong client secret")
	require.NotContains(t, err.Error()+log.text.String(), "hunter2")
	i.Close()
	_, err = visit(t, p, i) // its metadata is known
	requireStatus(t, err, 503, "google", "gone")
}

func TestMetadataIsChecked(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]map[string]any{
		"another issuer":        {"issuer": "https://evil.example"},
		"authorization by http": {"authorization_endpoint": "http://evil.example/authorize"},
		"a script":              {"authorization_endpoint": "javascript:alert(1)"},
		"token by http":         {"token_endpoint": "http://evil.example/token"},
		"keys by http":          {"jwks_uri": "http://evil.example/keys"},
		"no keys":               {"jwks_uri": ""},
		"a password":            {"token_endpoint": "https://user:hunter2@evil.example/token"},
	} {
		i := newIssuer(t)
		maps.Copy(i.metadata, change)
		p, _ := newOIDC(t, i, nil)
		_, err := p.Begin(t.Context(), "browser")
		requireStatus(t, err, 503, "google", name)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

// The secret goes the way the provider wants, and only that way: a second try
// would find the code used up.
func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		methods []string
		basic   bool
	}{
		"nothing said": {nil, true}, "both": {[]string{"client_secret_post", "client_secret_basic"}, true}, "post": {[]string{"client_secret_post"}, false},
	} {
		i := newIssuer(t)
		if tc.methods != nil {
			i.metadata["token_endpoint_auth_methods_supported"] = tc.methods
		}
		p, _ := newOIDC(t, i, nil)
		_, err := visit(t, p, i)
		require.NoError(t, err, name)
		require.Equal(t, tc.basic, i.basic, name)
	}
}

// scripted answers each request for metadata by what it says at the time.
type scripted struct {
	asked  atomic.Int64
	mu     sync.Mutex
	answer func(*http.Request) (*http.Response, error)
}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked.Add(1)
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	return answer(r)
}

func (s *scripted) set(answer func(*http.Request) (*http.Response, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func TestDiscoveryIsSharedAndRefreshed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }
		up := static{}.RoundTrip
		hangs := func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }
		s := &scripted{answer: down}
		d := discovery{issuer: "https://issuer.test", client: newClient(s)}
		get := func() error { _, err := d.get(context.Background()); return err }

		for range 10 {
			require.Error(t, get())
		}
		require.EqualValues(t, 1, s.asked.Load(), "a provider that is down is not asked by all")
		s.set(up)
		require.Error(t, get())
		time.Sleep(discoveryPause)
		for range 10 {
			require.NoError(t, get())
		}
		require.EqualValues(t, 2, s.asked.Load())

		s.set(hangs)
		time.Sleep(discoveryAge)
		begin := time.Now()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { require.NoError(t, get()) })
		}
		gone, leave := context.WithCancel(t.Context())
		synctest.Wait()
		leave()
		_, err := d.get(gone)
		require.ErrorIs(t, err, context.Canceled, "nobody has to wait")
		wg.Wait()
		require.Equal(t, requestTimeout, time.Since(begin))
		require.EqualValues(t, 3, s.asked.Load(), "one asks for all, and what is known goes on")
		s.set(up)
		time.Sleep(discoveryPause)
		require.NoError(t, get())
		require.NoError(t, get())
		require.EqualValues(t, 4, s.asked.Load())
	})
}

func TestOIDCOptions(t *testing.T) {
	t.Parallel()
	good := OIDCOptions{
		Name: "corp-1", Issuer: "https://issuer.test/tenant/v2.0", ClientID: "x", RedirectURL: redirectURL, Store: broken{}, Secret: testSecret,
	}
	p, err := NewOIDC(good)
	require.NoError(t, err)
	require.Equal(t, "corp-1", p.Name())
	require.True(t, p.Secure())
	for name, edit := range map[string]func(*OIDCOptions){
		"no name":              func(o *OIDCOptions) { o.Name = "" },
		"a name in capitals":   func(o *OIDCOptions) { o.Name = "Google" },
		"a name with a slash":  func(o *OIDCOptions) { o.Name = "a/b" },
		"a name with a colon":  func(o *OIDCOptions) { o.Name = "a:b" },
		"a long name":          func(o *OIDCOptions) { o.Name = strings.Repeat("a", 33) },
		"no issuer":            func(o *OIDCOptions) { o.Issuer = "" },
		"an issuer by http":    func(o *OIDCOptions) { o.Issuer = "http://issuer.test" },
		"an issuer and a name": func(o *OIDCOptions) { o.Issuer = "https://user:pass@issuer.test" },
		"no client":            func(o *OIDCOptions) { o.ClientID = "" },
		"no way back":          func(o *OIDCOptions) { o.RedirectURL = "/portal/" },
		"a way to a script":    func(o *OIDCOptions) { o.RedirectURL = "javascript://x/" },
		"another claim":        func(o *OIDCOptions) { o.EmailClaim = "upn" },
		"no store":             func(o *OIDCOptions) { o.Store = nil },
		"no secret":            func(o *OIDCOptions) { o.Secret = secret.Secret{} },
		"half a rule":          func(o *OIDCOptions) { o.Roles = []RoleRule{{Role: "admin", Claim: "groups"}} },
	} {
		o := good
		edit(&o)
		_, err := NewOIDC(o)
		require.Error(t, err, name)
	}
	for tenant, ok := range map[string]bool{
		"11111111-2222-3333-4444-555555555555": true, "": false, "common": false, "organizations": false, "consumers": false,
		"example.onmicrosoft.com": false, "urn:uuid:11111111-2222-3333-4444-555555555555": false,
	} {
		o := good
		o.Issuer = "https://login.microsoftonline.com/" + tenant + "/v2.0"
		_, err := NewOIDC(o)
		if ok {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, "must name one tenant", tenant)
		}
	}
	for _, name := range Reserved {
		o := good
		o.Name = name
		_, err := NewOIDC(o)
		require.ErrorContains(t, err, "taken", name)
	}
	local := good
	local.Issuer, local.RedirectURL = "http://127.0.0.1:9000", "http://localhost:8080/portal/"
	p, err = NewOIDC(local)
	require.NoError(t, err)
	require.False(t, p.Secure())
}
