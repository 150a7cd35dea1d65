package session

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
)

// refreshPrefix marks refresh tokens, for people and for scanners of secrets.
const refreshPrefix = "tgr_"

// A refresh token is, after its prefix, the base64url of
//
//	16 bytes: the log-in's id
//	 8 bytes: the generation, big endian
//	32 bytes: HMAC-SHA-256 of both
//
// It is the same each time it is made: two tabs that refresh at once end with
// one token. The HMAC tells an old token, which says that somebody has copied
// it, from one that was made up, which says nothing.
const (
	idBytes      = 16
	signedBytes  = idBytes + 8
	refreshBytes = signedBytes + sha256.Size
)

// encoding has one text only for each content.
var encoding = base64.RawURLEncoding.Strict()

// refreshText is the length of a token without its prefix.
var refreshText = encoding.EncodedLen(refreshBytes)

// refreshToken is what a refresh token says.
type refreshToken struct {
	session    string
	generation int64
}

// newSessionID gives a random id.
func newSessionID() string {
	var id [idBytes]byte
	_, _ = rand.Read(id[:]) // never fails
	return encoding.EncodeToString(id[:])
}

// refreshToken makes the token of a log-in's generation.
func (m *Manager) refreshToken(session string, generation int64) (string, bool) {
	id, err := encoding.DecodeString(session)
	if err != nil || len(id) != idBytes {
		return "", false // not a row of ours
	}
	raw := make([]byte, 0, refreshBytes)
	raw = append(raw, id...)
	raw = binary.BigEndian.AppendUint64(raw, uint64(generation))
	raw = append(raw, m.signature(raw)...)
	return refreshPrefix + encoding.EncodeToString(raw), true
}

// parseRefreshToken reads a token that this gateway made; false: it did not.
func (m *Manager) parseRefreshToken(token string) (refreshToken, bool) {
	text, ok := strings.CutPrefix(token, refreshPrefix)
	if !ok || len(text) != refreshText || strings.ContainsAny(text, "\r\n") { // which the decoder would pass over
		return refreshToken{}, false
	}
	raw, err := encoding.DecodeString(text)
	if err != nil || len(raw) != refreshBytes {
		return refreshToken{}, false
	}
	if !hmac.Equal(raw[signedBytes:], m.signature(raw[:signedBytes])) { // in constant time
		return refreshToken{}, false
	}
	generation := binary.BigEndian.Uint64(raw[idBytes:signedBytes])
	if generation > math.MaxInt64 {
		return refreshToken{}, false
	}
	return refreshToken{session: encoding.EncodeToString(raw[:idBytes]), generation: int64(generation)}, true
}

func (m *Manager) signature(signed []byte) []byte {
	mac := hmac.New(sha256.New, m.tokenKey)
	mac.Write(signed)
	return mac.Sum(nil)
}
