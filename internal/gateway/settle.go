package gateway

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/metrics"
	"github.com/financecommander/tollgate/internal/tokens"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

// maxEstimate is as much of a request's text as is read for a token estimate.
const maxEstimate = 1 << 20

// begin fills in what is known of an attempt before it is sent and notes it in
// the ledger, so that it leaves a row even if this process dies. A guess must do
// for its input: four bytes of the body for a token, to a bound.
func (ex *exchange) begin(a *attempt, body *upstreamBody) {
	r := a.record
	ex.describe(r)
	r.Attempt = ex.tried
	r.Provider, r.Model = a.target.provider.Name, a.target.model
	r.PriceVersion = ex.g.Prices.Version()
	used := llm.Usage{Input: int64(min(len(body.content), maxEstimate) / 4)}
	quote := a.quote(&dialect.Reading{}, used)
	r.SetUsage(used, llm.UsageEstimated)
	r.Cost, r.Priced = quote.Cost, quote.Priced
	a.mark = ex.g.Ledger.Begin(r)
}

// settle writes the one record of an attempt and counts it. err says why the
// caller's answer is not whole; nil: it is. Only the first call does anything,
// so every path may settle.
func (ex *exchange) settle(a *attempt, err *llm.Error) {
	if a.settled {
		return
	}
	a.latency = time.Since(ex.start)
	r := a.record
	r.Latency, r.TTFT = a.latency, a.firstToken
	r.UpstreamStatus = a.status
	r.Status, r.Success = http.StatusOK, err == nil
	if err != nil {
		r.ErrorCause = err.Cause
		if !ex.committed || err.Cause == llm.CauseClientGone {
			r.Status = err.Status()
		}
	}

	reading := a.meter.Reading()
	used, source := ex.measure(a, &reading, err)
	quote := a.quote(&reading, used)
	if reading.Reported {
		// Each pass is priced by itself: a long-context price goes by its own length.
		quote.Cost += a.quote(&reading, reading.Beside).Cost
		used = used.Plus(reading.Beside)
	}
	r.SetUsage(used, source)
	r.Cost, r.Priced, r.ReportedCost = quote.Cost, quote.Priced, reportedCost(reading.CostUSD)
	r.ResponseModel, r.FinishReason = reading.Model, string(reading.Finish)
	ex.end(a)
	a.target.counts.Done(metrics.Done{
		Status: r.Status, Cause: r.ErrorCause, Usage: used,
		CostUSD: quote.Cost.USD(), Priced: quote.Priced, Duration: a.latency,
	})
	if err != nil {
		ex.logFailure(a, err)
	}
}

// settleBroken settles an attempt that panicked. If counting its tokens panics
// (again), the guess made before it was sent stands.
func (ex *exchange) settleBroken(a *attempt, err *llm.Error) {
	defer func() {
		if recover() != nil && !a.settled {
			ex.end(a)
		}
	}()
	ex.settle(a, err)
}

// end appends the attempt's record; only then its note may go.
func (ex *exchange) end(a *attempt) {
	a.settled = true
	ex.append(a.record)
	ex.g.Ledger.End(a.mark)
	ex.tellRow(a.record)
}

// recordRefusal leaves the row of a known caller's call that reached no
// upstream.
func (ex *exchange) recordRefusal(err *llm.Error) {
	r := usage.NewRecord(ex.start)
	ex.describe(r)
	r.Attempt = 0
	r.SetUsage(llm.Usage{}, llm.UsageEstimated)
	r.Priced, r.PriceVersion = true, ex.g.Prices.Version()
	r.Latency = time.Since(ex.start)
	r.Status, r.ErrorCause = err.Status(), err.Cause
	ex.append(r)
	ex.tellRow(r)
}

// describe fills in who called and what for.
func (ex *exchange) describe(r *usage.Record) {
	r.RequestID = ex.requestID
	r.Dialect = string(ex.face.name())
	if ex.call != nil {
		r.Stream = ex.call.Stream()
	}
	if p := ex.principal; p != nil {
		r.UserHash, r.UserEmailHash, r.TokenID = p.UserHash, p.EmailHash, p.TokenID
	}
	if s := ex.route.specialist; s != nil {
		r.SpecialistID, r.SpecialistName = s.ID, s.Name
	}
	l := ex.label()
	r.RunID, r.Step = l.Run, l.Step
	if l.ID != "" {
		r.SpecialistID, r.SpecialistName = l.ID, l.Name
	}
}

