// Package openapi holds the description of everything the gateway serves, as an
// OpenAPI 3.0 document in several files: one for each area with its paths, and
// one for the schemas that those share.
package openapi

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"

	"go.yaml.in/yaml/v3"
)

//go:embed *.yaml
var files embed.FS

// JSON gives the document, with the server's version in it.
func JSON(version string) ([]byte, error) {
	document, err := join()
	if err != nil {
		return nil, err
	}
	document["info"].(map[string]any)["version"] = version
	return json.Marshal(document)
}

// join makes one document of the files: their objects are merged, and no two of
// them may say the same thing.
func join() (map[string]any, error) {
	document := make(map[string]any)
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var part map[string]any
		if err := yaml.Unmarshal(text, &part); err != nil {
			return nil, fmt.Errorf("parse %s: %w", name, err)
		}
		if err := merge(document, part); err != nil {
			return nil, fmt.Errorf("add %s: %w", name, err)
		}
	}
	return document, nil
}

func merge(into, part map[string]any) error {
	for name, value := range part {
		old, exists := into[name]
		if !exists {
			into[name] = value
			continue
		}
		a, isObject := old.(map[string]any)
		b, alike := value.(map[string]any)
		if !isObject || !alike {
			return fmt.Errorf("%q is there already", name)
		}
		if err := merge(a, b); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
