package conversation_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

type message struct {
	ID      int64  `json:"id"`
	Role    string `json:"role"`
	Content string `json:"content"`
}

// manners are what the versions of the page differ in, and the weather.
type manners struct {
	questionAfter time.Duration // when it stores the question
	rereadAfter   time.Duration // when it reads the new conversation again
	rereads       int           // how often; 0: once
	render        time.Duration // from an answer's arrival until it is shown
	storesAnswer  bool
	leavesAfter   int // chunks; 0: stays
}

// page does what the web frontend does.
type page struct {
	*site
	who string
	manners

	mu    sync.Mutex // guards shown
	shown []*message
}

func (p *page) call(method, path string, body, into any) error {
	text, _ := json.Marshal(body)
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+p.who)
	resp, err := p.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, answer)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

// ask puts the first question of a new conversation, and gives what is shown at
// the end and after a reload.
func (p *page) ask(question string) (id string, shown, reloaded []message, err error) {
	var made struct{ UUID string }
	if err := p.call("POST", "/conversations/", map[string]any{"specialist_id": "helper"}, &made); err != nil {
		return "", nil, nil, err
	}
	path := "/conversations/" + made.UUID
	p.shown = []*message{{Role: "user", Content: question}, {Role: "assistant"}}

	var wg sync.WaitGroup
	problems := make(chan error, 10)
	wg.Go(func() {
		time.Sleep(p.questionAfter)
		var stored struct{ ID int64 }
		problems <- p.call("POST", path+"/messages", map[string]any{"role": "user", "content": question}, &stored)
	})
	wg.Go(func() { problems <- p.stream(question) })
	wg.Go(func() {
		time.Sleep(p.rereadAfter)
		for range max(1, p.rereads) {
			problems <- p.reread(path)
		}
	})
	wg.Wait()
	close(problems)
	for err := range problems {
		if err != nil {
			return "", nil, nil, err
		}
	}
	for _, m := range p.shown {
		shown = append(shown, *m)
	}
	if p.storesAnswer && len(shown) > 0 {
		var stored struct{ ID int64 }
		content := shown[len(shown)-1].Content
		if err := p.call("POST", path+"/messages", map[string]any{"role": "assistant", "content": content}, &stored); err != nil {
			return "", nil, nil, err
		}
	}
	reloaded, err = p.read(path)
	return made.UUID, shown, reloaded, err
}

func (p *page) read(path string) ([]message, error) {
	var read struct{ Messages []message }
	err := p.call("GET", path, nil, &read)
	return read.Messages, err
}

// reread replaces what is shown, a little after it arrives: what was added to
// the old meanwhile is lost.
func (p *page) reread(path string) error {
	read, err := p.read(path)
	if err != nil {
		return err
	}
	time.Sleep(p.render)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown = nil
	for _, m := range read {
		p.shown = append(p.shown, &m)
	}
	return nil
}

func (p *page) stream(question string) error {
	ctx, leave := context.WithCancel(p.t.Context())
	defer leave()
	body, _ := json.Marshal(map[string]any{"specialist_id": "helper", "message": question, "conversation_history": []string{}})
	r, err := http.NewRequestWithContext(ctx, "POST", p.url+"/chat/stream", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+p.who)
	resp, err := p.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines, seen, last := bufio.NewScanner(resp.Body), 0, false
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var chunk struct {
			Content string `json:"content"`
			IsFinal bool   `json:"is_final"`
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			return err
		}
		p.mu.Lock()
		if m := p.shown; len(m) > 0 && m[len(m)-1].Role == "assistant" { // else it is lost
			m[len(m)-1].Content += chunk.Content
		}
		p.mu.Unlock()
		last = chunk.IsFinal
		if seen++; seen == p.leavesAfter {
			return nil
		}
	}
	if !last {
		return fmt.Errorf("the stream has no end: %w", cmp.Or(lines.Err(), io.ErrUnexpectedEOF))
	}
	return nil
}

// bare leaves the ids out, but tells whether a message is stored.
func bare(messages []message) []string {
	lines := make([]string, len(messages))
	for i, m := range messages {
		lines[i] = m.Role + ": " + m.Content
	}
	return lines
}

func want(question string) []string {
	return []string{"user: " + question, "assistant: " + answerTo(question)}
}
