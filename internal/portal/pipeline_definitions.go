package portal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/catalog"
)

func (h *Handler) pipelineDefinitionRoutes() {
	const definitions = "/api/v2/pipelines/definitions"
	h.handle(definitions, methods{
		http.MethodGet:  h.forPipelineEditors(h.listDefinitions),
		http.MethodPost: h.forPipelineEditors(h.createDefinition),
	})
	h.handle(definitions+"/{name}", methods{
		http.MethodGet:    h.forPipelineEditors(h.getDefinition),
		http.MethodPut:    h.forPipelineEditors(h.updateDefinition),
		http.MethodDelete: h.forPipelineEditors(h.deleteDefinition),
	})
	h.handle(definitions+"/{name}/versions", methods{http.MethodGet: h.forPipelineEditors(h.definitionVersions)})
	h.handle(definitions+"/{name}/revert", methods{http.MethodPost: h.forPipelineEditors(h.revertDefinition)})
	h.handle(definitions+"/{name}/graph", methods{http.MethodGet: forUsers(h.definitionGraph)})
	h.handle("/api/v2/pipelines/validate", methods{http.MethodPost: h.forPipelineEditors(h.validateDefinition)})
	h.handle("/api/v2/pipelines/schema", methods{http.MethodGet: definitionSchema})
}

// pipelineEditing is what an admin does with the catalog.
type pipelineEditing func(http.ResponseWriter, *http.Request, catalog.Change) error

// forPipelineEditors passes on requests of admins. A token that is good for some
// specialists only edits nothing that asks others.
func (h *Handler) forPipelineEditors(serve pipelineEditing) handlerFunc {
	return forAdmins(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		switch {
		case p.Specialists != nil:
			return forbidden("your token is for using some specialists, not for editing pipelines")
		case h.o.Pipelines.Catalog == nil:
			return pipelinesOff()
		}
		return serve(w, r, catalog.Change{Actor: p, RequestID: requestID(w)})
	})
}

func pipelinesOff() error {
	return &llm.Error{Cause: llm.CauseNotFound, Message: "pipelines are turned off on this gateway"}
}

// definitionView is a pipeline as its makers see it.
type definitionView struct {
	Name        string           `json:"name"`
	DisplayName string           `json:"display_name"`
	Description string           `json:"description"`
	Category    string           `json:"category"`
	Source      catalog.Source   `json:"source"`
	File        string           `json:"file,omitempty"`
	Version     int64            `json:"version"`
	ReadOnly    bool             `json:"read_only"`
	UpdatedAt   *time.Time       `json:"updated_at"` // null: with the gateway
	Faults      []pipeline.Fault `json:"faults"`
	Definition  json.RawMessage  `json:"definition,omitempty"` // not in lists
}

func (h *Handler) definitionViewOf(e *catalog.Entry) definitionView {
	d := &e.Plan.Definition
	view := definitionView{
		Name: d.Name, DisplayName: d.DisplayName, Description: d.Description, Category: d.Category,
		Source: e.Source, File: e.File, Version: e.Version, ReadOnly: e.Source != catalog.FromDatabase,
		Faults: faultList(h.o.Pipelines.Catalog.Faults(e)),
	}
	if !e.UpdatedAt.IsZero() {
		view.UpdatedAt = &e.UpdatedAt
	}
	return view
}

// brokenView is a pipeline that cannot be used, for whoever can mend it.
func brokenView(b *catalog.Broken) definitionView {
	return definitionView{
		Name: b.Name, DisplayName: b.Name, Source: catalog.FromDatabase, Version: b.Version, UpdatedAt: &b.UpdatedAt,
		Faults: faultList(b.Faults),
	}
}

// faultList is never null.
func faultList(faults *pipeline.Faults) []pipeline.Fault {
	if faults == nil || faults.List == nil {
		return []pipeline.Fault{}
	}
	return faults.List
}

func (h *Handler) listDefinitions(w http.ResponseWriter, _ *http.Request, _ catalog.Change) error {
	list, broken := h.o.Pipelines.Catalog.List(), h.o.Pipelines.Catalog.Broken()
	views := make([]definitionView, 0, len(list)+len(broken))
	for _, e := range list {
		views = append(views, h.definitionViewOf(e))
	}
	for _, b := range broken {
		views = append(views, brokenView(b))
	}
	return writeJSON(w, map[string]any{"definitions": views, "count": len(views)})
}

func (h *Handler) getDefinition(w http.ResponseWriter, r *http.Request, _ catalog.Change) error {
	name := r.PathValue("name")
	if e, ok := h.o.Pipelines.Catalog.Get(name); ok {
		return h.writeDefinition(w, http.StatusOK, e, nil)
	}
	for _, b := range h.o.Pipelines.Catalog.Broken() {
		if b.Name == name {
			view := brokenView(b)
			view.Definition = asJSON(b.Definition)
			return writeJSON(w, view)
		}
	}
	return noPipeline()
}

func noPipeline() error {
	return &llm.Error{Cause: llm.CauseNotFound, Message: "there is no pipeline of this name"}
}

