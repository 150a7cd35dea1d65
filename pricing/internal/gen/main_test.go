package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The committed table is what go generate makes, wherever the collected one is
// at hand.
func TestCommittedTableIsFresh(t *testing.T) {
	t.Parallel()
	collected, err := os.ReadFile(filepath.FromSlash("../../../../shared/data/prices.json"))
	if os.IsNotExist(err) && os.Getenv("CI") != "true" {
		t.Skip("the collected price table, ../shared/data, is absent")
	}
	require.NoError(t, err)
	fresh, err := generate(collected)
	require.NoError(t, err)
	committed, err := os.ReadFile(filepath.FromSlash("../../prices.json"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(fresh, committed), "prices.json is stale: run go generate ./pricing")
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	got, err := generate([]byte(`{"as_of":"2026-08-21","sources":[],"models":[
		{"provider":"p","model":"a","kind":"chat","prices":{ "input": 1.0 },"sources":["x"],"from":[{"date":"2027-01-01","prices":{"input":2}}]},
		{"provider":"openai","model":"whisper-1","prices":{"input":6000}},
		{"provider":"p","model":"b","prices":{"input":0.1},"deprecated":true}]}`))
	require.NoError(t, err)
	//nolint:testifylint // the very bytes: a model a line, so that diffs can be read
	require.Equal(t, `{"as_of":"2026-08-21",
"models":[
{"provider":"p","model":"a","kind":"chat","prices":{"input":1.0},"from":[{"date":"2027-01-01","prices":{"input":2}}]},
{"provider":"p","model":"b","prices":{"input":0.1},"deprecated":true}
]}
`, string(got))

	_, err = generate([]byte(`{"models":[`))
	require.Error(t, err)
}
