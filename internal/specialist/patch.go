package specialist

import (
	"encoding/json"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Optional is a member of a JSON object that may be absent or null.
type Optional[T any] struct {
	Set, Null bool
	Value     T // zero when null
}

// UnmarshalJSONFrom implements [jsonv2.UnmarshalerFrom].
func (o *Optional[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	o.Set, o.Null = true, dec.PeekKind() == 'n'
	if o.Null {
		return dec.SkipValue()
	}
	return jsonv2.UnmarshalDecode(dec, &o.Value)
}

// given says whether there is a value.
func (o *Optional[T]) given() bool { return o.Set && !o.Null }

// into puts the value, or for null the zero value, where it belongs; an absent
// one changes nothing.
func (o *Optional[T]) into(field *T) {
	if o.Set {
		*field = o.Value
	}
}

// Patch is what a caller wants of a specialist, new or not: absent members stay
// as they are, and null clears those that need not be set. Members that callers
// cannot change (the history and the dates) are not looked at, since frontends
// send whole objects back.
type Patch struct {
	ID           Optional[string]   `json:"id"`
	Version      Optional[int]      `json:"version"` // the one that the caller knows
	Name         Optional[string]   `json:"name"`
	Description  Optional[string]   `json:"description"`
	Provider     Optional[string]   `json:"provider"`
	Model        Optional[string]   `json:"model"`
	BaseURL      Optional[string]   `json:"base_url"`
	SystemPrompt Optional[string]   `json:"system_prompt"`
	Temperature  Optional[float64]  `json:"temperature"`
	MaxTokens    Optional[int64]    `json:"max_tokens"`
	Pricing      Optional[prices]   `json:"pricing"`
	Fallbacks    Optional[[]Target] `json:"fallbacks"`
	Aliases      Optional[[]string] `json:"aliases"`
	Pinned       Optional[bool]     `json:"pinned"`
}

// prices are read as they are written: as a float, 0.1 would not be 0.1.
type prices struct {
	InputPer1M  number `json:"input_per_1m"`
	OutputPer1M number `json:"output_per_1m"`
}

type number json.Number

// UnmarshalJSONFrom implements [jsonv2.UnmarshalerFrom].
func (n *number) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	value, err := dec.ReadValue()
	if err != nil {
		return err
	}
	if value.Kind() == '0' {
		*n = number(value)
	} // anything else stays empty, which is no price
	return nil
}

// required are the members that every specialist has.
func (p *Patch) required() []requiredMember {
	return []requiredMember{
		{"name", p.Name.Set, p.Name.Null},
		{"provider", p.Provider.Set, p.Provider.Null},
		{"model", p.Model.Set, p.Model.Null},
		{"system_prompt", p.SystemPrompt.Set, p.SystemPrompt.Null},
	}
}

type requiredMember struct {
	name      string
	set, null bool
}

// complete says whether the patch can make a specialist out of nothing.
func (p *Patch) complete() error {
	for _, member := range p.required() {
		if !member.set {
			return fault(member.name, "must be given")
		}
	}
	return nil
}

// apply gives s as the patch makes it. It does not check what
// [Specialist.Validate] does.
func (p *Patch) apply(s Specialist) (Specialist, error) {
	for _, member := range p.required() {
		if member.null {
			return s, fault(member.name, "must not be null")
		}
	}
	p.Name.into(&s.Name)
	s.Name = strings.TrimSpace(s.Name)
	p.Description.into(&s.Description)
	p.Provider.into(&s.Provider)
	p.Model.into(&s.Model)
	p.BaseURL.into(&s.BaseURL)
	p.SystemPrompt.into(&s.SystemPrompt)
	p.MaxTokens.into(&s.MaxTokens)
	p.Fallbacks.into(&s.Fallbacks)
	p.Aliases.into(&s.Aliases)
	p.Pinned.into(&s.Pinned)
	if p.Temperature.Set {
		s.Temperature = nil
		if !p.Temperature.Null {
			s.Temperature = &p.Temperature.Value
		}
	}
	p.applyPricing(&s)
	return s, nil
}

// meets says whether what the patch asks for is what the API promises of a
// specialist. The configuration may define one without a prompt or cap, and what
// is there already (was, nil for a new one) may be sent back as it is.
func (p *Patch) meets(was *Specialist) error {
	switch {
	case p.SystemPrompt.Set && p.SystemPrompt.Value == "" && (was == nil || was.SystemPrompt != ""):
		return fault("system_prompt", "must be 1 to %d characters", maxSystemPrompt)
	case p.MaxTokens.given() && p.MaxTokens.Value == 0 && (was == nil || was.MaxTokens != 0):
		return fault("max_tokens", "must be 1 to %d, or null for no cap", maxTokens)
	}
	return nil
}

// applyPricing keeps the digits of a price that stays the same: a browser sends
// 2.50 back as 2.5.
func (p *Patch) applyPricing(s *Specialist) {
	if !p.Pricing.Set {
		return
	}
	if p.Pricing.Null {
		s.Pricing = nil
		return
	}
	asked := Pricing{InputPer1M: json.Number(p.Pricing.Value.InputPer1M), OutputPer1M: json.Number(p.Pricing.Value.OutputPer1M)}
	if !samePricing(s.Pricing, &asked) {
		s.Pricing = &asked
	}
}

// same says whether two specialists are alike in all that callers can change.
func same(a, b *Specialist) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Description == b.Description &&
		a.Provider == b.Provider && a.Model == b.Model && a.BaseURL == b.BaseURL &&
		a.SystemPrompt == b.SystemPrompt && sameNumber(a.Temperature, b.Temperature) &&
		a.MaxTokens == b.MaxTokens && samePricing(a.Pricing, b.Pricing) && a.Pinned == b.Pinned &&
		slices.Equal(a.Fallbacks, b.Fallbacks) && slices.Equal(a.Aliases, b.Aliases)
}

func sameNumber(a, b *float64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func samePricing(a, b *Pricing) bool {
	if a == nil || b == nil {
		return a == b
	}
	return bareDigits(a.InputPer1M) == bareDigits(b.InputPer1M) && bareDigits(a.OutputPer1M) == bareDigits(b.OutputPer1M)
}

// bareDigits is a plain decimal without the zeros at its end that say nothing.
func bareDigits(n json.Number) string {
	text := n.String()
	if !price.MatchString(text) || !strings.Contains(text, ".") {
		return text
	}
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}
