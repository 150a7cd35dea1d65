package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/upstreamtest"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	upstream := upstreamtest.New(t)
	g := startGateway(t, "OPENAI_API_KEY=sk-test", "OPENAI_BASE_URL="+upstream.URL()+"/v1")
	var a answer
	g.eventually("the admin endpoint knows the configuration that serves already", func() bool {
		a = g.do("GET", g.Admin+"/llm/status", "", "")
		return a.Status == 200
	})
	var status map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.Body), &status))
	require.Equal(t, []any{map[string]any{"name": "openai"}}, status["providers"])
	require.Equal(t, map[string]any{"database": "ok", "redis": "off", "spool": "ok"}, status["dependencies"])
	require.EqualValues(t, 4, status["specialists"])
	require.Regexp(t, `^\d{4}-\d\d-\d\d-[0-9a-f]+$`, status["price_version"])
	require.Subset(t, status["spool"], map[string]any{"queued_records": 0.0, "shipped": 0.0, "parked": 0.0, "corrupt": 0.0})
	require.Equal(t, 405, g.do("POST", g.Admin+"/llm/status", "", "{}").Status)
}

// TestMetrics looks at the three places that show metrics.
func TestMetrics(t *testing.T) {
	t.Parallel()
	upstream := upstreamtest.New(t)
	listen := freeAddress(t)
	g := newGateway(t)
	g.caddyfile(g.app("a.db", openai(upstream)+"metrics_listen "+listen), "metrics /metrics\nllm_gateway {\nrate_limit 5000/h\n}")
	g.start()
	alice := aliceToken(t)
	require.Equal(t, 200, g.ask(alice, "openai/gpt-4o", false).Status)
	require.Equal(t, 200, g.ask(alice, "openai/gpt-4o", true).Status)
	g.rows(alice, 2)
	require.Equal(t, 401, g.ask("bad", "openai/gpt-4o", true).Status)

	places := map[string]string{"admin": g.Admin + "/metrics", "handler": g.URL + "/metrics", "own address": "http://" + listen + "/metrics"}
	for name, place := range places {
		a := g.do("GET", place, "", "")
		require.Equal(t, 200, a.Status, name)
		for _, line := range []string{
			`tollgate_requests_total{cause="",model="gpt-4o",provider="openai",specialist="",status="2xx"} 2`,
			`tollgate_tokens_total{kind="input",model="gpt-4o",provider="openai",specialist=""} 20`,
			`tollgate_cost_usd_total{model="gpt-4o",provider="openai",specialist=""}`,
			`tollgate_request_duration_seconds_count{model="gpt-4o",provider="openai"} 2`,
			`tollgate_time_to_first_token_seconds_count{model="gpt-4o",provider="openai"} 1`,
			`tollgate_requests_total{cause="unauthenticated",model="",provider="",specialist="",status="4xx"} 1`,
			`tollgate_streams_in_flight 0`,
			`tollgate_limiter_decisions_total{by="local",decision="allowed"}`,
			`tollgate_ledger_queued_records`,
		} {
			require.Contains(t, a.Body, line, name)
		}
		promtool(t, a.Body)
	}

	// Names that clients make up are no labels.
	before := seriesOf(g.do("GET", g.Admin+"/metrics", "", "").Body)
	for i := range 500 {
		junk := fmt.Sprintf("junk-%d", i)
		require.Equal(t, 404, g.ask(alice, junk, false).Status)
		require.Equal(t, 200, g.ask(alice, "openai/"+junk, false).Status)
	}
	after := g.do("GET", g.Admin+"/metrics", "", "").Body
	require.NotContains(t, after, "junk")
	require.NotContains(t, after, "alice")
	require.Less(t, seriesOf(after)-before, 60, "one more model, \"other\", and one more cause")
}

// seriesOf counts the series of Tollgate's metrics.
func seriesOf(exposition string) (n int) {
	for line := range strings.Lines(exposition) {
		if strings.HasPrefix(line, "tollgate_") {
			n++
		}
	}
	return n
}

// promtool has Prometheus' own tool judge an exposition.
func promtool(t *testing.T, exposition string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		skipOrFail(t, "promtool is not installed (apt-get install prometheus)")
	}
	var ours strings.Builder // Caddy's own metrics do not all pass
	for line := range strings.Lines(exposition) {
		if strings.Contains(line, "tollgate_") {
			ours.WriteString(line)
		}
	}
	cmd := exec.CommandContext(t.Context(), path, "check", "metrics")
	cmd.Stdin = strings.NewReader(ours.String())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out))
}

// TestPrometheusScrapes has a real Prometheus scrape a gateway.
func TestPrometheusScrapes(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		skipOrFail(t, "prometheus is not installed (apt-get install prometheus)")
	}
	g := startGateway(t)
	require.Equal(t, 200, g.ask(g.login("alice@example.com"), specialist, true).Status)

	dir, listen := t.TempDir(), freeAddress(t)
	config := fmt.Sprintf("global: {scrape_interval: 200ms, scrape_timeout: 200ms}\nscrape_configs: [{job_name: tollgate, static_configs: [{targets: [%q]}]}]\n",
		strings.TrimPrefix(g.Admin, "http://"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600))
	server := exec.Command(path, "--config.file", filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", listen)
	var said output
	server.Stdout, server.Stderr = &said, &said
	require.NoError(t, server.Start())
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })

	query := func(expression string) string {
		a, err := g.try("GET", "http://"+listen+"/api/v1/query?query="+url.QueryEscape(expression), "", "")
		var answer struct {
			Data struct{ Result []struct{ Value [2]any } }
		}
		if err != nil || json.Unmarshal([]byte(a.Body), &answer) != nil || len(answer.Data.Result) != 1 {
			return ""
		}
		return fmt.Sprint(answer.Data.Result[0].Value[1])
	}
	g.eventually("prometheus has scraped the gateway", func() bool {
		return query(`up{job="tollgate"}`) == "1" && query(`tollgate_requests_total{model="demo",status="2xx"}`) == "1"
	})
}
