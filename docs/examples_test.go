package docs

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/metrics"
	"github.com/financecommander/tollgate/internal/portal/apitest"
	"github.com/financecommander/tollgate/internal/testenv"
)

// TestExamples runs or loads every block of every page, in order.
func TestExamples(t *testing.T) {
	g := startSite(t, defaultConfig(t))
	skipped := 0
	for _, page := range pages {
		blocks := blocksOf(t, page)
		for i, b := range blocks {
			if reason, ok := strings.CutPrefix(b.note, "skip "); ok {
				skipped++
				t.Logf("%s is not run: %s", b, reason)
				continue
			}
			var want *block
			if i+1 < len(blocks) && strings.HasPrefix(blocks[i+1].note, "output") {
				want = &blocks[i+1]
			}
			t.Run(b.String(), func(t *testing.T) { try(t, g, b, want) })
		}
	}
	require.LessOrEqual(t, skipped, 3, "too many examples cannot be run")
}

// try checks one block. want is the output shown for it, nil if none is.
func try(t *testing.T, g *site, b block, want *block) {
	t.Helper()
	switch b.language {
	case "sh":
		trySh(t, g, b, want)
	case "caddyfile":
		tryCaddyfile(t, g, b)
	case "json":
		tryJSON(t, g, b)
	case "python":
		tryPython(t, g, b)
	case "js":
		tryJS(t, g, b)
	case "go":
		tryGo(t, g, b)
	case "sql":
		trySQL(t, b)
	case "yaml":
		tryYAML(t, g, b)
	case "text": // an output, which its command compares, or a drawing
	case "mermaid": // compared by TestPipelineDrawings
	default:
		t.Fatalf("nothing is known of blocks in %q", b.language)
	}
}

