package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
)

var moduleIDs = []string{
	"llm", "admin.api.llm", "http.authentication.providers.llm_jwt", "http.handlers.llm_cors", "http.handlers.llm_error",
	"http.handlers.llm_portal", "http.handlers.llm_proxy", "http.handlers.llm_rate_limit",
}

func TestModulesAreRegistered(t *testing.T) {
	for _, id := range moduleIDs {
		info, err := caddy.GetModule(id)
		require.NoError(t, err)
		require.Equal(t, caddy.ModuleID(id), info.ID)
		one, other := info.New(), info.New()
		require.IsType(t, one, other)
		if id != "http.handlers.llm_error" { // has no fields, so all are one
			require.NotSame(t, one, other, id)
		}
	}
}

// provision makes an app ready as Caddy does, which cannot do it to an app alone;
// unload cleans it up.
func provision(t *testing.T, config string) (app *App, unload func(), err error) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	app = new(App)
	unload = func() {
		require.NoError(t, app.Cleanup())
		cancel()
	}
	if err = caddy.StrictUnmarshalJSON([]byte(config), app); err == nil {
		if err = app.Provision(ctx); err == nil {
			err = app.Validate()
		}
	}
	if err != nil {
		unload()
	}
	return app, unload, err
}

func TestAppIsProvisionedOffline(t *testing.T) {
	t.Chdir(t.TempDir())
	app, unload, err := provision(t, `{
		"database": "postgres://user:password@192.0.2.1/x", "redis": "redis://192.0.2.1/",
		"jwt": {"issuers": [{"name": "a", "issuer": "a", "any_audience": true, "jwks": "https://192.0.2.1/"}]}
	}`)
	require.NoError(t, err)
	require.Len(t, held(), 9, "database, two limiters, redis, ledger, revocations, conversations, runs and their calls")
	dir, err := os.Getwd()
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "data"), app.DataDir)
	unload()
	require.Empty(t, held())
}

// TestAppRefuses: a configuration that cannot be is refused with the reason, and
// nothing of it stays.
func TestAppRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("broken.json", []byte("{"), 0o600))
	require.NoError(t, os.Mkdir("pipelines", 0o700))
	require.NoError(t, os.WriteFile("pipelines/a.yaml", []byte("name: a\nsteps:\n  - {name: b, transform: steps.c.output}\n"), 0o600))
	long := strings.Repeat("x", 32)
	for name, test := range map[string]struct{ config, err string }{
		"unknown field":      {`{"databse": ""}`, "unknown field"},
		"on_disconnect":      {`{"on_disconnect": "wait"}`, `on_disconnect is "wait"; it can be cancel or drain`},
		"negative size":      {`{"max_body": -1}`, "cannot be negative"},
		"database":           {`{"database": "mysql://user:canary@host/x"}`, "database"},
		"redis":              {`{"redis": "http://user:canary@host"}`, "redis"},
		"redis_failure":      {`{"redis_failure": "panic"}`, "redis_failure"},
		"short secret":       {`{"jwt": {"secret": "canary"}}`, "needs at least 32"},
		"missing file":       {`{"jwt": {"secret": "{file./no/such/canary}"}}`, "jwt secret"},
		"unknown name":       {`{"jwt": {"secret": "{no.such.placeholder}"}}`, "jwt secret"},
		"pepper":             {`{"pepper": "{file./no/such/file}"}`, "pepper"},
		"issuer keyless":     {`{"jwt": {"issuers": [{"name": "a", "issuer": "a"}]}}`, "issuer"},
		"issuer's claim":     {`{"jwt": {"issuers": [{"name": "a", "secret": "` + long + `", "claims": {"rolls": "x"}}]}}`, `no claim "rolls"`},
		"issuers of a name":  {`{"jwt": {"issuers": [{"name": "a", "issuer": "a", "secret": "` + long + `"}, {"name": "a", "issuer": "b", "secret": "` + long + `"}]}}`, `two issuers have the name "a"`},
		"issuer of ours":     {`{"jwt": {"issuers": [{"name": "a", "issuer": "tollgate", "secret": "` + long + `"}]}}`, `same "iss"`},
		"provider nameless":  {`{"providers": [{"keys": ["x"]}]}`, "the name must be new"},
		"provider demo":      {`{"providers": [{"name": "demo"}]}`, "the name must be new"},
		"provider slash":     {`{"providers": [{"name": "a/b"}]}`, "the name must be new"},
		"provider twice":     {`{"providers": [{"name": "openai"}, {"name": "openai"}]}`, "the name must be new"},
		"provider preset":    {`{"providers": [{"name": "x", "preset": "y", "keys": ["z"]}]}`, "preset"},
		"provider URL":       {`{"providers": [{"name": "openai", "keys": ["x"], "base_url": "ftp://x"}]}`, "base"},
		"provider formats":   {`{"providers": [{"name": "anthropic", "keys": ["x"], "formats": ["openai_chat"]}]}`, "provider anthropic: formats: where it takes openai_chat is not known"},
		"provider auth":      {`{"providers": [{"name": "openai", "keys": ["x"], "auth": "basic"}]}`, `provider openai: auth is "basic"`},
		"azure nowhere":      {`{"providers": [{"name": "azure", "keys": ["x"]}]}`, "provider azure: base_url is required"},
		"vertex key":         {`{"providers": [{"name": "vertex", "credentials": "canary"}]}`, "provider vertex: credentials are not the JSON text"},
		"vertex file":        {`{"providers": [{"name": "vertex", "credentials": "{file./no/such/canary}"}]}`, "provider vertex credentials"},
		"unsupported":        {`{"unsupported": "ignore"}`, `unsupported is "ignore"; it can be refuse or drop`},
		"fetch_media size":   {`{"fetch_media": {"max_size": -1}}`, "fetch_media"},
		"fetch_media host":   {`{"fetch_media": {"hosts": ["https://a.example"]}}`, "fetch_media: hosts are names"},
		"fetch_media hosts":  {`{"fetch_media": {"hosts": ["a.*.example"]}}`, "fetch_media: hosts are names"},
		"pipelines":          {`{"pipelines": {"dir": "pipelines"}}`, "a.yaml:3:"},
		"no pipelines":       {`{"pipelines": {"dir": "nowhere"}}`, "read the folder of pipelines"},
		"pipelines negative": {`{"pipelines": {"max_runs": -1}}`, "pipelines: max_runs"},
		"pipelines host":     {`{"pipelines": {"http_hosts": [{"name": "https://a.example"}]}}`, "pipelines: "},
		"pipelines header":   {`{"pipelines": {"http_hosts": [{"name": "a.example", "headers": {"X-Key": "{file./no/such/canary}"}}]}}`, "http_host a.example header X-Key"},
		"transport":          {`{"transport": {"protocol": "pigeon"}}`, "pigeon"},
		"own transport":      {`{"providers": [{"name": "openai", "keys": ["x"], "transport": {"protocol": "pigeon"}}]}`, "pigeon"},
		"no prices":          {`{"prices": "none.json"}`, "prices"},
		"broken prices":      {`{"prices": "broken.json"}`, "prices broken.json"},
		"specialist":         {`{"specialists": [{"id": "X Y"}]}`, "specialist"},
		"specialists":        {`{"specialists": [{"id": "a", "name": "A", "provider": "p", "model": "m", "system_prompt": "x"}, {"id": "a", "name": "B", "provider": "p", "model": "m", "system_prompt": "x"}]}`, "used twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := provision(t, test.config)
			require.ErrorContains(t, err, test.err)
			require.NotContains(t, strings.ReplaceAll(err.Error(), "/no/such/canary", ""), "canary")
			require.Empty(t, held())
		})
	}
}

