// Package usage is the ledger: one [Record] for every upstream attempt that
// could cost money, durable before the caller sees the end of the answer, and in
// the database a fraction of a second later.
//
// A record is first appended to a spool of segment files ([Ledger.Append]). A
// background goroutine, the shipper, seals the segment that is being written,
// inserts its lines into the database as one batch, and deletes the file once
// the database has committed. A segment left by a crash or an outage takes the
// same way later: the live path is the recovery path. Inserting a record twice
// does nothing, so any step may be repeated.
//
// An attempt under way has an entry in the [journal] ([Ledger.Begin]), from which
// the next process makes its record should this one die.
//
// What can be lost: nothing when the process dies (kill -9); when the machine
// loses power, the records of the last [DefaultSyncInterval] and those of
// attempts under way.
package usage

import (
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/pricing"
)

// Record is one row of the usage log. Its JSON names are the columns of the
// table usage_logs; [database.UsageColumns] lists them. Strings are capped when
// the record is written (see [MaxText]).
type Record struct {
	// ID is the primary key, made once per attempt by [NewRecord].
	ID uuid.UUID `json:"id"`
	// Timestamp is when the attempt began, in UTC and whole microseconds. It is
	// part of the primary key and must not change once set.
	Timestamp time.Time `json:"timestamp"`
	// RequestID ties the attempts of one request together.
	RequestID string `json:"request_id"`

	UserHash      string `json:"user_hash"`       // who pays: hash of the token's subject
	UserEmailHash string `json:"user_email_hash"` // hash of the address; empty when the token has none
	TokenID       string `json:"token_id"`        // the token's jti; empty when it has none

	SpecialistID   string `json:"specialist_id"`
	SpecialistName string `json:"specialist_name"`
	Provider       string `json:"provider"`       // configured name of the upstream
	Model          string `json:"model"`          // as asked of the upstream
	ResponseModel  string `json:"response_model"` // as the upstream called itself
	Dialect        string `json:"dialect"`        // the caller's
	Stream         bool   `json:"stream"`

	// Token counts. Input and output are totals; the others are parts of them.
	InputTokens        int64 `json:"input_tokens"`
	OutputTokens       int64 `json:"output_tokens"`
	CachedTokens       int64 `json:"cached_tokens"`         // of the input: read from a cache
	CacheWriteTokens   int64 `json:"cache_write_tokens"`    // of the input: written to a cache
	CacheWrite1hTokens int64 `json:"cache_write_1h_tokens"` // of those: kept for an hour
	ReasoningTokens    int64 `json:"reasoning_tokens"`      // of the output
	AudioInputTokens   int64 `json:"audio_input_tokens"`
	AudioOutputTokens  int64 `json:"audio_output_tokens"`
	ImageInputTokens   int64 `json:"image_input_tokens"`
	ImageOutputTokens  int64 `json:"image_output_tokens"`

	UsageSource llm.UsageSource `json:"usage_source"`

	// Cost is what the attempt costs by our price table, 0 when not Priced.
	Cost         pricing.Money `json:"cost_picodollars"`
	Priced       bool          `json:"priced"`
	PriceVersion string        `json:"price_version"`
	// ReportedCost is what the provider itself said, nil when it said nothing.
	ReportedCost *pricing.Money `json:"reported_cost_usd"`

	Latency time.Duration `json:"latency_ms"` // whole attempt; stored in whole milliseconds
	TTFT    time.Duration `json:"ttft_ms"`    // to the first token; 0: there was none

	Attempt        int       `json:"attempt"`         // 1 for the first target tried
	UpstreamStatus int       `json:"upstream_status"` // 0: no answer
	Status         int       `json:"status"`          // what the caller got; 0: not known
	Success        bool      `json:"success"`         // the caller's answer was completed
	FinishReason   string    `json:"finish_reason"`
	ErrorCause     llm.Cause `json:"error_cause"`

	RunID string `json:"run_id"` // the pipeline run, empty outside of one
	Step  string `json:"step"`   // the step of the run
}

// NewRecord returns a record of an attempt that begins at the given time, with
// its id.
func NewRecord(at time.Time) *Record {
	at = at.UTC().Truncate(time.Microsecond)
	return &Record{ID: newID(at), Timestamp: at, Attempt: 1}
}

// ensureID gives a record that was not made by [NewRecord] an id, lest the second
// such be taken for the first.
func (r *Record) ensureID() {
	if r.ID == uuid.Nil {
		fresh := NewRecord(time.Now())
		r.ID, r.Timestamp = fresh.ID, fresh.Timestamp
	}
}

// newID makes a UUID of version 7 (RFC 9562, section 5.7) from a time and 74
// random bits. math/rand/v2 is ChaCha8 seeded by the operating system and, unlike
// uuid.NewV7, has no lock that all requests share.
func newID(at time.Time) (id uuid.UUID) {
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16|rand.Uint64()&0x0fff|0x7000)
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()>>2|1<<63)
	return id
}

// SetUsage fills in the token counts.
func (r *Record) SetUsage(u llm.Usage, source llm.UsageSource) {
	r.InputTokens = u.InputTotal()
	r.OutputTokens = u.OutputTotal()
	r.CachedTokens = u.Cached()
	r.CacheWriteTokens = u.CacheWrite()
	r.CacheWrite1hTokens = u.CacheWrite1h
	r.ReasoningTokens = u.Reasoning
	r.AudioInputTokens = u.InputAudio + u.CachedAudio
	r.AudioOutputTokens = u.OutputAudio
	r.ImageInputTokens = u.InputImage + u.CachedImage
	r.ImageOutputTokens = u.OutputImage
	r.UsageSource = source
}

// UnmarshalJSON reads a line of the spool or a row of the database, where money
// is in picodollars and durations are in milliseconds.
func (r *Record) UnmarshalJSON(text []byte) error {
	type fields Record // without this method
	row := struct {
		*fields
		Cost         int64   `json:"cost_picodollars"`
		ReportedCost *string `json:"reported_cost_usd"`
		Latency      int64   `json:"latency_ms"`
		TTFT         int64   `json:"ttft_ms"`
	}{fields: (*fields)(r)}
	if err := json.Unmarshal(text, &row); err != nil {
		return err
	}
	r.Cost = pricing.Money(row.Cost)
	r.Latency = time.Duration(row.Latency) * time.Millisecond
	r.TTFT = time.Duration(row.TTFT) * time.Millisecond
	r.ReportedCost = nil
	if row.ReportedCost != nil {
		reported, err := pricing.ParseUSD(*row.ReportedCost)
		if err != nil {
			return err
		}
		r.ReportedCost = &reported
	}
	return nil
}

// MarshalJSON writes the record as the spool has it.
func (r *Record) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil), nil }
