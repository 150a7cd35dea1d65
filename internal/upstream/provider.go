package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/secret"
)

// Auth says how a provider wants its key.
type Auth string

// The ways a key is sent.
const (
	AuthBearer Auth = "bearer"    // Authorization: Bearer KEY
	AuthAPIKey Auth = "x-api-key" // x-api-key: KEY
	AuthNone   Auth = "none"      // no key: local servers
)

// Timeouts bound an upstream attempt. Zero values mean the defaults.
type Timeouts struct {
	// FirstByte is the longest wait from sending the request to the first byte
	// of the answer's header. Reasoning models answer unstreamed calls only
	// when they are done thinking. Default 5m.
	FirstByte time.Duration
	// BetweenBytes is the longest silence within an answer. Default 5m.
	BetweenBytes time.Duration
	// Total bounds the whole attempt. Default 30m.
	Total time.Duration
}

// Default timeouts: as long as the official SDKs wait or longer, since a
// gateway that gives up before its clients loses answers that were paid for.
const (
	DefaultFirstByte    = 5 * time.Minute
	DefaultBetweenBytes = 5 * time.Minute
	DefaultTotal        = 30 * time.Minute
)

func (t Timeouts) withDefaults() Timeouts {
	return Timeouts{
		FirstByte:    cmp.Or(t.FirstByte, DefaultFirstByte),
		BetweenBytes: cmp.Or(t.BetweenBytes, DefaultBetweenBytes),
		Total:        cmp.Or(t.Total, DefaultTotal),
	}
}

// Config describes a provider. Name is required; for the names in [Presets]
// everything else has a default.
type Config struct {
	Name     string
	Preset   string          // whose defaults to take; default: Name
	BaseURL  string          // as the provider's own SDK takes it; default: the preset's
	Keys     []secret.Secret // used in turn
	Headers  http.Header     // sent with every request, e.g. OpenAI-Organization
	Timeouts Timeouts
	// Models, if not empty, are the only models that may be asked for.
	Models []string
	// Transport carries the requests. It must not decompress, redirect or add
	// headers of its own.
	Transport http.RoundTripper
}

// Provider is one configured upstream. It is safe for concurrent use.
type Provider struct {
	Name           string
	Timeouts       Timeouts
	MaxTokensField string // the chat member that limits generated tokens
	AskUsage       bool   // understands stream_options.include_usage
	Transport      http.RoundTripper

	base      *url.URL
	endpoints map[dialect.Name]*url.URL
	preset    Preset
	auth      []http.Header // one per key: the header that carries it
	headers   http.Header
	models    map[string]bool
	turn      atomic.Uint64
}

// New checks a provider's configuration. Its errors name what to mend and
// never hold a key.
func New(c Config) (*Provider, error) {
	preset, ok := Presets[cmp.Or(c.Preset, c.Name)]
	if !ok {
		preset = Presets["openai"]
		preset.BaseSuffix = "" // who else speaks the format may have it at the root
		if c.BaseURL == "" {
			return nil, fmt.Errorf("provider %s: base_url is required: there is no preset of that name", c.Name)
		}
	}
	base, err := baseURL(cmp.Or(c.BaseURL, preset.BaseURL), preset)
	if err != nil {
		return nil, fmt.Errorf("provider %s: %w", c.Name, err)
	}
	if len(c.Keys) == 0 && !preset.KeyOptional {
		return nil, fmt.Errorf("provider %s: %w", c.Name, ErrNoKey)
	}
	if c.Transport == nil {
		return nil, fmt.Errorf("provider %s: no transport", c.Name)
	}
	p := &Provider{
		Name:           c.Name,
		Timeouts:       c.Timeouts.withDefaults(),
		MaxTokensField: cmp.Or(preset.MaxTokensField, "max_tokens"),
		AskUsage:       !preset.NoStreamOptions,
		Transport:      c.Transport,
		base:           base,
		preset:         preset,
		headers:        c.Headers,
		endpoints:      make(map[dialect.Name]*url.URL, len(preset.Endpoints)),
	}
	for name, path := range preset.Endpoints {
		p.endpoints[name] = join(base, path)
	}
	for _, key := range c.Keys {
		p.auth = append(p.auth, authHeader(preset.Auth, key))
	}
	if len(c.Models) > 0 {
		p.models = make(map[string]bool, len(c.Models))
		for _, m := range c.Models {
			p.models[m] = true
		}
	}
	return p, nil
}

