package portal

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// /health is open to everybody, so what it costs must not depend on how often
// it is asked: the checks run at most once per healthMaxAge, and none may take
// longer than healthTimeout.
const (
	healthMaxAge  = time.Second
	healthTimeout = 2 * time.Second
)

// The states of the whole and of its dependencies. Why one is down is for the
// log and for operators, not for strangers.
const (
	statusHealthy  = "healthy"
	statusDegraded = "degraded"

	dependencyOK   = "ok"
	dependencyDown = "down"
	dependencyOff  = "off" // not configured
)

// health remembers the last result of the checks.
type health struct {
	checks map[string]func(context.Context) error

	mu     sync.Mutex // guards what follows; held while the checks run, so that they run once
	at     time.Time
	states map[string]string
}

// current gives the state of each dependency, at most healthMaxAge old.
func (h *health) current(ctx context.Context) map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.states != nil && time.Since(h.at) < healthMaxAge {
		return h.states
	}
	// The result is for others too, so this caller's leaving must not end it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
	defer cancel()

	var wg sync.WaitGroup
	var mu sync.Mutex // guards states
	states := make(map[string]string, len(h.checks))
	for name, check := range h.checks {
		if check == nil {
			states[name] = dependencyOff
		}
	}
	for name, check := range h.checks {
		if check == nil {
			continue
		}
		wg.Go(func() {
			state := dependencyOK
			if check(ctx) != nil {
				state = dependencyDown
			}
			mu.Lock()
			defer mu.Unlock()
			states[name] = state
		})
	}
	wg.Wait()
	h.states, h.at = states, time.Now()
	return states
}

// getHealth always answers 200: a gateway without its database still serves
// calls, and a load balancer that took all replicas out would help nobody.
func (h *Handler) getHealth(w http.ResponseWriter, r *http.Request) error {
	answer := map[string]string{"status": statusHealthy, "app": h.o.App, "version": h.o.Version}
	for name, state := range h.health.current(r.Context()) {
		answer[name] = state
		if state == dependencyDown {
			answer["status"] = statusDegraded
		}
	}
	return writeJSON(w, answer)
}
