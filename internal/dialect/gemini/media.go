package gemini

import (
	"strings"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// filesAPI begins the URIs of files uploaded to the provider.
const filesAPI = "https://generativelanguage.googleapis.com/"

func inlineMedia(common llm.Common, b *blob, path string) (*llm.Media, error) {
	if b.MIMEType == "" {
		return nil, wire.Invalid(path+".mimeType", "is required")
	}
	data := standardBase64(b.Data)
	if !wire.ValidBase64(data) {
		return nil, wire.Invalid(path+".data", "must be base64")
	}
	m := &llm.Media{Common: common, Kind: mediaKind(b.MIMEType), MIME: b.MIMEType, Data: data, Name: b.DisplayName}
	m.Extra = mergeExtra(m.Extra, "inlineData.", b.Extra)
	return m, nil
}

func fileMedia(common llm.Common, f *fileData, path string) (*llm.Media, error) {
	if f.FileURI == "" {
		return nil, wire.Invalid(path+".fileUri", "is required")
	}
	m := &llm.Media{Common: common, Kind: mediaKind(f.MIMEType), MIME: f.MIMEType, Name: f.DisplayName}
	if strings.HasPrefix(f.FileURI, filesAPI) || !strings.Contains(f.FileURI, "://") {
		m.FileID = f.FileURI
	} else {
		m.URL = f.FileURI
	}
	if f.MIMEType == "" && isYouTube(f.FileURI) {
		m.Kind = llm.MediaVideo
	}
	m.Extra = mergeExtra(m.Extra, "fileData.", f.Extra)
	return m, nil
}

// responseMedia is a part of a function's response.
func responseMedia(common llm.Common, p *responsePart, path string) (*llm.Media, error) {
	common.Extra = extraOf(p.Extra)
	switch {
	case p.InlineData != nil:
		return inlineMedia(common, p.InlineData, path+".inlineData")
	case p.FileData != nil:
		return fileMedia(common, p.FileData, path+".fileData")
	}
	return nil, wire.Invalid(path, "must have inlineData or fileData")
}

func mediaKind(mime string) llm.MediaKind {
	kind, _, _ := strings.Cut(strings.ToLower(mime), "/")
	switch kind {
	case "image":
		return llm.MediaImage
	case "audio":
		return llm.MediaAudio
	case "video":
		return llm.MediaVideo
	}
	return llm.MediaDocument
}

// isYouTube says that a URL is of a video that Gemini fetches by itself.
func isYouTube(url string) bool {
	for _, prefix := range []string{"https://www.youtube.com/", "https://youtube.com/", "https://youtu.be/"} {
		if strings.HasPrefix(url, prefix) {
			return true
		}
	}
	return false
}
