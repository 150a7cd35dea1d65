package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/google/uuid"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/metrics"
)

// exchange is one call on its way through the gateway.
type exchange struct {
	g         *Gateway
	w         http.ResponseWriter
	r         *http.Request
	face      face
	requestID string
	start     time.Time

	principal *identity.Principal // nil: anonymous, where that is allowed
	body      *buffer             // the caller's, as sent
	room      *Share              // that a large body takes; nil: none
	call      dialect.Call        // what the codec found in it
	route     route

	// What translation needs, made when it is.
	request    *llm.Request                // the body, decoded whole
	texts      map[*llm.Media]documentText // of documents that a target was not to be sent
	seal       dialect.Sealer              // of providers' state, for this caller
	rewritten  bool                        // the body must not pass through as it is
	previousID string                      // of the kept answer that was put in front of the body

	told told // who is told of the answer

	tried     int      // upstream attempts so far
	current   *attempt // the one under way; nil between attempts
	committed bool     // the answer's header has gone to the caller
}

// serve takes one call from its arrival to its settled end, whatever happens.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, f face) {
	ex := &exchange{g: g, w: w, r: r, face: f, requestID: newRequestID(), start: time.Now()}
	defer func() { ex.body.free(); ex.room.Release() }()
	defer ex.tellEnd()
	defer ex.recover() // may still read the body
	ex.nameCall()
	if err := ex.run(); err != nil {
		ex.refuse(err)
	}
}

// nameCall tells the caller the call's id, where its SDK looks for it.
func (ex *exchange) nameCall() {
	id := []string{ex.requestID}
	ex.w.Header()["X-Request-Id"] = id
	switch ex.face.name() {
	case dialect.AnthropicMessages, dialect.AnthropicCount:
		ex.w.Header()["Request-Id"] = id
	}
}

// run is the way of a call. An error means that nothing has gone to the caller
// yet.
func (ex *exchange) run() *llm.Error {
	if err := ex.identify(); err != nil {
		return err
	}
	if err := ex.g.Ledger.Admit(); err != nil {
		return &llm.Error{
			Cause: llm.CauseUnavailable, RetryAfter: 5 * time.Second, Err: err,
			Message: "the gateway cannot record usage at the moment and takes no calls until it can; try again shortly",
		}
	}
	if err := ex.read(); err != nil {
		return err
	}
	if err := ex.resolve(); err != nil {
		return err
	}
	ex.tell()
	return ex.tryTargets()
}

// identify finds out who is asking. The token itself was verified before.
func (ex *exchange) identify() *llm.Error {
	principal, ok := ex.caller()
	if !ok && !ex.g.AllowAnonymous {
		return &llm.Error{
			Cause:   llm.CauseUnauthenticated,
			Message: "no valid token: send one as `Authorization: Bearer TOKEN`, `x-api-key` or `x-goog-api-key`",
		}
	}
	ex.principal = principal
	return nil
}

func (ex *exchange) caller() (*identity.Principal, bool) {
	if s, ok := ex.face.(*step); ok {
		return s.Caller, s.Caller != nil
	}
	return ex.g.Caller(ex.r)
}

// read takes in the body and lets the face's codec peek at it.
func (ex *exchange) read() *llm.Error {
	body, err := ex.readBody()
	if err != nil {
		return err
	}
	ex.body = body
	if ex.call, err = ex.face.read(body.bytes()); err != nil {
		return err
	}
	if ex.face.name() == dialect.PortalChat { // it is decoded whole, and may be large
		ex.body.free()
		ex.body = nil
		return nil
	}
	ex.rewritten = dialect.Sealed(body.bytes(), ex.face.name())
	return ex.expand()
}

