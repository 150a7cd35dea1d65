package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

func forgedSignatures(v target) []attack {
	keys := keyring()
	header, claims, signature := parts(v.hs)
	_, otherClaims, _ := parts(signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("https://own", map[string]any{"sub": "admin"})))
	esHeader, esClaims, esSignature := parts(v.es)
	_, otherESClaims, _ := parts(signed(jwt.SigningMethodES256, keys.p256, nil, goodClaims("https://ec", map[string]any{"sub": "admin"})))
	edHeader, edClaims, edSignature := parts(v.ed)
	rsHeader, rsClaims, rsSignature := parts(v.rs)
	es := decode(esSignature)
	mac := decode(signature)
	forge := func(method jwt.SigningMethod, key any, issuer string) string {
		return signed(method, key, nil, goodClaims(issuer, map[string]any{"sub": "admin"}))
	}
	order := new(big.Int).Set(keys.p256.Params().N)
	return []attack{
		{"another secret", forge(jwt.SigningMethodHS256, []byte(anotherSecret), "https://own")},
		{"secret with a byte more", forge(jwt.SigningMethodHS256, []byte(testSecret+"\n"), "https://own")},
		{"secret with zeros appended beyond a block", forge(jwt.SigningMethodHS256, append([]byte(testSecret), make([]byte, 64)...), "https://own")},
		{"empty secret", forge(jwt.SigningMethodHS256, []byte{}, "https://own")},
		{"another rsa key", forge(jwt.SigningMethodRS256, keys.otherRSA, "https://rsa")},
		{"rsa key for the ec issuer", forge(jwt.SigningMethodRS256, keys.rsa, "https://ec")},
		{"secret for the rsa issuer", forge(jwt.SigningMethodHS256, []byte(testSecret), "https://rsa")},
		{"wrong issuer with the right key", forge(jwt.SigningMethodHS256, []byte(testSecret), "https://elsewhere")},
		{"signature stripped, dot left", header + "." + claims + "."},
		{"signature stripped, dot gone", header + "." + claims},
		{"signature truncated", header + "." + claims + "." + encode(string(mac[:16]))},
		{"signature of one byte", header + "." + claims + "." + encode(string(mac[:1]))},
		{"signature extended", header + "." + claims + "." + encode(string(mac)+"\x00")},
		{"signature zero", header + "." + claims + "." + encode(string(make([]byte, 32)))},
		{"signature with a bit flipped", header + "." + claims + "." + encode(string(flip(mac)))},
		{"signature twice", header + "." + claims + "." + signature + signature},
		{"cache: other payload under a seen header and signature", header + "." + otherClaims + "." + signature},
		{"cache: seen payload with another signature", header + "." + claims + "." + encode(strings.Repeat("x", 32))},
		{"cache: seen token with other tail", v.hs[:len(v.hs)-4] + "AAAA"},
		{"cache: first 20 characters of a seen token", v.hs[:20]},
		{"cache: header and payload of two issuers", header + "." + rsClaims + "." + signature},
		{"signature of another issuer", header + "." + claims + "." + rsSignature},
		{"es256 r and s swapped", esHeader + "." + esClaims + "." + encode(string(slices.Concat(es[32:], es[:32])))},
		{"es256 zero signature (CVE-2022-21449)", esHeader + "." + esClaims + "." + encode(string(make([]byte, 64)))},
		{"es256 r zero", esHeader + "." + esClaims + "." + encode(string(slices.Concat(make([]byte, 32), es[32:])))},
		{"es256 s zero", esHeader + "." + esClaims + "." + encode(string(slices.Concat(es[:32], make([]byte, 32))))},
		{"es256 r and s the order", esHeader + "." + esClaims + "." + encode(string(slices.Concat(order.Bytes(), order.Bytes())))},
		{"es256 asn.1 signature", esHeader + "." + esClaims + "." + encode(string(asn1Signature(es)))},
		{"es256 padded halves", esHeader + "." + esClaims + "." + encode(string(slices.Concat([]byte{0}, es[:32], []byte{0}, es[32:])))},
		{"eddsa s plus the group order", edHeader + "." + edClaims + "." + encode(string(malleate(decode(edSignature))))},
		{"eddsa zero signature", edHeader + "." + edClaims + "." + encode(string(make([]byte, 64)))},
		{"eddsa identity point", edHeader + "." + edClaims + "." + encode(string(append([]byte{1}, make([]byte, 63)...)))},
		{"es256 high s of another message", esHeader + "." + otherESClaims + "." + encode(string(slices.Concat(es[:32], new(big.Int).Sub(order, new(big.Int).SetBytes(es[32:])).FillBytes(make([]byte, 32)))))},
		{"eddsa signature of the all-zero key", signed(jwt.SigningMethodEdDSA, ed25519.NewKeyFromSeed(make([]byte, 32)), nil, goodClaims("https://ed", nil))},
		{"ed25519 key for the rsa issuer", forge(jwt.SigningMethodEdDSA, keys.ed, "https://rsa")},
		{"rsa key for the issuer of the secret", forge(jwt.SigningMethodRS256, keys.rsa, "https://own")},
		{"guessed secret: secret", forge(jwt.SigningMethodHS256, []byte("secret"), "https://own")},
		{"guessed secret: changeme", forge(jwt.SigningMethodHS256, []byte("changeme"), "https://own")},
		{"guessed secret: the issuer's name", forge(jwt.SigningMethodHS256, []byte("own"), "https://own")},
		{"secret in hexadecimal", forge(jwt.SigningMethodHS256, []byte(fmt.Sprintf("%x", testSecret)), "https://own")},
		{"secret in base64", forge(jwt.SigningMethodHS256, []byte(encode(testSecret)), "https://own")},
		{"rs256 zero signature", rsHeader + "." + rsClaims + "." + encode(string(make([]byte, 256)))},
		{"rs256 signature one", rsHeader + "." + rsClaims + "." + encode(string(append(make([]byte, 255), 1)))},
		{"rs256 signature with a zero before", rsHeader + "." + rsClaims + "." + encode(string(append([]byte{0}, decode(rsSignature)...)))},
	}
}

