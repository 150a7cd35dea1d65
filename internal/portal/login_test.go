package portal

import (
	"context"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/login"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/mail"
)

func TestLoginBodies(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for name, tc := range map[string]struct {
		body   string
		status int
		field  string
	}{
		"empty body":      {``, 400, ""},
		"not JSON":        {`email=a@example.com`, 400, ""},
		"two objects":     {`{"email":"a@example.com"}{}`, 400, ""},
		"name twice":      {`{"email":"a@example.com","email":"b@example.com"}`, 400, ""},
		"invalid UTF-8":   {"{\"email\":\"\xff@example.com\"}", 400, ""},
		"an array":        {`["a@example.com"]`, 400, ""},
		"cut":             {`{"email":"a@exam`, 400, ""},
		"number":          {`{"email":7}`, 422, "email"},
		"object":          {`{"email":{"email":"a@example.com"}}`, 422, "email"},
		"null":            {`{"email":null}`, 422, "email"},
		"missing":         {`{}`, 422, "email"},
		"other case":      {`{"Email":"a@example.com"}`, 422, "email"},
		"no address":      {`{"email":"example.com"}`, 422, "email"},
		"too large":       {`{"email":"` + strings.Repeat("a", maxOpenBody) + `"}`, 413, ""},
		"largest allowed": {`{"email":"a@example.com"}` + strings.Repeat(" ", maxOpenBody-25), 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := call(h, nil, "POST", "/auth/login", tc.body)
			if tc.status == 200 {
				object(t, w, 200)
				return
			}
			details := requireProblem(t, w, tc.status)["details"].(map[string]any)
			if tc.field != "" {
				require.Contains(t, details, tc.field)
			}
			require.NotContains(t, w.Body.String(), "example.com", "input is not echoed")
		})
	}
}

func TestLoginWithoutProofIsForDevelopment(t *testing.T) {
	t.Parallel()
	off := newHandler(t, func(o *Options) { o.Auth.Trusted = func() bool { return false } })
	problem := requireProblem(t, call(off, nil, "POST", "/auth/login", `{"email":"a@example.com"}`), 403)
	require.Contains(t, problem["error"], "tollgate token")

	h := newHandler(t, nil)
	for name, tc := range map[string]struct {
		peer, host, header string
		ok                 bool
	}{
		"localhost":                 {"127.0.0.1:9", "localhost:8080", "", true},
		"IPv4":                      {"127.0.0.1:9", "127.0.0.1:8080", "", true},
		"IPv4 without port":         {"127.0.0.1:9", "127.0.0.1", "", true},
		"IPv6":                      {"[::1]:9", "[::1]:8080", "", true},
		"IPv6 without port":         {"[::1]:9", "[::1]", "", true},
		"IPv4 in IPv6":              {"[::ffff:127.0.0.1]:9", "LOCALHOST", "", true},
		"other machine":             {"192.0.2.7:9", "localhost:8080", "", false},
		"no peer":                   {"", "localhost:8080", "", false},
		"unix socket":               {"@", "localhost:8080", "", false},
		"rebound name":              {"127.0.0.1:9", "evil.example:8080", "", false},
		"name like loopback":        {"127.0.0.1:9", "127.0.0.1.evil.example", "", false},
		"name under localhost":      {"127.0.0.1:9", "localhost.evil.example", "", false},
		"no host":                   {"127.0.0.1:9", "", "", false},
		"proxy, X-Forwarded-For":    {"127.0.0.1:9", "localhost", "X-Forwarded-For", false},
		"proxy, Forwarded":          {"127.0.0.1:9", "localhost", "Forwarded", false},
		"proxy, X-Real-IP":          {"127.0.0.1:9", "localhost", "X-Real-Ip", false},
		"proxy with empty header":   {"127.0.0.1:9", "localhost", "Via", false},
		"zone and unspecified peer": {"0.0.0.0:9", "localhost", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("POST", "/auth/login", strings.NewReader(`{"email":"a@example.com"}`))
			r.RemoteAddr, r.Host = tc.peer, tc.host
			if tc.header != "" {
				r.Header[tc.header] = []string{""}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if tc.ok {
				object(t, w, 200)
				return
			}
			requireProblem(t, w, 403)
		})
	}
}

