package caddymodule

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // the file server and log encoders that configurations name
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the expected JSON in testdata/adapt")

// adapt turns a Caddyfile into indented JSON.
func adapt(t *testing.T, text string) (string, error) {
	t.Helper()
	result, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "", err
	}
	require.Empty(t, warnings)
	var indented bytes.Buffer
	require.NoError(t, json.Indent(&indented, result, "", "\t"))
	return indented.String() + "\n", nil
}

// TestAdapt compares what Caddyfiles become with the JSON kept below them, in
// the format of Caddy's own tests.
func TestAdapt(t *testing.T) {
	const separator = "----------\n"
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			source, want, _ := strings.Cut(string(content), separator)
			got, err := adapt(t, source)
			require.NoError(t, err)
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(source+separator+got), 0o644))
				return
			}
			require.Empty(t, cmp.Diff(want, got))
			again, err := adapt(t, source)
			require.NoError(t, err)
			require.Equal(t, got, again, "the same every time")
		})
	}
}

// TestDefaultCaddyfile: what the environment holds for {env.…} stays there.
func TestDefaultCaddyfile(t *testing.T) {
	const canary = "canary-4711"
	for _, name := range []string{"DATABASE_URL", "REDIS_URL", "JWT_SECRET", "OPENAI_API_KEY", "GOOGLE_API_KEY", "OPENAI_BASE_URL"} {
		t.Setenv(name, canary)
	}
	t.Setenv("LISTEN_HOST", "127.0.0.1")
	t.Setenv("LISTEN_PORT", "8080")
	content, err := os.ReadFile("../Caddyfile")
	require.NoError(t, err)
	got, err := adapt(t, string(content))
	require.NoError(t, err)
	require.NotContains(t, got, canary)

	const golden = "testdata/default.json"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(string(want), got))
}

// inApp is a Caddyfile with these lines in its llm block, the first on line 3.
func inApp(lines string) string { return "{\n\tllm {\n" + lines + "\n\t}\n}\n" }

// inSite is a Caddyfile with these lines in a site, the first on line 2.
func inSite(lines string) string { return ":8080 {\n" + lines + "\n}\n" }