// TestPlaceholders: what comes out empty is not set, and a secret never gets
// into the configuration.
func TestPlaceholders(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("A_KEY", "canary")
	t.Setenv("EMPTY", "")
	t.Setenv("PROJECT", "p-1")
	t.Setenv("DOMAINS", "a.example, b.example")
	require.NoError(t, os.WriteFile("key", []byte("from-file\n"), 0o600))
	app, unload, err := provision(t, `{
		"data_dir": "{env.EMPTY}", "database": "{env.UNSET}", "redis": "{env.EMPTY}", "metrics_listen": "{env.UNSET}",
		"allowed_domains": ["{env.DOMAINS}", "c.example", "{env.EMPTY}"],
		"providers": [
			{"name": "openai", "keys": ["{env.UNSET}", "{env.A_KEY}", "{file.key}"], "base_url": "{env.EMPTY}"},
			{"name": "anthropic", "keys": ["{env.EMPTY}"]},
			{"name": "ollama", "base_url": "{env.UNSET}"},
			{"name": "lmstudio"},
			{"name": "azure", "base_url": "{env.UNSET}", "keys": ["{env.UNSET}"]},
			{"name": "vertex", "project": "{env.UNSET}", "credentials": "{env.UNSET}"},
			{"name": "google", "preset": "vertex", "project": "{env.UNSET} {env.PROJECT}", "location": "{env.UNSET}"},
			{"name": "local", "preset": "ollama", "base_url": "http://localhost:11434/v1"}
		]
	}`)
	require.NoError(t, err)
	defer unload()
	require.Equal(t, []string{"a.example", "b.example", "c.example"}, app.AllowedDomains)
	require.Equal(t, "data", filepath.Base(app.DataDir))
	require.Nil(t, app.engine.redis)
	require.Empty(t, app.MetricsListen)
	var on []string
	for _, p := range app.engine.providers {
		on = append(on, p.Name)
	}
	require.Equal(t, []string{"openai", "google", "local"}, on)
	require.Equal(t, "https://aiplatform.googleapis.com/v1/projects/p-1/locations/global/publishers/google/models/m:generateContent",
		app.engine.providers[1].Endpoint(dialect.Gemini, "m", false).String())
	require.Equal(t, []string{"{env.UNSET}", "{env.A_KEY}", "{file.key}"}, app.Providers[0].Keys)
	h := http.Header{}
	require.NoError(t, app.engine.providers[0].Authorize(t.Context(), h, true))
	require.Contains(t, []string{"Bearer canary", "Bearer from-file"}, h.Get("Authorization"))
}

