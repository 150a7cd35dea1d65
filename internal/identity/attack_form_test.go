package identity

import (
	"encoding/base64"
	"strings"
)

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
		"kid twice, once escaped":       `{"alg":"HS256","kid":"a","k\u0069d":"b"}`,
		"typ twice":                     `{"alg":"HS256","typ":"JWT","typ":"logout+jwt"}`,
		"alg in an escape":              `{"\u0061lg":"none"}`,
		"refresh token":                 `{"alg":"HS256","typ":"rt+jwt"}`,
		"id of a log-out":               `{"alg":"HS256","typ":"application/logout+jwt"}`,
		"token exchange":                `{"alg":"HS256","typ":"oauth-authz-req+jwt"}`,
		"introspection":                 `{"alg":"HS256","typ":"token-introspection+jwt"}`,
		"type with a space":             `{"alg":"HS256","typ":"JWT "}`,
		"encrypted":                     `{"alg":"dir","enc":"A256GCM"}`,
		"deep nesting":                  `{"alg":"HS256","typ":` + strings.Repeat("[", 4000) + strings.Repeat("]", 4000) + `}`,
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
		{"the form of encryption", encode(`{"alg":"dir","enc":"A256GCM"}`) + ".." + encode("123456789012") + "." + claims + "." + encode("1234567890123456")},
		{"the form of encryption, three parts", encode(`{"alg":"RSA-OAEP","enc":"A256GCM"}`) + "." + claims + "." + signature},
		{"dots of another script", strings.ReplaceAll(v.hs, ".", "\u3002")},
		{"one leader dots", strings.ReplaceAll(v.hs, ".", "\u2024")},
		{"a dot in the payload", header + "." + claims[:9] + "." + claims[9:] + "." + signature},
		{"line break in the payload", header + "." + claims[:8] + "\r\n" + claims[8:] + "." + signature},
		{"tab in the header", header[:4] + "\t" + header[4:] + "." + claims + "." + signature},
		{"space around the dots", header + " . " + claims + " . " + signature},
		{"invalid utf-8 after", v.hs + "\xff"},
		{"byte order mark before", "\ufeff" + v.hs},
		{"unpadded payload with a character more", header + "." + claims + "A." + signature},
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
