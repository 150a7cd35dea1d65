package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
)

// target is a verifier with an issuer of each kind of key, and one genuine
// token of each, which an attacker may hold.
type target struct {
	*Verifier
	hs, rs, es, ed string
}

func newTarget(t testing.TB) target {
	t.Helper()
	keys := keyring()
	v := newVerifier(t, secretIssuer(), keyIssuer("rsa", keys.rsa), keyIssuer("ec", keys.p256), keyIssuer("ed", keys.ed))
	return target{
		Verifier: v,
		hs:       signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("https://own", nil)),
		rs:       signed(jwt.SigningMethodRS256, keys.rsa, nil, goodClaims("https://rsa", nil)),
		es:       signed(jwt.SigningMethodES256, keys.p256, nil, goodClaims("https://ec", nil)),
		ed:       signed(jwt.SigningMethodEdDSA, keys.ed, nil, goodClaims("https://ed", nil)),
	}
}

// TestAttacks sends forged, bent and misused tokens. None may pass, neither on a
// fresh verifier nor on one that has just accepted and cached the genuine ones.
func TestAttacks(t *testing.T) {
	t.Parallel()
	fresh, warm := newTarget(t), newTarget(t)
	for _, token := range []string{warm.hs, warm.rs, warm.es, warm.ed} {
		_, err := warm.Verify(t.Context(), token)
		require.NoError(t, err)
	}
	attacks := slices.Concat(forgedSignatures(warm), confusedAlgorithms(warm), bentHeaders(), bentClaims(), bentEncodings(warm))
	require.GreaterOrEqual(t, len(attacks), 60)
	names := make(map[string]bool)
	for _, attack := range attacks {
		require.False(t, names[attack.name], "two attacks are called %q", attack.name)
		names[attack.name] = true
		t.Run(attack.name, func(t *testing.T) {
			for _, v := range []target{fresh, warm} {
				for range 2 {
					p, err := v.Verify(t.Context(), attack.token)
					require.Nil(t, p)
					require.Error(t, err)
					requireCause(t, llm.CauseUnauthenticated, err)
				}
			}
		})
	}
}

type attack struct{ name, token string }

func forgedSignatures(v target) []attack {
	keys := keyring()
	header, claims, signature := parts(v.hs)
	_, otherClaims, _ := parts(signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("https://own", map[string]any{"sub": "admin"})))
	esHeader, esClaims, esSignature := parts(v.es)
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

