package tokens

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Loaded before any test, as the estimate would answer for Count until then.
	if err := Preload(context.Background(), "gpt-4o", "gpt-4"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// The vectors of OpenAI's cookbook, "How to count tokens with tiktoken".
func TestCountKnownVectors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text          string
		cl100k, o200k int64
	}{
		{"", 0, 0},
		{"hello world", 2, 2},
		{"tiktoken is great!", 6, 6},
		{"antidisestablishmentarianism", 6, 6},
		{"2 + 2 = 4", 7, 7},
		{"お誕生日おめでとう", 9, 8},
		{"<|endoftext|>", 7, 7}, // text is text, never a control token
	}
	for _, tt := range tests {
		require.Equal(t, tt.cl100k, CountString("gpt-4-0613", tt.text), tt.text)
		require.Equal(t, tt.o200k, CountString("gpt-4o", tt.text), tt.text)
	}
}

func TestFamilies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		model    string
		encoding *encoding
		family   string
	}{
		{"gpt-4o-2024-08-06", o200k, "gpt-4o"},
		{"gpt-4.1-nano", o200k, "gpt-4."},
		{"gpt-4-turbo", cl100k, "gpt-4"},
		{"gpt-3.5-turbo-0125", cl100k, "gpt-3.5"},
		{"ft:gpt-3.5-turbo:acme::id", cl100k, "gpt-3.5"},
		{"text-embedding-3-small", cl100k, "text-embedding-"},
		{"openai/gpt-4o", o200k, "gpt-4o"},
		{"gpt-5.6", o200k, ""},
		{"o4-mini", o200k, ""},
		{"gpt-oss:120b", o200k, ""},
		{"who-knows", o200k, ""},
		{"", o200k, ""},
		{"/", o200k, ""},
		{"claude-opus-4-6", nil, "claude"},
		{"anthropic/Claude-Sonnet-4.6", nil, "claude"},
		{"us.anthropic.claude-sonnet-4", nil, "claude"},
		{"models/gemini-2.5-pro", nil, "gemini"},
		{"meta-llama/llama-4-scout-17b-16e-instruct", nil, "llama"},
		{"deepseek-r1-distill-llama-70b", nil, "llama"},
		{"deepseek-chat", nil, "deepseek"},
		{"mistral-small-latest", nil, "mistral"},
		{"open-mixtral-8x7b", nil, "mixtral"},
		{"grok-4.3", nil, "grok"},
		{"qwen/qwen3-32b", nil, "qwen"},
	}
	for _, tt := range tests {
		family := familyOf(tt.model)
		require.Equal(t, tt.family, family.name, tt.model)
		require.Same(t, tt.encoding, family.encoding, tt.model)
	}
}

// Article 1 of the Universal Declaration of Human Rights: how far the estimate
// is from o200k_base in each language, at most.
func TestEstimateByLanguage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text     string
		permille int64 // most it may be off
	}{
		{"All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience and should act towards one another in a spirit of brotherhood.", 100},
		{"Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen.", 250},
		{"Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de conscience et doivent agir les uns envers les autres dans un esprit de fraternité.", 100},
		{"Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y conciencia, deben comportarse fraternalmente los unos con los otros.", 150},
		{"Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и должны поступать в отношении друг друга в духе братства.", 370},
		{"Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.", 150},
		{"يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا وعليهم أن يعامل بعضهم بعضا بروح الإخاء.", 150},
		{"सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।", 250},
		{"人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。", 100},
		{"すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。", 150},
		{"모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.", 150},
	}
	for _, tt := range tests {
		exact, estimate := CountString("gpt-4o", tt.text), Estimate("gpt-4o", []byte(tt.text))
		off := (estimate - exact) * 1000 / exact
		t.Logf("off by %+d ‰ (%d for %d): %.20s", off, estimate, exact, tt.text)
		require.InDelta(t, 0, off, float64(tt.permille), tt.text)
	}
}

// Pieces must not change the count of ordinary text by more than a token each.
func TestPiecesCountAsTheWhole(t *testing.T) {
	t.Parallel()
	text := []byte(strings.Repeat("One careful person writes\n\nfor another; 1234 words, année après année. 漢字 too.  \t if (x != nil) { return }\n", 400))
	whole := int64(len(o200k.bpe.EncodeOrdinary(string(text))))
	require.InDelta(t, whole, Count("gpt-4o", text), float64(len(text)/pieceLimit+1))
}

func TestCutKeepsRunesAndEndsAtSpace(t *testing.T) {
	t.Parallel()
	han := []byte(strings.Repeat("漢", 2000))
	for rest := han; len(rest) > 0; {
		n := cut(rest)
		require.Zero(t, n%3, "a rune was cut")
		require.LessOrEqual(t, n, runLimit)
		rest = rest[n:]
	}
	words := []byte(strings.Repeat("word ", 2000))
	n := cut(words)
	require.Equal(t, byte(' '), words[n])
	require.LessOrEqual(t, n, pieceLimit)
	require.Equal(t, 5, cut([]byte("short")))
}

