package ratelimit

import (
	"crypto/sha256"
	"encoding/hex"
)

// maxKeyLength is the longest key that is stored as it is. It is shorter than
// a hashed key, so that nobody can write a key that equals another's hash.
const maxKeyLength = 64

// storedKey is the form in which a bucket's key is kept. Keys are made of what
// callers send (a user's id, an address), so a long one, or one with anything
// but plain letters, digits and a few separators, is replaced by its SHA-256:
// the store's memory stays bounded, and no caller's braces can move a key to
// another slot of a Redis Cluster.
func storedKey(key string) string {
	if len(key) <= maxKeyLength && plain(key) {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func plain(key string) bool {
	for i := range len(key) {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == ':', c == '.', c == '-', c == '_', c == '/':
		default:
			return false
		}
	}
	return true
}
