package anthropic

import (
	"strconv"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// EncodeCount implements [dialect.TokenCounter].
func (CountCodec) EncodeCount(r *llm.Request, o dialect.EncodeOptions) ([]byte, error) {
	return encode(r, o, false)
}

// DecodeCounted implements [dialect.TokenCounter].
func (CountCodec) DecodeCounted(body []byte) (tokens int64, ok bool) {
	s := jsonedit.NewScanner(body)
	for name := range s.Members {
		if string(name) == "input_tokens" {
			tokens, ok = s.Int()
		}
	}
	if s.End() != nil || tokens < 0 {
		return 0, false
	}
	return tokens, ok
}

// AppendCounted implements [dialect.TokenCounter].
func (CountCodec) AppendCounted(dst []byte, tokens int64) []byte {
	dst = append(dst, `{"input_tokens":`...)
	return append(strconv.AppendInt(dst, tokens, 10), '}')
}
