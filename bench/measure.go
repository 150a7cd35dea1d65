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
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/financecommander/tollgate/internal/testenv"
)

// A bench holds what all scenarios share: the mock provider, Redis and PostgreSQL.
type bench struct {
	binary   string
	core     int    // of the gateways
	self     bool   // measure Caddy against itself
	dir      string // for logs and data
	upstream *upstream
	redis    string
	database string
	rows     *pgx.Conn
}

// A subject is one side of the comparison.
type subject struct {
	name    string
	gateway *gateway // nil = the mock provider itself
	load    load
	metered bool // writes a usage row for each call
}

// A sample is one round of one subject.
type sample struct {
	CPU  float64 `json:"cpu_us,omitempty"` // microseconds per unit
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	Wall float64 `json:"wall_s"`
}

// A result is what a scenario gave: samples by subject, in the order of the rounds.
type result struct {
	Scenario string              `json:"scenario"`
	Samples  map[string][]sample `json:"samples"`
	Memory   map[string]memory   `json:"memory,omitempty"`
}

// open starts the servers beside the gateways. Close is to be called also after an error.
func (b *bench) open(ctx context.Context) (closeAll func(), err error) {
	var closers []func() error
	closeAll = func() {
		for _, closeOne := range slices.Backward(closers) {
			closeOne()
		}
	}
	if b.upstream, err = startUpstream(); err != nil {
		return closeAll, err
	}
	closers = append(closers, b.upstream.listener.Close)
	if b.self {
		return closeAll, nil
	}
	redis, err := testenv.StartRedis(ctx)
	if err != nil {
		return closeAll, err
	}
	closers = append(closers, redis.Close)
	b.redis = "redis://" + redis.Addr + "/0"
	postgres, err := testenv.StartPostgres(ctx)
	if err != nil {
		return closeAll, err
	}
	closers = append(closers, postgres.Close)
	if b.database, err = testenv.CreateDatabase(ctx, testenv.PostgresURL(postgres)); err != nil {
		return closeAll, err
	}
	if b.rows, err = pgx.Connect(ctx, b.database); err != nil {
		return closeAll, err
	}
	closers = append(closers, func() error { return b.rows.Close(context.WithoutCancel(ctx)) })
	return closeAll, nil
}

// run measures one scenario with fresh gateway processes, so that memory is the scenario's own.
func (b *bench) run(ctx context.Context, s scenario, rounds int, profile bool) (*result, error) {
	b.upstream.answer.Store(s.answer)
	subjects, stop, err := b.subjects(ctx, s)
	defer stop()
	if err != nil {
		return nil, err
	}
	res := &result{Scenario: s.name, Samples: map[string][]sample{}, Memory: map[string]memory{}}
	for _, sub := range subjects {
		if err := b.warmUp(ctx, s, sub, res); err != nil {
			return nil, err
		}
	}
	for round := range rounds {
		for i := range subjects {
			sub := subjects[(i+round)%len(subjects)] // nobody is always first
			got, err := b.round(ctx, s, sub)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", s.name, sub.name, err)
			}
			res.Samples[sub.name] = append(res.Samples[sub.name], got)
		}
	}
	if s.measure == cpuTimeAndMemory {
		for _, sub := range subjects {
			m, err := sub.gateway.memory()
			if err != nil {
				return nil, err
			}
			m.Heap, m.RSS = res.Memory[sub.name].Heap, res.Memory[sub.name].RSS // as they were under load
			res.Memory[sub.name] = m
		}
	}
	if profile {
		return res, b.profile(ctx, s, subjects)
	}
	return res, nil
}

