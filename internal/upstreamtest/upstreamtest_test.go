package upstreamtest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is a client whose connections end with the test.
func client(t *testing.T) *http.Client {
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestReplay(t *testing.T) {
	cases := Cases(t, func(c Case) bool { return len(c.Body) < 20_000 })
	for _, split := range []Split{Whole, PerEvent, PerBytes(100), Random} {
		t.Run(split.Name, func(t *testing.T) {
			c := client(t)
			replay := NewReplay(t, cases, split)
			for _, want := range cases {
				response, err := c.Post(replay.URL(want)+"/any/path?x=1", "application/json", strings.NewReader("{}"))
				require.NoError(t, err)
				body, err := io.ReadAll(response.Body)
				require.NoError(t, err)
				require.NoError(t, response.Body.Close())
				require.Equal(t, want.Status, response.StatusCode)
				require.Equal(t, want.Header.Get("Content-Type"), response.Header.Get("Content-Type"))
				require.True(t, bytes.Equal(want.Body, body), want.Name)
				require.Equal(t, "{}", string(replay.Last().Body))
			}
			require.Len(t, replay.Requests(), len(cases))
			replay.WaitIdle(t)
		})
	}
}

func TestSplitsKeepEveryByte(t *testing.T) {
	body := []byte("data: a\n\ndata: b\r\n\r\nrest")
	for _, split := range Splits {
		require.Equal(t, body, bytes.Join(split.Pieces(body), nil), split.Name)
		require.Empty(t, split.Pieces(nil))
	}
	require.Len(t, PerEvent.Pieces(body), 3)
	require.Len(t, PerByte.Pieces(body), len(body))
}

func TestScript(t *testing.T) {
	c := client(t)
	u := New(t, JSON(500, `{"first":1}`, "Retry-After", "2"), Chat("a", "b"))
	post := func(body string) (int, string) {
		response, err := c.Post(u.URL(), "application/json", strings.NewReader(body))
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(text)
	}
	status, body := post("{}")
	require.Equal(t, 500, status)
	require.Equal(t, `{"first":1}`, body)
	for range 2 { // the last behaviour stays
		status, body = post("{}")
		require.Equal(t, 200, status)
		require.JSONEq(t, ChatBody("a", "b"), body)
	}
	_, body = post(`{"stream":true}`)
	require.Equal(t, strings.Join(ChatEvents(false, "a", "b"), ""), body)
	_, body = post(`{"stream":true,"stream_options":{"include_usage":true}}`)
	require.Contains(t, body, `"total_tokens":12`)
	require.True(t, strings.HasSuffix(body, DoneEvent))
	require.Len(t, u.Requests(), 5)
}

func TestHangNoticesCancel(t *testing.T) {
	for name, texts := range map[string][]string{"before the header": nil, "in the stream": {"data: 1\n\n"}} {
		t.Run(name, func(t *testing.T) {
			c := client(t)
			u := New(t, Hang(texts...))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.URL(), strings.NewReader("{}"))
			require.NoError(t, err)
			done := make(chan error)
			go func() {
				response, err := c.Do(request)
				if err == nil {
					_, err = io.ReadAll(response.Body)
					_ = response.Body.Close()
				}
				done <- err
			}()
			u.WaitRequests(t, 1)
			require.Equal(t, 1, u.Open())
			before := time.Now()
			cancel()
			require.ErrorIs(t, <-done, context.Canceled)
			require.False(t, u.WaitCancelled(t, 1).Before(before))
			u.WaitIdle(t)
		})
	}
}

func TestWholeAnswersAreNoCancellations(t *testing.T) {
	c := client(t)
	u := New(t)
	for range 3 {
		response, err := c.Post(u.URL(), "application/json", strings.NewReader("{}"))
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	u.WaitIdle(t)
	require.Empty(t, u.cancelled)
}

func TestReset(t *testing.T) {
	c := client(t)
	u := New(t, Reset(), Reset("data: 1\n\n"))
	_, err := c.Post(u.URL(), "application/json", strings.NewReader("{}"))
	require.Error(t, err)

	response, err := c.Post(u.URL(), "application/json", strings.NewReader("{}"))
	require.NoError(t, err)
	defer response.Body.Close()
	line, err := bufio.NewReader(response.Body).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "data: 1\n", line)
	_, err = io.ReadAll(response.Body)
	require.Error(t, err)
}

func TestDripAndHTML(t *testing.T) {
	c := client(t)
	u := New(t, Drip(time.Millisecond, "a", "b"), HTML(502))
	response, err := c.Get(u.URL())
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, "ab", string(body))

	response, err = c.Get(u.URL())
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, 502, response.StatusCode)
	require.Equal(t, "text/html", response.Header.Get("Content-Type"))
}
