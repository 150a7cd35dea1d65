package upstream

import (
	"errors"
	"maps"
	"net/url"

	"github.com/financecommander/tollgate/internal/dialect"
)

// prepareAzure fits the preset to Azure's two ways of being called: the one that
// is OpenAI's below /openai/v1, and, where a dated version of the API is
// configured, the older one with the deployment in the path.
func prepareAzure(p *Preset, c *Config) error {
	if c.BaseURL == "" {
		return errors.New("base_url is required: https://NAME.openai.azure.com")
	}
	version := c.APIVersion
	if version == "" {
		return nil
	}
	query := "?api-version=" + url.QueryEscape(version)
	if version[0] < '0' || version[0] > '9' { // "preview" or "v1"
		p.Endpoints = maps.Clone(p.Endpoints)
		for format, path := range p.Endpoints {
			p.Endpoints[format] = path + query
		}
		return nil
	}
	p.Endpoints = below("/openai/deployments/"+modelMark, dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings)
	p.Endpoints[dialect.OpenAIResponses] = "/openai" + usualPaths[dialect.OpenAIResponses]
	for format, path := range p.Endpoints {
		p.Endpoints[format] = path + query
	}
	return nil
}
