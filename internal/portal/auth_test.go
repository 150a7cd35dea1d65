package portal

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/session"
)

func TestLoginThenMe(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	answer := s.call("", "POST", "/auth/login", `{"email":" Alice@Example.COM ","remember":true}`, 200)
	token := answer["access_token"].(string)
	require.Regexp(t, `^tgr_[A-Za-z0-9_-]{75}$`, answer["refresh_token"])
	delete(answer, "access_token")
	delete(answer, "refresh_token")
	require.Equal(t, map[string]any{"token_type": "bearer", "email": "alice@example.com", "expires_in": 28800.0}, answer)
	require.NotContains(t, s.principal(token).Subject, "@")

	require.Equal(t, map[string]any{
		"id": identity.HashEmail("alice@example.com"), "email": "alice@example.com", "name": "alice",
		"avatar_url": "", "provider": "trusted", "role": "user",
	}, s.call(token, "GET", "/auth/me", "", 200))

	user := s.call(token, "GET", "/auth/verify", "", 200)["user"].(map[string]any)
	require.Equal(t, "alice@example.com", user["email"])
	require.Equal(t, "tollgate", user["iss"])
	require.IsType(t, 0.0, user["exp"])
}

func TestMeOfAnAdminWithoutAddress(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	require.Equal(t, map[string]any{
		"id": bobHash, "email": "", "name": "Root", "avatar_url": "", "provider": "tollgate", "role": "admin",
	}, object(t, call(h, admin, "GET", "/auth/me", ""), 200))
	require.Equal(t, map[string]any{"user": map[string]any{}}, object(t, call(h, admin, "GET", "/auth/verify", ""), 200))
}

type brokenMinter struct{}

func (brokenMinter) Mint(identity.Claims) (string, error) { return "", errors.New("secret detail") }

func TestInternalErrorsSayNothing(t *testing.T) {
	t.Parallel()
	h := newHandler(t, func(o *Options) {
		o.Auth.Sessions = newSessions(t, newDatabase(t), func(o *session.Options) { o.Signer = brokenMinter{} })
	})
	w := call(h, nil, "POST", "/auth/login", `{"email":"a@example.com"}`)
	requireProblem(t, w, 500)
	require.NotContains(t, w.Body.String(), "secret detail")
}

// Strangers' bodies are small, so that many of them do not fill the memory.
func TestOpenBodiesAreSmall(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for _, target := range []string{"/auth/login", "/auth/refresh", "/auth/logout"} {
		for size, want := range map[int]bool{maxOpenBody: false, maxOpenBody + 1: true, 1 << 20: true} {
			w := call(h, nil, "POST", target, `{"x":"`+strings.Repeat("x", size-8)+`"}`)
			require.Equal(t, want, w.Code == http.StatusRequestEntityTooLarge, "%s %d: %s", target, size, w.Body)
		}
	}
}

// deadlines is a writer that notes how long the body may take.
type deadlines struct {
	*httptest.ResponseRecorder

	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// A body that stops in the middle is waited for a while, and what the request does
// then for as long as it takes.
func TestBodiesAreNotWaitedForForever(t *testing.T) {
	t.Parallel()
	for target, longest := range map[string]time.Duration{"/auth/refresh": 31 * time.Second, "/auth/tokens": 50 * time.Second} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest("POST", target, strings.NewReader(`{"refresh_token":"x"}`))
		newHandler(t, nil).ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), admin)))
		require.Len(t, w.set, 2, target)
		require.WithinDuration(t, time.Now(), w.set[0], longest)
		require.Zero(t, w.set[1])
	}
}
