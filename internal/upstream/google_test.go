package upstream

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/financecommander/tollgate/internal/secret"
)

// serviceAccount makes a key that gets its tokens from url.
func serviceAccount(t *testing.T, url string) secret.Secret {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	key, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "their-project", "private_key_id": "kid-1",
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email": "gateway@their-project.iam.gserviceaccount.com", "token_uri": url,
	})
	require.NoError(t, err)
	return secret.New(string(key))
}

// A service account's key becomes a token, which many requests share.
func TestVertexSignsIn(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		claims, _ := base64.RawURLEncoding.DecodeString(strings.Split(r.FormValue("assertion"), ".")[1])
		if !strings.Contains(string(claims), googleScope) || !strings.Contains(string(claims), "gateway@their-project") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, asked.Load())
	}))
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	p, err := New(Config{Name: "vertex", Credentials: serviceAccount(t, server.URL), Transport: transport, Headers: http.Header{"X-Goog-User-Project": {"bill-me"}}})
	require.NoError(t, err)
	require.Equal(t, "/v1/projects/their-project/locations/global/publishers/google/models/m:generateContent", p.Endpoint("gemini", "m", false).Path)
	var running sync.WaitGroup
	for range 20 {
		running.Go(func() {
			h := http.Header{}
			if err := p.Authorize(t.Context(), h, true); err != nil || h.Get("Authorization") != "Bearer token-1" || h.Get("X-Goog-User-Project") != "bill-me" {
				t.Errorf("%v %v", h, err)
			}
		})
	}
	running.Wait()
	require.EqualValues(t, 1, asked.Load())
	h := http.Header{}
	require.NoError(t, p.Authorize(t.Context(), h, false))
	require.Empty(t, h, "another host gets no token")
}

// What Google says to a refused sign-in stays out of errors, but for the word.
func TestVertexIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"refused": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"invalid_grant","error_description":"CANARY"}`))
		}, "sign in to Google: invalid_grant (status 400)"},
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("<html>CANARY"))
		}, "sign in to Google: refused (status 503)"},
		"an odd word": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"error":"CANARY at 10.0.0.1"}`))
		}, "sign in to Google: refused (status 403)"},
		"an empty token": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"token_type":"CANARY"}`))
		}, "sign in to Google: the token is empty or over"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, "sign in to Google: refused (status 307)"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				tt.answer(w, r)
			}))
			defer server.Close()
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			p, err := New(Config{Name: "vertex", Credentials: serviceAccount(t, server.URL), Transport: transport})
			require.NoError(t, err)
			for range 3 {
				h := http.Header{}
				require.EqualError(t, p.Authorize(t.Context(), h, true), tt.want)
				require.Empty(t, h)
			}
			require.EqualValues(t, 1, asked.Load(), "it is not asked again at once")
		})
	}
}

// source is a source of tokens that tests direct. Tokens are numbered.
type source struct {
	lives time.Duration
	takes time.Duration
	err   error
	asked atomic.Int64
}

func (s *source) fetch(ctx context.Context) (*oauth2.Token, error) {
	number := s.asked.Add(1)
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.err != nil {
		return nil, s.err
	}
	return &oauth2.Token{AccessToken: fmt.Sprintf("token-%d", number), Expiry: time.Now().Add(s.lives)}, nil
}

// A token is replaced before it ends, and nobody waits for that.
func TestTokensAreRefreshedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{lives: time.Hour, takes: 2 * time.Second}
		tokens := &tokens{fetch: s.fetch}
		get := func(want string, within time.Duration) {
			t.Helper()
			began := time.Now()
			token, err := tokens.get(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, token)
			require.LessOrEqual(t, time.Since(began), within)
		}
		get("token-1", 2*time.Second)
		time.Sleep(54 * time.Minute)
		get("token-1", 0)
		synctest.Wait()
		require.EqualValues(t, 1, s.asked.Load())
		time.Sleep(2 * time.Minute)
		get("token-1", 0) // the next one is under way
		get("token-1", 0)
		time.Sleep(3 * time.Second)
		require.EqualValues(t, 2, s.asked.Load())
		get("token-2", 0)
		time.Sleep(2 * time.Hour)
		get("token-3", 2*time.Second)
	})
}

// While tokens cannot be had, the one that is there is used to its end; then
// the error is said at once, and the source asked now and then.
func TestTokensWhileTheSourceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{lives: time.Hour}
		tokens := &tokens{fetch: s.fetch}
		_, err := tokens.get(t.Context())
		require.NoError(t, err)
		synctest.Wait()
		s.err = errors.New("down")
		time.Sleep(56 * time.Minute)
		for range 10 {
			token, err := tokens.get(t.Context())
			require.NoError(t, err)
			require.Equal(t, "token-1", token)
			synctest.Wait()
		}
		require.EqualValues(t, 2, s.asked.Load())
		time.Sleep(5 * time.Minute)
		for range 10 {
			_, err := tokens.get(t.Context())
			require.EqualError(t, err, "sign in to Google: down")
		}
		require.EqualValues(t, 3, s.asked.Load())
		synctest.Wait()
		s.err = nil
		time.Sleep(retryAfter)
		token, err := tokens.get(t.Context())
		require.NoError(t, err)
		require.Equal(t, "token-4", token)
	})
}

// A caller that leaves neither waits on nor takes the token from the others.
func TestTokensOutliveACaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{lives: time.Hour, takes: 10 * time.Second}
		tokens := &tokens{fetch: s.fetch}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := tokens.get(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(began))
		token, err := tokens.get(t.Context())
		require.NoError(t, err)
		require.Equal(t, "token-1", token)
		require.EqualValues(t, 1, s.asked.Load())
	})
	synctest.Test(t, func(t *testing.T) {
		tokens := &tokens{fetch: (&source{lives: time.Hour, takes: time.Hour}).fetch}
		began := time.Now()
		_, err := tokens.get(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, fetchTimeout, time.Since(began), "an attempt is bounded")
	})
}
