package wire_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

func TestReader(t *testing.T) {
	r := wire.NewReader([]byte(` {"text":"a\u00e9\n","n":12,"f":-1.5,"yes":true,"none":null,"list":["a","b"],"raw":{"x":[1, 2]},"words":"two","inner":{"deep":[{"name":"x"}]}} `))
	var got []any
	for name := range r.Members {
		switch string(name) {
		case "text":
			got = append(got, r.Text())
		case "n":
			got = append(got, r.Int())
		case "f":
			got = append(got, r.Float())
		case "yes":
			got = append(got, r.Bool())
		case "none":
			t.Error("null is absent")
		case "list":
			got = append(got, r.Texts())
		case "raw":
			got = append(got, string(r.Raw()))
		case "words":
			got = append(got, r.Word("one", "two"))
		case "inner":
			inner := r.At("", r.Value())
			for range inner.Members {
				for range inner.Elements {
					start := inner.Pos()
					for range inner.Members {
						require.Equal(t, "inner.deep[0].name", inner.Path())
						got = append(got, inner.Text())
					}
					got = append(got, string(inner.Since(start)))
				}
			}
		}
	}
	require.NoError(t, r.End())
	require.Equal(t, []any{"aé\n", int64(12), -1.5, true, []string{"a", "b"}, `{"x":[1, 2]}`, "two", "x", `{"name":"x"}`}, got)
}

func TestReaderKeepsTheFirstError(t *testing.T) {
	r := wire.NewReader([]byte(`{"a":{"b":[0,{"c":1}]},"d":2}`))
	n := 0
	for range r.Members {
		n++
		for range r.Members {
			for i := range r.Elements {
				if i == 1 {
					for range r.Members {
						require.Empty(t, r.Text())
						require.Zero(t, r.Int())
						r.Fail("", "is wrong as well")
					}
				} else {
					r.Int()
				}
			}
		}
	}
	require.Equal(t, 1, n, "nothing is read after an error")
	require.True(t, r.Failed())
	require.EqualError(t, r.End(), "invalid_request: a.b[1].c must be a string")
}

func TestReaderSharesErrorsWithInner(t *testing.T) {
	r := wire.NewReader([]byte(`{"a":{"b":"x"}}`))
	for range r.Members {
		inner := r.At("", r.Value())
		for range inner.Members {
			inner.Int()
		}
	}
	require.EqualError(t, r.End(), "invalid_request: a.b must be an integer")
}

// Strings share memory, but not their bytes: none changes when others are read.
func TestReaderTextsStay(t *testing.T) {
	var body, want []string
	for i := range 2000 {
		text := strings.Repeat(string(rune('a'+i%26)), i%97)
		if i%100 == 0 {
			text = strings.Repeat("long\n", 2000)
		}
		quoted, _ := json.Marshal(text)
		body, want = append(body, string(quoted)), append(want, text)
	}
	r := wire.NewReader([]byte("[" + strings.Join(body, ",") + "]"))
	require.Equal(t, want, r.Texts())
	require.NoError(t, r.End())
}

func TestReaderOfManyMembers(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"a0":0`)
	for i := 1; i < 1000; i++ {
		b.WriteString(`,"a` + strings.Repeat("x", i) + `":0`)
	}
	r := wire.NewReader([]byte(b.String() + `,"a0":1}`))
	for range r.Members {
		r.Int()
	}
	require.EqualError(t, r.End(), "invalid_request: a0 comes twice")
}

func TestWriter(t *testing.T) {
	var w wire.Writer
	w.Object()
	w.Name("text").Text("a\"\\\n\x01é\xff")
	w.TextMember("none", "")
	w.IntMember("n", 7)
	w.IntMember("zero", 0)
	w.FloatMember("f", new(1e-7))
	w.FloatMember("no", nil)
	w.BoolMember("b", new(false))
	w.RawMember("raw", []byte(`[1]`))
	w.Member("od\"d").Null()
	w.Name("list").Array()
	w.Int(1).Bool(true).Float(math.NaN()).Float(2.5)
	w.Object().End()
	w.EndArray()
	w.Members([]byte(`{"x":1,"y":{"z":2},"left":3}`), "left")
	w.End()
	require.JSONEq(t, `{"text":"a\"\\\n\u0001é\ufffd","n":7,"f":1e-7,"b":false,"raw":[1],"od\"d":null,"list":[1,true,null,2.5,{}],"x":1,"y":{"z":2}}`, string(w.Bytes))
}

func FuzzAppendQuote(f *testing.F) {
	for _, text := range []string{"", "a", "\"\\/\b\f\n\r\t\x00\x1f\x7f", "é€😀\u2028", "\xff\xc0", strings.Repeat("long ", 100)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var got string
		require.NoError(t, json.Unmarshal(wire.AppendQuote(nil, text), &got))
		require.Equal(t, string([]rune(text)), got, "each bad byte becomes U+FFFD")
	})
}

func TestRest(t *testing.T) {
	var outer, inner, empty wire.Rest
	require.Nil(t, outer.JSON())
	require.Zero(t, outer.Extra("f"))
	inner.Add([]byte(`a"b`), []byte(`1`))
	outer.Nest("empty", &empty)
	outer.Nest("inner", &inner)
	outer.Add([]byte("c"), []byte(`"d"`))
	require.Equal(t, llm.Extra{Format: "f", JSON: []byte(`{"inner":{"a\"b":1},"c":"d"}`)}, outer.Extra("f"))
	require.Equal(t, `"d"`, string(wire.Member(outer.JSON(), "c")))
	require.Nil(t, wire.Member(outer.JSON(), "x"))
	require.Nil(t, wire.Member(nil, "x"))
	require.Equal(t, 2, wire.Count(outer.JSON()))
}

func TestDataURLs(t *testing.T) {
	for url, want := range map[string][2]string{
		"data:image/png;base64,YQ==":                {"image/png", "YQ=="},
		"data:;base64,YWI=":                         {"", "YWI="},
		"data:text/plain;charset=utf-8;base64,YWJj": {"text/plain;charset=utf-8", "YWJj"},
	} {
		mime, data, ok := wire.DataURL(url)
		require.True(t, ok, url)
		require.Equal(t, want, [2]string{mime, data})
		require.Equal(t, url, wire.MakeDataURL(mime, data))
	}
	for _, url := range []string{"", "https://x", "data:image/png;base64", "data:image/png,abc", "data:image/png;base64,", "data:image/png;base64,YQ", "data:image/png;base64,Y Q=", "data:x;base64,Y===", "data:x;base64,-_-_", "data:x;base64,YQ=\n"} {
		_, _, ok := wire.DataURL(url)
		require.False(t, ok, url)
	}
}

func TestFitID(t *testing.T) {
	require.Equal(t, "short", wire.FitID("short", 40))
	long := strings.Repeat("x", 41)
	fit := wire.FitID(long, 40)
	require.Len(t, fit, 29)
	require.Equal(t, fit, wire.FitID(long, 40))
	require.NotEqual(t, fit, wire.FitID(long+"y", 40))
}

func TestSlab(t *testing.T) {
	var s wire.Slab[int]
	var all []*int
	for i := range 200 {
		v := s.New()
		require.Zero(t, *v)
		*v = i
		all = append(all, v)
		one := s.One(-i)
		one = append(one, 99)
		require.Equal(t, []int{-i, 99}, one)
	}
	for i, v := range all {
		require.Equal(t, i, *v, "no value is another's")
	}
}
