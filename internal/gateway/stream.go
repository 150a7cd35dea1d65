package gateway

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/metrics"
	"github.com/financecommander/tollgate/internal/sse"
)

// lingerTime is how long an upstream may take to close its answer after the
// terminal event. The connection of one that does can be used again.
const lingerTime = 100 * time.Millisecond

// streamBuffers are what a stream reads into and writes from.
type streamBuffers struct {
	scanner sse.Scanner
	out     []byte // what the caller gets next
}

// keepOut bounds the pooled memory of one stream.
const keepOut = 64 << 10

var streams = sync.Pool{New: func() any { return new(streamBuffers) }}

func (b *streamBuffers) free() {
	b.scanner.Reset()
	b.out = b.out[:0]
	if cap(b.out) > keepOut {
		b.out = nil
	}
	streams.Put(b)
}

// stream is a streamed answer on its way.
type stream struct {
	*streamBuffers
	ex     *exchange
	a      *attempt
	resp   *http.Response
	said   answer
	rc     *http.ResponseController
	last   time.Time
	done   bool // the terminal event has come
	failed bool // an error has come in its place
	gone   bool // the caller has left; only read on
	pings  pings
}

// relayStream passes a streamed answer on, whole event by whole event, each as
// soon as it is there.
func (ex *exchange) relayStream(a *attempt, resp *http.Response) *llm.Error {
	a.watch.answered()
	defer metrics.StreamStarted()()
	s := &stream{
		streamBuffers: streams.Get().(*streamBuffers),
		ex:            ex, a: a, resp: resp, said: a.said,
		rc: http.NewResponseController(ex.w),
	}
	defer s.free()
	ping, every := a.said.ping(&ex.g.Options)
	if len(ping) > 0 {
		s.pings.start(every, func() { _ = s.send(ping) }) // who has left is met by the next write
	}
	defer s.pings.stop()
	for {
		_, failure := s.scanner.Fill(resp.Body)
		now := time.Now()
		a.watch.touchAt(now)
		s.take(now)
		if failure != nil || s.done || s.failed {
			return s.end(failure)
		}
		if len(s.out) > 0 {
			s.write()
		}
	}
}

// take meters the events at hand and turns them into the caller's bytes. An
// error is the last of them, and is said in our words by appendEnd.
func (s *stream) take(now time.Time) {
	arrived := false
	s.out = slices.Grow(s.out, len(s.scanner.Rest()))
	for !s.failed {
		ev, ok := s.scanner.Next()
		if !ok {
			break
		}
		arrived = true
		mark := s.a.meter.Event(ev)
		if mark.Content && s.a.firstToken == 0 {
			s.a.firstToken = now.Sub(s.ex.start)
			s.a.target.counts.FirstToken(s.a.firstToken)
		}
		s.done, s.failed = s.done || mark.Terminal, mark.Failed
		if !mark.Failed {
			s.out = s.said.appendEvent(s.out, ev, mark)
		}
	}
	if arrived {
		if !s.last.IsZero() {
			s.a.target.counts.Gap(now.Sub(s.last))
		}
		s.last = now
	}
}

// write sends what is ready. A caller who has left is noted; what comes after
// is for the meter.
func (s *stream) write() {
	if !s.gone {
		s.ex.pass(s.a)
		s.pings.hold()
		err := s.send(s.out)
		s.pings.release()
		if err != nil {
			s.gone = true
			if s.ex.g.OnDisconnect == Cancel {
				s.a.watch.stop()
			}
		}
	}
	s.out = s.out[:0]
}

// send writes to the caller at once. Pings may go out before anything else: the
// upstream has answered, so the caller's 200 may go with one.
func (s *stream) send(p []byte) error {
	s.commit()
	if _, err := s.ex.w.Write(p); err != nil {
		return err
	}
	return s.rc.Flush()
}

func (s *stream) commit() {
	if s.ex.committed {
		return
	}
	s.ex.committed = true
	s.ex.returnHeader(s.a, s.resp)
	// nginx in front of us would gather the stream otherwise.
	s.ex.w.Header()["X-Accel-Buffering"] = noGather
	s.ex.w.WriteHeader(http.StatusOK)
}

// end settles a stream that is over, well or not, and then lets the caller have
// its end. failure is how reading ended; nil where the upstream has not closed
// its answer yet. An error means that nothing has gone to the caller, so it can
// still be an HTTP error, or another target's turn.
func (s *stream) end(failure error) *llm.Error {
	s.pings.stop()
	s.gone = s.gone || s.ex.r.Context().Err() != nil
	err := s.verdict(failure)
	if err != nil && !s.ex.committed {
		return err
	}
	if err == nil && failure != nil {
		s.out = s.said.appendRest(s.out, s.scanner.Rest())
	}
	s.ex.settle(s.a, err)
	s.out = s.said.appendEnd(s.out, err)
	s.write()
	s.ex.tellEnd()
	if failure == nil && err == nil {
		s.linger()
	}
	return nil
}

// verdict says why a stream is not whole; nil: it is.
func (s *stream) verdict(failure error) *llm.Error {
	reading := s.a.meter.Reading()
	switch {
	case s.gone:
		return clientGone(s.ex.r)
	case s.a.tooLong:
		return answerTooLarge()
	case reading.Err != nil:
		return reading.Err
	case reading.Complete:
		return nil
	case failure != nil && !errors.Is(failure, io.EOF):
		return s.ex.transportError(s.a, failure)
	default:
		return &llm.Error{Cause: llm.CauseUpstreamCut, Message: "the upstream provider's stream ended early", Err: io.ErrUnexpectedEOF}
	}
}

// linger passes on what an upstream sends after its terminal event, such as
// OpenRouter's [DONE] after a response, and waits for it to close its answer.
func (s *stream) linger() {
	s.a.watch.shorten(lingerTime)
	for {
		_, failure := s.scanner.Fill(s.resp.Body)
		s.take(time.Now())
		if errors.Is(failure, io.EOF) {
			s.out = s.said.appendRest(s.out, s.scanner.Rest())
		}
		if len(s.out) > 0 {
			s.write()
		}
		if failure != nil {
			return
		}
	}
}
