package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/metrics"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/usage"
)

// Call is a model call that the gateway makes for a caller by itself: a step of a
// pipeline. It goes the way of all calls, and no other.
type Call struct {
	Caller *identity.Principal
	// Label is what the rows say: the run, the step, and the step's name in the
	// specialist's place.
	Label Label

	// Specialist is the id or alias of one; else Provider and Model are asked.
	Specialist   string
	Provider     string
	Model        string
	SystemPrompt string // of a model that is no specialist
	// Temperature and MaxTokens go before a specialist's; nil and 0: not said. Of
	// two limits the smaller holds.
	Temperature *float64
	MaxTokens   int64
	// Fallbacks come after the specialist's own. One that the caller may not use, or
	// whose provider is not there, is left out.
	Fallbacks []specialist.Target

	Messages []llm.Message
	// Output is the form of the answer; nil: text. Where an upstream cannot be told,
	// it is not, and one that refuses the call for it is asked again without.
	Output *llm.OutputFormat

	// Text gets the answer as it comes; Again says that another upstream is asked,
	// or the same once more, so that what came is void. Either may be nil. They are
	// called one at a time.
	Text  func(piece string)
	Again func()
	// Record gets a copy of each row of the usage log that the call leaves, also of
	// tries that failed; nil: nobody does. It must not wait.
	Record func(usage.Record)
}

// Answered is the whole answer to a [Call].
type Answered struct {
	Text     string
	Provider string
	Model    string // that answered, by the name it was asked by
	Finish   llm.FinishReason
}

// Do makes a call and waits for its end. If ctx ends before, the upstream is
// stopped at once, and the error's cause is CauseClientGone.
func (g *Gateway) Do(ctx context.Context, c Call) (*Answered, *llm.Error) {
	if err := refuseRole(c.Caller); err != nil {
		metrics.Refused(err.Status(), err.Cause)
		return nil, err
	}
	r := (&http.Request{
		Method: http.MethodPost, URL: &url.URL{}, Body: http.NoBody,
		Header: http.Header{unsupportedHeader: {"drop"}},
	}).WithContext(WithLabel(ctx, c.Label))
	if ctx.Err() != nil { // there is no call yet that could leave a row
		return nil, clientGone(r)
	}
	s := newStep(c)
	g.serveStep(r, s)
	return s.outcome(r)
}

// serveStep serves a call to its end. Where a client's connection would be cut,
// this returns.
func (g *Gateway) serveStep(r *http.Request, s *step) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // it is never wrapped
			g.Logger.ErrorContext(r.Context(), "panic in a call",
				slog.String("panic", fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack())))
		}
	}()
	g.serve(make(nowhere), r, s)
}

// MayDo says why a call would be refused whatever its messages are: there is no
// such specialist or model, or the caller may not use it. nil: it would not.
func (g *Gateway) MayDo(c Call) *llm.Error {
	if err := refuseRole(c.Caller); err != nil {
		return err
	}
	s := newStep(c)
	return (&exchange{g: g, face: s, call: stepCall{s}, principal: c.Caller}).resolve()
}

// nowhere is where the bytes go that a client would get.
type nowhere http.Header

// Header implements http.ResponseWriter.
func (n nowhere) Header() http.Header { return http.Header(n) }

// WriteHeader implements http.ResponseWriter.
func (nowhere) WriteHeader(int) {}

// Write implements http.ResponseWriter.
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// Flush implements http.Flusher.
func (nowhere) Flush() {}
