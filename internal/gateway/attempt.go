package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/usage"
)

// maxErrorBody is as much of an upstream's error answer as is read.
const maxErrorBody = 64 << 10

// forwarded are the request headers that go on to upstreams; all others, among
// them credentials, cookies and whatever tells where the caller sits, do not.
var forwarded = []string{"Accept", "Idempotency-Key"}

// forwardedWithin go on to upstreams of the caller's own format only.
var forwardedWithin = []string{"Openai-Beta", "Anthropic-Beta", "Anthropic-Version"}

// returned are the response headers that come back from upstreams; all others,
// among them cookies, the provider's account and its own limits, do not.
var returned = []string{"Openai-Processing-Ms", "Openai-Version"}

// Header values that are always the same. They are shared by all requests and
// never changed.
var (
	userAgent  = []string{"Tollgate"}
	jsonType   = []string{"application/json"}
	streamType = []string{"text/event-stream"}
	noStore    = []string{"no-store"}
	noGather   = []string{"no"}
	isDemo     = []string{"1"}
)

// attempt is one request to one upstream.
type attempt struct {
	target     *target
	codec      dialect.Codec // of the format spoken with the upstream
	endpoint   *url.URL
	withKey    bool // the provider's key may go there
	batch      bool // embeddings for many are asked for
	said       answer
	dropped    []string // what the format could not say, as the caller named it
	meter      dialect.Meter
	askedUsage bool          // usage in the stream is our wish, not the caller's
	firstToken time.Duration // from the call's arrival; 0: none yet
	latency    time.Duration // set when settled
	status     int           // the upstream's; 0: none
	settled    bool
	tooLong    bool // the answer; no more of it is read
	record     *usage.Record
	mark       usage.Mark // its entry in the ledger's journal
	watch      *watchdog
}

// attempt asks one target. nil means that the caller has an answer, good or
// broken; an error, that nothing has gone to the caller yet.
func (ex *exchange) attempt(t *target) *llm.Error {
	a := &attempt{target: t, record: usage.NewRecord(time.Now())}
	body, err := ex.prepare(a)
	if err != nil {
		return err // no upstream was asked
	}
	defer body.release()
	ex.tried++
	ex.current = a
	ex.begin(a, body)
	parent, release := ex.upstreamContext()
	defer release()
	ctx, watch := watch(parent, t.provider.Timeouts)
	a.watch = watch
	defer watch.stop()

	resp, err := ex.send(ctx, a, body)
	if err == nil {
		defer resp.Body.Close()
		a.status = resp.StatusCode
		switch {
		case resp.StatusCode != http.StatusOK:
			err = ex.upstreamError(a, resp)
		case isEventStream(resp):
			err = ex.relayStream(a, resp)
		default:
			err = ex.relayWhole(a, resp)
		}
	}
	if err != nil {
		ex.settle(a, err)
	}
	ex.current = nil
	return err
}

