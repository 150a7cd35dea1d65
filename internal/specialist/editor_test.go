package specialist

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *desk) {
		s := d.create(`{"name":"  Köln & Co. ","description":"d","temperature":0.5,"max_tokens":100,"pinned":true,
			"pricing":{"input_per_1m":2.50,"output_per_1m":10},"fallbacks":[{"provider":"nobody","model":"m"}],
			"aliases":["gpt-4"],"base_url":"https://llm.example.com/v1","version":9,"prompt_history":[{"prompt":"x"}],"unknown":{}}`)
		want := Specialist{
			ID: "k-ln-co", Name: "Köln & Co.", Description: "d", Provider: "openai", Model: "gpt-4o", SystemPrompt: "Read.",
			Temperature: new(0.5), MaxTokens: 100, Pinned: true, Pricing: &Pricing{"2.50", "10"}, BaseURL: "https://llm.example.com/v1",
			Fallbacks: []Target{{"nobody", "m"}}, Aliases: []string{"gpt-4"}, Version: 1,
			CreatedAt: s.CreatedAt, UpdatedAt: s.CreatedAt,
		}
		require.Equal(t, want, s.Specialist)
		require.Equal(t, []string{`the provider "nobody" is not configured on this gateway`}, s.Warnings)
		require.WithinDuration(t, time.Now(), s.CreatedAt, time.Minute)

		got, ok := d.registry.Get("gpt-4")
		require.True(t, ok, "in force before Create returns")
		want.PromptHistory = got.PromptHistory
		require.Empty(t, got.PromptHistory)
		require.Equal(t, want, *got)

		plain := d.create(`{"name":"Plain"}`)
		require.Equal(t, "plain", plain.ID)
		require.Nil(t, plain.Temperature)
		require.Zero(t, plain.MaxTokens)
		require.Empty(t, plain.Warnings)
		require.Equal(t, "plain-2", d.create(`{"name":"plain!"}`).ID)
		require.Equal(t, "specialist", d.create(`{"name":"法律"}`).ID)
		require.Equal(t, "export-2", d.create(`{"name":"Export"}`).ID)
		require.Equal(t, "house-2", d.create(`{"name":"House?"}`).ID, "the configuration's id is taken")
	})
}

func TestTheDemoProviderAnswersForAll(t *testing.T) {
	t.Parallel()
	s := named("a", "A")
	require.Empty(t, NewEditor(EditorOptions{Providers: map[string]string{"demo": "http://demo.invalid"}}).warnings(&s))
	require.Empty(t, NewEditor(EditorOptions{}).warnings(&s))
	require.Len(t, NewEditor(EditorOptions{Providers: map[string]string{}}).warnings(&s), 1)
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	d := newDesk(t, sqliteURL(t))
	d.create(`{"id":"first","name":"First","aliases":["one"]}`)
	for name, tc := range map[string]struct {
		more   string
		status int
		field  string
	}{
		"no name":               {`{"name":null}`, 422, "name"},
		"blank name":            {`{"name":"  "}`, 422, "name"},
		"long name":             {`{"name":"` + strings.Repeat("n", 101) + `"}`, 422, "name"},
		"no prompt":             {`{"system_prompt":null}`, 422, "system_prompt"},
		"empty prompt":          {`{"system_prompt":""}`, 422, "system_prompt"},
		"long prompt":           {`{"system_prompt":"` + strings.Repeat("p", 10_001) + `"}`, 422, "system_prompt"},
		"prompt with NUL":       {`{"system_prompt":"a\u0000"}`, 422, "system_prompt"},
		"description with NUL":  {`{"description":"a\u0000"}`, 422, "description"},
		"no provider":           {`{"provider":null}`, 422, "provider"},
		"provider as a path":    {`{"provider":"a/b"}`, 422, "provider"},
		"empty model":           {`{"model":""}`, 422, "model"},
		"no tokens":             {`{"max_tokens":0}`, 422, "max_tokens"},
		"too many tokens":       {`{"max_tokens":32769}`, 422, "max_tokens"},
		"too hot":               {`{"temperature":2.1}`, 422, "temperature"},
		"half a price":          {`{"pricing":{"input_per_1m":1}}`, 422, "pricing.output_per_1m"},
		"price as a text":       {`{"pricing":{"input_per_1m":"1","output_per_1m":1}}`, 422, "pricing.input_per_1m"},
		"bad fallback":          {`{"fallbacks":[null]}`, 422, "fallbacks[0].provider"},
		"bad id":                {`{"id":"A b"}`, 422, "id"},
		"reserved id":           {`{"id":"export"}`, 422, "id"},
		"reserved id, other":    {`{"id":"import"}`, 422, "id"},
		"taken id":              {`{"id":"first"}`, 409, "id"},
		"id that is an alias":   {`{"id":"one"}`, 409, "id"},
		"configured id":         {`{"id":"house"}`, 409, "id"},
		"taken name":            {`{"name":"FIRST"}`, 409, "name"},
		"configured name":       {`{"name":"house"}`, 409, "name"},
		"alias that is an id":   {`{"aliases":["x","first"]}`, 409, "aliases[1]"},
		"alias that is taken":   {`{"aliases":["one"]}`, 409, "aliases[0]"},
		"configured alias":      {`{"aliases":["gpt-house"]}`, 409, "aliases[0]"},
		"base URL without TLS":  {`{"base_url":"http://llm.example.com/v1"}`, 422, "base_url"},
		"base URL on loopback":  {`{"base_url":"https://127.0.0.1/v1"}`, 422, "base_url"},
		"base URL in a network": {`{"base_url":"https://10.0.0.9/v1"}`, 422, "base_url"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := d.Create(t.Context(), root, body(t, tc.more))
			require.Nil(t, s)
			requireRefusal(t, err, tc.status, tc.field)
		})
	}
	for _, missing := range []string{"name", "provider", "model", "system_prompt"} {
		members := map[string]any{"name": "N", "provider": "p", "model": "m", "system_prompt": "s"}
		delete(members, missing)
		text, err := json.Marshal(members)
		require.NoError(t, err)
		_, err = d.Create(t.Context(), root, patch(t, string(text)))
		requireRefusal(t, err, 422, missing)
	}
	require.Len(t, d.registry.List(), 2, "the first and the configured one")
	require.Len(t, d.audit(10), 1, "what was refused is no write")
}

