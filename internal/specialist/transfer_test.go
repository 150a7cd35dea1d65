package specialist

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
)

func document(t testing.TB, mode Mode, specialists ...string) *Document {
	t.Helper()
	d := Document{Mode: mode, Specialists: []jsontext.Value{}}
	for _, s := range specialists {
		d.Specialists = append(d.Specialists, jsontext.Value(s))
	}
	return &d
}

// simple is a specialist of a document.
func simple(id, name, more string) string {
	return fmt.Sprintf(`{"id":%q,"name":%q,"provider":"openai","model":"gpt-4o","system_prompt":"Read."%s}`, id, name, more)
}

// exported is an export as the document it is on the wire.
func (d *desk) exported() string {
	d.t.Helper()
	all, err := d.Export(d.t.Context())
	require.NoError(d.t, err)
	text, err := json.Marshal(map[string]any{"specialists": all})
	require.NoError(d.t, err)
	return string(text)
}

// An export is taken back equal: by an empty gateway as it is, and by the one
// that it came from as nothing new.
func TestExportsComeBackEqual(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *desk) {
		require.NoError(t, d.registry.Seed(t.Context()))
		d.create(`{"id":"full","name":"Füll","description":"d","temperature":0.1,"max_tokens":7,"pinned":true,"base_url":"https://a.example/v1",
			"pricing":{"input_per_1m":2.50,"output_per_1m":0.000001},"fallbacks":[{"provider":"anthropic","model":"m"}],"aliases":["x","y/z"]}`)
		d.update("full", `{"system_prompt":"Two."}`)
		d.update("full", `{"system_prompt":"Three."}`)
		text := d.exported()
		require.NotContains(t, text, `"house"`, "what is configured stays in the configuration")

		var doc Document
		require.NoError(t, jsonv2.Unmarshal([]byte(text), &doc))
		other := newDesk(t, sqliteURL(t))
		done, err := other.Import(t.Context(), root, &doc)
		require.NoError(t, err)
		require.Equal(t, Imported{Created: 5}, *done)
		require.Equal(t, text, other.exported())
		require.Len(t, other.audit(10), 5)
		s, ok := other.registry.Get("y/z")
		require.True(t, ok, "in force at once")
		require.Equal(t, 3, s.Version)

		for mode, want := range map[Mode]Imported{ModeSkip: {Skipped: 5}, ModeOverwrite: {Skipped: 5}} {
			doc.Mode = mode
			done, err = d.Import(t.Context(), root, &doc)
			require.NoError(t, err)
			require.Equal(t, want, *done, mode)
		}
		require.Equal(t, text, d.exported())
	})
}

func TestOverwriteRestores(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *desk) {
		d.create(`{"id":"a","name":"A","description":"old","temperature":1}`)
		d.create(`{"id":"b","name":"B"}`)
		var doc Document
		require.NoError(t, jsonv2.Unmarshal([]byte(d.exported()), &doc))
		d.update("a", `{"name":"C","temperature":null,"description":"new"}`)
		d.update("b", `{"name":"A","system_prompt":"Other.","pinned":true}`)
		d.update("a", `{"name":"B"}`)

		doc.Mode = ModeOverwrite
		done, err := d.Import(t.Context(), root, &doc)
		require.NoError(t, err)
		require.Equal(t, Imported{Updated: 2}, *done)
		a, _ := d.registry.Get("a")
		b, _ := d.registry.Get("b")
		require.Equal(t, []any{"A", "old", 1.0, 4}, []any{a.Name, a.Description, *a.Temperature, a.Version})
		require.Equal(t, []any{"B", "Read.", false, 3}, []any{b.Name, b.SystemPrompt, b.Pinned, b.Version})
		require.Equal(t, []PromptVersion{
			{Prompt: "Read.", Version: 1, ChangedAt: b.PromptHistory[0].ChangedAt},
			{Prompt: "Other.", Version: 2, ChangedAt: b.UpdatedAt},
		}, b.PromptHistory)
	})
}