// upstreamContext ends with the caller's; where left calls are drained, a
// bounded time later. A pipeline that is stopped waits for nothing.
func (ex *exchange) upstreamContext() (ctx context.Context, release func()) {
	caller := ex.r.Context()
	if _, ours := ex.face.(*step); ours || ex.g.OnDisconnect != Drain {
		return caller, func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(caller))
	stop := context.AfterFunc(caller, func() {
		select {
		case <-time.After(ex.g.DrainTimeout):
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { stop(); cancel() }
}

// send makes the upstream request and waits for the answer's header.
func (ex *exchange) send(ctx context.Context, a *attempt, body *upstreamBody) (*http.Response, *llm.Error) {
	header, failure := ex.upstreamHeader(ctx, a)
	if failure != nil {
		return nil, &llm.Error{Cause: llm.CauseUpstreamAuth, Message: "the gateway cannot sign in to the upstream provider", Err: failure}
	}
	request := (&http.Request{
		Method: http.MethodPost, URL: a.endpoint, Host: a.endpoint.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header,
		Body:   body.reader(), ContentLength: int64(len(body.content)),
		GetBody: func() (io.ReadCloser, error) { return body.reader(), nil },
	}).WithContext(ctx)
	resp, failure := ex.transport(a).RoundTrip(request)
	if failure != nil {
		return nil, ex.transportError(a, failure)
	}
	return resp, nil
}

// transport is what carries an attempt. An address that an admin gave a specialist
// may be a name that leads inside.
func (ex *exchange) transport(a *attempt) http.RoundTripper {
	if s := ex.route.specialist; ex.g.Guarded != nil && !a.withKey && s != nil && !s.ReadOnly {
		return ex.g.Guarded
	}
	return a.target.provider.Transport
}

// prepare makes the body for the target out of the caller's, in the first of its
// formats that can say the call.
func (ex *exchange) prepare(a *attempt) (*upstreamBody, *llm.Error) {
	if !ex.passes(a.target, a.target.formats[0]) {
		if err := ex.decode(); err != nil {
			return nil, err
		}
	}
	var first *llm.Error
	for _, format := range ex.order(a.target) {
		body, err := ex.prepareIn(a, format)
		if err == nil {
			return body, nil
		}
		first = cmp.Or(first, err)
	}
	return nil, first
}

// passes says whether the caller's body goes to the target with small edits
// alone.
func (ex *exchange) passes(t *target, format dialect.Name) bool {
	return format == ex.face.name() && !ex.rewritten && t.provider.PassThrough(format)
}

// prepareIn makes the body in one format: the caller's own, or a translation.
func (ex *exchange) prepareIn(a *attempt, format dialect.Name) (body *upstreamBody, err *llm.Error) {
	if ex.passes(a.target, format) {
		body, err = ex.patch(a)
	} else {
		content, failure := ex.face.translate(ex, a, format)
		if failure != nil {
			return nil, asError(failure)
		}
		body = &upstreamBody{content: content}
	}
	if err != nil {
		return nil, err
	}
	if a.batch && format == dialect.GeminiEmbeddings {
		format = upstream.EmbedBatch
	}
	var failure error
	if a.endpoint, a.withKey, failure = a.target.endpoint(format, ex.call.Stream()); failure != nil || a.endpoint == nil {
		body.release()
		return nil, &llm.Error{Cause: llm.CauseInvalidRequest, Param: "model", Message: fmt.Sprintf("the provider %q cannot be asked for this model", a.target.provider.Name), Err: failure}
	}
	return body, nil
}

// patch makes the body of a call that passes through.
func (ex *exchange) patch(a *attempt) (*upstreamBody, *llm.Error) {
	codec := ex.face.codec()
	edits := dialect.Edits{Model: a.target.modelID()}
	if s := ex.route.specialist; s != nil {
		edits.SystemPrompt = s.SystemPrompt
		edits.Temperature = ex.setTemperature(codec.Name())
		edits.MaxTokens = s.MaxTokens
		edits.MaxTokensField = a.target.provider.MaxTokensField
	}
	if ex.call.Stream() && !ex.call.UsageWanted() && a.target.provider.AskUsage {
		edits.AskUsage, a.askedUsage = true, true
	}
	body := &upstreamBody{}
	body.holders.Store(1)
	if size := len(ex.body.bytes()); size >= pooledBody {
		body.memory = newBuffer(size + len(edits.SystemPrompt) + editRoom)
		edits.Into = body.memory.b
	}
	content, err := ex.call.Patch(edits)
	if err != nil {
		body.release()
		return nil, asError(err)
	}
	body.content = content
	ex.body.keepIfIn(content)
	a.codec, a.meter = codec, codec.NewMeter()
	a.said = ex.face.pass(ex, a)
	return body, nil
}

func (ex *exchange) upstreamHeader(ctx context.Context, a *attempt) (http.Header, error) {
	h := make(http.Header, 8)
	h["Content-Type"] = jsonType
	h["User-Agent"] = userAgent
	for _, name := range ex.g.forward {
		if values, ok := ex.r.Header[name]; ok {
			h[name] = values
		}
	}
	if a.codec.Name() == ex.face.name() {
		for _, name := range forwardedWithin {
			if values, ok := ex.r.Header[name]; ok {
				h[name] = values
			}
		}
	}
	return h, a.target.provider.Authorize(ctx, h, a.withKey)
}

// upstreamError reads an answer that is no success.
func (ex *exchange) upstreamError(a *attempt, resp *http.Response) *llm.Error {
	a.watch.answered()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil && ex.r.Context().Err() != nil {
		return clientGone(ex.r)
	}
	if resp.StatusCode < 300 { // 201, 204 …: nothing a model call is answered with
		return &llm.Error{Cause: llm.CauseUpstreamInvalid, Message: "the upstream provider gave an answer that is not one", Err: fmt.Errorf("status %d", resp.StatusCode)}
	}
	return a.codec.Error(resp.StatusCode, resp.Header, body)
}

// transportError classifies a request that got no answer, or half of one.
func (ex *exchange) transportError(a *attempt, err error) *llm.Error {
	if why, ok := a.watch.barked(); ok {
		return &llm.Error{Cause: llm.CauseUpstreamTimeout, Message: "the upstream provider took too long: " + why, Err: err}
	}
	if ex.r.Context().Err() != nil {
		return clientGone(ex.r)
	}
	if dialing(err) {
		return &llm.Error{Cause: llm.CauseUpstreamUnreachable, Message: "the upstream provider cannot be reached", Err: err}
	}
	if a.status != 0 {
		return &llm.Error{Cause: llm.CauseUpstreamCut, Message: "the upstream provider broke off its answer", Err: err}
	}
	return &llm.Error{Cause: llm.CauseUpstreamUnreachable, Message: "the upstream provider closed the connection without an answer", Err: err}
}

// dialing says that the request never left: no connection was made.
func dialing(err error) bool {
	if _, ok := errors.AsType[upstream.DialError](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

func isEventStream(resp *http.Response) bool {
	ct := resp.Header.Get("Content-Type")
	if strings.HasPrefix(ct, "text/event-stream") {
		return true
	}
	media, _, _ := mime.ParseMediaType(ct)
	return media == "text/event-stream"
}

// returnHeader copies what may come back of an upstream's header.
func (ex *exchange) returnHeader(a *attempt, resp *http.Response) {
	h := ex.w.Header()
	for _, name := range returned {
		if values, ok := resp.Header[name]; ok {
			h[name] = slices.Clip(values)
		}
	}
	h["Content-Type"] = a.said.contentType(resp.Header["Content-Type"])
	h["Cache-Control"] = noStore
	if a.target.provider.Demo() {
		h["X-Tollgate-Demo"] = isDemo
	}
	tellDropped(h, a.dropped)
}
