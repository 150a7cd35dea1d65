package wire

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a caller may see of an upstream's error.
const (
	MaxMessage = 1000 // bytes of an upstream's message that a caller may see
	MaxWord    = 100
	redacted   = "[redacted]"
)

// secrets are what a provider's message may say of the gateway's account, and
// what is put in its place.
var secrets = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`(https?://)[^/\s@"']*@`), "$1"},
	{regexp.MustCompile(`(https?://[^\s?#"'<>]*)[?#][^\s"'<>]*`), "$1"},
	{regexp.MustCompile(`(?i)\bbearer\s+\S+`), redacted},
	{regexp.MustCompile(`[\w.+%-]+@[\w-]+(\.[\w-]+)+`), redacted},
	{regexp.MustCompile(`[\w-]*\*{3,}[\w-]*`), redacted}, // a key masked by the provider
	{regexp.MustCompile(`\b(sk|pk|rk|gsk|xai|csk|hf|r8|pplx|nvapi|tgp|fw|sess|key)[-_][\w*-]{6,}`), redacted},
	{regexp.MustCompile(`\b(org|proj|acct)[-_]\w+`), redacted},
	{regexp.MustCompile(`\buser-\w{12,}`), redacted},
	{regexp.MustCompile(`\beyJ[\w-]{8,}(\.[\w-]+)*`), redacted}, // a JWT
	{regexp.MustCompile(`\bAIza[\w-]{10,}`), redacted},          // Google's
	{regexp.MustCompile(`\b[A-Za-z0-9]{28,}\b`), redacted},
}

// Scrub makes text of an upstream fit for a caller, and at most limit bytes
// long.
func Scrub(text string, limit int) string {
	// What is far beyond the limit need not be searched.
	text = cut(strings.ToValidUTF8(text, "\uFFFD"), 4*limit)
	for _, s := range secrets {
		text = s.pattern.ReplaceAllString(text, s.with)
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)
	return strings.TrimSpace(cut(text, limit))
}

// cut shortens text to limit bytes without breaking a character.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

// Word returns an error's type or code if it is a plain word, else "".
func Word(text string) string {
	if len(text) > MaxWord {
		return ""
	}
	for _, c := range text {
		plain := c < utf8.RuneSelf && (unicode.IsLetter(c) || unicode.IsDigit(c)) || strings.ContainsRune("_-. ", c)
		if !plain {
			return ""
		}
	}
	return Scrub(text, MaxWord)
}

// RetryAfter reads when to try again: milliseconds as OpenAI and Azure give
// them, seconds, or a date (RFC 9110, section 10.2.3). 0: not known.
func RetryAfter(header http.Header) time.Duration {
	const longest = 24 * time.Hour
	if ms, err := strconv.ParseFloat(header.Get("Retry-After-Ms"), 64); err == nil && ms > 0 {
		return min(time.Duration(min(ms, 1e9)*float64(time.Millisecond)), longest)
	}
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		return min(max(time.Duration(min(seconds, 1e6)*float64(time.Second)), 0), longest)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(time.Until(at), 0), longest)
	}
	return 0
}
