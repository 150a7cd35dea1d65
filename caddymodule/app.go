package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/metrics"
	"github.com/financecommander/tollgate/internal/specialist"
)

func init() {
	caddy.RegisterModule(App{})
}

// App is what Tollgate's handlers share: the database, Redis, tokens' issuers,
// providers, specialists, prices and the usage ledger. The zero value works: it
// keeps its data in ./data, limits in process, and answers with the built-in
// demo provider.
//
// Text options may hold Caddy placeholders such as `{env.OPENAI_API_KEY}` or
// `{file./run/secrets/openai}`. One that comes out empty counts as not set.
type App struct {
	// Folder for the SQLite file, the generated secret and the usage spool.
	// Default: `data`, in the working directory.
	DataDir string `json:"data_dir,omitempty"`

	// Database URL: `sqlite:///./file.db`, `sqlite:////abs/file.db`,
	// `postgresql://…` or `postgres://…`. Default: SQLite in the data folder.
	Database string `json:"database,omitempty"`
	// Whether the schema is brought up to date at start. Default: true. If
	// false and something is pending, start fails and says what to run.
	AutoMigrate *bool `json:"auto_migrate,omitempty"`

	// Redis URL: `redis://`, `rediss://`, several hosts with commas for a
	// Cluster, `redis+sentinel://`. Default: none; limits are kept in process.
	Redis string `json:"redis,omitempty"`
	// What happens to limits while Redis does not answer: `local` (kept in
	// process until it is back), `deny` (503) or `allow`. Default: `local`.
	RedisFailure string `json:"redis_failure,omitempty"`

	// Who may issue tokens.
	JWT JWT `json:"jwt,omitzero"`
	// How people sign in to the portal.
	Login Login `json:"login,omitzero"`
	// Mail domains whose people may sign in, in whichever way: one allows just
	// itself, `*.example.com` those below it. Default: all.
	AllowedDomains []string `json:"allowed_domains,omitempty"`
	// Key for the hashes that stand for e-mail addresses in tables and logs.
	// Default: none, plain SHA-256.
	Pepper string `json:"pepper,omitempty"`

	// The portal's conversations, which hold what people wrote.
	Conversations Conversations `json:"conversations,omitzero"`
	// Key that conversations are encrypted with, at least 32 bytes. Default:
	// derived from the secret of the gateway's tokens; those of before cannot be
	// read any more when it changes.
	ContentSecret string `json:"content_secret,omitempty"`
	// The specialist or `provider/model` that recommends specialists to people
	// (`/chat/triage`). Default: none, words are compared.
	TriageModel string `json:"triage_model,omitempty"`

	// Upstream providers. One whose keys all come out empty is off, which is
	// logged once. With none on, the built-in `demo` provider answers.
	Providers []Provider `json:"providers,omitempty"`
	// How requests to providers travel, for providers without a transport of
	// their own: a module of `http.reverse_proxy.transport`. Default: `http`.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	// Specialists defined here are read-only and win over stored ones.
	Specialists []specialist.Specialist `json:"specialists,omitempty"`
	// Other names for models: name → `provider/model` or a specialist's id.
	Aliases map[string]string `json:"aliases,omitempty"`
	// File of prices that win over the embedded table.
	Prices string `json:"prices,omitempty"`

	// Several specialists in one run.
	Pipelines Pipelines `json:"pipelines,omitzero"`

	// What becomes of an upstream call whose caller left: `cancel` or `drain`.
	// Default: `cancel`.
	OnDisconnect string `json:"on_disconnect,omitempty"`
	// How long a left call is drained. Default: 30s.
	DrainTimeout caddy.Duration `json:"drain_timeout,omitempty"`
	// Largest request body, in bytes. Default: 33554432 (32 MiB).
	MaxBody int64 `json:"max_body,omitempty"`
	// What becomes of parts of a request that the upstream's dialect cannot say,
	// unless the caller says so itself: `refuse` (400) or `drop`. Default:
	// `refuse`.
	Unsupported string `json:"unsupported,omitempty"`
	// Fetches media that callers give by URL, for upstreams that take content
	// only. Default: such calls are refused.
	FetchMedia *FetchMedia `json:"fetch_media,omitempty"`
	// Request headers to pass on to providers, besides the dialects' own.
	ForwardHeaders []string `json:"forward_headers,omitempty"`

	// Most bytes of usage records that wait for the database. Beyond it calls
	// are refused. Default: 1073741824 (1 GiB).
	SpoolMaxBytes int64 `json:"spool_max_bytes,omitempty"`

	// Address that serves `/metrics` by itself, besides the admin endpoint.
	// Default: none.
	MetricsListen string `json:"metrics_listen,omitempty"`

	ctx     caddy.Context
	logger  *slog.Logger
	engine  *engine
	metrics *metricsServer
}

