package wire

import "github.com/financecommander/tollgate/internal/jsonedit"

// Unquote is what a valid JSON string says, given with its quotes, as
// [jsonedit.AppendText] has it; "" for another value.
func Unquote(quoted []byte) string {
	if len(quoted) < len(`""`) || quoted[0] != '"' {
		return ""
	}
	var room [64]byte
	return string(jsonedit.AppendText(room[:0], quoted))
}
