package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/catalog"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
	"github.com/financecommander/tollgate/internal/pipeline/fetch"
	"github.com/financecommander/tollgate/internal/pipeline/run"
	"github.com/financecommander/tollgate/internal/portal"
	"github.com/financecommander/tollgate/internal/secret"
)

// Pipelines says which pipelines there are and how much they may do.
type Pipelines struct {
	// Have none, and keep no runs. Default: false.
	Off bool `json:"off,omitempty"`
	// Folder of definitions (*.yaml, *.yml, *.json), followed while the gateway
	// runs. Default: none.
	Dir string `json:"dir,omitempty"`
	// Leave out the shipped examples. Default: false.
	NoExamples bool `json:"no_examples,omitempty"`
	// Hosts that http steps may ask. Default: none.
	HTTPHosts []HTTPHost `json:"http_hosts,omitempty"`
	// Most runs of this replica at one time; further ones are refused. Default: 256.
	MaxRuns int `json:"max_runs,omitempty"`
	// Most runs of one user at one time on this replica. Default: 10.
	MaxRunsPerUser int `json:"max_runs_per_user,omitempty"`
	// Most calls of all runs of this replica at one time; further ones wait.
	// Default: 64.
	MaxCalls int `json:"max_calls,omitempty"`
	// How long a run is kept after its end. Default: for ever.
	Retention caddy.Duration `json:"retention,omitempty"`
}

// HTTPHost is a host that http steps may ask.
type HTTPHost struct {
	// `api.example.com`, or `*.example.com` for all below it; with a port where it
	// is not the usual one.
	Name string `json:"name"`
	// Headers that are sent to it and that no definition sees: keys.
	Headers map[string]string `json:"headers,omitempty"`
	// The host may be in a private network. Default: false.
	Private bool `json:"private,omitempty"`
	// It may be asked by http. Default: false, https only.
	Plain bool `json:"plain,omitempty"`
}

// defaultMaxCalls leaves room for callers of their own beside the pipelines.
const defaultMaxCalls = 64

// pipelines are the engine's parts for them; the zero value: they are off.
type pipelines struct {
	catalog  *catalog.Catalog
	client   *fetch.Client // of http steps
	runs     *run.Service
	executor *execute.Executor
}

// check says what is wrong with the numbers.
func (p *Pipelines) check() error {
	if p.MaxRuns < 0 || p.MaxRunsPerUser < 0 || p.MaxCalls < 0 || p.Retention < 0 {
		return errors.New("pipelines: max_runs, max_runs_per_user, max_calls and retention cannot be negative")
	}
	return nil
}

// openPipelines reads the definitions, so that a faulty one refuses the
// configuration, and opens what runs them.
func (e *engine) openPipelines(caddy.Context) error {
	set := &e.app.Pipelines
	if set.Off {
		return nil
	}
	if err := e.openCatalog(); err != nil {
		return fmt.Errorf("pipelines: %w", err)
	}
	if err := e.openRuns(); err != nil {
		return fmt.Errorf("pipelines: %w", err)
	}
	calls := set.MaxCalls
	if calls == 0 {
		calls = defaultMaxCalls
	}
	slots, err := hold(e, fmt.Sprint("calls of pipelines ", calls),
		func() (*execute.Slots, error) { return execute.NewSlots(calls), nil },
		func(*execute.Slots) error { return nil })
	if err != nil {
		return err
	}
	e.pipelines.executor = execute.New(execute.Options{
		Models: e.newGateway(false), Fetch: e.pipelines.client, Slots: slots, Permit: e.permit, Logger: e.logger,
	})
	return nil
}

// openCatalog reads which pipelines there are, and what they may refer to.
func (e *engine) openCatalog() (err error) {
	set := &e.app.Pipelines
	if e.pipelines.client, err = set.client(); err != nil {
		return err
	}
	e.pipelines.catalog, err = catalog.New(catalog.Options{
		Dir: set.Dir, Examples: !set.NoExamples, DB: e.db, Known: e.known(e.pipelines.client), Logger: e.logger,
	})
	return err
}

