package conversation

import (
	"context"
	"slices"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
)

// How long a reading waits.
const (
	// maxWait is the longest for the question to be stored, or the answer that is
	// over.
	maxWait = time.Second
	// maxFirstWait is the longest for a stream to begin, of which there is nothing
	// yet: the page sends its question and reads at once.
	maxFirstWait = 300 * time.Millisecond
	// pollEvery is how often the database is asked for a question that another
	// replica may have stored.
	pollEvery = 100 * time.Millisecond
)

// perByte is how many bytes of memory a byte of text takes while it is read: as
// it is stored, as it is, and as JSON, where one may be written as six.
const perByte = 8

// Reading is a conversation with its messages, as it is read.
type Reading struct {
	Conversation
	Messages []Message `json:"messages"`

	reading *reading
	share   *gateway.Share // of the memory
}

// Answered says that the caller has been sent the reading, or never will be. A
// stream that it holds up goes on a little later.
func (r *Reading) Answered() {
	r.share.Release()
	if r.reading != nil {
		r.reading.done(time.Now())
	}
}

// Read gives a conversation. While its first answer is given, the answer's text
// so far stands behind its messages, with the id 0, and the answer stands still
// until a moment after [Reading.Answered], which the caller must call.
func (s *Service) Read(ctx context.Context, owner, id string) (*Reading, error) {
	c, err := s.store.Conversation(ctx, owner, id)
	if err != nil {
		return nil, known(err)
	}
	if c.Answered {
		return s.load(ctx, c, nil)
	}
	r := s.live.read(c, time.Now())
	if r == nil {
		return s.load(ctx, c, nil)
	}
	read, err := s.readAlong(ctx, c, r)
	if err != nil {
		r.done(time.Now())
		return nil, err
	}
	read.reading = r
	return read, nil
}

// readAlong reads a conversation whose first answer is under way, or may be.
func (s *Service) readAlong(ctx context.Context, c *database.Conversation, r *reading) (*Reading, error) {
	for {
		a, changed, may := r.find(c)
		if a != nil {
			return s.readWith(ctx, c, r, a)
		}
		limit := maxFirstWait
		if may {
			limit = maxWait
		}
		left := limit - time.Since(r.began)
		if left <= 0 || !r.fresh {
			return s.load(ctx, c, r.guess(c))
		}
		if err := wait(ctx, min(left, pollEvery), changed); err != nil {
			return nil, err
		}
		again, err := s.store.Conversation(ctx, c.Owner, c.UUID)
		if err != nil {
			return nil, known(err)
		}
		if c = again; c.Answered {
			return s.load(ctx, c, nil)
		}
	}
}

// readWith reads a conversation with the answer that belongs to it.
func (s *Service) readWith(ctx context.Context, c *database.Conversation, r *reading, a *answer) (*Reading, error) {
	ended, kept := a.state()
	since := r.began // no piece was written later: they are held up
	if !ended.IsZero() {
		if err := wait(ctx, maxWait-time.Since(r.began), kept); err != nil {
			return nil, err
		}
		since = ended
	}
	if err := wait(ctx, lead-time.Since(since), nil); err != nil {
		return nil, err
	}
	again, err := s.store.Conversation(ctx, c.Owner, c.UUID)
	if err != nil {
		return nil, known(err)
	}
	return s.load(ctx, again, a)
}

// load gives a conversation with its messages and, unless it has one, the answer
// that is under way.
func (s *Service) load(ctx context.Context, c *database.Conversation, a *answer) (*Reading, error) {
	share := s.room.Share(c.Owner)
	if !share.Take(perByte * c.TextBytes) {
		return nil, &llm.Error{
			Cause: llm.CauseUnavailable, RetryAfter: 5 * time.Second,
			Message: "the gateway is busy with long conversations; try again shortly",
		}
	}
	messages, err := s.messages(ctx, c)
	if err != nil {
		share.Release()
		return nil, err
	}
	// It may have been stored since c was read.
	if a != nil && !slices.ContainsFunc(messages, func(m Message) bool { return m.Role == roleAssistant }) {
		messages = append(messages, Message{
			Role: roleAssistant, Content: a.soFar(), Model: a.model, CreatedAt: afterQuestion(c, a.started.UTC()),
		})
	}
	return &Reading{Conversation: *s.show(c), Messages: messages, share: share}, nil
}

// afterQuestion gives the time of a first answer. The page stores the question when
// the answer has begun, or has ended; whoever sorts by time shall see it first.
func afterQuestion(c *database.Conversation, answered time.Time) time.Time {
	if c.AskedAt != nil && answered.Before(*c.AskedAt) {
		return c.AskedAt.UTC()
	}
	return answered
}

// wait waits for a time, or less if something happens.
func wait(ctx context.Context, d time.Duration, happens <-chan struct{}) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-happens:
	case <-ctx.Done():
	}
	return ctx.Err()
}