// readBody reads the body whole. Those of the portal, which may be larger than
// all others, take their room.
func (ex *exchange) readBody() (*buffer, *llm.Error) {
	if ex.face.name() != dialect.PortalChat {
		return readBody(ex.w, ex.r, ex.g.MaxBody)
	}
	ex.room = ex.g.Room.Share(ex.owner())
	read := ex.r.WithContext(ex.r.Context())
	read.Body = io.NopCloser(ex.room.Reader(ex.r.Body))
	body, err := readBody(ex.w, read, ex.g.MaxChatBody)
	if err != nil && ex.room.Full() {
		return nil, &llm.Error{
			Cause: llm.CauseUnavailable, RetryAfter: 5 * time.Second, Err: errNoRoom,
			Message: "the gateway is busy with large attachments; try again shortly, or attach less",
		}
	}
	return body, err
}

// tryTargets asks one target after the other until one answers. A target whose
// format cannot say the call is passed over; another's may.
func (ex *exchange) tryTargets() *llm.Error {
	var failed, unsaid *llm.Error // the last of an upstream, the first of ours
	for i := range ex.route.targets {
		asked := ex.tried
		err := ex.attempt(&ex.route.targets[i])
		if s, ok := ex.face.(*step); ok && s.refusesOutput(err) {
			err = ex.askPlainly(&ex.route.targets[i])
		}
		switch {
		case err == nil:
			return nil
		case ex.tried == asked:
			unsaid = cmp.Or(unsaid, err)
			continue
		}
		failed = err
		if !err.Cause.Retryable() || ex.r.Context().Err() != nil {
			return failed
		}
	}
	return cmp.Or(failed, unsaid)
}

// refuse answers a call that failed before its first byte. Where no upstream
// was asked, a known caller's call still leaves its row, with attempt 0.
func (ex *exchange) refuse(err *llm.Error) {
	if ex.tried == 0 {
		metrics.Refused(err.Status(), err.Cause)
		if ex.principal != nil {
			ex.recordRefusal(err)
		}
	}
	level := slog.LevelInfo
	if err.Status() >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	ex.g.Logger.LogAttrs(ex.r.Context(), level, "call refused",
		slog.String("request_id", ex.requestID), slog.String("cause", string(err.Cause)),
		slog.Int("status", err.Status()), slog.Any("error", err))
	if err.Cause == llm.CauseClientGone {
		// Nobody is there to read an answer; end the connection as it is.
		panic(http.ErrAbortHandler)
	}
	ex.committed = true
	ex.face.WriteError(ex.w, err, ex.requestID)
}

// recover settles what a panic left open and answers if nothing was sent yet:
// a bug of ours costs one call, never a record or the process.
func (ex *exchange) recover() {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		if ex.current != nil {
			ex.settle(ex.current, clientGone(ex.r))
		}
		panic(p)
	}
	err := &llm.Error{Cause: llm.CauseInternal, Message: "the gateway failed on this call; it has been logged", Err: fmt.Errorf("panic: %T", p)}
	ex.g.Logger.ErrorContext(ex.r.Context(), "panic in a call",
		slog.String("request_id", ex.requestID), slog.String("panic", fmt.Sprintf("%T", p)),
		slog.String("stack", string(debug.Stack())))
	if ex.current != nil {
		ex.settleBroken(ex.current, err)
	}
	if ex.committed {
		panic(http.ErrAbortHandler) // a cut must look like one
	}
	ex.refuse(err)
}

func newRequestID() string {
	return "req_" + uuid.Must(uuid.NewV7()).String()
}

// readBody reads a request's body whole, into pooled memory.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) (*buffer, *llm.Error) {
	tooLarge := &llm.Error{
		Cause:   llm.CauseTooLarge,
		Message: fmt.Sprintf("the request body is larger than %d bytes", limit),
	}
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	b := newBuffer(int(r.ContentLength))
	_, err := b.readFrom(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		return b, nil
	}
	b.free()
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, tooLarge
	}
	if r.Context().Err() != nil {
		return nil, clientGone(r)
	}
	// %v hides nothing of the caller's here: a transport error, no content.
	message := "the request body ended early"
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		message = "the request body could not be read"
	}
	return nil, &llm.Error{Cause: llm.CauseInvalidRequest, Message: message, Err: err}
}

func clientGone(r *http.Request) *llm.Error {
	return &llm.Error{Cause: llm.CauseClientGone, Message: "the caller left", Err: r.Context().Err()}
}