// openRuns opens what keeps runs. It is pooled: a run goes on when the
// configuration it was started under is replaced.
func (e *engine) openRuns() error {
	key, err := e.app.contentSecret()
	if err != nil {
		return err
	}
	url, err := e.databaseURL()
	if err != nil {
		return err
	}
	set, db, logger := e.app.Pipelines, e.db, e.logger
	fingerprint := sha256.Sum256([]byte(key.Reveal()))
	name := fmt.Sprint("runs ", url, set.MaxRuns, set.MaxRunsPerUser, set.Retention, hex.EncodeToString(fingerprint[:]))
	e.pipelines.runs, err = hold(e, name,
		func() (*run.Service, error) {
			s, err := run.New(run.Options{
				DB: db, Secret: key, Logger: logger, Retention: time.Duration(set.Retention),
				MaxRuns: set.MaxRuns, MaxRunsOfUser: set.MaxRunsPerUser,
			})
			if err == nil {
				runServices.add(s)
			}
			return s, err
		},
		func(s *run.Service) error {
			runServices.remove(s)
			s.Stop()
			return nil
		})
	return err
}

// known is what definitions may refer to here.
func (e *engine) known(client *fetch.Client) pipeline.Known {
	k := pipeline.Known{
		Host: client.Allowed,
		Specialist: func(name string) bool {
			_, ok := e.specialists.Get(name)
			_, alias := e.specialists.Get(e.app.Aliases[name])
			return ok || alias || !e.specialists.Loaded() // it may yet be there
		},
	}
	if len(e.providers) > 0 { // else the demo stands in for all
		names := make(map[string]bool, len(e.providers))
		for _, p := range e.providers {
			names[p.Name] = true
		}
		k.Provider = func(name string) bool { return names[name] }
	}
	return k
}

// client makes what http steps ask with.
func (p *Pipelines) client() (*fetch.Client, error) {
	var hosts []fetch.Host
	for _, h := range p.HTTPHosts {
		host := fetch.Host{Name: h.Name, Private: h.Private, Plain: h.Plain, Headers: make(map[string]secret.Secret, len(h.Headers))}
		for name, text := range h.Headers {
			value, err := resolveSecret("http_host "+h.Name+" header "+name, text)
			if err != nil {
				return nil, err
			}
			if value != "" {
				host.Headers[name] = secret.New(value)
			}
		}
		hosts = append(hosts, host)
	}
	return fetch.New(fetch.Options{Hosts: hosts})
}

// permit says whether somebody whose run is under way may still go on.
func (e *engine) permit(p *identity.Principal) *llm.Error {
	if (withdrawn{e.revocations, e.sessions}).Revoked(p) {
		return &llm.Error{Cause: llm.CauseForbidden, Message: "the token that started the run was withdrawn meanwhile"}
	}
	return nil
}

// portalPipelines are the pipelines as the portal serves them.
func (e *engine) portalPipelines() portal.PipelineOptions {
	return portal.PipelineOptions{
		Catalog: e.pipelines.catalog, Runs: e.pipelines.runs, Executor: e.pipelines.executor,
		Hold: func() (func(), bool) { return e.lease.leave, e.lease.enter() },
	}
}

// startPipelines begins the background work.
func (e *engine) startPipelines(ctx context.Context) error {
	if e.pipelines.catalog == nil {
		return nil
	}
	e.pipelines.runs.Start(context.WithoutCancel(ctx)) // pooled, it outlives this configuration
	return e.pipelines.catalog.Start(ctx)
}

func (e *engine) stopPipelines() {
	if e.pipelines.catalog != nil {
		e.pipelines.catalog.Stop()
	}
	e.pipelines.client.Close()
}

// runServices are all that the process has open.
var runServices runServiceSet

type runServiceSet struct {
	mu   sync.Mutex // guards what follows
	open []*run.Service
}

func (s *runServiceSet) add(one *run.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, one)
}

func (s *runServiceSet) remove(one *run.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = slices.DeleteFunc(s.open, func(other *run.Service) bool { return other == one })
}

// drain waits, when the process ends, for the runs under way.
func (s *runServiceSet) drain(ctx context.Context) {
	s.mu.Lock()
	open := slices.Clone(s.open)
	s.mu.Unlock()
	var all sync.WaitGroup
	for _, one := range open {
		all.Go(func() { _ = one.Drain(ctx) }) // what is left was stopped, and says so
	}
	all.Wait()
}

// resolve replaces the placeholders of the folder's name.
func (p *Pipelines) resolve(repl *caddy.Replacer) {
	p.Dir = strings.TrimSpace(repl.ReplaceKnown(p.Dir, ""))
}
