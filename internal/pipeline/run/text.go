package run

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
)

// maxOpened bounds what a sealed text may become.
const maxOpened = 64 << 20

// The parts of a run that are encrypted, each for itself: none opens in another's
// place, nor as another user's.
const (
	partPlan   = "plan"
	partQuery  = "query"
	partOutput = "output"
	partEvents = "events"
	partStep   = "step/"
)

func (s *Service) seal(user, id, part string, text []byte) []byte {
	return s.box.Seal(text, user+"\x00"+id+"\x00"+part)
}

func (s *Service) open(user, id, part string, sealed []byte) ([]byte, bool) {
	if len(sealed) == 0 {
		return nil, false
	}
	return s.box.Open(sealed, user+"\x00"+id+"\x00"+part, maxOpened)
}

// digest tells texts of one user apart. It is keyed: without the key nobody can try
// texts against it.
func (s *Service) digest(user, kind string, texts ...string) []byte {
	mac := hmac.New(sha256.New, s.key)
	for _, text := range append([]string{user, kind}, texts...) {
		fmt.Fprintf(mac, "%d:%s", len(text), text)
	}
	return mac.Sum(nil)
}

// keptEvent is an event as the database has it, encrypted; its run and number are
// known by its place.
type keptEvent struct {
	Type pipeline.EventType `json:"t"`
	Time time.Time          `json:"at"`
	Data json.RawMessage    `json:"d"`
}

func (s *Service) sealEvents(user, id string, events []pipeline.StoredEvent) []byte {
	kept := make([]keptEvent, len(events))
	for i, e := range events {
		kept[i] = keptEvent{e.Type, e.Timestamp, e.Data}
	}
	text, _ := json.Marshal(kept) // of what was marshaled before
	return s.seal(user, id, fmt.Sprint(partEvents, events[0].Seq), text)
}

func (s *Service) openEvents(user, id string, first int64, sealed []byte) ([]pipeline.StoredEvent, bool) {
	text, ok := s.open(user, id, fmt.Sprint(partEvents, first), sealed)
	var kept []keptEvent
	if !ok || json.Unmarshal(text, &kept) != nil {
		return nil, false
	}
	events := make([]pipeline.StoredEvent, len(kept))
	for i, e := range kept {
		events[i] = pipeline.StoredEvent{Seq: first + int64(i), Type: e.Type, RunID: id, Timestamp: e.Time, Data: e.Data}
	}
	return events, true
}

// stamp is a time as events have it.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

const maxMessage = 1000 // bytes, of what a table says of an error

// plain is a text as both databases take it.
func plain(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "�"), "\x00", "")
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}

// checkQuery says what is wrong with a query; nil: nothing.
func checkQuery(query string) error {
	switch {
	case strings.TrimSpace(query) == "":
		return wrong("query", "is required")
	case len(query) > MaxQuery:
		return wrong("query", fmt.Sprintf("is longer than %d KiB", MaxQuery>>10))
	case !utf8.ValidString(query) || strings.ContainsRune(query, 0):
		return wrong("query", "has characters that are no text")
	}
	return nil
}

// wrong is a 422 that names the field at fault.
func wrong(field, problem string) *llm.Error {
	return &llm.Error{Cause: llm.CauseInvalidRequest, HTTPStatus: 422, Param: field, Message: field + " " + problem}
}

// away is what callers hear when the database does not answer.
func away(err error) *llm.Error {
	return &llm.Error{
		Cause: llm.CauseUnavailable, RetryAfter: 5 * time.Second, Err: err,
		Message: "the runs of pipelines cannot be reached right now; try again shortly",
	}
}

func noRun() *llm.Error {
	return &llm.Error{Cause: llm.CauseNotFound, Message: "there is no such run"}
}

func conflict(message string) *llm.Error {
	return &llm.Error{Cause: llm.CauseInvalidRequest, HTTPStatus: 409, Message: message}
}