// subjects starts the gateways of a scenario.
func (b *bench) subjects(ctx context.Context, s scenario) (subjects []subject, stop func(), err error) {
	dir, err := os.MkdirTemp(b.dir, s.name)
	if err != nil {
		return nil, func() {}, err
	}
	stop = func() {
		for _, sub := range subjects {
			if sub.gateway != nil {
				sub.gateway.stop()
			}
		}
	}
	prepare := func(addr, token string) load {
		l := s.load
		l.addr, l.request, l.expect = addr, request(addr, token, s.size, s.stream), s.answer.expect
		return l
	}
	if s.measure == addedLatency {
		subjects = append(subjects, subject{name: "direct", load: prepare(b.upstream.addr(), "none")})
	}
	if s.translated {
		return b.translating(ctx, s, dir, stop, subjects)
	}
	plain := []string{"UPSTREAM=" + b.upstream.addr()}
	caddy, err := startGateway(ctx, "caddy", b.core, b.binary, "bench/Caddyfile", dir, plain)
	if err != nil {
		return nil, stop, err
	}
	subjects = append(subjects, subject{name: "caddy", gateway: caddy, load: prepare(caddy.addr, "none")})
	if b.self {
		again, err := startGateway(ctx, "tollgate", b.core, b.binary, "bench/Caddyfile", dir, plain)
		if err != nil {
			return subjects, stop, err
		}
		return append(subjects, subject{name: "tollgate", gateway: again, load: prepare(again.addr, "none")}), stop, nil
	}

	tollgate, token, err := b.startTollgate(ctx, "tollgate", dir)
	if tollgate != nil {
		subjects = append(subjects, subject{name: "tollgate", gateway: tollgate, metered: true})
	}
	if err != nil {
		return subjects, stop, err
	}
	subjects[len(subjects)-1].load = prepare(tollgate.addr, token)
	return subjects, stop, nil
}

// startTollgate starts the gateway with everything on and signs in. The gateway
// is to be stopped also after an error, if there is one.
func (b *bench) startTollgate(ctx context.Context, name, dir string) (g *gateway, token string, err error) {
	return b.startConfigured(ctx, name, "Caddyfile", dir)
}

// startConfigured is the same with a Caddyfile and settings of the scenario's own.
func (b *bench) startConfigured(ctx context.Context, name, caddyfile, dir string, env ...string) (g *gateway, token string, err error) {
	g, err = startGateway(ctx, name, b.core, b.binary, caddyfile, dir, append(env,
		"DATABASE_URL="+b.database, "REDIS_URL="+b.redis, "DATA_DIR="+filepath.Join(dir, name, "data"),
		"RATE_LIMIT=1000000000/h", "JWT_SECRET=bench-only-secret-bench-only-secret-bench-only-secret",
		"OPENAI_BASE_URL=http://"+b.upstream.addr()+"/v1", "OPENAI_API_KEY="+upstreamKey,
	))
	if err != nil {
		return nil, "", err
	}
	if token, err = login(ctx, g.addr, "bench@example.com"); err != nil {
		return g, "", fmt.Errorf("%w; the log of %s ends with:\n%s", err, name, g.logTail())
	}
	return g, token, nil
}

// translating starts two gateways: one passes the answer through, in the column
// of Caddy, and one translates it.
func (b *bench) translating(ctx context.Context, s scenario, dir string, stop func(), subjects []subject) ([]subject, func(), error) {
	passing, token, err := b.startTollgate(ctx, "passing", dir)
	if passing != nil {
		subjects = append(subjects, subject{name: "caddy", gateway: passing, metered: true})
	}
	if err != nil {
		return subjects, stop, err
	}
	l := s.load
	l.addr, l.request, l.expect = passing.addr, request(passing.addr, token, s.size, s.stream), s.answer.expect
	subjects[0].load = l

	translating, token, err := b.startTollgate(ctx, "translating", dir)
	if translating != nil {
		subjects = append(subjects, subject{name: "tollgate", gateway: translating, metered: true})
	}
	if err != nil {
		return subjects, stop, err
	}
	l.addr, l.request = translating.addr, anthropicRequest(translating.addr, token, s.size, s.stream)
	l.expect = anthropicExpectation(s.units)
	subjects[1].load = l
	return subjects, stop, nil
}

