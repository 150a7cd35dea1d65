package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/upstream"
)

// Provider is an upstream.
type Provider struct {
	// Name in `provider/model`, logs and metrics. Names that are known (openai,
	// anthropic, gemini and others) bring their addresses and quirks with them.
	Name string `json:"name"`
	// Whose defaults to take, by such a name. Default: the name's own, else those
	// of any server that speaks OpenAI's formats.
	Preset string `json:"preset,omitempty"`
	// Base URL as the provider's own SDK takes it. Of several, with spaces
	// between, the first that is not empty counts. Default: the preset's.
	BaseURL string `json:"base_url,omitempty"`
	// API keys, used in turn; each may be several as well, of which the first
	// that is not empty counts. If all come out empty the provider is off;
	// ollama and lmstudio need none and are on when their base URL is set.
	Keys []string `json:"keys,omitempty"`
	// How keys are sent: `bearer`, `x-api-key`, `x-goog-api-key`, `api-key` or
	// `none`. Default: the preset's.
	Auth string `json:"auth,omitempty"`
	// The formats in which its models are asked, the best one to translate to
	// first: `openai_chat`, `openai_responses`, `anthropic_messages`, `gemini`.
	// Default: the preset's.
	Formats []string `json:"formats,omitempty"`
	// The provider's own names of models, where they differ: Azure's deployments.
	Deployments map[string]string `json:"deployments,omitempty"`
	// Version of Azure's API, such as `2024-10-21`. Default: none, the one that
	// is not dated.
	APIVersion string `json:"api_version,omitempty"`
	// Google Cloud project that Vertex AI is asked in. Default: the credentials'.
	Project string `json:"project,omitempty"`
	// Location that Vertex AI is asked at. Default: `global`.
	Location string `json:"location,omitempty"`
	// Key of a service account that may use Vertex AI, as JSON text. Default:
	// the application default credentials.
	Credentials string `json:"credentials,omitempty"`
	// Headers sent with every request.
	Headers http.Header `json:"headers,omitempty"`
	// The only models that may be asked for. Default: any.
	Models []string `json:"models,omitempty"`
	// Longest wait for the first byte of an answer. Default: 5m.
	FirstByteTimeout caddy.Duration `json:"first_byte_timeout,omitempty"`
	// Longest silence within an answer. Default: 5m.
	BetweenBytesTimeout caddy.Duration `json:"between_bytes_timeout,omitempty"`
	// Longest time for a whole attempt. Default: 30m.
	TotalTimeout caddy.Duration `json:"total_timeout,omitempty"`
	// How requests travel: a module of `http.reverse_proxy.transport`. Its
	// dial timeout bounds connecting. Default: the app's.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`
}

// The default transport's pool: one idle connection per stream that may start
// again at once. Caddy's own default of 32 makes busy gateways dial all day.
const (
	idlePerHost        = 512
	defaultDialTimeout = 5 * time.Second
	// readBuffer takes a burst of events in one read, so that it can be written
	// in one, too. Go's default of 4 KiB holds some fifteen.
	readBuffer = 32 << 10
)

// providers makes the configured providers that have what they need.
func (a *App) providers(ctx caddy.Context) ([]*upstream.Provider, error) {
	shared, err := loadTransport(ctx, a, a.TransportRaw)
	if err != nil {
		return nil, err
	}
	var on []*upstream.Provider
	var off []string
	names := make(map[string]bool)
	for i := range a.Providers {
		config := &a.Providers[i]
		if config.Name == upstream.DemoName || config.Name == "" || strings.ContainsAny(config.Name, "/ ") || names[config.Name] {
			return nil, fmt.Errorf("provider %q: the name must be new, without spaces and slashes, and not %q", config.Name, upstream.DemoName)
		}
		names[config.Name] = true
		p, err := config.provision(ctx, shared)
		switch {
		case errors.Is(err, upstream.ErrNoKey):
			off = append(off, config.Name)
		case err != nil:
			return nil, err
		default:
			on = append(on, p)
		}
	}
	a.logProviders(on, off)
	return on, nil
}

func (a *App) logProviders(on []*upstream.Provider, off []string) {
	names := make([]string, len(on))
	for i, p := range on {
		names[i] = p.Name
	}
	if len(off) > 0 {
		a.logger.Info("providers without a key are off", slog.Any("off", off), slog.Any("on", names))
	}
	if len(on) == 0 {
		a.logger.Warn("no provider has a key; the built-in demo provider answers for every specialist")
	}
}

