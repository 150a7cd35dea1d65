package gateway_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/internal/upstreamtest/fakes"
)

// onePNG is a picture of one point.
const onePNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

func encodedFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	return base64.StdEncoding.EncodeToString(content)
}

// attached is a file of a chat request.
type attached struct {
	Name string `json:"filename"`
	Type string `json:"content_type"`
	Data string `json:"data_base64"`
}

func ask(t *testing.T, members map[string]any, files ...attached) string {
	t.Helper()
	body := map[string]any{"message": "say: I see", "attachments": files}
	maps.Copy(body, members)
	text, err := json.Marshal(body)
	require.NoError(t, err)
	return string(text)
}

func model(provider, model string) map[string]any {
	return map[string]any{"provider": provider, "model": model}
}

// textOfLease is what testdata/lease.pdf says.
const textOfLease = `<document name=\"lease.pdf\">\nLease agreement\nThe rent is 900 euros a month,\ndue on the first day.\nGrüße\n\nSecond page\n</document>`

// What each upstream's format gets for each kind of attachment.
func TestAttachmentsUpstream(t *testing.T) {
	pdf := encodedFile(t, "lease.pdf")
	files := map[string]attached{
		"image": {"dot.png", "image/png", onePNG},
		"pdf":   {"lease.pdf", "application/pdf", pdf},
		"text":  {"notes.md", "text/markdown", base64.StdEncoding.EncodeToString([]byte("# Notes\n"))},
	}
	const notes = `<document name=\"notes.md\">\n# Notes\n</document>`
	tests := map[string]struct {
		model  string
		path   string // of the user's parts in the body
		wanted map[string]string
	}{
		"openai": {"gpt-4o", "messages.0.content", map[string]string{
			"image": `[{"type":"image_url","image_url":{"url":"data:image/png;base64,PNG"}},{"type":"text","text":"say: I see"}]`,
			"pdf":   `[{"type":"file","file":{"filename":"lease.pdf","file_data":"data:application/pdf;base64,PDF"}},{"type":"text","text":"say: I see"}]`,
			"text":  `[{"type":"text","text":"` + notes + `"},{"type":"text","text":"say: I see"}]`,
		}},
		"responses": {"gpt-4o", "input.0.content", map[string]string{
			"image": `[{"type":"input_image","image_url":"data:image/png;base64,PNG"},{"type":"input_text","text":"say: I see"}]`,
			"pdf":   `[{"type":"input_file","file_data":"data:application/pdf;base64,PDF","filename":"lease.pdf"},{"type":"input_text","text":"say: I see"}]`,
			"text":  `[{"type":"input_text","text":"` + notes + `"},{"type":"input_text","text":"say: I see"}]`,
		}},
		"xai": {"grok-4", "messages.0.content", map[string]string{
			"image": `[{"type":"image_url","image_url":{"url":"data:image/png;base64,PNG"}},{"type":"text","text":"say: I see"}]`,
			"pdf":   `[{"type":"text","text":"` + textOfLease + `"},{"type":"text","text":"say: I see"}]`,
			"text":  `[{"type":"text","text":"` + notes + `"},{"type":"text","text":"say: I see"}]`,
		}},
		"anthropic": {"claude-sonnet-4-5", "messages.0.content", map[string]string{
			"image": `[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"PNG"}},{"type":"text","text":"say: I see"}]`,
			"pdf":   `[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"PDF"},"title":"lease.pdf"},{"type":"text","text":"say: I see"}]`,
			"text":  `[{"type":"text","text":"` + notes + `"},{"type":"text","text":"say: I see"}]`,
		}},
		"gemini": {"gemini-2.5-flash", "contents.0.parts", map[string]string{
			"image": `[{"inlineData":{"mimeType":"image/png","data":"PNG"}},{"text":"say: I see"}]`,
			"pdf":   `[{"inlineData":{"mimeType":"application/pdf","data":"PDF"}},{"text":"say: I see"}]`,
			"text":  `[{"text":"` + notes + `"},{"text":"say: I see"}]`,
		}},
	}
	responses := fakes.New(t, fakes.OpenAI)
	f := newFamily(t, func(o *gateway.Options) {
		o.Providers = append(o.Providers, configured(t, upstream.Config{
			Name: "responses", Preset: "openai", BaseURL: responses.BaseURL(), Keys: []secret.Secret{secret.New(fakes.Key)},
			Formats: []dialect.Name{dialect.OpenAIResponses},
		}))
	})
	servers := map[string]*fakes.Server{"openai": f.openai, "responses": responses, "xai": f.xai, "anthropic": f.anthropic, "gemini": f.gemini}
	rows := 0
	for provider, tt := range tests {
		for kind, file := range files {
			t.Run(provider+"/"+kind, func(t *testing.T) {
				a := f.post("/chat/direct/stream", ask(t, model(provider, tt.model), file))
				require.Equal(t, http.StatusOK, a.Status, a.Body)
				require.Contains(t, a.Body, "see")
				require.Empty(t, servers[provider].Problems())
				body := strings.NewReplacer(onePNG, "PNG", pdf, "PDF").Replace(string(servers[provider].Last().Body))
				require.JSONEq(t, tt.wanted[kind], at(t, body, tt.path))
				rows++
				require.True(t, f.ledger.wait(t, rows)[rows-1].Success)
			})
		}
	}
}

