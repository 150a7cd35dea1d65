package jsonedit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
)

// valid is the reference our scanner must agree with.
func valid(src []byte) bool {
	d := jsontext.NewDecoder(bytes.NewBuffer(bytes.Clone(src)), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	if _, err := d.ReadValue(); err != nil {
		return false
	}
	_, err := d.ReadToken()
	return err != nil && err.Error() == "EOF"
}

var texts = []string{
	`{}`, `[]`, ` { } `, `null`, `true`, `false`, `0`, `-0`, `-1.5e+10`, `1E400`, `"a"`, `""`,
	`{"a":1,"b":[1,2,{"c":"d\n\u00e9\ud83d\ude00"}]}`, "{\"a\"\t:\r\n1}", `[[[[]]],{}]`,
	"\"\xff\xfe\"", `"\ud800"`, "\"\x7f\"", `"/\/"`, `"0123456789abcdef0123456789"`,
	"", " ", `{`, `[`, `"`, `"abc`, `"\`, `"\u12`, `"\u12g4"`, `"\x"`, "\"a\nb\"", "\"\x00\"", `01`, `-`, `1.`, `.5`, `1e`, `+1`,
	`tru`, `nul`, `nulll`, `NaN`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{a:1}`, `{"a":1 "b":2}`, `[1,]`, `[,]`, `[1 2]`,
	`{}x`, `{}{}`, `{"a":1}]`, "\xef\xbb\xbf{}", `'a'`, `{"a":1}` + "\x00",
}

func TestScannerAgreesWithReference(t *testing.T) {
	for _, text := range texts {
		checkAgainstReference(t, []byte(text))
	}
}

func checkAgainstReference(t *testing.T, src []byte) {
	t.Helper()
	s := NewScanner(src)
	raw := s.Skip()
	err := s.End()
	require.Equal(t, valid(src), err == nil, "skip of %q: %v", src, err)
	if err == nil {
		require.Equal(t, bytes.Trim(src, " \t\r\n"), raw)
	}
	s = NewScanner(src)
	walk(&s)
	require.Equal(t, err == nil, s.End() == nil, "walk of %q", src)
}

// walk goes through every loop the scanner has.
func walk(s *Scanner) {
	switch s.Kind() {
	case KindObject:
		for range s.Members {
			walk(s)
		}
	case KindArray:
		for range s.Elements {
			walk(s)
		}
	case KindString:
		s.Text(nil)
	case KindNumber:
		s.Int()
	case KindTrue, KindFalse:
		s.Bool()
	default:
		s.Skip()
	}
}

func FuzzScanner(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if bytes.Count(src, []byte("["))+bytes.Count(src, []byte("{")) < MaxDepth {
			checkAgainstReference(t, src)
		}
		object, err := ReadObject(src)
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(src, &want))
		for _, m := range object.members {
			require.True(t, json.Valid(src[m.Start:m.End]))
		}
	})
}

func TestMembers(t *testing.T) {
	src := []byte(` {"id":"x","mod\u0065l":"m","n":12,"list":[1,"two",{"three":3}],"big":1e3,"ok":true,"text":"a\"b","none":null} `)
	s := NewScanner(src)
	var got []string
	for name := range s.Members {
		switch string(name) {
		case "model", "text":
			got = append(got, string(s.Text(nil)))
		case "n", "big":
			n, ok := s.Int()
			got = append(got, fmt.Sprint(n, ok))
		case "list":
			for range s.Elements {
				got = append(got, string(s.Skip()))
			}
		case "ok":
			got = append(got, fmt.Sprint(s.Bool()))
		case "none":
			got = append(got, string(s.Kind()))
		}
	}
	require.NoError(t, s.End())
	require.Equal(t, []string{"m", "12 true", "1", `"two"`, `{"three":3}`, "1000 true", "true", `a"b`, "n"}, got)
}

func TestWrongKindsAreSkipped(t *testing.T) {
	src := []byte(`["a",{"b":1},[2],3]`)
	s := NewScanner(src)
	elements := 0
	for range s.Elements {
		elements++
		for range s.Members {
		}
	}
	require.NoError(t, s.End())
	require.Equal(t, 4, elements)

	s = NewScanner([]byte(`"text"`))
	n, ok := s.Int()
	require.Zero(t, n)
	require.False(t, ok)
	require.NoError(t, s.End())
}

