package specialist

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/financecommander/tollgate/internal/llm"
)

// The limits of a specialist's fields, in characters where they are texts.
const (
	maxID           = 64
	maxName         = 100
	maxDescription  = 500
	maxSystemPrompt = 10_000
	maxModel        = 200
	maxTokens       = 32_768
	maxTemperature  = 2
	maxFallbacks    = 10
	maxAliases      = 20
	maxHistory      = 50 // earlier prompts that are kept
)

// DirectID stands in the usage log for calls that name a model directly, so no
// specialist may be called so.
const DirectID = "direct"

// reservedIDs are ids that no specialist may have: the others are paths of the
// portal's API.
var reservedIDs = []string{DirectID, "export", "import"}

var (
	slug  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	alias = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$`)
	// price is a plain decimal. Twelve digits before the point and six after
	// keep the price of one token a whole number of picodollars.
	price = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,6})?$`)
)

// Validate checks every field against its limits. The error is an *llm.Error
// with status 422 whose Param is the JSON path of the first field at fault.
func (s *Specialist) Validate() error {
	for _, check := range []func() error{
		s.validateTexts, s.validateSettings, s.validatePricing, s.validateTargets, s.validateAliases,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Specialist) validateTexts() error {
	switch {
	case !slug.MatchString(s.ID):
		return fault("id", "must be 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit")
	case slices.Contains(reservedIDs, s.ID):
		return fault("id", "must not be %s, which mean something else", strings.Join(reservedIDs, ", "))
	case strings.TrimSpace(s.Name) == "" || tooLong(s.Name, maxName):
		return fault("name", "must be 1 to %d characters", maxName)
	case hasControl(s.Name):
		return fault("name", "must be one line without control characters")
	case tooLong(s.Description, maxDescription):
		return fault("description", "must be at most %d characters", maxDescription)
	case tooLong(s.SystemPrompt, maxSystemPrompt):
		return fault("system_prompt", "must be at most %d characters", maxSystemPrompt)
	case strings.ContainsRune(s.Description, 0): // PostgreSQL keeps none
		return fault("description", "must not have NUL characters")
	case strings.ContainsRune(s.SystemPrompt, 0):
		return fault("system_prompt", "must not have NUL characters")
	}
	return nil
}

func (s *Specialist) validateSettings() error {
	// The comparison is written so that NaN fails it too.
	if t := s.Temperature; t != nil && !(*t >= 0 && *t <= maxTemperature) {
		return fault("temperature", "must be 0 to %d", maxTemperature)
	}
	if s.MaxTokens < 0 || s.MaxTokens > maxTokens {
		return fault("max_tokens", "must be 1 to %d, or 0 for no cap", maxTokens)
	}
	return nil
}

func (s *Specialist) validatePricing() error {
	if s.Pricing == nil {
		return nil
	}
	if !price.MatchString(s.Pricing.InputPer1M.String()) {
		return fault("pricing.input_per_1m", "must be a decimal of USD, at most 6 digits after the point")
	}
	if !price.MatchString(s.Pricing.OutputPer1M.String()) {
		return fault("pricing.output_per_1m", "must be a decimal of USD, at most 6 digits after the point")
	}
	return nil
}

func (s *Specialist) validateTargets() error {
	if err := validateTarget("", Target{Provider: s.Provider, Model: s.Model}); err != nil {
		return err
	}
	if !validBaseURL(s.BaseURL) {
		return fault("base_url", "must be an http or https URL without user name, query and fragment")
	}
	if len(s.Fallbacks) > maxFallbacks {
		return fault("fallbacks", "must be at most %d", maxFallbacks)
	}
	for i, target := range s.Fallbacks {
		if err := validateTarget(fmt.Sprintf("fallbacks[%d].", i), target); err != nil {
			return err
		}
	}
	return nil
}

func validateTarget(path string, t Target) error {
	if !slug.MatchString(t.Provider) {
		return fault(path+"provider", "must be a provider's name")
	}
	if strings.TrimSpace(t.Model) == "" || tooLong(t.Model, maxModel) || hasControl(t.Model) {
		return fault(path+"model", "must be a model's name, 1 to %d characters", maxModel)
	}
	return nil
}

func (s *Specialist) validateAliases() error {
	if len(s.Aliases) > maxAliases {
		return fault("aliases", "must be at most %d", maxAliases)
	}
	seen := map[string]bool{s.ID: true}
	for i, name := range s.Aliases {
		if !alias.MatchString(name) {
			return fault(fmt.Sprintf("aliases[%d]", i), "must be 1 to 128 letters, digits and . _ : / @ -")
		}
		if seen[name] {
			return fault(fmt.Sprintf("aliases[%d]", i), "must not repeat the id or another alias")
		}
		seen[name] = true
	}
	return nil
}

// validBaseURL refuses user names and queries because both are places where
// keys end up and from where they reach logs.
func validBaseURL(text string) bool {
	if text == "" {
		return true
	}
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" &&
		u.User == nil && u.RawQuery == "" && !u.ForceQuery && u.Fragment == ""
}

func fault(field, format string, args ...any) error {
	return &llm.Error{
		Cause:      llm.CauseInvalidRequest,
		HTTPStatus: http.StatusUnprocessableEntity,
		Param:      field,
		Message:    field + " " + fmt.Sprintf(format, args...),
	}
}

// conflict is a 409 that names the field at fault.
func conflict(field, format string, args ...any) error {
	return &llm.Error{
		Cause:      llm.CauseInvalidRequest,
		HTTPStatus: http.StatusConflict,
		Param:      field,
		Message:    fmt.Sprintf(format, args...),
	}
}

func tooLong(s string, limit int) bool { return utf8.RuneCountInString(s) > limit }

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