// CORS may let any page read answers (cors *), also one that somebody at this
// machine happens to look at.
func TestLoginWithoutProofIsNotForPagesFromElsewhere(t *testing.T) {
	t.Parallel()
	h := CORS([]string{"*"}, newHandler(t, nil))
	for origin, ok := range map[string]bool{
		"http://localhost:8080":          true,
		"http://127.0.0.1:5173":          true,
		"http://[::1]":                   true,
		"https://evil.example":           false,
		"https://localhost.evil.example": false,
		"null":                           false,
		"http://%zz":                     false,
	} {
		r := httptest.NewRequest("POST", "/auth/login", strings.NewReader(`{"email":"a@example.com"}`))
		r.RemoteAddr, r.Host = "127.0.0.1:9", "localhost:8080"
		r.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, ok, w.Code == 200, "%s: %s", origin, w.Body)
	}
}

func domains(t *testing.T, list ...string) identity.Domains {
	t.Helper()
	d, err := identity.ParseDomains(list)
	require.NoError(t, err)
	return d
}

// lookAlikes are addresses, and what becomes of them where example.com and
// example.org may sign in.
var lookAlikes = map[string]int{
	"alice@example.com":                              200,
	"alice@example.org":                              200,
	"ALICE@EXAMPLE.COM":                              200,
	"alice+tag@example.com":                          200,
	"a.b@example.com":                                200,
	"alice@sub.example.com":                          403,
	"alice@example.com.evil.test":                    403,
	"alice@evilexample.com":                          403,
	"alice@example.co":                               403,
	"alice@xn--exmple-4nf.com":                       403, // the punycode of a look-alike
	"alice@example.com.":                             422,
	"alice@.example.com":                             422,
	"alice@example..com":                             422,
	"alice@ex\u0430mple.com":                         422, // Cyrillic a
	"alice@example\u3002com":                         422, // ideographic full stop
	"alice@\uff45xample.com":                         422, // full-width e
	"alice@example.com\u200b":                        422, // zero-width space
	"alice@example.com\x00":                          422,
	"alice@example.com\n@evil.test":                  422,
	"alice@evil.test@example.com":                    422,
	"alice@example.com@evil.test":                    422,
	`"alice@evil.test"@example.com`:                  422,
	`"a"@example.com`:                                422,
	"alice@[127.0.0.1]":                              422,
	"alice@evil.test,bob@example.com":                422,
	"Alice <alice@example.com>":                      422,
	"alice@example.com (evil.test)":                  422,
	"al ice@example.com":                             422,
	"alice@ example.com":                             422,
	"@example.com":                                   422,
	"alice@":                                         422,
	"":                                               422,
	".alice@example.com":                             422,
	"al..ice@example.com":                            422,
	"alice@-example.com":                             422,
	"alice@example.com/evil":                         422,
	"alice@example.com?x":                            422,
	"alice%40evil.test@example.com":                  200, // a plain local part; nobody decodes it
	strings.Repeat("a", 65) + "@example.com":         422,
	"a@" + strings.Repeat("a.", 130) + "example.com": 422,
	"\u212Aate@example.com":                          422, // the Kelvin sign is no k
}

func TestLookAlikeDomains(t *testing.T) {
	t.Parallel()
	h := newHandler(t, func(o *Options) { o.Auth.Domains = domains(t, "example.com", " Example.ORG") })
	for email, status := range lookAlikes {
		body := `{"email":` + quote(t, email) + `}`
		w := call(h, nil, "POST", "/auth/login", body)
		require.Equal(t, status, w.Code, "%q: %s", email, w.Body)
		switch status {
		case 403:
			require.Contains(t, requireProblem(t, w, 403)["error"], "allowed: example.com, example.org")
		case 200:
			normal := strings.ToLower(email)
			require.Equal(t, normal, object(t, w, 200)["email"])
		default:
			requireProblem(t, w, 422)
		}
	}
}

