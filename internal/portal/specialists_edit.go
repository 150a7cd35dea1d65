package portal

import (
	"net/http"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/specialist"
)

// maxImport bounds an import's body: hundreds of specialists with long histories.
const maxImport = 32 << 20

// editing is a change that an admin makes by the editor.
type editing func(http.ResponseWriter, *http.Request, specialist.Actor) error

// forEditors passes on requests of admins, with the name that the audit log has
// for them. A token that is good for some specialists only edits none.
func (h *Handler) forEditors(serve editing) handlerFunc {
	return forAdmins(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		switch {
		case p.Specialists != nil:
			return forbidden("your token is for using some specialists, not for editing any")
		case h.o.Editor == nil:
			return &llm.Error{Cause: llm.CauseNotFound, Message: "editing specialists is turned off on this gateway"}
		}
		return serve(w, r, specialist.Actor{UserHash: p.UserHash, RequestID: requestID(w)})
	})
}

// editedView is a specialist after a change, as an admin sees it.
type editedView struct {
	specialistView
	Warnings []string `json:"warnings,omitempty"`
}

func writeEdited(w http.ResponseWriter, edited *specialist.Edited, err error) error {
	if err != nil {
		return err
	}
	return writeJSON(w, editedView{wholeView(&edited.Specialist), edited.Warnings})
}

func (h *Handler) createSpecialist(w http.ResponseWriter, r *http.Request, by specialist.Actor) error {
	var patch specialist.Patch
	if err := readJSON(w, r, &patch); err != nil {
		return err
	}
	edited, err := h.o.Editor.Create(r.Context(), by, &patch)
	return writeEdited(w, edited, err)
}

func (h *Handler) updateSpecialist(w http.ResponseWriter, r *http.Request, by specialist.Actor) error {
	var patch specialist.Patch
	if err := readJSON(w, r, &patch); err != nil {
		return err
	}
	edited, err := h.o.Editor.Update(r.Context(), by, r.PathValue("id"), &patch)
	return writeEdited(w, edited, err)
}

func (h *Handler) deleteSpecialist(w http.ResponseWriter, r *http.Request, by specialist.Actor) error {
	if err := h.o.Editor.Delete(r.Context(), by, r.PathValue("id")); err != nil {
		return err
	}
	return writeJSON(w, map[string]bool{"deleted": true})
}

func (h *Handler) duplicateSpecialist(w http.ResponseWriter, r *http.Request, by specialist.Actor) error {
	edited, err := h.o.Editor.Duplicate(r.Context(), by, r.PathValue("id"))
	return writeEdited(w, edited, err)
}

func (h *Handler) pinSpecialist(w http.ResponseWriter, r *http.Request, by specialist.Actor) error {
	var request struct {
		Pinned *bool `json:"pinned"`
	}
	if err := readJSON(w, r, &request); err != nil {
		return err
	}
	if request.Pinned == nil {
		return unprocessable("pinned", "must be true or false")
	}
	edited, err := h.o.Editor.Pin(r.Context(), by, r.PathValue("id"), *request.Pinned)
	return writeEdited(w, edited, err)
}

func (h *Handler) revertSpecialist(w http.ResponseWriter, r *http.Request, by specialist.Actor) error {
	var request struct {
		Version *int `json:"version"`
	}
	if err := readJSON(w, r, &request); err != nil {
		return err
	}
	if request.Version == nil {
		return unprocessable("version", "must be given")
	}
	edited, err := h.o.Editor.Revert(r.Context(), by, r.PathValue("id"), *request.Version)
	return writeEdited(w, edited, err)
}

// specialistHistory gives the earlier prompts, oldest first.
func (h *Handler) specialistHistory(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	s, err := h.visibleSpecialist(r, p)
	if err != nil {
		return err
	}
	return writeJSON(w, map[string]any{"history": *viewOf(s, p).PromptHistory})
}

func (h *Handler) exportSpecialists(w http.ResponseWriter, r *http.Request, _ specialist.Actor) error {
	all, err := h.o.Editor.Export(r.Context())
	if err != nil {
		return err
	}
	views := make([]specialistView, len(all))
	for i := range all {
		views[i] = wholeView(&all[i])
	}
	return writeJSON(w, map[string]any{"specialists": views})
}

func (h *Handler) importSpecialists(w http.ResponseWriter, r *http.Request, by specialist.Actor) error {
	var document specialist.Document
	if err := readLargeJSON(w, r, maxImport, &document); err != nil {
		return err
	}
	done, err := h.o.Editor.Import(r.Context(), by, &document)
	if err != nil {
		return err
	}
	return writeJSON(w, done)
}
