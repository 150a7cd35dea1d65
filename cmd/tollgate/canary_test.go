package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/testenv"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// What a canaryWalk says and has, and what must not come out of the gateway but
// as the answer to whom it belongs.
const (
	canaryPerson   = "canary-person@example.com"
	canaryOther    = "canary-other@example.com"
	canaryPrompt   = "canary-prompt-zebra"
	canaryAnswer   = "canary-answer-okapi"
	canarySystem   = "canary-system-quagga"
	canaryFile     = "canary-attachment-gnu"
	canaryTitle    = "canary-title-kudu"
	canaryShipped  = "canary-specialist-eland"
	canaryMade     = "canary-definition-nyala"
	canaryHost     = "canary-key-of-a-web-service"
	canaryKey      = "sk-canary-upstream-0123456789"
	canarySecret   = "canary-jwt-secret-of-at-least-32-bytes"
	canaryMail     = "canary-smtp-password"
	canaryClient   = "canary-oidc-client-secret"
	canaryDatabase = "canary-database-password"
	canaryRedis    = "canary-redis-password"
	canaryCode     = "canary-code-of-a-provider"
	canaryBad      = "canary-bad-token"
)

// canaryWalk is one gateway with all there is, and what it has said.
type canaryWalk struct {
	*gateway
	secrets  canaries // what nobody may see
	personal canaries // what belongs to callers
	token    string   // of the person, who is an admin

	database, redis string
	asked           string // host of the upstream
	box             *testenv.Mailbox
}

// TestCanaries uses everything once, well and badly, with everything logged that
// can be, and looks for what must not be in whatever left the process.
func TestCanaries(t *testing.T) {
	t.Parallel()
	w := newCanaryWalk(t)
	w.signInByMail()
	w.signInByProvider()
	w.chat()
	w.conversations()
	w.liveChat()
	w.specialists()
	w.pipelines()
	w.badRequests()
	w.signOut()

	everything := w.secrets.without()
	maps.Copy(everything, w.personal)
	for _, path := range []string{"/metrics", "/llm/status", "/config/"} {
		everything.scan(t, path, []byte(w.do("GET", w.Admin+path, "", "").Body))
	}
	w.stop()
	log := w.log.String()
	require.Contains(t, log, `"logger":"http.log.access"`, "the access log is on")
	require.Contains(t, log, `"level":"debug"`, "debug messages are on")
	everything.scanLog(t, log)
	everything.scanFiles(t, w.dir)
	everything.scanPostgres(t, w.database, map[string][]string{
		"specialists": {"system prompt of a specialist"}, "pipelines": {"prompt of a pipeline"}, "pipeline_versions": {"prompt of a pipeline"},
	})
	everything.scanRedis(t, w.redis)
}

