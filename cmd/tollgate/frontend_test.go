package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFrontend(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "portal")
	for name, content := range map[string]string{
		"portal/index.html": "<html>the app</html>", "portal/assets/app.js": "app()", "portal/images/logo.svg": "<svg/>",
		"portal/favicon.ico": "icon", "portal/robots.txt": "none", "secret.txt": "outside",
		"portal/.env": "hidden", "portal/assets/.git/config": "hidden",
	} {
		path := filepath.Join(filepath.Dir(dir), name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	g := startGateway(t, "PORTAL_DIR="+dir)
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/portal":                          {200, "<html>the app</html>"},
		"/portal/":                         {200, "<html>the app</html>"},
		"/portal/?code=1&state=email:x":    {200, "<html>the app</html>"},
		"/portal/chat/42":                  {200, "<html>the app</html>"},
		"/portal/index.html":               {200, "<html>the app</html>"},
		"/portal/robots.txt":               {200, "none"},
		"/assets/app.js":                   {200, "app()"},
		"/images/logo.svg":                 {200, "<svg/>"},
		"/favicon.ico":                     {200, "icon"},
		"/portal/..%2fsecret.txt":          {404, ""},
		"/assets/..%2f..%2fsecret.txt":     {404, ""},
		"/assets/%2e%2e/%2e%2e/secret.txt": {404, ""},
		"/assets/missing.js":               {404, ""},
		"/portal/.env":                     {404, ""},
		"/portal/assets/.git/config":       {404, ""},
		"/assets/.git/config":              {404, ""},
		"/elsewhere":                       {404, ""},
	} {
		a := g.do("GET", path, "", "")
		require.Equal(t, want.status, a.Status, "%s: %s", path, a.Body)
		if want.status == 200 {
			require.Equal(t, want.body, a.Body, path)
		} else {
			requireErrorShape(t, path, a)
		}
	}
	require.Equal(t, "text/html; charset=utf-8", g.do("GET", "/portal/chat", "", "").Header.Get("Content-Type"))
	root := g.do("GET", "/", "", "")
	require.Equal(t, 302, root.Status)
	require.Equal(t, "/portal/", root.Header.Get("Location"))
	require.Equal(t, "healthy", g.do("GET", "/health", "", "").get("status"), "the API is where it was")
	require.Equal(t, 401, g.do("GET", "/specialists/", "", "").Status)
	require.NotContains(t, g.log.String(), "portal_dir has no")
}

func TestFrontendThatIsNotThere(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "PORTAL_DIR="+t.TempDir())
	g.printed("portal_dir has no index.html")
	requireErrorShape(t, "/portal/", g.do("GET", "/portal/", "", ""))
}

func TestNoFrontend(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	for _, path := range []string{"/", "/portal/", "/assets/app.js"} {
		a := g.do("GET", path, "", "")
		require.Equal(t, 404, a.Status, path)
		requireErrorShape(t, path, a)
	}
}
