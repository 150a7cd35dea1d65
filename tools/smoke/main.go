// Command smoke makes one cheap call to each provider whose key is in the environment, through a gateway it starts on a free
// port with a throw-away database, and prints the usage row of each. It spends real money: a fraction of a cent.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A target is a provider and a cheap model of it; <name>_SMOKE_MODEL in the environment names another model.
type target struct {
	name, model string
	variables   []string // any of these turns the provider on
}

var targets = []target{
	{"openai", "gpt-4.1-nano", []string{"OPENAI_API_KEY"}},
	{"anthropic", "claude-haiku-4-5", []string{"ANTHROPIC_API_KEY"}},
	{"gemini", "gemini-2.5-flash-lite", []string{"GEMINI_API_KEY", "GOOGLE_API_KEY"}},
	{"xai", "grok-3-mini", []string{"XAI_API_KEY"}},
	{"groq", "llama-3.1-8b-instant", []string{"GROQ_API_KEY"}},
	{"deepseek", "deepseek-chat", []string{"DEEPSEEK_API_KEY"}},
	{"mistral", "mistral-small-latest", []string{"MISTRAL_API_KEY"}},
	{"openrouter", "openai/gpt-4.1-nano", []string{"OPENROUTER_API_KEY"}},
	{"ollama", "llama3.2", []string{"OLLAMA_BASE_URL"}},
}

func main() {
	binary := flag.String("binary", "bin/tollgate", "the gateway to start")
	config := flag.String("config", "Caddyfile", "its configuration")
	flag.Parse()
	chosen := configured(targets, os.Getenv)
	if len(chosen) == 0 {
		fmt.Println("smoke: no provider's key is in the environment (OPENAI_API_KEY, ANTHROPIC_API_KEY, …): nothing to call")
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := run(ctx, *binary, *config, chosen); err != nil {
		fmt.Fprintln(os.Stderr, "smoke:", err)
		os.Exit(1)
	}
}

// configured keeps the providers that the environment turns on.
func configured(all []target, getenv func(string) string) (on []target) {
	for _, t := range all {
		for _, variable := range t.variables {
			if getenv(variable) != "" {
				t.model = cmp.Or(getenv(strings.ToUpper(t.name)+"_SMOKE_MODEL"), t.model)
				on = append(on, t)
				break
			}
		}
	}
	return on
}

func run(ctx context.Context, binary, config string, chosen []target) error {
	g, stop, err := start(ctx, binary, config)
	if err != nil {
		return err
	}
	defer stop()
	var failed []error
	for _, t := range chosen {
		answer, err := g.chat(ctx, t)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s/%s: %w", t.name, t.model, err))
			continue
		}
		fmt.Printf("%-10s %s answered %q\n", t.name, t.model, answer)
	}
	rows, err := g.rows(ctx, len(chosen)-len(failed))
	for _, row := range rows {
		fmt.Printf("  row: %s\n", row)
	}
	return errors.Join(append(failed, err)...)
}

// A gateway is the process under test and a user signed in to it.
type gateway struct {
	url, token string
}

// start runs the binary on a free loopback port, without Redis and with SQLite in a temporary directory, and signs in.
func start(ctx context.Context, binary, config string) (*gateway, func(), error) {
	dir, err := os.MkdirTemp("", "tollgate-smoke-")
	if err != nil {
		return nil, nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "run", "--config", config, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "LISTEN="+addr, "ADMIN_LISTEN=off", "METRICS_LISTEN=", "DATA_DIR="+dir,
		"DATABASE_URL=sqlite:///"+filepath.Join(dir, "smoke.db"), "REDIS_URL=", "ALLOWED_DOMAINS=",
		"XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	stop := func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		os.RemoveAll(dir)
	}
	g := &gateway{url: "http://" + addr}
	for range 100 {
		var session struct {
			AccessToken string `json:"access_token"`
		}
		err = g.call(ctx, http.MethodPost, "/auth/login", map[string]string{"email": "smoke@example.com"}, &session)
		if g.token = session.AccessToken; err == nil && g.token != "" {
			return g, stop, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	return nil, nil, fmt.Errorf("sign in: %w; the gateway's log ends with:\n%s", err, log.Bytes()[max(0, log.Len()-2000):])
}

// chat asks for a few words and returns them.
func (g *gateway) chat(ctx context.Context, t target) (string, error) {
	var answer struct {
		Choices []struct{ Message struct{ Content string } }
	}
	err := g.call(ctx, http.MethodPost, "/v1/chat/completions", map[string]any{
		"model":      t.name + "/" + t.model,
		"messages":   []map[string]string{{"role": "user", "content": "Say hello in three words."}},
		"max_tokens": 16,
	}, &answer)
	if err != nil {
		return "", err
	}
	if len(answer.Choices) == 0 {
		return "", errors.New("no choices in the answer")
	}
	return answer.Choices[0].Message.Content, nil
}

// rows returns the usage rows as soon as there are n of them.
func (g *gateway) rows(ctx context.Context, n int) ([]json.RawMessage, error) {
	var page struct{ Logs []json.RawMessage }
	for range 50 {
		if err := g.call(ctx, http.MethodGet, "/usage/logs?limit=50", nil, &page); err != nil {
			return nil, fmt.Errorf("read the usage log: %w", err)
		}
		if len(page.Logs) >= n {
			return page.Logs, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return page.Logs, fmt.Errorf("%d usage rows, want %d", len(page.Logs), n)
}

// call makes one request to the gateway and decodes its JSON answer.
func (g *gateway) call(ctx context.Context, method, path string, body, into any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, g.url+path, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if g.token != "" {
		req.Header.Set("Authorization", "Bearer "+g.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: status %d: %.300s", method, path, resp.StatusCode, content)
	}
	return json.Unmarshal(content, into)
}

func freeAddr() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
