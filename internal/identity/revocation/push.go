package revocation

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// channel is where replicas tell each other what they revoked. A message is a
// JSON list of entries, so that it holds where the database is away.
const channel = "tollgate:revocations"

const (
	maxMessage   = 64 << 10
	pushBatch    = 100 // entries of a message, far below maxMessage
	pushTimeout  = 500 * time.Millisecond
	listenPause  = 250 * time.Millisecond // between two attempts to subscribe
	listenSilent = 3 * time.Second        // then the connection is tested
)

// push tells the other replicas. That it fails costs them no more than the time
// until they look at the store, so nobody is told.
func (r *Registry) push(ctx context.Context, entries []Entry) {
	if r.redis == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	for batch := range slices.Chunk(entries, pushBatch) {
		message, err := json.Marshal(batch)
		if err != nil || r.redis.Publish(ctx, channel, message).Err() != nil {
			return
		}
	}
}

// listen puts in force what the others push, whatever becomes of Redis
// meanwhile.
func (r *Registry) listen(ctx context.Context) {
	for ctx.Err() == nil {
		r.subscribe(ctx)
		timer := time.NewTimer(listenPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// subscribe listens until the connection ends, or has been silent for so long
// that it must be dead. The client's own loop would sleep where we must stop.
func (r *Registry) subscribe(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	subscription := r.redis.Subscribe(ctx, channel)
	closed := make(chan struct{})
	go func() { // reading does not end with the context
		defer close(closed)
		<-ctx.Done()
		_ = subscription.Close()
	}()
	defer func() { cancel(); <-closed }()

	tested := false
	for {
		received, err := subscription.ReceiveTimeout(ctx, listenSilent)
		timeout, isNet := errors.AsType[net.Error](err)
		switch {
		case err == nil:
			tested = false
			if message, ok := received.(*redis.Message); ok {
				r.receive(message.Payload)
			}
		case isNet && timeout.Timeout() && !tested && ctx.Err() == nil:
			tested = true
			if subscription.Ping(ctx) != nil {
				return
			}
		default:
			return
		}
	}
}

// receive puts a message in force. One that is not wholly understood is not
// ours, or is of a newer version, and the store will tell.
func (r *Registry) receive(message string) {
	if len(message) > maxMessage {
		return
	}
	var entries []Entry
	if json.Unmarshal([]byte(message), &entries) != nil || len(entries) > pushBatch {
		return
	}
	entries, err := normalizeAll(entries)
	if err != nil {
		return
	}
	r.apply(entries)
}
