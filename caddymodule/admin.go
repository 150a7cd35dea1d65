package caddymodule

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func init() {
	caddy.RegisterModule(Admin{})
}

// Admin adds routes for operators to Caddy's admin endpoint:
//
//	GET /llm/status   providers, database, Redis, the spool's state, price table
type Admin struct {
	ctx caddy.Context
}

// CaddyModule returns the Caddy module information.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.llm", New: func() caddy.Module { return new(Admin) }}
}

// Provision keeps the context: the app is made after the admin endpoint.
func (a *Admin) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	return nil
}

// Routes implements caddy.AdminRouter.
func (a *Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/llm/status", Handler: caddy.AdminHandlerFunc(a.status)}}
}

func (a *Admin) status(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Message: "GET only"}
	}
	module, err := caddy.ActiveContext().AppIfConfigured("llm")
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Message: "the configuration has no llm app", Err: err}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(module.(*App).engine.status(r.Context()))
}

// Status is the answer of GET /llm/status.
type Status struct {
	Providers    []ProviderStatus  `json:"providers"`
	Specialists  int               `json:"specialists"`
	Dependencies map[string]string `json:"dependencies"` // ok, off, or what is wrong
	Spool        SpoolStatus       `json:"spool"`
	Prices       string            `json:"price_version"`
}

// ProviderStatus is one provider that is on.
type ProviderStatus struct {
	Name string `json:"name"`
}

// SpoolStatus is the state of the usage ledger.
type SpoolStatus struct {
	QueuedRecords int64         `json:"queued_records"`
	QueuedBytes   int64         `json:"queued_bytes"`
	OldestAge     time.Duration `json:"oldest_age_ns"`
	Shipped       int64         `json:"shipped"`
	Parked        int64         `json:"parked"`
	Corrupt       int64         `json:"corrupt"`
	Unjournaled   int64         `json:"unjournaled"`
	LastError     string        `json:"last_error,omitempty"`
}

var (
	_ caddy.AdminRouter = (*Admin)(nil)
	_ caddy.Provisioner = (*Admin)(nil)
)