func TestBaseURLs(t *testing.T) {
	t.Parallel()
	e := NewEditor(EditorOptions{Providers: map[string]string{"local": "http://localhost:11434", "near": "https://LLM.corp:443", "demo": ""}})
	for url, ok := range map[string]bool{
		"": true, "https://llm.example.com/v1": true, "https://8.8.8.8/v1": true, "https://[2606:4700::1]/v1": true,
		"http://localhost:11434/v1": true, "https://llm.corp/other": true, // configured providers

		"http://localhost:11435/v1": false, "https://localhost:11434/v1": false, "http://llm.corp/v1": false,
		"http://llm.example.com/v1": false, "https://localhost/v1": false, "https://LOCALHOST./v1": false, "https://redis:6379": false,
		"https://127.0.0.1/": false, "https://127.0.0.1./": false, "https://10.1.2.3:8443/": false, "https://169.254.169.254/latest": false,
		"https://[::1]/": false, "https://[fe80::1%25eth0]/": false, "https://[::ffff:10.0.0.1]/": false, "https://[fd00::1]/": false,
		"https://2130706433/": false, "https://0x7f.1/": false, "https://127.1/": false, "https://0x7f000001/": false, "https://a.0x/": false,
		"https://metadata.google.internal/": false, "https://printer.local/": false, "https://x.localhost/": false, "https://0.0.0.0/": false,
		"https:///x": false, "https://%zz": false,
	} {
		require.Equal(t, ok, e.checkBaseURL(url) == nil, url)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *desk) {
		made := d.create(`{"id":"a","description":"d","temperature":0.5,"max_tokens":100,"pinned":true,"base_url":"https://a.example/v1",
			"pricing":{"input_per_1m":2.50,"output_per_1m":10},"fallbacks":[{"provider":"openai","model":"m"}],"aliases":["x"]}`)

		s := d.update("a", `{"description":"new"}`)
		require.Equal(t, 2, s.Version)
		require.Equal(t, "new", s.Description)
		require.Equal(t, made.CreatedAt, s.CreatedAt)
		require.False(t, s.UpdatedAt.Before(made.UpdatedAt))
		require.Empty(t, s.PromptHistory)
		require.Equal(t, made.Pricing, s.Pricing)

		s = d.update("a", `{"system_prompt":"Read well.","version":2}`)
		require.Equal(t, 3, s.Version)
		require.Equal(t, []PromptVersion{{Prompt: "Read.", Version: 2, ChangedAt: s.UpdatedAt}}, s.PromptHistory)

		s = d.update("a", `{"description":null,"base_url":null,"temperature":null,"max_tokens":null,"pricing":null,"fallbacks":null,"aliases":null,"pinned":null}`)
		bare := Specialist{
			ID: "a", Name: "Reader", Provider: "openai", Model: "gpt-4o", SystemPrompt: "Read well.",
			Version: 4, PromptHistory: s.PromptHistory, CreatedAt: made.CreatedAt, UpdatedAt: s.UpdatedAt,
		}
		require.Equal(t, bare, s.Specialist)

		got, ok := d.registry.Get("a")
		require.True(t, ok)
		require.Equal(t, s.PromptHistory, got.PromptHistory)
		require.Equal(t, 4, got.Version)
		require.Empty(t, got.Aliases)
	})
}

