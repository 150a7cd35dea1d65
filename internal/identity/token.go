package identity

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
)

// MaxTokenBytes is the longest token that is looked at.
const MaxTokenBytes = 16 << 10

// base64url is the alphabet of RFC 4648, 5. Go's decoder alone is not enough: it
// skips line breaks, so one token could be written in many ways.
const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// checkForm makes sure that a token can be read in one way only, before anything
// in it is believed: three parts, none empty, in canonical base64url without
// padding; header and payload each one JSON object without duplicate names or
// invalid text (RFC 8725, 2.4, and RFC 7493).
func checkForm(token string) error {
	parts := strings.SplitN(token, ".", 4)
	if len(parts) != 3 {
		return errors.New("not three parts with dots between")
	}
	for i, part := range parts {
		if part == "" || strings.Trim(part, base64url) != "" {
			return fmt.Errorf("part %d is not base64url", i+1)
		}
		decoded, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil {
			return fmt.Errorf("part %d is not canonical base64url", i+1)
		}
		if isSignature := i == 2; isSignature {
			continue
		}
		if value := jsontext.Value(decoded); !value.IsValid() || value.Kind() != '{' {
			return fmt.Errorf("part %d is not one strict JSON object", i+1)
		}
	}
	return nil
}

// checkHeader refuses headers that change how a token is to be read. Key
// material and addresses in it ("jwk", "jku", "x5c", "x5u") are never looked at.
func checkHeader(token *jwt.Token) error {
	if _, ok := token.Header["crit"]; ok {
		return errors.New(`the header is marked critical ("crit"), and we know no extension (RFC 7515, 4.1.11)`)
	}
	if _, ok := token.Header["b64"]; ok {
		return errors.New("the payload is not encoded (RFC 7797)")
	}
	// Tokens for other purposes (log-out, security events, DPoP proofs) carry
	// the same signature; RFC 8725, 3.11, has them told apart by type.
	typ, ok := token.Header["typ"].(string)
	if !ok && token.Header["typ"] != nil {
		return errors.New(`the header's "typ" is not a text`)
	}
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
	case "", "jwt", "at+jwt":
		return nil
	}
	return fmt.Errorf("a token of type %.32q is not for access", typ)
}

// keyID gives the header's "kid", which only ever is compared with the ids of
// keys we have.
func keyID(token *jwt.Token) (string, error) {
	value, ok := token.Header["kid"]
	if !ok {
		return "", nil
	}
	kid, ok := value.(string)
	if !ok {
		return "", errors.New(`the header's "kid" is not a text`)
	}
	return kid, nil
}