// trySh runs commands beside a running gateway. make only says what it would
// do: its targets build and test the whole repository.
func trySh(t *testing.T, g *site, b block, want *block) {
	t.Helper()
	script := `make() { command make -n -C "$REPOSITORY" "$@"; }` + "\n" + g.local(b.text)
	deadline := time.Now().Add(5 * time.Second)
	for {
		output, err := g.run(t, "bash", "-eu", "-o", "pipefail", "-c", script)
		require.NoError(t, err, output)
		if want == nil || similar(g.local(want.text), output) || want.note == anyOrder && similarLines(g.local(want.text), output) {
			return
		}
		if time.Now().After(deadline) { // what a background task writes may come later
			t.Fatalf("%s shows\n%s\nbut %s printed\n%s", want, want.text, b, output)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

var changing = regexp.MustCompile(`[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{64}\b|\b[0-9]+\b-[0-9a-f]{8}\b|[0-9]+`)

// similar compares an output with what a page shows: … stands for anything,
// every number and id for any other.
func similar(shown, printed string) bool {
	mask := func(s string) string { return changing.ReplaceAllString(strings.TrimSpace(s), "#") }
	pattern := strings.ReplaceAll(regexp.QuoteMeta(mask(shown)), "…", ".*")
	return regexp.MustCompile(`^(?s:` + pattern + `)$`).MatchString(mask(printed))
}

// wrappings are the blocks of a Caddyfile that parts of one belong into.
var wrappings = map[string]string{
	"":            "%",
	"inside llm":  "{\n\tllm {\n%\t}\n}\n",
	"inside jwt":  "{\n\tllm {\n\t\tjwt {\n%\t\t}\n\t}\n}\n",
	"inside site": "http://127.0.0.1:8080 {\n%}\n",
}

// whole makes a Caddyfile of a block that may be a part of one.
func whole(t *testing.T, b block) string {
	t.Helper()
	wrapping, known := wrappings[b.note]
	require.True(t, known, "nothing is known of %q", b.note)
	before, _, _ := strings.Cut(wrapping, "%")
	depth := strings.Count(before, "{\n")
	var indented strings.Builder
	for line := range strings.Lines(b.text) {
		if line != "\n" {
			indented.WriteString(strings.Repeat("\t", depth))
		}
		indented.WriteString(line)
	}
	return strings.ReplaceAll(wrapping, "%", indented.String())
}

const anyOrder = "output in any order"

// similarLines compares line by line, in any order and with any space between words,
// and takes other lines for what was cut: those that Caddy logs.
func similarLines(shown, printed string) bool {
	squeeze := func(s string) []string {
		lines := strings.Split(strings.TrimSpace(s), "\n")
		for i, line := range lines {
			lines[i] = strings.Join(strings.Fields(line), " ")
		}
		return lines
	}
	left := slices.DeleteFunc(squeeze(printed), func(line string) bool { return strings.HasPrefix(line, "{") })
	for _, line := range squeeze(shown) {
		i := slices.IndexFunc(left, func(other string) bool { return similar(line, other) })
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return len(left) == 0
}

func tryCaddyfile(t *testing.T, g *site, b block) {
	t.Helper()
	config := whole(t, b)
	file := g.write(t, "example.caddyfile", config)
	formatted, err := g.run(t, g.binary, "fmt", file)
	require.NoError(t, err, formatted)
	require.Equal(t, config, formatted, "%s is not formatted", b)
	g.write(t, "example.caddyfile", g.withFiles(t, config))
	output, err := g.run(t, g.binary, "validate", "--adapter", "caddyfile", "--config", file)
	require.NoError(t, err, output)
}

func tryJSON(t *testing.T, g *site, b block) {
	t.Helper()
	require.True(t, json.Valid([]byte(b.text)))
	switch name, isFile := strings.CutPrefix(b.note, "file "); {
	case isFile:
		g.write(t, name, b.text)
	case b.note == "scope": // read by the tests of templates and expressions
	case b.note == "config":
		file := g.write(t, "example.json", b.text)
		output, err := g.run(t, g.binary, "validate", "--config", file)
		require.NoError(t, err, output)
	case b.route != "":
		tryMessage(t, b)
	default:
		t.Fatal("nothing is known of what this JSON is")
	}
}

// tryMessage holds an example in a route's section against what the OpenAPI
// document says of the route's requests and answers.
func tryMessage(t *testing.T, b block) {
	t.Helper()
	document, err := apitest.Document()
	require.NoError(t, err)
	method, path, _ := strings.Cut(b.route, " ")
	item := document.Paths.Value(path)
	require.NotNil(t, item, b.route)
	operation := item.GetOperation(method)
	require.NotNil(t, operation, b.route)
	content := []openapi3.Content{operation.Responses.Value("200").Value.Content}
	if operation.RequestBody != nil {
		content = append(content, operation.RequestBody.Value.Content)
	}
	var example any
	require.NoError(t, json.Unmarshal([]byte(b.text), &example))
	var wrong []error
	for _, c := range content {
		if media := c.Get("application/json"); media != nil {
			err := media.Schema.Value.VisitJSON(example)
			if err == nil {
				return
			}
			wrong = append(wrong, err)
		}
	}
	t.Fatalf("%s is neither a request nor an answer of %s: %v", b, b.route, errors.Join(wrong...))
}

// withFiles makes the secret files that a configuration reads, and leads it to
// them.
func (g *site) withFiles(t *testing.T, config string) string {
	t.Helper()
	return regexp.MustCompile(`\{file\.([^}]+)\}`).ReplaceAllStringFunc(config, func(placeholder string) string {
		name := filepath.Base(strings.TrimSuffix(placeholder, "}"))
		content := strings.Repeat("s3cret-", 8)
		switch {
		case strings.HasSuffix(name, ".pem"):
			content = publicKey(t)
		case strings.HasSuffix(name, "database_url"):
			content = "sqlite:///./example.db"
		}
		return "{file." + g.write(t, name, content) + "}"
	})
}

func publicKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func tryPython(t *testing.T, g *site, b block) {
	t.Helper()
	file := g.write(t, "example.py", g.local(b.text))
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not there")
	}
	output, err := g.run(t, "python3", "-m", "py_compile", file)
	require.NoError(t, err, output)
	if _, err := g.run(t, "python3", "-c", "import openai"); err != nil {
		t.Log("only compiled: the client for Python is not there")
		return
	}
	output, err = g.run(t, "python3", file)
	require.NoError(t, err, output)
	require.Contains(t, output, "demo model")
}

func tryJS(t *testing.T, g *site, b block) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		skipOrFail(t, "node is not installed; Debian: apt install nodejs npm")
	}
	modules, err := filepath.Abs("../e2e/js/node_modules")
	require.NoError(t, err)
	if _, err := os.Stat(filepath.Join(modules, "openai")); err != nil {
		skipOrFail(t, "the client is not installed; run npm ci in e2e/js")
	}
	file := g.write(t, "example.mjs", g.local(b.text))
	if err := os.Symlink(modules, filepath.Join(g.dir, "node_modules")); !errors.Is(err, fs.ErrExist) {
		require.NoError(t, err)
	}
	output, err := g.run(t, "node", file)
	require.NoError(t, err, output)
	require.Contains(t, output, "demo model")
}

func tryGo(t *testing.T, g *site, b block) {
	t.Helper()
	file := g.write(t, "example.go", g.local(b.text))
	program := filepath.Join(g.dir, "example")
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, file).CombinedOutput() // by this module's versions
	require.NoError(t, err, string(output))
	answer, err := g.run(t, program)
	require.NoError(t, err, answer)
	require.Contains(t, answer, "demo model")
}

