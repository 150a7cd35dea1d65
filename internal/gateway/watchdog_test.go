package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstream"
)

// The three timeouts, to the second: each ends an attempt that is too slow and
// spares one that is just in time, however long the stream.
func TestTimeouts(t *testing.T) {
	limits := upstream.Timeouts{FirstByte: 2 * time.Minute, BetweenBytes: time.Minute, Total: 570 * time.Second}
	tests := map[string]struct {
		wait, pause time.Duration // before the header, and before each of the ten events
		ends        time.Duration
		whole       bool
		status      int // of the answer
	}{
		"quick":                 {time.Second, time.Second, 11 * time.Second, true, 200},
		"header just in time":   {119 * time.Second, time.Second, 129 * time.Second, true, 200},
		"header too late":       {121 * time.Second, time.Second, 120 * time.Second, false, 504},
		"events just in time":   {100 * time.Second, 46 * time.Second, 560 * time.Second, true, 200},
		"first event too late":  {100 * time.Second, 61 * time.Second, 160 * time.Second, false, 504},
		"whole just in time":    {9 * time.Second, 56 * time.Second, 569 * time.Second, true, 200},
		"whole too late":        {119 * time.Second, 59 * time.Second, 570 * time.Second, false, 200},
		"no header in all time": {time.Hour, time.Second, 120 * time.Second, false, 504},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				view, l := watchStream(t, "/v1/chat/completions", scripted{limits: limits, wait: tt.wait, answer: func(w *io.PipeWriter) {
					for _, event := range events {
						time.Sleep(tt.pause)
						_, _ = io.WriteString(w, event)
					}
				}}, nil)
				time.Sleep(tt.ends - time.Millisecond)
				synctest.Wait()
				require.Empty(t, l.all(), "%s after the start", time.Since(begin))
				time.Sleep(2 * time.Millisecond)
				got := view.next()
				row := l.one(t)
				require.Equal(t, tt.status, view.code())
				require.Equal(t, tt.whole, row.Success)
				require.Equal(t, tt.whole, got == strings.Join(events, ""))
				if !tt.whole {
					require.Equal(t, llm.CauseUpstreamTimeout, row.ErrorCause)
					require.Contains(t, got, "upstream_timeout")
				}
				require.Equal(t, tt.status != http.StatusOK, row.Status != http.StatusOK)
				time.Sleep(time.Hour) // the upstream's script ends
			})
		})
	}
}

// A pause within a stream, after others that were short enough.
func TestStallAfterALongStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := upstream.Timeouts{BetweenBytes: time.Minute}
		view, l := watchStream(t, "/v1/chat/completions", scripted{limits: limits, answer: func(w *io.PipeWriter) {
			for range 20 {
				time.Sleep(50 * time.Second)
				_, _ = io.WriteString(w, manyEvents[1])
			}
			time.Sleep(time.Hour)
		}}, nil)
		time.Sleep(1000*time.Second + 59*time.Second)
		require.Equal(t, 20, strings.Count(view.next(), "word"))
		require.Empty(t, l.all())
		time.Sleep(2 * time.Second)
		require.Contains(t, view.next(), "the answer stood still for 1m0s")
		row := l.one(t)
		require.Equal(t, llm.CauseUpstreamTimeout, row.ErrorCause)
		require.InDelta(t, 20, row.OutputTokens, 5)
		time.Sleep(2 * time.Hour)
	})
}
