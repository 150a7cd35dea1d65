package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// DataURL takes a "data:" URL with base64 in it apart. ok is false for one of
// another kind, and where the base64 is bad.
func DataURL(url string) (mime, data string, ok bool) {
	rest, ok := strings.CutPrefix(url, "data:")
	if !ok {
		return "", "", false
	}
	head, data, ok := strings.Cut(rest, ",")
	if !ok {
		return "", "", false
	}
	mime, ok = strings.CutSuffix(head, ";base64")
	return mime, data, ok && ValidBase64(data)
}

// MakeDataURL reverses DataURL.
func MakeDataURL(mime, data string) string { return "data:" + mime + ";base64," + data }

var base64Char = func() (table [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		table[c] = true
	}
	return table
}()

// ValidBase64 says whether text is standard base64 with padding, and not empty.
func ValidBase64(text string) bool {
	if text == "" || len(text)%4 != 0 {
		return false
	}
	body := strings.TrimSuffix(strings.TrimSuffix(text, "="), "=")
	for i := range len(body) {
		if !base64Char[body[i]] {
			return false
		}
	}
	return true
}

// FitID makes an id that is too long for a format a shorter one, the same for
// the same id.
func FitID(id string, limit int) string {
	if len(id) <= limit {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "call_" + hex.EncodeToString(sum[:12])
}
