package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
)

// vertexModels is the path of a project's models, up to their maker.
const vertexModels = "/v1/projects/{project}/locations/{location}/publishers/"

// DefaultLocation is where Vertex AI is asked unless told: wherever there is
// room.
const DefaultLocation = "global"

// prepareVertex fits the preset to a project and a location, and finds out how
// to sign in.
func prepareVertex(p *Preset, c *Config) error {
	if len(c.Keys) > 0 {
		return errors.New("vertex takes credentials, not a key")
	}
	if c.Project == "" && c.Credentials.IsZero() {
		return ErrNoKey
	}
	source, project, err := googleTokens(c.Credentials, c.Transport)
	if err != nil {
		return err
	}
	project = cmp.Or(c.Project, project)
	location := cmp.Or(c.Location, DefaultLocation)
	if !isSegment(project, ":.") || !isSegment(location, "") {
		return errors.New("project and location must be the ids of a Google Cloud project and of one of its locations")
	}
	p.tokens = source
	p.BaseURL = vertexHost(location)
	fill := strings.NewReplacer("{project}", project, "{location}", location)
	for _, paths := range []*map[dialect.Name]string{&p.Endpoints, &p.Streams} {
		*paths = maps.Clone(*paths)
		for format, path := range *paths {
			(*paths)[format] = fill.Replace(path)
		}
	}
	return nil
}

// vertexHost is where a location is asked.
// https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations
func vertexHost(location string) string {
	switch location {
	case "global":
		return "https://aiplatform.googleapis.com"
	case "us", "eu":
		return fmt.Sprintf("https://aiplatform.%s.rep.googleapis.com", location)
	default:
		return fmt.Sprintf("https://%s-aiplatform.googleapis.com", location)
	}
}

// vertexModel is a model's name in a path: without its maker, which the format
// says.
func vertexModel(model string) string {
	for _, maker := range []string{"publishers/google/models/", "publishers/anthropic/models/", "models/"} {
		if name, ok := strings.CutPrefix(model, maker); ok {
			return pathSegment(name)
		}
	}
	return pathSegment(model)
}

// vertexFormat is the format in which a model is asked: that of its maker.
func vertexFormat(model string) dialect.Name {
	if strings.HasPrefix(vertexModel(model), "claude") {
		return dialect.AnthropicMessages
	}
	return dialect.Gemini
}

// vertexHas says whether a model can be asked in a format.
func vertexHas(format dialect.Name, model string) bool {
	own := vertexFormat(model)
	return format == own || format == counting[own]
}

// vertexPrices is the maker's name in the price table.
func vertexPrices(model string) string {
	if vertexFormat(model) == dialect.AnthropicMessages {
		return "anthropic"
	}
	return "google"
}
