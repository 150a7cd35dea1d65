package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/metrics"
	"github.com/financecommander/tollgate/internal/sse"
)

// relayWhole passes an unstreamed answer on: read whole, settled, then written,
// so that the record stands before the caller has the answer.
func (ex *exchange) relayWhole(a *attempt, resp *http.Response) *llm.Error {
	a.watch.touch()
	body := newBuffer(int(min(max(resp.ContentLength, 0), maxAnswer)))
	defer body.free()
	n, err := body.readFrom(io.LimitReader(watched{resp.Body, a.watch}, maxAnswer+1))
	switch {
	case err != nil:
		return ex.transportError(a, err)
	case n > maxAnswer:
		return &llm.Error{Cause: llm.CauseUpstreamInvalid, Message: "the upstream provider's answer is too large", Err: fmt.Errorf("more than %d bytes", maxAnswer)}
	}
	a.meter.Body(body.bytes())
	if err := a.meter.Reading().Err; err != nil {
		return err
	}
	if ex.r.Context().Err() != nil {
		return clientGone(ex.r)
	}
	ex.settle(a, nil)
	said := ex.face.answer(ex, a)
	content := said.body(body.bytes())
	ex.returnHeader(a, resp, said.contentType(resp.Header.Get("Content-Type")))
	ex.w.Header()["Content-Length"] = []string{strconv.Itoa(len(content))}
	ex.committed = true
	ex.w.WriteHeader(http.StatusOK)
	_, _ = ex.w.Write(content)
	return nil
}

// watched tells the watchdog of every read.
type watched struct {
	io.Reader
	watch *watchdog
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.watch.touch()
	return n, err
}

var scanners = sync.Pool{New: func() any { return new(sse.Scanner) }}

// stream is a streamed answer on its way.
type stream struct {
	ex      *exchange
	a       *attempt
	body    io.Reader
	said    answer
	rc      *http.ResponseController
	scanner *sse.Scanner
	out     []byte // what the caller gets next
	last    time.Time
	done    bool // the terminal event has come
	gone    bool // the caller has left; only read on
}

// relayStream passes a streamed answer on, whole event by whole event, each as
// soon as it is there.
func (ex *exchange) relayStream(a *attempt, resp *http.Response) *llm.Error {
	a.watch.touch()
	defer metrics.StreamStarted()()
	s := &stream{
		ex: ex, a: a, body: resp.Body, said: ex.face.answer(ex, a),
		rc: http.NewResponseController(ex.w), scanner: scanners.Get().(*sse.Scanner),
	}
	defer func() {
		s.scanner.Reset()
		scanners.Put(s.scanner)
	}()
	for {
		_, failure := s.scanner.Fill(s.body)
		a.watch.touch()
		s.take()
		if failure != nil {
			return s.end(resp, failure)
		}
		if len(s.out) == 0 {
			continue
		}
		if err := s.firstError(); err != nil {
			return err
		}
		s.write(resp)
	}
}

// take meters the events at hand and turns them into the caller's bytes.
func (s *stream) take() {
	arrived := false
	for {
		ev, ok := s.scanner.Next()
		if !ok {
			break
		}
		arrived = true
		mark := s.a.meter.Event(ev)
		if mark.Content && s.a.firstToken == 0 {
			s.a.firstToken = time.Since(s.ex.start)
			s.a.target.counts.FirstToken(s.a.firstToken)
		}
		s.done = s.done || mark.Terminal
		s.out = s.said.appendEvent(s.out, ev, mark)
	}
	if arrived {
		now := time.Now()
		if !s.last.IsZero() {
			s.a.target.counts.Gap(now.Sub(s.last))
		}
		s.last = now
	}
}

// firstError gives an upstream's error that came as the first thing in a 200
// stream: nothing has gone to the caller, so it can still be an HTTP error, or
// another target's turn.
func (s *stream) firstError() *llm.Error {
	if s.ex.committed || s.a.firstToken != 0 {
		return nil
	}
	return s.a.meter.Reading().Err
}

// write sends what is ready. The terminal event is held until the record
// stands. A caller who has left is noted; what comes after is for the meter.
func (s *stream) write(resp *http.Response) {
	if s.done && !s.a.settled {
		s.ex.settle(s.a, s.a.meter.Reading().Err)
	}
	if s.gone {
		s.out = s.out[:0]
		return
	}
	s.commit(resp)
	_, err := s.ex.w.Write(s.out)
	if err == nil {
		err = s.rc.Flush()
	}
	s.out = s.out[:0]
	if err != nil || s.ex.r.Context().Err() != nil {
		s.gone = true
		if s.ex.g.OnDisconnect == Cancel {
			s.a.watch.stop()
		}
	}
}

func (s *stream) commit(resp *http.Response) {
	if s.ex.committed {
		return
	}
	s.ex.committed = true
	s.ex.returnHeader(s.a, resp, s.said.contentType(resp.Header.Get("Content-Type")))
	// nginx in front of us would gather the stream otherwise.
	s.ex.w.Header()["X-Accel-Buffering"] = []string{"no"}
	s.ex.w.WriteHeader(http.StatusOK)
}

// end settles a stream whose bytes have ended, well or not, and says so to the
// caller.
func (s *stream) end(resp *http.Response, failure error) *llm.Error {
	err := s.verdict(failure)
	if !s.ex.committed && err != nil && !s.gone && s.a.firstToken == 0 {
		return err // nothing has gone out: answer with an HTTP error, or try elsewhere
	}
	s.ex.settle(s.a, err)
	if rest := s.scanner.Rest(); err == nil && len(rest) > 0 {
		s.out = append(s.out, rest...) // a stream without its last blank line
	}
	s.out = s.said.appendEnd(s.out, err)
	if len(s.out) > 0 && !s.gone {
		s.write(resp)
	}
	if !s.gone {
		s.commit(resp) // an empty stream is an answer, too
	}
	return nil
}

// verdict says why a stream is not whole; nil: it is.
func (s *stream) verdict(failure error) *llm.Error {
	reading := s.a.meter.Reading()
	switch {
	case reading.Err != nil:
		return reading.Err
	case s.gone:
		return clientGone(s.ex.r)
	case reading.Complete:
		return nil
	case failure != io.EOF:
		return s.ex.transportError(s.a, failure)
	default:
		return &llm.Error{Cause: llm.CauseUpstreamCut, Message: "the upstream provider's stream ended early", Err: io.ErrUnexpectedEOF}
	}
}
