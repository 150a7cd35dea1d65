package fakes

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// secret signs what the fakes hand out, so that they know it again.
const secret = "known to the fake providers alone"

// sign gives a model's signature over what it wrote. It says whose it is, so that
// a refusal can tell a foreign one from an altered one.
func sign(k Kind, model, what, text string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(strings.Join([]string{string(k), model, what, text}, "\x00")))
	token := strings.Join([]string{"signed", string(k), model, what, hex.EncodeToString(mac.Sum(nil))}, "|")
	return base64.StdEncoding.EncodeToString([]byte(token))
}

// verify says what is wrong with a signature; "" if nothing is.
func verify(k Kind, model, what, text, signature string) string {
	if signature == sign(k, model, what, text) {
		return ""
	}
	token, err := base64.StdEncoding.DecodeString(signature)
	fields := strings.Split(string(token), "|")
	switch {
	case signature == "":
		return "it is missing"
	case err != nil || len(fields) != 5 || fields[0] != "signed":
		return "it was not made here"
	case fields[1] != string(k):
		return "it is of another provider: " + fields[1]
	case fields[2] != model:
		return "it is of another model: " + fields[2]
	case fields[3] != what:
		return "it is of a " + fields[3]
	default:
		return "what it signs was altered"
	}
}
