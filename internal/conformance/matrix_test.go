package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
)

var update = flag.Bool("update", false, "write docs/conformance.md")

// What a cell of the table says.
const (
	works   = "yes"   // carried, and checked on both sides
	refused = "400"   // refused, naming the client's field
	noted   = "noted" // left out, since it changes no answer, and told in X-Tollgate-Dropped
	unsaid  = "–"     // the client's dialect cannot say it
)

// feature is a row of the table: what is checked for each pair of dialects.
type feature struct {
	name       string
	streamOnly bool
	check      func(c *cell) string
}

var features = []feature{
	{"text", false, checkText},
	{"system prompt", false, checkSystem},
	{"several turns", false, checkTurns},
	{"tool round trip", false, checkTool},
	{"parallel tools", false, checkParallel},
	{"failed tool", false, checkFailedTool},
	{"image", false, checkImage},
	{"JSON schema", false, checkSchema},
	{"thinking, kept over a tool loop", false, checkThinking},
	{"conversation moved to another model", false, checkMoved},
	{"cache marks", false, checkCache},
	{"token limit", false, checkLimit},
	{"refusal", false, checkRefusal},
	{"stop sequence", false, checkStop},
	{"top_k", false, checkTopK},
	{"seed", false, checkSeed},
	{"the provider's own tools", false, checkServerTool},
	{"… left out on request", false, checkDropped},
	{"error", false, checkError},
	{"error in mid-stream", true, checkMidStream},
	{"stream cut", true, checkCut},
	{"caller leaves", true, checkAbort},
}

func user(text string) []turn { return []turn{{user: text}} }

func checkText(c *cell) string {
	const said = `Grüße, "world" \ <tag> 漢字 🙂`
	o := c.good(talk{turns: user("say: " + said)})
	require.Equal(c, said, o.text, o.raw)
	require.Equal(c, "stop", o.stop)
	return works
}

func checkSystem(c *cell) string {
	o := c.good(talk{system: "Answer in Latin.", turns: user("#echo-system")})
	require.Equal(c, "Answer in Latin.", o.text)
	return works
}

func checkTurns(c *cell) string {
	c.good(talk{turns: []turn{{user: "one"}, {said: "two"}, {user: "three"}, {said: "four"}, {user: "say: five"}}})
	d := c.fake().LastDescription()
	var said []string
	for _, item := range d.Items {
		said = append(said, item.Role+": "+item.Text)
	}
	require.Equal(c, []string{"user: one", "assistant: two", "user: three", "assistant: four", "user: say: five"}, said)
	return works
}

func requireCall(c *cell, call called, city string) {
	c.Helper()
	require.Equal(c, "get_weather", call.name)
	require.JSONEq(c, `{"city":"`+city+`"}`, call.args)
}

func checkTool(c *cell) string {
	t := talk{tools: true, turns: user(`#tool get_weather {"city":"Paris"}`)}
	o := c.good(t)
	require.Len(c, o.calls, 1, o.raw)
	require.Equal(c, "tools", o.stop, o.raw)
	requireCall(c, o.calls[0], "Paris")
	t.turns = append(t.turns, turn{answer: o.answer}, turn{results: []toolSaid{{id: o.calls[0].id, name: o.calls[0].name, text: "sunny"}}})
	require.Equal(c, "get_weather: sunny", c.good(t).text)
	return works
}

func checkParallel(c *cell) string {
	t := talk{tools: true, parallel: true, turns: user(`#tools get_weather {"city":"Paris"} | get_weather {"city":"Rome"}`)}
	o := c.good(t)
	require.Len(c, o.calls, 2, o.raw)
	requireCall(c, o.calls[0], "Paris")
	requireCall(c, o.calls[1], "Rome")
	t.turns = append(t.turns, turn{answer: o.answer}, turn{results: []toolSaid{
		{id: o.calls[0].id, name: o.calls[0].name, text: "sunny"}, {id: o.calls[1].id, name: o.calls[1].name, text: "rain"},
	}})
	require.Equal(c, "get_weather: sunny; get_weather: rain", c.good(t).text)
	return works
}