// at gives what stands at a path of a JSON text.
func at(t *testing.T, body, path string) string {
	t.Helper()
	for name := range strings.SplitSeq(path, ".") {
		var found json.RawMessage
		if name == "0" {
			var list []json.RawMessage
			require.NoError(t, json.Unmarshal([]byte(body), &list), body)
			found = list[0]
		} else {
			var members map[string]json.RawMessage
			require.NoError(t, json.Unmarshal([]byte(body), &members), body)
			found = members[name]
		}
		body = string(found)
	}
	return body
}

// Azure takes PDF files in one of its two formats, which is not its first.
func TestDocumentsChooseTheFormat(t *testing.T) {
	server := fakes.New(t, fakes.OpenAI)
	f := setup(t, nil, configured(t, upstream.Config{Name: "azure", BaseURL: server.BaseURL(), Auth: upstream.AuthBearer, Keys: []secret.Secret{secret.New(fakes.Key)}}))
	pdf := attached{"lease.pdf", "application/pdf", encodedFile(t, "lease.pdf")}
	f.post("/chat/direct/stream", ask(t, model("azure", "gpt-4o"), pdf))
	require.Contains(t, server.Last().Path, "/responses")
	f.post("/chat/direct/stream", ask(t, model("azure", "gpt-4o"), attached{"dot.png", "image/png", onePNG}))
	require.Contains(t, server.Last().Path, "/chat/completions")
}

// A document that has no text for a model which takes no documents is the
// caller's to mend: no upstream is asked.
func TestDocumentsWithoutText(t *testing.T) {
	broken := base64.StdEncoding.EncodeToString([]byte("%PDF-1.4\nnothing\n%%EOF\n"))
	for name, tt := range map[string]struct{ data, message string }{
		"encrypted": {encodedFile(t, "encrypted.pdf"), "the PDF in attachments[1] is protected by a password, and this model takes the text of a PDF only"},
		"broken":    {broken, "the PDF in attachments[1] cannot be read: it is damaged, or of a kind that is not known, and this model"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFamily(t, nil)
			note := attached{"a.txt", "text/plain", "eA=="}
			a := f.post("/chat/direct/stream", ask(t, model("xai", "grok-4"), note, attached{"secret-name.pdf", "application/pdf", tt.data}))
			require.Equal(t, http.StatusUnprocessableEntity, a.Status)
			text, _ := portalError(t, a)
			require.Contains(t, text, tt.message)
			require.Contains(t, a.Body, `"attachments[1].data_base64"`)
			require.Empty(t, f.xai.Requests())
			row := f.ledger.one(t)
			require.Equal(t, 0, row.Attempt)
			require.Equal(t, "direct", row.SpecialistID)
			require.NotContains(t, f.logs.String(), "secret-name")
		})
	}
}

