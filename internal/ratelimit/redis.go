package ratelimit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// keyPrefix is redis_rate's prefix and our hash tag. The tag is one for all
// buckets because any two of them may meet in one request, and a Redis Cluster
// runs a script only over keys of one slot: all limits live on one node of it.
const keyPrefix = "rate:{tollgate}"

//go:embed take.lua
var takeSource string

var takeScript = redis.NewScript(takeSource)

// Redis keeps buckets in a Redis server, Sentinel group or Cluster, version 5
// or later, shared by all replicas. A request is one round trip, an EVALSHA;
// requests that come at the same time share one.
//
// Buckets are stored as redis_rate stores them, so that a program with
// redis_rate and the same key ([RedisKey] without "rate:") shares the bucket.
// Answers are redis_rate's but for three things: several asks are atomic, tokens
// given back are never lost, and a double's rounding costs no token.
type Redis struct {
	client redis.UniversalClient
	calls  combiner
}

// NewRedis gives a limiter on a client that the caller closes. It does not dial.
func NewRedis(client redis.UniversalClient) *Redis {
	r := &Redis{client: client}
	r.calls.send = r.send
	return r
}

// RedisKey is the key under which Redis holds the bucket.
func RedisKey(key string) string { return keyPrefix + storedKey(key) }

// Take implements [Limiter]. It waits as long as ctx and the client's time-outs
// let it; see [Guarded] for a bound.
func (r *Redis) Take(ctx context.Context, asks ...Ask) (Decision, error) {
	if err := checkAsks(asks); err != nil {
		return Decision{}, err
	}
	if len(asks) == 0 {
		return Decision{Allowed: true, Denied: -1}, ctx.Err()
	}
	reply, err := r.run(ctx, asks)
	if err != nil {
		return Decision{}, fmt.Errorf("take from redis: %w", err)
	}
	return decodeReply(asks, reply)
}

// run sends the script's hash, and the script itself when Redis does not know
// it (a new or restarted server). A command of our own, rather than
// redis.Script.Run, reads the reply as integers without boxing each.
func (r *Redis) run(ctx context.Context, asks []Ask) ([]int64, error) {
	cmd := redis.NewIntSliceCmd(ctx, takeArgs("evalsha", takeScript.Hash(), asks)...)
	err := r.calls.do(ctx, cmd)
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") { // which allocates even for nil
		cmd = redis.NewIntSliceCmd(ctx, takeArgs("eval", takeSource, asks)...)
		err = r.calls.do(ctx, cmd)
	}
	if err != nil {
		return nil, err // the command may still be in use
	}
	return cmd.Val(), nil
}

// send is one exchange with Redis. What came of it is in the commands.
func (r *Redis) send(ctx context.Context, cmds ...redis.Cmder) {
	if len(cmds) == 1 {
		_ = r.client.Process(ctx, cmds[0])
		return
	}
	pipe := r.client.Pipeline()
	_ = pipe.BatchProcess(ctx, cmds...)
	_, _ = pipe.Exec(ctx)
}

func takeArgs(command, script string, asks []Ask) []any {
	args := make([]any, 0, 3+5*len(asks))
	args = append(args, command, script, len(asks))
	for i := range asks {
		args = append(args, RedisKey(asks[i].Key))
	}
	for i := range asks {
		l := asks[i].Limit
		args = append(args, l.Rate, l.Burst, l.Period.Microseconds(), asks[i].N)
	}
	return args
}

var errReply = errors.New("take from redis: the script's reply has the wrong length")

func decodeReply(asks []Ask, reply []int64) (Decision, error) {
	if len(reply) != 1+3*len(asks) {
		return Decision{}, errReply
	}
	granted := reply[0] == 1
	results := make([]Result, len(asks))
	for i := range asks {
		state := reply[1+3*i:]
		results[i] = Result{
			Limit:      asks[i].Limit,
			Remaining:  int(state[0]),
			RetryAfter: retryAfter(state[1]),
			ResetAfter: time.Duration(state[2]) * time.Microsecond,
		}
		if granted {
			results[i].Allowed = asks[i].N
		}
	}
	return decide(results), nil
}

// retryAfter is redis_rate's: -1 when nothing needs to be waited for.
func retryAfter(micros int64) time.Duration {
	if micros < 0 {
		return -1
	}
	return time.Duration(micros) * time.Microsecond
}
