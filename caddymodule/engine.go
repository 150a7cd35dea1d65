package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"

	"github.com/financecommander/tollgate/internal/conversation"
	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/egress"
	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/revocation"
	"github.com/financecommander/tollgate/internal/identity/session"
	"github.com/financecommander/tollgate/internal/janitor"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/mail"
	"github.com/financecommander/tollgate/internal/metrics"
	"github.com/financecommander/tollgate/internal/portal"
	"github.com/financecommander/tollgate/internal/ratelimit"
	"github.com/financecommander/tollgate/internal/redisdb"
	"github.com/financecommander/tollgate/internal/responsestate"
	"github.com/financecommander/tollgate/internal/seal"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/pricing"
)

// engine is what one configuration's handlers work with. It lives until the
// configuration is retired and its last request has ended.
type engine struct {
	app    *App
	logger *slog.Logger
	lease  *lease

	db          *database.DB
	redis       redis.UniversalClient // nil: none
	limiter     ratelimit.Limiter
	guard       *ratelimit.Guarded // the limiter, if it is in Redis
	ledger      *sharedLedger
	hasher      identity.Hasher
	domains     identity.Domains // whose people may sign in
	revocations *revocation.Registry
	sessions    *session.Manager
	logins      portal.LoginMethods
	trusted     func() bool      // whether an address alone signs in; nil: never
	mails       *mail.Sender     // nil: no log-ins by mail
	janitor     *janitor.Janitor // of codes that have expired
	verifier    *identity.Verifier
	signer      *identity.Signer
	providers   []*upstream.Provider
	specialists *specialist.Registry
	editor      *specialist.Editor   // changes those in the database
	seals       *seal.Box            // of providers' state that callers carry
	responses   *responsestate.Store // answers that callers want kept
	prices      *pricing.Table

	conversations *conversation.Service
	pipelines     pipelines

	releases []func() error
	started  chan struct{}  // closed when start has succeeded
	retired  chan struct{}  // closed when the configuration is done with
	starting sync.WaitGroup // the retries of start
	cancel   context.CancelFunc
}

// newEngine opens everything without asking the network anything. Where it
// fails it lets go of what it had.
func (a *App) newEngine(ctx caddy.Context) (*engine, error) {
	e := &engine{
		app: a, logger: a.logger, cancel: func() {},
		started: make(chan struct{}), retired: make(chan struct{}),
	}
	e.lease = newLease(e.close)
	for _, step := range []func(caddy.Context) error{
		e.openDatabase, e.openLimiter, e.openLedger, e.openRevocations,
		e.openConversations, e.openIdentity, e.openLogins, e.openState, e.openProviders, e.openSpecialists,
		e.openPipelines,
	} {
		if err := step(ctx); err != nil {
			e.lease.leave()
			return nil, err
		}
	}
	return e, nil
}

// hold takes a pooled resource for the engine's life.
func hold[T any](e *engine, key string, open func() (T, error), closing func(T) error) (T, error) {
	value, release, err := acquire(key, open, closing)
	if err == nil {
		e.releases = append(e.releases, release)
	}
	return value, err
}

func (e *engine) openDatabase(caddy.Context) (err error) {
	url, err := e.databaseURL()
	if err != nil {
		return err
	}
	e.db, err = hold(e, "database "+url,
		func() (*database.DB, error) { return database.Open(url, database.Options{}) },
		(*database.DB).Close)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	return nil
}

func (e *engine) databaseURL() (string, error) {
	url, err := resolveSecret("database", e.app.Database)
	if err != nil || url != "" {
		return url, err
	}
	return "sqlite:///" + filepath.Join(e.app.DataDir, "tollgate.db"), nil
}

func (e *engine) openLimiter(caddy.Context) error {
	policy, err := ratelimit.ParsePolicy(e.app.RedisFailure)
	if err != nil {
		return fmt.Errorf("redis_failure: %w", err)
	}
	memory, err := hold(e, "limits in process",
		func() (*ratelimit.Memory, error) { return ratelimit.NewMemory(0, nil), nil },
		func(*ratelimit.Memory) error { return nil })
	if err != nil {
		return err
	}
	e.limiter = observed{memory}
	url, err := resolveSecret("redis", e.app.Redis)
	if err != nil || url == "" {
		return err
	}
	e.redis, err = hold(e, "redis "+url,
		func() (redis.UniversalClient, error) { return redisdb.Open(url) },
		redis.UniversalClient.Close)
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	client, logger := e.redis, e.logger
	e.guard, err = hold(e, "limits in redis "+string(policy)+" "+url,
		func() (*ratelimit.Guarded, error) {
			return ratelimit.NewGuarded(ratelimit.GuardedOptions{
				Redis: ratelimit.NewRedis(client), Local: memory, Policy: policy, Logger: logger, Observe: observe,
			}), nil
		},
		(*ratelimit.Guarded).Close)
	e.limiter = e.guard
	return err
}

// observe counts a decision of the limiter in Redis.
func observe(outcome ratelimit.Outcome) {
	switch outcome {
	case ratelimit.OutcomeAllowed, ratelimit.OutcomeDenied:
		metrics.LimiterDecision(outcome == ratelimit.OutcomeAllowed, "redis")
	case ratelimit.OutcomeLocal:
		metrics.LimiterError()
		metrics.LimiterDecision(true, "local")
	case ratelimit.OutcomeError:
		metrics.LimiterError()
		metrics.LimiterDecision(false, "policy")
	}
}