// trySQL runs statements in a fresh database with Tollgate's tables.
func trySQL(t *testing.T, b block) {
	t.Helper()
	require.Equal(t, "postgres", b.note)
	url := testenv.Postgres(t)
	db, err := database.Open(url, database.Options{})
	require.NoError(t, err)
	_, err = db.Migrate(t.Context())
	require.NoError(t, errors.Join(err, db.Close()))
	connection, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer connection.Close(context.WithoutCancel(t.Context()))
	month := time.Now().UTC().Format("2006_01") // of the months in the examples only this one is there
	_, err = connection.Exec(t.Context(), strings.ReplaceAll(b.text, "2026_01", month), pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
}

func tryRules(t *testing.T, b block) {
	t.Helper()
	require.Equal(t, "rules", b.note)
	if _, err := exec.LookPath("promtool"); err != nil {
		skipOrFail(t, "promtool is not installed (apt-get install prometheus)")
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	require.NoError(t, os.WriteFile(file, []byte(b.text), 0o600))
	output, err := exec.CommandContext(t.Context(), "promtool", "check", "rules", file).CombinedOutput()
	require.NoError(t, err, string(output))
	var described descriptions
	require.NoError(t, metrics.Register(&described))
	for _, name := range regexp.MustCompile(`tollgate_\w+`).FindAllString(b.text, -1) {
		require.Contains(t, described.labels, name)
	}
}

// skipOrFail skips a test that lacks a program, and fails it in CI.
func skipOrFail(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// TestAccessLog: with the filter that configuration.md shows, no token gets into
// the access log, wherever a client puts it.
func TestAccessLog(t *testing.T) {
	var example block
	for _, b := range blocksOf(t, "configuration.md") {
		if strings.Contains(b.text, "format filter") {
			example = b
		}
	}
	config := "{\n\tadmin {$ADMIN_LISTEN}\n\tpersist_config off\n}\n" + whole(t, example)
	g := startSite(t, strings.ReplaceAll(config, "127.0.0.1:8080", "{$LISTEN}"))
	signature := g.token[strings.LastIndex(g.token, ".")+1:]
	script := `for how in "Authorization: Bearer $TOKEN" "x-api-key: $TOKEN" "x-goog-api-key: $TOKEN"; do
	curl -sf http://$LISTEN/auth/me -H "$how" >/dev/null
done
curl -sf "http://$LISTEN/auth/me?key=$TOKEN" >/dev/null
curl -s "http://$LISTEN/nowhere?key=$TOKEN" -H "x-api-key: other" >/dev/null`
	output, err := g.run(t, "bash", "-eu", "-c", script)
	require.NoError(t, err, output)
	require.Eventually(t, func() bool { return strings.Count(g.log.String(), "http.log.access") >= 5 }, 5*time.Second, 20*time.Millisecond)
	require.NotContains(t, g.log.String(), signature)
	require.NotContains(t, g.log.String(), "you@example.com")
	require.Contains(t, g.log.String(), `"user_id":"53e6`, "the user's hash is there")
}

// TestDatabaseAway: what operations.md says of a start without the database.
func TestDatabaseAway(t *testing.T) {
	g := startSite(t, defaultConfig(t), "DATABASE_URL=postgresql://user:s3cret@"+freeAddress(t)+"/tollgate")
	output, err := g.run(t, "bash", "-eu", "-c", `
get() { curl -s -o /dev/null -w '%{http_code} ' "http://$LISTEN$1" -H "x-api-key: $TOKEN"; }
ask() { curl -s -o /dev/null -w '%{http_code} ' "http://$LISTEN/v1/chat/completions" -H "x-api-key: $TOKEN" \
	-d '{"model":"'$1'","messages":[{"role":"user","content":"Hello!"}]}'; }
get /health; get /usage/logs; ask openai/gpt-4o; ask research-assistant
curl -s "http://$LISTEN/health"; curl -s "http://$ADMIN_LISTEN/llm/status"`)
	require.NoError(t, err, output)
	require.True(t, strings.HasPrefix(output, "200 503 200 503 "), output)
	require.Contains(t, output, `"status":"degraded"`)
	require.Contains(t, output, `"queued_records":2`, "the rows wait in the spool")
	require.NotContains(t, output+g.log.String(), "s3cret")
}
