package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/egress"
	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/metrics"
	"github.com/financecommander/tollgate/internal/portal"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/usage"
)

func TestCauses(t *testing.T) {
	want := make([][]string, 0, len(llm.Causes))
	for _, cause := range llm.Causes {
		fallback := ""
		if cause.Retryable() {
			fallback = "yes"
		}
		want = append(want, []string{"`" + string(cause) + "`", strconv.Itoa(cause.Status()), fallback})
	}
	var got [][]string
	for _, row := range table(t, "api.md", "## Causes") {
		got = append(got, row[:3])
	}
	require.Equal(t, want, got)
}

func TestUsageColumns(t *testing.T) {
	want := []string{"estimated_cost_usd"} // computed by the database
	for field := range reflect.TypeFor[usage.Record]().Fields() {
		want = append(want, field.Tag.Get("json"))
	}
	require.ElementsMatch(t, want, firstColumn(table(t, "api.md", "## Usage rows")))
}

// TestMetrics compares names and labels with what the collectors describe.
func TestMetrics(t *testing.T) {
	var described descriptions
	require.NoError(t, metrics.Register(&described))
	got := make(map[string][]string)
	for _, row := range table(t, "operations.md", "## Metrics") {
		got[names(row[0])[0]] = names(row[2])
	}
	require.Equal(t, described.labels, got)
}

// descriptions is a registry that only looks.
type descriptions struct{ labels map[string][]string }

