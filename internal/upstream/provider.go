package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/secret"
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
	endpoints map[dialect.Name]paths
	preset    Preset
	auth      []http.Header // one per key: the header that carries it
	headers   http.Header
	version   []string // of Anthropic's API; nil: not said
	models    map[string]bool
	turn      atomic.Uint64
}

// New checks a provider's configuration. Its errors name what to mend and
// never hold a key.
func New(c Config) (*Provider, error) {
	preset, ok := Presets[cmp.Or(c.Preset, c.Name)]
	if !ok {
		preset = anyServer
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
		endpoints:      make(map[dialect.Name]paths, len(preset.Endpoints)),
	}
	for format := range preset.Endpoints {
		p.endpoints[format], _ = p.pathsAt(base, format)
	}
	if preset.Version != "" {
		p.version = []string{preset.Version}
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

// PriceName is the provider's name in the price table for a model, where its
// own name is not in it.
func (p *Provider) PriceName(model string) string {
	if p.preset.priceOf != nil {
		return p.preset.priceOf(model)
	}
	return cmp.Or(p.preset.Prices, p.Name)
}

// ModelID is the name by which the provider itself knows a model.
func (p *Provider) ModelID(model string) string { return model }

// Formats are the formats in which the provider's models can be asked, the best
// one for translation first. [Provider.Endpoint] says which of them a model has.
func (p *Provider) Formats() []dialect.Name { return p.preset.Formats }

// PassThrough says whether a client's body in a format may go to the provider
// with small edits alone. If not it must be translated within its format.
func (p *Provider) PassThrough(dialect.Name) bool { return true }

// EncodeOptions are what writing a request for the provider needs to know.
func (p *Provider) EncodeOptions(dialect.Name) dialect.EncodeOptions {
	return dialect.EncodeOptions{
		MaxTokensField: p.MaxTokensField,
		AskUsage:       p.AskUsage,
		StrictChat:     !p.preset.CacheMarks,
	}
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

// Demo says that the provider is the built-in one.
func (p *Provider) Demo() bool { return p.Name == DemoName }
