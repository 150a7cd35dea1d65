//go:build !unix

package identity

import "io/fs"

// readableByOthers is not known here: the mode bits say nothing about who may
// read the file.
func readableByOthers(fs.FileMode) bool { return false }
