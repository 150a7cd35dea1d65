package sse_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/sse"
)

// event is an sse.Event that outlives its scanner.
type event struct {
	Raw, Type, Data string
	HasData         bool
}

func keep(e sse.Event) event {
	return event{string(e.Raw), string(e.Type), string(e.Data), e.Data != nil}
}

// scan reads pieces as they come and returns the events and what is left.
func scan(s *sse.Scanner, pieces ...[]byte) (events []event, rest string) {
	for _, piece := range pieces {
		if _, err := s.Write(piece); err != nil {
			panic(err)
		}
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			events = append(events, keep(e))
		}
	}
	return events, string(s.Rest())
}

func split(text []byte, n int) (pieces [][]byte) {
	for len(text) > 0 {
		end := min(n, len(text))
		pieces = append(pieces, text[:end])
		text = text[end:]
	}
	return pieces
}

func TestScanner(t *testing.T) {
	data := func(raw, data string) event { return event{Raw: raw, Data: data, HasData: true} }
	for name, tc := range map[string]struct {
		in   string
		want []event
		rest string
	}{
		"empty":               {in: ""},
		"lf":                  {in: "data: a\n\ndata: b\n\n", want: []event{data("data: a\n\n", "a"), data("data: b\n\n", "b")}},
		"crlf":                {in: "data: a\r\n\r\ndata: b\r\n\r\nx", want: []event{data("data: a\r\n\r\n", "a"), data("data: b\r\n\r\n", "b")}, rest: "x"},
		"cr":                  {in: "data: a\r\rdata: b\r\r", want: []event{data("data: a\r\r", "a"), data("data: b\r\r", "b")}},
		"cr, then lf":         {in: "data: a\r\r\ndata: b\n\n", want: []event{data("data: a\r\r", "a"), data("\ndata: b\n\n", "b")}},
		"mixed":               {in: "data: a\n\r\ndata: b\r\n\ndata: c\r\n\rdata: d\n\n", want: []event{data("data: a\n\r\n", "a"), data("data: b\r\n\n", "b"), data("data: c\r\n\r", "c"), data("data: d\n\n", "d")}},
		"no space":            {in: "data:a\n\n", want: []event{data("data:a\n\n", "a")}},
		"one space goes":      {in: "data:  a \n\n", want: []event{data("data:  a \n\n", " a ")}},
		"several lines":       {in: "data: a\ndata:\ndata: b\n\ndata: c\ndata: d\n\n", want: []event{data("data: a\ndata:\ndata: b\n\n", "a\n\nb"), data("data: c\ndata: d\n\n", "c\nd")}},
		"type":                {in: "event: x\nevent: message_start\ndata: {}\n\n", want: []event{{"event: x\nevent: message_start\ndata: {}\n\n", "message_start", "{}", true}}},
		"type does not stay":  {in: "event: x\n\ndata: a\n\n", want: []event{{"event: x\n\n", "x", "", false}, data("data: a\n\n", "a")}},
		"field without colon": {in: "data\n\nevent\n\n", want: []event{data("data\n\n", ""), {Raw: "event\n\n"}}},
		"empty data":          {in: "data:\n\ndata: \n\n", want: []event{data("data:\n\n", ""), data("data: \n\n", "")}},
		"other fields":        {in: "id: 1\nretry: 5\ndatax: 1\neventy: 2\nDATA: 3\n\n", want: []event{{Raw: "id: 1\nretry: 5\ndatax: 1\neventy: 2\nDATA: 3\n\n"}}},
		"comment":             {in: ": OPENROUTER PROCESSING\n\n", want: []event{{Raw: ": OPENROUTER PROCESSING\n\n"}}},
		"comment in between":  {in: ":\ndata: a\n: b\n\n", want: []event{data(":\ndata: a\n: b\n\n", "a")}},
		"byte order mark":     {in: "\xEF\xBB\xBFdata: a\n\n\xEF\xBB\xBFdata: b\n\n", want: []event{data("\xEF\xBB\xBFdata: a\n\n", "a"), {Raw: "\xEF\xBB\xBFdata: b\n\n"}}},
		"blank lines":         {in: "\n\ndata: a\n\n\n", want: []event{{Raw: "\n"}, {Raw: "\n"}, data("data: a\n\n", "a"), {Raw: "\n"}}},
		"unfinished":          {in: "data: a\n\ndata: b\n", want: []event{data("data: a\n\n", "a")}, rest: "data: b\n"},
		"waits after cr":      {in: "data: a\n\r", rest: "data: a\n\r"},
		"zero bytes":          {in: "data: \x00\xff\n\n", want: []event{data("data: \x00\xff\n\n", "\x00\xff")}},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 1; n <= max(1, len(tc.in)); n++ {
				events, rest := scan(new(sse.Scanner), split([]byte(tc.in), n)...)
				require.Equal(t, tc.want, events, "in pieces of %d", n)
				require.Equal(t, tc.rest, rest, "in pieces of %d", n)
			}
		})
	}
}

