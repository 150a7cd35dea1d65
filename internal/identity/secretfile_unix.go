//go:build unix

package identity

import "io/fs"

// readableByOthers tells whether group or world may do anything with the file.
func readableByOthers(mode fs.FileMode) bool { return mode.Perm()&0o077 != 0 }