// login takes a token as a browser does on a fresh machine: development log-in, on loopback only.
func login(ctx context.Context, addr, email string) (string, error) {
	body := bytes.NewBufferString(`{"email":"` + email + `"}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/auth/login", body)
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(content, &answer); err != nil || answer.AccessToken == "" {
		return "", fmt.Errorf("log in: status %d: %.200s", resp.StatusCode, content)
	}
	return answer.AccessToken, nil
}

// warmUp makes a part of a round's calls, unmeasured: connections to the upstream are opened, the heap finds its size. For the
// memory row it makes them all and looks at the process halfway.
func (b *bench) warmUp(ctx context.Context, s scenario, sub subject, res *result) error {
	if s.measure != cpuTimeAndMemory {
		sub.load.calls /= 4
		_, err := b.round(ctx, s, sub)
		if err != nil {
			return fmt.Errorf("%s, %s, warm-up: %w", s.name, sub.name, err)
		}
		return nil
	}
	type reading struct {
		memory
		err error
	}
	halfway := make(chan reading, 1)
	after := time.Duration(sub.load.connections)*sub.load.spread + time.Duration(s.units)*s.answer.pause/2
	time.AfterFunc(after, func() {
		m, err := sub.gateway.memory()
		halfway <- reading{m, err}
	})
	if _, err := b.round(ctx, s, sub); err != nil {
		return fmt.Errorf("%s, %s, warm-up: %w", s.name, sub.name, err)
	}
	m := <-halfway
	res.Memory[sub.name] = m.memory
	return m.err
}

// round makes a subject's calls once and checks that each was what it should be.
func (b *bench) round(ctx context.Context, s scenario, sub subject) (got sample, err error) {
	rewritten, verbatim := b.upstream.rewritten.Load(), b.upstream.verbatim.Load()
	rowsBefore, err := b.countRows(ctx, sub)
	if err != nil {
		return got, err
	}
	var cpuBefore, cpuAfter time.Duration
	if sub.gateway != nil {
		if cpuBefore, err = sub.gateway.cpu(); err != nil {
			return got, err
		}
	}
	start := time.Now()
	latencies, err := sub.load.run(ctx)
	if err != nil {
		return got, err
	}
	got.Wall = time.Since(start).Seconds()
	if err := b.awaitRows(ctx, sub, rowsBefore+sub.load.calls); err != nil {
		return got, err
	}
	if sub.gateway != nil {
		if cpuAfter, err = sub.gateway.cpu(); err != nil {
			return got, err
		}
		got.CPU = float64((cpuAfter - cpuBefore).Nanoseconds()) / 1000 / float64(sub.load.calls*s.units)
	}
	got.P50 = percentile(latencies, 50).Seconds() * 1000
	got.P99 = percentile(latencies, 99).Seconds() * 1000

	rewritten, verbatim = b.upstream.rewritten.Load()-rewritten, b.upstream.verbatim.Load()-verbatim
	if sub.metered && (rewritten != int64(sub.load.calls) || verbatim != 0) {
		return got, fmt.Errorf("void: of %d calls %d reached the upstream rewritten, %d unchanged", sub.load.calls, rewritten, verbatim)
	}
	return got, nil
}

func (b *bench) countRows(ctx context.Context, sub subject) (n int, err error) {
	if !sub.metered {
		return 0, nil
	}
	err = b.rows.QueryRow(ctx, "SELECT count(*) FROM usage_logs WHERE success").Scan(&n)
	return n, err
}

// awaitRows waits until every call of the round is in the usage log: its cost belongs to the round.
func (b *bench) awaitRows(ctx context.Context, sub subject, want int) error {
	if !sub.metered {
		return nil
	}
	deadline := time.Now().Add(15 * time.Second)
	for {
		n, err := b.countRows(ctx, sub)
		if err != nil || n == want {
			return err
		}
		if n > want || time.Now().After(deadline) {
			return fmt.Errorf("void: %d usage rows, want %d", n, want)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// profile makes more calls, unmeasured, while it records where the CPU time of each gateway goes.
func (b *bench) profile(ctx context.Context, s scenario, subjects []subject) error {
	for _, sub := range subjects {
		if sub.gateway == nil {
			continue
		}
		done := make(chan error, 1)
		go func() {
			table, err := sub.gateway.profile(5*time.Second, b.binary, b.dir)
			fmt.Printf("\n%s, %s:\n%s", s.name, sub.name, table)
			done <- err
		}()
		for profiled := false; !profiled; {
			if _, err := b.round(ctx, s, sub); err != nil {
				return err
			}
			select {
			case err := <-done:
				if err != nil {
					return err
				}
				profiled = true
			default:
			}
		}
	}
	return nil
}