func newCanaryWalk(t *testing.T) *canaryWalk {
	t.Helper()
	page, err := filepath.Abs("../../e2e/js/page")
	require.NoError(t, err)
	w := &canaryWalk{
		database: withPassword(t, testenv.Postgres(t), "postgres", canaryDatabase),
		redis:    withPassword(t, testenv.Redis(t), "default", canaryRedis),
		box:      testenv.Mail(t, "portal", canaryMail),
		secrets: canaries{
			"key of a provider": canaryKey, "JWT secret": canarySecret, "mail server's password": canaryMail,
			"OpenID client secret": canaryClient, "database's password": canaryDatabase, "password of Redis": canaryRedis, "key of a web service": canaryHost,
			"upstream's organisation": "org-secret123", "upstream's host": "internal-host-17",
		},
		personal: canaries{
			"person's address": canaryPerson, "local part of it": "canary-person", "other address": canaryOther, "viewer's address": "canary-viewer",
			"prompt": canaryPrompt, "answer": canaryAnswer, "caller's system prompt": canarySystem, "attachment": canaryFile,
			"title": canaryTitle, "system prompt of a specialist": canaryShipped, "prompt of a pipeline": canaryMade, "provider's code": canaryCode, "refused token": canaryBad,
		},
	}
	upstream := upstreamtest.New(t, canaryUpstream)
	w.gateway = newGateway(t, "JWT_SECRET="+canarySecret, "DATABASE_URL="+w.database, "REDIS_URL="+w.redis, "PORTAL_DIR="+page,
		"OPENAI_API_KEY="+canaryKey, "OPENAI_BASE_URL="+upstream.URL()+"/v1", "RATE_LIMIT=1000/s",
		"MISTRAL_API_KEY="+canaryKey, "MISTRAL_BASE_URL="+upstream.URL()+"/v1", // without Responses of its own
		"SMTP_URL="+w.box.URL(), "SMTP_FROM=portal@example.com", "ADMINS="+canaryPerson, "VIEWERS=canary-viewer@example.com",
		"OIDC_ISSUER="+canaryProvider(t), "OIDC_CLIENT_ID=tollgate", "OIDC_CLIENT_SECRET="+canaryClient, "HOST_KEY="+canaryHost)
	w.setenv("PUBLIC_URL=" + w.URL)
	// The default configuration with an access log and debug messages.
	loud := strings.Replace(w.text(), "{\n", "{\n\tdebug\n", 1)
	w.asked = strings.TrimPrefix(upstream.URL(), "http://")
	loud = strings.Replace(loud, "dir {env.PIPELINES_DIR}", "http_host "+w.asked+" {\n\t\t\t\theader X-Key {env.HOST_KEY}\n\t\t\t\tprivate\n\t\t\t\tplain\n\t\t\t}", 1)
	w.configure(strings.Replace(loud, "\tllm_gateway {", "\tlog\n\tllm_gateway {\n\t\tlogin_rate_limit 1000/s", 1))
	w.start()
	w.eventually("everything is healthy", func() bool { return w.do("GET", "/health", "", "").get("status") == "healthy" })
	return w
}

// withPassword puts a password into a URL of a server that takes any.
func withPassword(t *testing.T, address, user, password string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.User = url.UserPassword(user, password)
	return u.String()
}

// canaryUpstream does what the last words of a request's body say. Where it
// fails it repeats the key and the request.
func canaryUpstream(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	asked := func(how string) bool { return strings.Contains(string(body), "please "+how) }
	problem, _ := json.Marshal(map[string]any{"error": map[string]any{
		"message": "Incorrect API key " + r.Header.Get("Authorization") + " of org-secret123 for: " + string(body),
		"type":    canaryPrompt + ": no type", "param": canaryPrompt, "code": "not a code: " + canaryPrompt,
	}})
	words := upstreamtest.ChatEvents(true, canaryAnswer, " and more")
	begun := upstreamtest.ChatEvents(true, "x")[1]
	switch {
	case asked("refuse the key"):
		upstreamtest.JSON(401, string(problem))(w, r)
	case asked("refuse the request"):
		upstreamtest.JSON(400, string(problem))(w, r)
	case asked("fail"):
		upstreamtest.JSON(500, string(problem), "X-Canary", canaryKey)(w, r)
	case asked("answer nonsense"):
		upstreamtest.HTML(502)(w, r)
	case asked("break in the middle"):
		upstreamtest.Drip(50*time.Millisecond, begun, "data: "+string(problem)+"\n\n")(w, r)
	case asked("cut"):
		upstreamtest.Drip(50*time.Millisecond, begun, ": wait\n\n")(w, r)
		panic(http.ErrAbortHandler)
	case asked("drip"):
		upstreamtest.Drip(50*time.Millisecond, append(words[:2:2], strings.Repeat(": wait\n\n", 200))...)(w, r)
		<-r.Context().Done()
	case strings.Contains(string(body), `"stream":true`):
		upstreamtest.Stream(words...)(w, r)
	default:
		upstreamtest.JSON(200, upstreamtest.ChatBody(canaryAnswer))(w, r)
	}
}

