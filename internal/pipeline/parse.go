package pipeline

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/financecommander/tollgate/pricing"
)

// What a definition does not say.
const (
	DefaultCategory = "general"
	DefaultCost     = 10 * pricing.Dollar
	DefaultTime     = 30 * time.Minute
	DefaultParallel = 4
	DefaultCalls    = 500
	DefaultTimeout  = 5 * time.Minute
	DefaultRetries  = 2
	DefaultBackoff  = time.Second
	DefaultMaxItems = 100
	// DefaultTruncate is how many characters of each earlier output the default
	// prompt has.
	DefaultTruncate = 20_000
)

// The longest time spans, which no schema can say.
const (
	maxTime    = 24 * time.Hour
	maxTimeout = time.Hour
)

// Parse reads a definition in YAML or JSON; name is the file's, for faults. It
// checks all that can be seen in the definition alone, and gives a plan or *Faults.
func Parse(name string, text []byte) (*Plan, error) {
	found := &collector{}
	s := readSource(text, found)
	if s.root == nil {
		return nil, found.faults(name)
	}
	c := &checker{source: s, file: name, d: s.decode()}
	plan := c.check()
	if faults := found.faults(name); faults != nil {
		return nil, faults
	}
	return plan, nil
}

// fillDefaults puts in what the definition does not say.
func (d *Definition) fillDefaults() {
	d.DisplayName = cmp.Or(d.DisplayName, d.Name)
	d.Category = cmp.Or(d.Category, DefaultCategory)
	l := &d.Limits
	if l.Cost == nil {
		l.Cost = new(DefaultCost)
	}
	l.Time = cmp.Or(l.Time, Duration(DefaultTime))
	l.Parallel = cmp.Or(l.Parallel, DefaultParallel)
	l.Calls = cmp.Or(l.Calls, DefaultCalls)
	for i := range d.Steps {
		d.Steps[i].fillDefaults()
	}
}

func (s *Step) fillDefaults() {
	retries := DefaultRetries
	switch s.Kind() {
	case KindModel:
		s.Format = cmp.Or(s.Format, FormatText)
		s.Prompt = cmp.Or(s.Prompt, s.defaultPrompt())
	case KindHTTP:
		method := "GET"
		if s.HTTP.Body != "" {
			method = "POST"
		}
		s.HTTP.Method = cmp.Or(s.HTTP.Method, method)
	case KindTransform:
		retries = 0 // it gives the same each time
	}
	if m := s.Map; m != nil {
		m.Parallel = cmp.Or(m.Parallel, DefaultParallel)
		m.MaxItems = cmp.Or(m.MaxItems, DefaultMaxItems)
		m.OnFailure = cmp.Or(m.OnFailure, Fail)
	}
	s.Timeout = cmp.Or(s.Timeout, Duration(DefaultTimeout))
	s.Backoff = cmp.Or(s.Backoff, Duration(DefaultBackoff))
	s.OnFailure = cmp.Or(s.OnFailure, Fail)
	if s.Retries == nil {
		s.Retries = &retries
	}
}

// defaultPrompt is the query, and below it what the step sees, each under its
// name; of a map step also the item. What is empty is left out.
func (s *Step) defaultPrompt() string {
	var b strings.Builder
	b.WriteString("{{ .query }}")
	for _, name := range s.DependsOn {
		fmt.Fprintf(&b, "{{ with .steps.%s.output }}\n\n# %s\n\n{{ truncate %d . }}{{ end }}", name, name, DefaultTruncate)
	}
	if s.Map != nil {
		fmt.Fprintf(&b, "\n\n# Item\n\n{{ truncate %d (json .item) }}", DefaultTruncate)
	}
	return b.String()
}

// digest is the SHA-256 of the definition's JSON.
func (d *Definition) digest() string {
	text, err := json.Marshal(d)
	if err != nil {
		panic(fmt.Sprintf("pipeline: encode definition: %v", err)) // plain data that came from JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