// Where the first target cannot be asked about a document, another may.
func TestDocumentsFallBack(t *testing.T) {
	f := newFamily(t, func(o *gateway.Options) {
		o.Specialists = specialists{{ID: "reader", Name: "Reader", Provider: "xai", Model: "grok-4", Fallbacks: []specialist.Target{{Provider: "anthropic", Model: "claude-sonnet-4-5"}}}}
	})
	a := f.post("/chat/send", ask(t, map[string]any{"specialist_id": "reader"}, attached{"a.pdf", "application/pdf", encodedFile(t, "encrypted.pdf")}))
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Body, `"provider":"anthropic"`)
	require.Empty(t, f.xai.Requests())
	require.True(t, f.ledger.one(t).Success)
}

// A model that cannot see says so itself; the caller is told in its words.
func TestImageToAModelThatCannotSee(t *testing.T) {
	f, _ := setupPortal(t, upstreamtest.JSON(400, `{"error":{"message":"This model does not support image input.","type":"invalid_request_error"}}`))
	a := f.post("/chat/send", ask(t, map[string]any{"specialist_id": "helper"}, attached{"dot.png", "image/png", onePNG}))
	require.Equal(t, http.StatusBadRequest, a.Status)
	text, _ := portalError(t, a)
	require.Contains(t, text, "This model does not support image input.")
	require.Equal(t, llm.CauseUpstreamRejected, f.ledger.one(t).ErrorCause)
}

// The chat's bodies may be larger than all others, to a bound.
func TestChatBodyBounds(t *testing.T) {
	large := func(n int) attached {
		png, _ := base64.StdEncoding.DecodeString(onePNG)
		return attached{"a.png", "image/png", base64.StdEncoding.EncodeToString(append(png, bytes.Repeat([]byte{1}, n-len(png))...))}
	}
	f, server := setupPortal(t)
	five := []attached{large(10 << 20), large(10 << 20), large(10 << 20), large(10 << 20), large(10 << 20)}
	a := f.post("/chat/send", ask(t, map[string]any{"specialist_id": "helper"}, five...))
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Greater(t, len(server.Last().Body), 66<<20)

	a = f.post("/chat/send", strings.Repeat(" ", 72<<20+1))
	require.Equal(t, http.StatusRequestEntityTooLarge, a.Status)
	a = f.chat(`{"model":"openai/gpt-4o","messages":[{"role":"user","content":"` + strings.Repeat("x", 32<<20) + `"}]}`)
	require.Equal(t, http.StatusRequestEntityTooLarge, a.Status, "others are bounded as before")

	f = setup(t, func(o *gateway.Options) { withSpecialists(o); o.MaxBody = 1 << 20 }, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	a = f.post("/chat/send", ask(t, map[string]any{"specialist_id": "helper"}, large(1<<20)))
	require.Equal(t, http.StatusRequestEntityTooLarge, a.Status, "an operator's bound holds here, too")
}

// What large bodies take of the memory is bounded, and given back.
func TestChatRoom(t *testing.T) {
	server := upstreamtest.New(t)
	room := gateway.NewRoom(4 << 20)
	f := setup(t, func(o *gateway.Options) { withSpecialists(o); o.Room = room }, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	png, _ := base64.StdEncoding.DecodeString(onePNG)
	file := func(n int) attached {
		return attached{"a.png", "image/png", base64.StdEncoding.EncodeToString(append(bytes.Clone(png), make([]byte, n)...))}
	}
	helper := map[string]any{"specialist_id": "helper"}
	for range 3 {
		require.Equal(t, http.StatusOK, f.post("/chat/send", ask(t, helper, file(3<<20))).Status, "given back each time")
	}
	a := f.post("/chat/send", ask(t, helper, file(5<<20)))
	require.Equal(t, http.StatusServiceUnavailable, a.Status)
	require.Equal(t, "5", a.Header.Get("Retry-After"))
	text, _ := portalError(t, a)
	require.Contains(t, text, "attach less")

	share := room.Share("another")
	_, err := share.Reader(strings.NewReader(strings.Repeat("x", 4<<20))).Read(make([]byte, 4<<20))
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, f.post("/chat/send", ask(t, helper, file(3<<20))).Status)
	require.Equal(t, http.StatusOK, f.post("/chat/send", askHelper).Status, "small ones need none")
	share.Release()
	share.Release()
	require.Equal(t, http.StatusOK, f.post("/chat/send", ask(t, helper, file(3<<20))).Status)
}
