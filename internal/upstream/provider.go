package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
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
// nearly everything else has a default.
type Config struct {
	Name     string
	Preset   string          // whose defaults to take; default: Name
	BaseURL  string          // as the provider's own SDK takes it; default: the preset's
	Keys     []secret.Secret // used in turn
	Auth     Auth            // how keys are sent; default: the preset's
	Headers  http.Header     // sent with every request, e.g. OpenAI-Organization
	Timeouts Timeouts
	// Formats, if not empty, are the only ones in which models are asked, the
	// best one for translation first; default: the preset's.
	Formats []dialect.Name
	// Models, if not empty, are the only models that may be asked for.
	Models []string
	// Deployments are the provider's own names of models, where they differ.
	Deployments map[string]string
	// APIVersion is that of Azure's API; default: none, the undated one.
	APIVersion string
	// Project and Location are where Vertex AI is asked; default: the
	// credentials' project and [DefaultLocation].
	Project, Location string
	// Credentials are a service account's key, as JSON; default: what Google's
	// own libraries find.
	Credentials secret.Secret
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

	base        *url.URL
	endpoints   map[dialect.Name]paths
	preset      Preset
	prices      string        // the name in the price table
	auth        []http.Header // one per key: the header that carries it
	headers     http.Header
	version     []string // of Anthropic's API; nil: not said
	models      map[string]bool
	deployments map[string]string
	turn        atomic.Uint64
}

// New checks a provider's configuration. Its errors name what to mend and
// never hold a key.
func New(c Config) (*Provider, error) {
	p, err := newProvider(c)
	if err != nil {
		return nil, fmt.Errorf("provider %s: %w", c.Name, err)
	}
	return p, nil
}

func newProvider(c Config) (*Provider, error) {
	if c.Transport == nil {
		return nil, errors.New("no transport")
	}
	preset, err := presetFor(&c)
	if err != nil {
		return nil, err
	}
	base, err := baseURL(cmp.Or(c.BaseURL, preset.BaseURL), preset)
	if err != nil {
		return nil, err
	}
	p := &Provider{
		Name:           c.Name,
		Timeouts:       c.Timeouts.withDefaults(),
		MaxTokensField: cmp.Or(preset.MaxTokensField, "max_tokens"),
		AskUsage:       !preset.NoStreamOptions,
		Transport:      c.Transport,
		base:           base,
		preset:         preset,
		prices:         priceName(&c, preset, base),
		headers:        c.Headers,
		deployments:    c.Deployments,
	}
	p.setEndpoints()
	if preset.Version != "" && p.endpoints[dialect.AnthropicMessages].whole.url != nil {
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

// presetFor gives a configuration's preset, with what it says otherwise.
func presetFor(c *Config) (Preset, error) {
	preset, ok := Presets[cmp.Or(c.Preset, c.Name)]
	switch {
	case ok:
	case c.Preset != "":
		return Preset{}, fmt.Errorf("there is no preset %q", c.Preset)
	case c.BaseURL == "":
		return Preset{}, errors.New("base_url is required: there is no preset of that name")
	default:
		preset = anyServer
	}
	if c.Auth != "" {
		if !slices.Contains(Auths, c.Auth) {
			return Preset{}, fmt.Errorf("auth is %q; it can be one of %v", c.Auth, Auths)
		}
		preset.Auth = c.Auth
		preset.KeyOptional = preset.KeyOptional || c.Auth == AuthNone
	}
	if len(c.Keys) == 0 && !preset.KeyOptional {
		return Preset{}, ErrNoKey
	}
	if preset.prepare != nil {
		if err := preset.prepare(&preset, c); err != nil {
			return Preset{}, err
		}
	}
	if len(c.Formats) > 0 {
		if err := preset.speak(c.Formats); err != nil {
			return Preset{}, err
		}
	}
	return preset, nil
}

// priceName is the name of a provider's own prices in the price table: those of
// its preset where that provider itself is asked, else none but its own.
func priceName(c *Config, preset Preset, base *url.URL) string {
	name := cmp.Or(c.Preset, c.Name)
	itself, err := baseURL(preset.BaseURL, preset)
	if name == c.Name || preset.BaseURL == "" || err == nil && itself.Host == base.Host {
		return cmp.Or(preset.Prices, name)
	}
	return c.Name
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

// PriceName is the provider's name in the price table for a model, unless the
// table has one by the provider's own name.
func (p *Provider) PriceName(model string) string {
	if p.preset.vertex {
		return vertexPrices(model)
	}
	return p.prices
}

// ModelID is the name by which the provider itself knows a model: in a body's
// `model`, if its format has one.
func (p *Provider) ModelID(model string) string {
	if name, ok := p.deployments[model]; ok {
		return name
	}
	return model
}

// Formats are the formats in which the provider's models can be asked, the best
// one for translation first. [Provider.Endpoint] says which of them a model has.
func (p *Provider) Formats() []dialect.Name { return p.preset.Formats }

// PassThrough says whether a client's body in a format may go to the provider
// with small edits alone. If not it must be translated within its format.
func (p *Provider) PassThrough(format dialect.Name) bool {
	return !p.preset.vertex || format != dialect.AnthropicMessages
}

// EncodeOptions are what writing a request for the provider needs to know of it.
func (p *Provider) EncodeOptions(dialect.Name) dialect.EncodeOptions {
	return dialect.EncodeOptions{
		MaxTokensField: p.MaxTokensField,
		AskUsage:       p.AskUsage,
		StrictChat:     !p.preset.CacheMarks,
		Vertex:         p.preset.vertex,
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

// TakesDocuments says whether PDF files may be sent to the provider in a format.
func (p *Provider) TakesDocuments(format dialect.Name) bool {
	return slices.Contains(p.preset.Documents, format)
}

// Demo says that the provider is the built-in one.
func (p *Provider) Demo() bool { return p.Name == DemoName }
