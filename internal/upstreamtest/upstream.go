package upstreamtest

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Upstream is a provider that behaves as told.
type Upstream struct {
	journal
	server *httptest.Server

	mu     sync.Mutex // guards script
	script []Behaviour
}

// Behaviour answers one request.
type Behaviour func(w http.ResponseWriter, r *http.Request)

// New starts an upstream. Its first request meets the first behaviour, and so
// on; the last one serves all that follow. Without any, it says "Hello, world"
// by [Chat].
func New(t testing.TB, script ...Behaviour) *Upstream {
	u := &Upstream{}
	u.Script(script...)
	u.server = httptest.NewServer(u)
	t.Cleanup(func() {
		u.server.CloseClientConnections() // so that a hanging answer does not hold up the end
		u.server.Close()
	})
	return u
}

// URL is the upstream's base URL, without a path.
func (u *Upstream) URL() string { return u.server.URL }

// Script replaces the behaviours to come.
func (u *Upstream) Script(script ...Behaviour) {
	if len(script) == 0 {
		script = []Behaviour{Chat("Hello", ", ", "world")}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.script = script
}

// ServeHTTP implements [http.Handler].
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	end := u.begin(r)
	defer end()
	u.next()(w, r)
}

func (u *Upstream) next() Behaviour {
	u.mu.Lock()
	defer u.mu.Unlock()
	b := u.script[0]
	if len(u.script) > 1 {
		u.script = u.script[1:]
	}
	return b
}

// Answer gives a whole answer at once. header holds names and values in turn.
func Answer(status int, contentType, body string, header ...string) Behaviour {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// JSON gives a whole JSON answer at once.
func JSON(status int, body string, header ...string) Behaviour {
	return Answer(status, "application/json", body, header...)
}

// HTML answers as a proxy in front of a provider does when things go wrong.
func HTML(status int) Behaviour {
	return Answer(status, "text/html", "<html>\n<head><title>Bad Gateway</title></head>\n<body>internal-host-17.example</body>\n</html>\n")
}

// Stream sends texts as they are, each with its own flush, and ends the answer
// well as far as HTTP goes. [ChatEvents] makes such texts; without the last of
// them the stream is a cut one.
func Stream(texts ...string) Behaviour {
	return func(w http.ResponseWriter, _ *http.Request) { stream(w, texts) }
}

// Drip is Stream with a pause before each text.
func Drip(pause time.Duration, texts ...string) Behaviour {
	return func(w http.ResponseWriter, r *http.Request) {
		stream(w, nil)
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for _, text := range texts {
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
			if !send(w, []byte(text)) {
				return
			}
		}
	}
}

// Hang sends texts and then nothing, until the sender goes away. Without texts
// it sends no header either.
func Hang(texts ...string) Behaviour {
	return func(w http.ResponseWriter, r *http.Request) {
		if len(texts) > 0 {
			stream(w, texts)
		}
		<-r.Context().Done()
	}
}

// Reset sends texts and then resets the connection (TCP RST), in the middle of
// a chunk of HTTP's chunked coding. Without texts it resets before any header.
func Reset(texts ...string) Behaviour {
	return func(w http.ResponseWriter, _ *http.Request) {
		if len(texts) > 0 {
			stream(w, texts)
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if len(texts) > 0 {
			_, _ = buffered.WriteString("100\r\ndata: {\"half")
			_ = buffered.Flush()
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

func stream(w http.ResponseWriter, texts []string) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	pieces := make([][]byte, len(texts)+1) // the first, empty, flushes the header
	for i, text := range texts {
		pieces[i+1] = []byte(text)
	}
	send(w, pieces...)
}
