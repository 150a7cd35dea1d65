package anthropic

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// callIDs gives tool calls ids that the API takes: of letters, digits, `-` and
// `_`, and each for one call only. Some providers number the calls of each turn
// anew, so that a conversation has the same id several times; a result then
// belongs to the last call before it.
type callIDs struct {
	sent  map[string]string // the client's id → what was sent for it last
	times map[string]int    // how often the client's id came
	used  map[string]bool   // ids sent
}

// call is the id to send for a call.
func (c *callIDs) call(id string) string {
	if c.sent == nil {
		c.sent, c.times, c.used = map[string]string{}, map[string]int{}, map[string]bool{}
	}
	c.times[id]++
	fit := fitID(id)
	for c.used[fit] {
		fit = hashID(id + " " + strconv.Itoa(c.times[id]))
		c.times[id]++
	}
	c.sent[id], c.used[fit] = fit, true
	return fit
}

// result is the id to send for a call's result.
func (c *callIDs) result(id string) string {
	if sent, ok := c.sent[id]; ok {
		return sent
	}
	return fitID(id)
}

// fitID makes an id one that the API takes: the same for the same id.
func fitID(id string) string {
	if id == "" || len(id) > maxID {
		return hashID(id)
	}
	for i := range len(id) {
		c := id[i]
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return hashID(id)
		}
	}
	return id
}

// maxID bounds an id; Anthropic's own are shorter by far.
const maxID = 128

// hashID makes an id of any text.
func hashID(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "toolu_" + hex.EncodeToString(sum[:12])
}