// append hands a record to the ledger. If even that fails, the record goes to
// the log whole: nothing billable vanishes. It holds no content and no address.
func (ex *exchange) append(r *usage.Record) {
	err := ex.keep(r)
	if err == nil {
		return
	}
	row, _ := json.Marshal(r)
	ex.g.Logger.LogAttrs(ex.r.Context(), slog.LevelError, "usage record could not be kept; this line is the record",
		slog.String("error", err.Error()), slog.String("record", string(row)))
}

func (ex *exchange) keep(r *usage.Record) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in the ledger: %T", p)
		}
	}()
	return ex.g.Ledger.Append(r)
}

// measure gives the attempt's tokens and where the numbers come from: the
// provider's report where there is one, estimates for what it leaves open.
func (ex *exchange) measure(a *attempt, reading *dialect.Reading, err *llm.Error) (llm.Usage, llm.UsageSource) {
	if reading.Reported && reading.Complete {
		return reading.Usage, llm.UsageProvider
	}
	if !reading.Reported && !a.billable(reading, err) {
		return llm.Usage{}, llm.UsageEstimated
	}
	used, source := reading.Usage, llm.UsageEstimated
	if reading.Reported {
		source = llm.UsageMixed
	}
	if used.InputTotal() == 0 {
		text := ex.call.AppendText(nil, maxEstimate)
		used.Input = tokens.Count(a.target.model, text)
	}
	if generated := a.generated(reading); generated > used.OutputTotal() {
		used.Output += generated - used.OutputTotal()
	}
	return used, source
}

// billable says whether a provider may charge for the attempt: it began to
// answer, or may have worked on an answer before that was lost. An error in the
// place of an answer is none, whatever the status says.
func (a *attempt) billable(reading *dialect.Reading, err *llm.Error) bool {
	switch {
	case a.target.provider.Demo():
		return false
	case a.status == http.StatusOK:
		return reading.Err == nil || reading.TextBytes > 0
	case a.status == 0:
		return err != nil && (err.Cause == llm.CauseClientGone || err.Cause == llm.CauseUpstreamTimeout)
	default:
		return false
	}
}

// generated estimates the tokens of the text seen so far. What is over the
// meter's cap counts as the capped part does.
func (a *attempt) generated(reading *dialect.Reading) int64 {
	if len(reading.Text) == 0 {
		return 0
	}
	n := tokens.Count(a.target.model, reading.Text)
	if seen := int64(len(reading.Text)); reading.TextBytes > seen {
		n = n * reading.TextBytes / seen
	}
	return n
}

// quote prices the attempt by the model that was asked for, in the service tier
// that answered.
func (a *attempt) quote(reading *dialect.Reading, used llm.Usage) pricing.Quote {
	if a.target.provider.Demo() || used == (llm.Usage{}) {
		return pricing.Quote{Priced: true} // nothing was used, so nothing is owed
	}
	return a.target.price.Cost(pricing.Tokens(used), pricing.At{Time: a.record.Timestamp, ServiceTier: reading.ServiceTier})
}

func reportedCost(decimal string) *pricing.Money {
	if decimal == "" {
		return nil
	}
	cost, err := pricing.ParseUSD(decimal)
	if err != nil {
		return nil
	}
	return &cost
}

func (ex *exchange) logFailure(a *attempt, err *llm.Error) {
	level := slog.LevelWarn
	if err.Cause == llm.CauseClientGone || err.Cause == llm.CauseUpstreamRejected {
		level = slog.LevelInfo
	}
	ex.g.Logger.LogAttrs(ex.r.Context(), level, "upstream attempt failed",
		slog.String("request_id", ex.requestID), slog.String("provider", a.target.provider.Name),
		slog.Int("attempt", ex.tried), slog.Int("upstream_status", a.status), slog.Any("error", err))
}
