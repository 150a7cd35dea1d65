package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReport(t *testing.T) {
	var events bytes.Buffer
	enc := json.NewEncoder(&events)
	for _, e := range []event{
		{Action: "output", Package: "p", Test: "TestGood", Output: "noise of a good test\n"},
		{Action: "pass", Package: "p", Test: "TestGood"},
		{Action: "output", Package: "p", Test: "TestBad", Output: "    bad_test.go:1: want 1\n"},
		{Action: "fail", Package: "p", Test: "TestBad"},
		{Action: "output", Package: "p", Test: "TestSkip", Output: "=== RUN   TestSkip\n"},
		{Action: "output", Package: "p", Test: "TestSkip", Output: "    x_test.go:9: redis-server is not installed\n"},
		{Action: "output", Package: "p", Test: "TestSkip", Output: "--- SKIP: TestSkip (0.00s)\n"},
		{Action: "skip", Package: "p", Test: "TestSkip"},
		{Action: "output", Package: "p", Output: "FAIL\n"},
		{Action: "output", Package: "p", Output: "FAIL\tp\t0.1s\n"},
		{Action: "fail", Package: "p"},
	} {
		require.NoError(t, enc.Encode(e))
	}
	events.WriteString("not json\n")

	var out strings.Builder
	r := newReport(&out)
	r.read(&events)
	missing := r.summary()

	require.True(t, missing)
	require.NotContains(t, out.String(), "noise of a good test")
	require.Contains(t, out.String(), "bad_test.go:1: want 1")
	require.Contains(t, out.String(), "not json")
	require.Contains(t, out.String(), "1 passed, 2 failed, 1 skipped")
	require.Contains(t, out.String(), "skipped p TestSkip: x_test.go:9: redis-server is not installed")
}

func TestMissingTool(t *testing.T) {
	for reason, want := range map[string]bool{
		"x_test.go:9: promtool is not installed (apt-get install prometheus)": true,
		"x_test.go:9: recorded traffic is absent":                             true,
		"x_test.go:9: set OPENAI_API_KEY to run it":                           false,
		"x_test.go:9: skipped under -short":                                   false,
	} {
		require.Equal(t, want, missingTool.MatchString(reason), reason)
	}
}