// mailed is a [login.Mailer] that keeps what it should send.
type mailed struct {
	mu    sync.Mutex // guards queue
	queue []mail.Compose
}

func (m *mailed) Queue(compose mail.Compose) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = append(m.queue, compose)
	return nil
}

var mailedLink = regexp.MustCompile(`\?code=([^&]+)&state=(email:[A-Za-z0-9_-]+)\n`)

// next gives code and state of the oldest mail; "" when there was none to send.
func (m *mailed) next(t *testing.T) (code, state string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	require.NotEmpty(t, m.queue)
	message, err := m.queue[0](t.Context())
	require.NoError(t, err)
	m.queue = m.queue[1:]
	if message == nil {
		return "", ""
	}
	found := mailedLink.FindStringSubmatch(message.Text)
	require.NotNil(t, found, message.Text)
	return found[1], found[2]
}

// byMail lets people sign in by mail only.
func byMail(t *testing.T, edit func(*Options)) (*Handler, *mailed, *database.DB) {
	t.Helper()
	db, box := newDatabase(t), &mailed{}
	email, err := login.NewEmail(login.EmailOptions{
		Store: db, Mailer: box, Secret: testSecret, Link: "https://ai.example.com/portal/", Blocked: isBlocked(db),
	})
	require.NoError(t, err)
	h := newHandler(t, func(o *Options) {
		o.Auth.Trusted, o.Auth.Login.Email, o.Auth.Sessions = nil, email, newSessions(t, db, nil)
		if edit != nil {
			edit(o)
		}
	})
	return h, box, db
}

func isBlocked(db *database.DB) func(context.Context, string) (bool, error) {
	return func(ctx context.Context, hash string) (bool, error) {
		blocked, err := db.ListBlockedUsers(ctx)
		return slices.Contains(blocked, hash), err
	}
}

const checkInbox = "Check your inbox for a sign-in link"

func TestLoginByMail(t *testing.T) {
	t.Parallel()
	h, box, _ := byMail(t, nil)
	for _, typed := range []bool{false, true} {
		w := call(h, nil, "POST", "/auth/login", `{"email":"Alice@Example.org"}`)
		require.Equal(t, checkInbox, requireProblem(t, w, 403)["error"])
		code, state := box.next(t)
		body := `{"code":"` + code + `","state":"` + state + `"}`
		if typed {
			body = `{"code":"` + strings.ToLower(code) + `","email":"alice@example.org "}`
		}
		answer := object(t, call(h, nil, "POST", "/auth/email/callback/", body), 200)
		require.Equal(t, "alice@example.org", answer["email"])
		require.Equal(t, "bearer", answer["token_type"])
		require.NotEmpty(t, answer["access_token"])
		require.NotEmpty(t, answer["refresh_token"])
		problem := requireProblem(t, call(h, nil, "POST", "/auth/email/callback", body), 403)
		require.Contains(t, problem["error"], "was used already")
	}
	requireProblem(t, call(h, nil, "GET", "/auth/email", ""), 404)
}

