package usage

import (
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"
)

// MaxText is the most bytes of any string in a record. What is longer is cut at
// a character: an oversized id that a client sent must not cost us the row, nor
// break an index (PostgreSQL refuses index entries over 2,704 bytes).
const MaxText = 512

// timestampLayout has a fixed width, so that SQLite, which compares timestamps
// as text, sorts them by time.
const timestampLayout = "2006-01-02T15:04:05.000000Z"

// AppendJSON appends the record as one line of JSON without spaces. Fields that
// are zero are left out, the database fills them in; so half the bytes do.
func (r *Record) AppendJSON(b []byte) []byte {
	b = append(b, `{"id":"`...)
	b = appendUUID(b, r.ID)
	b = append(b, `","timestamp":"`...)
	b = r.Timestamp.UTC().AppendFormat(b, timestampLayout)
	b = append(b, '"')

	b = appendText(b, "request_id", r.RequestID)
	b = appendText(b, "user_hash", r.UserHash)
	b = appendText(b, "user_email_hash", r.UserEmailHash)
	b = appendText(b, "token_id", r.TokenID)
	b = appendText(b, "specialist_id", r.SpecialistID)
	b = appendText(b, "specialist_name", r.SpecialistName)
	b = appendText(b, "provider", r.Provider)
	b = appendText(b, "model", r.Model)
	b = appendText(b, "response_model", r.ResponseModel)
	b = appendText(b, "dialect", r.Dialect)
	b = appendTrue(b, "stream", r.Stream)

	b = appendCount(b, "input_tokens", r.InputTokens)
	b = appendCount(b, "output_tokens", r.OutputTokens)
	b = appendCount(b, "cached_tokens", r.CachedTokens)
	b = appendCount(b, "cache_write_tokens", r.CacheWriteTokens)
	b = appendCount(b, "cache_write_1h_tokens", r.CacheWrite1hTokens)
	b = appendCount(b, "reasoning_tokens", r.ReasoningTokens)
	b = appendCount(b, "audio_input_tokens", r.AudioInputTokens)
	b = appendCount(b, "audio_output_tokens", r.AudioOutputTokens)
	b = appendCount(b, "image_input_tokens", r.ImageInputTokens)
	b = appendCount(b, "image_output_tokens", r.ImageOutputTokens)
	b = appendText(b, "usage_source", string(r.UsageSource))

	b = appendCount(b, "cost_picodollars", int64(r.Cost))
	b = appendTrue(b, "priced", r.Priced)
	b = appendText(b, "price_version", r.PriceVersion)
	if r.ReportedCost != nil {
		b = appendText(b, "reported_cost_usd", r.ReportedCost.String())
	}

	b = appendCount(b, "latency_ms", r.Latency.Round(time.Millisecond).Milliseconds())
	if r.TTFT > 0 { // a first token within half a millisecond is still a first token
		b = appendCount(b, "ttft_ms", max(1, r.TTFT.Round(time.Millisecond).Milliseconds()))
	}
	b = appendCount(b, "attempt", int64(r.Attempt))
	b = appendCount(b, "upstream_status", int64(r.UpstreamStatus))
	b = appendCount(b, "status", int64(r.Status))
	b = appendTrue(b, "success", r.Success)
	b = appendText(b, "finish_reason", r.FinishReason)
	b = appendText(b, "error_cause", string(r.ErrorCause))
	b = appendText(b, "run_id", r.RunID)
	b = appendText(b, "step", r.Step)
	return append(b, '}')
}

func appendName(b []byte, name string) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	return append(b, `":`...)
}

// appendCount appends a number that is never negative in a true record; one that
// is comes from a mistake upstream and is recorded as zero.
func appendCount(b []byte, name string, n int64) []byte {
	if n <= 0 {
		return b
	}
	return strconv.AppendInt(appendName(b, name), n, 10)
}

func appendTrue(b []byte, name string, v bool) []byte {
	if !v {
		return b
	}
	return append(appendName(b, name), "true"...)
}

func appendText(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	b = append(appendName(b, name), '"')
	b = appendEscaped(b, cut(s))
	return append(b, '"')
}

// cut shortens s to MaxText bytes, at a character.
func cut(s string) string {
	if len(s) <= MaxText {
		return s
	}
	end := MaxText
	for end > MaxText-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// appendEscaped appends the inside of a JSON string (RFC 8259, section 7). What
// no database stores as text, NUL and bytes that are not UTF-8, becomes U+FFFD.
func appendEscaped(b []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[start:i]...)
		switch {
		case c == 0 || c >= utf8.RuneSelf:
			b = utf8.AppendRune(b, utf8.RuneError)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, `\u00`...)
			b = hex.AppendEncode(b, []byte{c})
		}
		i += size
		start = i
	}
	return append(b, s[start:]...)
}

func appendUUID(b []byte, id [16]byte) []byte {
	for i, part := range [...][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b
}
