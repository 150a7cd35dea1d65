package portal

import (
	"net/http"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/specialist"
)

func (h *Handler) specialistRoutes() {
	h.handle("/specialists", methods{
		http.MethodGet:  forUsers(h.listSpecialists),
		http.MethodPost: h.forEditors(h.createSpecialist),
	})
	h.handle("/specialists/{id}", methods{
		http.MethodGet:    forUsers(h.getSpecialist),
		http.MethodPut:    h.forEditors(h.updateSpecialist),
		http.MethodDelete: h.forEditors(h.deleteSpecialist),
	})
	h.handle("/specialists/{id}/duplicate", methods{http.MethodPost: h.forEditors(h.duplicateSpecialist)})
	h.handle("/specialists/{id}/pin", methods{http.MethodPost: h.forEditors(h.pinSpecialist)})
	h.handle("/specialists/{id}/history", methods{http.MethodGet: forAdmins(h.specialistHistory)})
	h.handle("/specialists/{id}/revert", methods{http.MethodPost: h.forEditors(h.revertSpecialist)})
	h.handle("/specialists/export", methods{http.MethodGet: h.forEditors(h.exportSpecialists)})
	h.handle("/specialists/import", methods{http.MethodPost: h.forEditors(h.importSpecialists)})
}

// specialistView is a specialist as one caller may see it. Its own two members
// stand before those of the same name inside, and are left out when nil.
type specialistView struct {
	*specialist.Specialist
	SystemPrompt  *string                     `json:"system_prompt,omitempty"`
	PromptHistory *[]specialist.PromptVersion `json:"prompt_history,omitempty"`
}

// viewOf shows the prompts to admins only: they are what a specialist's makers
// would not want copied.
func viewOf(s *specialist.Specialist, p *identity.Principal) specialistView {
	if p.Role() == identity.RoleAdmin {
		return wholeView(s)
	}
	return specialistView{Specialist: s}
}

func wholeView(s *specialist.Specialist) specialistView {
	history := append([]specialist.PromptVersion{}, s.PromptHistory...) // [] when there is none, not null
	return specialistView{Specialist: s, SystemPrompt: &s.SystemPrompt, PromptHistory: &history}
}

// listSpecialists gives those that the caller's token is good for.
func (h *Handler) listSpecialists(w http.ResponseWriter, _ *http.Request, p *identity.Principal) error {
	views := []specialistView{}
	for _, s := range h.o.Specialists.List() {
		if p.MayUse(s.ID) {
			views = append(views, viewOf(s, p))
		}
	}
	return writeJSON(w, map[string]any{"specialists": views})
}

func (h *Handler) getSpecialist(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	s, err := h.visibleSpecialist(r, p)
	if err != nil {
		return err
	}
	return writeJSON(w, viewOf(s, p))
}

// visibleSpecialist finds by id alone: an alias is a name for calls, not a
// resource.
func (h *Handler) visibleSpecialist(r *http.Request, p *identity.Principal) (*specialist.Specialist, error) {
	id := r.PathValue("id")
	s, ok := h.o.Specialists.Get(id)
	if !ok || s.ID != id || !p.MayUse(id) {
		return nil, &llm.Error{Cause: llm.CauseNotFound, Message: "there is no specialist of this id"}
	}
	return s, nil
}