func bentHeaders() []attack {
	claims := payload(goodClaims("https://own", nil))
	headers := map[string]string{
		"without alg":                   `{"typ":"JWT"}`,
		"alg null":                      `{"alg":null}`,
		"alg a number":                  `{"alg":256}`,
		"alg a list":                    `{"alg":["HS256"]}`,
		"alg in capitals":               `{"ALG":"HS256"}`,
		"alg twice, none first":         `{"alg":"none","alg":"HS256"}`,
		"alg twice, none last":          `{"alg":"HS256","alg":"none"}`,
		"alg twice, once escaped":       `{"alg":"HS256","\u0061lg":"none"}`,
		"kid twice":                     `{"alg":"HS256","kid":"a","kid":"b"}`,
		"kid a number":                  `{"alg":"HS256","kid":1}`,
		"kid an object":                 `{"alg":"HS256","kid":{"$ne":""}}`,
		"kid null":                      `{"alg":"HS256","kid":null}`,
		"critical exp":                  `{"alg":"HS256","crit":["exp"],"exp":1}`,
		"critical empty":                `{"alg":"HS256","crit":[]}`,
		"critical null":                 `{"alg":"HS256","crit":null}`,
		"critical b64":                  `{"alg":"HS256","crit":["b64"],"b64":false}`,
		"b64 false":                     `{"alg":"HS256","b64":false}`,
		"log-out token":                 `{"alg":"HS256","typ":"logout+jwt"}`,
		"security event":                `{"alg":"HS256","typ":"secevent+jwt"}`,
		"proof of possession":           `{"alg":"HS256","typ":"dpop+jwt"}`,
		"type a number":                 `{"alg":"HS256","typ":1}`,
		"trailing garbage":              `{"alg":"HS256"}x`,
		"two objects":                   `{"alg":"HS256"}{"alg":"HS256"}`,
		"a list":                        `["HS256"]`,
		"a text":                        `"HS256"`,
		"null":                          `null`,
		"not json":                      `alg=HS256`,
		"a byte order mark":             "\ufeff" + `{"alg":"HS256"}`,
		"invalid utf-8":                 "{\"alg\":\"HS256\",\"x\":\"\xff\"}",
		"unpaired surrogate":            `{"alg":"HS256","x":"\ud800"}`,
		"a comment":                     `{"alg":"HS256"/**/}`,
		"a trailing comma":              `{"alg":"HS256",}`,
		"unfinished":                    `{"alg":"HS256"`,
		"nested duplicate in jwk":       `{"alg":"HS256","jwk":{"k":"a","k":"b"}}`,
		"compressed payload left alone": `{"alg":"HS256","zip":"DEF","crit":["zip"]}`,
	}
	var attacks []attack
	for name, header := range headers {
		attacks = append(attacks, attack{"header: " + name, rawHS256(header, claims)})
	}
	// Key ids are never a path, a query or an address. The secret an attacker
	// would make us read that way is an empty file's, or the one in the query.
	for _, kid := range []string{"../../../../dev/null", "/dev/null", "x' UNION SELECT 'AAAA'--", "https://evil.example/key", "|id", "\\u0000", "own", "rsa"} {
		header := `{"alg":"HS256","kid":"` + kid + `"}`
		attacks = append(attacks,
			attack{"kid " + kid + ", empty key", rawSigned(header, claims, nil)},
			attack{"kid " + kid + ", chosen key", rawSigned(header, claims, []byte("AAAA"))})
	}
	for _, name := range []string{"jku", "x5u", "jwk", "x5c"} {
		value := `"https://evil.example/keys.json"`
		switch name {
		case "jwk":
			value = `{"kty":"oct","k":"` + encode(anotherSecret) + `"}`
		case "x5c":
			value = `["` + base64.StdEncoding.EncodeToString([]byte("certificate")) + `"]`
		}
		attacks = append(attacks, attack{"key of the attacker by " + name, rawSigned(`{"alg":"HS256","`+name+`":`+value+`}`, claims, []byte(anotherSecret))})
	}
	return attacks
}

