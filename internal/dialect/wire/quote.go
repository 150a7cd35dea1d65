package wire

import "github.com/financecommander/tollgate/internal/jsonedit"

// AppendQuote appends text as a JSON string. Broken UTF-8 becomes U+FFFD.
func AppendQuote(dst []byte, text string) []byte { return jsonedit.AppendQuote(dst, text) }
