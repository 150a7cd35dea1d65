package portalchat

import (
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// The bounds of what may be attached to a message.
const (
	maxAttachments    = 5
	maxAttachment     = 10 << 20 // bytes, decoded
	maxAttachmentName = 200      // characters
	sniffed           = 512      // bytes that tell a file's type
)

// Attachment is a file sent with a message.
type Attachment struct {
	Filename    string `json:"filename"`
	ContentType string `json:"content_type"`
	Data        string `json:"data_base64"`
	Size        *int64 `json:"size_bytes"`

	mime string // what it is, by what was declared and by its first bytes
	text string // of a text file
}

const pdfType = "application/pdf"

// What may be attached. Browsers have several names for some.
var (
	binaryTypes = map[string]string{
		"image/jpeg": "image/jpeg", "image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg",
		"image/png": "image/png", "image/gif": "image/gif", "image/webp": "image/webp",
		pdfType: pdfType, "application/x-pdf": pdfType,
	}
	textTypes = map[string]string{
		"text/plain": "text/plain", "text/csv": "text/csv", "application/csv": "text/csv",
		"text/markdown": "text/markdown", "text/x-markdown": "text/markdown",
	}
)

const takenTypes = "JPEG, PNG, GIF and WebP images, PDF, and plain text, CSV and Markdown in UTF-8 can be attached"

// check looks at an attachment, whose path in the body is at, and finds out what
// it is.
func (a *Attachment) check(at string) error {
	encoded := at + ".data_base64"
	size := decodedSize(a.Data)
	switch {
	case a.Data == "":
		return invalid(encoded, encoded+" is required and may not be empty")
	case size > maxAttachment:
		return invalid(encoded, fmt.Sprintf("%s has more than %d MiB", encoded, maxAttachment>>20))
	case !wire.ValidBase64(a.Data):
		return invalid(encoded, encoded+" must be standard base64 with padding")
	case a.Size != nil && *a.Size != size:
		return invalid(at+".size_bytes", fmt.Sprintf("%s.size_bytes is %d, but the data are %d bytes", at, *a.Size, size))
	}
	a.Filename = oneLine(a.Filename)
	return a.identify(at)
}

// decodedSize is how many bytes base64 text stands for.
func decodedSize(text string) int64 {
	size := int64(len(text) / 4 * 3)
	switch {
	case strings.HasSuffix(text, "=="):
		return size - 2
	case strings.HasSuffix(text, "="):
		return size - 1
	}
	return size
}

// identify tells what an attachment is: what it was declared to be, if its first
// bytes agree. Where nothing was declared, they alone say it.
func (a *Attachment) identify(at string) error {
	declared, _, err := mime.ParseMediaType(a.ContentType)
	if err != nil && strings.TrimSpace(a.ContentType) != "" {
		return invalid(at+".content_type", at+".content_type is no media type; "+takenTypes)
	}
	start, _ := base64.StdEncoding.DecodeString(a.Data[:min(len(a.Data), sniffed/3*4)])
	found, _, _ := strings.Cut(http.DetectContentType(start), ";")
	undeclared := declared == "" || declared == "application/octet-stream"
	switch {
	case undeclared && binaryTypes[found] != "":
		a.mime = binaryTypes[found]
		return nil
	case undeclared && strings.HasPrefix(found, "text/"), a.isSheet(declared):
		declared = "text/plain"
	}
	if known := binaryTypes[declared]; known != "" {
		if a.mime = known; found != known {
			return invalid(at+".content_type", fmt.Sprintf("%s is declared as %s, but its content is not", at, known))
		}
		return nil
	}
	if a.mime = textTypes[declared]; a.mime == "" {
		return invalid(at+".content_type", fmt.Sprintf("%s is of a type that is not taken; %s", at, takenTypes))
	}
	return a.readText(at, strings.HasPrefix(found, "text/"))
}

// isSheet says whether a file is what browsers on machines with Excel call a CSV
// file.
func (a *Attachment) isSheet(declared string) bool {
	return declared == "application/vnd.ms-excel" && strings.EqualFold(path.Ext(a.Filename), ".csv")
}

func (a *Attachment) readText(at string, looksLikeText bool) error {
	content, err := base64.StdEncoding.DecodeString(a.Data)
	text := strings.TrimPrefix(string(content), "\ufeff")
	if err != nil || !looksLikeText || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return invalid(at+".data_base64", fmt.Sprintf("%s is declared as %s, but its content is not text in UTF-8", at, a.mime))
	}
	a.text, a.Data = text, "" // one of them is enough to hold
	return nil
}

// oneLine makes a file's name fit to stand in a line of a prompt or of a header:
// without a folder, without what breaks lines or directions, and of a bounded
// length.
func oneLine(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError, !unicode.IsGraphic(r):
			return -1
		}
		return r
	}, name)
	if runes := []rune(name); len(runes) > maxAttachmentName {
		name = string(runes[:maxAttachmentName])
	}
	return strings.TrimSpace(name)
}

// part is an attachment as a part of a message. Files of text are text for every
// model; the rest is what the upstream's format has for it.
func (a *Attachment) part(i int) llm.Part {
	pos := llm.Pos{Part: int32(i)} // there are five at most
	if a.mime == pdfType {
		return &llm.Media{Common: llm.Common{Pos: pos}, Kind: llm.MediaDocument, MIME: a.mime, Data: a.Data, Name: a.Filename, OrText: true}
	}
	if a.Data != "" {
		return &llm.Media{Common: llm.Common{Pos: pos}, Kind: llm.MediaImage, MIME: a.mime, Data: a.Data}
	}
	return &llm.Text{Common: llm.Common{Pos: pos}, Text: DocumentText(a.Filename, a.text)}
}

// DocumentText is a document's text as models are given it: between marks, the
// first of which has its name.
func DocumentText(name, text string) string {
	name = strings.NewReplacer("&", "&amp;", `"`, "&quot;", "<", "&lt;", ">", "&gt;").Replace(name)
	if name == "" {
		name = "document"
	}
	return `<document name="` + name + "\">\n" + strings.TrimRight(text, "\n") + "\n</document>"
}

// Names names fields as the portal's clients know them.
type Names struct{}

var _ dialect.Namer = Names{}

// FieldPath implements [dialect.Namer]: a field has its own name.
func (Names) FieldPath(dialect.Field) string { return "" }

// PartPath implements [dialect.Namer]. Parts without a place of their own are
// the message's.
func (Names) PartPath(p llm.Pos) string {
	if p.Part < 0 {
		return "message"
	}
	return fmt.Sprintf("attachments[%d]", p.Part)
}
