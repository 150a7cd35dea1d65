package portal

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline/run"
)

const (
	// closeNoRun closes the socket of a run that is not there, or another's.
	closeNoRun = websocket.StatusCode(4003)
	// verifyEvery is how often the token of a run's socket is looked at: there is no
	// call at which that could happen.
	verifyEvery = 5 * time.Second
)

// runSocket is the WebSocket of a pipeline's run: all its events from the first
// one on, whenever it is opened. Events are fetched as they are sent, so one who
// reads slowly holds nothing up and takes no room.
type runSocket struct {
	*connection
	id   string
	feed *run.Feed
	own  atomic.Bool // the run was under way in this process
}

// runSocket opens a socket and serves it to its end.
func (h *Handler) runSocket(w http.ResponseWriter, r *http.Request) error {
	if !h.o.Pipelines.on() || h.o.Chat.Verify == nil {
		return pipelinesOff()
	}
	return h.openSocket(w, r, 0, func(c *connection) socketUse {
		return &runSocket{connection: c, id: r.PathValue("id")}
	})
}

// opened implements socketUse.
func (s *runSocket) opened() (websocket.StatusCode, string) {
	if s.principal.UserHash == "" || uuid.Validate(s.id) != nil {
		return closeNoRun, "there is no such run"
	}
	s.own.Store(s.h.o.Pipelines.Runs.Owns(s.id))
	feed, err := s.h.o.Pipelines.Runs.Follow(s.ctx, s.principal, s.id)
	if err != nil {
		return s.closeWithout(err)
	}
	s.feed = feed
	s.workers.Go(s.follow)
	s.workers.Go(s.watch)
	return 0, ""
}

// closeWithout says how a socket is closed whose events cannot be had.
func (s *runSocket) closeWithout(err error) (websocket.StatusCode, string) {
	if problem := asProblem(err); problem.Cause == llm.CauseNotFound || problem.Cause == llm.CauseForbidden {
		return closeNoRun, "there is no such run"
	}
	s.h.o.Logger.ErrorContext(s.ctx, "events of a pipeline run", slog.Any("error", err))
	return websocket.StatusTryAgainLater, "the run's events cannot be read at the moment"
}

// follow sends the run's events, and closes the socket after the last one.
func (s *runSocket) follow() {
	defer s.feed.Close()
	for {
		events, err := s.feed.Next(s.ctx)
		for i := range events {
			message, err := json.Marshal(&events[i])
			if err != nil {
				s.finish(s.closeWithout(err))
				return
			}
			if s.send(message) != nil {
				return
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			s.finish(websocket.StatusNormalClosure, "the run has ended")
			return
		case s.ctx.Err() != nil:
			return
		default:
			s.finish(s.closeWithout(err))
			return
		}
	}
}

// watch ends the socket when its token is good no more, or its user's role is
// another one: only admins follow the runs of others.
func (s *runSocket) watch() {
	tick := time.NewTicker(s.h.o.Chat.Sockets.verifyEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p, refused := s.verify()
			switch {
			case refused != nil && refused.Cause == llm.CauseUnauthenticated:
				s.end(closeFor(refused))
				return
			case refused == nil && p.Role() != s.principal.Role():
				s.end(websocket.StatusPolicyViolation, "your role has changed; connect again")
				return
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// listen implements socketUse: a client has nothing to say but ping.
func (s *runSocket) listen() (websocket.StatusCode, string) {
	for {
		r, code, reason := s.next()
		if r == nil {
			return code, reason
		}
		message, err := io.ReadAll(r)
		if err != nil {
			return 0, ""
		}
		if strings.TrimSpace(string(message)) == "ping" {
			_ = s.send([]byte("pong"))
		}
	}
}

// drain implements socketUse. The runs of this process are waited for, so their
// sockets are too, to the last event; all others can be followed elsewhere.
func (s *runSocket) drain() {
	if !s.own.Load() {
		s.workers.Go(func() { s.finish(goingAway()) })
	}
}