func checkFailedTool(c *cell) string {
	switch c.client.(type) {
	case chatClient, responsesClient:
		return unsaid
	}
	t := talk{tools: true, turns: user(`#tool get_weather {"city":"Paris"}`)}
	o := c.good(t)
	t.turns = append(t.turns, turn{answer: o.answer}, turn{results: []toolSaid{{id: o.calls[0].id, name: o.calls[0].name, text: "no such city", failed: true}}})
	require.Contains(c, c.good(t).text, "no such city")
	return works
}

func checkImage(c *cell) string {
	c.good(talk{turns: []turn{{user: "say: nice", image: true}}})
	var seen []string
	for _, item := range c.fake().LastDescription().Items {
		seen = append(seen, fmt.Sprintf("%s %s %d", item.Kind, item.MIME, item.Bytes))
	}
	require.Equal(c, []string{"text  0", "image image/png 70"}, seen)
	return works
}

func checkSchema(c *cell) string {
	o := c.good(talk{schema: true, turns: user("#json")})
	require.JSONEq(c, `{"city":"Paris"}`, o.text, o.raw)
	require.Equal(c, "schema", c.fake().LastDescription().Output.Kind)
	return works
}

// The model thinks, calls a tool, and finds its own thinking again with the
// tool's result, whatever the client speaks.
func checkThinking(c *cell) string {
	t := talk{tools: true, think: true, turns: user("#think\n" + `#tool get_weather {"city":"Paris"}`)}
	o := c.good(t)
	require.Len(c, o.calls, 1, o.raw)
	if _, chat := c.client.(chatClient); !chat || c.to.shows { // a chat client cannot ask to see it
		require.Contains(c, o.thinking, "think it over", o.raw)
	}
	t.turns = append(t.turns, turn{answer: o.answer}, turn{results: []toolSaid{{id: o.calls[0].id, name: o.calls[0].name, text: "sunny"}}})
	require.Equal(c, "get_weather: sunny", c.good(t).text)
	if c.to.keeps {
		require.Positive(c, c.fake().LastStates(), "the provider's state came back")
	}
	return works
}

// A conversation that thought with one model goes on with another: the state of
// the first is not replayed.
func checkMoved(c *cell) string {
	t := talk{tools: true, think: true, turns: user("#think\n" + `#tool get_weather {"city":"Paris"}`)}
	o := c.good(t)
	t.turns = append(t.turns, turn{answer: o.answer}, turn{results: []toolSaid{{id: o.calls[0].id, name: o.calls[0].name, text: "sunny"}}})
	t.think = false
	for _, next := range upstreams {
		if next.name == c.to.name {
			continue
		}
		moved := *c
		moved.to = next
		require.Equal(c, "get_weather: sunny", moved.good(t).text, next.name)
	}
	return works
}

func checkCache(c *cell) string {
	o := c.good(talk{cache: true, system: strings.Repeat("Know this. ", 500), turns: user("#cache\nsay: cached")})
	require.EqualValues(c, 500, o.usage.cached, o.raw)
	switch c.client.(type) {
	case responsesClient, geminiClient:
		return unsaid
	}
	marked := strings.Contains(string(c.fake().Last().Body), "cache_control")
	dropped := strings.Contains(strings.Join(o.header["X-Tollgate-Dropped"], ","), "cache_control")
	switch {
	case marked:
		return works
	case dropped:
		return noted
	}
	require.Fail(c, "the mark was neither sent nor reported as left out")
	return ""
}

func checkLimit(c *cell) string {
	o := c.good(talk{max: 20, turns: user("#long")})
	require.Equal(c, "length", o.stop, o.raw)
	require.EqualValues(c, 20, c.fake().LastDescription().MaxTokens)
	return works
}

func checkRefusal(c *cell) string {
	o := c.good(talk{turns: user("#refuse")})
	require.Equal(c, "refusal", o.stop, o.raw)
	return works
}

// checkParameter sends a parameter that some formats do not have. can says
// whether the upstream's does.
func checkParameter(c *cell, command string, extra object, path string, can bool, seen func(*cell) bool) string {
	if extra == nil {
		return unsaid
	}
	t := talk{turns: user(command), extra: extra}
	if can {
		c.good(t)
		require.True(c, seen(c), "the upstream got it")
		return works
	}
	requireRefused(c, t, path)
	return refused
}