// canaryProvider is an OpenID provider that refuses every code and repeats what
// it was sent.
func canaryProvider(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": server.URL, "authorization_endpoint": server.URL + "/authorize", "token_endpoint": server.URL + "/token",
			"jwks_uri": server.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"},
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(400)
		_ = json.NewEncoder(w).Encode(map[string]string{
			"error": "invalid_grant", "error_description": r.Header.Get("Authorization") + canaryClient + string(body),
		})
	})
	return server.URL
}

// anyError is a status of 400 or more.
const anyError = 0

// call makes a call and looks at what it says. An answer other than an error may
// hold what belongs to its caller.
func (w *canaryWalk) call(status int, method, path, body string, headers ...string) answer {
	w.t.Helper()
	a := w.do(method, path, w.token, body, headers...)
	if status == anyError && a.Status >= 400 {
		status = a.Status
	}
	require.Equal(w.t, status, a.Status, "%s %s: %s", method, path, a.Body)
	said := fmt.Sprint(a.Header)
	for _, part := range []string{a.Body, said} {
		w.secrets.scan(w.t, method+" "+path, []byte(part))
	}
	w.personal.scan(w.t, "headers of "+method+" "+path, []byte(said))
	if status >= 400 {
		w.personal.scan(w.t, method+" "+path, []byte(a.Body))
	}
	return a
}

// secret notes what was made on the way and must not come out either. Of tokens,
// it is their last part that counts.
func (w *canaryWalk) secret(what, text string) string {
	w.t.Helper()
	require.NotEmpty(w.t, text, what)
	w.personal[what] = text[strings.LastIndexByte(text, '.')+1:]
	return text
}

var mailedLink = regexp.MustCompile(`/portal/\?code=(\S+?)&state=(\S+)`)

// signInByMail takes wrong ways first, then the right one.
func (w *canaryWalk) signInByMail() {
	w.t.Helper()
	w.call(403, "POST", "/auth/login", `{"email":"`+canaryPerson+`"}`)
	link := mailedLink.FindStringSubmatch(w.box.WaitTo(w.t, canaryPerson, 1))
	require.NotNil(w.t, link)
	code, state := w.secret("one-time code", link[1]), unescape(w.t, link[2])
	w.call(200, "GET", link[0], "")
	w.call(200, "GET", "/assets/app.js", "", "Referer", w.URL+link[0])

	w.call(403, "POST", "/auth/email/callback", `{"code":"`+canaryCode+`","state":"`+state+`"}`)
	w.call(403, "POST", "/auth/email/callback", `{"code":"`+code+`","state":"email:`+canaryBad+`"}`)
	a := w.call(200, "POST", "/auth/email/callback", `{"code":"`+code+`","state":"`+state+`"}`)
	w.secret("first access token", a.get("access_token"))
	refresh := w.secret("first refresh token", a.get("refresh_token"))
	w.call(403, "POST", "/auth/email/callback", `{"code":"`+code+`","state":"`+state+`"}`)
	w.call(401, "POST", "/auth/refresh", `{"refresh_token":"`+canaryBad+`"}`)
	a = w.call(200, "POST", "/auth/refresh", `{"refresh_token":"`+refresh+`"}`)
	w.token = w.secret("access token", a.get("access_token"))
	w.secret("refresh token", a.get("refresh_token"))
	require.Equal(w.t, "admin", w.call(200, "GET", "/auth/me", "").get("role"))
	w.call(200, "GET", "/auth/verify", "")
	w.secret("API token", w.call(200, "POST", "/auth/tokens", `{"name":"program","rate":"5/h"}`).get("token"))
	w.call(200, "GET", "/auth/tokens", "")

	// A mail that cannot be delivered.
	w.box.Refuse("no such user " + canaryOther)
	w.call(403, "POST", "/auth/login", `{"email":"`+canaryOther+`"}`)
	w.printed("mail")
	w.box.Refuse("")
}

