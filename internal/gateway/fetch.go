package gateway

import (
	"context"
	"encoding/base64"
	"strings"

	"github.com/financecommander/tollgate/internal/egress"
	"github.com/financecommander/tollgate/internal/llm"
)

// FetchWith makes a Fetch of the guarded client for addresses that callers name.
func FetchWith(client *egress.Client) Fetch {
	return func(ctx context.Context, m *llm.Media) (*llm.Media, error) {
		mime, content, err := client.Fetch(ctx, m.URL)
		if err != nil {
			return nil, &llm.Error{
				Cause: llm.CauseInvalidRequest, Code: "media_not_fetched", Err: err,
				Message: "the upstream takes media as content only, and the address given for it could not be fetched: " + err.Error(),
			}
		}
		if kind := kindOf(mime); kind != m.Kind {
			return nil, &llm.Error{
				Cause: llm.CauseInvalidRequest, Code: "media_not_fetched",
				Message: "the address given for an item of the kind " + string(m.Kind) + " leads to something else",
			}
		}
		inline := *m
		inline.URL, inline.MIME, inline.Data = "", mime, base64.StdEncoding.EncodeToString(content)
		return &inline, nil
	}
}

// kindOf is the kind of media that a content type is.
func kindOf(mime string) llm.MediaKind {
	switch family, _, _ := strings.Cut(mime, "/"); family {
	case "image":
		return llm.MediaImage
	case "audio":
		return llm.MediaAudio
	case "video":
		return llm.MediaVideo
	default:
		return llm.MediaDocument
	}
}
