package execute

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
)

// MayRun says why a caller may not run a plan: a step of it, by name, is one that
// their token is not good for, or that is not there. nil: they may.
func (e *Executor) MayRun(caller *identity.Principal, plan *pipeline.Plan) *llm.Error {
	if caller != nil && caller.Specialists != nil && !slices.ContainsFunc(plan.Steps, isModel) {
		return &llm.Error{Cause: llm.CauseForbidden, Message: "your token is for some specialists only, and this pipeline asks none"}
	}
	for _, s := range plan.Steps {
		if !isModel(s) {
			continue
		}
		if err := e.o.Models.MayDo(callOf(s, caller, "")); err != nil {
			named := *err
			named.Message = fmt.Sprintf("step %q: %s", s.Name, err.Message)
			return &named
		}
	}
	return nil
}

func isModel(s *pipeline.PlanStep) bool { return s.Kind() == pipeline.KindModel }

// callOf is the call of a model step, still without messages.
func callOf(s *pipeline.PlanStep, caller *identity.Principal, run string) gateway.Call {
	return gateway.Call{
		Caller:       caller,
		Label:        gateway.Label{ID: s.Name, Name: s.Name, Run: run, Step: s.Name},
		Specialist:   s.Specialist,
		Provider:     s.Provider,
		Model:        s.Model,
		SystemPrompt: s.SystemPrompt,
		Temperature:  s.Temperature,
		MaxTokens:    s.MaxTokens,
		Fallbacks:    s.Fallbacks,
		Output:       outputOf(s),
	}
}

// outputOf is the form of the answer, for upstreams that can be told: they know
// schemas of objects. Without a schema any JSON is good, while "an object" is all
// that they know; there the prompt has to say it.
func outputOf(s *pipeline.PlanStep) *llm.OutputFormat {
	var root struct {
		Type any `json:"type"`
	}
	if s.Format != pipeline.FormatJSON || json.Unmarshal(s.Schema, &root) != nil || root.Type != "object" {
		return nil
	}
	return &llm.OutputFormat{Kind: llm.OutputJSONSchema, Name: s.Name, Schema: s.Schema}
}
