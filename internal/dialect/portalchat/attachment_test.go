package portalchat_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect/portalchat"
	"github.com/financecommander/tollgate/internal/llm"
)

// The first bytes of files, which tell what they are.
const (
	png  = "\x89PNG\r\n\x1a\nxxxx"
	jpeg = "\xff\xd8\xff\xe0xxxx"
	gif  = "GIF89axxxx"
	webp = "RIFF\x10\x00\x00\x00WEBPVP8 xxxx"
	pdf  = "%PDF-1.4\n%%EOF"
)

// file is an attachment as the frontend sends it.
type file map[string]any

func attach(name, contentType, content string) file {
	return file{"filename": name, "content_type": contentType, "data_base64": base64.StdEncoding.EncodeToString([]byte(content)), "size_bytes": len(content)}
}

func (f file) with(field string, value any) file {
	f[field] = value
	return f
}

func withFiles(t *testing.T, files ...file) []byte {
	t.Helper()
	body, err := json.Marshal(map[string]any{"specialist_id": "a", "message": "What is it?", "attachments": files})
	require.NoError(t, err)
	return body
}

func TestAttachments(t *testing.T) {
	encoded := func(content string) string { return base64.StdEncoding.EncodeToString([]byte(content)) }
	image := func(mime, content string) llm.Part {
		return &llm.Media{Kind: llm.MediaImage, MIME: mime, Data: encoded(content)}
	}
	text := func(text string) llm.Part { return &llm.Text{Text: text} }
	tests := map[string]struct {
		file file
		want llm.Part
	}{
		"png":                    {attach("a.png", "image/png", png), image("image/png", png)},
		"jpeg":                   {attach("a.jpg", "image/jpeg", jpeg), image("image/jpeg", jpeg)},
		"jpeg by its other name": {attach("a.jpg", "image/jpg", jpeg), image("image/jpeg", jpeg)},
		"gif":                    {attach("a.gif", "IMAGE/GIF", gif), image("image/gif", gif)},
		"webp":                   {attach("a.webp", "image/webp", webp), image("image/webp", webp)},
		"an image, undeclared":   {attach("a", "", png), image("image/png", png)},
		"no size":                {attach("a.png", "image/png", png).with("size_bytes", nil), image("image/png", png)},
		"pdf": {
			attach("lease.pdf", "application/pdf", pdf),
			&llm.Media{Kind: llm.MediaDocument, MIME: "application/pdf", Data: encoded(pdf), Name: "lease.pdf", OrText: true},
		},
		"a byte":                   {attach("a.txt", "text/plain", "x"), text("<document name=\"a.txt\">\nx\n</document>")},
		"text":                     {attach("a.txt", "text/plain; charset=utf-8", "Grüße\n"), text("<document name=\"a.txt\">\nGrüße\n</document>")},
		"text with a mark":         {attach("a.txt", "text/plain", "\ufeffa"), text("<document name=\"a.txt\">\na\n</document>")},
		"csv":                      {attach("a.csv", "text/csv", "a;b\n1;2"), text("<document name=\"a.csv\">\na;b\n1;2\n</document>")},
		"csv where Excel is":       {attach("a.CSV", "application/vnd.ms-excel", "a;b"), text("<document name=\"a.CSV\">\na;b\n</document>")},
		"markdown":                 {attach("a.md", "text/markdown", "# A"), text("<document name=\"a.md\">\n# A\n</document>")},
		"markdown with markup":     {attach("a.md", "text/markdown", "<h1>A</h1>"), text("<document name=\"a.md\">\n<h1>A</h1>\n</document>")},
		"text, undeclared":         {attach("a.md", "application/octet-stream", "# A"), text("<document name=\"a.md\">\n# A\n</document>")},
		"no name":                  {attach("", "text/plain", "x"), text("<document name=\"document\">\nx\n</document>")},
		"a name of many lines":     {attach("../../etc/a\r\nb\u2028\u202ec\x00\".txt", "text/plain", "x"), text("<document name=\"a  b c&quot;.txt\">\nx\n</document>")},
		"a name with a folder":     {attach(`C:\docs\<a>&.txt`, "text/plain", "x"), text("<document name=\"&lt;a&gt;&amp;.txt\">\nx\n</document>")},
		"a name that is very long": {attach(strings.Repeat("ü", 300), "text/plain", "x"), text("<document name=\"" + strings.Repeat("ü", 200) + "\">\nx\n</document>")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := portalchat.Decode(withFiles(t, tt.file))
			require.NoError(t, err)
			messages := r.LLM(false).Messages
			question := llm.Text{Common: llm.Common{Pos: llm.Pos{Message: -1, Part: -1}}, Text: "What is it?"}
			require.Empty(t, cmp.Diff([]llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{tt.want, &question}}}, messages))
		})
	}
}

