package document

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"unicode"

	"github.com/ledongthuc/pdf"
)

// textOf gives a PDF file's text. It runs in the reading process only.
func textOf(file []byte) (string, error) {
	var reader *pdf.Reader
	file = mended(file)
	err := guarded(func() (err error) {
		reader, err = pdf.NewReader(bytes.NewReader(file), int64(len(file)))
		return err
	})
	switch {
	case errors.Is(err, pdf.ErrInvalidPassword):
		return "", ErrEncrypted
	case err != nil && bytes.Contains(file, []byte("/Encrypt")):
		return "", ErrEncrypted // in a way that the library does not know
	case err != nil:
		return "", ErrUnreadable
	}
	return pagesOf(reader)
}

// mended is a file with what the library is stricter about than other programs:
// which version there is, and what stands behind the first line's version and
// the last line.
func mended(file []byte) []byte {
	file = bytes.Clone(bytes.TrimRight(file, "\x00\r\n\t "))
	if len(file) > 8 && bytes.HasPrefix(file, []byte("%PDF-")) {
		if file[5] == '2' {
			copy(file[5:], "1.7")
		}
		if file[8] == ' ' || file[8] == '%' {
			file[8] = '\n'
		}
	}
	return file
}

func pagesOf(reader *pdf.Reader) (string, error) {
	var pages int
	if err := guarded(func() error { pages = reader.NumPage(); return nil }); err != nil {
		return "", ErrUnreadable
	}
	if pages > MaxPages {
		return "", ErrTooManyPages
	}
	var all strings.Builder
	failed := 0
	for i := 1; i <= pages; i++ {
		var text string
		if guarded(func() (err error) { text, err = pageText(reader.Page(i)); return err }) != nil {
			failed++
			continue
		}
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if all.Len() > 0 {
			all.WriteString("\n\n")
		}
		all.WriteString(text)
		if all.Len() > MaxText {
			return "", ErrTooMuchText
		}
	}
	switch {
	case failed > 0: // a text with holes that nobody sees would be worse than none
		return "", ErrUnreadable
	case all.Len() == 0:
		return "", ErrNoText
	}
	return all.String(), nil
}

// pageText puts a page's text together by where its glyphs stand: programs that
// make PDF files place words and lines, and write neither spaces nor line ends.
// Where the library cannot say that, its plain text must do.
func pageText(page pdf.Page) (string, error) {
	var glyphs []pdf.Text
	if guarded(func() error { glyphs = page.Content().Text; return nil }) != nil {
		return page.GetPlainText(nil)
	}
	var text strings.Builder
	var last *pdf.Text
	for i := range glyphs {
		glyph := &glyphs[i]
		if glyph.S == "\n" { // the library's own, at the end of some pieces
			continue
		}
		text.WriteString(between(last, glyph))
		text.WriteString(strings.Map(printable, glyph.S))
		last = glyph
	}
	return text.String(), nil
}

// between is what stands between two glyphs that follow each other in the file:
// the end of a line, a space, or nothing.
func between(last, next *pdf.Text) string {
	if last == nil {
		return ""
	}
	size := max(math.Abs(last.FontSize), math.Abs(next.FontSize), 1)
	gap := next.X - (last.X + last.W)
	switch {
	case math.Abs(next.Y-last.Y) > 0.5*size, gap < -2*size && next.X < last.X:
		return "\n"
	case gap > 0.2*size && last.S != " " && next.S != " ":
		return " "
	}
	return ""
}

// printable keeps what can be read, and drops what only drives printers.
func printable(r rune) rune {
	if r == unicode.ReplacementChar || unicode.IsControl(r) && r != '\t' {
		return -1
	}
	return r
}