func TestAdaptErrors(t *testing.T) {
	for name, test := range map[string]struct{ caddyfile, err string }{
		"app: twice":              {"{\n\tllm\n\tllm\n}\n", "the llm option is already set; there can be one, at Caddyfile:3"},
		"app: argument":           {"{\n\tllm extra\n}\n", "unexpected extra, at Caddyfile:2"},
		"app: unknown":            {inApp("databse x"), "unrecognized option of llm: databse, at Caddyfile:3"},
		"app: option twice":       {inApp("database a\nredis b\ndatabase c"), "database is set twice, at Caddyfile:5"},
		"app: no value":           {inApp("database"), "database needs a value, at Caddyfile:3"},
		"app: two values":         {inApp("database a b"), "unexpected b, at Caddyfile:3"},
		"app: block for a value":  {inApp("database a {\n}"), "unrecognized option of llm: {, at Caddyfile:3"},
		"app: switch":             {inApp("auto_migrate yes"), "yes is neither on nor off, at Caddyfile:3"},
		"app: size":               {inApp("max_body huge"), "huge is no size; write one like 32MiB, at Caddyfile:3"},
		"app: no domain":          {inApp("allowed_domains"), "allowed_domains needs a value, at Caddyfile:3"},
		"app: on_disconnect":      {inApp("on_disconnect"), "on_disconnect takes cancel or drain, and for drain a time, at Caddyfile:3"},
		"app: drain for ever":     {inApp("on_disconnect drain ever"), "ever is no duration; write one like 30s or 5m, at Caddyfile:3"},
		"app: alias twice":        {inApp("alias a b\nalias a c"), "alias a is set twice, at Caddyfile:4"},
		"app: alias of nothing":   {inApp("alias a"), "alias takes a name and a value, at Caddyfile:3"},
		"app: no transport":       {inApp("transport"), "transport needs the name of a module, such as http, at Caddyfile:3"},
		"app: unknown transport":  {inApp("transport pigeon"), "getting module named 'http.reverse_proxy.transport.pigeon': module not registered: http.reverse_proxy.transport.pigeon, at Caddyfile:3"},
		"transport: unknown":      {inApp("transport http {\n\twings 2\n}"), "unrecognized subdirective wings, at Caddyfile:4"},
		"jwt: unknown":            {inApp("jwt {\n\tsecrets x\n}"), "unrecognized option of jwt: secrets, at Caddyfile:4"},
		"jwt: twice":              {inApp("jwt {\n\tsecret x\n\tsecret y\n}"), "secret is set twice, at Caddyfile:5"},
		"jwt: argument":           {inApp("jwt secret x"), "unexpected secret, at Caddyfile:3"},
		"issuer: no name":         {inApp("jwt {\n\tissuer {\n\t}\n}"), "issuer needs a name, at Caddyfile:4"},
		"issuer: unknown":         {inApp("jwt {\n\tissuer a {\n\t\tkeys b\n\t}\n}"), "unrecognized option of issuer: keys, at Caddyfile:5"},
		"issuer: twice":           {inApp("jwt {\n\tissuer a {\n\t\tjwks b\n\t\tjwks c\n\t}\n}"), "jwks is set twice, at Caddyfile:6"},
		"issuer: claim":           {inApp("jwt {\n\tissuer a {\n\t\tclaim roles\n\t}\n}"), "claim takes a name and a value, at Caddyfile:5"},
		"provider: no name":       {inApp("provider {\n}"), "provider needs a name, at Caddyfile:3"},
		"provider: unknown":       {inApp("provider openai {\n\tsecret x\n}"), "unrecognized option of provider: secret, at Caddyfile:4"},
		"provider: twice":         {inApp("provider openai {\n\tbase_url x\n\tbase_url y\n}"), "base_url is set twice, at Caddyfile:5"},
		"provider: no key":        {inApp("provider openai {\n\tkey\n}"), "key needs a value, at Caddyfile:4"},
		"provider: header":        {inApp("provider openai {\n\theader X-Name\n}"), "header takes a name and a value, at Caddyfile:4"},
		"provider: timeout":       {inApp("provider openai {\n\ttimeout connect 3s\n}"), "unrecognized timeout: connect; there are first_byte, between_bytes and total (connecting is the transport's dial_timeout), at Caddyfile:4"},
		"provider: timeout twice": {inApp("provider openai {\n\ttimeout total 3s\n\ttimeout total 4s\n}"), "total is set twice, at Caddyfile:5"},
		"provider: no duration":   {inApp("provider openai {\n\ttimeout total 0s\n}"), "0s is no duration; write one like 30s or 5m, at Caddyfile:4"},
		"provider: deployment":    {inApp("provider azure {\n\tdeployment gpt-4o a\n\tdeployment gpt-4o b\n}"), "deployment gpt-4o is set twice, at Caddyfile:5"},
		"provider: no formats":    {inApp("provider openai {\n\tformats\n}"), "formats needs a value, at Caddyfile:4"},
		"fetch_media: nothing":    {inApp("fetch_media"), "fetch_media needs on or off, at Caddyfile:3"},
		"fetch_media: neither":    {inApp("fetch_media yes"), "yes is neither on nor off, at Caddyfile:3"},
		"fetch_media: more":       {inApp("fetch_media on all"), "unexpected all, at Caddyfile:3"},
		"fetch_media: unknown":    {inApp("fetch_media on {\n\tports 80\n}"), "unrecognized option of fetch_media: ports, at Caddyfile:4"},
		"fetch_media: size":       {inApp("fetch_media on {\n\tmax_size big\n}"), "big is no size; write one like 32MiB, at Caddyfile:4"},
		"fetch_media: twice":      {inApp("fetch_media on {\n\ttimeout 1s\n\ttimeout 2s\n}"), "timeout is set twice, at Caddyfile:5"},
		"pipelines: on":           {inApp("pipelines on"), "pipelines takes off, or a block, at Caddyfile:3"},
		"pipelines: unknown":      {inApp("pipelines {\n\tfolder x\n}"), "unrecognized option of pipelines: folder, at Caddyfile:4"},
		"pipelines: none at all":  {inApp("pipelines {\n\tmax_runs 0\n}"), "0 is no number from 1, at Caddyfile:4"},
		"pipelines: twice":        {inApp("pipelines {\n\tdir a\n\tdir b\n}"), "dir is set twice, at Caddyfile:5"},
		"http_host: no name":      {inApp("pipelines {\n\thttp_host {\n\t}\n}"), "http_host needs a name, at Caddyfile:4"},
		"http_host: unknown":      {inApp("pipelines {\n\thttp_host a.example {\n\t\tkey x\n\t}\n}"), "unrecognized option of http_host: key, at Caddyfile:5"},
		"http_host: header":       {inApp("pipelines {\n\thttp_host a.example {\n\t\theader X-Key\n\t}\n}"), "header takes a name and a value, at Caddyfile:5"},
		"specialist: no name":     {inApp("specialist {\n}"), "specialist needs a name, at Caddyfile:3"},
		"specialist: unknown":     {inApp("specialist x {\n\tprompt y\n}"), "unrecognized option of specialist: prompt, at Caddyfile:4"},
		"specialist: twice":       {inApp("specialist x {\n\tname y\n\tname z\n}"), "name is set twice, at Caddyfile:5"},
		"specialist: model":       {inApp("specialist x {\n\tmodel gpt-4o\n}"), "gpt-4o is no provider/model, at Caddyfile:4"},
		"specialist: fallback":    {inApp("specialist x {\n\tfallback openai/gpt-4o other\n}"), "other is no provider/model, at Caddyfile:4"},
		"specialist: no fallback": {inApp("specialist x {\n\tfallback\n}"), "fallback needs a value, at Caddyfile:4"},
		"specialist: temperature": {inApp("specialist x {\n\ttemperature hot\n}"), "temperature is a number from 0 to 2, not hot, at Caddyfile:4"},
		"specialist: max_tokens":  {inApp("specialist x {\n\tmax_tokens 1.5\n}"), "max_tokens is a whole number, not 1.5, at Caddyfile:4"},
		"specialist: price":       {inApp("specialist x {\n\tprice 1\n}"), "price takes two numbers: USD per million tokens read, and generated, at Caddyfile:4"},
		"specialist: pinned":      {inApp("specialist x {\n\tpinned yes\n}"), "unexpected yes, at Caddyfile:4"},
		"gateway: argument":       {inSite("llm_gateway @x now {\n}\n@x path /x"), "unexpected now, at Caddyfile:2"},
		"gateway: unknown":        {inSite("llm_gateway {\n\tlimit 3/h\n}"), "unrecognized option: limit, at Caddyfile:3"},
		"gateway: twice":          {inSite("llm_gateway {\n\trate_limit 3/h\n\trate_limit 4/h\n}"), "rate_limit is set twice, at Caddyfile:4"},
		"gateway: no value":       {inSite("llm_gateway {\n\tread_rate_limit\n}"), "read_rate_limit needs a value, at Caddyfile:3"},
		"gateway: zone":           {inSite("llm_gateway {\n\tzone all\n}"), "zone takes a name, a limit such as 60/h, and if need be a key, at Caddyfile:3"},
		"proxy: unknown":          {inSite("llm_proxy {\n\tanonymous\n\tlast\n}"), "unrecognized option: last, at Caddyfile:4"},
		"proxy: twice":            {inSite("llm_proxy {\n\tanonymous\n\tanonymous\n}"), "anonymous is set twice, at Caddyfile:4"},
		"proxy: argument":         {inSite("llm_proxy anonymous"), "unexpected anonymous, at Caddyfile:2"},
		"portal: unknown":         {inSite("llm_portal {\n\tanonymous\n}"), "unrecognized option: anonymous, at Caddyfile:3"},
		"jwt directive: block":    {inSite("llm_jwt {\n\tsecret x\n}"), "unrecognized option: secret, at Caddyfile:3"},
		"jwt directive: argument": {inSite("llm_jwt secret"), "unexpected secret, at Caddyfile:2"},
		"cors: no origin":         {inSite("llm_cors"), "llm_cors needs a value, at Caddyfile:2"},
		"cors: block":             {inSite("llm_cors * * {\n\tmethods GET\n}"), "unrecognized option: methods, at Caddyfile:3"},
		"error: block":            {inSite("llm_error {\n\tjson\n}"), "unrecognized option: json, at Caddyfile:3"},
		"rate limit: unknown":     {inSite("llm_rate_limit {\n\trate 3/h\n}"), "unrecognized option: rate, at Caddyfile:3"},
		"rate limit: two":         {inSite("llm_rate_limit 3/h 4/h"), "unexpected 4/h, at Caddyfile:2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := adapt(t, test.caddyfile)
			require.Error(t, err)
			require.Contains(t, err.Error(), test.err)
		})
	}
}