func TestAttachmentsRefused(t *testing.T) {
	tests := map[string]struct {
		file           file
		field, message string
	}{
		"nothing":                  {file{}, "data_base64", "attachments[1].data_base64 is required and may not be empty"},
		"url base64":               {attach("a", "text/plain", "x").with("data_base64", "_-8="), "data_base64", "attachments[1].data_base64 must be standard base64 with padding"},
		"no padding":               {attach("a", "text/plain", "x").with("data_base64", "eA"), "data_base64", "attachments[1].data_base64 must be standard base64 with padding"},
		"a data URL":               {attach("a", "text/plain", "x").with("data_base64", "data:text/plain;base64,eA=="), "data_base64", "attachments[1].data_base64 must be standard base64 with padding"},
		"too large":                {attach("a", "text/plain", strings.Repeat("x", 10<<20+1)), "data_base64", "attachments[1].data_base64 has more than 10 MiB"},
		"too large, and no base64": {attach("a", "text/plain", "x").with("data_base64", strings.Repeat("-", 14<<20)), "data_base64", "attachments[1].data_base64 has more than 10 MiB"},
		"another size":             {attach("a", "text/plain", "x").with("size_bytes", 2), "size_bytes", "attachments[1].size_bytes is 2, but the data are 1 bytes"},
		"a size of text":           {attach("a", "text/plain", "x").with("size_bytes", "1"), "size_bytes", "attachments[1].size_bytes has the wrong type"},
		"no media type":            {attach("a", "x y", "x"), "content_type", "attachments[1].content_type is no media type; JPEG, PNG, GIF and WebP images, PDF, and plain text, CSV and Markdown in UTF-8 can be attached"},
		"a program":                {attach("a.exe", "application/x-msdownload", "MZ"), "content_type", "attachments[1] is of a type that is not taken; JPEG, PNG, GIF and WebP images, PDF, and plain text, CSV and Markdown in UTF-8 can be attached"},
		"a program, undeclared":    {attach("a.exe", "", "MZ\x00\x01"), "content_type", "attachments[1] is of a type that is not taken; JPEG, PNG, GIF and WebP images, PDF, and plain text, CSV and Markdown in UTF-8 can be attached"},
		"svg":                      {attach("a.svg", "image/svg+xml", "<svg/>"), "content_type", "attachments[1] is of a type that is not taken; JPEG, PNG, GIF and WebP images, PDF, and plain text, CSV and Markdown in UTF-8 can be attached"},
		"a table that is none":     {attach("a.xls", "application/vnd.ms-excel", "x"), "content_type", "attachments[1] is of a type that is not taken; JPEG, PNG, GIF and WebP images, PDF, and plain text, CSV and Markdown in UTF-8 can be attached"},
		"another image":            {attach("a.png", "image/png", jpeg), "content_type", "attachments[1] is declared as image/png, but its content is not"},
		"text for an image":        {attach("a.png", "image/png", "hello"), "content_type", "attachments[1] is declared as image/png, but its content is not"},
		"an image for a PDF":       {attach("a.pdf", "application/pdf", png), "content_type", "attachments[1] is declared as application/pdf, but its content is not"},
		"a PDF for text":           {attach("a.txt", "text/plain", pdf), "data_base64", "attachments[1] is declared as text/plain, but its content is not text in UTF-8"},
		"Latin-1":                  {attach("a.txt", "text/plain", "Gr\xfc\xdfe"), "data_base64", "attachments[1] is declared as text/plain, but its content is not text in UTF-8"},
		"UTF-16":                   {attach("a.csv", "text/csv", "\xff\xfea\x00"), "data_base64", "attachments[1] is declared as text/csv, but its content is not text in UTF-8"},
		"a zero far behind":        {attach("a.txt", "text/plain", strings.Repeat("x", 1000)+"\x00"), "data_base64", "attachments[1] is declared as text/plain, but its content is not text in UTF-8"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := portalchat.Decode(withFiles(t, attach("ok.txt", "text/plain", "fine"), tt.file))
			e, ok := errors.AsType[*llm.Error](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, "attachments[1]."+tt.field, e.Param)
			require.Equal(t, tt.message, e.Message)
			require.Equal(t, 422, e.Status())
		})
	}
}

