package run

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/financecommander/tollgate/internal/pipeline"
)

const (
	// gather is how long pieces of an output are gathered to one event.
	gather = 40 * time.Millisecond
	// holdFor is how long the last event waits for the run's end to be stored, so
	// that who asks for the run on hearing it finds it ended.
	holdFor = 5 * time.Second
	// tail is how many events stay in memory for followers who keep up, once the
	// database has all.
	tail = 16
	// maxKept is how much of what the database has stays in memory, in bytes: of a run
	// that puts out a lot followers who are behind read it there.
	maxKept = 1 << 20
)

// eventLog is the events of a run under way.
type eventLog struct {
	runID string

	mu      sync.Mutex // guards what follows
	forgot  int64      // so many first events are in the database only
	events  []pipeline.StoredEvent
	size    int           // of events, in bytes
	stored  int64         // so many first events are in the database
	over    bool          // the last event is there
	hold    bool          // and it waits
	changed chan struct{} // closed at the next change; nil: nobody waits
	pieces  map[string]*pieces
	timer   *time.Timer // to flush pieces; nil: there are none
	holding *time.Timer
}

// pieces are what an agent has put out since its last event.
type pieces struct {
	text    strings.Builder
	at      time.Time // of the newest
	flushed time.Time
}

func newLog(runID string) *eventLog {
	return &eventLog{runID: runID, hold: true, pieces: map[string]*pieces{}}
}

// add adds an event. It never waits. What comes behind the last event is dropped.
func (l *eventLog) add(e pipeline.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if token, ok := e.Data.(pipeline.AgentToken); ok {
		l.piece(token, e.Time)
		return
	}
	if agent := agentOf(e.Data); agent != "" {
		l.flush(agent)
	} else {
		l.flushAll()
	}
	l.over = e.Type == pipeline.EventComplete || e.Type == pipeline.EventError
	if l.over && l.hold {
		l.holding = time.AfterFunc(holdFor, l.show)
	}
	l.append(e.Type, e.Time, e.Data)
}

func agentOf(data any) string {
	switch d := data.(type) {
	case pipeline.AgentStarted:
		return d.Agent
	case pipeline.AgentCompleted:
		return d.Agent
	case pipeline.AgentFailed:
		return d.Agent
	case pipeline.Retried:
		return d.Agent
	}
	return ""
}

// piece takes a piece of an output. The first after a while is an event at once.
func (l *eventLog) piece(token pipeline.AgentToken, at time.Time) {
	p := l.pieces[token.Agent]
	if p == nil {
		p = &pieces{}
		l.pieces[token.Agent] = p
	}
	p.text.WriteString(token.Content)
	p.at = at
	now := time.Now()
	switch {
	case now.Sub(p.flushed) >= gather:
		l.flush(token.Agent)
	case l.timer == nil:
		l.timer = time.AfterFunc(gather, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.flushAll()
		})
	}
}

func (l *eventLog) flush(agent string) {
	p := l.pieces[agent]
	if p == nil || p.text.Len() == 0 {
		return
	}
	text := p.text.String()
	p.text.Reset()
	p.flushed = time.Now()
	l.append(pipeline.EventAgentToken, p.at, pipeline.AgentToken{Agent: agent, Content: text})
}

func (l *eventLog) flushAll() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	for agent := range l.pieces {
		l.flush(agent)
	}
}

func (l *eventLog) append(kind pipeline.EventType, at time.Time, data any) {
	text, err := json.Marshal(data)
	if err != nil { // a bug: an event of a type of ours has a text
		text = []byte("{}")
	}
	at = stamp(at)
	if n := len(l.events); n > 0 && at.Before(l.events[n-1].Timestamp) {
		at = l.events[n-1].Timestamp
	}
	l.events = append(l.events, pipeline.StoredEvent{Seq: l.last() + 1, Type: kind, RunID: l.runID, Timestamp: at, Data: text})
	l.size += sizeOf(&l.events[len(l.events)-1])
	l.tell()
}

// sizeOf is about how much room an event takes.
func sizeOf(e *pipeline.StoredEvent) int { return len(e.Data) + 128 }

// last is the number of the newest event.
func (l *eventLog) last() int64 { return l.forgot + int64(len(l.events)) }

func (l *eventLog) tell() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// from gives followers at most limit events from a number on. Without any it gives
// what is closed when there may be some. forgotten: the database has them.
func (l *eventLog) from(seq int64, limit int) (events []pipeline.StoredEvent, changed <-chan struct{}, forgotten bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	shown := l.last()
	if l.over && l.hold {
		shown--
	}
	switch {
	case seq <= l.forgot:
		return nil, nil, true
	case seq <= shown:
		begin := seq - l.forgot - 1
		return slices.Clone(l.events[begin:min(shown-l.forgot, begin+int64(limit))]), nil, false
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return nil, l.changed, false
}

// unstored are the events that the database does not have.
func (l *eventLog) unstored() []pipeline.StoredEvent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clip(l.events[l.stored-l.forgot:])
}

// keptTo says that the database has the events up to a number.
func (l *eventLog) keptTo(seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stored = seq
	l.shrink(len(l.events))
}

// shrink leaves in memory at most so many events, and not too much of those that
// the database has.
func (l *eventLog) shrink(most int) {
	n, size := 0, l.size
	for l.forgot+int64(n) < l.stored && (len(l.events)-n > most || size > maxKept) {
		size -= sizeOf(&l.events[n])
		n++
	}
	if n > 0 {
		l.events, l.size = slices.Clone(l.events[n:]), size
		l.forgot += int64(n)
	}
}

// show lets followers have the last event.
func (l *eventLog) show() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = false
	if l.holding != nil {
		l.holding.Stop()
	}
	l.tell()
}

// forget keeps the last events alone: the database has all of them.
func (l *eventLog) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stored = l.last()
	l.shrink(tail)
}
