// Package mail sends short messages by SMTP, one recipient each, in the
// background: whoever queues one learns neither from the answer nor from its time
// whether there was anything to send, or to whom.
package mail

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/mail"
	"sync"
	"time"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/secret"
)

const (
	// maxPending bounds what waits, to be sent for the first time or again.
	maxPending = 1000
	// workers is how many messages are sent at once; mail servers dislike many.
	workers = 4
	// attemptTimeout bounds one attempt, from dialling to the server's last word.
	attemptTimeout = 20 * time.Second
	// drainTime is how long Stop goes on sending.
	drainTime = 10 * time.Second
)

// pauses come before the second and later attempts. Together they are shorter
// than a sign-in code is good for.
var pauses = []time.Duration{2 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute}

// Message is one mail. Text and HTML say the same.
type Message struct {
	To                  identity.Address
	Subject, Text, HTML string
}

// Compose makes a message when its turn has come; nil when there is nothing to
// send after all. An error is tried again later, like one of the mail server.
type Compose func(context.Context) (*Message, error)

// Errors of [Sender.Queue].
var (
	ErrFull    = errors.New("too many mails are waiting to be sent")
	ErrStopped = errors.New("mails are not being sent")
)

// Options are what a [Sender] is made of.
type Options struct {
	// URL of the server: smtp://user:password@host:587, where STARTTLS is
	// required, or smtps://host:465. Certificates are verified. ?tls=none does
	// without TLS, and then takes a password for servers on this machine only.
	URL secret.Secret
	// From is the sender, "portal@example.com" or "AI Portal <portal@example.com>".
	From string
	// RootCAs verify the server's certificate; nil: the system's.
	RootCAs *x509.CertPool
	// Logger gets what could not be sent, without addresses; nil: silent.
	Logger *slog.Logger
}

// Sender sends messages. It is safe for concurrent use.
type Sender struct {
	server  server
	from    *mail.Address
	rootCAs *x509.CertPool
	logger  *slog.Logger

	pauses []time.Duration
	drain  time.Duration

	queue chan *job     // never full: a job has a slot first
	slots chan struct{} // one for each job that is not done

	stopping chan struct{}      // closed when Stop begins
	stop     context.CancelFunc // ends attempts under way
	running  sync.WaitGroup     // workers and pauses
	pending  sync.WaitGroup     // jobs

	mu    sync.Mutex
	state state
}

type state int

const (
	fresh state = iota
	started
	stopped
)

// job is a message on its way.
type job struct {
	compose  Compose
	message  *Message // nil: not composed yet
	attempts int
}

// New makes a sender. It does no I/O.
func New(o Options) (*Sender, error) {
	server, err := parseServer(o.URL.Reveal())
	if err != nil {
		return nil, err
	}
	from, err := parseFrom(o.From)
	if err != nil {
		return nil, err
	}
	return &Sender{
		server:   server,
		from:     from,
		rootCAs:  o.RootCAs,
		logger:   cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		pauses:   pauses,
		drain:    drainTime,
		queue:    make(chan *job, maxPending),
		slots:    make(chan struct{}, maxPending),
		stopping: make(chan struct{}),
	}, nil
}

// Start begins to send, until [Sender.Stop] or the end of ctx.
func (s *Sender) Start(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != fresh {
		return
	}
	s.state = started
	ctx, s.stop = context.WithCancel(ctx)
	for range workers {
		s.running.Go(func() { s.work(ctx) })
	}
}

// Stop takes no further messages, tries those that wait once more, for some
// seconds at most, and waits until nothing runs. It may be called twice, and
// without a Start.
func (s *Sender) Stop() {
	s.mu.Lock()
	before := s.state
	s.state = stopped
	s.mu.Unlock()
	if before != started {
		s.running.Wait()
		return
	}
	close(s.stopping)
	drained := make(chan struct{})
	go func() {
		s.pending.Wait()
		close(drained)
	}()
	timer := time.NewTimer(s.drain)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
	}
	s.stop()
	s.running.Wait()
	s.discard()
	<-drained
}

// discard gives up what nobody will send any more.
func (s *Sender) discard() {
	for {
		select {
		case <-s.queue:
			s.logger.Warn("a mail was given up", slog.String("because", "the gateway stops"))
			s.done()
		default:
			return
		}
	}
}

// Queue has a message composed and sent in the background. It never waits.
func (s *Sender) Queue(compose Compose) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != started {
		return ErrStopped
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return ErrFull
	}
	s.pending.Add(1)
	s.queue <- &job{compose: compose}
	return nil
}

func (s *Sender) done() {
	<-s.slots
	s.pending.Done()
}

func (s *Sender) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-s.queue:
			s.attempt(ctx, j)
		}
	}
}

// attempt tries to send a message, and says what comes of it.
func (s *Sender) attempt(ctx context.Context, j *job) {
	j.attempts++
	err := s.try(ctx, j)
	log := s.logger.With(slog.Int("attempt", j.attempts), slog.String("server", s.server.host))
	failure, _ := errors.AsType[*failure](err)
	switch {
	case err == nil:
		s.done()
	case failure != nil && failure.permanent:
		log.ErrorContext(ctx, "a mail was refused", slog.String("because", err.Error()))
		s.done()
	case j.attempts > len(s.pauses) || s.isStopping() || ctx.Err() != nil:
		log.ErrorContext(ctx, "a mail was given up", slog.String("because", err.Error()))
		s.done()
	default:
		log.WarnContext(ctx, "a mail could not be sent; trying again", slog.String("because", err.Error()))
		s.running.Go(func() { s.again(ctx, j) })
	}
}

func (s *Sender) try(ctx context.Context, j *job) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if j.message == nil {
		message, err := j.compose(ctx)
		if err != nil || message == nil {
			return err
		}
		j.message = message
	}
	return s.send(ctx, j.message)
}

// again queues a message once its pause is over. It keeps its slot meanwhile, so
// that the queue has room for it, and no worker.
func (s *Sender) again(ctx context.Context, j *job) {
	timer := time.NewTimer(s.pauses[j.attempts-1])
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.stopping:
	case <-ctx.Done():
	}
	s.queue <- j
}

func (s *Sender) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}