func bentClaims() []attack {
	now := time.Now().Unix()
	changed := map[string]map[string]any{
		"expired":                      {"exp": now - 60},
		"expired long ago":             {"exp": 1},
		"expired, a fraction":          {"exp": float64(now) - 31.5},
		"exp missing":                  {"exp": nil},
		"exp zero":                     {"exp": 0},
		"exp negative":                 {"exp": -1},
		"exp a text":                   {"exp": "9999999999"},
		"exp a date text":              {"exp": "2999-01-01T00:00:00Z"},
		"exp true":                     {"exp": true},
		"exp a list":                   {"exp": []int64{now + 100}},
		"exp an object":                {"exp": map[string]any{"$date": now + 100}},
		"exp in milliseconds":          {"exp": (now + 100) * 1000},
		"exp beyond int64":             {"exp": 1e30},
		"not before in the future":     {"nbf": now + 120},
		"not before a text":            {"nbf": "0"},
		"not before negative":          {"nbf": -5},
		"issued in the future":         {"iat": now + 120},
		"issued as a text":             {"iat": "now"},
		"audience of another service":  {"aud": "billing"},
		"audience missing":             {"aud": nil},
		"audience empty":               {"aud": ""},
		"audience an empty list":       {"aud": []string{}},
		"audience a prefix":            {"aud": "tollgate-admin"},
		"audience in another case":     {"aud": "Tollgate"},
		"audience an object":           {"aud": map[string]any{"tollgate": true}},
		"audience list with a number":  {"aud": []any{1, "tollgate"}},
		"audience with a space":        {"aud": "tollgate "},
		"issuer missing":               {"iss": nil},
		"issuer empty":                 {"iss": ""},
		"issuer a list":                {"iss": []string{"https://own"}},
		"issuer a number":              {"iss": 1},
		"issuer with a slash":          {"iss": "https://own/"},
		"issuer with a space":          {"iss": "https://own "},
		"issuer with a nul":            {"iss": "https://own\x00"},
		"issuer look-alike":            {"iss": "https://оwn"},
		"subject missing":              {"sub": nil},
		"subject empty":                {"sub": ""},
		"subject blank":                {"sub": " \t\n"},
		"subject unicode blank":        {"sub": "\u00a0\u2003"},
		"subject a number":             {"sub": 1},
		"subject a list":               {"sub": []string{"admin"}},
		"subject with a line break":    {"sub": "user-1\nadmin"},
		"subject with a nul":           {"sub": "user\x001"},
		"roles a number":               {"roles": 1},
		"roles with a number":          {"roles": []any{"x", 1}},
		"roles an object":              {"roles": map[string]any{"admin": true}},
		"specialists false":            {"specialists": false},
		"specialists an object":        {"specialists": map[string]any{}},
		"e-mail a list":                {"email": []string{"a@b.example"}},
		"name an object":               {"name": map[string]any{}},
		"token id a number":            {"jti": 7},
		"huge":                         {"x": strings.Repeat("A", MaxTokenBytes)},
		"expired and for someone else": {"exp": now - 60, "aud": "billing"},
	}
	var attacks []attack
	for name, changes := range changed {
		attacks = append(attacks, attack{"claims: " + name, rawHS256(`{"alg":"HS256"}`, payload(goodClaims("https://own", changes)))})
	}
	good := payload(goodClaims("https://own", nil))
	inside := strings.TrimSuffix(good, "}")
	raw := map[string]string{
		"subject twice":            inside + `,"sub":"admin"}`,
		"subject twice, escaped":   inside + `,"s\u0075b":"admin"}`,
		"issuer twice":             inside + `,"iss":"https://rsa"}`,
		"exp twice":                inside + `,"exp":9999999999}`,
		"nested duplicate":         inside + `,"realm_access":{"roles":["a"],"roles":["admin"]}}`,
		"trailing garbage":         good + "x",
		"trailing nul":             good + "\x00",
		"two objects":              good + good,
		"list of objects":          "[" + good + "]",
		"nested token":             `"` + rawHS256(`{"alg":"HS256"}`, good) + `"`,
		"nested token, bare":       rawHS256(`{"alg":"HS256"}`, good),
		"null":                     "null",
		"true":                     "true",
		"not json":                 "sub=admin&exp=9999999999",
		"invalid utf-8":            inside + ",\"x\":\"\xc3\x28\"}",
		"unpaired surrogate":       inside + `,"x":"\udfff"}`,
		"exp infinite":             strings.Replace(good, `"exp":`, `"exp":1e999,"old":`, 1),
		"exp not a number":         strings.Replace(good, `"exp":`, `"exp":NaN,"old":`, 1),
		"exp hexadecimal":          strings.Replace(good, `"exp":`, `"exp":0x7fffffff,"old":`, 1),
		"exp with a leading zero":  strings.Replace(good, `"exp":`, `"exp":0`, 1),
		"exp null":                 strings.Replace(good, `"exp":`, `"exp":null,"old":`, 1),
		"exp minus zero":           strings.Replace(good, `"exp":`, `"exp":-0,"old":`, 1),
		"subject null":             strings.Replace(good, `"sub":`, `"sub":null,"old":`, 1),
		"claim names in capitals":  strings.ToUpper(good),
		"exp in capitals":          strings.Replace(good, `"exp"`, `"EXP"`, 1),
		"exp inside another claim": strings.Replace(good, `"exp"`, `"x.exp"`, 1),
	}
	for name, claims := range raw {
		attacks = append(attacks, attack{"payload: " + name, rawHS256(`{"alg":"HS256"}`, claims)})
	}
	return attacks
}