func TestReadObject(t *testing.T) {
	many := func(n int, last string) string {
		var b strings.Builder
		b.WriteString("{")
		for i := range n {
			fmt.Fprintf(&b, `"k%d":%d,`, i, i)
		}
		return b.String() + `"` + last + `":0}`
	}
	for name, tc := range map[string]struct{ src, err string }{
		"good":             {src: `{"a":1,"b":2}`},
		"many":             {src: many(1000, "last")},
		"twice":            {src: `{"a":1,"a":2}`, err: "twice"},
		"twice by escapes": {src: `{"model":1,"mod\u0065l":2}`, err: "twice"},
		"twice of many":    {src: many(1000, "k500"), err: "twice"},
		"twice, nested":    {src: `{"a":{"b":1,"b":2}}`},
		"other case":       {src: `{"a":1,"A":2}`},
		"array":            {src: `[]`, err: "expected an object"},
		"bad array":        {src: `[`, err: "unexpected end"},
		"trailing":         {src: `{} {}`, err: "unexpected data after the value at byte 3"},
		"too deep":         {src: `{"a":` + strings.Repeat("[", 200_000), err: "nested too deep"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadObject([]byte(tc.src))
			if tc.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.err)
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
		})
	}
}

func TestDepth(t *testing.T) {
	nest := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	for _, read := range []func(*Scanner){func(s *Scanner) { s.Skip() }, walk} {
		s := NewScanner(nest(MaxDepth))
		read(&s)
		require.NoError(t, s.End())
		s = NewScanner(nest(MaxDepth + 1))
		read(&s)
		require.ErrorContains(t, s.End(), reasonDepth)
	}
}

func TestParseInt(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "-7": -7, "9223372036854775807": 9223372036854775807, "100.0": 100, "1e3": 1000} {
		n, ok := ParseInt([]byte(text))
		require.True(t, ok, text)
		require.Equal(t, want, n)
	}
	for _, text := range []string{"", "1.5", "9223372036854775808", "1e400", "-1e19", "NaN", "inf", strings.Repeat("1", 100)} {
		_, ok := ParseInt([]byte(text))
		require.False(t, ok, text)
	}
}

