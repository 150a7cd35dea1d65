package egress

import (
	"bytes"
	"net/http"
	"strings"
	"unicode/utf8"
)

// sniff tells a content type by the content, as far as it is one of those that
// models read; "" for all others, HTML and SVG among them. What a server says of
// its content does not count.
func sniff(data []byte) string {
	if mime := sniffMore(data); mime != "" {
		return mime
	}
	switch mime := http.DetectContentType(data); {
	case mime == "application/ogg":
		return "audio/ogg"
	case mime == "text/plain; charset=utf-8" && len(data) > 0 && utf8.Valid(data):
		return "text/plain"
	case mime == "application/pdf", strings.HasPrefix(mime, "image/"), strings.HasPrefix(mime, "audio/"):
		return mime
	}
	return ""
}

// brands are what files of ISO's container (`ftyp`) say they are.
var brands = map[string]string{
	"heic": "image/heic", "heix": "image/heic", "mif1": "image/heif", "msf1": "image/heif",
	"avif": "image/avif", "M4A ": "audio/mp4", "M4B ": "audio/mp4",
}

// sniffMore knows types that [http.DetectContentType] does not.
func sniffMore(data []byte) string {
	switch {
	case len(data) >= 12 && string(data[4:8]) == "ftyp":
		return brands[string(data[8:12])]
	case bytes.HasPrefix(data, []byte("fLaC")):
		return "audio/flac"
	case len(data) >= 4 && data[0] == 0xFF && data[1]&0xF6 == 0xF0:
		return "audio/aac"
	case len(data) >= 4 && data[0] == 0xFF && data[1]&0xE6 == 0xE2 && data[2]&0xF0 != 0xF0 && data[2]&0x0C != 0x0C:
		return "audio/mpeg" // layer III, without an ID3 tag before it
	}
	return ""
}
