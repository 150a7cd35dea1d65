package fakes

import (
	"strconv"
	"strings"
	"time"
)

// script is what the user told the model to do.
type script struct {
	steps                       [][]part // tool calls, a list a step
	say                         []string
	think, redacted, json       bool
	long, stopseq, refuse, cite bool
	cache, echo, describe       bool
	midstream                   bool
	cut                         string
	status                      int
	pause                       time.Duration
}

func (s *script) said() string { return strings.Join(s.say, "\n") }

// script reads the user's last words, and gives what came after them.
func (p *prompt) script() (*script, []Item) {
	end := len(p.items)
	for end > 0 && (p.items[end-1].Role != "user" || p.items[end-1].Kind != kindText) {
		end--
	}
	first := end
	for first > 0 && p.items[first-1].Role == "user" {
		first--
	}
	s := &script{}
	for _, it := range p.items[first:end] {
		for line := range strings.SplitSeq(it.Text, "\n") {
			s.read(strings.TrimSpace(line))
		}
	}
	return s, p.items[end:]
}

func (s *script) read(line string) {
	command, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch command {
	case "say:":
		s.say = append(s.say, rest)
	case "#tool":
		s.steps = append(s.steps, []part{call(rest)})
	case "#tools":
		var step []part
		for c := range strings.SplitSeq(rest, "|") {
			step = append(step, call(strings.TrimSpace(c)))
		}
		s.steps = append(s.steps, step)
	case "#think":
		s.think = true
	case "#redacted":
		s.redacted = true
	case "#json":
		s.json = true
	case "#long":
		s.long = true
	case "#stopseq":
		s.stopseq = true
	case "#refuse":
		s.refuse = true
	case "#cite":
		s.cite = true
	case "#cache":
		s.cache = true
	case "#echo-system":
		s.echo = true
	case "#describe":
		s.describe = true
	case "#error":
		s.status, _ = strconv.Atoi(rest)
	case "#midstream-error":
		s.midstream = true
	case "#cut":
		if s.cut = "reset"; rest == "clean" {
			s.cut = rest
		}
	case "#slow":
		s.pause, _ = time.ParseDuration(rest)
	}
}

func call(text string) part {
	name, args, _ := strings.Cut(text, " ")
	if args = strings.TrimSpace(args); args == "" {
		args = "{}"
	}
	return part{kind: kindCall, name: name, args: args}
}