// DialError is what a Transport returns where no connection could be made, so
// that the request has certainly not been seen.
type DialError struct{ Err error }

// Error implements error.
func (e DialError) Error() string { return e.Err.Error() }

// Unwrap gives the error underneath.
func (e DialError) Unwrap() error { return e.Err }

// ErrNoKey says that a provider has no key and is therefore off.
var ErrNoKey = errors.New("no API key")

func baseURL(raw string, preset Preset) (*url.URL, error) {
	base, err := url.Parse(strings.TrimRight(strings.TrimSpace(raw), "/"))
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, errors.New("base_url must be an absolute http or https URL")
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("base_url must have no user, query or fragment")
	}
	// SDKs of one provider disagree on whether the version is part of the base.
	if preset.BaseSuffix != "" && base.Path == "" {
		base.Path = preset.BaseSuffix
	}
	for _, end := range preset.BaseTrim {
		base.Path = strings.TrimSuffix(base.Path, end)
	}
	base.RawPath = ""
	return base, nil
}

// join adds a path to a base URL. ([url.URL.JoinPath] makes a relative path of
// it where the base has none.)
func join(base *url.URL, path string) *url.URL {
	joined := *base
	joined.Path += path
	return &joined
}

func authHeader(style Auth, key secret.Secret) http.Header {
	switch style {
	case AuthAPIKey:
		return http.Header{"X-Api-Key": {key.Reveal()}}
	case AuthNone:
		return nil
	default:
		return http.Header{"Authorization": {"Bearer " + key.Reveal()}}
	}
}

// Endpoint is where the provider takes a wire format; nil if it does not speak
// it. The URL is shared: do not change it.
func (p *Provider) Endpoint(name dialect.Name) *url.URL { return p.endpoints[name] }

// Rebase gives the endpoint under another base URL, for a specialist that has
// one of its own, and whether the provider's key may go there: to the
// provider's own host only.
func (p *Provider) Rebase(name dialect.Name, raw string) (endpoint *url.URL, sameHost bool, err error) {
	path, ok := p.preset.Endpoints[name]
	if !ok {
		return nil, false, nil
	}
	base, err := baseURL(raw, p.preset)
	if err != nil {
		return nil, false, err
	}
	return join(base, path), base.Scheme == p.base.Scheme && base.Host == p.base.Host, nil
}

// Serves says whether a model may be asked for.
func (p *Provider) Serves(model string) bool { return p.models == nil || p.models[model] }

// Models are the only models that may be asked for; nil: any.
func (p *Provider) Models() []string {
	if p.models == nil {
		return nil
	}
	names := make([]string, 0, len(p.models))
	for name := range p.models {
		names = append(names, name)
	}
	return names
}

// Authorize puts the provider's own headers, which may be secret too, and the
// next key into a request's headers. A request to another host gets neither.
func (p *Provider) Authorize(h http.Header, withKey bool) {
	if !withKey {
		return
	}
	maps.Copy(h, p.headers)
	if len(p.auth) == 0 {
		return
	}
	i := 0
	if len(p.auth) > 1 {
		i = int(p.turn.Add(1) % uint64(len(p.auth)))
	}
	maps.Copy(h, p.auth[i])
}

// Demo says that the provider is the built-in one.
func (p *Provider) Demo() bool { return p.Name == DemoName }
