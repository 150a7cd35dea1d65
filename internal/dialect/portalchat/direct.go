package portalchat

import (
	"fmt"
	"strings"
)

// The bounds of what a direct chat may say beside its message.
const (
	maxName        = 200
	maxTemperature = 2
	maxMaxTokens   = 32_768
)

// directRequest is a request that names a model in the place of a specialist.
type directRequest struct {
	Request
	Provider    string   `json:"provider"`
	Model       string   `json:"model"`
	Temperature *float64 `json:"temperature"`
	MaxTokens   *int64   `json:"max_tokens"`
}

// DecodeDirect reads and checks a request for a model itself
// (`POST /chat/direct/stream`), as [Decode] does.
func DecodeDirect(body []byte) (*Request, error) {
	var d directRequest
	if err := decode(body, &d); err != nil {
		return nil, err
	}
	for _, name := range []struct{ field, value string }{{"provider", d.Provider}, {"model", d.Model}} {
		if strings.TrimSpace(name.value) == "" {
			return nil, invalid(name.field, name.field+" is required")
		}
		if len(name.value) > maxName {
			return nil, invalid(name.field, fmt.Sprintf("%s must have at most %d characters", name.field, maxName))
		}
	}
	switch {
	case d.Temperature != nil && (*d.Temperature < 0 || *d.Temperature > maxTemperature):
		return nil, invalid("temperature", fmt.Sprintf("temperature must be 0 to %d", maxTemperature))
	case d.MaxTokens != nil && (*d.MaxTokens < 1 || *d.MaxTokens > maxMaxTokens):
		return nil, invalid("max_tokens", fmt.Sprintf("max_tokens must be 1 to %d", maxMaxTokens))
	}
	r := &d.Request
	r.SpecialistID = ""
	r.Provider, r.ModelName, r.Temperature, r.MaxTokens = d.Provider, d.Model, d.Temperature, d.MaxTokens
	return r, r.check()
}
