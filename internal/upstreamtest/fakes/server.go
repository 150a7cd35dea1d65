package fakes

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// Kind is the provider that a fake plays.
type Kind string

// The kinds of fakes.
const (
	// OpenAI has chat completions, Responses, embeddings and token counts.
	OpenAI Kind = "openai"
	// OpenAIChat is a provider that speaks OpenAI's chat format and no other, with
	// the liberties such providers take: reasoning_content in answers, comments
	// in the stream, tolerance for members that OpenAI would refuse.
	OpenAIChat Kind = "openai_chat"
	Anthropic  Kind = "anthropic"
	Gemini     Kind = "gemini"
)

// Kinds lists all fakes.
var Kinds = []Kind{OpenAI, OpenAIChat, Anthropic, Gemini}

// Key is the API key that every fake takes.
const Key = "key-of-the-fake-provider-0123456789"

// Server is a fake provider on a loopback address.
type Server struct {
	*upstreamtest.Upstream // its journal of requests

	kind Kind

	mu       sync.Mutex                  // guards all below
	problems []string                    // why requests were refused
	stored   map[string][]rsItem         // Responses kept for previous_response_id
	reasoned map[string]string           // the reasoning item that a call's item needs before it
	threads  map[string]anthropicRequest // Anthropic's conversations, by their last answer's id
	prompts  []*prompt
}

// New starts a fake provider that ends with the test.
func New(t testing.TB, kind Kind) *Server {
	s := &Server{kind: kind, stored: map[string][]rsItem{}, reasoned: map[string]string{}, threads: map[string]anthropicRequest{}}
	mux := http.NewServeMux()
	switch kind {
	case OpenAI:
		s.openAIRoutes(mux)
		s.responsesRoutes(mux)
	case OpenAIChat:
		s.openAIRoutes(mux)
	case Anthropic:
		s.anthropicRoutes(mux)
	case Gemini:
		s.geminiRoutes(mux)
	}
	s.Upstream = upstreamtest.New(t, mux.ServeHTTP)
	return s
}

// Kind is the provider that the fake plays.
func (s *Server) Kind() Kind { return s.kind }

// BaseURL is what the provider's own SDK takes as its base URL.
func (s *Server) BaseURL() string {
	if s.kind == OpenAI || s.kind == OpenAIChat {
		return s.URL() + "/v1"
	}
	return s.URL()
}

// Problems are the reasons for which requests were refused, except those that a
// script asked for.
func (s *Server) Problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.problems)
}

// LastDescription describes the latest request that was found right; nil before
// the first.
func (s *Server) LastDescription() *Description {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.prompts) == 0 {
		return nil
	}
	return s.prompts[len(s.prompts)-1].describe()
}

// LastStates counts the pieces of provider state (signatures and the like) that
// came back with the latest request and were found good.
func (s *Server) LastStates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.prompts) == 0 {
		return 0
	}
	return s.prompts[len(s.prompts)-1].states
}

// note writes down a request that was found right, or why it was not, and gives
// the number of the former.
func (s *Server) note(p *prompt, problem *refusal) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if problem != nil {
		s.problems = append(s.problems, problem.Error())
		return 0
	}
	s.prompts = append(s.prompts, p)
	return len(s.prompts)
}

// refusal is an error answer, in no particular format.
type refusal struct {
	status  int
	kind    string // the format's type or status, where the HTTP status does not say it
	code    string
	param   string
	message string
}

func (r *refusal) Error() string {
	return strings.TrimSpace(strings.Join([]string{r.message, r.param, r.code}, " "))
}

// known says whether a provider has a model: by its family's prefix.
func (s *Server) known(model string) bool {
	prefixes := map[Kind][]string{
		OpenAI:     {"gpt-", "o3", "o4-", "text-embedding-"},
		OpenAIChat: {"grok-", "llama-", "deepseek-", "gpt-", "mistral-", "magistral-", "chat-", "text-embedding-", "openai/"},
		Anthropic:  {"claude-"},
		Gemini:     {"gemini-", "text-embedding-"},
	}[s.kind]
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(model, p) })
}

// models are those that a list of models names.
func (s *Server) models() []string {
	return map[Kind][]string{
		OpenAI:     {"gpt-4o", "gpt-4o-mini", "gpt-5", "text-embedding-3-small"},
		OpenAIChat: {"grok-4", "mistral-large-latest", "mistral-embed"},
		Anthropic:  {"claude-sonnet-4-5", "claude-haiku-4-5"},
		Gemini:     {"gemini-2.5-flash", "gemini-3-pro-preview", "gemini-embedding-001"},
	}[s.kind]
}
