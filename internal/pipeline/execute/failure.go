package execute

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline/expr"
)

// failure is why work did not end well, in words for people that hold nothing of
// prompts and answers. It is also the cause of contexts that are ended from here.
type failure struct {
	message string
	// code is there when it is the whole run that ends: no policy has a say.
	code  Code
	again bool          // another try may help
	after time.Duration // though not before
}

// Error implements error.
func (f *failure) Error() string { return f.message }

func failuref(format string, args ...any) *failure {
	return &failure{message: fmt.Sprintf(format, args...)}
}

// codeOutput ends the work that is under way when a stop condition gave the run
// its output. It is no run's code: such a run completes.
const codeOutput Code = "has_output"

// failureOf is the failure of a call. Its message is meant for callers.
func failureOf(err *llm.Error) *failure {
	again := err.Cause.Retryable() || err.Cause == llm.CauseUnavailable
	return &failure{message: err.Message, again: again, after: err.RetryAfter}
}

// whyEnded says why a context has ended; nil: it has not.
func whyEnded(ctx context.Context) *failure {
	cause := context.Cause(ctx)
	if cause == nil {
		return nil
	}
	if f, ok := errors.AsType[*failure](cause); ok {
		return f
	}
	for known, code := range map[error]Code{ErrCancelled: CodeCancelled, ErrStopped: CodeStopped, ErrLost: CodeLost} {
		if errors.Is(cause, known) {
			return &failure{message: known.Error(), code: code}
		}
	}
	return &failure{message: "the run was broken off", code: CodeInternal}
}

// broken is the failure of a template or an expression of the step.
func broken(ctx context.Context, what string, err error) *failure {
	if f := whyEnded(ctx); f != nil {
		return f
	}
	wrong, ok := errors.AsType[*expr.Error](err)
	switch {
	case !ok: // its words may hold anything
		return failuref("its %s could not be evaluated", what)
	case wrong.Line > 0:
		return failuref("its %s, line %d: %s", what, wrong.Line, wrong.Message)
	}
	return failuref("its %s: %s", what, wrong.Message)
}

// span writes a time span as definitions do: "2m", not "2m0s".
func span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
