package main

import (
	"go/parser"
	"go/token"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// actAsTollgate in the environment makes the test binary the gateway: it has
// everything linked in, so nothing needs to be built to start processes.
const actAsTollgate = "TOLLGATE_TEST_ACT_AS_TOLLGATE"

func TestMain(m *testing.M) {
	if os.Getenv(actAsTollgate) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// What `xcaddy build --with` imports is the root package alone; it must bring
// the modules with it.
func TestRootPackageBringsTheModules(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "../../tollgate.go", nil, parser.ImportsOnly)
	require.NoError(t, err)
	require.Len(t, file.Imports, 1)
	require.Equal(t, `"github.com/financecommander/tollgate/caddymodule"`, file.Imports[0].Path.Value)
	require.Equal(t, "_", file.Imports[0].Name.Name)

	modules, _ := newGateway(t).mustRun("list-modules", "--skip-standard")
	for _, id := range []string{
		"llm", "admin.api.llm", "http.authentication.providers.llm_jwt", "http.handlers.llm_cors",
		"http.handlers.llm_error", "http.handlers.llm_portal", "http.handlers.llm_proxy", "http.handlers.llm_rate_limit",
	} {
		require.Contains(t, modules, id+"\n")
	}
}