func confusedAlgorithms(v target) []attack {
	keys := keyring()
	pemText := publicPEM(keys.rsa)
	block, _ := pem.Decode([]byte(pemText))
	pkcs1 := x509.MarshalPKCS1PublicKey(&keys.rsa.PublicKey)
	rsaClaims, ownClaims := goodClaims("https://rsa", nil), goodClaims("https://own", nil)
	hsWith := func(key []byte) string { return signed(jwt.SigningMethodHS256, key, nil, rsaClaims) }
	attacks := []attack{
		{"hs256 with the rsa pem", hsWith([]byte(pemText))},
		{"hs256 with the rsa pem trimmed", hsWith([]byte(strings.TrimSpace(pemText)))},
		{"hs256 with the rsa der", hsWith(block.Bytes)},
		{"hs256 with the rsa pkcs1 der", hsWith(pkcs1)},
		{"hs256 with the modulus", hsWith(keys.rsa.N.Bytes())},
		{"hs256 with the ed25519 key", signed(jwt.SigningMethodHS256, []byte(keys.ed.Public().(ed25519.PublicKey)), nil, goodClaims("https://ed", nil))},
		{"hs384 where hs256 is pinned", signed(jwt.SigningMethodHS384, []byte(testSecret), nil, ownClaims)},
		{"hs512 where hs256 is pinned", signed(jwt.SigningMethodHS512, []byte(testSecret), nil, ownClaims)},
		{"rs384 where rs256 is pinned", signed(jwt.SigningMethodRS384, keys.rsa, nil, rsaClaims)},
		{"ps256 where rs256 is pinned", signed(jwt.SigningMethodPS256, keys.rsa, nil, rsaClaims)},
		{"es384 key at the es256 issuer", signed(jwt.SigningMethodES384, keys.p384, nil, goodClaims("https://ec", nil))},
		{"rs256 for the secret issuer", signed(jwt.SigningMethodRS256, keys.rsa, nil, ownClaims)},
		{"ps256 signature under an rs256 header", relabel(signed(jwt.SigningMethodPS256, keys.rsa, nil, rsaClaims), `{"alg":"RS256"}`)},
		{"eddsa header over an es256 signature", relabel(v.es, `{"alg":"EdDSA"}`)},
	}
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "none ", "", "hs256", "Hs256", "HS256 ", " HS256", "HS256\\u0000", "HS1", "HS2560", "RS256/HS256", "A128KW", "dir", "ES256K", "HМ256"} {
		header := `{"alg":"` + alg + `","typ":"JWT"}`
		attacks = append(attacks,
			attack{"alg " + alg + " correctly signed", rawHS256(header, payload(ownClaims))},
			attack{"alg " + alg + " without signature", encode(header) + "." + encode(payload(ownClaims)) + "."},
			attack{"alg " + alg + " under the seen signature", relabel(v.hs, header)})
	}
	return attacks
}

func decode(part string) []byte { return must(base64.RawURLEncoding.DecodeString(part)) }

func flip(b []byte) []byte {
	flipped := bytes.Clone(b)
	flipped[0] ^= 1
	return flipped
}

// relabel puts another header on a token and keeps payload and signature.
func relabel(token, header string) string {
	_, claims, signature := parts(token)
	return encode(header) + "." + claims + "." + signature
}

func pad(part string) string { return part + strings.Repeat("=", (4-len(part)%4)%4) }

// nonCanonical writes the same bytes with other trailing bits: 32 bytes leave
// two bits of the last character unused.
func nonCanonical(part string) string {
	last := strings.IndexByte(base64url, part[len(part)-1])
	other := part[:len(part)-1] + string(base64url[last|1])
	if !bytes.Equal(decode(other), decode(part)) || other == part {
		panic("not another spelling of the same bytes")
	}
	return other
}

// malleate adds the group order to the second half of an Ed25519 signature,
// which a lax verifier takes for the same number (RFC 8032, 8.4).
func malleate(signature []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	half := slices.Clone(signature[32:])
	slices.Reverse(half)
	sum := new(big.Int).Add(new(big.Int).SetBytes(half), order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	return slices.Concat(signature[:32], sum)
}

// asn1Signature is the DER form that OpenSSL and the old Java libraries give.
func asn1Signature(raw []byte) []byte {
	integer := func(b []byte) []byte { return append([]byte{2, byte(len(b) + 1), 0}, b...) }
	body := append(integer(raw[:32]), integer(raw[32:])...)
	return append([]byte{0x30, byte(len(body))}, body...)
}
