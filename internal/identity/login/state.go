package login

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/financecommander/tollgate/internal/seal"
)

var errForeign = errors.New("the state is not ours")

// open reads a state that the box has sealed for the owner.
func open[T any](box *seal.Box, text, owner string) (state T, err error) {
	if len(text) > maxState || strings.ContainsAny(text, "\r\n") { // which the decoder would pass over
		return state, errForeign
	}
	sealed, err := encoding.DecodeString(text)
	if err != nil {
		return state, errForeign
	}
	plain, ok := box.Open(sealed, owner, maxState)
	if !ok || json.Unmarshal(plain, &state) != nil {
		return state, errForeign
	}
	return state, nil
}