func TestCallbackBodies(t *testing.T) {
	t.Parallel()
	h, _, _ := byMail(t, nil)
	for body, want := range map[string]struct {
		status int
		field  string
	}{
		``:                                {400, ""},
		`[]`:                              {400, ""},
		`{}`:                              {422, "code"},
		`{"code":"A"}`:                    {422, "state"},
		`{"state":"email:x"}`:             {422, "code"},
		`{"code":7,"state":"email:x"}`:    {422, "code"},
		`{"code":"A","email":"nobody"}`:   {422, "email"},
		`{"code":"A","state":"email:x"}`:  {403, ""},
		`{"code":"A","email":"a@x.test"}`: {403, ""},
		`{"code":"` + strings.Repeat("a", maxCode+1) + `","state":"x"}`:  {422, "code"},
		`{"code":"A","state":"` + strings.Repeat("a", maxState+1) + `"}`: {422, "state"},
	} {
		details := requireProblem(t, call(h, nil, "POST", "/auth/email/callback", body), want.status)["details"].(map[string]any)
		if want.field != "" {
			require.Contains(t, details, want.field)
		}
	}
}

// Nobody learns by signing in who has an account, or is blocked.
func TestLoginByMailTellsNothing(t *testing.T) {
	t.Parallel()
	h, box, db := byMail(t, nil)
	requireProblem(t, call(h, nil, "POST", "/auth/login", `{"email":"known@example.org"}`), 403)
	code, state := box.next(t)
	object(t, call(h, nil, "POST", "/auth/email/callback", `{"code":"`+code+`","state":"`+state+`"}`), 200)
	require.NoError(t, db.BlockUser(t.Context(), identity.HashEmail("blocked@example.org"), time.Now(), database.AuditEntry{Action: "user.block"}))

	var answers []map[string]any
	for _, who := range []string{"known", "unknown", "blocked"} {
		for _, request := range [][2]string{
			{"/auth/login", `{"email":"` + who + `@example.org"}`},
			{"/auth/email/callback", `{"code":"AAAAAAAA","email":"` + who + `@example.org"}`},
		} {
			w := call(h, nil, "POST", request[0], request[1])
			problem := requireProblem(t, w, 403)
			delete(problem, "request_id")
			w.Header().Del("X-Request-Id")
			problem["headers"] = w.Header()
			answers = append(answers, problem)
		}
		code, _ := box.next(t)
		require.Equal(t, who == "blocked", code == "", "blocked people get no mail")
	}
	require.Equal(t, answers[0], answers[2])
	require.Equal(t, answers[0], answers[4])
	require.Equal(t, answers[1], answers[3])
	require.Equal(t, answers[1], answers[5])
}

// Who was blocked after the mail was sent, gets the answer to a wrong code.
func TestBlockedLoginLooksFailed(t *testing.T) {
	t.Parallel()
	h, box, db := byMail(t, nil)
	call(h, nil, "POST", "/auth/login", `{"email":"alice@example.org"}`)
	code, state := box.next(t)
	require.NoError(t, db.BlockUser(t.Context(), identity.HashEmail("alice@example.org"), time.Now(), database.AuditEntry{Action: "user.block"}))
	blocked := requireProblem(t, call(h, nil, "POST", "/auth/email/callback", `{"code":"`+code+`","state":"`+state+`"}`), 403)
	wrong := requireProblem(t, call(h, nil, "POST", "/auth/email/callback", `{"code":"`+code+`","state":"`+state+`"}`), 403)
	delete(blocked, "request_id")
	delete(wrong, "request_id")
	require.Equal(t, wrong, blocked)
}

func TestLookAlikeDomainsByMail(t *testing.T) {
	t.Parallel()
	h, box, _ := byMail(t, func(o *Options) { o.Auth.Domains = domains(t, "example.com", " Example.ORG") })
	for email, status := range lookAlikes {
		w := call(h, nil, "POST", "/auth/login", `{"email":`+quote(t, email)+`}`)
		switch problem := requireProblem(t, w, max(403, status)); status {
		case 200:
			require.Equal(t, checkInbox, problem["error"], email)
			code, _ := box.next(t)
			require.NotEmpty(t, code)
		case 403:
			require.Contains(t, problem["error"], "allowed: example.com, example.org", email)
		}
		require.Empty(t, box.queue, email)
	}

	// A domain that is no longer allowed when the code comes back.
	requireProblem(t, call(h, nil, "POST", "/auth/login", `{"email":"alice@example.com"}`), 403)
	code, state := box.next(t)
	h.o.Auth.Domains = domains(t, "example.net")
	problem := requireProblem(t, call(h, nil, "POST", "/auth/email/callback", `{"code":"`+code+`","state":"`+state+`"}`), 403)
	require.Contains(t, problem["error"], "allowed: example.net")
}

