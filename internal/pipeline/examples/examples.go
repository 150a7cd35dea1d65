// Package examples has the shipped pipelines.
package examples

import "embed"

// Files are the definitions.
//
//go:embed *.yaml
var Files embed.FS
