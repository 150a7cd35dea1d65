package identity

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// keySource holds an issuer's keys.
type keySource interface {
	// key gives what [jwt.Keyfunc] shall return for a token of this "alg" and
	// "kid" ("" when the token has none). The error is an [*llm.Error].
	key(ctx context.Context, alg, kid string) (any, error)
	// trust is how long a verification may be believed without asking again; 0:
	// as long as the token is good.
	trust() time.Duration
}

// verificationKey is one key and the algorithms it is pinned to.
type verificationKey struct {
	id         string // "kid"; empty for keys that were configured
	algorithms []string
	key        any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

func (k verificationKey) does(alg string) bool { return slices.Contains(k.algorithms, alg) }

// fixedKeys are keys out of the configuration. They have no ids: every key that
// does the token's algorithm is tried.
type fixedKeys []verificationKey

func (keys fixedKeys) key(_ context.Context, alg, _ string) (any, error) {
	var set jwt.VerificationKeySet
	for _, key := range keys {
		if key.does(alg) {
			set.Keys = append(set.Keys, key.key)
		}
	}
	if len(set.Keys) == 0 {
		return nil, refuse(messageSignature, fmt.Errorf("no key of the issuer may be used with alg %.16q", alg))
	}
	return set, nil
}

// trust needs no limit: the configuration changes by making a new [Verifier].
func (fixedKeys) trust() time.Duration { return 0 }

// pinKeys pins each key to its algorithms, and complains when a listed algorithm
// has no key or a key no algorithm, since then the list is not what was meant.
func pinKeys(keys []any, listed []string) (fixedKeys, error) {
	var pinned fixedKeys
	var used []string
	for _, key := range keys {
		algorithms := pin(key, listed)
		if len(algorithms) == 0 {
			return nil, fmt.Errorf("no listed algorithm suits a configured key, which can do %s", strings.Join(algorithmsOf(key), ", "))
		}
		pinned = append(pinned, verificationKey{algorithms: algorithms, key: key})
		used = append(used, algorithms...)
	}
	for _, name := range listed {
		if !slices.Contains(used, name) {
			return nil, fmt.Errorf("algorithm %q has no key that could do it", name)
		}
	}
	return pinned, nil
}

// parsePublicKeys reads PEM blocks: public keys and certificates (of which only
// the key counts).
func parsePublicKeys(text string) ([]any, error) {
	var keys []any
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		key, err := parsePublicKey(block)
		if err != nil {
			return nil, fmt.Errorf("public key %d: %w", len(keys)+1, err)
		}
		if err := checkKey(key); err != nil {
			return nil, fmt.Errorf("public key %d is %w", len(keys)+1, err)
		}
		keys = append(keys, key)
	}
	if strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("the public keys hold text that is not PEM")
	}
	if len(keys) == 0 {
		return nil, errors.New("the public keys hold no PEM block")
	}
	return keys, nil
}

func parsePublicKey(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	}
	if strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return nil, errors.New("that is a private key; give its public half: openssl pkey -pubout")
	}
	return nil, fmt.Errorf("a PEM block of type %q is not a public key", block.Type)
}