func TestLoginFlood(t *testing.T) {
	t.Parallel()
	var keys []string
	left := 5
	limited := &llm.Error{Cause: llm.CauseRateLimited, Message: "slow down", RetryAfter: time.Minute}
	limit := func(o *Options) {
		o.Auth.Limit = func(_ context.Context, key string) error {
			keys = append(keys, key)
			if left--; left < 0 {
				return limited
			}
			return nil
		}
	}
	h, box, _ := byMail(t, limit)
	for i := range 8 {
		status := 403
		if i >= 5 {
			status = 429
		}
		w := call(h, nil, "POST", "/auth/login", `{"email":"alice@example.org"}`)
		requireProblem(t, w, status)
		require.Equal(t, status == 429, w.Header().Get("Retry-After") == "60")
	}
	require.Len(t, box.queue, 5, "no mail beyond the limit")
	require.Len(t, keys, 8)
	for _, key := range keys {
		require.Equal(t, "login:"+identity.HashEmail("alice@example.org"), key)
	}
	requireProblem(t, call(h, nil, "POST", "/auth/login", `{"email":"nobody"}`), 422)
	require.Len(t, keys, 8, "what is no address has no bucket")

	trusted := newHandler(t, limit)
	object(t, call(trusted, nil, "POST", "/auth/login", `{"email":"alice@example.org"}`), 200)
	require.Len(t, keys, 8, "no mail, no limit of mails")
}

func TestTrustedAnywhere(t *testing.T) {
	t.Parallel()
	for _, anywhere := range []bool{false, true} {
		h := newHandler(t, func(o *Options) { o.Auth.Login.TrustedAnywhere = anywhere })
		r := httptest.NewRequest("POST", "https://ai.example.com/auth/login", strings.NewReader(`{"email":"a@example.com"}`))
		r.Header.Set("X-Forwarded-For", "192.0.2.1")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, anywhere, w.Code == 200, w.Body)
	}
	off := newHandler(t, func(o *Options) {
		o.Auth.Trusted, o.Auth.Login.TrustedAnywhere = func() bool { return false }, true
	})
	requireProblem(t, call(off, nil, "POST", "/auth/login", `{"email":"a@example.com"}`), 403)
}

// With a mail server, trust is for who it is meant for, and mails for the others.
func TestTrustedBesideMail(t *testing.T) {
	t.Parallel()
	h, box, _ := byMail(t, func(o *Options) { o.Auth.Trusted = func() bool { return true } })
	object(t, call(h, nil, "POST", "/auth/login", `{"email":"a@example.com"}`), 200)
	require.Empty(t, box.queue)
	r := httptest.NewRequest("POST", "/auth/login", strings.NewReader(`{"email":"a@example.com"}`))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, checkInbox, requireProblem(t, w, 403)["error"])
	require.Len(t, box.queue, 1)
}

func TestSigningInTurnedOff(t *testing.T) {
	t.Parallel()
	h := newHandler(t, func(o *Options) { o.Auth.Sessions = nil })
	requireProblem(t, call(h, nil, "POST", "/auth/login", `{"email":"a@example.com"}`), 404)
	requireProblem(t, call(h, nil, "GET", "/auth/google", ""), 404)
	requireProblem(t, call(h, nil, "POST", "/auth/email/callback", `{"code":"a","state":"b"}`), 404)
	require.Equal(t, map[string]any{"providers": []any{}}, object(t, call(h, nil, "GET", "/auth/providers", ""), 200))
}
