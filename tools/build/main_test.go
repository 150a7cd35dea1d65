package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

// leastCaddy is the first Caddy release this gateway is made for: the patch level of v2.11.
const leastCaddy = 9

// TestOneCaddyVersion keeps manifest, go.mod and container image on one Caddy release.
func TestOneCaddyVersion(t *testing.T) {
	m, err := readManifest(filepath.Join(root, "xcaddy.json"))
	require.NoError(t, err)
	got := regexp.MustCompile(`^v2\.(\d+)\.(\d+)$`).FindStringSubmatch(m.CaddyVersion)
	require.NotNil(t, got, "caddy_version %q is not a release", m.CaddyVersion)
	minor, _ := strconv.Atoi(got[1])
	patch, _ := strconv.Atoi(got[2])
	require.True(t, minor > 11 || minor == 11 && patch >= leastCaddy, "caddy_version %s is older than v2.11.9", m.CaddyVersion)

	for file, pattern := range map[string]string{
		"go.mod":            `(?m)^\s*(?:require )?github\.com/caddyserver/caddy/v2 (v\S+)`,
		"deploy/Dockerfile": `(?m)^ARG CADDY_VERSION=(v\S+)`,
	} {
		content, err := os.ReadFile(filepath.Join(root, file))
		require.NoError(t, err)
		found := regexp.MustCompile(pattern).FindSubmatch(content)
		require.NotNil(t, found, "no Caddy version in %s", file)
		require.Equal(t, m.CaddyVersion, string(found[1]), file)
	}
}

// TestNoReplaceInGoMod: only our requires reach the build of someone who uses xcaddy, so a replace or exclude line would make
// their binary another than ours.
func TestNoReplaceInGoMod(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	require.NotRegexp(t, `(?m)^\s*(replace|exclude)\b`, string(content))
}

// TestXcaddyCommand checks the command line against the form xcaddy documents.
func TestXcaddyCommand(t *testing.T) {
	m := &manifest{
		CaddyVersion: "v2.11.9",
		Plugins:      []plugin{{ModulePath: "example.com/own"}, {ModulePath: "example.com/other", Version: "v1.2.3"}},
		Replacements: []replacement{{Old: "example.com/own", New: "."}},
		Output:       "bin/x", Tags: "a,b", LDFlags: "-s -w",
	}
	require.Equal(t, []string{
		"xcaddy", "build", "v2.11.9", "--output", "bin/x", "--with", "example.com/own", "--with", "example.com/other@v1.2.3",
		"--replace", "example.com/own=.",
	}, m.xcaddyArgs())
	require.Contains(t, m.xcaddyEnv(), "XCADDY_GO_BUILD_FLAGS=-trimpath -tags 'a,b' -ldflags '-s -w'")
}

// TestRunPrefersXcaddy: with xcaddy in PATH, it is what builds.
func TestRunPrefersXcaddy(t *testing.T) {
	dir := t.TempDir()
	record := filepath.Join(dir, "record")
	script := "#!/bin/sh\necho \"$@\" >" + record + "\necho \"$XCADDY_GO_BUILD_FLAGS\" >>" + record + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "xcaddy"), []byte(script), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))

	require.NoError(t, run(filepath.Join(root, "xcaddy.json"), filepath.Join(dir, "out")))
	recorded, err := os.ReadFile(record)
	require.NoError(t, err)
	require.Contains(t, string(recorded), "build v2.11.9 --output "+filepath.Join(dir, "out")+" --with github.com/financecommander/tollgate")
	require.Contains(t, string(recorded), "-tags 'nobadger,nomysql,nopgx'")
	require.NotContains(t, string(recorded), "{version}")
}

// TestSteps: a plugin under a replaced module is not fetched, the others are, at their pinned version.
func TestSteps(t *testing.T) {
	m := &manifest{
		CaddyVersion: "v2.11.9",
		Plugins:      []plugin{{ModulePath: "example.com/own/sub"}, {ModulePath: "example.com/other", Version: "v1.2.3"}},
		Replacements: []replacement{{Old: "example.com/own", New: "."}},
		Output:       "/out", Tags: "a", LDFlags: "-s",
	}
	require.Equal(t, [][]string{
		{"go", "mod", "edit", "-module=caddy", "-require=example.com/own@v0.0.0", "-replace=example.com/own=/src"},
		{"go", "get", "github.com/caddyserver/caddy/v2@v2.11.9", "example.com/other@v1.2.3"},
		{"go", "build", "-trimpath", "-tags=a", "-ldflags=-s", "-o", "/out", "."},
	}, m.steps("/src"))
}

func TestReadManifestRefuses(t *testing.T) {
	for name, content := range map[string]string{
		"unknown field": `{"caddy_version":"v2.11.9","plugins":[{"module_path":"x"}],"output":"o","modules":[]}`,
		"no version":    `{"plugins":[{"module_path":"x"}],"output":"o"}`,
		"no plugins":    `{"caddy_version":"v2.11.9","output":"o"}`,
		"not json":      `caddy`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "xcaddy.json")
			require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
			_, err := readManifest(path)
			require.Error(t, err)
		})
	}
}

// TestBuild builds the manifest, starts the binary, and looks for the modules a configuration names.
func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("builds all of Caddy: left out under -short")
	}
	output := filepath.Join(t.TempDir(), "tollgate")
	require.NoError(t, run(filepath.Join(root, "xcaddy.json"), output))

	modules, err := exec.Command(output, "list-modules", "--skip-standard").CombinedOutput()
	require.NoError(t, err, "%s", modules)
	lines := strings.Split(string(bytes.TrimSpace(modules)), "\n")
	for _, want := range []string{
		"llm", "http.authentication.providers.llm_jwt", "http.handlers.llm_rate_limit", "http.handlers.llm_proxy",
		"http.handlers.llm_portal",
	} {
		require.Contains(t, lines, want)
	}

	version, err := exec.Command(output, "version").CombinedOutput()
	require.NoError(t, err, "%s", version)
	require.NotEmpty(t, bytes.TrimSpace(version))

	adapted, err := exec.Command(output, "adapt", "--config", filepath.Join(root, "Caddyfile"), "--adapter", "caddyfile").CombinedOutput()
	require.NoError(t, err, "%s", adapted)
}