func TestImportModes(t *testing.T) {
	t.Parallel()
	docs := []string{
		simple("a", "A", `,"max_tokens":9`), simple("new", "New", `,"aliases":["n"]`), simple("other", "b", ``),
		`{"name":"No ID","provider":"nobody","model":"m","system_prompt":"p"}`, `{"name":"no-id","provider":"nobody","model":"m","system_prompt":"p"}`,
	}
	for mode, tc := range map[Mode]struct {
		want   *Imported
		faults []string
	}{
		ModeSkip:      {want: &Imported{Created: 3, Skipped: 2, Warnings: []string{`the provider "nobody" is not configured on this gateway`}}},
		ModeOverwrite: {faults: []string{"specialists[2].name"}},
		ModeFail:      {faults: []string{"specialists[0].id", "specialists[2].name"}},
		"":            {faults: []string{"specialists[0].id", "specialists[2].name"}},
	} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, sqliteURL(t))
			d.create(`{"id":"a","name":"A"}`)
			d.create(`{"id":"b","name":"B"}`)
			before := d.exported()
			for _, dry := range []bool{true, false} {
				doc := document(t, mode, docs...)
				doc.DryRun = dry
				done, err := d.Import(t.Context(), root, doc)
				if tc.want == nil {
					require.Nil(t, done)
					requireRefusal(t, err, 409, "")
					require.Equal(t, tc.faults, slices.Sorted(maps.Keys(details(t, err))))
				} else {
					require.NoError(t, err)
					want := *tc.want
					want.DryRun = dry
					require.Equal(t, want, *done)
				}
				if dry || tc.want == nil {
					require.Equal(t, before, d.exported())
					require.Len(t, d.audit(10), 2)
				}
			}
			if tc.want != nil {
				require.Len(t, d.audit(10), 5)
				_, ok := d.registry.Get("no-id-2")
				require.True(t, ok)
			}
		})
	}
}

func TestImportNamesEveryFault(t *testing.T) {
	t.Parallel()
	d := newDesk(t, sqliteURL(t))
	d.create(`{"id":"there","name":"There","aliases":["t"]}`)
	cases := []struct{ text, path string }{
		{simple("ok", "OK", ``), ""},
		{simple("a", "", ``), "name"},
		{`{"id":"b","name":"B","provider":"p","model":"m"}`, "system_prompt"},
		{`{"id":"c","name":"C","provider":"p","model":"m","system_prompt":null}`, "system_prompt"},
		{simple("d", "D", `,"temperature":"hot"`), "temperature"},
		{simple("e", "E", `,"fallbacks":[{"provider":"openai","model":"x"},{"provider":"openai","model":5}]`), "fallbacks[1].model"},
		{simple("ok", "OK again", ``), "id"},
		{simple("f", "ok", ``), "name"},
		{simple("g", "G", `,"aliases":["there"]`), "aliases[0]"},
		{simple("house", "My house", ``), "id"},
		{simple("h", "H", `,"version":0`), "version"},
		{simple("i", "I", `,"version":2,"prompt_history":[{"prompt":"p","version":2}]`), "prompt_history[0].version"},
		{simple("j", "J", `,"version":9,"prompt_history":[{"prompt":"p","version":2},{"prompt":"p","version":2}]`), "prompt_history[1].version"},
		{simple("k", "K", `,"version":9,"prompt_history":[{"prompt":"`+strings.Repeat("p", 10_001)+`","version":2}]`), "prompt_history[0].prompt"},
		{simple("l", "L", `,"version":99,"prompt_history":[`+strings.Repeat(`{},`, 50)+`{}]`), "prompt_history"},
		{simple("m", "M", `,"created_at":"yesterday"`), "created_at"},
		{simple("n", "N", `,"base_url":"https://10.0.0.1/v1"`), "base_url"},
		{simple("o", "O", `,"aliases":["shared"]`), ""},
		{simple("p", "P", `,"aliases":["shared"]`), "aliases[0]"},
		{simple("shared", "Shared", ``), "id"},
		{`[]`, "-"},
		{`null`, "name"},
		{simple("export", "Q", ``), "id"},
	}
	var texts, want []string
	for i, c := range cases {
		texts = append(texts, c.text)
		switch c.path {
		case "":
		case "-":
			want = append(want, fmt.Sprintf("specialists[%d]", i))
		default:
			want = append(want, fmt.Sprintf("specialists[%d].%s", i, c.path))
		}
	}
	before := d.exported()
	_, err := d.Import(t.Context(), root, document(t, ModeFail, texts...))
	requireRefusal(t, err, 422, "")
	require.ElementsMatch(t, want, slices.Collect(maps.Keys(details(t, err))))
	require.ErrorContains(t, err, "nothing was imported, since 21 of 23 specialists cannot be; the first, specialists[1]: name must")
	require.Equal(t, before, d.exported())

	_, err = d.Import(t.Context(), root, document(t, "merge"))
	requireRefusal(t, err, 422, "mode")
	_, err = d.Import(t.Context(), root, &Document{})
	requireRefusal(t, err, 422, "specialists")
	_, err = d.Import(t.Context(), root, document(t, ModeFail, make([]string, 1001)...))
	requireRefusal(t, err, 422, "specialists")
	done, err := d.Import(t.Context(), root, document(t, ModeFail))
	require.NoError(t, err)
	require.Equal(t, Imported{}, *done)
}