func unescape(t *testing.T, text string) string {
	t.Helper()
	plain, err := url.QueryUnescape(text)
	require.NoError(t, err)
	return plain
}

func (w *canaryWalk) signInByProvider() {
	w.t.Helper()
	a := w.call(200, "GET", "/auth/sso", "")
	address, err := url.Parse(a.get("auth_url"))
	require.NoError(w.t, err)
	state := address.Query().Get("state")
	require.NotEmpty(w.t, state)
	w.call(403, "POST", "/auth/sso/callback", `{"code":"`+canaryCode+`","state":"`+state+`"}`)
	w.call(422, "POST", "/auth/sso/callback", `{"code":"`+canaryCode+`","state":"sso:`+canaryBad+`"}`)
	w.call(404, "GET", "/auth/"+canaryBad, "")
}

// ask is a body for /chat/send and the like.
func (w *canaryWalk) question(how string) string {
	attachment := base64.StdEncoding.EncodeToString([]byte(canaryFile))
	return fmt.Sprintf(`{"specialist_id":"legal-quick","message":"%s please %s","conversation_history":[{"role":"system","content":"%s"},{"role":"assistant","content":""}],
		"attachments":[{"filename":"%s.txt","content_type":"text/plain","data_base64":"%s","size_bytes":%d}]}`,
		canaryPrompt, how, canarySystem, canaryFile, attachment, len(canaryFile))
}

// failures are the ways in which the upstream fails before it answers.
var failures = []string{"refuse the key", "refuse the request", "fail", "answer nonsense"}

func (w *canaryWalk) chat() {
	w.t.Helper()
	for _, path := range []string{"/chat/send", "/chat/stream"} {
		a := w.call(200, "POST", path, w.question("answer"))
		require.Contains(w.t, a.Body, canaryAnswer)
		for _, how := range failures {
			w.call(anyError, "POST", path, w.question(how))
		}
	}
	for _, how := range []string{"break in the middle", "cut"} {
		a := w.call(200, "POST", "/chat/stream", w.question(how))
		w.personal.scan(w.t, how, []byte(a.Body))
	}
	for path, body := range map[string]string{
		"/v1/chat/completions": `{"model":"openai/gpt-4o","stream":%t,"messages":[{"role":"system","content":"%s"},{"role":"user","content":"%s please %s"}]}`,
		"/v1/messages":         `{"model":"openai/gpt-4o","max_tokens":100,"stream":%t,"system":"%s","messages":[{"role":"user","content":"%s please %s"}]}`,
		"/v1/responses":        `{"model":"mistral/mistral-small-latest","store":true,"stream":%t,"instructions":"%s","input":"%s please %s"}`,
	} {
		for _, stream := range []bool{false, true} {
			a := w.call(200, "POST", path, fmt.Sprintf(body, stream, canarySystem, canaryPrompt, "answer"))
			require.Contains(w.t, a.Body, canaryAnswer)
			for _, how := range failures {
				w.call(anyError, "POST", path, fmt.Sprintf(body, stream, canarySystem, canaryPrompt, how))
			}
		}
		for _, how := range []string{"break in the middle", "cut"} {
			a := w.call(200, "POST", path, fmt.Sprintf(body, true, canarySystem, canaryPrompt, how))
			w.personal.without("prompt", "caller's system prompt").scan(w.t, how, []byte(a.Body)) // Responses repeat both
		}
	}
	w.call(200, "POST", "/chat/triage", `{"message":"`+canaryPrompt+`"}`)
	for _, path := range []string{"/usage/logs", "/usage/logs?user_hash=" + canaryPrompt, "/usage/summary?group_by=user", "/usage/export"} {
		a := w.call(200, "GET", path, "")
		w.personal.scan(w.t, path, []byte(a.Body))
	}
}