func TestWhatChangesNothingMakesNoVersion(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *desk) {
		d.create(`{"id":"a","temperature":0.3,"pricing":{"input_per_1m":2.50,"output_per_1m":10},"aliases":["x"]}`)
		s, _ := d.registry.Get("a")
		whole, err := json.Marshal(s)
		require.NoError(t, err)
		for _, text := range []string{
			`{}`, string(whole), `{"name":" Reader "}`, `{"max_tokens":0}`, `{"max_tokens":null}`, `{"fallbacks":[]}`, `{"id":"a","version":1}`,
			`{"pricing":{"input_per_1m":2.5,"output_per_1m":10.0}}`, `{"prompt_history":[],"created_at":"yesterday","read_only":true}`,
		} {
			require.Equal(t, 1, d.update("a", text).Version, text)
		}
		pinned, err := d.Pin(t.Context(), root, "a", false)
		require.NoError(t, err)
		require.Equal(t, 1, pinned.Version)
		require.Len(t, d.audit(10), 1)
		require.Equal(t, json.Number("2.50"), s.Pricing.InputPer1M)
	})
}

func TestUpdateRefuses(t *testing.T) {
	t.Parallel()
	d := newDesk(t, sqliteURL(t))
	d.create(`{"id":"a","max_tokens":5}`)
	d.create(`{"id":"b","name":"B","aliases":["bee"]}`)
	d.update("a", `{"description":"second"}`)
	for name, tc := range map[string]struct {
		id, text string
		status   int
		field    string
	}{
		"nobody":           {"nobody", `{}`, 404, ""},
		"an alias":         {"bee", `{}`, 404, ""},
		"configured":       {"house", `{"name":"x"}`, 409, ""},
		"stale":            {"a", `{"version":1,"name":"x"}`, 409, ""},
		"from the future":  {"a", `{"version":3}`, 409, ""},
		"another id":       {"a", `{"id":"c"}`, 422, "id"},
		"null name":        {"a", `{"name":null}`, 422, "name"},
		"empty prompt":     {"a", `{"system_prompt":""}`, 422, "system_prompt"},
		"no tokens":        {"a", `{"max_tokens":0}`, 422, "max_tokens"},
		"negative tokens":  {"a", `{"max_tokens":-1}`, 422, "max_tokens"},
		"taken name":       {"a", `{"name":"b"}`, 409, "name"},
		"taken alias":      {"a", `{"aliases":["bee"]}`, 409, "aliases[0]"},
		"private base URL": {"a", `{"base_url":"https://192.168.1.1/v1"}`, 422, "base_url"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := d.Update(t.Context(), root, tc.id, patch(t, tc.text))
			require.Nil(t, s)
			requireRefusal(t, err, tc.status, tc.field)
			if tc.field == "" && tc.id == "a" {
				require.Equal(t, map[string]any{"version": 2}, details(t, err))
			}
		})
	}
	require.Len(t, d.audit(10), 3)
	got, _ := d.registry.Get("a")
	require.Equal(t, 2, got.Version)
}

