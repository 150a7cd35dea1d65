package gateway

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/tokens"
	"github.com/financecommander/tollgate/internal/upstream"
)

// sourceHeader says whose a count of tokens is: the provider's own, or an
// estimate of the gateway's.
const sourceHeader = "X-Tollgate-Usage-Source"

// countTimeout bounds a provider's counting; an estimate is there at once.
const countTimeout = 15 * time.Second

// The estimates of content that is no text, in tokens: a common image of one
// megapixel, a page of a document per so many bytes, and speech.
const (
	imageTokens       = 1000
	documentBytesUnit = 40 // bytes of a document's base64 per token
)

// count answers a request for the tokens that a call would read: the provider's
// own count where it has one, an estimate else. It costs nothing and leaves no
// row.
func (g *Gateway) count(w http.ResponseWriter, r *http.Request, e endpoint) {
	codec := counter(e.format, e.model)
	ex := &exchange{g: g, w: w, r: r, face: counting{e.format}, requestID: newRequestID(), start: time.Now()}
	defer func() { ex.body.free() }()
	ex.nameCall()
	answer, source, err := ex.count(codec, e.model)
	if err != nil {
		if err.Cause == llm.CauseClientGone {
			panic(http.ErrAbortHandler)
		}
		ex.face.WriteError(w, err, ex.requestID)
		return
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = jsonType, noStore
	h[sourceHeader] = []string{string(source)}
	h["Content-Length"] = []string{strconv.Itoa(len(answer))}
	_, _ = w.Write(answer)
}

func (ex *exchange) count(codec dialect.TokenCounter, model string) ([]byte, llm.UsageSource, *llm.Error) {
	if err := ex.identify(); err != nil {
		return nil, "", err
	}
	if err := ex.readCount(codec, model); err != nil {
		return nil, "", err
	}
	if err := ex.resolve(); err != nil {
		return nil, "", err
	}
	t := &ex.route.targets[0]
	request := ex.tailored(t, t.formats[0])
	if n, ok, err := ex.countUpstream(t, request); err != nil || ok {
		return codec.AppendCounted(nil, n), llm.UsageProvider, err
	}
	text := ex.call.AppendText(nil, maxEstimate)
	if s := ex.route.specialist; s != nil {
		text = append(text, s.SystemPrompt...)
	}
	n := tokens.Count(t.model, text) + mediaTokens(request)
	return codec.AppendCounted(nil, n), llm.UsageEstimated, nil
}

// mediaTokens estimates what is no text.
func mediaTokens(r *llm.Request) (n int64) {
	for _, m := range r.Messages {
		for _, p := range m.Parts {
			media, ok := p.(*llm.Media)
			switch {
			case !ok:
			case media.Kind == llm.MediaImage:
				n += imageTokens
			default:
				n += max(imageTokens, int64(len(media.Data))/documentBytesUnit)
			}
		}
	}
	return n
}

// countUpstream asks the provider. ok is false where it cannot count, or does
// not answer; an error is about the caller's own request.
func (ex *exchange) countUpstream(t *target, request *llm.Request) (n int64, ok bool, failed *llm.Error) {
	format := countFormats[t.formats[0]]
	endpoint := t.provider.Endpoint(format, t.model, false)
	if endpoint == nil || t.baseURL != "" {
		return 0, false, nil
	}
	codec := counter(format, t.model)
	options := t.provider.EncodeOptions(t.formats[0])
	options.Unsaid = &dialect.Unsaid{Drop: true, Target: t.formats[0]}
	body, err := codec.EncodeCount(request, options)
	if err != nil {
		return 0, false, asError(err)
	}
	ctx, cancel := context.WithTimeout(ex.r.Context(), countTimeout)
	defer cancel()
	status, answer, err := ex.ask(ctx, t, endpoint, body)
	if err != nil {
		ex.g.Logger.LogAttrs(ctx, slog.LevelWarn, "counting tokens upstream failed; estimated instead",
			slog.String("request_id", ex.requestID), slog.String("provider", t.provider.Name), slog.Any("error", err))
		return 0, false, nil
	}
	if status != http.StatusOK {
		refused := translator(t.formats[0], t.model, false).Error(status, nil, answer)
		if refused.Cause == llm.CauseUpstreamRejected && status == http.StatusBadRequest {
			return 0, false, refused
		}
		return 0, false, nil
	}
	n, ok = codec.DecodeCounted(answer)
	return n, ok, nil
}

// ask makes one plain call of a provider.
func (ex *exchange) ask(ctx context.Context, t *target, endpoint *url.URL, body []byte) (status int, answer []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header["Content-Type"], request.Header["User-Agent"] = jsonType, userAgent
	if err = t.provider.Authorize(ctx, request.Header, true); err != nil {
		return 0, nil, err
	}
	resp, err := t.provider.Transport.RoundTrip(request)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	return resp.StatusCode, answer, err
}

// countFormats are the counting calls that belong to the formats of model calls.
var countFormats = map[dialect.Name]dialect.Name{
	dialect.OpenAIChat:        dialect.OpenAICount,
	dialect.OpenAIResponses:   dialect.OpenAICount,
	dialect.AnthropicMessages: dialect.AnthropicCount,
	dialect.Gemini:            dialect.GeminiCount,
}

// readCount takes in the body and decodes it: counting needs to know it whole.
func (ex *exchange) readCount(codec dialect.TokenCounter, model string) *llm.Error {
	body, err := readBody(ex.w, ex.r, ex.g.MaxBody)
	if err != nil {
		return err
	}
	ex.body = body
	request, failure := codec.DecodeCount(body.bytes(), dialect.DecodeOptions{Seal: ex.sealer()})
	if failure != nil {
		return asError(failure)
	}
	if model != "" {
		request.Model = model
	}
	ex.request, ex.call = request, decoded{request}
	return nil
}

// counting is the face of a caller who wants tokens counted.
type counting struct{ format dialect.Name }

func (c counting) name() dialect.Name { return c.format }

func (counting) read([]byte) (dialect.Call, *llm.Error) { return nil, nil }

func (counting) formats(p *upstream.Provider, model string, stream bool) []dialect.Name {
	return spoken(p, model, stream)
}

func (counting) codec() dialect.Codec { return nil }

func (counting) pass(*exchange, *attempt) answer { return nil }

func (counting) decode(*exchange) (*llm.Request, error) { return nil, nil }

func (counting) translate(*exchange, *attempt, dialect.Name) ([]byte, error) { return nil, nil }

func (c counting) WriteError(w http.ResponseWriter, err *llm.Error, requestID string) {
	errorWriter(c.format).WriteError(w, err, requestID)
}

// decoded is a decoded request as a call.
type decoded struct{ *llm.Request }

func (d decoded) Model() string { return d.Request.Model }

func (d decoded) Stream() bool { return d.Request.Stream }

func (d decoded) UsageWanted() bool { return d.StreamUsage }

func (d decoded) MaxTokens() int64 { return d.Request.MaxTokens }

func (d decoded) Patch(dialect.Edits) ([]byte, error) { return nil, errNotPatched }

var errNotPatched = &llm.Error{Cause: llm.CauseInternal, Message: "a decoded request cannot be patched"}

// AppendText implements [dialect.Call].
func (d decoded) AppendText(dst []byte, limit int) []byte {
	t := wire.NewTextCollector(dst, limit)
	add := func(text string) {
		if text != "" {
			t.Plain(text)
		}
	}
	for _, m := range d.Messages {
		for _, p := range m.Parts {
			addText(add, p)
		}
	}
	for _, tool := range d.Tools {
		add(tool.Name)
		add(tool.Description)
		add(string(tool.Schema))
	}
	if d.Output != nil {
		add(string(d.Output.Schema))
	}
	return t.Bytes()
}

func addText(add func(string), p llm.Part) {
	switch p := p.(type) {
	case *llm.Text:
		add(p.Text)
	case *llm.Refusal:
		add(p.Text)
	case *llm.Thinking:
		add(p.Text)
	case *llm.Media:
		add(p.Text)
	case *llm.ToolCall:
		add(p.Name)
		add(p.Arguments)
	case *llm.ToolResult:
		for _, inner := range p.Parts {
			addText(add, inner)
		}
	case *llm.NativePart:
		add(string(p.JSON))
	}
}