func (w *canaryWalk) conversations() {
	w.t.Helper()
	made := w.call(200, "POST", "/conversations/", `{"provider":"openai","model":"gpt-4o-mini","mode":"specialist","specialist_id":"legal-quick"}`)
	path := "/conversations/" + made.get("uuid")
	message := canaryPrompt + " please answer"
	w.call(200, "POST", path+"/messages", `{"role":"user","content":"`+message+`"}`)
	w.call(200, "POST", "/chat/stream", w.question("answer"))
	w.eventually("the answer is kept", func() bool { return strings.Contains(w.call(200, "GET", path, "").Body, canaryAnswer) })
	require.Contains(w.t, w.call(200, "GET", "/conversations/", "").Body, canaryPrompt)
	w.call(200, "PUT", path, `{"title":"`+canaryTitle+`"}`)
	w.call(422, "POST", path+"/messages", `{"role":"`+canaryPrompt+`","content":"`+canaryPrompt+`"}`)
	gone := w.call(200, "POST", "/conversations/", `{"specialist_id":"legal-quick"}`)
	w.call(200, "DELETE", "/conversations/"+gone.get("uuid"), "")
	w.call(404, "GET", "/conversations/"+gone.get("uuid"), "")
}

// liveChat talks over a WebSocket.
func (w *canaryWalk) liveChat() {
	w.t.Helper()
	ctx := w.t.Context()
	dial := func(first string) *websocket.Conn {
		conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(w.URL, "http")+"/chat/ws", nil)
		require.NoError(w.t, err)
		require.NoError(w.t, conn.Write(ctx, websocket.MessageText, []byte(first)))
		return conn
	}
	for _, first := range []string{`{"type":"auth","token":"` + canaryBad + `"}`, canaryPrompt} {
		conn := dial(first)
		var err error
		for err == nil {
			var said []byte
			_, said, err = conn.Read(ctx)
			w.personal.scan(w.t, "WebSocket", said)
		}
		w.personal.scan(w.t, "WebSocket", []byte(err.Error()))
	}
	conn := dial(`{"type":"auth","token":"` + w.token + `"}`)
	defer func() { _ = conn.CloseNow() }()
	finals := func(body string) string {
		require.NoError(w.t, conn.Write(ctx, websocket.MessageText, []byte(body)))
		var all strings.Builder
		for {
			_, said, err := conn.Read(ctx)
			require.NoError(w.t, err)
			w.secrets.scan(w.t, "WebSocket", said)
			all.Write(said)
			if strings.Contains(string(said), canaryAnswer) && strings.Contains(body, "please drip") {
				require.NoError(w.t, conn.Write(ctx, websocket.MessageText, []byte(`{"type":"cancel","id":"canary"}`)))
			}
			if strings.Contains(string(said), `"is_final":true`) || strings.Contains(string(said), `"type":"error"`) {
				return all.String()
			}
		}
	}
	live := func(how string) string { return `{"id":"canary",` + strings.TrimPrefix(w.question(how), "{") }
	require.Contains(w.t, finals(live("answer")), canaryAnswer)
	require.Contains(w.t, finals(live("drip")), canaryAnswer)
	for _, how := range failures {
		w.personal.scan(w.t, "WebSocket: "+how, []byte(finals(live(how))))
	}
	w.personal.scan(w.t, "WebSocket", []byte(finals(live("cut"))))
}