// writeDefinition answers with a whole pipeline, or says why there is none.
func (h *Handler) writeDefinition(w http.ResponseWriter, status int, e *catalog.Entry, err error) error {
	if err != nil {
		return definitionProblem(err)
	}
	view := h.definitionViewOf(e)
	view.Definition = e.Definition
	if status == http.StatusCreated {
		w.Header().Set("Location", "/api/v2/pipelines/definitions/"+e.Plan.Definition.Name)
	}
	return writeStatus(w, status, view)
}

// definitionProblem tells of each fault of a definition in the error's details.
func definitionProblem(err error) error {
	faults, ok := errors.AsType[*pipeline.Faults](err)
	if !ok {
		return err
	}
	list := faultList(faults)
	message := "the definition cannot be used"
	if len(list) > 0 {
		first := list[0]
		if message = first.Message; first.Path != "" {
			message = first.Path + ": " + message
		}
		message = fmt.Sprintf("the definition has %d faults; the first: %s", len(list), message)
	}
	return &llm.Error{
		Cause: llm.CauseInvalidRequest, HTTPStatus: http.StatusUnprocessableEntity,
		Message: message, Details: map[string]any{"faults": list},
	}
}

func (h *Handler) createDefinition(w http.ResponseWriter, r *http.Request, by catalog.Change) error {
	text, err := readBody(w, r, pipeline.MaxText)
	if err != nil {
		return err
	}
	e, err := h.o.Pipelines.Catalog.Create(r.Context(), by, text)
	return h.writeDefinition(w, http.StatusCreated, e, err)
}

func (h *Handler) updateDefinition(w http.ResponseWriter, r *http.Request, by catalog.Change) error {
	var version int64
	if given := r.URL.Query().Get("version"); given != "" {
		var err error
		if version, err = strconv.ParseInt(given, 10, 64); err != nil || version < 1 {
			return unprocessable("version", "must be a version, from 1")
		}
	}
	text, err := readBody(w, r, pipeline.MaxText)
	if err != nil {
		return err
	}
	e, err := h.o.Pipelines.Catalog.Update(r.Context(), by, r.PathValue("name"), version, text)
	return h.writeDefinition(w, http.StatusOK, e, err)
}

func (h *Handler) deleteDefinition(w http.ResponseWriter, r *http.Request, by catalog.Change) error {
	if err := h.o.Pipelines.Catalog.Delete(r.Context(), by, r.PathValue("name")); err != nil {
		return err
	}
	return writeJSON(w, map[string]bool{"deleted": true})
}

func (h *Handler) definitionVersions(w http.ResponseWriter, r *http.Request, _ catalog.Change) error {
	versions, err := h.o.Pipelines.Catalog.Versions(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeJSON(w, map[string]any{"versions": versions})
}

func (h *Handler) revertDefinition(w http.ResponseWriter, r *http.Request, by catalog.Change) error {
	var request struct {
		Version *int64 `json:"version"`
	}
	if err := readJSON(w, r, &request); err != nil {
		return err
	}
	if request.Version == nil {
		return unprocessable("version", "must be given")
	}
	e, err := h.o.Pipelines.Catalog.Revert(r.Context(), by, r.PathValue("name"), *request.Version)
	return h.writeDefinition(w, http.StatusOK, e, err)
}

// definitionGraph draws a pipeline: for its makers with all there is, for users an
// outline of those that they may run.
func (h *Handler) definitionGraph(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	o := &h.o.Pipelines
	if o.Catalog == nil {
		return pipelinesOff()
	}
	e, ok := o.Catalog.Get(r.PathValue("name"))
	switch {
	case !ok:
		return noPipeline()
	case p.Role() == identity.RoleAdmin && p.Specialists == nil:
		return writeJSON(w, map[string]string{"mermaid": e.Plan.Mermaid()})
	case !o.offers(p, e):
		return noPipeline()
	}
	return writeJSON(w, map[string]string{"mermaid": e.Plan.Outline()})
}

// validateDefinition says what is wrong with a definition and keeps nothing of it.
func (h *Handler) validateDefinition(w http.ResponseWriter, r *http.Request, _ catalog.Change) error {
	text, err := readBody(w, r, pipeline.MaxText)
	if err != nil {
		return err
	}
	var answer struct {
		Valid   bool             `json:"valid"`
		Faults  []pipeline.Fault `json:"faults"`
		Mermaid string           `json:"mermaid,omitempty"` // of one that has its parts, be they there or not
	}
	e, faults := h.o.Pipelines.Catalog.Validate(text)
	if e != nil {
		answer.Mermaid = e.Plan.Mermaid()
	}
	answer.Faults = faultList(faults)
	answer.Valid = len(answer.Faults) == 0
	return writeJSON(w, answer)
}

// definitionSchema is for editors, which send no token.
func definitionSchema(w http.ResponseWriter, r *http.Request) error {
	schema := servedSchema()
	header := w.Header()
	header.Set("Cache-Control", "public, max-age=3600")
	header.Set("Content-Type", "application/schema+json")
	header.Set("ETag", schema.tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(schema.text))
	return nil
}

type schemaFile struct {
	text []byte
	tag  string
}

var servedSchema = sync.OnceValue(func() schemaFile {
	text := pipeline.Schema()
	sum := sha256.Sum256(text)
	return schemaFile{text: text, tag: `"` + hex.EncodeToString(sum[:8]) + `"`}
})

// writeStatus answers with a JSON object and a status of its own.
func writeStatus(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the caller may have left; nobody is there to tell
	return nil
}