// hostile are texts that are the worst for some tokenizer.
func hostile(size int) map[string][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	fill := func(alphabet string) []byte {
		text := make([]byte, size)
		for i := range text {
			text[i] = alphabet[random.IntN(len(alphabet))]
		}
		return text
	}
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return map[string][]byte{
		"one letter":    fill("a"),
		"letters":       fill("abcdefghijklmnopqrstuvwxyz"),
		"capitals":      fill("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
		"digits":        fill("0123456789"),
		"punctuation":   fill("!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~"),
		"spaces":        fill(" "),
		"newlines":      fill("\n"),
		"white space":   fill(" \t\r\n"),
		"any bytes":     fill(string(all)),
		"continuations": fill("\x80"),
		"invalid UTF-8": fill("\xff"),
		"broken runes":  fill("\xe6\xbc"),
		"han":           bytes.Repeat([]byte("漢字"), size/6),
		"marks":         bytes.Repeat([]byte("e\u0301\u0301"), size/5),
	}
}

// A megabyte of the worst must be quick. In quadratic time it would take
// minutes, so the limit is far above the 0.2 s it should take at most, and a
// busy machine does not fail the test.
func TestHostileTextIsCountedInLinearTime(t *testing.T) {
	for name, text := range hostile(1 << 20) {
		for _, model := range []string{"gpt-4o", "claude-opus-4-6"} {
			start := time.Now()
			count := Count(model, text)
			elapsed := time.Since(start)
			t.Logf("%-13s %-15s %7d tokens, estimate %7d, %v", name, model, count, Estimate(model, text), elapsed.Round(time.Millisecond))
			require.Less(t, elapsed, 3*time.Second, name)
			require.Positive(t, count, name)
			require.LessOrEqual(t, count, int64(3*len(text)), name)
		}
	}
}

func TestLongTextIsExtrapolated(t *testing.T) {
	t.Parallel()
	sentence := "The quick brown fox jumps over the lazy dog, and again. "
	long := []byte(strings.Repeat(sentence, 4*exactLimit/len(sentence)))
	whole := countPieces(o200k.bpe, long)
	require.InEpsilon(t, whole, Count("gpt-4o", long), 0.01)
}

func TestEstimateOfLittle(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"gpt-4o", "claude-opus-4-6", "gemini-2.5-pro"} {
		require.Zero(t, Estimate(model, nil))
		require.Zero(t, Count(model, nil))
		for _, text := range []string{"a", "1", ".", "漢", "é", "\xff", "\x00"} {
			require.Positive(t, Estimate(model, []byte(text)), "%q", text)
		}
	}
	require.Greater(t, Estimate("claude-x", []byte(strings.Repeat("word ", 100))), Estimate("gpt-x", []byte(strings.Repeat("word ", 100))))
}

func TestVocabularyLoadsInTheBackground(t *testing.T) {
	t.Parallel()
	e := newEncoding("cl100k_base")
	var callers sync.WaitGroup
	require.Nil(t, e.ready(), "the first caller does not wait")
	for range 8 {
		callers.Go(func() { e.ready() }) // for the race detector
	}
	callers.Wait()
	require.NoError(t, e.wait(t.Context()))
	require.NotNil(t, e.ready())
}

func TestPreloadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	never := newEncoding("never")
	never.start.Do(func() {}) // begun, and never done
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, never.wait(ctx), context.Canceled)

	missing := newEncoding("no_such_vocabulary")
	require.ErrorContains(t, missing.wait(t.Context()), "no_such_vocabulary")
	require.Nil(t, missing.ready())

	require.NoError(t, Preload(t.Context()))
	require.NoError(t, Preload(t.Context(), "claude-opus-4-6"))
}

func FuzzCount(f *testing.F) {
	for _, text := range hostile(700) {
		f.Add(text)
	}
	f.Add([]byte("don't <|endoftext|> HTMLParser 3.14 漢字é\r\n\r\n\t x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, model := range []string{"gpt-4o", "gpt-4", "claude"} {
			count := Count(model, text)
			// An invalid byte is read as U+FFFD, whose three bytes may be three tokens.
			if count < 0 || count > 3*int64(len(text)) || (count == 0 && len(bytes.Trim(text, " ")) > 0) {
				t.Fatalf("%d tokens in %d bytes", count, len(text))
			}
		}
	})
}

func BenchmarkCount(b *testing.B) {
	text := []byte(strings.Repeat("The quick brown fox jumps over the lazy dog; {\"n\": 42}.\n", 20<<10/56))
	for _, bench := range []struct {
		name  string
		count func(string, []byte) int64
	}{{"exact", Count}, {"estimate", Estimate}} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				bench.count("gpt-4o", text)
			}
		})
	}
}