func TestFiveAttachmentsOfTheLargestSize(t *testing.T) {
	var files []file
	for i := range 5 {
		files = append(files, attach(fmt.Sprintf("%d.png", i), "image/png", png+strings.Repeat("x", 10<<20-len(png))))
	}
	body := withFiles(t, files...)
	require.Less(t, len(body), 72<<20)
	r, err := portalchat.Decode(body)
	require.NoError(t, err)
	require.Len(t, r.LLM(true).Messages[0].Parts, 6)
	for i, part := range r.LLM(true).Messages[0].Parts[:5] {
		require.Equal(t, fmt.Sprintf("attachments[%d]", i), portalchat.Names{}.PartPath(part.Base().Pos))
	}
	require.Equal(t, "message", portalchat.Names{}.PartPath(r.LLM(true).Messages[0].Parts[5].Base().Pos))
}

// What a call is estimated by holds the text of files.
func TestAttachedTextIsCounted(t *testing.T) {
	r, err := portalchat.Decode(withFiles(t, attach("a.txt", "text/plain", "lorem ipsum")))
	require.NoError(t, err)
	require.Contains(t, string(portalchat.Call{Request: r}.AppendText(nil, 1000)), "lorem ipsum")
}

func TestDecodeDirect(t *testing.T) {
	r, err := portalchat.DecodeDirect([]byte(`{"provider":"openai","model":"gpt-4o","specialist_id":"x","message":"Hi","temperature":0,"max_tokens":32768,
		"conversation_history":[{"role":"assistant","content":"Yes?"}],"attachments":[{"content_type":"text/plain","data_base64":"eA=="}]}`))
	require.NoError(t, err)
	call := portalchat.Call{Request: r, Streaming: true}
	require.Equal(t, "openai/gpt-4o", call.Model())
	require.Equal(t, int64(32768), call.MaxTokens())
	said := r.LLM(true)
	require.Equal(t, "openai/gpt-4o", said.Model)
	require.Equal(t, int64(32768), said.MaxTokens)
	require.Equal(t, new(0.0), said.Temperature)
	require.Len(t, said.Messages, 2)

	r, err = portalchat.DecodeDirect([]byte(`{"provider":"openai","model":"gpt-4o","message":"Hi","temperature":null,"max_tokens":null}`))
	require.NoError(t, err)
	require.Nil(t, r.LLM(true).Temperature)
	require.Zero(t, r.LLM(true).MaxTokens)
}

func TestDecodeDirectRefuses(t *testing.T) {
	with := func(members string) string {
		return `{"provider":"openai","model":"gpt-4o","message":"Hi",` + members + `}`
	}
	tests := map[string]struct{ body, param, message string }{
		"no provider":        {`{"model":"gpt-4o","message":"Hi"}`, "provider", "provider is required"},
		"no model":           {`{"provider":"openai","message":"Hi","model":" "}`, "model", "model is required"},
		"a long model":       {`{"provider":"openai","message":"Hi","model":"` + strings.Repeat("x", 201) + `"}`, "model", "model must have at most 200 characters"},
		"no message":         {`{"provider":"openai","model":"gpt-4o"}`, "message", "message is required"},
		"too hot":            {with(`"temperature":2.1`), "temperature", "temperature must be 0 to 2"},
		"too cold":           {with(`"temperature":-0.1`), "temperature", "temperature must be 0 to 2"},
		"temperature's type": {with(`"temperature":"1"`), "temperature", "temperature has the wrong type"},
		"no tokens":          {with(`"max_tokens":0`), "max_tokens", "max_tokens must be 1 to 32768"},
		"too many tokens":    {with(`"max_tokens":32769`), "max_tokens", "max_tokens must be 1 to 32768"},
		"half a token":       {with(`"max_tokens":1.5`), "max_tokens", "max_tokens has the wrong type"},
		"a wrong attachment": {with(`"attachments":[{}]`), "attachments[0].data_base64", "attachments[0].data_base64 is required and may not be empty"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := portalchat.DecodeDirect([]byte(tt.body))
			e, ok := errors.AsType[*llm.Error](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, tt.param, e.Param)
			require.Equal(t, tt.message, e.Message)
			require.Equal(t, 422, e.Status())
		})
	}
}