// observed counts the decisions of the limiter in process.
type observed struct{ ratelimit.Limiter }

func (o observed) Take(ctx context.Context, asks ...ratelimit.Ask) (ratelimit.Decision, error) {
	d, err := o.Limiter.Take(ctx, asks...)
	if err == nil {
		metrics.LimiterDecision(d.Allowed, "local")
	}
	return d, err
}

// openState makes what keeps state of providers and of conversations. Its keys
// are derived from the gateway's own secret, so all replicas have the same.
func (e *engine) openState(caddy.Context) error {
	key, err := e.app.ownSecret()
	if err != nil {
		return err
	}
	if e.seals, err = seal.New(key, seal.StateLabel); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	e.responses, err = responsestate.New(key, e.db, e.logger)
	return err
}

func (e *engine) openProviders(ctx caddy.Context) (err error) {
	if e.providers, err = e.app.providers(ctx); err != nil {
		return err
	}
	e.prices = pricing.Embedded()
	if e.app.Prices == "" {
		return nil
	}
	file, err := os.Open(e.app.Prices)
	if err != nil {
		return fmt.Errorf("prices: %w", err)
	}
	defer file.Close()
	own, err := pricing.Load(file)
	if err != nil {
		return fmt.Errorf("prices %s: %w", e.app.Prices, err)
	}
	e.prices = e.prices.Override(own)
	return nil
}

func (e *engine) openSpecialists(caddy.Context) (err error) {
	store := specialist.NewDatabaseStore(e.db)
	e.specialists, err = specialist.NewRegistry(specialist.Options{
		Configured: e.app.Specialists, Store: store, Logger: e.logger,
	})
	if err != nil {
		return err
	}
	places := make(map[string]string, len(e.providers))
	for _, p := range e.providers {
		places[p.Name] = p.Origin()
	}
	e.editor = specialist.NewEditor(specialist.EditorOptions{
		Store: store, Registry: e.specialists, Providers: places, Logger: e.logger,
	})
	return nil
}

// guarded carries calls to places that admins named through the API.
var guarded = egress.NewTransport()

// newGateway makes the gateway of one llm_proxy handler.
func (e *engine) newGateway(anonymous bool) *gateway.Gateway {
	var fetch gateway.Fetch
	if client := e.app.fetcher(); client != nil {
		fetch = gateway.FetchWith(client)
	}
	return gateway.New(gateway.Options{
		Answers: e.answers(), Guarded: guarded,
		Seal:      func(owner string) dialect.Sealer { return e.seals.ForOwner(owner) },
		Responses: e.responses, Fetch: fetch, DropUnsupported: e.app.Unsupported == "drop",
		Logger: e.logger, Providers: e.providers, Specialists: e.specialists, Aliases: e.app.Aliases,
		Prices: e.prices, Ledger: e.ledger, Caller: callerVar, AllowAnonymous: anonymous, MaxBody: e.app.MaxBody,
		OnDisconnect:   gateway.OnDisconnect(e.app.OnDisconnect),
		DrainTimeout:   time.Duration(e.app.DrainTimeout),
		ForwardHeaders: e.app.ForwardHeaders,
	})
}

// enter holds the engine for a request. It waits for the start: Caddy's server
// may accept requests a moment before this app has started.
func (e *engine) enter(r *http.Request) *llm.Error {
	if !e.lease.enter() {
		return &llm.Error{
			Cause: llm.CauseUnavailable, RetryAfter: time.Second,
			Message: "the gateway's configuration was just replaced; try again",
		}
	}
	select {
	case <-e.started:
		return nil
	default:
	}
	select {
	case <-e.started:
		return nil
	case <-e.retired: // without having started
	case <-r.Context().Done():
	case <-time.After(startTimeout):
	}
	e.lease.leave()
	return &llm.Error{Cause: llm.CauseUnavailable, RetryAfter: time.Second, Message: "the gateway is starting; try again"}
}

func (e *engine) leave() { e.lease.leave() }

// linger is how long a configuration that was replaced still takes requests:
// those its server had begun to handle, which wait for an issuer's keys perhaps.
// Tests shorten it.
var linger = 5 * time.Second

// retire lets go of the engine for its configuration. Live requests keep it.
func (e *engine) retire() {
	close(e.retired)
	select {
	case <-e.started:
		if !caddy.Exiting() {
			time.AfterFunc(linger, e.leave)
			return
		}
	default: // never served
	}
	e.leave()
}

// close lets go of everything, in the order opposite to opening.
func (e *engine) close() {
	e.cancel()
	e.starting.Wait()
	if e.verifier != nil {
		e.verifier.Close()
	}
	e.stopIdentity()
	e.stopPipelines()
	if e.specialists != nil {
		e.specialists.Stop()
	}
	if e.responses != nil {
		e.responses.Stop()
	}
	for _, p := range e.providers {
		if transport, ok := p.Transport.(roundTripper); ok {
			transport.closeIdle()
		}
	}
	var err error
	for _, release := range slices.Backward(e.releases) {
		err = errors.Join(err, release())
	}
	if err != nil {
		e.logger.Error("closing a retired configuration's resources", slog.Any("error", err))
	}
}