// specialists are changed by an admin.
func (w *canaryWalk) specialists() {
	w.t.Helper()
	w.call(200, "POST", "/specialists/", `{"id":"mine","name":"Mine","provider":"openai","model":"gpt-4o","system_prompt":"`+canaryShipped+`"}`)
	w.call(200, "PUT", "/specialists/mine", `{"system_prompt":"`+canaryShipped+` again"}`)
	w.call(200, "POST", "/specialists/mine/duplicate", "{}")
	w.call(409, "POST", "/specialists/", `{"id":"mine2","name":"Mine","provider":"openai","model":"gpt-4o","system_prompt":"`+canaryShipped+`"}`)
	for _, body := range []string{
		`{"base_url":"https://user:` + canaryBad + `@example.com/` + canaryPrompt + `"}`, `{"temperature":"` + canaryPrompt + `"}`,
		`{"provider":"` + canaryPrompt + ` of nobody"}`, `{"pricing":{"` + canaryPrompt + `":1}}`, `{"fallbacks":[{"provider":"` + canaryPrompt + `"}]}`,
	} {
		w.call(422, "PUT", "/specialists/mine", body)
	}
	w.call(200, "DELETE", "/specialists/mine", "")
	w.personal.scan(w.t, "the users", []byte(w.call(200, "GET", "/auth/users", "").Body))
	w.call(200, "PUT", "/auth/users/"+strings.Repeat("a", 64), `{"blocked":true,"reason":"`+canaryPrompt+`"}`)
	w.personal.scan(w.t, "the audit log", []byte(w.call(200, "GET", "/audit", "").Body))
}

// badRequests have canaries wherever a request can have something.
func (w *canaryWalk) badRequests() {
	w.t.Helper()
	token := w.token
	defer func() { w.token = token }()
	for _, path := range []string{
		"/nowhere/" + canaryPrompt, "/v1/" + canaryPrompt, "/conversations/" + canaryPrompt, "/specialists/" + canaryPrompt,
		"/v1/models/" + canaryPrompt, "/auth/" + canaryPrompt, "/assets/" + canaryPrompt, "/auth/users/" + canaryPerson,
		"/api/v2/pipelines/" + canaryPrompt, "/api/v2/pipelines/runs/" + canaryPrompt, "/api/v2/pipelines/definitions/" + canaryPrompt,
	} {
		for _, bearer := range []string{token, canaryBad, ""} {
			w.token = bearer
			w.call(anyError, "GET", path+"?email="+canaryPerson+"&key="+canaryBad, "", "X-Forwarded-For", canaryPrompt, "Cookie", "session="+canaryBad)
		}
	}
	w.token = token
	paths := []string{
		"/chat/send", "/chat/stream", "/chat/triage", "/chat/direct/stream", "/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings",
		"/conversations", "/specialists", "/auth/login", "/auth/refresh", "/auth/email/callback", "/auth/tokens", "/specialists/import",
		"/api/v2/pipelines/run",
	}
	for _, path := range paths {
		for _, body := range []string{
			canaryPrompt, `"` + canaryPrompt + `"`, `{"` + canaryPrompt, `{"` + canaryPrompt + `":{"` + canaryPrompt + `":1}`,
			`{"message":{"` + canaryPrompt + `":1},"model":["` + canaryPrompt + `"],"name":{"` + canaryPrompt + `":1},"email":["` + canaryPerson + `"],"code":7,"refresh_token":7,"mode":["` + canaryPrompt + `"]}`,
			`{"model":"nobody","specialist_id":"nobody","message":"` + canaryPrompt + `","provider":"nobody","messages":[{"role":"` + canaryPrompt + `","` + canaryPrompt + `":1}],"email":"` + canaryPrompt + `","name":"","rate":"` + canaryPrompt + `","input":{"` + canaryPrompt + `":1}}`,
			`{"message":"x","message":"` + canaryPrompt + `","model":"x","model":"` + canaryPrompt + `"}`,
		} {
			a := w.do("POST", path, token, body, "Content-Type", "application/json; x="+canaryPrompt)
			w.secrets.scan(w.t, "POST "+path, []byte(a.Body))
			if a.Status >= 400 {
				w.personal.scan(w.t, "POST "+path+" "+body, []byte(a.Body))
			}
		}
	}
}

// signOut ends it all.
func (w *canaryWalk) signOut() {
	w.t.Helper()
	w.call(200, "POST", "/auth/logout", "{}")
	w.call(401, "GET", "/auth/me", "")
}
