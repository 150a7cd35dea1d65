package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
)

// hmacAlgorithms and publicKeyAlgorithms are all we know (RFC 7518, 3.1, and RFC
// 8037). "none" is no algorithm. Names are compared exactly.
var (
	hmacAlgorithms      = []string{"HS256", "HS384", "HS512"}
	rsaAlgorithms       = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	publicKeyAlgorithms = slices.Concat(rsaAlgorithms, []string{"ES256", "ES384", "ES512", "EdDSA"})
	knownAlgorithms     = slices.Concat(hmacAlgorithms, publicKeyAlgorithms)
)

// RSA keys outside these bounds are refused: shorter ones can be broken, longer
// ones make a verification cost so much that tokens become a weapon.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// algorithmsOf lists what a key can do by its kind, its default first: one kind
// of key, one family, and one hash per curve.
func algorithmsOf(key any) []string {
	switch key := key.(type) {
	case []byte:
		return hmacAlgorithms
	case *rsa.PublicKey:
		return rsaAlgorithms
	case *ecdsa.PublicKey:
		switch key.Curve.Params().Name {
		case "P-256":
			return []string{"ES256"}
		case "P-384":
			return []string{"ES384"}
		case "P-521":
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}

// pin says for which algorithms a key may be used: those of its kind that are
// listed; its default when none is listed.
func pin(key any, listed []string) []string {
	possible := algorithmsOf(key)
	if len(listed) == 0 && len(possible) > 0 {
		return possible[:1]
	}
	return slices.DeleteFunc(slices.Clone(possible), func(name string) bool { return !slices.Contains(listed, name) })
}

// checkKey refuses keys that are weak or that we cannot use.
func checkKey(key any) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("an RSA key of %d bits; it needs %d to %d", bits, minRSABits, maxRSABits)
		}
		if key.E < 3 || key.E%2 == 0 {
			return errors.New("an RSA key with a bad exponent")
		}
		return nil
	case *ecdsa.PublicKey, ed25519.PublicKey:
		if algorithmsOf(key) != nil {
			return nil
		}
	}
	return fmt.Errorf("a key of a kind (%T) that cannot verify tokens; use RSA, ECDSA on P-256, P-384 or P-521, or Ed25519", key)
}
