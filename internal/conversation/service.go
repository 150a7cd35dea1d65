package conversation

import (
	"cmp"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/janitor"
	"github.com/financecommander/tollgate/internal/seal"
	"github.com/financecommander/tollgate/internal/secret"
)

// The labels of the keys that are derived from the secret.
const (
	sealLabel   = "tollgate/conversations/v1"
	digestLabel = "tollgate/conversations/digest/v1"
)

// Store is the database. A conversation is given to its owner only.
type Store interface {
	InsertConversation(ctx context.Context, c database.Conversation) error
	Conversation(ctx context.Context, owner, uuid string) (*database.Conversation, error)
	ConversationMessages(ctx context.Context, uuid string) ([]database.ConversationMessage, error)
	ListConversations(ctx context.Context, owner string, limit, offset int) ([]database.Conversation, int64, error)
	UnansweredConversation(ctx context.Context, owner string, question []byte, after time.Time) (string, error)
	ChangeConversation(ctx context.Context, owner, uuid string, change func(*database.ConversationTx) error) error
	DeleteConversation(ctx context.Context, owner, uuid string) error
	DeleteConversationsOf(ctx context.Context, owner string) (int64, error)
	DeleteOldConversations(ctx context.Context, before time.Time, limit int) (int64, error)
}

// Options are what a Service is made of. Store and Secret are required unless it
// is off.
type Options struct {
	Store Store
	// Secret is what the keys are derived from, by default the gateway's. Another
	// one makes what is stored unreadable.
	Secret secret.Secret
	// Off keeps nothing and follows nothing.
	Off bool
	// MaxAge is how long a conversation is kept after its last change. Default:
	// for ever.
	MaxAge time.Duration
	// Logger gets what nobody is told; nil: silent.
	Logger *slog.Logger
}

// Service keeps conversations. It is safe for concurrent use. A nil one is off.
type Service struct {
	store  Store
	off    bool
	maxAge time.Duration
	logger *slog.Logger
	box    *seal.Box
	key    []byte // of digests

	live    live
	room    *gateway.Room // of conversations in memory
	keepers [keepers]keeper

	janitor *janitor.Janitor

	storing  sync.WaitGroup  // the keepers at work
	keeping  context.Context //nolint:containedctx // of what keepers do, which no request bounds
	giveUp   context.CancelFunc
	stopping chan struct{} // closed when keepers shall finish
	stopOnce sync.Once
}

var _ gateway.Answers = (*Service)(nil)

// New makes a service. It does no I/O.
func New(o Options) (*Service, error) {
	s := &Service{
		store: o.Store, off: o.Off, maxAge: o.MaxAge,
		logger:   cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		stopping: make(chan struct{}),
	}
	if s.off {
		return s, nil
	}
	if o.Store == nil {
		return nil, errors.New("conversations: there is no database")
	}
	var err error
	if s.box, err = seal.New(o.Secret, sealLabel); err != nil {
		return nil, err
	}
	if s.key, err = hkdf.Key(sha256.New, []byte(o.Secret.Reveal()), nil, digestLabel, sha256.Size); err != nil {
		return nil, fmt.Errorf("derive the key of %s: %w", digestLabel, err)
	}
	s.keeping, s.giveUp = context.WithCancel(context.Background())
	for i := range s.keepers {
		s.keepers[i].init(s)
	}
	s.live.init()
	s.room = gateway.NewRoom(0)
	s.janitor = s.newJanitor()
	return s, nil
}

// On says whether conversations are kept.
func (s *Service) On() bool { return s != nil && !s.off }
