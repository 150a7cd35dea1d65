package specialist

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/testenv"
)

// One after the other, whoever comes first: no version twice, no prompt lost.
func TestParallelUpdatesLoseNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *desk) {
		d.create(`{"id":"a","system_prompt":"p0"}`)
		const writers = 100
		replicas := []*desk{d, deskOn(t, d.db)}
		var (
			wg       sync.WaitGroup
			mu       sync.Mutex
			versions = map[int]string{}
			kept     = map[string]int{}
		)
		places := make(chan struct{}, 12) // more at once may wait for SQLite longer than a write does
		for n := range writers {
			places <- struct{}{}
			wg.Go(func() {
				defer func() { <-places }()
				prompt := fmt.Sprintf("p%d", n+1)
				s, err := replicas[n%2].Update(t.Context(), root, "a", patch(t, `{"system_prompt":"`+prompt+`"}`))
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Errorf("update: %v", err)
					return
				}
				versions[s.Version] = prompt
				last := s.PromptHistory[len(s.PromptHistory)-1]
				kept[last.Prompt] = last.Version
			})
		}
		wg.Wait()
		require.Len(t, versions, writers)
		versions[1] = "p0"
		for v := 1; v <= writers; v++ {
			require.Equal(t, v, kept[versions[v]], "the prompt of version %d was pushed by the next", v)
		}
		require.NoError(t, d.registry.Refresh(t.Context())) // the last may have been the other replica's
		s, ok := d.registry.Get("a")
		require.True(t, ok)
		require.Equal(t, writers+1, s.Version)
		require.Equal(t, versions[writers+1], s.SystemPrompt)
		require.Len(t, s.PromptHistory, 50)
		for i, h := range s.PromptHistory {
			require.Equal(t, writers-49+i, h.Version)
			require.Equal(t, versions[h.Version], h.Prompt)
		}
		require.Len(t, d.audit(200), writers+1)
	})
}

func TestOneOfTwoWithAVersionIsStale(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *desk) {
		d.create(`{"id":"a"}`)
		var wg sync.WaitGroup
		failures := make(chan error, 8)
		for n := range cap(failures) {
			wg.Go(func() {
				_, err := d.Update(t.Context(), root, "a", patch(t, fmt.Sprintf(`{"version":1,"description":"%d"}`, n)))
				failures <- err
			})
		}
		wg.Wait()
		close(failures)
		refused := 0
		for err := range failures {
			if err != nil {
				requireRefusal(t, err, 409, "")
				refused++
			}
		}
		require.Equal(t, 7, refused)
	})
}

// Three replicas on one database: what one writes, all know within a second.
func TestReplicasFollowWithinASecond(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	replicas := []*desk{newDesk(t, url), newDesk(t, url), newDesk(t, url)}
	for _, d := range replicas {
		require.NoError(t, d.registry.Start(t.Context()))
		t.Cleanup(d.registry.Stop)
	}
	var waits []time.Duration
	everywhere := func(known func(*Registry) bool) {
		t.Helper()
		start := time.Now()
		for _, d := range replicas {
			for !known(d.registry) {
				require.Less(t, time.Since(start), 30*time.Second)
				time.Sleep(5 * time.Millisecond)
			}
		}
		waits = append(waits, time.Since(start))
	}
	for n := range 3 {
		writer := replicas[n]
		id := fmt.Sprintf("s%d", n)
		writer.create(`{"id":"` + id + `","name":"` + id + `"}`)
		_, ok := writer.registry.Get(id)
		require.True(t, ok, "the replica that writes knows at once")
		everywhere(func(r *Registry) bool { _, ok := r.Get(id); return ok })

		streaming, _ := replicas[(n+1)%3].registry.Get(id)
		writer.update(id, `{"system_prompt":"New."}`)
		everywhere(func(r *Registry) bool { s, _ := r.Get(id); return s.SystemPrompt == "New." })
		require.Equal(t, "Read.", streaming.SystemPrompt, "a call that runs keeps what it began with")

		require.NoError(t, replicas[(n+2)%3].Delete(t.Context(), root, id))
		everywhere(func(r *Registry) bool { _, ok := r.Get(id); return !ok })
	}
	// Not all of them: the machine that runs the tests may be busy.
	slices.Sort(waits)
	require.Less(t, waits[len(waits)/2], time.Second)
}
