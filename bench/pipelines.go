//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"
)

// What the runs of pipelines are measured with: so many at once, of so many users,
// each of five steps that are streamed.
const (
	runsAtOnce = 200
	runUsers   = 25
	runSteps   = 5
)

const benchPipeline = `
name: bench
steps:
  - {name: search, specialist: financial-analyst}
  - {name: law, specialist: financial-analyst, depends_on: [search]}
  - {name: facts, specialist: financial-analyst, depends_on: [search]}
  - {name: risks, specialist: financial-analyst, depends_on: [search]}
  - {name: report, specialist: financial-analyst, depends_on: [law, facts, risks]}
`

// pipelines measures what a step of a pipeline costs: rounds of runs at once, each
// followed by a socket to its last event, and prints the median.
func (b *bench) pipelines(ctx context.Context, rounds int) error {
	b.upstream.answer.Store(streamAnswer(100, 0))
	dir := filepath.Join(b.dir, "pipelines")
	definitions := filepath.Join(dir, "definitions")
	if err := os.MkdirAll(definitions, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(definitions, "bench.yaml"), []byte(benchPipeline), 0o600); err != nil {
		return err
	}
	caddyfile, err := withoutReadLimit(dir)
	if err != nil {
		return err
	}
	g, _, err := b.startConfigured(ctx, "tollgate", caddyfile, dir, "PIPELINES_DIR="+definitions)
	if g != nil {
		defer g.stop()
	}
	if err != nil {
		return err
	}
	tokens := make([]string, runUsers)
	for i := range tokens {
		if tokens[i], err = login(ctx, g.addr, fmt.Sprintf("bench%d@example.com", i)); err != nil {
			return err
		}
	}
	var cpu, wall []float64
	for round := range rounds + 1 {
		used, took, err := b.runsRound(ctx, g, tokens)
		if err != nil {
			return fmt.Errorf("%w; the log ends with:\n%s", err, g.logTail())
		}
		if round > 0 { // the first one warms up
			cpu, wall = append(cpu, used.Seconds()*1e6/(runsAtOnce*runSteps)), append(wall, took.Seconds())
		}
	}
	m, err := g.memory()
	if err != nil {
		return err
	}
	fmt.Printf("%d runs at once of %d steps, streams of 100 events: %.0f µs of CPU per step, %.2f s until the last socket has the last event, peak RSS %d MiB (medians of %d rounds, %s)\n",
		runsAtOnce, runSteps, medianOf(cpu), medianOf(wall), m.Peak>>20, rounds, machine())
	return nil
}

// withoutReadLimit is the default Caddyfile but for the limit of reads, of which the
// sockets of all users, who are at one address here, would be too many.
func withoutReadLimit(dir string) (path string, err error) {
	text, err := os.ReadFile("Caddyfile")
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "Caddyfile")
	return path, os.WriteFile(path, bytes.Replace(text, []byte("llm_gateway {"), []byte("llm_gateway {\n\t\tread_rate_limit off"), 1), 0o600)
}

// runsRound makes the runs once. A round whose rows are not its calls is void.
func (b *bench) runsRound(ctx context.Context, g *gateway, tokens []string) (used, took time.Duration, err error) {
	sub := subject{gateway: g, metered: true}
	before, err := b.countRows(ctx, sub)
	if err != nil {
		return 0, 0, err
	}
	cpuBefore, err := g.cpu()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	group, within := errgroup.WithContext(ctx)
	for i := range runsAtOnce {
		group.Go(func() error { return g.runOnce(within, tokens[i%len(tokens)]) })
	}
	if err := group.Wait(); err != nil {
		return 0, 0, err
	}
	took = time.Since(start)
	if err := b.awaitRows(ctx, sub, before+runsAtOnce*runSteps); err != nil {
		return 0, 0, err
	}
	cpuAfter, err := g.cpu()
	return cpuAfter - cpuBefore, took, err
}

// runOnce starts a run and follows it to its end.
func (g *gateway) runOnce(ctx context.Context, token string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.addr+"/api/v2/pipelines/run",
		bytes.NewBufferString(`{"pipeline_name":"bench","query":"What moved the margin, and why?"}`))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var run struct {
		WSURL string `json:"ws_url"`
	}
	content, err := io.ReadAll(resp.Body)
	if err != nil || json.Unmarshal(content, &run) != nil || run.WSURL == "" {
		return fmt.Errorf("start a run: status %d: %.200s", resp.StatusCode, content)
	}
	conn, _, err := websocket.Dial(ctx, "ws://"+g.addr+run.WSURL, nil) //nolint:bodyclose // it has none
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	if err := conn.Write(ctx, websocket.MessageText, []byte(`{"type":"auth","token":"`+token+`"}`)); err != nil {
		return err
	}
	for {
		_, message, err := conn.Read(ctx)
		switch {
		case err != nil:
			return err
		case bytes.Contains(message, []byte(`"type":"error"`)):
			return fmt.Errorf("a run failed: %.300s", message)
		case bytes.Contains(message, []byte(`"type":"complete"`)):
			if n := strings.Count(string(message), " word"); n != 98 {
				return fmt.Errorf("a run's output has %d words, want 98", n)
			}
			return nil
		}
	}
}