func TestEdit(t *testing.T) {
	for name, tc := range map[string]struct {
		src  string
		edit func(*Editor)
		want string
	}{
		"none":         {`{"a":1}`, func(*Editor) {}, `{"a":1}`},
		"replace":      {`{ "a" : 1 , "b":[ ] }`, func(e *Editor) { e.SetText("a", "x\"y") }, `{ "a" : "x\"y" , "b":[ ] }`},
		"add":          {"{\"a\": 1\n}\n", func(e *Editor) { e.Set("b", "2"); e.Set("c", "3") }, "{\"a\": 1,\"b\":2,\"c\":3\n}\n"},
		"out of order": {`{"a":1,"b":2}`, func(e *Editor) { e.Set("c", "3"); e.Set("b", "22"); e.Set("a", "11") }, `{"a":11,"b":22,"c":3}`},
		"empty":        {` { } `, func(e *Editor) { e.Set("a", "1"); e.Set("b", "2") }, ` {"a":1,"b":2 } `},
		"insert":       {`{"a":[1]}`, func(e *Editor) { e.Insert(6, "0,") }, `{"a":[0,1]}`},
		"escaped name": {`{"mod\u0065l":1}`, func(e *Editor) { e.Set("model", "2") }, `{"mod\u0065l":2}`},
	} {
		t.Run(name, func(t *testing.T) {
			src := []byte(tc.src)
			object, err := ReadObject(src)
			require.NoError(t, err)
			e := object.Edit()
			tc.edit(e)
			got := e.Bytes()
			require.Equal(t, tc.want, string(got))
			require.Equal(t, tc.src, string(src), "the source stays")
			require.Equal(t, tc.want == tc.src, &got[0] == &src[0], "no change, same bytes")
		})
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	const src = ` { "a" : 1 , "b":[2] ,"c" : {} } `
	for _, test := range []struct {
		src    string
		remove string // names
		set    string // likewise, added or replaced by 7
		want   string
	}{
		{src, "", "", src},
		{src, "x", "", src},
		{src, "a", "", ` { "b":[2] ,"c" : {} } `},
		{src, "b", "", ` { "a" : 1 ,"c" : {} } `},
		{src, "c", "", ` { "a" : 1 , "b":[2] } `},
		{src, "ab", "", ` {"c" : {} } `},
		{src, "ba", "", ` {"c" : {} } `},
		{src, "ac", "", ` { "b":[2] } `},
		{src, "bc", "", ` { "a" : 1 } `},
		{src, "bb", "", ` { "a" : 1 ,"c" : {} } `},
		{src, "abc", "", ` { } `},
		{src, "abc", "de", ` {"d":7,"e":7 } `},
		{src, "c", "de", ` { "a" : 1 , "b":[2],"d":7,"e":7 } `},
		{src, "b", "ac", ` { "a" : 7 ,"c" : 7 } `},
		{src, "a", "bd", ` { "b":7 ,"c" : {},"d":7 } `},
		{`{"a":1}`, "a", "", `{}`},
		{`{"a":1}`, "a", "b", `{"b":7}`},
		{`{}`, "a", "b", `{"b":7}`},
		{`{"\u0061":1,"b":2}`, "a", "", `{"b":2}`},
	} {
		o, err := ReadObject([]byte(test.src))
		require.NoError(t, err)
		for _, setFirst := range []bool{false, true} {
			e := o.Edit()
			set := func() {
				for _, name := range test.set {
					e.Set(string(name), "7")
				}
			}
			if setFirst {
				set()
			}
			for _, name := range test.remove {
				e.Remove(string(name))
			}
			if !setFirst {
				set()
			}
			for range 2 {
				require.Equal(t, test.want, string(e.Bytes()), "%s: remove %q, set %q", test.src, test.remove, test.set)
			}
		}
	}
}

func TestTypedMembers(t *testing.T) {
	object, err := ReadObject([]byte(`{"s":"a\u00e9","b":true,"i":7,"n":1.5,"o":{"x":[1]},"z":null,"bad":"\ud800","raw":"` + "\xff" + `"}`))
	require.NoError(t, err)
	text, err := object.Text("s")
	require.NoError(t, err)
	require.Equal(t, "aé", text)
	yes, err := object.Bool("b")
	require.NoError(t, err)
	require.True(t, yes)
	n, ok, err := object.Int("i")
	require.NoError(t, err)
	require.True(t, ok)
	require.EqualValues(t, 7, n)
	ok, err = object.Number("n")
	require.NoError(t, err)
	require.True(t, ok)
	inner, ok, err := object.Object("o")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "[1]", string(inner.Value("x")))

	for _, absent := range []string{"z", "not there"} {
		require.Nil(t, object.Value(absent))
		text, err = object.Text(absent)
		require.NoError(t, err)
		require.Empty(t, text)
		_, ok, err = object.Int(absent)
		require.NoError(t, err)
		require.False(t, ok)
	}
	for _, read := range []func() error{
		func() error { _, err := object.Text("bad"); return err },
		func() error { _, err := object.Text("raw"); return err },
		func() error { _, err := object.Text("i"); return err },
		func() error { _, err := object.Bool("s"); return err },
		func() error { _, _, err := object.Int("n"); return err },
		func() error { _, err := object.Number("b"); return err },
		func() error { _, _, err := object.Object("s"); return err },
	} {
		var wrong *TypeError
		require.ErrorAs(t, read(), &wrong)
	}
}

func TestSkipDoesNotAllocate(t *testing.T) {
	src := []byte(`{"a":[1,2,{"b":"c"}],"d":"text"}`)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		s := NewScanner(src)
		for name := range s.Members {
			if string(name) == "a" {
				for range s.Elements {
					s.Skip()
				}
			}
		}
		if s.End() != nil {
			t.Fail()
		}
	}))
}