func requireRefused(c *cell, t talk, path string) {
	c.Helper()
	asked := len(c.fake().Requests())
	o, row := c.ask(t)
	require.Equal(c, http.StatusBadRequest, o.status, o.raw)
	require.Contains(c, o.errText, path, o.raw)
	require.Equal(c, llm.CauseInvalidRequest, row.ErrorCause)
	require.Zero(c, row.Attempt, "no upstream was asked")
	require.Len(c, c.fake().Requests(), asked)
}

func (c *cell) speaks(names ...string) bool { return slices.Contains(names, c.to.name) }

func checkStop(c *cell) string {
	extra, path := object{"stop": []any{"two"}}, "stop"
	switch c.client.(type) {
	case responsesClient:
		extra = nil
	case anthropicClient:
		extra, path = object{"stop_sequences": []any{"two"}}, "stop_sequences"
	case geminiClient:
		extra, path = object{"stopSequences": []any{"two"}}, "generationConfig.stopSequences"
	}
	return checkParameter(c, "#stopseq", extra, path, !c.speaks("OpenAI Responses"),
		func(c *cell) bool { return slices.Equal(c.fake().LastDescription().Stop, []string{"two"}) })
}

func checkTopK(c *cell) string {
	var extra object
	path := "top_k"
	switch c.client.(type) {
	case anthropicClient:
		extra = object{"top_k": 5}
	case geminiClient:
		extra, path = object{"topK": 5}, "generationConfig.topK"
	}
	return checkParameter(c, "say: x", extra, path, c.speaks("Anthropic", "Gemini"),
		func(c *cell) bool { k := c.fake().LastDescription().TopK; return k != nil && *k == 5 })
}

func checkSeed(c *cell) string {
	extra, path := object{"seed": 7}, "seed"
	switch c.client.(type) {
	case responsesClient, anthropicClient:
		extra = nil
	case geminiClient:
		path = "generationConfig.seed"
	}
	return checkParameter(c, "say: x", extra, path, c.speaks("OpenAI Chat", "Gemini"),
		func(c *cell) bool { s := c.fake().LastDescription().Seed; return s != nil && *s == 7 })
}

// serverTool is a tool that the provider of the client's dialect runs itself.
func serverTool(c *cell) (extra object, path string) {
	switch c.client.(type) {
	case chatClient:
		return object{"web_search_options": object{"search_context_size": "low"}}, "web_search_options"
	case responsesClient:
		return object{"tools": []any{object{"type": "web_search"}}}, "tools[0]"
	case anthropicClient:
		return object{"tools": []any{object{"type": "web_search_20250305", "name": "web_search"}}}, "tools[0]"
	default:
		return object{"tools": []any{object{"googleSearch": object{}}}}, "tools[0]"
	}
}

func checkServerTool(c *cell) string {
	if c.same() {
		return "passes" // bytes are not looked at: the gateway's own tests show it
	}
	extra, path := serverTool(c)
	requireRefused(c, talk{turns: user("say: x"), extra: extra}, path)
	return refused
}

func checkDropped(c *cell) string {
	if c.same() {
		return unsaid
	}
	extra, path := serverTool(c)
	o, _ := c.ask(talk{turns: user("say: x"), extra: extra}, "X-Tollgate-Unsupported", "drop")
	require.Equal(c, http.StatusOK, o.status, o.raw)
	require.Equal(c, "x", o.text)
	require.Contains(c, strings.Join(o.header["X-Tollgate-Dropped"], ","), path)
	return works
}

func checkError(c *cell) string {
	for status, want := range map[int]struct {
		status int
		cause  llm.Cause
		types  []string
	}{
		400: {400, llm.CauseUpstreamRejected, []string{"invalid_request_error", "INVALID_ARGUMENT"}},
		429: {429, llm.CauseUpstreamRateLimited, []string{"rate_limit_error", "RESOURCE_EXHAUSTED"}},
		500: {502, llm.CauseUpstreamError, []string{"server_error", "api_error", "INTERNAL", "UNAVAILABLE"}},
	} {
		o, row := c.ask(talk{turns: user(fmt.Sprintf("#error %d", status))})
		require.Equal(c, want.status, o.status, o.raw)
		require.Contains(c, want.types, o.errType, o.raw)
		require.NotEmpty(c, o.errText)
		require.Equal(c, want.cause, row.ErrorCause)
	}
	return works
}

