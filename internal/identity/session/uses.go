package session

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/financecommander/tollgate/internal/identity"
)

const (
	// flushInterval is how often uses are written, and how exact they are.
	flushInterval = 10 * time.Second
	// maxUses bounds the tokens whose use waits to be written. Of those beyond, the
	// next use counts.
	maxUses = 20_000
	// touchBatch is how many tokens one statement is for.
	touchBatch = 500
)

// uses are when API tokens were last used, as far as it is not written yet.
type uses struct {
	last  sync.Map // token id → unix seconds, int64
	count atomic.Int64
}

// Used notes that an API token was used now. It is cheap enough for every call:
// of many within a second, one writes to memory.
func (m *Manager) Used(p *identity.Principal) {
	if p == nil || p.Kind != identity.KindAPI || p.TokenID == "" {
		return
	}
	m.uses.note(p.TokenID, m.now().Unix())
}

func (u *uses) note(id string, now int64) {
	if before, ok := u.last.Load(id); ok && before.(int64) >= now {
		return
	}
	if u.count.Load() >= maxUses {
		if _, known := u.last.Load(id); !known {
			return
		}
	}
	if _, known := u.last.Swap(id, now); !known {
		u.count.Add(1)
	}
}

// flushUses writes what was noted. What cannot be written stays noted.
func (m *Manager) flushUses(ctx context.Context) {
	// Those of the same few seconds share a statement, with the last of their times.
	byTime := make(map[int64]map[string]int64)
	m.uses.last.Range(func(id, at any) bool {
		step := at.(int64) / int64(flushInterval/time.Second)
		if byTime[step] == nil {
			byTime[step] = make(map[string]int64)
		}
		byTime[step][id.(string)] = at.(int64)
		return true
	})
	for _, group := range byTime {
		if err := m.flushGroup(ctx, group); err != nil {
			m.o.Logger.LogAttrs(ctx, slog.LevelWarn, "when API tokens were last used could not be written; trying again shortly", slog.Any("error", err))
			return
		}
	}
}

func (m *Manager) flushGroup(ctx context.Context, group map[string]int64) error {
	ids := make([]string, 0, len(group))
	var last int64
	for id, at := range group {
		ids = append(ids, id)
		last = max(last, at)
	}
	slices.Sort(ids) // replicas that write the same ones take them in one order
	for batch := range slices.Chunk(ids, touchBatch) {
		ctx, cancel := context.WithTimeout(ctx, queryTimeout)
		err := m.o.Store.TouchAPITokens(ctx, batch, time.Unix(last, 0))
		cancel()
		if err != nil {
			return err
		}
		for _, id := range batch {
			// One that was used meanwhile stays for the next time.
			if m.uses.last.CompareAndDelete(id, group[id]) {
				m.uses.count.Add(-1)
			}
		}
	}
	return nil
}
