//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRequestHasTheSizeAskedFor(t *testing.T) {
	for _, size := range []int{1 << 10, 100 << 10} {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request("h", "token", size, true))))
		require.NoError(t, err)
		body, err := io.ReadAll(req.Body)
		require.NoError(t, err)
		require.InDelta(t, size, len(body), 16)
		var decoded struct {
			Model  string
			Stream bool
		}
		require.NoError(t, json.Unmarshal(body, &decoded))
		require.Equal(t, specialistID, decoded.Model)
		require.True(t, decoded.Stream)
	}
}

// TestAnswers: every answer is valid HTTP and JSON and fulfils its own expectation through a real client.
func TestAnswers(t *testing.T) {
	for name, a := range map[string]*answer{
		"plain": plainAnswer(), "burst": streamAnswer(100, 0), "paced": streamAnswer(5, time.Millisecond),
	} {
		t.Run(name, func(t *testing.T) {
			u, err := startUpstream()
			require.NoError(t, err)
			defer u.listener.Close()
			u.answer.Store(a)
			l := load{
				addr: u.addr(), request: request(u.addr(), "token", 1<<10, true), expect: a.expect, calls: 6, connections: 2,
			}
			latencies, err := l.run(t.Context())
			require.NoError(t, err)
			require.Len(t, latencies, 6)
			require.EqualValues(t, 6, u.verbatim.Load())
			require.Zero(t, u.rewritten.Load())

			for _, writes := range [][][]byte{a.plain, a.usage} {
				resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(bytes.Join(writes, nil))), nil)
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				for event := range strings.SplitSeq(string(body), "\n\n") {
					event = strings.TrimPrefix(event, "data: ")
					require.True(t, event == "" || event == "[DONE]" || json.Valid([]byte(event)), event)
				}
			}
		})
	}
}

// TestCallNoticesWrongAnswers: a gateway that is fast because it cuts answers must not pass.
func TestCallNoticesWrongAnswers(t *testing.T) {
	good := streamAnswer(3, 0)
	for name, wire := range map[string]string{
		"status":         "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\nno",
		"cut":            string(good.plain[0][:len(good.plain[0])-40]),
		"an event short": string(streamAnswer(2, 0).plain[0]),
		"no DONE":        strings.Replace(string(good.plain[0]), "e\r\ndata: [DONE]\n\n\r\n", "", 1),
		"empty":          "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer listener.Close()
			go func() {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				http.ReadRequest(bufio.NewReader(conn))
				io.WriteString(conn, wire)
				conn.Close()
			}()
			c, err := dial(listener.Addr().String(), request("h", "t", 1<<10, true), good.expect)
			require.NoError(t, err)
			defer c.close()
			require.Error(t, c.call())
		})
	}
}

func TestUpstreamRecognisesARewrittenRequest(t *testing.T) {
	u := &upstream{}
	u.answer.Store(streamAnswer(1, 0))
	req := &http.Request{Header: http.Header{"Authorization": {"Bearer " + upstreamKey}}}
	_, writes := u.inspect(req, []byte(`{"model":"gpt-4o","messages":[{"role":"system"}],"stream_options":{"include_usage":true}}`))
	require.EqualValues(t, 1, u.rewritten.Load())
	require.Equal(t, u.answer.Load().usage, writes)

	req.Header.Set("Authorization", "Bearer the client's own token")
	u.inspect(req, []byte(`{"model":"gpt-4o","messages":[{"role":"system"}]}`))
	require.EqualValues(t, 1, u.rewritten.Load(), "a client's token that goes upstream is not a rewrite")
}

func TestRateSpacesTheCalls(t *testing.T) {
	u, err := startUpstream()
	require.NoError(t, err)
	defer u.listener.Close()
	a := plainAnswer()
	u.answer.Store(a)
	start := time.Now()
	l := load{addr: u.addr(), request: request("h", "t", 1<<10, false), expect: a.expect, calls: 21, connections: 4, rate: 200}
	_, err = l.run(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(start), 100*time.Millisecond)
}

// TestCPU compares the kernel's clock of a busy child with the wall clock.
func TestCPU(t *testing.T) {
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	require.NoError(t, startOn(0, cmd))
	defer cmd.Wait()
	defer cmd.Process.Kill()
	g := &gateway{name: "busy", cmd: cmd}
	before, err := g.cpu()
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		after, err := g.cpu()
		return err == nil && after-before > 20*time.Millisecond
	}, 5*time.Second, 10*time.Millisecond)
}

func TestRows(t *testing.T) {
	samples := func(values ...float64) (list []sample) {
		for _, v := range values {
			list = append(list, sample{CPU: v, P50: v, P99: 2 * v})
		}
		return list
	}
	all := scenarios()
	rows := rowsOf(all[0], &result{Samples: map[string][]sample{"caddy": samples(90, 100, 500), "tollgate": samples(110, 130, 100)}})
	require.Equal(t, []row{{
		Metric: all[0].title, Unit: "µs", Caddy: 100, Tollgate: 110, Ratio: 1.1, Bar: "1.2 ×", OK: true,
	}}, rows)

	rows = rowsOf(all[5], &result{Samples: map[string][]sample{"direct": samples(1), "caddy": samples(2), "tollgate": samples(5)}})
	require.Equal(t, []row{
		{Metric: all[5].title + ", p50", Unit: "ms", Caddy: 1, Tollgate: 4, Ratio: 4, Bar: "0.25 ms"},
		{Metric: all[5].title + ", p99", Unit: "ms", Caddy: 2, Tollgate: 8, Ratio: 4, Bar: "1.5 ms"},
	}, rows)

	rows = rowsOf(all[4], &result{
		Samples: map[string][]sample{"caddy": samples(10), "tollgate": samples(9)},
		Memory:  map[string]memory{"caddy": {Peak: 100 << 20}, "tollgate": {Peak: 150 << 20}},
	})
	require.Len(t, rows, 2)
	require.True(t, rows[0].OK)
	require.False(t, rows[1].OK)
	require.Contains(t, table(rows), "| 150.0 MiB |")
}

func TestReplaceBetween(t *testing.T) {
	got, err := replaceBetween([]byte("a\n"+markerStart+"old"+markerEnd+"\nb\n"), "new")
	require.NoError(t, err)
	require.Equal(t, "a\n"+markerStart+"new"+markerEnd+"\nb\n", string(got))
	_, err = replaceBetween([]byte("no markers"), "new")
	require.Error(t, err)
}

func TestChoose(t *testing.T) {
	got, err := choose(scenarios(), "paced,plain")
	require.NoError(t, err)
	require.Equal(t, []string{"plain", "paced"}, names(got))
	_, err = choose(scenarios(), "nothing")
	require.Error(t, err)
}

// A call looks at an answer's last bytes only, so what it expects must fit there.
func TestEndingsFit(t *testing.T) {
	for _, s := range scenarios() {
		require.LessOrEqual(t, len(s.answer.expect.ending), 32, s.name)
	}
	require.LessOrEqual(t, len(anthropicExpectation(100).ending), 32)
}
