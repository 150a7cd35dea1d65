package e2e

import (
	"bytes"
	"encoding/json"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	oidcClient = "tollgate"
	oidcSecret = "a secret/with:signs that need+escaping%"
	oidcPublic = "https://ai.example.test"
)

// TestOpenIDProvider signs in with an OpenID provider that others wrote and had
// certified, as a browser does: through its pages, with its cookies.
func TestOpenIDProvider(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			issuer := startOpenIDProvider(t, method)
			g := startGateway(t, map[string]string{
				"PUBLIC_URL": oidcPublic, "OIDC_ISSUER": issuer, "OIDC_CLIENT_ID": oidcClient, "OIDC_CLIENT_SECRET": oidcSecret,
				"ALLOWED_DOMAINS": "example.org",
			})
			b := newBrowser(t, g)
			require.Equal(t, []any{map[string]any{"name": "sso", "type": "oidc"}}, b.get("/auth/providers")["providers"])

			callback := b.signIn("alice")
			status, answer := b.post("/auth/sso/callback", callback)
			require.Equal(t, 200, status, answer)
			require.Equal(t, "alice@example.org", answer["email"])
			me := b.as(answer["access_token"].(string)).get("/auth/me")
			require.Equal(t, "The user alice", me["name"])
			require.Equal(t, "sso", me["provider"])
			require.Equal(t, "user", me["role"])

			status, answer = b.post("/auth/sso/callback", callback)
			require.Equal(t, 403, status, answer)
			require.Contains(t, answer["error"], "finished already")

			status, answer = newBrowser(t, g).post("/auth/sso/callback", newBrowser(t, g).signIn("mallory"))
			require.Equal(t, 403, status, answer)
			require.Contains(t, answer["error"], "another browser")

			other := newBrowser(t, g)
			status, answer = other.post("/auth/sso/callback", other.signIn("unverified-eve"))
			require.Equal(t, 403, status, answer)
			require.Contains(t, answer["error"], "does not confirm")

			stolen, own := newBrowser(t, g), newBrowser(t, g)
			code := stolen.signIn("alice")["code"]
			mixed := own.signIn("mallory")
			mixed["code"] = code
			status, answer = own.post("/auth/sso/callback", mixed)
			require.Equal(t, 403, status, answer)
			require.Contains(t, answer["error"], "the code of sso is wrong")

			require.NotContains(t, g.log.String(), "@example.org")
			require.NotContains(t, g.log.String(), oidcSecret)
		})
	}
}

// startOpenIDProvider runs the provider until the test ends and gives its issuer.
func startOpenIDProvider(t *testing.T, method string) string {
	t.Helper()
	node := findNode(t)
	address := freeAddress(t)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	issuer := "http://" + address
	cmd := exec.CommandContext(t.Context(), node, "oidc-provider.js")
	cmd.Dir = "js"
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "ISSUER=" + issuer, "PORT=" + port, "AUTH_METHOD=" + method,
		"REDIRECT_URI=" + oidcPublic + "/portal/", "CLIENT_ID=" + oidcClient, "CLIENT_SECRET=" + oidcSecret,
	}
	log := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the provider's log:\n%s", log)
		}
	})
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "listening") }, 20*time.Second, 20*time.Millisecond,
		"the provider did not start: %s", log)
	return issuer
}

// browser is a person's, with its cookies, on a page of the gateway.
type browser struct {
	t       *testing.T
	gateway *gateway
	client  *http.Client
	token   string
}

func newBrowser(t *testing.T, g *gateway) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &browser{t: t, gateway: g, client: &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), oidcPublic) {
			return http.ErrUseLastResponse // the test takes over where the frontend would
		}
		return nil
	}}}
}

func (b *browser) as(token string) *browser {
	with := *b
	with.token = token
	return &with
}

// call sends a request as a page of the gateway does.
func (b *browser) call(method, path string, body any) (int, map[string]any) {
	b.t.Helper()
	encoded, err := json.Marshal(body)
	require.NoError(b.t, err)
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.gateway.URL+path, bytes.NewReader(encoded))
	require.NoError(b.t, err)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	// The gateway is reached by https in truth, so its cookie is one for https only:
	// a jar would not send it here.
	for _, c := range b.client.Jar.Cookies(&url.URL{Scheme: "https", Host: r.URL.Host}) {
		r.AddCookie(c)
	}
	if b.token != "" {
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	response, err := http.DefaultClient.Do(r)
	require.NoError(b.t, err)
	defer response.Body.Close()
	b.client.Jar.SetCookies(&url.URL{Scheme: "https", Host: r.URL.Host}, response.Cookies())
	var answer map[string]any
	require.NoError(b.t, json.NewDecoder(response.Body).Decode(&answer))
	return response.StatusCode, answer
}

func (b *browser) get(path string) map[string]any {
	b.t.Helper()
	status, answer := b.call("GET", path, nil)
	require.Equal(b.t, 200, status, answer)
	return answer
}

func (b *browser) post(path string, body any) (int, map[string]any) {
	b.t.Helper()
	return b.call("POST", path, body)
}

var form = regexp.MustCompile(`<form[^>]* action="([^"]+)"`)

// signIn goes to the provider, signs in and consents there, and gives what the
// provider sends back with the browser.
func (b *browser) signIn(name string) map[string]string {
	b.t.Helper()
	response, err := b.client.Get(b.get("/auth/sso")["auth_url"].(string))
	for range 3 { // the page to sign in, the page to consent
		require.NoError(b.t, err)
		page, err := io.ReadAll(response.Body)
		require.NoError(b.t, err)
		require.NoError(b.t, response.Body.Close())
		if back := response.Header.Get("Location"); back != "" {
			u, err := url.Parse(back)
			require.NoError(b.t, err)
			require.Equal(b.t, oidcPublic+"/portal/", u.Scheme+"://"+u.Host+u.Path)
			return map[string]string{"code": u.Query().Get("code"), "state": u.Query().Get("state")}
		}
		action := form.FindSubmatch(page)
		require.NotNil(b.t, action, "%d %s", response.StatusCode, page)
		fields := url.Values{"prompt": {"consent"}}
		if bytes.Contains(page, []byte(`name="password"`)) {
			fields = url.Values{"prompt": {"login"}, "login": {name}, "password": {"any"}}
		}
		target, err := response.Request.URL.Parse(html.UnescapeString(string(action[1])))
		require.NoError(b.t, err)
		response, err = b.client.PostForm(target.String(), fields)
		require.NoError(b.t, err)
	}
	b.t.Fatal("the provider did not send the browser back")
	return nil
}