func BenchmarkSkip(b *testing.B) {
	text := []byte(`{"messages":[` + strings.Repeat(`{"role":"user","content":"The quick brown fox jumps over the lazy dog, again and again."},`, 1000) + `null]}`)
	code := []byte(`{"messages":"` + strings.Repeat(`func main() {\n\tfmt.Println(\"hello\")\n}\n`, 2000) + `"}`)
	for name, src := range map[string][]byte{"text": text, "code": code} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				s := NewScanner(src)
				s.Skip()
				if s.End() != nil {
					b.Fatal("invalid")
				}
			}
		})
		b.Run(name+"/jsontext", func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				if !jsontext.Value(src).IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) {
					b.Fatal("invalid")
				}
			}
		})
	}
}

// code is text with as many escapes as text ever has.
var code = strings.Repeat("func main() {\n\tfmt.Println(\"hello\")\n}\n", 2000)

func BenchmarkText(b *testing.B) {
	src := AppendQuote(nil, code)
	var text []byte
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		s := NewScanner(src)
		text = s.Text(text[:0])
	}
	require.Equal(b, code, string(text))
}

func BenchmarkAppendQuote(b *testing.B) {
	for name, text := range map[string]string{"code": code, "word": "word", "delta": " a \"token\"\n"} {
		b.Run(name, func(b *testing.B) {
			var dst []byte
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				dst = AppendQuote(dst[:0], text)
			}
		})
	}
}

// Every byte and escape is read as it must be at every place of a word, and told
// where it must not stand.
func TestStrings(t *testing.T) {
	for c := range 256 {
		for _, piece := range []string{string([]byte{byte(c)}), `\` + string([]byte{byte(c)}), `\n\` + string([]byte{byte(c)}) + `\\`} {
			for at := range 17 {
				src := []byte(`"` + strings.Repeat("x", at) + piece + strings.Repeat("é", at%5) + `"`)
				s, read := NewScanner(src), NewScanner(src)
				quoted, text := s.Skip(), read.Text([]byte("before:"))
				require.Equal(t, s.End(), read.End(), "%q", src)
				if s.Failed() {
					require.False(t, valid(src), "%q", src)
					continue
				}
				want := quoted[1 : len(quoted)-1]
				if bytes.IndexByte(quoted, '\\') >= 0 {
					want, _ = jsontext.AppendUnquote(nil, quoted)
				}
				require.Equal(t, "before:"+string(want), string(text), "%q", src)
				again, _ := jsontext.AppendQuote(nil, want)
				require.Equal(t, string(again), string(AppendQuote(nil, want)))
			}
		}
	}
}

// An object's name with escapes is unescaped, wherever they stand.
func TestNamesWithEscapes(t *testing.T) {
	for _, name := range []string{"\n", "abcd\n", "\"", "abcdefg\n", "\nabcdefgh", "a\tb\"c\\d"} {
		s := NewScanner([]byte(`{` + string(AppendQuote(nil, name)) + `:1}`))
		for got := range s.Members {
			require.Equal(t, name, string(got))
		}
		require.NoError(t, s.End())
	}
}

// AppendText says what the JSON library says, in every string.
func FuzzAppendText(f *testing.F) {
	for _, text := range []string{`""`, `"plain"`, `"a\nb\t\"c\"\\d\/e\u00fc\u20ac"`, `"\ud83d\ude00"`, `"\ud83d"`, "\"\xff\\n\"", `"\u0000\u001F"`, `"\b\f\r"`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, quoted []byte) {
		s := NewScanner(quoted)
		if s.Kind() != KindString || s.Skip() == nil || s.End() != nil {
			return
		}
		quoted = bytes.TrimSpace(quoted)
		want := quoted[1 : len(quoted)-1]
		if bytes.IndexByte(quoted, '\\') >= 0 {
			want, _ = jsontext.AppendUnquote(nil, quoted)
		}
		require.Equal(t, "before:"+string(want), string(AppendText([]byte("before:"), quoted)))
		read := NewScanner(quoted)
		require.Equal(t, "before:"+string(want), string(read.Text([]byte("before:"))))
		require.NoError(t, read.End())
		again, _ := jsontext.AppendQuote(nil, want)
		require.Equal(t, string(again), string(AppendQuote(nil, want)))
	})
}
