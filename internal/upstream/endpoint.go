package upstream

import (
	"errors"
	"net/url"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
)

// EmbedBatch names, for [Provider.Endpoint] and [Provider.Rebase], the call of
// [dialect.GeminiEmbeddings] that takes many inputs.
const EmbedBatch dialect.Name = "gemini_batch_embeddings"

// modelMark stands for the model in a path.
const modelMark = "{model}"

// endpoint is where a format is taken. Most are the same URL for every call;
// some have the model in their path.
type endpoint struct {
	url   *url.URL // up to the model, if it is in the path; else whole
	model bool
	rest  string // of the path, behind the model
}

// newEndpoint makes the endpoint of a path below a base URL.
func newEndpoint(base *url.URL, path string) endpoint {
	whole := *base
	path, whole.RawQuery, _ = strings.Cut(path, "?")
	before, after, model := strings.Cut(path, modelMark)
	// Not [url.URL.JoinPath], which makes a relative path of it where the base
	// has none.
	whole.Path += before
	return endpoint{url: &whole, model: model, rest: after}
}

// at gives the endpoint's URL for a model, by its name in a path; nil where
// that is needed and there is none.
func (e endpoint) at(segment string) *url.URL {
	if !e.model {
		return e.url
	}
	if segment == "" {
		return nil
	}
	whole := *e.url
	whole.Path += segment + e.rest
	return &whole
}

// paths are a format's two endpoints.
type paths struct{ whole, stream endpoint }

func (p *Provider) pathsAt(base *url.URL, format dialect.Name) paths {
	path, ok := p.preset.Endpoints[format]
	if !ok {
		return paths{}
	}
	found := paths{whole: newEndpoint(base, path)}
	found.stream = found.whole
	if path, ok := p.preset.Streams[format]; ok {
		found.stream = newEndpoint(base, path)
	}
	return found
}

// setEndpoints makes the endpoints below the provider's own base URL.
func (p *Provider) setEndpoints() {
	p.endpoints = make(map[dialect.Name]paths, len(p.preset.Endpoints))
	for format := range p.preset.Endpoints {
		p.endpoints[format] = p.pathsAt(p.base, format)
	}
}

func (p *Provider) at(found paths, format dialect.Name, model string, stream bool) *url.URL {
	if p.preset.vertex && !vertexHas(format, model) {
		return nil
	}
	e := found.whole
	if stream {
		e = found.stream
	}
	if !e.model {
		return e.url
	}
	inPath := p.preset.inPath
	if inPath == nil {
		inPath = pathSegment
	}
	return e.at(inPath(p.ModelID(model)))
}

// Endpoint is where the provider takes a call for a model in a wire format; nil
// if it does not speak the format with that model, or the model's name cannot
// be one of its names. The URL may be shared: do not change it.
func (p *Provider) Endpoint(format dialect.Name, model string, stream bool) *url.URL {
	found, ok := p.endpoints[format]
	if !ok {
		return nil
	}
	return p.at(found, format, model, stream)
}

// Rebase gives the endpoint under another base URL, for a specialist that has
// one of its own, and whether the provider's key may go there: to the
// provider's own host only.
func (p *Provider) Rebase(format dialect.Name, model string, stream bool, raw string) (at *url.URL, sameHost bool, err error) {
	if _, ok := p.endpoints[format]; !ok {
		return nil, false, nil
	}
	base, err := baseURL(raw, p.preset)
	if err != nil {
		return nil, false, err
	}
	found := p.pathsAt(base, format)
	return p.at(found, format, model, stream), base.Scheme == p.base.Scheme && base.Host == p.base.Host, nil
}

// Origin is where the provider is: scheme, host and port.
func (p *Provider) Origin() string { return p.base.Scheme + "://" + p.base.Host }

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

// maxSegment is longer than any provider's name of a model.
const maxSegment = 256

// pathSegment gives a model's name if it may stand in a path, else "". Names
// come from callers and must not be able to lead anywhere else.
func pathSegment(model string) string {
	if isSegment(model, ".@") {
		return model
	}
	return ""
}

// isSegment says whether a name can be one segment of a path as it is: letters,
// digits, `-`, `_` and the others given, none of which means anything in a URL.
func isSegment(name, others string) bool {
	if name == "" || len(name) > maxSegment || strings.Contains(name, "..") || name == "." {
		return false
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', strings.IndexByte(others, c) >= 0:
		default:
			return false
		}
	}
	return true
}

// geminiResource is a model's resource name in the Gemini API: `models/x`, or
// `tunedModels/x` where a caller says so.
func geminiResource(model string) string {
	const tuned = "tunedModels/"
	if name, ok := strings.CutPrefix(model, tuned); ok {
		if name = pathSegment(name); name != "" {
			return tuned + name
		}
		return ""
	}
	if name := pathSegment(strings.TrimPrefix(model, "models/")); name != "" {
		return "models/" + name
	}
	return ""
}