var description = regexp.MustCompile(`^Desc\{fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)

func (d *descriptions) Register(c prometheus.Collector) error {
	if d.labels == nil {
		d.labels = make(map[string][]string)
	}
	ch := make(chan *prometheus.Desc, 16)
	c.Describe(ch)
	close(ch)
	for desc := range ch {
		match := description.FindStringSubmatch(desc.String())
		d.labels[match[1]] = nil
		if match[2] != "" {
			d.labels[match[1]] = strings.Split(match[2], ",")
		}
	}
	return nil
}

func (d *descriptions) MustRegister(...prometheus.Collector) {}
func (d *descriptions) Unregister(prometheus.Collector) bool { return false }

// TestOptions compares the tables of options with what the Caddyfile's parsers
// accept.
func TestOptions(t *testing.T) {
	for heading, function := range map[string]string{
		"## Options of `llm`":  "App.unmarshalOption",
		"### `jwt`":            "JWT.unmarshal",
		"### `issuer`":         "Issuer.unmarshal",
		"### `login`":          "Login.unmarshal",
		"### `email`":          "EmailLogin.unmarshal",
		"### `oidc`":           "OIDCLogin.unmarshal",
		"### `provider`":       "App.unmarshalProvider",
		"### `fetch_media`":    "App.unmarshalFetchMedia",
		"### `pipelines`":      "Pipelines.unmarshal",
		"### `http_host`":      "HTTPHost.unmarshal",
		"### `specialist`":     "unmarshalSpecialistOption",
		"### `llm_gateway`":    "parseGatewayOptions",
		"### `llm_rate_limit`": "RateLimit.UnmarshalCaddyfile",
		"### `llm_proxy`":      "Proxy.UnmarshalCaddyfile",
		"### `llm_portal`":     "Portal.UnmarshalCaddyfile",
	} {
		require.ElementsMatch(t, accepted(t, function), firstColumn(table(t, "configuration.md", heading)), heading)
	}
	timeouts := row(t, "### `provider`", "timeout")
	require.ElementsMatch(t, accepted(t, "Provider.unmarshalTimeout"), names(timeouts[1]))
	claims := row(t, "### `issuer`", "claim")
	require.ElementsMatch(t, accepted(t, "Issuer.resolve"), names(claims[3]))
}

// row is an option's row in a table of configuration.md.
func row(t *testing.T, heading, option string) []string {
	t.Helper()
	rows := table(t, "configuration.md", heading)
	i := slices.IndexFunc(rows, func(row []string) bool { return row[0] == "`"+option+"`" })
	require.NotEqual(t, -1, i, "%s has no option %s", heading, option)
	return rows[i]
}

// accepted are the names that a parsing function of caddymodule knows: its
// cases, and what it compares an option with.
func accepted(t *testing.T, function string) (options []string) {
	t.Helper()
	add := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			name, err := strconv.Unquote(lit.Value)
			require.NoError(t, err)
			options = append(options, name)
		}
	}
	ast.Inspect(functionNamed(t, function), func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CaseClause:
			for _, e := range n.List {
				add(e)
			}
		case *ast.BinaryExpr:
			if option, ok := n.X.(*ast.Ident); ok && option.Name == "option" {
				add(n.Y)
			}
		}
		return true
	})
	require.NotEmpty(t, options, function)
	return options
}

// functionNamed finds a function ("f") or method ("T.m") of caddymodule.
func functionNamed(t *testing.T, name string) *ast.FuncDecl {
	t.Helper()
	files, err := filepath.Glob("../caddymodule/*.go")
	require.NoError(t, err)
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && qualified(f) == name {
				return f
			}
		}
	}
	t.Fatalf("caddymodule has no function %s", name)
	return nil
}

func qualified(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	receiver := f.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	if name, ok := receiver.(*ast.Ident); ok {
		return name.Name + "." + f.Name.Name
	}
	return ""
}

func TestDirectives(t *testing.T) {
	source := read(t, "../caddymodule/caddyfile_handlers.go")
	var want []string
	for _, match := range regexp.MustCompile(`Register(?:Handler)?Directive\("(\w+)"`).FindAllStringSubmatch(source, -1) {
		want = append(want, match[1])
	}
	var got []string
	for _, match := range regexp.MustCompile("(?m)^### `(llm_\\w+)`$").FindAllStringSubmatch(read(t, "configuration.md"), -1) {
		got = append(got, match[1])
	}
	require.ElementsMatch(t, want, got)
}

// TestDefaults compares the defaults that are constants outside of caddymodule.
func TestDefaults(t *testing.T) {
	size := func(n uint64) string {
		return strings.ReplaceAll(strings.ReplaceAll(humanize.IBytes(n), " ", ""), ".0", "")
	}
	duration := func(d time.Duration) string { // 12h0m0s → 12h
		text := d.String()
		for _, nothing := range []string{"m0s", "h0m"} {
			if rest, ok := strings.CutSuffix(text, nothing); ok {
				text = rest + nothing[:1]
			}
		}
		return text
	}
	for _, tc := range []struct {
		heading, option string
		want            []string
	}{
		{"## Options of `llm`", "max_body", []string{size(gateway.DefaultMaxBody)}},
		{"## Options of `llm`", "spool_max_size", []string{size(usage.DefaultMaxBytes)}},
		{"## Options of `llm`", "on_disconnect", []string{string(gateway.Cancel), duration(gateway.DefaultDrainTimeout)}},
		{"### `jwt`", "lifetime", []string{duration(identity.DefaultLifetime)}},
		{"### `issuer`", "refresh", []string{duration(identity.DefaultRefreshInterval)}},
		{"### `issuer`", "leeway", []string{duration(identity.DefaultLeeway)}},
		{"### `fetch_media`", "max_size", []string{size(egress.DefaultMaxSize)}},
		{"### `fetch_media`", "timeout", []string{duration(egress.DefaultTimeout)}},
		{"### `provider`", "location", []string{upstream.DefaultLocation}},
		{"### `provider`", "timeout", []string{
			duration(upstream.DefaultFirstByte), duration(upstream.DefaultBetweenBytes), duration(upstream.DefaultTotal),
		}},
	} {
		require.Equal(t, tc.want, names(row(t, tc.heading, tc.option)[2]), tc.option)
	}
}

func TestProviders(t *testing.T) {
	columns := [][]dialect.Name{
		{dialect.OpenAIChat},
		{dialect.OpenAICompletions},
		{dialect.OpenAIResponses},
		{dialect.AnthropicMessages},
		{dialect.Gemini},
		{dialect.OpenAIEmbeddings, dialect.GeminiEmbeddings},
		{dialect.OpenAICount, dialect.AnthropicCount, dialect.GeminiCount},
	}
	rows := table(t, "configuration.md", "## Providers")
	require.Len(t, rows, len(upstream.Presets))
	for _, row := range rows {
		name := names(row[0])[0]
		preset, ok := upstream.Presets[name]
		require.True(t, ok, name)
		for i, formats := range columns {
			speaks := slices.ContainsFunc(formats, func(f dialect.Name) bool { return preset.Endpoints[f] != "" })
			require.Equal(t, speaks, row[i+1] == "yes", "%s %v", name, formats)
		}
	}
	require.Equal(t, fmt.Sprint(upstream.Generative), fmt.Sprint(names(row(t, "### `provider`", "formats")[1])))
	require.Equal(t, fmt.Sprint(upstream.Auths), fmt.Sprint(names(row(t, "### `provider`", "auth")[1])))
}

// TestRoutes compares the headings of api.md and portal.md with the routes that are registered.
func TestRoutes(t *testing.T) {
	want := make(map[string]bool)
	for _, route := range gateway.Routes {
		want[route] = true
	}
	for _, route := range portal.New(portal.Options{}).Routes() {
		want[route] = true
	}
	got := make(map[string]bool)
	for _, match := range regexp.MustCompile("(?m)^### `([A-Z]+ [^`]+)`$").FindAllStringSubmatch(read(t, "api.md")+read(t, "portal.md"), -1) {
		got[match[1]] = true
	}
	require.Equal(t, want, got)
}

// TestEnvironment compares the README's variables with the default Caddyfile's.
func TestEnvironment(t *testing.T) {
	want := []string{"LISTEN"} // read through its halves
	for _, match := range regexp.MustCompile(`\{(?:\$|env\.)([A-Z_]+)`).FindAllStringSubmatch(read(t, "../Caddyfile"), -1) {
		if match[1] != "LISTEN_HOST" && match[1] != "LISTEN_PORT" {
			want = append(want, match[1])
		}
	}
	require.ElementsMatch(t, want, firstColumn(table(t, "../README.md", "## Turn each part real")))
}

// TestRooms: every package is in the list of rooms, and every room exists.
func TestRooms(t *testing.T) {
	architecture := read(t, "architecture.md")
	folders, err := os.ReadDir("../internal")
	require.NoError(t, err)
	for _, folder := range folders {
		require.Contains(t, architecture, "`internal/"+folder.Name()+"`")
	}
}

// TestVersion: the changelog knows the version that the program says.
func TestVersion(t *testing.T) {
	version := regexp.MustCompile(`const Version = "([^"]+)"`).FindStringSubmatch(read(t, "../tollgate.go") + read(t, "../caddymodule/doc.go"))
	require.NotNil(t, version)
	require.Contains(t, read(t, "../CHANGELOG.md"), "\n## ["+version[1]+"]")
}

var (
	link    = regexp.MustCompile(`\]\(([^)]+)\)`)
	path    = regexp.MustCompile("`((?:\\.ci|bench|caddymodule|cmd|deploy|docs|e2e|internal|pricing|tools)/[A-Za-z0-9_./-]*)`")
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

// TestLinks: every file and heading that a page points at is there.
func TestLinks(t *testing.T) {
	for _, page := range pages {
		text := prose(t, page)
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			if strings.HasPrefix(match[1], "https://") {
				continue
			}
			file, anchor, _ := strings.Cut(match[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			require.FileExists(t, target, page)
			if anchor != "" {
				require.Contains(t, anchors(t, target), anchor, "%s: %s", page, match[1])
			}
		}
		for _, match := range path.FindAllStringSubmatch(text, -1) {
			_, err := os.Stat(filepath.Join("..", match[1]))
			require.NoError(t, err, page)
		}
	}
}

// anchors are the headings of a page as links name them.
func anchors(t *testing.T, page string) (found []string) {
	t.Helper()
	for _, match := range heading.FindAllStringSubmatch(prose(t, page), -1) {
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
				return r
			default:
				return -1
			}
		}, strings.ToLower(match[1]))
		found = append(found, slug)
	}
	return found
}
