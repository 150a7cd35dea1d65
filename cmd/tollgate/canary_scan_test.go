package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// canaries are texts that must not come out, by what they are.
type canaries map[string]string

// scan looks for canaries in something that came out somewhere: as they are,
// in any case, and as JSON, URLs and base64 write them.
func (c canaries) scan(t *testing.T, where string, said []byte) {
	t.Helper()
	lower := bytes.ToLower(said)
	for what, text := range c {
		require.Greater(t, len(text), 5, what)
		for _, form := range []string{text, url.QueryEscape(text), base64.StdEncoding.EncodeToString([]byte(text))} {
			if at := bytes.Index(lower, []byte(strings.ToLower(form))); at >= 0 {
				around := said[max(at-300, 0):min(at+len(form)+80, len(said))]
				t.Errorf("%s: the %s came out: …%s…", where, what, strings.ReplaceAll(string(around), "\n", "⏎"))
				break
			}
		}
	}
}

// without leaves some out.
func (c canaries) without(names ...string) canaries {
	rest := maps.Clone(c)
	for _, name := range names {
		delete(rest, name)
	}
	return rest
}

// scanLog looks through a process's log. Which address was asked for is the one
// thing a caller says that an access log is there to repeat, without its query.
func (c canaries) scanLog(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) != nil {
			c.scan(t, "log", []byte(line))
			continue
		}
		if request, ok := entry["request"].(map[string]any); ok {
			uri, _ := request["uri"].(string)
			require.NotContains(t, uri, "?", "the access log holds a query")
			delete(request, "uri")
		}
		if entry["logger"] == "http.handlers.file_server" {
			delete(entry, "request_path")
			delete(entry, "result")
		}
		rest, err := json.Marshal(entry)
		require.NoError(t, err)
		c.scan(t, "log", rest)
	}
}

// scanFiles looks through all files below a folder.
func (c canaries) scanFiles(t *testing.T, dir string) {
	t.Helper()
	files := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || entry.Name() == "Caddyfile" {
			return err
		}
		content, err := os.ReadFile(path)
		files++
		c.scan(t, path, content)
		return err
	}))
	require.NotZero(t, files)
}

// scanPostgres looks through every column of every table, except as allowed says
// for a table.
func (c canaries) scanPostgres(t *testing.T, database string, allowed map[string][]string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	columns, err := conn.Query(t.Context(), `SELECT c.relname, a.attname, a.atttypid = 'bytea'::regtype
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'public' AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped`)
	require.NoError(t, err)
	type column struct {
		Table, Name string
		Bytes       bool
	}
	all, err := pgx.CollectRows(columns, pgx.RowToStructByPos[column])
	require.NoError(t, err)
	rows := map[string]int{}
	for _, col := range all {
		name := pgx.Identifier{col.Name}.Sanitize()
		value := "convert_to(" + name + "::text, 'UTF8')"
		if col.Bytes {
			value = name
		}
		found, err := conn.Query(t.Context(), fmt.Sprintf("SELECT %s FROM %s WHERE %s IS NOT NULL", value, pgx.Identifier{col.Table}.Sanitize(), name))
		require.NoError(t, err)
		values, err := pgx.CollectRows(found, pgx.RowTo[[]byte])
		require.NoError(t, err)
		rows[col.Table] = max(rows[col.Table], len(values))
		for _, value := range values {
			c.without(allowed[col.Table]...).scan(t, col.Table+"."+col.Name, value)
		}
	}
	for _, table := range []string{
		"specialists", "portal_users", "login_sessions", "api_tokens", "revocations", "login_codes",
		"audit_log", "conversations", "conversation_messages", "response_states",
		"pipelines", "pipeline_versions", "pipeline_runs", "pipeline_events", "pipeline_steps",
	} {
		require.NotZero(t, rows[table], "the table %s holds nothing that was looked at", table)
	}
}

// scanRedis looks through every key and value.
func (c canaries) scanRedis(t *testing.T, address string) {
	t.Helper()
	options, err := redis.ParseURL(address)
	require.NoError(t, err)
	client := redis.NewClient(options)
	defer client.Close()
	keys, err := client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	for _, key := range keys {
		value, err := client.Dump(t.Context(), key).Result()
		if errors.Is(err, redis.Nil) { // it has expired since
			continue
		}
		require.NoError(t, err)
		c.scan(t, "Redis", []byte(key))
		c.scan(t, "Redis "+key, []byte(value))
	}
}