func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		"data: a\n\ndata: b\n\n", "\xEF\xBB\xBFdata: a\r\n\r\n", "event: x\rdata: 1\rdata: 2\r\r\n\r", ": c\n\n\n", "data: a\r\n\r\r\n\n",
	} {
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, n uint8) {
		want, wantRest := scan(new(sse.Scanner), text)
		for _, size := range []int{1, int(n) + 1} {
			got, rest := scan(new(sse.Scanner), split(text, size)...)
			require.Equal(t, want, got)
			require.Equal(t, wantRest, rest)
		}
		var s sse.Scanner
		var filled []event
		r := iotest.HalfReader(bytes.NewReader(text))
		for {
			_, err := s.Fill(r)
			for e, ok := s.Next(); ok; e, ok = s.Next() {
				filled = append(filled, keep(e))
			}
			if err != nil {
				require.ErrorIs(t, err, io.EOF)
				break
			}
		}
		require.Equal(t, want, filled)
		raw := ""
		for _, e := range want {
			raw += e.Raw
		}
		require.Equal(t, string(text), raw+wantRest, "no byte may be lost")
	})
}

// Events taken from one piece stay good until the next one comes.
func TestEventsLastUntilNextWrite(t *testing.T) {
	var s sse.Scanner
	_, err := s.Write([]byte("data: 1\ndata: 2\n\ndata: 3\n\ndata: 4\ndata: 5\n\n"))
	require.NoError(t, err)
	var events []sse.Event
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		events = append(events, e)
	}
	require.Len(t, events, 3)
	require.Equal(t, "1\n2", string(events[0].Data))
	require.Equal(t, "3", string(events[1].Data))
	require.Equal(t, "4\n5", string(events[2].Data))
	_ = append(events[1].Raw, "xxxxxxxx"...) // may not reach into the next event
	require.Equal(t, "data: 4\ndata: 5\n\n", string(events[2].Raw))
}

func TestTooLong(t *testing.T) {
	s := sse.Scanner{MaxEvent: 100}
	r := strings.NewReader("data: ok\n\ndata: " + strings.Repeat("x", 10_000))
	events := 0
	var err error
	for err == nil {
		_, err = s.Fill(r)
		for _, ok := s.Next(); ok; _, ok = s.Next() {
			events++
		}
	}
	require.ErrorIs(t, err, sse.ErrTooLong)
	require.Equal(t, 1, events)
	_, err = s.Write([]byte("x"))
	require.ErrorIs(t, err, sse.ErrTooLong, "and it stays so")

	s.Reset()
	_, err = s.Write([]byte("data: again\n\n"))
	require.NoError(t, err)
	e, ok := s.Next()
	require.True(t, ok)
	require.Equal(t, "again", string(e.Data))
}

func TestFillPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	var s sse.Scanner
	_, err := s.Fill(iotest.ErrReader(broken))
	require.ErrorIs(t, err, broken)
	n, err := s.Fill(iotest.DataErrReader(strings.NewReader("data: a\n\n")))
	require.Equal(t, 9, n)
	require.ErrorIs(t, err, io.EOF)
	_, ok := s.Next()
	require.True(t, ok, "bytes that came with the error count")
}

// A large event that comes byte by byte must not be searched again and again.
// If it were, this test would take minutes.
func TestLinear(t *testing.T) {
	text := []byte("data: " + strings.Repeat("x", 1<<18) + "\ndata: " + strings.Repeat("y", 1<<18) + "\n\n")
	var s sse.Scanner
	for i := range text {
		_, ok := s.Next()
		require.False(t, ok)
		_, err := s.Write(text[i : i+1])
		require.NoError(t, err)
	}
	e, ok := s.Next()
	require.True(t, ok)
	require.Equal(t, string(text), string(e.Raw))
	require.Len(t, e.Data, 2<<18+1)
}

func TestAllocations(t *testing.T) {
	text := bytes.Repeat([]byte(chunk), 20)
	var s sse.Scanner
	r := bytes.NewReader(text)
	run := func() {
		r.Reset(text)
		for {
			_, err := s.Fill(r)
			for _, ok := s.Next(); ok; _, ok = s.Next() {
			}
			if err != nil {
				return
			}
		}
	}
	run()
	require.Zero(t, testing.AllocsPerRun(100, run))
}

func TestAppendEvent(t *testing.T) {
	for _, tc := range []struct{ typ, data, want string }{
		{"", "{}", "data: {}\n\n"},
		{"error", "{}", "event: error\ndata: {}\n\n"},
		{"", "a\nb\r\nc\rd\n", "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"},
		{"", "", "data: \n\n"},
	} {
		require.Equal(t, tc.want, string(sse.AppendEvent(nil, tc.typ, []byte(tc.data))))
	}
	require.Equal(t, "x: hi\n\n", string(sse.AppendComment([]byte("x"), "hi")))
	require.Equal(t, sse.Ping, string(sse.AppendComment(nil, "ping")))
}

func FuzzAppendEvent(f *testing.F) {
	f.Add("a\nb")
	f.Fuzz(func(t *testing.T, data string) {
		events, rest := scan(new(sse.Scanner), sse.AppendEvent(nil, "t", []byte(data)))
		require.Len(t, events, 1)
		require.Empty(t, rest)
		require.Equal(t, "t", events[0].Type)
		require.Equal(t, strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(data), events[0].Data)
	})
}

const chunk = `data: {"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk","created":1741570283,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}` + "\n\n"

func BenchmarkScanner(b *testing.B) {
	const events = 100
	text := bytes.Repeat([]byte(chunk), events)
	var s sse.Scanner
	r := bytes.NewReader(text)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		s.Reset()
		r.Reset(text)
		for {
			_, err := s.Fill(r)
			for _, ok := s.Next(); ok; _, ok = s.Next() {
				n++
			}
			if err != nil {
				break
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/event")
}
