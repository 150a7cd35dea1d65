package catalog

import (
	"fmt"
	"io/fs"
	"sync"

	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/examples"
)

// shipped are the examples, which are the same for every catalog.
var shipped = sync.OnceValues(func() ([]*Entry, error) {
	names, err := fs.Glob(examples.Files, "*.yaml")
	if err != nil {
		return nil, err
	}
	entries := make([]*Entry, len(names))
	for i, name := range names {
		text, err := examples.Files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read shipped pipeline %s: %w", name, err)
		}
		if entries[i], err = parse(name, text); err != nil {
			return nil, fmt.Errorf("shipped pipeline: %w", err)
		}
		entries[i].Source = FromExample
	}
	return entries, nil
})

// parse makes an entry of a definition, whose source its caller fills in.
func parse(name string, text []byte) (*Entry, error) {
	plan, err := pipeline.Parse(name, text)
	if err != nil {
		return nil, err
	}
	authored, err := pipeline.Authored(text)
	if err != nil {
		faults := faultsOf(name, err)
		faults.File = name
		return nil, faults
	}
	return &Entry{Plan: plan, Definition: authored}, nil
}
