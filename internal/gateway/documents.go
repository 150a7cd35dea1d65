package gateway

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/portalchat"
	"github.com/financecommander/tollgate/internal/document"
	"github.com/financecommander/tollgate/internal/llm"
)

// documentText is what reading a document's text came to.
type documentText struct {
	text string
	err  error
}

// legible puts the text of documents in their place where a target cannot be sent
// the documents, and they say that this will do. They are read only then, and
// once for all targets of a call. request is the target's own, its parts are not.
func (ex *exchange) legible(request *llm.Request, a *attempt, format dialect.Name) error {
	if a.target.provider.TakesDocuments(format) {
		return nil
	}
	for i, message := range request.Messages {
		if !hasDocuments(message) {
			continue
		}
		parts := make([]llm.Part, 0, len(message.Parts))
		for _, part := range message.Parts {
			if m, ok := part.(*llm.Media); ok && m.OrText {
				text, err := ex.textOf(m)
				if err != nil {
					return err
				}
				part = text
			}
			parts = append(parts, part)
		}
		request.Messages[i].Parts = parts
	}
	return nil
}

func hasDocuments(m llm.Message) bool {
	for _, part := range m.Parts {
		if media, ok := part.(*llm.Media); ok && media.OrText {
			return true
		}
	}
	return false
}

// textOf gives a document as text, or says to its sender why it has none.
func (ex *exchange) textOf(m *llm.Media) (*llm.Text, error) {
	found, ok := ex.texts[m]
	if !ok {
		found.text, found.err = document.Text(ex.r.Context(), base64.NewDecoder(base64.StdEncoding, strings.NewReader(m.Data)))
		if ex.texts == nil {
			ex.texts = make(map[*llm.Media]documentText)
		}
		ex.texts[m] = found
	}
	switch {
	case found.err == nil:
		return &llm.Text{Common: m.Common, Text: portalchat.DocumentText(m.Name, found.text)}, nil
	case ex.r.Context().Err() != nil:
		return nil, clientGone(ex.r)
	}
	at := portalchat.Names{}.PartPath(m.Pos)
	if errors.Is(found.err, document.ErrUnavailable) {
		return nil, &llm.Error{Cause: llm.CauseUnavailable, Param: at + ".data_base64", Message: "the PDF in " + at + " " + document.ErrUnavailable.Error() + "; try again shortly", Err: found.err}
	}
	reason := found.err
	for _, known := range document.Reasons {
		if errors.Is(found.err, known) {
			reason = known // without what is for the log
		}
	}
	return nil, &llm.Error{
		Cause: llm.CauseInvalidRequest, Param: at + ".data_base64", Err: found.err,
		Message: "the PDF in " + at + " " + reason.Error() + ", and this model takes the text of a PDF only: leave it out, or choose a model that takes PDF files",
	}
}