// Conversations says what is kept of the portal's conversations.
type Conversations struct {
	// Keep none. Default: false.
	Off bool `json:"off,omitempty"`
	// How long one is kept after its last message. Default: for ever.
	MaxAge caddy.Duration `json:"max_age,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "llm", New: func() caddy.Module { return new(App) }}
}

// Provision makes everything ready without asking the network anything.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.logger = ctx, ctx.Slogger()
	if err := a.replacePlaceholders(); err != nil {
		return err
	}
	// Caddy's admin endpoint and its `metrics` handler show this registry.
	if err := metrics.Register(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	engine, err := a.newEngine(ctx)
	if err != nil {
		return err
	}
	a.engine = engine
	return nil
}

// Validate checks the options that nothing else does.
func (a *App) Validate() error {
	switch gateway.OnDisconnect(a.OnDisconnect) {
	case "", gateway.Cancel, gateway.Drain:
	default:
		return fmt.Errorf("on_disconnect is %q; it can be cancel or drain", a.OnDisconnect)
	}
	switch a.Unsupported {
	case "", "refuse", "drop":
	default:
		return fmt.Errorf("unsupported is %q; it can be refuse or drop", a.Unsupported)
	}
	if a.FetchMedia != nil {
		if err := a.FetchMedia.validate(); err != nil {
			return err
		}
	}
	if err := a.Pipelines.check(); err != nil {
		return err
	}
	if a.MaxBody < 0 || a.SpoolMaxBytes < 0 || a.DrainTimeout < 0 {
		return errors.New("max_body, spool_max_bytes and drain_timeout cannot be negative")
	}
	return nil
}

// Start brings the database up to date and starts the background work.
func (a *App) Start() error {
	keepHeapFloor()
	if err := a.engine.start(a.ctx, a.AutoMigrate == nil || *a.AutoMigrate); err != nil {
		return err
	}
	if a.MetricsListen != "" {
		server, err := startMetricsServer(a.ctx, a.MetricsListen)
		if err != nil {
			return err
		}
		a.metrics = server
	}
	a.warnTrusted(a.engine.trusted, a.engine.signsIn())
	a.welcome()
	return nil
}

// Stop ends what Start began for this configuration alone. What live streams
// need goes on until they have ended.
func (a *App) Stop() error {
	if a.metrics != nil {
		return a.metrics.stop()
	}
	return nil
}

// Cleanup lets go of the shared resources; the last stream that uses them
// closes them.
func (a *App) Cleanup() error {
	if a.engine != nil {
		a.engine.retire()
	}
	return nil
}

// replacePlaceholders resolves the placeholders of text options. What is a
// secret goes through [resolveSecret] where it is used instead, so that the
// configuration never holds it.
func (a *App) replacePlaceholders() error {
	repl := caddy.NewReplacer()
	for _, field := range []*string{&a.DataDir, &a.RedisFailure, &a.Prices, &a.MetricsListen, &a.OnDisconnect} {
		*field = strings.TrimSpace(repl.ReplaceKnown(*field, ""))
	}
	a.AllowedDomains = words(repl, a.AllowedDomains)
	a.Pipelines.resolve(repl)
	if err := a.Login.resolve(); err != nil {
		return err
	}
	if a.DataDir == "" {
		a.DataDir = "data"
	}
	dir, err := filepath.Abs(a.DataDir)
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	a.DataDir = dir
	return nil
}

// resolveSecret gives the text behind a placeholder. An unset variable is empty;
// an unreadable file is an error, which names the option and not the content.
func resolveSecret(option, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	// An unreadable file looks empty to the replacer; a secret that was meant
	// to be there must not become "not set".
	needed := strings.Contains(text, "{file.")
	resolved, err := caddy.NewReplacer().ReplaceOrErr(text, needed, true)
	if err != nil {
		return "", fmt.Errorf("%s: %w", option, err)
	}
	return strings.TrimSpace(resolved), nil
}

// flushTimeout bounds how long the process waits at exit for the last usage
// records to reach the database; what is left then is shipped at next start.
const flushTimeout = 10 * time.Second

func init() {
	caddy.OnExit(func(ctx context.Context) {
		endLiveWork(ctx)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		ledgers.flush(ctx)
	})
}

var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.Validator    = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