func TestHandlersRefuse(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, test := range map[string]struct{ handler, err string }{
		"zone twice":    {`{"handler": "llm_rate_limit", "zones": [{"name": "a", "limit": "1/h"}, {"name": "a", "limit": "2/h"}]}`, "each zone needs a name of its own"},
		"zone nameless": {`{"handler": "llm_rate_limit", "zones": [{"limit": "1/h"}]}`, "each zone needs a name of its own"},
		"limit":         {`{"handler": "llm_rate_limit", "zones": [{"name": "a", "limit": "often"}]}`, "want a rate such as 60/h"},
		"unknown field": {`{"handler": "llm_proxy", "anon": true}`, "unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			config := `{"admin": {"disabled": true}, "apps": {"http": {"servers": {"x": {"listen": ["127.0.0.1:0"], "routes": [{"handle": [` + test.handler + `]}]}}}}}`
			require.ErrorContains(t, caddy.Validate(parseConfig(t, config)), test.err)
			require.Empty(t, held(), "the app that the handler asked for is gone again")
		})
	}
}

func TestRefusalSaysCaddysErrorsInOurWords(t *testing.T) {
	for status, cause := range map[int]llm.Cause{
		400: llm.CauseInvalidRequest, 401: llm.CauseUnauthenticated, 403: llm.CauseForbidden, 404: llm.CauseNotFound,
		405: llm.CauseMethodNotAllowed, 413: llm.CauseTooLarge, 418: llm.CauseInvalidRequest, 429: llm.CauseRateLimited,
		500: llm.CauseInternal, 502: llm.CauseInternal, 503: llm.CauseUnavailable,
	} {
		for _, path := range []string{"/v1/models", "/chat/send"} {
			r := httptest.NewRequest("GET", path, nil)
			r = r.WithContext(context.WithValue(r.Context(), caddyhttp.ErrorCtxKey, caddyhttp.Error(status, errors.New("canary"))))
			w := httptest.NewRecorder()
			require.NoError(t, (&ErrorResponder{}).ServeHTTP(w, r, nil))
			require.Equal(t, status, w.Code)
			require.NotContains(t, w.Body.String(), "canary")
			require.Equal(t, cause, refusal(r).Cause)
		}
	}
}

func TestSplitListen(t *testing.T) {
	for listen, want := range map[string]map[string]string{
		"":                   {},
		"127.0.0.1:8080":     {"LISTEN_HOST": "127.0.0.1", "LISTEN_PORT": "8080"},
		":8080":              {"LISTEN_HOST": "::", "LISTEN_PORT": "8080"},
		"0.0.0.0:8080":       {"LISTEN_HOST": "0.0.0.0", "LISTEN_PORT": "8080"},
		"[::1]:8080":         {"LISTEN_HOST": "::1", "LISTEN_PORT": "8080"},
		"localhost:8080":     {"LISTEN_HOST": "localhost", "LISTEN_PORT": "8080"},
		"unix//run/tollgate": {"LISTEN_HOST": "unix//run/tollgate"},
		"tcp4/10.0.0.1:80":   {"LISTEN_HOST": "tcp4/10.0.0.1", "LISTEN_PORT": "80"},
	} {
		got := map[string]string{}
		lookup := func(name string) (string, bool) { return listen, name == "LISTEN" }
		splitListen(lookup, func(name, value string) error { got[name] = value; return nil })
		require.Equal(t, want, got, listen)
	}
	given := func(name string) (string, bool) { return "1.2.3.4:5", true }
	splitListen(given, func(name, _ string) error { t.Errorf("%s was set already", name); return nil })
}

func TestGreet(t *testing.T) {
	for address, url := range map[string]string{
		"127.0.0.1:8080":     "http://127.0.0.1:8080",
		"localhost:80":       "http://localhost:80",
		"[::1]:8080":         "http://[::1]:8080",
		":8080":              "http://127.0.0.1:8080",
		"[::]:8080":          "http://127.0.0.1:8080",
		"10.1.2.3:8080":      "http://10.1.2.3:8080",
		"unix//run/tollgate": "unix//run/tollgate",
	} {
		for _, trusted := range []bool{true, false} {
			var out strings.Builder
			greet(&out, address, trusted)
			require.True(t, strings.HasPrefix(out.String(), "Tollgate listens on "+url+"\n"), out.String())
			if trusted && strings.HasPrefix(url, "http") {
				require.Equal(t, 2, strings.Count(out.String(), "curl -"), address)
				require.Contains(t, out.String(), url+"/auth/login")
			} else {
				require.NotContains(t, out.String(), "curl -", "%s: would not sign in", address)
			}
		}
	}
}
