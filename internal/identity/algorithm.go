package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/hex"
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
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize || smallOrder(key) {
			return errors.New("an Ed25519 key of small order, under which anybody can sign")
		}
		return nil
	case *ecdsa.PublicKey:
		if algorithmsOf(key) != nil {
			return nil
		}
	}
	return fmt.Errorf("a key of a kind (%T) that cannot verify tokens; use RSA, ECDSA on P-256, P-384 or P-521, or Ed25519", key)
}

// smallOrderYs are the y of the points of Ed25519 whose order divides 8, and the
// same beyond the prime, little endian. Their x is known, or one of two.
var smallOrderYs = func() (ys [][]byte) {
	for _, y := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		raw, err := hex.DecodeString(y)
		if err != nil {
			panic(err)
		}
		ys = append(ys, raw)
	}
	return ys
}()

// smallOrder finds keys that are no keys, such as the one of zeros only.
func smallOrder(key ed25519.PublicKey) bool {
	y := bytes.Clone(key)
	y[len(y)-1] &= 0x7f // the sign of x
	return slices.ContainsFunc(smallOrderYs, func(small []byte) bool { return bytes.Equal(y, small) })
}
