package portal

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

// DefaultMaxExport bounds the rows of an export; who needs more asks for shorter
// ranges. The trailer says whether there were more.
const (
	DefaultMaxExport = 1_000_000
	truncatedTrailer = "X-Tollgate-Truncated"
)

// exportRow is a row of an export: what the API shows of it, and what a
// bookkeeper asks for next.
type exportRow struct {
	usageRow
	RequestID        string          `json:"request_id"`
	Dialect          string          `json:"dialect"`
	Stream           bool            `json:"stream"`
	ResponseModel    string          `json:"response_model"`
	CachedTokens     int64           `json:"cached_tokens"`
	CacheWriteTokens int64           `json:"cache_write_tokens"`
	ReasoningTokens  int64           `json:"reasoning_tokens"`
	UsageSource      llm.UsageSource `json:"usage_source"`
	Priced           bool            `json:"priced"`
	PriceVersion     string          `json:"price_version"`
	ReportedCost     *pricing.Money  `json:"reported_cost_usd"`
	TTFTMS           *int64          `json:"ttft_ms"`
	Attempt          int             `json:"attempt"`
	Status           int             `json:"status"`
	FinishReason     string          `json:"finish_reason"`
	ErrorCause       llm.Cause       `json:"error_cause"`
	RunID            string          `json:"run_id"` // of a pipeline, with the next
	Step             string          `json:"step"`
}

func exportRowOf(r *usage.Record) exportRow {
	row := exportRow{
		usageRow: rowOf(r), RequestID: r.RequestID, Dialect: r.Dialect, Stream: r.Stream, ResponseModel: r.ResponseModel,
		CachedTokens: r.CachedTokens, CacheWriteTokens: r.CacheWriteTokens, ReasoningTokens: r.ReasoningTokens,
		UsageSource: r.UsageSource, Priced: r.Priced, PriceVersion: r.PriceVersion, ReportedCost: r.ReportedCost,
		Attempt: r.Attempt, Status: r.Status, FinishReason: r.FinishReason, ErrorCause: r.ErrorCause,
		RunID: r.RunID, Step: r.Step,
	}
	if r.TTFT > 0 {
		row.TTFTMS = new(r.TTFT.Milliseconds())
	}
	return row
}

// An exporter writes an export in one format.
type exporter interface {
	begin() error
	row(*exportRow) error
	end(truncated bool) error
}

// usageExport streams the selected rows, newest first, a page of the log at a
// time. It has answered 200 by the time a later page fails, and then breaks the
// connection off: a file that looks whole and is not would be worse.
func (h *Handler) usageExport(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	filter, query, err := readUsageFilter(r, p)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	var to exporter
	contentType, format := "application/json", cmp.Or(query.Get("format"), "json")
	switch format {
	case "json":
		to = &jsonExport{w: out}
	case "ndjson":
		to, contentType = ndjsonExport{out}, "application/x-ndjson"
	case "csv":
		to, contentType = csvExport{csv.NewWriter(out)}, "text/csv; charset=utf-8"
	default:
		return unprocessable("format", "must be csv, json or ndjson")
	}
	begin := func() error {
		header := w.Header()
		header.Set("Content-Type", contentType)
		header.Set("Content-Disposition", `attachment; filename="`+exportName(filter, format)+`"`)
		header.Set("Trailer", truncatedTrailer)
		return to.begin()
	}
	if r.Method == http.MethodHead {
		return begin()
	}
	truncated, begun, err := h.exportRows(r.Context(), filter, begin, to)
	if err == nil {
		err = cmp.Or(to.end(truncated), out.Flush())
	}
	if err != nil && !begun {
		return usageProblem(err)
	}
	if err != nil {
		if r.Context().Err() == nil {
			h.o.Logger.ErrorContext(r.Context(), "export of the usage log broken off", slog.String("request_id", requestID(w)), slog.Any("error", err))
		}
		panic(http.ErrAbortHandler)
	}
	w.Header().Set(truncatedTrailer, strconv.FormatBool(truncated))
	return nil
}

