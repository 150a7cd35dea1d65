package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metricsServer serves `/metrics` on an address of its own.
type metricsServer struct {
	server http.Server
	done   sync.WaitGroup
}

func startMetricsServer(ctx caddy.Context, address string) (*metricsServer, error) {
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		return nil, fmt.Errorf("metrics_listen: %w", err)
	}
	listener, err := parsed.Listen(ctx, 0, net.ListenConfig{})
	if err != nil {
		return nil, fmt.Errorf("metrics_listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(ctx.GetMetricsRegistry(), promhttp.HandlerOpts{}))
	m := &metricsServer{server: http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}
	m.done.Go(func() {
		if err := m.server.Serve(listener.(net.Listener)); err != nil && !errors.Is(err, http.ErrServerClosed) {
			ctx.Slogger().ErrorContext(ctx, "metrics server ended", slog.Any("error", err))
		}
	})
	return m, nil
}

func (m *metricsServer) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := m.server.Shutdown(ctx)
	m.done.Wait()
	return err
}
