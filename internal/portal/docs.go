package portal

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5/static"
	"github.com/swaggest/swgui/v5emb"

	"github.com/financecommander/tollgate/internal/portal/openapi"
)

// docs is the page that shows the OpenAPI document, made when it is first asked
// for. Everything on it comes from this server.
type docs struct {
	ui     http.Handler
	page   []byte
	policy string // Content-Security-Policy
}

func (h *Handler) docsRoutes() {
	document := sync.OnceValues(func() ([]byte, error) { return openapi.JSON(h.o.Version) })
	page := sync.OnceValues(newDocs)
	h.handle("/openapi.json", methods{http.MethodGet: func(w http.ResponseWriter, _ *http.Request) error {
		text, err := document()
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text)
		return nil
	}})
	h.handle("/docs", methods{http.MethodGet: func(w http.ResponseWriter, _ *http.Request) error {
		docs, err := page()
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", docs.policy)
		_, _ = w.Write(docs.page)
		return nil
	}})
	// The page's own files are no routes of the API. Browsers keep them for an hour:
	// they are the same for everybody.
	file := func(w http.ResponseWriter, r *http.Request) error {
		docs, err := page()
		if err != nil {
			return err
		}
		w.Header().Set("Cache-Control", "public, max-age=3600")
		docs.ui.ServeHTTP(w, r)
		return nil
	}
	files, _ := static.FS.ReadDir(".") // embedded: there is no error to have
	for _, f := range files {
		h.handleAs("", "/docs/"+strings.TrimSuffix(f.Name(), ".gz"), methods{http.MethodGet: file})
	}
}

// newDocs renders the page once and allows in its Content-Security-Policy just
// the inline scripts and styles that it has, by their hashes.
func newDocs() (*docs, error) {
	d := &docs{ui: v5emb.NewWithConfig(swgui.Config{
		ShowTopBar: false,
		SettingsUI: map[string]string{
			"persistAuthorization": "false", // a token stays in the page that it was put into
			"tryItOutEnabled":      "true",
		},
	})("Tollgate", "/openapi.json", "/docs")}
	page := pageWriter{header: make(http.Header)}
	d.ui.ServeHTTP(&page, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/docs"}})
	if page.Len() == 0 {
		return nil, fmt.Errorf("render the page of the API's documentation: it is empty")
	}
	d.page = page.Bytes()
	d.policy = strings.Join([]string{
		"default-src 'none'",
		"script-src 'self' " + hashes(d.page, inlineScript),
		// Swagger UI styles some of its elements one by one, which no hash can name.
		"style-src 'self' 'unsafe-inline'",
		"img-src 'self' data:",
		"connect-src 'self'",
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
	}, "; ")
	return d, nil
}

var inlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

// hashes are the sources of a policy that name what the pattern finds.
func hashes(page []byte, inline *regexp.Regexp) string {
	scripts := inline.FindAllSubmatch(page, -1)
	sources := make([]string, 0, len(scripts))
	for _, match := range scripts {
		sum := sha256.Sum256(match[1])
		sources = append(sources, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	return strings.Join(sources, " ")
}

// pageWriter keeps what a handler writes.
type pageWriter struct {
	bytes.Buffer
	header http.Header
}

func (p *pageWriter) Header() http.Header { return p.header }
func (p *pageWriter) WriteHeader(int)     {}