func (p *Provider) provision(ctx caddy.Context, shared http.RoundTripper) (*upstream.Provider, error) {
	config := upstream.Config{
		Name: p.Name, Preset: p.Preset, Headers: p.Headers, Models: p.Models, Deployments: p.Deployments, Transport: shared,
		Timeouts: upstream.Timeouts{
			FirstByte:    time.Duration(p.FirstByteTimeout),
			BetweenBytes: time.Duration(p.BetweenBytesTimeout),
			Total:        time.Duration(p.TotalTimeout),
		},
	}
	for _, name := range p.Formats {
		config.Formats = append(config.Formats, dialect.Name(name))
	}
	if err := p.resolve(&config); err != nil {
		return nil, err
	}
	if preset := upstream.Presets[p.Name]; preset.Local && len(config.Keys) == 0 && config.BaseURL == "" {
		return nil, upstream.ErrNoKey // nobody said that it is there
	}
	if p.TransportRaw != nil {
		var err error
		if config.Transport, err = loadTransport(ctx, p, p.TransportRaw); err != nil {
			return nil, err
		}
	}
	return upstream.New(config)
}

// resolve fills in the options that may hold placeholders.
func (p *Provider) resolve(config *upstream.Config) (err error) {
	for _, option := range []struct {
		name, text string
		to         *string
	}{
		{"base_url", p.BaseURL, &config.BaseURL},
		{"auth", p.Auth, (*string)(&config.Auth)},
		{"api_version", p.APIVersion, &config.APIVersion},
		{"project", p.Project, &config.Project},
		{"location", p.Location, &config.Location},
	} {
		if *option.to, err = firstOf("provider "+p.Name+" "+option.name, option.text); err != nil {
			return err
		}
	}
	for _, text := range p.Keys {
		key, err := firstOf("provider "+p.Name+" key", text)
		if err != nil {
			return err
		}
		if key != "" {
			config.Keys = append(config.Keys, secret.New(key))
		}
	}
	credentials, err := resolveSecret("provider "+p.Name+" credentials", p.Credentials)
	config.Credentials = secret.New(credentials)
	return err
}

// firstOf resolves the placeholders of alternatives and gives the first that is
// not empty.
func firstOf(option, text string) (string, error) {
	resolved, err := resolveSecret(option, text)
	if words := strings.Fields(resolved); err == nil && len(words) > 0 {
		return words[0], nil
	}
	return "", err
}

// loadTransport loads owner's TransportRaw, or makes the default transport.
func loadTransport(ctx caddy.Context, owner any, raw json.RawMessage) (http.RoundTripper, error) {
	if raw == nil {
		never := false
		transport := &reverseproxy.HTTPTransport{
			Compression:    &never, // answers pass through as they are
			DialTimeout:    caddy.Duration(defaultDialTimeout),
			ReadBufferSize: readBuffer,
			KeepAlive:      &reverseproxy.KeepAlive{MaxIdleConnsPerHost: idlePerHost},
		}
		if err := transport.Provision(ctx); err != nil {
			return nil, fmt.Errorf("default transport: %w", err)
		}
		return roundTripper{transport}, nil
	}
	module, err := ctx.LoadModule(owner, "TransportRaw")
	if err != nil {
		return nil, fmt.Errorf("load transport: %w", err)
	}
	if transport, ok := module.(*reverseproxy.HTTPTransport); ok && transport.Transport != nil {
		transport.Transport.DisableCompression = true
	}
	return roundTripper{module.(http.RoundTripper)}, nil
}

// roundTripper says in the gateway's words that no connection could be made.
type roundTripper struct{ http.RoundTripper }

// closeIdle closes the connections that wait for another request.
func (t roundTripper) closeIdle() {
	if transport, ok := t.RoundTripper.(*reverseproxy.HTTPTransport); ok && transport.Transport != nil {
		transport.Transport.CloseIdleConnections()
	}
}

func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		if dial, ok := errors.AsType[reverseproxy.DialError](err); ok {
			return nil, upstream.DialError{Err: dial}
		}
	}
	return resp, err
}
