package roundtrip_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
)

// forward writes the request for the model that answered, twice: refusing what
// cannot be said, and leaving it out.
func (t *trip) forward() error {
	t.heard.Model = t.model
	refusing := &dialect.Unsaid{Source: t.theirs, Target: t.to}
	options := dialect.EncodeOptions{Unsaid: refusing, StrictChat: t.oneIn(2), AskUsage: true}
	strict, err := t.ours.EncodeRequest(t.heard, options)
	dropping := &dialect.Unsaid{Drop: true, Source: t.theirs, Target: t.to}
	options.Unsaid = dropping
	lax, laxErr := t.ours.EncodeRequest(t.heard, options)
	if laxErr != nil {
		return fmt.Errorf("refused although it may be left out: %w", laxErr)
	}
	switch {
	case err == nil && string(strict) != string(lax):
		return fmt.Errorf("written differently:\n%s\n%s", strict, lax)
	case err != nil:
		refusal, ok := errors.AsType[*llm.Error](err)
		if !ok || refusal.Cause != llm.CauseInvalidRequest || !slices.Contains(dropping.Dropped, refusal.Param) {
			return fmt.Errorf("refused %w, and left out %q", err, dropping.Dropped)
		}
	}
	t.encoded, t.dropped = lax, dropping.Dropped
	if dialect.Sealed(lax, dialect.Gemini) && !dialect.Sealed([]byte(strings.Join([]string{string(t.next)}, "")), dialect.Gemini) {
		return fmt.Errorf("a token reaches the model: %s", lax)
	}
	if t.understood, err = t.ours.DecodeRequest(lax, dialect.DecodeOptions{Seal: dialect.NoSeal{}}); err != nil {
		return fmt.Errorf("%w: %s", err, lax)
	}
	for _, path := range t.dropped {
		if !t.mayLeaveOut(path) {
			return fmt.Errorf("%s was left out, which the format can say", path)
		}
	}
	want := spoken(t.kept(), t.to, t.from, options.StrictChat)
	if err := t.sameIDs(); err != nil {
		return err
	}
	return t.compare(want, t.understood, t.to, t.dropped)
}

// mayLeaveOut says that what stands at a path is not to be said in the model's
// format.
func (t *trip) mayLeaveOut(path string) bool {
	if isName(path) {
		return t.to != dialect.OpenAIChat
	}
	for _, field := range unsayable[t.to] {
		name := t.theirs.FieldPath(field)
		if name == "" {
			name = string(field)
		}
		if path == name || strings.HasPrefix(path, name+"[") {
			return true
		}
	}
	for _, m := range t.heard.Messages {
		for _, p := range m.Parts {
			at := t.theirs.PartPath(p.Base().Pos)
			if unsayablePart(t.to, p, false) && (path == at || path == at+".detail" || strings.HasPrefix(path, at+".")) {
				return true
			}
			if result, ok := p.(*llm.ToolResult); ok {
				for _, inner := range result.Parts {
					if unsayablePart(t.to, inner, true) && path == t.theirs.PartPath(inner.Base().Pos) {
						return true
					}
				}
			}
		}
	}
	return false
}

// kept is the request as heard without the parts, and the members of parts, that
// were left out and noted.
func (t *trip) kept() *llm.Request {
	r := t.heard.Clone()
	for i := range r.Messages {
		r.Messages[i].Parts = mapParts(r.Messages[i].Parts, t.keep)
	}
	return r
}

func (t *trip) keep(p llm.Part) llm.Part {
	path := t.theirs.PartPath(p.Base().Pos)
	noted := slices.Contains(t.dropped, path)
	switch p := p.(type) {
	case *llm.ToolResult:
		inner := new(*p)
		inner.Parts = mapParts(p.Parts, t.keep)
		if !noted || len(inner.Parts) < len(p.Parts) {
			return inner // its place is that of what is in it
		}
	case *llm.Text: // all formats have it
		return p
	case *llm.Media:
		if slices.Contains(t.dropped, path+".detail") {
			plain := new(*p)
			plain.Detail = ""
			return plain
		}
	}
	if noted {
		return nil
	}
	return p
}

// sameIDs checks that the model gets its own ids of calls back.
func (t *trip) sameIDs() error {
	ids := map[string]bool{}
	for _, m := range t.understood.Messages {
		for _, p := range m.Parts {
			switch p := p.(type) {
			case *llm.ToolCall:
				ids[p.ID] = true
			case *llm.ToolResult:
				if !ids[p.CallID] {
					return fmt.Errorf("a result of %s, which is no call before it", p.CallID)
				}
			}
		}
	}
	for _, p := range t.c.answer.Choices[0].Parts {
		if c, ok := p.(*llm.ToolCall); ok && !ids[c.ID] && (!c.Custom || !slices.ContainsFunc(t.dropped, isTools)) {
			return fmt.Errorf("the model's call %s comes back under another id: %s", c.ID, t.encoded)
		}
	}
	return nil
}

func isTools(path string) bool { return strings.HasPrefix(path, "tools") }

// moveOn writes the request for another model of the same format, which must get
// no state of the first.
func (t *trip) moveOn() error {
	if !t.oneIn(8) {
		return nil
	}
	r := t.heard.Clone()
	r.Model = "another-model"
	secrets := map[string]bool{}
	for i := range r.Messages {
		var kept []llm.Part
		for _, p := range r.Messages[i].Parts {
			o := p.Base().Opaque
			if o == nil || o.Model == "" {
				kept = append(kept, p)
				continue
			}
			if o.Model != t.model || o.Format != t.to {
				return fmt.Errorf("state of %s of %s", o.Model, o.Format)
			}
			if len(o.Value) > 16 {
				secrets[o.Value] = true
			}
			switch p := p.(type) {
			case *llm.Text:
				p = new(*p)
				p.Opaque = nil
				kept = append(kept, p)
			case *llm.ToolCall:
				p = new(*p)
				p.Opaque = nil
				kept = append(kept, p)
			}
		}
		r.Messages[i].Parts = kept
	}
	to := pick(t.dice, formats...)
	unsaid := &dialect.Unsaid{Drop: true, Source: t.theirs, Target: to}
	another := codec(to, "another-model", t.up)
	body, err := another.EncodeRequest(r, dialect.EncodeOptions{Unsaid: unsaid})
	if err != nil {
		return err
	}
	for s := range secrets {
		if strings.Contains(string(body), s) {
			return fmt.Errorf("%s gets the state %s of %s: %s", to, s, t.model, body)
		}
	}
	if _, err := another.DecodeRequest(body, dialect.DecodeOptions{Seal: dialect.NoSeal{}}); err != nil {
		return fmt.Errorf("%s does not understand: %w: %s", to, err, body)
	}
	return nil
}