func checkMidStream(c *cell) string {
	o, row := c.ask(talk{turns: user("#midstream-error")})
	require.False(c, o.whole, o.raw)
	require.NotEmpty(c, o.errText+o.errType, "the client is told: %s", o.raw)
	require.NotEqual(c, llm.CauseNone, row.ErrorCause)
	return works
}

func checkCut(c *cell) string {
	for _, command := range []string{"#cut", "#cut clean"} {
		o, row := c.ask(talk{turns: user(command)})
		require.False(c, o.whole, "%s: %s", command, o.raw)
		require.NotEmpty(c, o.errText+o.errType, "the client is told: %s", o.raw)
		require.Equal(c, llm.CauseUpstreamCut, row.ErrorCause, command)
	}
	return works
}

func checkAbort(c *cell) string {
	before := c.ledger.len()
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	t := talk{model: c.to.provider + "/" + c.to.model, stream: true, turns: user("#slow 20ms\n#long")}
	body, err := json.Marshal(c.client.body(t))
	require.NoError(c, err)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+c.client.path(t), bytes.NewReader(body))
	require.NoError(c, err)
	for list := c.client.header(); len(list) > 1; list = list[2:] {
		r.Header.Set(list[0], list[1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(c, err)
	defer resp.Body.Close()
	require.Equal(c, http.StatusOK, resp.StatusCode)
	lines := bufio.NewScanner(resp.Body)
	for range 8 { // some of the answer has come
		require.True(c, lines.Scan())
	}
	cancel()
	row := c.ledger.wait(c.T, before)
	require.Equal(c, llm.CauseClientGone, row.ErrorCause)
	require.Equal(c, llm.StatusClientClosedRequest, row.Status)
	require.False(c, row.Success)
	return works
}

// TestMatrix checks every client dialect against every upstream dialect, and that
// docs/conformance.md says what was found.
func TestMatrix(t *testing.T) {
	found := map[string]string{}
	s := newStage(t)
	for _, client := range clients {
		for _, to := range upstreams {
			for _, f := range features {
				for _, stream := range []bool{false, true} {
					if f.streamOnly && !stream {
						continue
					}
					name := fmt.Sprintf("%s to %s/%s/stream=%t", client.name(), to.name, f.name, stream)
					t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
						mark := f.check(&cell{T: t, stage: s, client: client, to: to, stream: stream})
						key := client.name() + "|" + to.name + "|" + f.name
						if was, ok := found[key]; ok {
							require.Equal(t, was, mark, "streamed and not alike")
						}
						found[key] = mark
					})
				}
			}
		}
	}
	if t.Failed() {
		return
	}
	requireTable(t, table(found))
}

const tableFile = "../../docs/conformance.md"

func requireTable(t *testing.T, want string) {
	if *update {
		require.NoError(t, os.WriteFile(tableFile, []byte(want), 0o644))
	}
	got, err := os.ReadFile(tableFile)
	require.NoError(t, err)
	require.Equal(t, want, string(got), "run `go test ./internal/conformance -update`")
}

func table(found map[string]string) string {
	var b strings.Builder
	b.WriteString(`# Conformance

Written by the test that checks it (` + "`go test ./internal/conformance -update`" + `); not by hand. Each cell was tried streamed and
not, with a hand-written client of one dialect and a strict fake provider of the other, and left exactly one right usage
row per call. Where both speak the same dialect, bytes pass through.

- **yes**: carried, and checked on both sides
- **400**: the upstream's format cannot say it; refused, naming the client's own field
- **noted**: changes no answer, so it is left out, and the answer's header ` + "`X-Tollgate-Dropped`" + ` tells it
- **passes**: the bytes go to a provider of the same dialect as they are
- **–**: the client's dialect has no such thing
`)
	for _, client := range clients {
		fmt.Fprintf(&b, "\n## %s clients\n\n| |", client.name())
		for _, to := range upstreams {
			fmt.Fprintf(&b, " %s |", to.name)
		}
		b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(upstreams)) + "\n")
		for _, f := range features {
			fmt.Fprintf(&b, "| %s |", f.name)
			for _, to := range upstreams {
				fmt.Fprintf(&b, " %s |", found[client.name()+"|"+to.name+"|"+f.name])
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}