func TestDuplicate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *desk) {
		d.create(`{"id":"a","pinned":true,"aliases":["x"],"description":"d"}`)
		d.update("a", `{"system_prompt":"Other."}`)
		for _, want := range []struct{ of, id, name string }{
			{"a", "reader-copy", "Reader (Copy)"},
			{"a", "reader-copy-2", "Reader (Copy 2)"},
			{"reader-copy", "reader-copy-copy", "Reader (Copy) (Copy)"},
			{"house", "house-copy", "House (Copy)"},
		} {
			s, err := d.Duplicate(t.Context(), root, want.of)
			require.NoError(t, err)
			require.Equal(t, want.id, s.ID)
			require.Equal(t, want.name, s.Name)
			require.Equal(t, 1, s.Version)
			require.False(t, s.Pinned || s.ReadOnly)
			require.Empty(t, s.PromptHistory)
			require.Empty(t, s.Aliases)
			stored, ok := d.registry.Get(want.id)
			require.True(t, ok)
			require.False(t, stored.ReadOnly)
		}
		copied, _ := d.registry.Get("reader-copy")
		require.Equal(t, "Other.", copied.SystemPrompt)
		require.Equal(t, "d", copied.Description)
		copied, _ = d.registry.Get("house-copy")
		require.Equal(t, "http://10.0.0.9/v1", copied.BaseURL, "which the operator vouches for")
		_, err := d.Update(t.Context(), root, "house-copy", patch(t, `{"base_url":"http://10.0.0.9/admin"}`))
		requireRefusal(t, err, 422, "base_url")
		require.Equal(t, 2, d.update("house-copy", `{"description":"mine","system_prompt":"","max_tokens":0}`).Version)

		long := d.create(`{"id":"long","name":"` + strings.Repeat("ü", 100) + `"}`)
		s, err := d.Duplicate(t.Context(), root, long.ID)
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("ü", 93)+" (Copy)", s.Name)

		_, err = d.Duplicate(t.Context(), root, "nobody")
		requireRefusal(t, err, 404, "")
		_, err = d.Duplicate(t.Context(), root, "gpt-house")
		requireRefusal(t, err, 404, "")
	})
}

func TestPinAndDelete(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *desk) {
		d.create(`{"id":"a"}`)
		s, err := d.Pin(t.Context(), root, "a", true)
		require.NoError(t, err)
		require.True(t, s.Pinned)
		require.Equal(t, 2, s.Version)
		require.Equal(t, "a", d.registry.List()[0].ID)

		held, _ := d.registry.Get("a") // by a call that streams
		copied := *held
		require.NoError(t, d.Delete(t.Context(), root, "a"))
		_, ok := d.registry.Get("a")
		require.False(t, ok)
		require.Equal(t, copied, *held)

		requireRefusal(t, d.Delete(t.Context(), root, "a"), 404, "")
		requireRefusal(t, d.Delete(t.Context(), root, "house"), 409, "")
		_, err = d.Pin(t.Context(), root, "house", true)
		requireRefusal(t, err, 409, "")
		_, err = d.Pin(t.Context(), root, "a", true)
		requireRefusal(t, err, 404, "")
	})
}

func TestRevert(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *desk) {
		d.create(`{"id":"a","system_prompt":"one"}`)
		d.update("a", `{"description":"x"}`)      // version 2, still "one"
		d.update("a", `{"system_prompt":"two"}`)  // version 3
		d.update("a", `{"system_prompt":"four"}`) // version 4
		for _, step := range []struct {
			to      int
			prompt  string
			version int
		}{{1, "one", 5}, {2, "one", 5}, {5, "one", 5}, {3, "two", 6}, {4, "four", 7}, {7, "four", 7}} {
			s, err := d.Revert(t.Context(), root, "a", step.to)
			require.NoError(t, err)
			require.Equal(t, step.prompt, s.SystemPrompt, step.to)
			require.Equal(t, step.version, s.Version, step.to)
		}
		s, _ := d.registry.Get("a")
		var history []string
		for _, h := range s.PromptHistory {
			history = append(history, fmt.Sprint(h.Version, h.Prompt))
		}
		require.Equal(t, []string{"2one", "3two", "4four", "5one", "6two"}, history)
		for _, version := range []int{0, -1, 8} {
			_, err := d.Revert(t.Context(), root, "a", version)
			requireRefusal(t, err, 422, "version")
		}
		_, err := d.Revert(t.Context(), root, "nobody", 1)
		requireRefusal(t, err, 404, "")
	})
}

func TestHistoryKeepsTheLastFifty(t *testing.T) {
	t.Parallel()
	d := newDesk(t, sqliteURL(t))
	d.create(`{"id":"a","system_prompt":"p1"}`)
	for n := 2; n <= 60; n++ {
		d.update("a", fmt.Sprintf(`{"system_prompt":"p%d"}`, n))
	}
	s, _ := d.registry.Get("a")
	require.Len(t, s.PromptHistory, 50)
	require.Equal(t, "p10", s.PromptHistory[0].Prompt)
	require.Equal(t, "p59", s.PromptHistory[49].Prompt)
	_, err := d.Revert(t.Context(), root, "a", 9)
	requireRefusal(t, err, 422, "version") // it may have been another one's
	s2, err := d.Revert(t.Context(), root, "a", 10)
	require.NoError(t, err)
	require.Equal(t, "p10", s2.SystemPrompt)
}