func bentEncodings(v target) []attack {
	header, claims, signature := parts(v.hs)
	loose := nonCanonical(signature)
	return []attack{
		{"padded signature", v.hs + "="},
		{"padded everywhere", pad(header) + "." + pad(claims) + "." + pad(signature) + "=="},
		{"non-canonical trailing bits", header + "." + claims + "." + loose},
		{"standard base64 alphabet", header + "." + claims + "." + base64.RawStdEncoding.EncodeToString([]byte("\xff\xfe\xfd"+strings.Repeat("\xfb", 29)))},
		{"line break in the signature", v.hs[:len(v.hs)-5] + "\n" + v.hs[len(v.hs)-5:]},
		{"line break at the end", v.hs + "\n"},
		{"carriage return in the header", header[:3] + "\r" + header[3:] + "." + claims + "." + signature},
		{"space before", " " + v.hs},
		{"space after", v.hs + " "},
		{"nul after", v.hs + "\x00"},
		{"bearer before", "Bearer " + v.hs},
		{"quotes around", `"` + v.hs + `"`},
		{"four parts", v.hs + "." + signature},
		{"dot after", v.hs + "."},
		{"dot before", "." + v.hs},
		{"five parts, as encryption has", strings.Join([]string{header, claims, signature, header, claims}, ".")},
		{"one part", header},
		{"only dots", ".."},
		{"a dot", "."},
		{"many dots", strings.Repeat(".", MaxTokenBytes)},
		{"empty header", "." + claims + "." + signature},
		{"empty payload", header + ".." + signature},
		{"swapped parts", claims + "." + header + "." + signature},
		{"truncated by one", v.hs[:len(v.hs)-1]},
		{"truncated in the payload", v.hs[:len(header)+10]},
		{"percent escapes", strings.ReplaceAll(v.hs, ".", "%2E")},
		{"full-width dots", strings.ReplaceAll(v.hs, ".", "．")},
		{"unicode", "héàdér.çläims.sïgnatüre"},
		{"emoji", "🔑.🔑.🔑"},
		{"json serialization", `{"protected":"` + header + `","payload":"` + claims + `","signature":"` + signature + `"}`},
		{"two tokens", v.hs + "," + v.hs},
		{"huge", strings.Repeat("A", 1<<20)},
		{"huge with dots", strings.Repeat("A", MaxTokenBytes/3) + "." + strings.Repeat("A", MaxTokenBytes) + ".AAAA"},
		{"a good token and a megabyte", v.hs + strings.Repeat("A", 1<<20)},
		{"a session id", "s%3AvJ8"},
		{"an api key", "sk-proj-1234567890"},
	}
}

func TestWeakKeysAreRefusedAtConfiguration(t *testing.T) {
	t.Parallel()
	// crypto/rsa makes no such key any more; its modulus is all that counts here.
	weak := &rsa.PublicKey{N: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 1024), big.NewInt(105)), E: 65537}
	der := must(x509.MarshalPKIXPublicKey(weak))
	issuer := keyIssuer("idp", keyring().rsa)
	issuer.PublicKeys = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	_, err := New([]Issuer{issuer}, Options{})
	require.ErrorContains(t, err, "1024 bits")
}

// TestErrorsHoldNoToken makes sure that what is logged of a refused token is
// none of its contents.
func TestErrorsHoldNoToken(t *testing.T) {
	t.Parallel()
	v := newTarget(t)
	for _, claims := range []map[string]any{{"email": []string{"ada@example.com"}}, {"aud": "ada@example.com"}, {"iss": "ada@example.com"}, {"exp": "ada@example.com"}, {"sub": "ada@example.com\n"}} {
		token := rawHS256(`{"alg":"HS256"}`, payload(goodClaims("https://own", claims)))
		_, err := v.Verify(t.Context(), token)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "ada@")
		require.NotContains(t, err.Error(), token)
	}
}

func FuzzVerify(f *testing.F) {
	v := newTarget(f)
	genuine := []string{v.hs, v.rs, v.es, v.ed}
	for _, a := range slices.Concat(bentHeaders(), bentEncodings(v)) {
		if len(a.token) < 4096 {
			f.Add(a.token)
		}
	}
	for _, token := range genuine {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		p, err := v.Verify(t.Context(), token)
		if err == nil && !slices.Contains(genuine, token) {
			t.Fatalf("accepted %q as %v", token, p)
		}
		if err != nil {
			requireCause(t, llm.CauseUnauthenticated, err)
		}
	})
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