// exportRows writes the rows, and what comes before them once the first page of
// the log was read.
func (h *Handler) exportRows(
	ctx context.Context, filter usage.Filter, begin func() error, to exporter,
) (truncated, begun bool, err error) {
	rows := 0
	for record, err := range usage.All(ctx, h.o.Usage, filter) {
		if err != nil {
			return false, begun, err
		}
		if rows == h.o.MaxExport {
			return true, begun, nil
		}
		if !begun {
			begun = true
			if err := begin(); err != nil {
				return false, begun, err
			}
		}
		rows++
		row := exportRowOf(record)
		if err := to.row(&row); err != nil {
			return false, begun, err
		}
	}
	if !begun { // there are no rows
		err = begin()
	}
	return false, true, err
}

// exportName is a name for the file, made of nothing that the caller sent but
// times.
func exportName(f usage.Filter, format string) string {
	name := "tollgate-usage"
	if !f.From.IsZero() {
		name += "-from-" + f.From.UTC().Format("20060102T150405Z")
	}
	if !f.To.IsZero() {
		name += "-to-" + f.To.UTC().Format("20060102T150405Z")
	}
	return name + "." + format
}

// jsonExport writes {"logs":[…],"truncated":false}.
type jsonExport struct {
	w    *bufio.Writer
	rows int
}

func (e *jsonExport) begin() error {
	_, err := e.w.WriteString(`{"logs":[`)
	return err
}

func (e *jsonExport) row(row *exportRow) error {
	if e.rows++; e.rows > 1 {
		_ = e.w.WriteByte(',') // a bufio.Writer keeps its error
	}
	return writeRow(e.w, row, "\n")
}

func (e *jsonExport) end(truncated bool) error {
	_, err := fmt.Fprintf(e.w, "],\"truncated\":%t}\n", truncated)
	return err
}

// ndjsonExport writes one object a line.
type ndjsonExport struct{ w *bufio.Writer }

func (ndjsonExport) begin() error               { return nil }
func (e ndjsonExport) row(row *exportRow) error { return writeRow(e.w, row, "\n") }
func (ndjsonExport) end(bool) error             { return nil }

func writeRow(w io.Writer, row *exportRow, after string) error {
	text, err := json.Marshal(row)
	if err != nil {
		return fmt.Errorf("encode row: %w", err)
	}
	_, err = w.Write(append(text, after...))
	return err
}

// csvExport writes RFC 4180 with a header line.
type csvExport struct{ w *csv.Writer }

func (e csvExport) begin() error {
	return e.w.Write([]string{
		"id", "timestamp", "request_id", "user_hash", "user_email_hash", "specialist_id", "specialist_name", "provider",
		"model", "response_model", "dialect", "stream", "attempt", "status", "success", "finish_reason", "error_cause",
		"input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "usage_source",
		"cost_usd", "priced", "price_version", "reported_cost_usd", "latency_ms", "ttft_ms",
		"run_id", "step",
	})
}

func (e csvExport) row(r *exportRow) error {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	var reported, ttft string
	if r.ReportedCost != nil {
		reported = r.ReportedCost.String()
	}
	if r.TTFTMS != nil {
		ttft = number(*r.TTFTMS)
	}
	return e.w.Write([]string{
		r.ID, r.Timestamp.Format(time.RFC3339Nano), cell(r.RequestID), cell(r.UserHash), cell(r.UserEmailHash),
		cell(r.SpecialistID), cell(r.SpecialistName), cell(r.Provider), cell(r.Model), cell(r.ResponseModel), cell(r.Dialect),
		strconv.FormatBool(r.Stream), number(int64(r.Attempt)), number(int64(r.Status)), strconv.FormatBool(r.Success),
		cell(r.FinishReason), cell(string(r.ErrorCause)),
		number(r.InputTokens), number(r.OutputTokens), number(r.CachedTokens), number(r.CacheWriteTokens),
		number(r.ReasoningTokens), string(r.UsageSource), r.CostUSD.String(), strconv.FormatBool(r.Priced),
		cell(r.PriceVersion), reported, number(r.LatencyMS), ttft, cell(r.RunID), cell(r.Step),
	})
}

func (e csvExport) end(bool) error {
	e.w.Flush()
	return e.w.Error()
}

// cell keeps a spreadsheet from taking a text for a formula: callers choose some
// of these texts, and whoever opens the file is somebody else.
func cell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r\n", rune(text[0])) {
		return "'" + text
	}
	return text
}
