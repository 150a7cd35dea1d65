package document

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	file, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	return file
}

const lease = "Lease agreement\nThe rent is 900 euros a month,\ndue on the first day.\nGrüße\n\nSecond page"

// build makes a PDF file of objects, the first of which is the catalog.
func build(objects ...string) []byte {
	var file bytes.Buffer
	file.WriteString("%PDF-1.4\n")
	var offsets []int
	for i, object := range objects {
		offsets = append(offsets, file.Len())
		fmt.Fprintf(&file, "%d 0 obj\n%s\nendobj\n", i+1, object)
	}
	at := file.Len()
	fmt.Fprintf(&file, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, offset := range offsets {
		fmt.Fprintf(&file, "%010d 00000 n \n", offset)
	}
	fmt.Fprintf(&file, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, at)
	return file.Bytes()
}

func stream(dict, content string) string {
	return fmt.Sprintf("<< /Length %d %s >>\nstream\n%s\nendstream", len(content), dict, content)
}

func deflated(t testing.TB, content string) string {
	t.Helper()
	var out bytes.Buffer
	w, err := zlib.NewWriterLevel(&out, zlib.BestSpeed)
	require.NoError(t, err)
	_, err = w.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.String()
}

// endless is the deflated form of a start and very many times a part. The part's
// second block refers to nothing but the part before it, so it can be repeated
// as it is, which takes no time.
func endless(t testing.TB, start, part string, times int) string {
	t.Helper()
	var out bytes.Buffer
	w, err := zlib.NewWriterLevel(&out, zlib.BestSpeed)
	require.NoError(t, err)
	_, err = w.Write([]byte(start + part))
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	first := out.Len()
	_, err = w.Write([]byte(part))
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	block := bytes.Clone(out.Bytes()[first:])
	out.Write(bytes.Repeat(block, times))
	return out.String()
}

// onePage makes a file of one page with a content stream.
func onePage(content string) []byte {
	return build(
		"<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /Resources << /Font << /F1 5 0 R >> >> /Contents 4 0 R >>", content,
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
	)
}

func withPages(n int) []byte {
	return build("<< /Type /Catalog /Pages 2 0 R >>", fmt.Sprintf("<< /Type /Pages /Kids [%s] /Count %d >>", strings.Repeat("3 0 R ", n), n),
		"<< /Type /Page /Resources << /Font << /F1 5 0 R >> >> /Contents 4 0 R >>", stream("", "BT /F1 12 Tf (x) Tj ET"),
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
}

func TestText(t *testing.T) {
	file := read(t, "lease.pdf")
	tests := map[string]struct {
		file []byte
		text string
		err  error
	}{
		"a file":               {file: file, text: lease},
		"of version 2.0":       {file: bytes.Replace(file, []byte("%PDF-1.4"), []byte("%PDF-2.0"), 1), text: lease},
		"zeros at the end":     {file: append(bytes.Clone(file), 0, 0, '\n'), text: lease},
		"as many pages as may": {file: withPages(MaxPages), text: strings.TrimSpace(strings.Repeat("x\n\n", MaxPages))},
		"too many pages":       {file: withPages(MaxPages + 1), err: ErrTooManyPages},
		"encrypted":            {file: read(t, "encrypted.pdf"), err: ErrEncrypted},
		"a scan":               {file: onePage(stream("", "q 1 0 0 1 0 0 cm Q")), err: ErrNoText},
		"nothing":              {err: ErrUnreadable},
		"no PDF":               {file: []byte("Hello"), err: ErrUnreadable},
		"half":                 {file: file[:len(file)/2], err: ErrUnreadable},
		"too large":            {file: bytes.Repeat([]byte{'x'}, MaxSize+1), err: ErrTooLarge},
		"a page that is broken": {
			file: onePage(stream("/Filter /FlateDecode", "this is not deflated")), err: ErrUnreadable,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := Text(t.Context(), bytes.NewReader(tt.file))
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.text, text)
		})
	}
}

// hostile are files that say what is not so, to have time or memory spent.
func hostile(t testing.TB) map[string][]byte {
	words := strings.Repeat("(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) Tj ", 1<<10)
	pages := "<< /Type /Catalog /Pages 2 0 R >>"
	table := build(pages)
	start := bytes.Index(table, []byte("xref\n"))
	return map[string][]byte{
		"text without end":     onePage(stream("/Filter /FlateDecode", endless(t, "BT /F1 12 Tf ", words, 1<<9))),
		"a string without end": onePage(stream("/Filter /FlateDecode", endless(t, "BT (((((", words, 6<<10))),
		"a table of billions":  append(bytes.Clone(table[:start]), fmt.Sprintf("xref\n4000000000 1\n0000000000 00000 n \ntrailer\n<< /Size 2 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", start)...),
		"a column of billions": onePage(stream("/Filter /FlateDecode /DecodeParms << /Predictor 12 /Columns 400000000000 >>", deflated(t, "x"))),
		"pages in a circle":    build(pages, "<< /Type /Pages /Kids [2 0 R] /Count 9 >>"),
	}
}

// Whatever a file says, reading it ends soon, and this process has none of it.
func TestHostile(t *testing.T) {
	for name, file := range hostile(t) {
		t.Run(name, func(t *testing.T) {
			require.Less(t, len(file), MaxSize, "it must be read to hurt")
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			work := 500 * time.Millisecond   // several times what an ordinary file takes
			if name == "pages in a circle" { // for ever, so that the bound itself is seen to hold
				work = maxWork
			}
			text, err := textWithin(t.Context(), bytes.NewReader(file), work)
			require.Error(t, err)
			require.Empty(t, text)
			require.Less(t, time.Since(began), maxTime+3*time.Second)
			runtime.ReadMemStats(&after)
			require.Less(t, after.HeapSys, before.HeapSys+256<<20)
		})
	}
}

// A caller who leaves is not read for any more.
func TestTextEndsWithItsCaller(t *testing.T) {
	circle := build("<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [2 0 R] /Count 9 >>")
	ctx, leave := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, leave)
	began := time.Now()
	_, err := Text(ctx, bytes.NewReader(circle))
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(began), maxTime/2)
}

// The reading process knows nothing of this one.
func TestWorkerHasNoSecrets(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "sk-secret")
	for _, setting := range workerEnv {
		require.NotContains(t, setting, "sk-secret")
	}
	require.Len(t, workerEnv, 2)
	require.NotNil(t, workerEnv, "nil would mean all of ours")
}

// No file breaks the reader in a way that is not an error.
func FuzzTextOf(f *testing.F) {
	f.Add(read(f, "lease.pdf"))
	f.Add(read(f, "encrypted.pdf"))
	f.Add(onePage(stream("", "BT /F1 12 Tf [(a) -300 (b)] TJ ET")))
	f.Fuzz(func(t *testing.T, file []byte) {
		if bytes.Contains(file, []byte("Prev")) || len(file) > 4<<10 {
			t.Skip() // what only the process's bounds hold
		}
		_, _ = Text(t.Context(), bytes.NewReader(file))
	})
}
