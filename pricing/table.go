package pricing

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the table itself
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
)

//go:embed prices.json
var embedded []byte

// Embedded is the table that comes with the program. It is read at the first
// call (a few milliseconds) and shared by all.
var Embedded = sync.OnceValue(func() *Table {
	table, err := Load(bytes.NewReader(embedded))
	if err != nil {
		panic(fmt.Sprintf("pricing: embedded table: %v", err)) // the tests load it
	}
	return table
})

// Table holds the prices of models by provider and name. It does not change
// once made, so any number of goroutines may use it.
type Table struct {
	version   string
	providers map[string]map[string]*Model
}

// Load reads a price file; the package comment describes the format. It is
// strict: a name that the format does not know, a name or a model that comes
// twice, or a price finer than a millionth of a dollar per million tokens is an
// error, since a slip there would be billed.
func Load(r io.Reader) (*Table, error) {
	hash := sha256.New()
	var file fileFormat
	if err := json.UnmarshalRead(io.TeeReader(r, hash), &file, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("read price table: %w", err)
	}
	table := &Table{
		version:   strings.TrimPrefix(file.AsOf+"-"+hex.EncodeToString(hash.Sum(nil)[:4]), "-"),
		providers: make(map[string]map[string]*Model),
	}
	for i := range file.Models {
		model, err := file.Models[i].model()
		if err == nil {
			err = table.add(model)
		}
		if err != nil {
			return nil, fmt.Errorf("read price table: model %s/%s: %w", file.Models[i].Provider, file.Models[i].Model, err)
		}
	}
	return table, nil
}

func (t *Table) add(m *Model) error {
	models := t.providers[m.Provider]
	if models == nil {
		models = make(map[string]*Model)
		t.providers[m.Provider] = models
	}
	if models[m.Name] != nil {
		return errors.New("comes twice")
	}
	models[m.Name] = m
	return nil
}

// Override is a table with the models of other put in the place of, or added
// to, those of t. A model is replaced whole. Neither table changes.
func (t *Table) Override(other *Table) *Table {
	merged := &Table{
		version:   t.version + "+" + other.version,
		providers: make(map[string]map[string]*Model, len(t.providers)),
	}
	for _, table := range []*Table{t, other} {
		for provider, models := range table.providers {
			if merged.providers[provider] == nil {
				merged.providers[provider] = make(map[string]*Model, len(models))
			}
			maps.Copy(merged.providers[provider], models)
		}
	}
	return merged
}

// Version says which prices these are, to be kept with every cost computed from
// them: the date of the prices and a short hash of the file
// ("2026-08-21-1a2b3c4d"), and the same of the overriding file after a "+".
func (t *Table) Version() string { return t.version }

// Lookup finds a model by its provider ("openai", "google", also "gemini") and
// the name in a request or, better, in the response. Beside the exact name it
// knows a dated version of a model listed without date, Gemini's "models/"
// prefix and the suffix of OpenAI's fine-tuned models. It does not cut tags
// like ":free", which change the price. A model not found is nil.
func (t *Table) Lookup(provider, model string) (*Model, bool) {
	models, ok := t.providers[provider]
	if !ok && provider == "gemini" {
		models = t.providers["google"]
	}
	if m, ok := models[model]; ok {
		return m, true
	}
	// A fine-tuned model, "ft:gpt-4o-2024-08-06:org:name:id", is listed as its
	// base with the "ft:", and costs more than the base.
	if base, found := strings.CutPrefix(model, "ft:"); found {
		base, _, _ = strings.Cut(base, ":")
		model = model[:len("ft:")+len(base)]
	}
	model = strings.TrimPrefix(model, "models/")
	if m, ok := models[model]; ok {
		return m, true
	}
	m, ok := models[undated(model)]
	return m, ok
}

// Providers lists the providers, sorted.
func (t *Table) Providers() []string { return slices.Sorted(maps.Keys(t.providers)) }

// Models lists a provider's models, sorted by name.
func (t *Table) Models(provider string) []*Model {
	return slices.SortedFunc(maps.Values(t.providers[provider]), func(a, b *Model) int {
		return strings.Compare(a.Name, b.Name)
	})
}

// ProvidersOf lists the providers that have the model, as Lookup finds it,
// sorted.
func (t *Table) ProvidersOf(model string) []string {
	var found []string
	for provider := range t.providers {
		if _, ok := t.Lookup(provider, model); ok {
			found = append(found, provider)
		}
	}
	slices.Sort(found)
	return found
}

// undated cuts the date off a model's name: -2024-08-06 (OpenAI), -20240806
// (Anthropic; @20240806 on Vertex), or -0613 and -2411, a month and a day or a
// year and a month (older OpenAI, xAI, Mistral). It returns the name itself if
// it ends in no possible date.
func undated(model string) string {
	for _, layout := range []string{"-dddd-mm-dd", "-ddddmmdd", "@ddddmmdd", "-mmdd", "-ddmm"} {
		start := len(model) - len(layout)
		if start > 0 && isDate(model[start:], layout) {
			return model[:start]
		}
	}
	return model
}

// isDate matches text with a layout of the same length: d is a digit, mm a
// month from 01 to 12, and anything else stands for itself.
func isDate(text, layout string) bool {
	for i := range len(layout) {
		switch c := text[i]; layout[i] {
		case 'd', 'm':
			if c < '0' || c > '9' {
				return false
			}
		default:
			if c != layout[i] {
				return false
			}
		}
	}
	month := strings.Index(layout, "mm")
	return text[month:month+2] >= "01" && text[month:month+2] <= "12"
}
